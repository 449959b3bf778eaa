"""What networks learn: 1, 5 and 6 classes, and volumes on which only some are drawn."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from neuropil.train.augmentation import NO_AUGMENTATION
from neuropil.train.classes import CLASS_NAMES, masks_from_bits
from neuropil.train.dataset import SegmentationDataset
from neuropil.train.labelled_volume import LabelledVolume
from neuropil.train.settings import SemanticTask
from neuropil.train.tasks import semantic_loss, targets_of, task_loss

NM5 = (5.0, 5.0, 5.0)


def test_classes_by_number_are_those_of_sokolov() -> None:
    one, five, six = (SemanticTask(classes=n) for n in (1, 5, 6))  # type: ignore[arg-type]
    assert one.channels == ("mitochondrion",) and six.channels == CLASS_NAMES
    assert set(six.channels) - set(five.channels) == {"mitochondrial_boundary"}
    with pytest.raises(ValidationError, match="1, 5, 6"):
        SemanticTask(classes=2)  # type: ignore[arg-type]
    bits = np.random.default_rng(0).integers(0, 64, (4, 8, 8)).astype(np.uint8)
    masks = masks_from_bits(bits)
    assert np.array_equal(targets_of(one, bits, NM5), masks[:1])
    assert np.array_equal(targets_of(five, bits, NM5), masks[[0, 2, 3, 4, 5]])


def test_loss_ignores_what_nobody_knows() -> None:
    torch.manual_seed(0)
    logits, masks = torch.randn(2, 2, 8, 8), (torch.rand(2, 2, 8, 8) > 0.5).float()
    unknown = masks.clone()
    unknown[:, 1] = torch.nan
    unknown[:, 0, :4] = torch.nan
    for kind in ("bce", "dice", "bce_dice"):
        losses = []
        for scale in (1.0, 30.0):
            changed = logits.clone()
            changed[:, 1] *= scale
            changed[:, 0, :4] *= -scale
            losses.append(semantic_loss(changed, unknown, kind))
        assert torch.isfinite(losses[0]) and torch.equal(losses[0], losses[1])
    known = semantic_loss(logits[:, :1, 4:], masks[:, :1, 4:], "bce")
    assert torch.allclose(semantic_loss(logits, unknown, "bce"), known)
    # Where all is known it is the usual one.
    usual = torch.nn.functional.binary_cross_entropy_with_logits(logits, masks)
    assert torch.allclose(task_loss(SemanticTask(loss="bce"), logits, masks), usual)


def test_classes_not_drawn_in_a_volume_are_unknown_in_its_patches(toy: LabelledVolume) -> None:
    membranes = replace(toy, drawn=("membrane",))
    dataset = SegmentationDataset([[membranes]], 32, augmentation=NO_AUGMENTATION)
    _, targets = dataset.patch(np.random.default_rng(0))
    unknown = np.isnan(targets).all((1, 2))
    assert [name for name, gone in zip(CLASS_NAMES, unknown, strict=True) if not gone] == ["membrane"]


def test_patches_of_a_stated_voxel_size(toy: LabelledVolume) -> None:
    """A volume of half the voxel size is brought to the other's: its structures come out equally large."""
    fine = replace(
        toy,
        image=toy.image.repeat(2, 1).repeat(2, 2),
        bits=toy.bits.repeat(2, 1).repeat(2, 2),
        voxel_size_nm=(5.0, 2.5, 2.5),
        contiguous=False,
    )
    coarse = replace(toy, contiguous=False)
    settings = {"augmentation": NO_AUGMENTATION, "voxel_size_nm": NM5, "balanced": 0.0}
    pair = [SegmentationDataset([[v]], 96, **settings) for v in (fine, coarse)]  # type: ignore[arg-type]
    for seed in range(3):
        (a, s), (b, t) = (d.patch(np.random.default_rng(seed)) for d in pair)
        # Shrinking blurs the grain of single voxels a little.
        assert np.abs(a - b).mean() < 0.05 and (s == t).mean() > 0.99
    assert pair[0].voxel_size_nm == NM5
    with pytest.raises(ValueError, match="more than a factor of 2"):
        SegmentationDataset([[fine]], 96, voxel_size_nm=(5.0, 6.0, 6.0))
    cube = SegmentationDataset([[toy]], 32, spatial_dims=3, depth_px=8, voxel_size_nm=(10.0, 5.0, 4.0))
    image, targets = cube.patch(np.random.default_rng(0))
    assert image.shape == (1, 8, 32, 32) and targets.shape == (6, 8, 32, 32)

import itertools
from dataclasses import replace

import numpy as np
import pytest

from neuropil.train.augmentation import NO_AUGMENTATION, Augmentation, turned
from neuropil.train.classes import CLASS_NAMES, bits_from_masks, masks_from_bits
from neuropil.train.dataset import SegmentationDataset
from neuropil.train.labelled_volume import LabelledVolume

PSD = CLASS_NAMES.index("psd")


def plain(volume: LabelledVolume, **settings: object) -> SegmentationDataset:
    settings = {"patch_px": 32, "augmentation": NO_AUGMENTATION, **settings}
    return SegmentationDataset([[volume]], **settings)  # type: ignore[arg-type]


def coordinates(shape: tuple[int, int, int], **settings: object) -> LabelledVolume:
    """A volume whose image tells z and whose bits tell x, so that a patch shows where it was cut."""
    image = np.broadcast_to(np.arange(shape[0], dtype=np.uint8)[:, None, None], shape).copy()
    bits = np.broadcast_to(np.arange(shape[2], dtype=np.uint8), shape).copy()
    return LabelledVolume("where", image, bits, (5.0, 5.0, 5.0), **settings)  # type: ignore[arg-type]


def test_bits_and_masks_are_inverse() -> None:
    bits = np.random.default_rng(0).integers(0, 64, (3, 5, 7)).astype(np.uint8)
    masks = masks_from_bits(bits)
    assert masks.shape == (6, 3, 5, 7) and set(np.unique(masks)) == {0, 1}
    assert (masks[5] == (bits >> 5) & 1).all()
    assert (bits_from_masks(masks) == bits).all()


def test_patches_are_cut_from_the_volume_unchanged_without_augmentation(toy: LabelledVolume) -> None:
    single = replace(toy, contiguous=False)
    rng = np.random.default_rng(0)
    for _ in range(10):
        image, masks = plain(single).patch(rng)
        grey = np.round(image[0] * 255).astype(np.uint8)
        windows = np.lib.stride_tricks.sliding_window_view(single.image, (1, 32, 32))
        z, y, x = np.argwhere((windows == grey).all((-3, -2, -1)))[0]
        assert (masks == masks_from_bits(single.bits)[:, z, y : y + 32, x : x + 32]).all()


def test_rare_class_is_seen_as_often_as_a_common_one(toy: LabelledVolume) -> None:
    fractions = plain(toy).class_fractions()
    assert 0 < fractions["psd"] < 0.002 < 0.15 < fractions["mitochondrion"]

    def share(balanced: float) -> float:
        dataset, rng = plain(toy, balanced=balanced, patch_px=16), np.random.default_rng(1)
        return float(np.mean([dataset.patch(rng)[1][PSD].any() for _ in range(300)]))

    # Four classes are present, so a fully balanced draw aims at the spot a quarter of the time.
    assert 0.2 < share(1.0) < 0.45
    assert share(0.0) < 0.08


def test_aimed_voxel_lies_anywhere_in_the_patch() -> None:
    bits = np.zeros((1, 200, 200), np.uint8)
    bits[0, 100, 100] = 1
    volume = LabelledVolume("dot", bits, bits, (5.0, 5.0, 5.0), contiguous=False)
    dataset, rng = plain(volume, balanced=1.0, patch_px=16), np.random.default_rng(0)
    places = np.array([np.argwhere(dataset.patch(rng)[1][0])[0] for _ in range(200)])
    assert places.min() == 0 and places.max() == 15
    assert abs(places.mean() - 7.5) < 1


def test_no_draw_is_repeated_and_a_step_does_not_depend_on_those_before(toy: LabelledVolume) -> None:
    dataset = SegmentationDataset([[toy]], 32)
    batches = [b.images.numpy() for b, _ in zip(dataset.batches(5, 4), range(6), strict=False)]
    patches = np.concatenate(batches).reshape(24, -1)
    assert len(np.unique(patches, axis=0)) == 24
    later = next(dataset.batches(5, 4, start=4))
    assert (later.images.numpy() == batches[4]).all()
    assert not (next(dataset.batches(6, 4)).images.numpy() == batches[0]).all()


def test_isotropic_blocks_are_cut_across_every_axis_and_slices_only_across_z() -> None:
    block = coordinates((60, 60, 60))
    rng = np.random.default_rng(0)
    dataset = plain(block, balanced=0.0, patch_px=8)
    # A section across z shows one z; one across y or x shows eight.
    sections = [len(np.unique(dataset.patch(rng)[0])) for _ in range(60)]
    assert 10 <= sections.count(1) <= 30 and sections.count(8) == 60 - sections.count(1)
    for other in (replace(block, contiguous=False), replace(block, voxel_size_nm=(20.0, 5.0, 5.0))):
        dataset = plain(other, balanced=0.0, patch_px=8)
        assert all(len(np.unique(dataset.patch(rng)[0])) == 1 for _ in range(20))


def test_thin_block_is_not_cut_into_strips() -> None:
    rng = np.random.default_rng(0)
    dataset = plain(coordinates((6, 60, 60)), balanced=0.0, patch_px=32)
    assert all(len(np.unique(dataset.patch(rng)[0])) == 1 for _ in range(20))


def test_groups_are_mixed_by_weight() -> None:
    dark, light = (
        LabelledVolume(str(v), np.full((1, 40, 40), v, np.uint8), np.zeros((1, 40, 40), np.uint8), (5.0, 5.0, 5.0))
        for v in (10, 200)
    )
    # The second group holds more volumes, which must not count.
    dataset = SegmentationDataset([[dark], [light] * 5], 16, [3.0, 1.0], augmentation=NO_AUGMENTATION)
    rng = np.random.default_rng(0)
    share = np.mean([dataset.patch(rng)[0].mean() < 0.5 for _ in range(400)])
    assert abs(share - 0.75) < 0.07


def test_small_volume_is_mirrored_to_the_patch(toy: LabelledVolume) -> None:
    small = replace(toy, image=toy.image[:, :20, :20], bits=toy.bits[:, :20, :20], contiguous=False)
    image, masks = plain(small).patch(np.random.default_rng(0))
    assert image.shape == (1, 32, 32) and masks.shape == (6, 32, 32)
    assert (image[0, 20:, :20] == image[0, 19:7:-1, :20]).all()


def test_cubes_for_3d_networks(toy: LabelledVolume) -> None:
    image, masks = plain(toy, spatial_dims=3, patch_px=8).patch(np.random.default_rng(0))
    assert image.shape == (1, 8, 8, 8) and masks.shape == (6, 8, 8, 8)


@pytest.mark.parametrize(("ndim", "isotropic", "symmetries"), [(2, True, 8), (3, True, 48), (3, False, 16)])
def test_turns_reach_every_symmetry_and_keep_image_and_labels_together(
    ndim: int, isotropic: bool, symmetries: int
) -> None:
    rng = np.random.default_rng(0)
    cube = np.arange(2**ndim).reshape((2,) * ndim)
    seen = set()
    for _ in range(600):
        image, bits = turned(cube, cube + 100, isotropic, rng)
        assert (bits == image + 100).all()
        seen.add(tuple(image.ravel()))
    assert len(seen) == symmetries


def test_augmentation_changes_grey_levels_within_its_ranges_and_zoom_keeps_labels_on_the_image(
    toy: LabelledVolume,
) -> None:
    rng = np.random.default_rng(0)
    flat = np.full((1, 8, 8), 0.5, np.float32)
    bright = [Augmentation(noise=(0, 0), gamma=(1, 1)).grey(flat, rng).mean() for _ in range(300)]
    assert 0.4 <= min(bright) < 0.42 and 0.58 < max(bright) <= 0.6
    zoomed = Augmentation(**{**NO_AUGMENTATION.model_dump(), "zoom": (0.5, 2.0), "share": 1.0})
    dataset = SegmentationDataset([[replace(toy, contiguous=False)]], 32, augmentation=zoomed)
    for _ in range(20):
        image, masks = dataset.patch(rng)
        assert image.shape == (1, 32, 32)
        if masks[0].sum() > 50:
            # Balls have grey level 90, the ground 140, walls 220.
            assert image[0][masks[0] > 0].mean() * 255 == pytest.approx(90, abs=20)


def test_checksum_sees_data_and_settings(toy: LabelledVolume, other_toy: LabelledVolume) -> None:
    datasets = [plain(toy), plain(other_toy), plain(toy, patch_px=16), plain(toy, balanced=0.1)]
    assert all(a.checksum != b.checksum for a, b in itertools.combinations(datasets, 2))
    assert plain(toy).checksum == datasets[0].checksum


def test_bad_input_is_refused(toy: LabelledVolume) -> None:
    with pytest.raises(ValueError, match="at least one labelled volume"):
        SegmentationDataset([])
    with pytest.raises(ValueError, match="at least one labelled volume"):
        SegmentationDataset([[toy], []])
    with pytest.raises(ValueError, match="positive numbers"):
        SegmentationDataset([[toy]], weights=[0.0])
    with pytest.raises(ValueError, match="one scale"):
        SegmentationDataset([[toy, replace(toy, voxel_size_nm=(10.0, 10.0, 10.0))]])
    with pytest.raises(ValueError, match="no 3D patch"):
        SegmentationDataset([[replace(toy, contiguous=False)]], spatial_dims=3)
    with pytest.raises(ValueError, match="one shape"):
        replace(toy, bits=toy.bits[1:])
    with pytest.raises(ValueError, match="uint8"):
        replace(toy, image=toy.image.astype(np.uint16))

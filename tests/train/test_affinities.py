from pathlib import Path

import numpy as np
import pytest
import torch

from neuropil.train.affinities import affinity_loss, affinity_targets, cell_cores, voxel_offsets
from neuropil.train.bundle import read_bundle
from neuropil.train.dataset import SegmentationDataset
from neuropil.train.inference import probability_slabs
from neuropil.train.labelled_volume import LabelledVolume
from neuropil.train.settings import AffinityTask, NetworkConfig, TrainingConfig
from neuropil.train.training import train_network
from neuropil.voxelize.volume import Volume

NM10 = (10.0, 10.0, 10.0)


def test_offsets_are_in_nm_whatever_the_voxels() -> None:
    task = AffinityTask(far_nm=(80.0,))
    assert voxel_offsets(task, NM10) == ((1, 0, 0), (0, 1, 0), (0, 0, 1), (8, 0, 0), (0, 8, 0), (0, 0, 8))
    assert voxel_offsets(task, (50.0, 4.0, 4.0))[3:] == ((2, 0, 0), (0, 20, 0), (0, 0, 20))
    # A section thicker than the distance: the next one is as near as can be.
    assert voxel_offsets(task, (200.0, 4.0, 4.0))[3] == (1, 0, 0)
    planar = AffinityTask(far_nm=(80.0,), planar=True)
    assert voxel_offsets(planar, (50.0, 4.0, 4.0)) == ((0, 1, 0), (0, 0, 1), (0, 20, 0), (0, 0, 20))
    assert planar.affinities == ("affinity_y", "affinity_x", "affinity_y_80nm", "affinity_x_80nm")


def test_targets_count_one_cell_only_and_know_where_the_patch_ends() -> None:
    ids = np.zeros((1, 1, 8), np.uint32)
    ids[..., :3], ids[..., 3:6] = 5, 9  # 5 5 5 9 9 9 0 0
    task = AffinityTask(far_nm=(20.0,), boundary_nm=0.0)
    targets = dict(zip(task.channels, affinity_targets(ids, task, NM10)[:, 0, 0], strict=True))
    np.testing.assert_array_equal(targets["affinity_x"], [1, 1, 0, 1, 1, 0, 0, np.nan])
    np.testing.assert_array_equal(targets["affinity_x_20nm"], [1, 0, 0, 1, 0, 0, np.nan, np.nan])
    assert np.isnan(targets["affinity_z"]).all()


def test_boundaries_belong_to_no_cell() -> None:
    ids = np.zeros((4, 9, 9), np.uint32)
    ids[:, :, :4], ids[:, :, 4:] = 1, 2
    ids[2:] = 3
    np.testing.assert_array_equal(cell_cores(ids, 10.0, NM10)[0, 0], [1, 1, 1, 0, 0, 2, 2, 2, 2])
    assert not cell_cores(ids, 10.0, NM10)[1:3].any()
    # Sections 50 nm apart: the next one is not within 10 nm; in the plane alone it never matters.
    assert cell_cores(ids, 10.0, (50.0, 10.0, 10.0))[1, 0].tolist() == [1, 1, 1, 0, 0, 2, 2, 2, 2]
    assert (cell_cores(ids, 10.0, NM10, planar=True)[2] == 3).all()


def test_sections_have_planar_targets() -> None:
    ids = np.ones((12, 12), np.uint32)
    task = AffinityTask(far_nm=(40.0,), planar=True, descriptors_sigma_nm=20.0)
    targets = affinity_targets(ids, task, NM10)
    assert targets.shape == (len(task.channels), 12, 12) == (4 + 6, 12, 12)
    np.testing.assert_array_equal(targets[3, 0], [1] * 8 + [np.nan] * 4)
    with pytest.raises(ValueError, match="planar"):
        affinity_targets(ids, AffinityTask(), NM10)


def test_descriptors_are_unknown_outside_of_cells() -> None:
    ids = np.zeros((4, 6, 6), np.uint32)
    ids[:, 2:5, 2:5] = 4
    task = AffinityTask(far_nm=(), descriptors_sigma_nm=30.0)
    targets = affinity_targets(ids, task, NM10)
    assert targets.shape[0] == len(task.channels) == 13
    assert np.isnan(targets[3:, ids == 0]).all() and not np.isnan(targets[3:, ids > 0]).any()


def test_the_loss_is_least_at_the_targets_and_blind_to_what_is_unknown() -> None:
    task = AffinityTask(far_nm=(20.0,), descriptors_sigma_nm=30.0)
    ids = np.random.default_rng(0).integers(0, 3, (6, 6, 6)).astype(np.uint32).repeat(2, 1).repeat(2, 2)
    targets = torch.from_numpy(affinity_targets(ids, task, NM10))[None]
    best = torch.logit(torch.nan_to_num(targets).clamp(1e-4, 1 - 1e-4)).requires_grad_(True)
    loss = affinity_loss(best, targets, task)
    loss.backward()
    assert torch.isfinite(loss)
    assert affinity_loss(best + 1, targets, task) > loss < affinity_loss(-best, targets, task)
    assert best.grad is not None and (best.grad[torch.isnan(targets)] == 0).all()


@pytest.mark.parametrize("planar", [False, True])
def test_a_network_learns_affinities_and_its_bundle_knows_them(planar: bool, tmp_path: Path) -> None:
    """Bright cells in dark walls: after some steps walls are told from cells, and the bundle says what it found."""
    z, y, x = np.indices((32, 64, 64))
    walls = (z % 16 < 2) | (y % 16 < 3) | (x % 16 < 3)
    ids = np.where(walls, 0, 1 + z // 16 * 100 + y // 16 * 10 + x // 16).astype(np.uint32)
    noise = np.random.default_rng(0).normal(0, 8, ids.shape)
    image = np.clip(np.where(walls, 40, 200) + noise, 0, 255).astype(np.uint8)
    volume = LabelledVolume("rooms", image, np.zeros(ids.shape, np.uint8), NM10, instances=ids)
    task = AffinityTask(far_nm=(40.0,), boundary_nm=0.0, planar=planar)
    network = NetworkConfig(spatial_dims=2 if planar else 3, features=(8, 8, 8, 8, 8, 8))
    data = SegmentationDataset([[volume]], 32, spatial_dims=2 if planar else 3, balanced=0.0, task=task)
    config = TrainingConfig(
        network=network, task=task, steps=40, batch=2, learning_rate=0.01, validations=1, bf16=False
    )
    train_network(config, data, [volume], tmp_path / "model")
    model = read_bundle(tmp_path / "model")
    assert model.task == task and model.classes == task.channels
    found = np.concatenate([s.probabilities for s in probability_slabs(model, Volume(image, NM10))], axis=1)
    inside, wall = found[0][ids > 0].mean(), found[0][ids == 0].mean()
    assert inside > wall + 60

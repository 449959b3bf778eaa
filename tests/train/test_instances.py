from pathlib import Path

import cc3d
import numpy as np
import pytest

from neuropil.train.affinities import affinity_targets
from neuropil.train.evaluation import evaluate
from neuropil.train.instances import InstanceSettings, instances_from_affinities
from neuropil.train.settings import AffinityTask
from neuropil.voxelize.volume import Volume
from neuropil.voxelize.volume_files import open_volume, read_volume, write_volume

NM10 = (10.0, 10.0, 10.0)


def tubes(shape: tuple[int, int, int], count: int = 14, seed: int = 0) -> np.ndarray:
    """Cells that wind along x and fill the box: each voxel goes to the nearest of some wavy lines."""
    rng = np.random.default_rng(seed)
    z, y, x = np.mgrid[tuple(slice(0, n) for n in shape)].astype(np.float32)
    nearest, ids = np.full(shape, np.inf, np.float32), np.zeros(shape, np.uint32)
    for k in range(1, count + 1):
        (z0, y0), (a, b), (f, g) = rng.uniform(0, 1, (3, 2))
        line_z = shape[0] * z0 + 8 * np.sin(x / 12 * (0.5 + f) + 6 * a)
        line_y = shape[1] * y0 + 8 * np.sin(x / 12 * (0.5 + g) + 6 * b)
        distance = (z - line_z) ** 2 + (y - line_y) ** 2
        ids[distance < nearest] = k
        nearest = np.minimum(nearest, distance)
    return cc3d.connected_components(ids, connectivity=6).astype(np.uint32)


def affinities(ids: np.ndarray, task: AffinityTask, noise: float = 0.0, size=NM10) -> Volume:  # type: ignore[no-untyped-def]
    targets = np.nan_to_num(affinity_targets(ids, task, size))
    if noise:
        targets = targets * 0.8 + 0.1 + noise * np.random.default_rng(1).standard_normal(targets.shape)
    data = (np.clip(targets, 0, 1) * 255).round().astype(np.uint8)
    return Volume(data, size, axes="czyx", channels=task.affinities)


def against(found: Volume, truth: np.ndarray) -> dict[str, float]:
    return evaluate(found, Volume(truth, found.voxel_size_nm))


@pytest.mark.parametrize("size_nm", [NM10, (40.0, 8.0, 8.0)])
def test_true_affinities_give_the_true_instances(size_nm: tuple[float, float, float]) -> None:
    ids = tubes((40, 60, 80))
    exact = against(
        instances_from_affinities(affinities(ids, AffinityTask(boundary_nm=0), size=size_nm), AffinityTask()), ids
    )
    assert exact["adapted_rand_error"] < 1e-3 and exact["voi"] < 0.01
    # A boundary of a voxel on either side is kept free, and grown over again.
    task = AffinityTask(boundary_nm=10)
    grown = against(instances_from_affinities(affinities(ids, task, size=size_nm), task), ids)
    assert grown["adapted_rand_error"] < 0.03 and grown["voi"] < 0.2


def test_real_instances_come_back(gala_instances: np.ndarray) -> None:
    truth = cc3d.connected_components(gala_instances).astype(np.uint32)
    task = AffinityTask(boundary_nm=0)
    scores = against(instances_from_affinities(affinities(truth, task), task), truth)
    assert scores["adapted_rand_error"] < 1e-3 and scores["voi"] < 0.02


@pytest.mark.parametrize("noise", [0.0, 0.15])
def test_blocks_agree_with_the_whole_in_any_order(noise: float, tmp_path: Path) -> None:
    ids = tubes((40, 60, 80))
    task = AffinityTask(far_nm=(80.0,))
    given = affinities(ids, task, noise)
    small = InstanceSettings(block_px=30, halo_nm=100)
    whole = instances_from_affinities(given, task, InstanceSettings(block_px=100))
    blocks = instances_from_affinities(given, task, small)
    shuffled = instances_from_affinities(given, task, small, rng=np.random.default_rng(5))
    np.testing.assert_array_equal(blocks.data, shuffled.data)
    assert against(blocks, whole.data)["voi"] < 0.1
    assert against(blocks, ids)["adapted_rand_error"] < 0.1
    # The same from a volume on disk into a file.
    write_volume(given, tmp_path / "affinities.zarr")
    on_disk = instances_from_affinities(open_volume(tmp_path / "affinities.zarr"), task, small, tmp_path / "scratch")
    write_volume(on_disk, tmp_path / "out.zarr")
    np.testing.assert_array_equal(read_volume(tmp_path / "out.zarr").data, blocks.data)


def test_what_belongs_to_no_cell_stays_so_away_from_cells() -> None:
    ids = np.zeros((20, 30, 60), np.uint32)
    ids[:, :, :20], ids[:, :, 50:] = 1, 2
    task = AffinityTask()
    found = instances_from_affinities(affinities(ids, task), task, InstanceSettings(grow_nm=30)).data
    assert not found[:, :, 23:46].any()
    assert (found[:, :, :20] == found[0, 0, 0]).all() and found[0, 0, 0] > 0 and len(np.unique(found)) == 3


def test_other_channels_are_refused() -> None:
    volume = Volume(np.zeros((2, 4, 4, 4), np.uint8), NM10, axes="czyx", channels=("membrane", "psd"))
    with pytest.raises(ValueError, match="membrane, psd"):
        instances_from_affinities(volume, AffinityTask())


def test_planar_affinities_give_regions_of_single_sections() -> None:
    y, x = np.indices((60, 80))
    ids = np.stack([1 + (y + 2 * z) // 16 * 10 + (x + 3 * z) // 16 for z in range(6)]).astype(np.uint32)
    task = AffinityTask(planar=True, boundary_nm=10)
    found = instances_from_affinities(affinities(ids, task), task, InstanceSettings(block_px=50)).data
    for z in range(6):
        assert not set(np.unique(found[z])) & set(np.unique(np.delete(found, z, axis=0))) - {0}
        assert against(Volume(found[z : z + 1], NM10), ids[z : z + 1])["adapted_rand_error"] < 0.05

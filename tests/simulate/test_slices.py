"""Slices of arrays on disk."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import zarr

from neuropil.simulate.fibsem import image_fibsem
from neuropil.simulate.imaging import load_microscope
from neuropil.simulate.materials import load_materials
from neuropil.simulate.slices import Slices
from neuropil.simulate.truth import Truth
from neuropil.voxelize.volume import Volume


class Counted:
    """An array in chunks of four slices that notes what is read of it."""

    chunks = (4, 5, 6)

    def __init__(self) -> None:
        self.data, self.read = np.arange(11 * 5 * 6).reshape(11, 5, 6), 0

    def __getitem__(self, where: slice) -> np.ndarray:
        self.read += 1
        return self.data[where]


def test_each_chunk_is_read_once_in_a_walk_that_looks_back() -> None:
    counted = Counted()
    slices = Slices(counted)
    for index in range(11):
        for seen in (max(index - 3, 0), index):
            assert np.array_equal(slices[seen], counted.data[seen])
    assert counted.read == 3


def test_a_block_on_disk_gives_the_same_image(block: Truth, tmp_path: Path) -> None:
    volumes = block.materials, block.membrane, block.instances
    stored = []
    for number, volume in enumerate(volumes):
        array = zarr.create_array(
            tmp_path / f"{number}", shape=volume.data.shape, chunks=(10, 64, 64), dtype=volume.data.dtype
        )
        array[:] = volume.data
        stored.append(Volume(array, volume.voxel_size_nm))
    images = [
        image_fibsem(*three, load_materials(), load_microscope("fibsem"), np.random.default_rng(1)).image.data
        for three in (volumes, stored)
    ]
    assert np.array_equal(*images)

"""The phantom holds what it promises."""

from __future__ import annotations

import numpy as np
import pytest

from neuropil.simulate.materials import load_structures
from neuropil.simulate.phantom import make_phantom
from neuropil.simulate.truth import Truth
from neuropil.voxelize.volume import Volume


def test_every_structure_is_there_and_organelles_lie_in_cells(block: Truth) -> None:
    structures = load_structures()
    for name in ("axon", "dendrite", "mitochondrion", "crista", "vesicle", "psd", "cleft"):
        assert (block.classes.data == structures[name].class_id).any(), name
    organelles = np.isin(block.classes.data, [structures[n].class_id for n in ("mitochondrion", "vesicle", "psd")])
    assert (block.instances.data[organelles] > 0).all()
    assert (block.instances.data[block.classes.data == 0] == 0).all()


def test_cells_keep_their_gap(block: Truth) -> None:
    """No two cells share a face of a voxel."""
    cells = block.instances.data.astype(np.int64)
    for axis in range(3):
        one, two = np.moveaxis(cells, axis, 0)[:-1], np.moveaxis(cells, axis, 0)[1:]
        assert not ((one != two) & (one > 0) & (two > 0)).any()


def test_the_generator_decides(block: Truth) -> None:
    again, other = (make_phantom(np.random.default_rng(seed), (24, 200, 220)) for seed in (3, 4))
    assert np.array_equal(again.materials.data, block.materials.data)
    assert not np.array_equal(other.materials.data, block.materials.data)


def test_a_truth_must_agree_with_itself(block: Truth) -> None:
    with pytest.raises(ValueError, match="membrane has voxel_size_nm"):
        Truth(block.materials, Volume(block.membrane.data, (4.0, 5.0, 5.0)), block.instances, block.classes)

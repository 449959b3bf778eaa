"""Figures of a block against shapes whose figures are known."""

import numpy as np
import pytest
import trimesh

from neuropil.morphology.tree import AXON, Tree
from neuropil.tissue.block_statistics import calibre, membrane_area_um2, membrane_gaps_nm, sheets_and_tunnels
from neuropil.tissue.filling import Cell
from neuropil.tissue.parameters import TissueParameters

SIZE = (1.0, 1.0, 1.0)
NO_SKELETON = Tree(np.zeros((1, 3)), np.ones(1), np.array([-1], np.int32), np.array([AXON], np.int16))


def _slab(number: int, low: tuple[float, ...], high: tuple[float, ...]) -> Cell:
    """A box, finely cut so that faces lie everywhere in the block."""
    mesh = trimesh.creation.box(bounds=[low, high])
    vertices, faces = trimesh.remesh.subdivide_to_size(mesh.vertices, mesh.faces, 0.05)
    return Cell(number, "axon", NO_SKELETON, np.asarray(vertices), np.asarray(faces, np.int32))


def test_the_gap_between_two_slabs_is_measured_and_is_no_tunnel() -> None:
    slabs = [_slab(1, (-1, -1, -1), (2, 2, 0.49)), _slab(2, (-1, -1, 0.51), (2, 2, 2))]
    gaps = membrane_gaps_nm(slabs, SIZE, np.random.default_rng(0))
    sheets, tunnels = sheets_and_tunnels(gaps)
    assert len(sheets) > 100 and len(tunnels) == 0
    assert sheets == pytest.approx(20, abs=0.01)
    assert membrane_area_um2(slabs, SIZE) == pytest.approx(2.0, rel=0.06)


def test_where_three_slabs_meet_is_a_tunnel() -> None:
    slabs = [
        _slab(1, (-1, -1, -1), (2, 2, 0.49)),
        _slab(2, (-1, -1, 0.51), (0.49, 2, 2)),
        _slab(3, (0.51, -1, 0.51), (2, 2, 2)),
    ]
    gaps = membrane_gaps_nm(slabs, SIZE, np.random.default_rng(0), places=60)
    sheets, tunnels = sheets_and_tunnels(gaps)
    assert len(tunnels) and len(sheets) > 3 * len(tunnels)
    assert (tunnels >= 19.9).all()


def test_calibre_of_a_cylinder_is_its_diameter() -> None:
    rng = np.random.default_rng(1)
    along = np.arange(-0.5, 1.5, 0.09)
    points = np.column_stack([along, np.full(len(along), 0.5), np.full(len(along), 0.5)])
    tree = Tree(points, np.full(len(along), 0.1), np.arange(-1, len(along) - 1), np.full(len(along), AXON))
    samples = rng.uniform(0, 1, (200_000, 3))
    held = samples[np.hypot(samples[:, 1] - 0.5, samples[:, 2] - 0.5) < 0.15]
    found = calibre(tree, TissueParameters(size_um=SIZE), held, 1 / len(samples))
    assert found is not None
    assert found.length_um.sum() == pytest.approx(1.0, abs=0.1)
    # Toward the faces a window of five segments reaches beyond the block.
    assert found.diameter_um[3:-3] == pytest.approx(0.3, rel=0.05)

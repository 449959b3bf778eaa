"""Marching tetrahedra: closed, outward, and disjoint wherever the fields are."""

import numpy as np
import pytest
import trimesh
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from neuropil.tissue.arrival import Grid
from neuropil.tissue.certificate import crossing_pairs, is_closed, volume_um3
from neuropil.tissue.polygonize import polygonize

FIELD = arrays(np.float64, (5, 5, 5), elements=st.floats(-1, 1, width=32))
GRID = Grid(np.zeros(3), 0.1, (5, 5, 5))


def test_sphere_has_its_volume_and_one_side_outward() -> None:
    grid = Grid.around(np.full(3, -0.6), np.full(3, 0.6), 0.03)
    surface = polygonize(grid, 0.5 - np.linalg.norm(grid.nodes() - 0.01, axis=-1))
    assert volume_um3(surface) == pytest.approx(4 / 3 * np.pi * 0.125, rel=0.01)
    assert trimesh.Trimesh(*surface, process=False).euler_number == 2


@settings(max_examples=40, deadline=None)
@given(FIELD)
def test_any_field_gives_a_closed_surface(field: np.ndarray) -> None:
    vertices, faces = polygonize(GRID, field)
    assert is_closed(faces)
    assert len(faces) == 0 or volume_um3((vertices, faces)) > 0


@settings(max_examples=25, deadline=None)
@given(FIELD, st.floats(0.01, 0.3))
def test_opposed_fields_never_cross(field: np.ndarray, apart: float) -> None:
    shapes = [polygonize(GRID, field - apart), polygonize(GRID, -field - apart)]
    if all(len(f) for _, f in shapes):
        assert crossing_pairs(shapes) == set()


def test_nothing_positive_gives_nothing() -> None:
    vertices, faces = polygonize(GRID, np.full((5, 5, 5), -1.0))
    assert len(vertices) == 0 and len(faces) == 0

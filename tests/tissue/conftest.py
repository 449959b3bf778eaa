"""Insides of simple cells."""

import numpy as np
import pytest

from neuropil.tissue.arrival import FloatArray, Grid
from neuropil.tissue.interior import CellInterior


def tube_inside(radius_um: float) -> CellInterior:
    """A tube of this radius along x, from -1.5 to 1.5 µm."""
    grid = Grid.around(np.array([-1.5, -0.6, -0.6]), np.array([1.5, 0.6, 0.6]), 0.035)
    nodes = grid.nodes()
    to_end = 1.45 - np.abs(nodes[..., 0])
    return CellInterior(grid, np.minimum(radius_um - np.hypot(nodes[..., 1], nodes[..., 2]), to_end).astype(np.float32))


@pytest.fixture
def thick() -> CellInterior:
    """A dendrite's inside, 0.4 µm in radius."""
    return tube_inside(0.4)


@pytest.fixture
def thin() -> CellInterior:
    """A thin axon's inside, 0.12 µm in radius."""
    return tube_inside(0.12)


@pytest.fixture
def axis() -> FloatArray:
    """Points (31, 3) along both tubes' axis."""
    return np.column_stack([np.linspace(-1.35, 1.35, 31), np.zeros(31), np.zeros(31)])

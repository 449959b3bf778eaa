"""Membranes: as wide apart as asked, and the interstices given to the glia."""

import itertools

import numpy as np
import pytest

from neuropil.morphology.tree import AXON, GLIA
from neuropil.tissue.arrival import Grid, RoundCones, earliest_arrivals
from neuropil.tissue.membranes import Membranes, give_interstices
from neuropil.tissue.polygonize import polygonize
from neuropil.tissue.warp import Warp

LOW, HIGH = np.full(3, -0.5), np.full(3, 0.5)
GRID = Grid.around(LOW - 0.05, HIGH + 0.05, 0.025)
STILL = Warp(GRID, np.zeros((3, *GRID.shape), np.float32))


def _tubes(places: list[tuple[float, float]], radius: float) -> list[RoundCones]:
    """Tubes along x through (y, z)."""
    return [
        RoundCones(np.array([[-2.0, y, z]]), np.array([[2.0, y, z]]), np.array([radius]), np.array([radius]))
        for y, z in places
    ]


def _membranes(cells: list[RoundCones], sheet_um: float, types: list[int]) -> Membranes:
    parts = [np.array([t], np.int16) for t in types]
    arrivals = earliest_arrivals(GRID, cells, 0.6, STILL, parts)
    return Membranes(arrivals, STILL.stretch, sheet_um, LOW, HIGH)


def test_two_tubes_are_a_sheet_apart() -> None:
    membranes = _membranes(_tubes([(-0.25, 0), (0.25, 0)], 0.1), 0.04, [AXON, AXON])
    x = np.linspace(-0.3, 0.3, 601)
    line = np.column_stack([np.zeros(601), x, np.zeros(601)])
    free = x[membranes.owners(line) < 0]
    assert free.min() == pytest.approx(-0.02, abs=0.002) and free.max() == pytest.approx(0.02, abs=0.002)


def test_owners_are_those_whose_mesh_holds_the_point() -> None:
    """The share of random points in a cell is the volume of the cell's mesh."""
    rng = np.random.default_rng(0)
    membranes = _membranes(_tubes([tuple(p) for p in rng.uniform(-0.4, 0.4, (6, 2))], 0.05), 0.03, [AXON] * 6)
    owner = membranes.owners(rng.uniform(LOW, HIGH, (200_000, 3)))
    for cell, window in enumerate(membranes.windows(6)):
        assert window is not None
        vertices, faces = polygonize(*membranes.depth(cell, window))
        corners = vertices[faces]
        volume = np.einsum("ij,ij->", corners[:, 0], np.cross(corners[:, 1], corners[:, 2])) / 6
        assert (owner == cell).mean() == pytest.approx(volume, abs=0.003)


def test_the_extracellular_share_is_met_and_cells_only_swell() -> None:
    rng = np.random.default_rng(2)
    cells = _tubes([tuple(p) for p in rng.uniform(-0.45, 0.45, (9, 2))], 0.04)
    membranes = _membranes(cells, 0.004, [AXON] * 9)
    points, fresh = rng.uniform(LOW, HIGH, (2, 100_000, 3))
    owners = []
    for target in (0.05, 0.12, 0.2):
        fitted = membranes.fitted(target, 0.003, points)
        owners.append(fitted.owners(fresh))
        assert (owners[-1] < 0).mean() == pytest.approx(target, abs=0.005)
    for tight, loose in itertools.pairwise(owners):
        assert ((loose == tight) | (loose == -1)).all()


def test_glia_takes_the_space_between_and_no_more_than_its_share() -> None:
    """Four tubes and a thin glial branch in the middle: it fills the cross between them, in one piece."""
    cells = _tubes([(-0.25, -0.25), (-0.25, 0.25), (0.25, -0.25), (0.25, 0.25)], 0.12) + _tubes([(0, 0)], 0.03)
    membranes = _membranes(cells, 0.01, [AXON] * 4 + [GLIA])
    points = np.random.default_rng(3).uniform(LOW, HIGH, (100_000, 3))
    before = (membranes.owners(points) == 4).mean()
    inside = tuple(slice(2, -2) for _ in range(3))
    limit = give_interstices(membranes.arrivals, 4, 0.3, 0.01, inside)
    owner = membranes.owners(points)
    assert 0 < limit < 0.4
    assert (owner == 4).mean() == pytest.approx(0.3, abs=0.07)
    assert (owner == 4).mean() > 1.5 * before
    window = membranes.windows(5)[4]
    assert window is not None
    grid, depth = membranes.depth(4, window)
    # Its membrane lies half a gap beyond where the tubes have stopped.
    between = np.array([[0.0, 0.0, 0.45]])
    assert membranes.owners(between)[0] == 4
    assert depth.max() > 0.05 and grid.spacing_um == GRID.spacing_um

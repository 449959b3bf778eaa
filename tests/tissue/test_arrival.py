"""Arrival times: exact on single shapes, and the three promises of contact inflation."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neuropil.morphology.tree import AXON
from neuropil.tissue.arrival import (
    FAR_UM,
    Grid,
    RoundCones,
    arrival_time,
    earliest_arrivals,
    interpolate,
    round_cone_distance,
)
from neuropil.tissue.warp import Warp

NUMBER = st.floats(-1, 1)
POINT = st.tuples(NUMBER, NUMBER, NUMBER)


def _cone(a: tuple[float, ...], b: tuple[float, ...], ra: float, rb: float) -> np.ndarray:
    return np.array([*a, *b, ra, rb], float)


@settings(max_examples=60, deadline=None)
@given(POINT, POINT, POINT, st.floats(0.01, 0.3), st.floats(0.01, 0.3))
def test_round_cone_is_the_nearest_of_its_spheres(x: tuple, a: tuple, b: tuple, ra: float, rb: float) -> None:
    """A round cone is the union of the spheres along its axis: brute force over 4000 of them is the oracle."""
    t = np.linspace(0, 1, 4000)[:, None]
    centres = np.array(a) * (1 - t) + np.array(b) * t
    radii = ra * (1 - t[:, 0]) + rb * t[:, 0]
    brute = (np.linalg.norm(np.array(x) - centres, axis=1) - radii).min()
    assert round_cone_distance(*x, _cone(a, b, ra, rb)) == pytest.approx(brute, abs=2e-3)


def _tubes() -> list[RoundCones]:
    """Two parallel tubes 0.5 µm apart, of radius 0.1 and 0.2 µm."""
    return [
        RoundCones(np.array([[-1.0, y, 0]]), np.array([[1.0, y, 0]]), np.array([r]), np.array([r]))
        for y, r in ((0.0, 0.1), (0.5, 0.2))
    ]


PARTS = [np.array([AXON], np.int16)] * 2


def _still(grid: Grid) -> Warp:
    return Warp(grid, np.zeros((3, *grid.shape), np.float32))


def test_two_tubes_meet_half_way_between_their_surfaces() -> None:
    grid = Grid.around(np.array([-0.3, -0.3, -0.3]), np.array([0.3, 0.8, 0.3]), 0.02)
    arrivals = earliest_arrivals(grid, _tubes(), 0.5, _still(grid), PARTS)
    y = grid.nodes()[15, :, 15, 1]
    owner = arrivals.owner[15, :, 15]
    # Surfaces at y = 0.1 and y = 0.3 meet at 0.2.
    assert (owner[(y < 0.19) & (y > -0.2)] == 0).all()
    assert (owner[y > 0.21] == 1).all()
    assert (arrivals.first_um <= arrivals.second_um).all()


def test_the_three_earliest_arrivals_are_those_of_each_cell_by_itself() -> None:
    rng = np.random.default_rng(4)
    cells, parts = [], []
    for _ in range(7):
        points, radii = rng.uniform(-0.4, 0.4, (4, 3)), rng.uniform(0.02, 0.08, 4)
        cells.append(RoundCones(points[:-1], points[1:], radii[:-1], radii[1:]))
        parts.append(np.full(3, AXON, np.int16))
    grid = Grid.around(np.full(3, -0.5), np.full(3, 0.5), 0.05)
    warp = Warp.random(grid, (0.02,), (0.6,), rng)
    reach = 0.3
    found = earliest_arrivals(grid, cells, reach, warp, parts)
    alone = np.stack([arrival_time(grid, c, 2.0, warp) for c in cells])
    alone[alone >= reach] = FAR_UM
    order = np.argsort(alone, axis=0, kind="stable")[:3]
    assert found.time_um == pytest.approx(np.take_along_axis(alone, order, 0), abs=1e-6)
    reached = found.time_um < FAR_UM
    assert (found.cell[reached] == order[reached]).all() and (found.cell[~reached] == -1).all()


def test_grown_cells_are_disjoint_and_keep_the_gap() -> None:
    """Wherever one cell's depth is positive, no other's is; along any grid line they are at least a gap apart."""
    rng = np.random.default_rng(0)
    cells = []
    for _ in range(6):
        a, b = rng.uniform(-0.4, 0.4, (2, 3))
        cells.append(RoundCones(a[None], b[None], rng.uniform(0.02, 0.06, 1), rng.uniform(0.02, 0.06, 1)))
    grid = Grid.around(np.full(3, -0.5), np.full(3, 0.5), 0.02)
    times = np.stack([arrival_time(grid, c, 2.0) for c in cells])
    gap = 0.03
    depth = np.stack([0.5 * (np.delete(times, n, 0).min(0) - times[n] - gap) for n in range(6)])
    assert ((depth > 0).sum(0) <= 1).all()
    nodes = grid.nodes()
    for n in range(5):
        mine, other = nodes[depth[n] > 0], nodes[depth[n + 1] > 0]
        if len(mine) and len(other):
            some = mine[rng.integers(len(mine), size=200)]
            nearest = np.linalg.norm(some[:, None] - other[None], axis=-1).min()
            assert nearest >= gap - 1e-6


def test_interpolation_is_exact_for_a_plane() -> None:
    grid = Grid.around(np.zeros(3), np.ones(3), 0.1)
    field = (grid.nodes() @ np.array([1.0, -2.0, 0.5])).astype(np.float32)
    points = np.random.default_rng(1).uniform(0, 1, (50, 3))
    assert interpolate(field, grid.origin_um, grid.spacing_um, points) == pytest.approx(
        points @ [1.0, -2.0, 0.5], abs=1e-5
    )


def test_warp_goes_there_and_back() -> None:
    grid = Grid.around(np.full(3, -1.0), np.full(3, 1.0), 0.05)
    warp = Warp.random(grid, (0.03,), (0.8,), np.random.default_rng(2))
    points = np.random.default_rng(3).uniform(-0.7, 0.7, (40, 3))
    assert warp.to_layout(warp.to_tissue(points)) == pytest.approx(points, abs=1e-4)
    gradient = np.stack([np.stack(np.gradient(c, grid.spacing_um)) for c in warp.displacement_um])
    at_middle = gradient[:, :, 20, 20, 20] + np.eye(3)
    around = warp.stretch[20, 20, 20]
    assert around >= np.linalg.svd(at_middle, compute_uv=False)[0] - 1e-5
    assert warp.stretch.max() == pytest.approx(
        np.linalg.svd(np.moveaxis(gradient, (0, 1), (-2, -1)) + np.eye(3), compute_uv=False).max(), rel=1e-5
    )
    assert warp.largest_um == pytest.approx(np.linalg.norm(warp.displacement_um, axis=0).max())

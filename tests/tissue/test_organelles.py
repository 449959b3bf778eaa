"""Organelles keep inside the cell they were made for."""

import numpy as np
import pytest

from neuropil.morphology.tree import AXON, DENDRITE, Tree
from neuropil.tissue.arrival import Grid
from neuropil.tissue.certificate import crossing_pairs, is_closed, pieces, volume_um3
from neuropil.tissue.organelles import (
    VESICLE_RADIUS_UM,
    CellInterior,
    chains,
    fitting_spheres,
    longest_run,
    mitochondrion,
    random_places,
    resampled,
    tubules,
    vesicles,
)

RUN = np.column_stack([np.linspace(-0.8, 0.8, 18), np.zeros(18), np.zeros(18)])


@pytest.fixture
def cylinder() -> CellInterior:
    """A tube of radius 0.3 µm along x."""
    grid = Grid.around(np.array([-1.0, -0.5, -0.5]), np.array([1.0, 0.5, 0.5]), 0.04)
    nodes = grid.nodes()
    return CellInterior(grid, (0.3 - np.hypot(nodes[..., 1], nodes[..., 2])).astype(np.float32))


def _radial(points: np.ndarray) -> np.ndarray:
    return np.hypot(points[:, 1], points[:, 2])


def test_a_mitochondrion_is_one_closed_piece_inside_the_cell(cylinder: CellInterior) -> None:
    found = [mitochondrion(cylinder, RUN[4:14], 0.14, np.random.default_rng(s)) for s in range(4)]
    kept = [m for m in found if m is not None]
    assert kept
    for m in kept:
        vertices, faces = m.surface
        assert is_closed(faces) and pieces(len(vertices), faces).max() == 0
        assert _radial(vertices).max() < 0.3
        assert 0.3 < m.length_um < 1.5
        if m.cristae is not None:
            assert volume_um3(m.cristae) < volume_um3(m.surface)
            assert _radial(m.cristae[0]).max() < 0.3


def test_mitochondria_keep_out_of_each_other(cylinder: CellInterior) -> None:
    rng = np.random.default_rng(0)
    placed = [m for m in (mitochondrion(cylinder, RUN, 0.09, rng) for _ in range(8)) if m is not None]
    assert len(placed) >= 2
    assert crossing_pairs([m.surface for m in placed]) == set()


def test_vesicles_are_a_vesicle_apart_and_inside(cylinder: CellInterior) -> None:
    centres = vesicles(
        cylinder, np.array([[0.0, 0.25, 0.0]]), np.array([0.4]), np.array([3000.0]), np.random.default_rng(2)
    )
    assert len(centres) > 40
    apart = np.linalg.norm(centres[:, None] - centres[None], axis=-1) + 9 * np.eye(len(centres))
    assert apart.min() >= 2 * VESICLE_RADIUS_UM
    assert _radial(centres).max() < 0.3 - VESICLE_RADIUS_UM


def test_spheres_that_do_not_fit_are_left_out(cylinder: CellInterior) -> None:
    centres = np.array([[0.0, 0, 0], [0, 0.28, 0]])
    vertices, _ = fitting_spheres(cylinder, centres, np.full(2, 0.05))
    assert len(vertices) == 42 and np.abs(vertices).max() < 0.06


def test_tubules_and_places_stay_inside(cylinder: CellInterior) -> None:
    rng = np.random.default_rng(3)
    for vertices, faces in tubules(cylinder, [RUN] * 12, 0.0125, rng):
        assert is_closed(faces) and _radial(vertices).max() < 0.3
    places = random_places(cylinder, RUN, 0.05, 10, rng)
    assert 0 < len(places) <= 10 and _radial(places).max() < 0.25
    assert cylinder.room(places).max() <= 0  # they are taken now


def test_chains_split_at_branches() -> None:
    points = np.arange(18, dtype=float).reshape(6, 3)
    tree = Tree(points, np.ones(6), np.array([-1, 0, 1, 1, 3, 2]), np.array([DENDRITE] * 5 + [AXON]))
    assert [len(c) for c in chains(tree, DENDRITE)] == [3, 3]


def test_longest_run_and_resampling() -> None:
    assert longest_run(np.array([0, 1, 1, 0, 1, 1, 1, 0], bool)) == slice(4, 7)
    assert longest_run(np.zeros(4, bool)) is None
    fine = resampled(RUN, 0.01)
    assert np.linalg.norm(np.diff(fine, axis=0), axis=1) == pytest.approx(0.01, rel=0.02)

"""Laying out: swept surfaces keep clear of each other before any inflation."""

import numpy as np
import pytest

from neuropil.morphology.neuron_class import load_class
from neuropil.morphology.tree import DENDRITE, SPINE_HEAD, SPINE_NECK
from neuropil.tissue.arrival import Grid, arrival_time
from neuropil.tissue.free_space import NARROWEST_UM
from neuropil.tissue.laid_cell import LaidOutCell
from neuropil.tissue.layout import lay_out
from neuropil.tissue.parameters import TissueParameters

CLASSES = [load_class(n) for n in ("spiny_dendrite", "unmyelinated_axon", "myelinated_axon", "astrocyte_process")]
PARAMETERS = TissueParameters(size_um=(1.6, 1.6, 1.2))


@pytest.fixture(scope="module")
def cells() -> list[LaidOutCell]:
    return lay_out(PARAMETERS, *CLASSES, beyond_um=0.1, rng=np.random.default_rng(11))


def test_sweeps_hardly_overlap(cells: list[LaidOutCell]) -> None:
    """On a fine grid hardly a node lies inside two sweeps (inflation parts those that do)."""
    grid = Grid.around(np.zeros(3), np.asarray(PARAMETERS.size_um), 0.03)
    inside = np.zeros(grid.shape, int)
    for cell in cells:
        inside += arrival_time(grid, cell.round_cones(), 0.1) < 0
    assert (inside > 0).mean() > 0.4
    assert (inside > 1).mean() < 0.003


def test_the_voids_that_are_left_are_small(cells: list[LaidOutCell]) -> None:
    grid = Grid.around(np.zeros(3), np.asarray(PARAMETERS.size_um), 0.05)
    nearest = np.full(grid.shape, 9.0)
    for cell in cells:
        nearest = np.minimum(nearest, arrival_time(grid, cell.round_cones(), 0.6))
    # Some voids offer no way through for an axon, so not every one is filled; hardly any is wide.
    assert np.quantile(nearest, 0.99) < 0.1


def test_spines_stand_on_the_shaft_and_end_in_a_head(cells: list[LaidOutCell]) -> None:
    heads = 0
    for cell in cells:
        if cell.kind != "dendrite":
            continue
        tree = cell.skeleton
        necks = np.flatnonzero(tree.types == SPINE_NECK)
        feet = necks[tree.types[tree.parents[necks]] == DENDRITE]
        assert len(feet) == len(cell.spine_heads)
        for head in cell.spine_heads:
            nearest = np.argmin(np.linalg.norm(tree.points_um - head.centre_um, axis=1))
            assert tree.types[nearest] == SPINE_HEAD
        heads += len(feet)
    assert heads > 0


def test_radii_seldom_fall_below_the_thinnest(cells: list[LaidOutCell]) -> None:
    """An axon may where it squeezes through."""
    radii = np.concatenate([cell.skeleton.radii_um for cell in cells if cell.kind == "axon"])
    assert radii.min() >= 0.9 * NARROWEST_UM
    assert (radii >= 0.9 * PARAMETERS.thinnest_radius_um).mean() > 0.75

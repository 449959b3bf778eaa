"""Myelin: lamellae one period apart, tongues at either end of the spiral, bare axon at nodes of Ranvier."""

import numpy as np
import pytest

from neuropil.morphology.neuron_class import load_class
from neuropil.morphology.tree import AXON, Tree
from neuropil.tissue.arrival import Grid, arrival_time
from neuropil.tissue.certificate import is_closed, volume_um3
from neuropil.tissue.contents import Contents, Solid
from neuropil.tissue.interior import CellInterior
from neuropil.tissue.laid_cell import LaidOutCell
from neuropil.tissue.myelin import PARANODE_UM, PERIOD_UM, add_myelinated, sheath_share, with_nodes
from neuropil.tissue.polygonize import polygonize

CLASS = load_class("myelinated_axon")
OUTER_UM = 0.35


def straight(nodes_per_um: float = 0.0, seed: int = 0) -> LaidOutCell:
    n = 60
    points = np.column_stack([np.linspace(-3, 3, n), np.zeros(n), np.zeros(n)])
    tree = Tree(points, np.full(n, OUTER_UM), np.arange(-1, n - 1, dtype=np.int32), np.full(n, AXON, np.int16))
    return with_nodes(LaidOutCell("myelinated_axon", tree), CLASS, nodes_per_um, np.random.default_rng(seed))


def filled(cell: LaidOutCell) -> tuple[Contents, CellInterior, CellInterior | None]:
    grid = Grid.around(np.array([-2.6, -0.5, -0.5]), np.array([2.6, 0.5, 0.5]), 0.04)
    to_face = 2.5 - np.abs(grid.nodes()[..., 0])
    depth = np.minimum(-arrival_time(grid, cell.round_cones(), 3.0), to_face).astype(np.float32)
    interior, contents = CellInterior(grid, depth), Contents()
    rng = np.random.default_rng(4)
    core = add_myelinated(contents, 1, polygonize(grid, depth), cell, interior, CLASS, rng)
    return contents, interior, core


def volume(solid: Solid) -> float:
    return volume_um3((solid.vertices_um.astype(float), solid.faces))


def test_lamellae_are_nested_a_period_apart() -> None:
    contents, interior, core = filled(straight())
    assert not contents.uncontained and core is not None
    lamellae = [s for layer, s in contents.layered if layer == "myelin"]
    axon = next(s for layer, s in contents.layered if layer == "axon_core")
    assert 5 <= len(lamellae) <= 16
    assert all(is_closed(s.faces) for s in contents.solids)
    depths = [np.median(interior.depth(s.vertices_um)) for s in lamellae]
    # Tongues push lamellae aside here and there, so it is the median that steps by the period.
    assert np.median(np.diff(depths)) == pytest.approx(PERIOD_UM, rel=0.35)
    assert [volume(s) for s in lamellae] == sorted((volume(s) for s in lamellae), reverse=True)
    g_ratio = np.sqrt(volume(axon) / (np.pi * 5.0)) / OUTER_UM
    assert 0.4 < g_ratio < 0.8
    assert {s.organelle_id for s in lamellae} == {1} and axon.organelle_id == 0


def test_there_are_two_tongues() -> None:
    contents, _, _ = filled(straight())
    sheath, inner = (
        [s for layer, s in contents.layered if layer == name] for name in ("myelin_tongue", "inner_tongue")
    )
    axon = next(s for layer, s in contents.layered if layer == "axon_core")
    first = next(s for layer, s in contents.layered if layer == "myelin")
    assert volume(sheath[0]) - volume(first) > 0.01  # what the outermost lamella leaves
    assert sum(volume(s) for s in inner) - volume(axon) > 0.01


def test_at_a_node_the_axon_is_bare() -> None:
    cell = straight(0.4, seed=1)
    assert cell.nodes_of_ranvier
    contents, _, core = filled(cell)
    assert core is not None and not contents.uncontained
    middle, half = min(cell.nodes_of_ranvier, key=lambda n: abs(n[0][0]))
    assert abs(middle[0]) < 1.5
    for solid in (s for layer, s in contents.layered if layer == "myelin"):
        assert (np.abs(solid.vertices_um[:, 0] - middle[0]) > half - 0.08).all()
    assert [layer for layer, _ in contents.layered].count("paranodal_loop") >= 2
    axon = next(s for layer, s in contents.layered if layer == "axon_core")
    assert (np.abs(axon.vertices_um[:, 0] - middle[0]) < 0.2).any()


def test_sheath_share_rises_over_the_paranode() -> None:
    along = np.array([0.0, 0.4, 0.5 + 0.5 * PARANODE_UM, 3.0])
    assert sheath_share(along, [(0.0, 0.5)]) == pytest.approx([0, 0, 0.5, 1])
    assert sheath_share(along, []) == pytest.approx(1)


def test_a_thin_graze_is_all_sheath() -> None:
    grid = Grid.around(np.full(3, -0.3), np.full(3, 0.3), 0.03)
    interior = CellInterior(grid, (0.03 - np.abs(grid.nodes()[..., 1])).astype(np.float32))
    contents = Contents()
    surface = polygonize(grid, interior.depth_um)
    assert add_myelinated(contents, 1, surface, straight(), interior, CLASS, np.random.default_rng(0)) is None
    assert {layer for layer, _ in contents.layered} == {"myelin"}
    assert len({solid.organelle_id for _, solid in contents.layered}) == 1

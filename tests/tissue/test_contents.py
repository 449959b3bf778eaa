"""Instances are numbered once, in the order of painting and across cells."""

import numpy as np
import pytest

from neuropil.tissue.arrival import Grid
from neuropil.tissue.contents import Contents
from neuropil.tissue.interior import CellInterior
from neuropil.tissue.shapes import spheres


def cell(cell_id: int) -> Contents:
    contents = Contents()
    contents.add("axon", cell_id, spheres(np.array([[0.0, 0, 0]]), np.array([1.0])))
    crowd = spheres(np.array([[0.1, 0, 0], [0.4, 0, 0], [0.0, 0.3, 0]]), np.array([0.02, 0.03, 0.02]))
    contents.add_instance("vesicle", cell_id, crowd, pieces=3)
    number = contents.add_instance("mitochondrion", cell_id, spheres(np.array([[0.0, 0, 0.5]]), np.array([0.2])))
    contents.add("crista", cell_id, spheres(np.array([[0.0, 0, 0.5]]), np.array([0.1])), organelle_id=number)
    parts = contents.of_synapse(1)
    if cell_id == 1:
        parts.active_zone_id, parts.docked_ids, parts.reserve_ids = 2, {1}, {2, 3}
    else:
        parts.psd_id = 4
    return contents


def test_numbers_go_on_from_cell_to_cell() -> None:
    both = Contents()
    both.append(cell(1))
    both.append(cell(2))
    organelles = both.organelles()
    assert [o.id for o in organelles] == list(range(1, 9))
    assert [o.structure for o in organelles] == (["vesicle"] * 3 + ["mitochondrion"]) * 2
    assert [o.cell_id for o in organelles] == [1] * 4 + [2] * 4
    assert both.synapses[1].active_zone_id == 2 and both.synapses[1].psd_id == 4 + 4
    assert both.synapses[1].docked_ids == {1}
    assert both.counts["vesicle"] == 6


def test_the_table_measures_each_instance() -> None:
    second, mitochondrion = cell(1).organelles()[1], cell(1).organelles()[3]
    assert second.volume_um3 == pytest.approx(4 / 3 * np.pi * 0.03**3, rel=1e-4)
    assert second.centre_um == pytest.approx((0.4, 0, 0), abs=1e-5)
    assert mitochondrion.volume_um3 == pytest.approx(4 / 3 * np.pi * 0.2**3, rel=1e-4)


def test_bodies_are_painted_before_what_they_hold() -> None:
    both = Contents()
    both.append(cell(1))
    both.append(cell(2))
    names = [s.structure for s in both.painted()]
    assert names == sorted(names, key=["axon", "mitochondrion", "crista", "vesicle"].index)


def test_what_leaves_its_cell_is_noted() -> None:
    grid = Grid.around(np.full(3, -1.0), np.full(3, 1.0), 0.1)
    interior = CellInterior(grid, (0.5 - np.linalg.norm(grid.nodes(), axis=-1)).astype(np.float32))
    contents = Contents()
    contents.add_instance("lysosome", 1, spheres(np.zeros((1, 3)), np.array([0.2])), interior)
    assert not contents.outside
    two = spheres(np.array([[0.0, 0.3, 0], [0.4, 0, 0]]), np.array([0.1, 0.2]))
    contents.add_instance("vesicle", 1, two, interior, pieces=2)
    assert contents.outside == {3} and not contents.uncontained
    contents.add("axon_core", 1, spheres(np.array([[0.4, 0, 0]]), np.array([0.2])), interior)
    assert contents.uncontained == {"axon_core"}


def test_dropped_instances_are_gone_and_the_others_keep_their_numbers() -> None:
    contents = cell(1)
    before = {o.id: o for o in contents.organelles()}
    contents.drop({2, 4})
    after = {o.id: o for o in contents.organelles()}
    assert after == {1: before[1], 3: before[3]}
    assert not [s for s in contents.solids if s.structure == "crista"]  # gone with its mitochondrion
    assert contents.synapses[1].reserve_ids == {3}
    contents.drop_half_synapses()
    assert not contents.synapses  # its other side is in no cell of these
    assert contents.counts == {"vesicle": 2, "mitochondrion": 0}

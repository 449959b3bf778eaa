"""A nucleus in a soma: two membranes with pores, chromatin inside, all of it within the cell."""

import numpy as np
import pytest

from neuropil.simulate.materials import load_materials, load_structures
from neuropil.tissue.arrival import Grid
from neuropil.tissue.certificate import is_closed, volume_um3
from neuropil.tissue.contents import Contents
from neuropil.tissue.interior import CellInterior
from neuropil.tissue.nucleus import PERINUCLEAR_UM, PORES_APART_UM, add_nucleus
from neuropil.voxelize.solid import Box, Part, voxelize


@pytest.fixture(scope="module")
def soma() -> CellInterior:
    """A ball of 2.4 µm radius."""
    grid = Grid.around(np.full(3, -2.6), np.full(3, 2.6), 0.1)
    return CellInterior(grid, (2.4 - np.linalg.norm(grid.nodes(), axis=-1)).astype(np.float32))


@pytest.fixture(scope="module")
def contents(soma: CellInterior) -> Contents:
    found = Contents()
    add_nucleus(found, 1, soma, np.zeros(3), 1.8, np.random.default_rng(0))
    return found


def of(contents: Contents, structure: str) -> list:
    return [s for s in contents.solids if s.structure == structure]


def test_it_lies_in_the_soma_and_is_closed(contents: Contents) -> None:
    assert not contents.uncontained
    assert {s.structure for s in contents.solids} >= {
        "nuclear_envelope", "nucleus", "heterochromatin", "nucleolus", "nuclear_pore",
    }  # fmt: skip
    for solid in contents.solids:
        assert is_closed(solid.faces), solid.structure
        assert volume_um3((solid.vertices_um.astype(float), solid.faces)) > 0


def test_its_two_membranes_are_a_space_apart(contents: Contents) -> None:
    outer, inner = (of(contents, name)[0] for name in ("nuclear_envelope", "nucleus"))
    volumes = [volume_um3((s.vertices_um.astype(float), s.faces)) for s in (outer, inner)]
    area = volumes[0] * 3 / 1.8
    assert (volumes[0] - volumes[1]) / area == pytest.approx(PERINUCLEAR_UM, rel=0.2)
    assert volumes[0] == pytest.approx(4 / 3 * np.pi * 1.8**3, rel=0.25)


def test_pores_are_instances_apart(contents: Contents) -> None:
    pores = [o for o in contents.organelles() if o.structure == "nuclear_pore"]
    assert 150 < len(pores) < 600  # 10 per µm² of 41 µm²
    centres = np.array([p.centre_um for p in pores])
    apart = np.linalg.norm(centres[:, None] - centres, axis=-1) + 9 * np.eye(len(pores))
    assert apart.min() > 0.7 * PORES_APART_UM
    assert len({o.id for o in contents.organelles()}) == len(pores) + 1


def test_chromatin_has_its_share_and_leaves_the_pores_open(contents: Contents) -> None:
    inner = volume_um3((of(contents, "nucleus")[0].vertices_um.astype(float), of(contents, "nucleus")[0].faces))
    dense = sum(volume_um3((s.vertices_um.astype(float), s.faces)) for s in of(contents, "heterochromatin"))
    assert 0.08 < dense / inner < 0.35


def test_a_section_shows_membranes_and_pores(contents: Contents) -> None:
    structures, materials = load_structures(), load_materials()
    parts = []
    for s in contents.painted():
        drawn = structures[s.structure]
        material = materials[drawn.material].id
        parts.append(
            Part(s.vertices_um, s.faces, 1, drawn.class_id, material, drawn.membrane_nm, s.organelle_id, s.pieces)
        )
    voxels = voxelize(parts, Box((-4, -420, -420), (8, 840, 840)), (5.0, 5.0, 5.0))
    seen = set(np.unique(voxels.classes.data))
    wanted = ("nuclear_envelope", "nucleus", "heterochromatin", "nuclear_pore")
    assert {structures[name].class_id for name in wanted} <= seen
    row = voxels.membrane.data[4, 420]  # from left to right through the middle
    crossings = np.count_nonzero(np.diff((row > 100).astype(int)) == 1)
    assert crossings == 4


def test_too_small_a_soma_is_refused(soma: CellInterior) -> None:
    with pytest.raises(ValueError, match="no nucleus of radius 1 µm"):
        add_nucleus(Contents(), 1, soma.below(2.35), np.zeros(3), 1.0, np.random.default_rng(0))

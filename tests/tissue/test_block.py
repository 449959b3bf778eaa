"""A whole small block: certified, reproducible, and of the kinds of things tissue is made of."""

from collections import Counter

import fcl
import numpy as np
import pytest
import trimesh
from pydantic import ValidationError

from neuropil.tissue.block import TissueBlock, build_block
from neuropil.tissue.block_statistics import sheets_and_tunnels
from neuropil.tissue.certificate import is_closed, volume_um3
from neuropil.tissue.parameters import TissueParameters
from neuropil.voxelize.solid import Box, Part, voxelize

SMALL = TissueParameters(size_um=(1.4, 1.4, 0.9), myelinated_axons=1)


@pytest.fixture(scope="module")
def block() -> TissueBlock:
    return build_block(SMALL, np.random.default_rng(5))


def test_every_certificate_holds(block: TissueBlock) -> None:
    assert block.certificates and all(block.certificates.values()), block.certificates


def test_no_pair_crosses_by_an_independent_check(block: TissueBlock) -> None:
    """The Flexible Collision Library, on the solids that are painted and not on the certificate's list of cells."""
    painted_first = {s.cell_id: s for s in reversed(block.solids) if s.cell_id > 0}
    bodies = list(painted_first.values())
    assert len(bodies) == len(block.cells)
    meshes = [trimesh.Trimesh(s.vertices_um.astype(float), s.faces, process=False) for s in bodies]
    surfaces = [fcl.CollisionObject(trimesh.collision.mesh_to_BVH(mesh)) for mesh in meshes]
    manager = fcl.DynamicAABBTreeCollisionManager()
    manager.registerObjects(surfaces)
    manager.setup()
    found = fcl.CollisionData()
    manager.collide(found, fcl.defaultCollisionCallback)
    assert not found.result.is_collision


def test_it_holds_several_dozen_cells_and_all_organelles(block: TissueBlock) -> None:
    kinds = Counter(c.kind for c in block.cells)
    assert kinds["axon"] >= 24 and kinds["dendrite"] >= 1 and kinds["astrocyte"] == 1 and kinds["myelinated_axon"] == 1
    structures = {s.structure for s in block.solids}
    assert {
        "mitochondrion",
        "crista",
        "vesicle",
        "psd",
        "myelin",
        "microtubule",
        "endoplasmic_reticulum",
        "active_zone",
        "cleft",
    } <= structures


def test_all_solids_are_closed(block: TissueBlock) -> None:
    for solid in block.solids:
        assert is_closed(solid.faces), solid.structure
        assert volume_um3((solid.vertices_um.astype(float), solid.faces)) > 0, solid.structure


def test_the_extracellular_space_has_the_share_that_was_asked(block: TissueBlock) -> None:
    kinds = ("axon", "dendrite", "astrocyte", "myelinated_axon")
    held = sum(block.statistics[f"{k}_fraction"] for k in kinds)
    assert held + block.statistics["extracellular_fraction"] == pytest.approx(1)
    assert block.statistics["extracellular_fraction"] == pytest.approx(SMALL.extracellular_fraction, abs=0.01)


def test_it_is_so_in_voxels_too(block: TissueBlock) -> None:
    """The cells' solids, voxelized one by one: no voxel is held twice, and the free ones make the share."""
    size_nm = 10.0
    box = Box((0, 0, 0), tuple(round(um * 1000 / size_nm) for um in reversed(SMALL.size_um)))
    held = np.zeros(box.shape, int)
    for cell in block.cells:
        part = Part(cell.vertices_um, cell.faces, cell.id)
        held += voxelize([part], box, (size_nm,) * 3).instances.data == cell.id
    assert held.max() == 1
    assert (held == 0).mean() == pytest.approx(SMALL.extracellular_fraction, abs=0.01)


def test_synapses_join_an_axon_to_a_dendrite(block: TissueBlock) -> None:
    kind = {c.id: c.kind for c in block.cells}
    assert block.synapses
    for synapse in block.synapses:
        assert kind[synapse.pre_id] == "axon" and kind[synapse.post_id] == "dendrite"
        assert 0.01 < synapse.psd_area_um2 < 0.4
    densities = {s.cell_id for s in block.solids if s.structure == "psd"}
    assert densities <= {s.post_id for s in block.synapses}


def test_one_seed_gives_one_block_and_another_differs() -> None:
    tiny = TissueParameters(size_um=(0.6, 0.6, 0.5), myelinated_axons=0)
    first, again, other = (build_block(tiny, np.random.default_rng(s)) for s in (1, 1, 2))
    assert [s.vertices_um.tobytes() for s in first.solids] == [s.vertices_um.tobytes() for s in again.solids]
    assert [s.vertices_um.tobytes() for s in first.solids] != [s.vertices_um.tobytes() for s in other.solids]


def test_swelling_changes_neither_the_cells_nor_who_touches_whom() -> None:
    """Fixation: the same block with 20 % and with 8 % of extracellular space, sheets narrow and tunnels wide."""
    loose, fixed = (
        build_block(
            TissueParameters(
                size_um=(1.4, 1.4, 1.0), extracellular_fraction=share, filled_at_extracellular_fraction=0.2
            ),
            np.random.default_rng(5),  # a block in which the certificate leaves out the same organelles twice
        )
        for share in (0.2, 0.08)
    )
    for block, share in ((loose, 0.2), (fixed, 0.08)):
        assert all(block.certificates.values()), block.certificates
        assert block.statistics["extracellular_fraction"] == pytest.approx(share, abs=0.01)
    assert [(c.id, c.kind) for c in loose.cells] == [(c.id, c.kind) for c in fixed.cells]
    partners = [[(s.id, s.pre_id, s.post_id) for s in block.synapses] for block in (loose, fixed)]
    assert partners[0] == partners[1] and partners[0]
    # Organelles were placed before the cells swelled; what lies on membranes has moved with them.
    stays = {"mitochondrion", "microtubule", "endoplasmic_reticulum"}
    inner = [
        [(s.structure, s.vertices_um.tobytes()) for s in block.solids if s.structure in stays]
        for block in (loose, fixed)
    ]
    assert inner[0] == inner[1] and inner[0]
    assert {"psd", "cleft", "active_zone"} <= {s.structure for s in fixed.solids}
    (loose_sheets, loose_tunnels), (sheets, tunnels) = (
        sheets_and_tunnels(block.membrane_gaps_nm) for block in (loose, fixed)
    )
    assert np.median(loose_sheets) > 2 * np.median(sheets)
    for narrow, wide in ((loose_sheets, loose_tunnels), (sheets, tunnels)):
        assert np.median(wide) > 1.1 * np.median(narrow)


def test_too_little_extracellular_space_is_refused_with_the_share_that_is_left() -> None:
    with pytest.raises(ValueError, match=r"extracellular_fraction = 0.05.*leave 0\.\d+.*gap_nm"):
        build_block(
            TissueParameters(size_um=(0.8, 0.8, 0.8), extracellular_fraction=0.05, gap_nm=30),
            np.random.default_rng(0),
        )


def test_bad_parameters_are_refused() -> None:
    with pytest.raises(ValidationError, match="gap_nm"):
        TissueParameters(gap_nm=-1)
    with pytest.raises(ValidationError, match="preset is 'moon', but allowed are fly, mouse_cortex, rodent_ca1"):
        TissueParameters(preset="moon")
    with pytest.raises(ValidationError, match="colour"):
        TissueParameters(colour=3)  # type: ignore[call-arg]
    with pytest.raises(ValueError, match="myelinated_axons = 20"):
        build_block(TissueParameters(size_um=(0.6, 0.6, 0.6), myelinated_axons=20), np.random.default_rng(0))

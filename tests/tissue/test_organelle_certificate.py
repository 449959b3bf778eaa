"""Organelles of a whole block: inside their cells and apart, by checks of others' making."""

import fcl
import numpy as np
import open3d as o3d
import pytest
import trimesh

from neuropil.tissue.block import TissueBlock, build_block
from neuropil.tissue.contents import Contents, Solid
from neuropil.tissue.filling import Cell
from neuropil.tissue.organelle_certificate import LARGE, SEPARATE, separate
from neuropil.tissue.parameters import TissueParameters
from neuropil.tissue.shapes import spheres


@pytest.fixture(scope="module")
def block() -> TissueBlock:
    return build_block(TissueParameters(size_um=(1.3, 1.3, 0.9), myelinated_axons=1), np.random.default_rng(8))


def outer(block: TissueBlock) -> list[Solid]:
    """The outermost solid of every instance, one by one."""
    found: dict[int, Solid] = {}
    for s in block.solids:
        if s.structure in SEPARATE and s.organelle_id and s.organelle_id not in found:
            vertices, faces = s.vertices_um.reshape(s.pieces, -1, 3), s.faces[: len(s.faces) // s.pieces]
            for n in range(s.pieces):
                number = s.organelle_id + n
                found[number] = Solid(s.structure, s.cell_id, vertices[n].astype(float), faces, number)
    return list(found.values())


def test_every_vertex_lies_in_its_own_cell(block: TissueBlock) -> None:
    """Open3D's occupancy, ray by ray, for each cell and all that is said to be in it."""
    checked = 0
    for cell in block.cells:
        own = [s.vertices_um for s in block.solids if s.cell_id == cell.id and s.organelle_id > 0]
        if not own or cell.kind == "myelinated_axon":  # the sheath's own surface is the cell's
            continue
        scene = o3d.t.geometry.RaycastingScene()
        scene.add_triangles(
            o3d.core.Tensor(cell.vertices_um.astype(np.float32)), o3d.core.Tensor(cell.faces.astype(np.uint32))
        )
        points = np.vstack(own).astype(np.float32)
        assert (scene.compute_occupancy(o3d.core.Tensor(points), nsamples=3).numpy() > 0).all(), cell
        checked += len(points)
    assert checked > 20_000


def test_no_two_organelles_interpenetrate(block: TissueBlock) -> None:
    """The Flexible Collision Library, over all pairs of instances."""
    manager = fcl.DynamicAABBTreeCollisionManager()
    meshes = [trimesh.Trimesh(s.vertices_um, s.faces, process=False) for s in outer(block)]
    manager.registerObjects([fcl.CollisionObject(trimesh.collision.mesh_to_BVH(mesh)) for mesh in meshes])
    manager.setup()
    found = fcl.CollisionData()
    manager.collide(found, fcl.defaultCollisionCallback)
    assert len(meshes) > 300
    assert not found.result.is_collision


def test_the_block_says_so_and_has_a_row_for_each(block: TissueBlock) -> None:
    assert block.certificates["organelles_apart"] and block.certificates["organelles_contained"]
    assert block.statistics["organelles"] == len(outer(block))
    assert block.statistics["organelles_left_out"] < 0.01 * block.statistics["organelles"]
    table = {o.id: o for o in block.organelles}
    assert len(table) == len(block.organelles)
    for s in outer(block):
        row = table[s.organelle_id]
        assert (row.structure, row.cell_id) == (s.structure, s.cell_id)
        assert (s.vertices_um.min(0) <= row.centre_um).all() and (row.centre_um <= s.vertices_um.max(0)).all()


def test_synapses_name_their_densities(block: TissueBlock) -> None:
    table = {o.id: o for o in block.organelles}
    assert block.synapses
    for synapse in block.synapses:
        parts = block.synapse_parts[synapse.id]
        for number, structure, cell in (
            (parts.psd_id, "psd", synapse.post_id),
            (parts.active_zone_id, "active_zone", synapse.pre_id),
            (parts.cleft_id, "cleft", 0),
        ):
            assert number == 0 or (table[number].structure, table[number].cell_id) == (structure, cell)
        vesicles = parts.docked_ids | parts.reserve_ids
        assert {(table[v].structure, table[v].cell_id) for v in vesicles} <= {("vesicle", synapse.pre_id)}


def ball(centre: tuple[float, float, float], radius: float) -> tuple[np.ndarray, np.ndarray]:
    return spheres(np.array([centre]), np.array([radius]), level=2)


def test_what_touches_is_left_out_and_counted() -> None:
    body = ball((0, 0, 0), 1.0)
    contents = Contents()
    contents.add("axon", 1, body)
    for centre, radius in (((0, 0, 0), 0.3), ((0.35, 0, 0), 0.2), ((-0.6, 0, 0), 0.1), ((0, 0.95, 0), 0.2)):
        contents.add_instance("mitochondrion", 1, ball(centre, radius))
    contents.add_instance("vesicle", 1, ball((-0.1, 0, 0), 0.05))
    cell = Cell(1, "axon", None, *body)  # type: ignore[arg-type]
    found = separate(contents, [cell])
    assert (found.left_out, found.crossing, found.through_membranes) == (2, 0, 0)  # the second and the fourth
    assert found.instances == 3
    assert found.nested == 1  # the vesicle in the mitochondrion
    assert [o.id for o in contents.organelles()] == [1, 3, 5]
    assert "mitochondrion" in LARGE

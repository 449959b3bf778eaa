"""What is free inside a cell, and surfaces that keep to it."""

import numpy as np
import open3d as o3d
import pytest

from neuropil.tissue.arrival import Grid, RoundCones, arrival_time
from neuropil.tissue.bricks import swept_surface
from neuropil.tissue.certificate import is_closed, largest_piece, pieces, volume_um3
from neuropil.tissue.interior import APART_UM, WALL_UM, CellInterior, nodes_beside, only_piece
from neuropil.tissue.polygonize import polygonize


@pytest.fixture
def blob() -> CellInterior:
    """A body with an uneven surface, on a coarse grid."""
    grid = Grid.around(np.full(3, -0.5), np.full(3, 0.5), 0.05)
    x, y, z = np.moveaxis(grid.nodes(), -1, 0)
    depth = 0.35 - np.sqrt(x**2 + y**2 + z**2) + 0.05 * np.sin(15 * x) * np.cos(12 * y + z)
    return CellInterior(grid, depth.astype(np.float32))


def test_depth_is_positive_exactly_inside_the_mesh(blob: CellInterior) -> None:
    vertices, faces = polygonize(blob.grid, blob.depth_um)
    points = np.random.default_rng(0).uniform(-0.45, 0.45, (4000, 3))
    scene = o3d.t.geometry.RaycastingScene()
    scene.add_triangles(o3d.core.Tensor(vertices.astype(np.float32)), o3d.core.Tensor(faces.astype(np.uint32)))
    inside = scene.compute_occupancy(o3d.core.Tensor(points.astype(np.float32)), nsamples=3).numpy() > 0
    depth = blob.depth(points)
    clear = np.abs(depth) > 1e-5
    assert ((depth > 0) == inside)[clear].all()
    assert np.abs(blob.depth(vertices)).max() < 1e-6


def test_room_is_the_distance_to_wall_and_organelles(blob: CellInterior) -> None:
    points = np.random.default_rng(1).uniform(-0.3, 0.3, (500, 3))
    assert blob.room(points) == pytest.approx(blob.depth(points) - WALL_UM)
    rng = np.random.default_rng(2)
    centres, radii = rng.uniform(-0.2, 0.2, (60, 3)), rng.uniform(0.01, 0.04, 60)
    blob.occupy_balls(centres, radii)
    nearest = (np.linalg.norm(points[:, None] - centres, axis=-1) - radii).min(1) - APART_UM
    expected = np.minimum(blob.depth(points) - WALL_UM, nearest)
    near = nearest < 0.2
    assert blob.room(points)[near] == pytest.approx(expected[near], abs=1e-6)


def test_a_plate_takes_the_room_above_it(blob: CellInterior) -> None:
    top = np.array([0.0, 0.0, 0.3])
    before = blob.room(top[None])[0]
    blob.occupy_plate(top, 0.1, 0.06)
    assert blob.room(top[None])[0] < before
    far = np.array([[0.0, 0.0, -0.2]])
    assert blob.room(far) == pytest.approx(blob.depth(far) - WALL_UM)


def test_swept_surface_is_the_union_of_its_cones() -> None:
    path = np.array([[-0.4, 0, 0], [0.0, 0.1, 0], [0.4, 0, 0.1]])
    cones = RoundCones(path[:-1], path[1:], np.array([0.05, 0.07]), np.array([0.07, 0.05]))
    vertices, faces = swept_surface(cones, 0.015)
    assert is_closed(faces) and pieces(len(vertices), faces).max() == 0
    grid = Grid.around(np.full(3, -0.6), np.full(3, 0.6), 0.015)
    whole = polygonize(grid, -arrival_time(grid, cones, 0.1))
    assert volume_um3((vertices, faces)) == pytest.approx(volume_um3(whole), rel=0.01)


def test_swept_surface_is_cut_to_the_room(blob: CellInterior) -> None:
    path = np.array([[-0.6, 0, 0], [0.6, 0.05, 0.02]])
    cones = RoundCones(path[:-1], path[1:], np.array([0.08]), np.array([0.08]))
    blob.occupy_balls(np.zeros((1, 3)), np.array([0.12]))
    vertices, faces = swept_surface(cones, 0.02, blob)
    assert is_closed(faces) and pieces(len(vertices), faces).max() == 1  # the ball cuts it in two
    assert blob.depth(vertices).min() > 0
    assert np.linalg.norm(vertices, axis=1).min() > 0.12


def test_slivers_are_no_part_of_the_inside() -> None:
    grid = Grid.around(np.full(3, -1.0), np.full(3, 1.0), 0.05)
    x, y, z = np.moveaxis(grid.nodes(), -1, 0)
    large, small = 0.5 - np.sqrt((x + 0.4) ** 2 + y**2 + z**2), 0.2 - np.sqrt((x - 0.6) ** 2 + y**2 + z**2)
    depth = np.maximum(large, small).astype(np.float32)
    surface, share = largest_piece(polygonize(grid, depth))
    assert share < 1
    kept = CellInterior(grid, only_piece(depth, nodes_beside(grid, surface[0])))
    assert kept.depth(np.array([[0.6, 0, 0]])) < 0 < kept.depth(np.array([[-0.4, 0, 0]]))
    assert np.abs(kept.depth(surface[0])).max() < 1e-6
    assert (only_piece(large, nodes_beside(grid, surface[0])) == large).all()

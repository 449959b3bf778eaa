"""A certificate is worth something only if it fails where it should."""

import numpy as np
import open3d as o3d
import pytest
import trimesh

from neuropil.tissue.certificate import _holds, certify_packing, is_closed, largest_piece, nested_pairs
from neuropil.tissue.shapes import Shape, joined


def _ball(centre: tuple[float, float, float], radius: float) -> Shape:
    mesh = trimesh.creation.icosphere(subdivisions=2, radius=radius)
    return np.asarray(mesh.vertices) + centre, np.asarray(mesh.faces, np.int32)


def test_two_balls_apart_hold() -> None:
    certificate = certify_packing([_ball((0, 0, 0), 0.1), _ball((0.25, 0, 0), 0.1)], 0.02)
    assert certificate.holds
    assert certificate.least_gap_nm == pytest.approx(50, abs=2)


def test_crossing_balls_are_found() -> None:
    certificate = certify_packing([_ball((0, 0, 0), 0.1), _ball((0.15, 0, 0), 0.1)], 0.02)
    assert certificate.crossing_pairs == 1 and not certificate.holds


def test_a_ball_within_a_ball_is_found() -> None:
    shapes = [_ball((0, 0, 0), 0.1), _ball((0.01, 0, 0), 0.04)]
    assert nested_pairs(shapes) == {(1, 0)}
    assert not certify_packing(shapes, 0.02).holds


def test_what_a_surface_holds_is_what_open3d_says() -> None:
    mesh = trimesh.creation.torus(0.2, 0.08)
    probes = np.random.default_rng(0).uniform(-0.3, 0.3, (2000, 3)) * (1, 1, 0.4)
    scene = o3d.t.geometry.RaycastingScene()
    scene.add_triangles(mesh.vertices.astype(np.float32), mesh.faces.astype(np.uint32))
    theirs = scene.compute_occupancy(probes.astype(np.float32), nsamples=5).numpy() > 0
    ours = _holds(np.asarray(mesh.vertices), np.asarray(mesh.faces, np.int32), probes)
    assert (ours == theirs).all() and 0.1 < ours.mean() < 0.9


def test_a_hole_a_flipped_and_a_second_piece_are_found() -> None:
    vertices, faces = _ball((0, 0, 0), 0.1)
    other = _ball((1, 0, 0), 0.1)
    assert not is_closed(faces[1:])
    assert not certify_packing([(vertices, faces[:, ::-1]), other], 0.01).all_outward
    two = joined([(vertices, faces), _ball((0.5, 0, 0), 0.05)])
    assert not certify_packing([two, other], 0.01).all_one_piece
    kept, share = largest_piece(two)
    assert len(kept[1]) == len(faces) and share == pytest.approx(0.5)

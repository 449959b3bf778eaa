"""Certificates: what a sound mesh passes and each kind of broken mesh fails."""

from __future__ import annotations

import json

import numpy as np
import pytest

from neuropil.blender_addon.certificate import certify
from neuropil.blender_addon.sweep import SweptMesh, build_mesh
from neuropil.morphology.tree import Tree

POINTS = np.array([(0, 0, 0), (1, 0, 0), (2, 0.2, 0), (3, 0.2, 0.3), (4, 0, 0)])
TREE = Tree(POINTS, np.full(5, 0.2), np.arange(5) - 1, np.full(5, 2))


@pytest.fixture(scope="module")
def mesh() -> SweptMesh:
    return build_mesh(TREE)


def test_sound_mesh_holds(mesh: SweptMesh) -> None:
    certificate = certify(mesh, TREE)
    assert certificate.holds
    assert certificate.euler_number == 2
    assert certificate.radius_sites > 0


def test_ready_for_json(mesh: SweptMesh) -> None:
    found = json.loads(json.dumps(certify(mesh, TREE).as_dict()))
    assert found["holds"] is True
    assert found["components"] == 1
    assert found["failures"] == []


def test_hole(mesh: SweptMesh) -> None:
    certificate = certify(SweptMesh(mesh.vertices_um, mesh.faces[1:]), TREE)
    assert not certificate.closed
    assert certificate.smallest_radius_error is None
    assert "the surface is not closed" in certificate.failures


def test_one_face_turned(mesh: SweptMesh) -> None:
    faces = mesh.faces.copy()
    faces[0] = faces[0, ::-1]
    assert not certify(SweptMesh(mesh.vertices_um, faces), TREE).closed


def test_inside_out(mesh: SweptMesh) -> None:
    certificate = certify(SweptMesh(mesh.vertices_um, mesh.faces[:, ::-1]), TREE)
    assert certificate.closed
    assert not certificate.outward
    assert "faces look inwards" in certificate.failures


def test_second_piece(mesh: SweptMesh) -> None:
    count = len(mesh.vertices_um)
    twice = SweptMesh(
        np.concatenate([mesh.vertices_um, mesh.vertices_um + 10]), np.concatenate([mesh.faces, mesh.faces + count])
    )
    assert "it has 2 pieces instead of 1" in certify(twice, TREE).failures


def test_void_within(mesh: SweptMesh) -> None:
    count = len(mesh.vertices_um)
    middle = mesh.vertices_um.mean(axis=0)
    inner = (mesh.vertices_um - middle) * 0.1 + POINTS[2]
    hollow = SweptMesh(
        np.concatenate([mesh.vertices_um, inner]), np.concatenate([mesh.faces, mesh.faces[:, ::-1] + count])
    )
    certificate = certify(hollow, TREE)
    assert certificate.closed
    assert certificate.components == 2
    assert not certificate.outward


@pytest.mark.parametrize("factor", [0.93, 1.07])
def test_radius_7_percent_off(factor: float) -> None:
    other = Tree(POINTS, np.full(5, 0.2 * factor), np.arange(5) - 1, np.full(5, 2))
    certificate = certify(build_mesh(other), TREE)
    assert certificate.smallest_radius_error == pytest.approx(0.07, abs=0.015)
    assert certificate.volume_error == pytest.approx(factor**2 - 1, abs=0.02)
    assert len(certificate.failures) == 2


def test_ring_has_a_handle() -> None:
    angle = np.linspace(0, 2 * np.pi * 1.02, 60)
    points = 3 * np.stack([np.cos(angle), np.sin(angle), 0 * angle], axis=1)
    tree = Tree(points, np.full(60, 0.5), np.arange(60) - 1, np.full(60, 2))
    certificate = certify(build_mesh(tree), tree)
    assert certificate.closed
    assert certificate.euler_number == 0
    assert not certificate.holds

"""Organelle shapes are closed and have the volume they claim."""

import numpy as np
import pytest

from neuropil.tissue.certificate import is_closed, volume_um3
from neuropil.tissue.shapes import CIRCUMSCRIBED, ellipsoids, joined, lumpy_ball, plate, ring_tube, spheres, tube


def test_spheres_have_the_spheres_volume() -> None:
    shape = spheres(np.array([[0.0, 0, 0], [1, 0, 0]]), np.array([0.1, 0.2]))
    assert is_closed(shape[1])
    assert volume_um3(shape) == pytest.approx(4 / 3 * np.pi * (0.1**3 + 0.2**3), rel=1e-6)


@pytest.mark.parametrize("flatness", [1.0, 3.0])
def test_tube_has_the_cylinders_volume(flatness: float) -> None:
    path = np.column_stack([np.linspace(0, 1, 20), np.zeros(20), np.zeros(20)])
    shape = tube(path, np.full(20, 0.02), np.array([0.0, 0, 1]), flatness=flatness)
    assert is_closed(shape[1])
    assert volume_um3(shape) == pytest.approx(np.pi * 0.02**2 * flatness, rel=1e-6)


def test_plate_is_closed_and_outward() -> None:
    angle = np.arange(40) * 2 * np.pi / 40
    rim = np.column_stack([0.1 * np.cos(angle), 0.1 * np.sin(angle), np.zeros(40)])
    middle, up = np.stack([0.5 * rim, rim]), np.array([0, 0, 0.005])
    shape = plate(np.stack([middle + up, middle - up]), np.array([up, -up]))
    assert is_closed(shape[1])
    assert volume_um3(shape) == pytest.approx(np.pi * 0.01 * 0.01, rel=0.01)
    assert volume_um3(joined([shape, shape])) == pytest.approx(2 * volume_um3(shape))


def test_ring_tube_is_a_torus() -> None:
    angle = np.arange(60) * 2 * np.pi / 60
    shape = ring_tube(
        np.column_stack([0.2 * np.cos(angle), 0.2 * np.sin(angle), 0 * angle]), 0.03, np.array([0, 0, 1.0])
    )
    assert is_closed(shape[1])
    assert volume_um3(shape) == pytest.approx(2 * np.pi**2 * 0.2 * 0.03**2, rel=0.01)


def test_ellipsoids_keep_the_volume_of_their_axes() -> None:
    axes = np.array([np.diag([0.03, 0.02, 0.02]), np.eye(3) * 0.02])
    shape = ellipsoids(np.array([[0.0, 0, 0], [1, 0, 0]]), axes)
    assert volume_um3(shape) == pytest.approx(4 / 3 * np.pi * (0.03 * 0.02**2 + 0.02**3), rel=1e-6)
    assert np.abs(shape[0][:42]).max(0) == pytest.approx(CIRCUMSCRIBED[1] * np.array([0.03, 0.02, 0.02]), rel=0.2)


def test_a_lumpy_ball_bulges_where_it_is_told() -> None:
    up = np.array([[0, 0, 1, 0.2]])
    vertices, faces = lumpy_ball(np.zeros(3), 0.1 * np.eye(3), up)
    assert is_closed(faces)
    assert vertices[:, 2].max() == pytest.approx(0.12 * CIRCUMSCRIBED[2], rel=0.01)
    assert vertices[:, 2].min() == pytest.approx(-0.1 * CIRCUMSCRIBED[2], rel=0.01)

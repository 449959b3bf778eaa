"""Organelle shapes are closed and have the volume they claim."""

import numpy as np
import pytest

from neuropil.tissue.certificate import is_closed, volume_um3
from neuropil.tissue.shapes import joined, sheet, spheres, tube


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


@pytest.mark.parametrize("turn", [1, -1])
def test_sheet_is_closed_and_outward_either_way_round(turn: int) -> None:
    angle = turn * np.arange(40) * 2 * np.pi / 40
    rim = np.column_stack([0.1 * np.cos(angle), 0.1 * np.sin(angle), np.zeros(40)])
    shape = sheet(np.zeros(3), np.array([0.0, 0, 1]), rim, 0.01)
    assert is_closed(shape[1])
    assert volume_um3(shape) == pytest.approx(np.pi * 0.01 * 0.01, rel=0.01)
    assert volume_um3(joined([shape, shape])) == pytest.approx(2 * volume_um3(shape))

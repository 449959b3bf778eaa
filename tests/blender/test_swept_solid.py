"""The solid of a skeleton: its volume against formulas."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from neuropil.blender_addon.swept_solid import swept_solid
from neuropil.morphology.tree import SOMA, Tree


def volume(points: Sequence[tuple[float, ...]], radii: list[float], parents: list[int], types: list[int]) -> float:
    tree = Tree(np.array(points), np.array(radii), np.array(parents), np.array(types))
    return swept_solid(tree).volume_um3(40_000, np.random.default_rng(0))


def test_cylinder() -> None:
    assert volume([(0, 0, 0), (20, 0, 0)], [0.5, 0.5], [-1, 0], [2, 2]) == pytest.approx(np.pi * 0.25 * 20, rel=0.01)


def test_cone() -> None:
    expected = np.pi / 3 * 5 * (4 + 2 + 1)
    assert volume([(0, 0, 0), (5, 0, 0)], [2, 1], [-1, 0], [2, 2]) == pytest.approx(expected, rel=0.01)


def test_ball() -> None:
    assert volume([(0, 0, 0)], [2], [-1], [SOMA]) == pytest.approx(4 / 3 * np.pi * 8, rel=0.01)


def test_overlap_counts_once() -> None:
    """Two bars that cross at right angles share a Steinmetz solid, 16 r³ / 3."""
    points = [(-5, 0, 0), (0, 0, 0), (5, 0, 0), (0, 5, 0), (0, -5, 0)]
    found = volume(points, [1] * 5, [-1, 0, 1, 1, 1], [3] * 5)
    assert found == pytest.approx(2 * np.pi * 10 - 16 / 3, rel=0.01)

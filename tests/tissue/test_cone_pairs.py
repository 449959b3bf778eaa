"""Distances between round cones against sampling; the search against all pairs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from neuropil.tissue.cone_pairs import cone_distance, near_pairs

_place = arrays(np.float64, 6, elements=st.floats(-3, 3, width=32))
_radii = arrays(np.float64, 2, elements=st.floats(0.0625, 2, width=32))


def _sampled(a: np.ndarray, b: np.ndarray) -> float:
    """The least |P - Q| - p - q on a grid that closes in on its own best place."""
    s_low, s_high, t_low, t_high = 0.0, 1.0, 0.0, 1.0
    best = np.inf
    for _ in range(12):
        s, t = np.linspace(s_low, s_high, 41), np.linspace(t_low, t_high, 41)
        p = a[:3] + s[:, None] * (a[3:6] - a[:3])
        q = b[:3] + t[:, None] * (b[3:6] - b[:3])
        away = np.linalg.norm(p[:, None] - q[None], axis=2)
        value = away - (a[6] + s * (a[7] - a[6]))[:, None] - (b[6] + t * (b[7] - b[6]))[None]
        i, j = np.unravel_index(np.argmin(value), value.shape)
        best = min(best, float(value[i, j]))
        # The function is convex: its least lies near the best node, but the valley may be narrow and slanting.
        ds, dt = (s_high - s_low) / 5, (t_high - t_low) / 5
        s_low, s_high = max(0.0, s[i] - ds), min(1.0, s[i] + ds)
        t_low, t_high = max(0.0, t[j] - dt), min(1.0, t[j] + dt)
    return best


@settings(max_examples=300, deadline=None)
@given(_place, _radii, _place, _radii)
def test_the_distance_is_the_least_of_all_samples(
    place: np.ndarray, radii: np.ndarray, other: np.ndarray, other_radii: np.ndarray
) -> None:
    a, b = np.concatenate([place, radii]), np.concatenate([other, other_radii])
    distance, s, t = cone_distance(a, b)
    sampled = _sampled(a, b)
    assert distance <= sampled + 1e-9
    p, q = a[:3] + s * (a[3:6] - a[:3]), b[:3] + t * (b[3:6] - b[:3])
    reached = np.linalg.norm(p - q) - a[6] - s * (a[7] - a[6]) - b[6] - t * (b[7] - b[6])
    assert 0 <= s <= 1 and 0 <= t <= 1 and reached == pytest.approx(distance, abs=1e-9)
    assert cone_distance(b, a)[0] == pytest.approx(distance, abs=1e-9)


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ([0, 0, 0, 0, 0, 0, 1, 1], [5, 0, 0, 5, 0, 0, 2, 2], 2.0),  # two balls
        ([-1, 0, 0, 1, 0, 0, 0.1, 0.1], [0, -1, 1, 0, 1, 1, 0.2, 0.2], 0.7),  # crossing tubes
        ([-1, 0, 0, 1, 0, 0, 0.1, 0.1], [0, -1, 0, 0, 1, 0, 0.2, 0.2], -0.3),  # axes that meet
        ([0, 0, 0, 1, 0, 0, 0.1, 0.1], [3, 0, 0, 4, 0, 0, 0.1, 0.1], 1.8),  # in line
        ([0, 0, 0, 1, 0, 0, 0.1, 0.1], [0.5, 1, 0, 2, 1, 0, 0.1, 0.1], 0.8),  # parallel
    ],
)
def test_distances_known_by_hand(a: list[float], b: list[float], expected: float) -> None:
    assert cone_distance(np.array(a, float), np.array(b, float))[0] == pytest.approx(expected, abs=1e-12)


def test_the_search_finds_the_pairs_that_comparing_all_finds() -> None:
    rng = np.random.default_rng(3)
    starts = rng.uniform(0, 12, (300, 3))
    cones = np.column_stack([starts, starts + rng.normal(0, 1.5, (300, 3)), rng.uniform(0.05, 1, (300, 2))])
    owners = rng.integers(0, 40, 300)
    pairs, distances = near_pairs(cones, owners, 0.3)
    expected = {
        (m, n): d
        for m in range(300)
        for n in range(m + 1, 300)
        if owners[m] != owners[n] and (d := cone_distance(cones[m], cones[n])[0]) < 0.3
    }
    assert len(expected) > 500 and len(pairs) == len(expected)
    assert {tuple(pair): d for pair, d in zip(pairs.tolist(), distances, strict=True)} == pytest.approx(expected)


def test_own_branches_count_where_they_were_apart() -> None:
    resting = np.array([[0, 0, 0, 1, 0, 0, 0.1, 0.1], [1, 0, 0, 2, 0, 0, 0.1, 0.1], [0, 2, 0, 1, 2, 0, 0.1, 0.1]])
    moved = resting.copy()
    moved[2, [1, 4]] = 0.25
    owners = np.zeros(3, np.int64)
    assert len(near_pairs(moved, owners, 0.2)[0]) == 0
    assert near_pairs(moved, owners, 0.2, resting)[0].tolist() == [[0, 2], [1, 2]]

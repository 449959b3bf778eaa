"""Sections of a wanted length, tortuosity and direction."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neuropil.morphology.path import detour

ROUND = np.ones(3)


@settings(max_examples=40, deadline=None)
@given(st.floats(5, 300), st.floats(1.0, 2.5), st.integers(0, 1000))
def test_start_length_and_steps(length: float, tortuosity: float, seed: int) -> None:
    start = np.array([1.0, 2.0, 3.0])
    path, arc = detour(start, np.array([0, 0, 1.0]), length, tortuosity, 1.0, ROUND, 5.0, np.random.default_rng(seed))
    steps = np.linalg.norm(np.diff(path, axis=0), axis=1)
    assert path[0].tolist() == start.tolist()
    np.testing.assert_allclose(steps, length / len(steps))
    assert arc[-1] == pytest.approx(length)


@pytest.mark.parametrize(("tortuosity", "share"), [(1.0, 0.99), (1.02, 0.99), (1.2, 0.95), (1.5, 0.7)])
def test_path_over_chord_is_the_tortuosity_asked_for(tortuosity: float, share: float) -> None:
    """Some draws of the noise do not reach a large one at any width."""
    rng = np.random.default_rng(0)
    paths = [detour(np.zeros(3), np.array([0, 0, 1.0]), 60.0, tortuosity, 1.0, ROUND, 5.0, rng)[0] for _ in range(100)]
    found = [60 / np.linalg.norm(path[-1]) for path in paths]
    assert np.isclose(found, tortuosity, rtol=0.03).mean() > share


def test_it_heads_where_told() -> None:
    way = np.array([0.6, 0.0, 0.8])
    path, arc = detour(np.zeros(3), way, 50.0, 1.4, 1.0, ROUND, 5.0, np.random.default_rng(3))
    reached = path[int(np.searchsorted(arc, 5.0))]
    assert reached / np.linalg.norm(reached) @ way == pytest.approx(1)


def test_a_squeezed_path_stays_in_its_plane() -> None:
    flat = np.array([1.0, 0.05, 1.0])
    rng = np.random.default_rng(0)
    paths = [detour(np.zeros(3), np.array([1.0, 0, 0]), 60.0, 1.3, 1.0, flat, 5.0, rng)[0] for _ in range(20)]
    spread = np.concatenate(paths).std(axis=0)
    assert spread[1] < 0.2 * spread[2]

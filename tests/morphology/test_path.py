"""Sections of a wanted length, tortuosity and direction."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neuropil.morphology.path import detour

ROUND = np.ones(3)


@settings(max_examples=40, deadline=None)
@given(st.floats(60, 300), st.floats(1.0, 1.5), st.integers(0, 1000))
def test_length_and_tortuosity_are_those_asked_for(length: float, tortuosity: float, seed: int) -> None:
    start = np.array([1.0, 2.0, 3.0])
    path, arc = detour(start, np.array([0, 0, 1.0]), length, tortuosity, 1.0, ROUND, 5.0, np.random.default_rng(seed))
    steps = np.linalg.norm(np.diff(path, axis=0), axis=1)
    assert path[0].tolist() == start.tolist()
    assert steps.sum() == pytest.approx(length)
    assert arc[-1] == pytest.approx(length)
    assert length / np.linalg.norm(path[-1] - path[0]) == pytest.approx(tortuosity, rel=0.05)


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

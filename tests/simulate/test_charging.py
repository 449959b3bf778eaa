"""Exponential memory along a line."""

from __future__ import annotations

import numpy as np
import pytest

from neuropil.simulate.charging import Charging, memory_length, remember


def remembered(lines: np.ndarray, decay: float, x0: int = 0, before: np.ndarray | None = None) -> np.ndarray:
    out = np.empty_like(lines)
    stands = lines[:, 0].copy() if before is None else before
    remember(lines, decay, memory_length(decay), x0, stands, out)
    return out


@pytest.mark.parametrize("decay", [0.0, 0.3, 0.9, 0.983])
def test_it_is_the_weighted_mean_over_the_pixels_before(decay: float) -> None:
    lines = np.random.default_rng(0).uniform(size=(19, 700)).astype(np.float32)
    count = memory_length(decay)
    weights = decay ** np.arange(count)
    weights /= weights.sum()
    padded = np.concatenate((np.repeat(lines[:, :1], count - 1, axis=1), lines), axis=1)
    wanted = np.stack([np.convolve(line, weights, mode="valid") for line in padded.astype(np.float64)])
    assert remembered(lines, decay, 5) == pytest.approx(wanted, abs=2e-6)


@pytest.mark.parametrize("start", [1, 17, 150])
def test_a_line_that_starts_later_gives_the_same_bytes(start: int) -> None:
    lines = np.random.default_rng(1).uniform(size=(3, 600)).astype(np.float32)
    decay = 0.93
    whole, part = remembered(lines, decay, 40), remembered(lines[:, start:], decay, 40 + start)
    reach = memory_length(decay) - 1
    assert np.array_equal(part[:, reach:], whole[:, start + reach :])
    assert not np.array_equal(part, whole[:, start:])


def test_before_the_line_stands_what_is_said() -> None:
    lines = np.ones((2, 300), np.float32)
    out = remembered(lines, 0.9, 0, np.zeros(2, np.float32))
    assert out[0, :3] == pytest.approx([0.1, 0.19, 0.271], rel=2e-3)
    assert out[0, -1] == pytest.approx(1.0, abs=1e-5)


def test_charging_that_is_off_has_no_memory() -> None:
    assert memory_length(Charging().decay(5.0)) == 1
    assert Charging(strength=1.0, length_nm=100.0).decay(5.0) == pytest.approx(np.exp(-0.05))

"""The scan's displacements: what each is, how far it goes, and that it follows from key and place alone."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neuropil.simulate.scan import Scan

EVERYTHING = Scan(misalignment_nm=4, wander_nm=6, drift_nm=5, vibration_nm=(2, 3), jitter_nm=2, line_time_ms=0.7)


@settings(max_examples=25, deadline=None)
@given(key=st.integers(0, 2**64 - 1), z=st.integers(-1000, 1000), first=st.integers(-1000, 1000))
def test_a_line_is_displaced_alike_wherever_the_tile_begins_and_never_too_far(key: int, z: int, first: int) -> None:
    whole = EVERYTHING.displacement_nm(key, z, first, 90)
    assert np.array_equal(EVERYTHING.displacement_nm(key, z, first + 33, 40), whole[33:73])
    assert (np.abs(whole) <= EVERYTHING.largest_nm).all()


def test_each_part_is_as_large_as_it_says() -> None:
    lines = np.concatenate([Scan(jitter_nm=3.0).displacement_nm(1, z, 0, 1000) for z in range(4)])
    assert lines[:, 1].std() == pytest.approx(3.0, rel=0.05) and not lines[:, 0].any()
    lines = np.concatenate([Scan(drift_nm=3.0).displacement_nm(1, z, 0, 1000) for z in range(80)])
    assert lines.std(axis=0) == pytest.approx([3.0, 3.0], rel=0.15)
    offsets = Scan(misalignment_nm=3.0).slice_offsets_nm(1, 0, 4000)
    assert offsets.std(axis=0) == pytest.approx([3.0, 3.0], rel=0.05)
    assert abs(np.corrcoef(offsets[1:, 0], offsets[:-1, 0])[0, 1]) < 0.08
    wander = Scan(wander_nm=3.0).slice_offsets_nm(1, 0, 6000)
    assert wander.std(axis=0) == pytest.approx([3.0, 3.0], rel=0.15)
    assert np.corrcoef(wander[1:, 0], wander[:-1, 0])[0, 1] > 0.99


def test_vibration_swings_at_its_frequency() -> None:
    """50 Hz at 2 ms a line are 10 lines."""
    swing = Scan(vibration_nm=(1.0, 4.0), vibration_hz=50.0, line_time_ms=2.0).displacement_nm(3, 7, 0, 1000)
    power = np.abs(np.fft.rfft(swing[:, 1])) ** 2
    assert np.argmax(power) == 100
    assert np.abs(swing).max(axis=0) == pytest.approx([1.0, 4.0], rel=0.06)


def test_nothing_is_off_by_default() -> None:
    assert not Scan().displacement_nm(1, 0, 0, 100).any()
    assert Scan().largest_nm == (0.0, 0.0)

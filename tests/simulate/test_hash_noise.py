"""Noise that is a function of key and place."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from neuropil.simulate.hash_noise import SmoothNoise, key_from, normal_line, smooth_line, sub_key


def field(
    key: int, fwhm_nm: float, first: tuple[int, int, int], shape: tuple[int, int, int]
) -> npt.NDArray[np.float32]:
    noise = SmoothNoise(key, fwhm_nm, (5.0, 5.0, 5.0), first, shape[1:])
    out = np.empty(shape, np.float32)
    for index in range(shape[0]):
        noise.slice_at(index, out[index])
    return out


def test_any_tile_draws_the_same_field() -> None:
    whole = field(7, 40.0, (-5, -10, 3), (12, 40, 50))
    tile = field(7, 40.0, (-2, 4, 20), (6, 20, 25))
    assert np.array_equal(tile, whole[3:9, 14:34, 17:42])


def test_slices_may_be_asked_for_in_any_order() -> None:
    noise = SmoothNoise(1, 30.0, (5.0, 5.0, 5.0), (0, 0, 0), (16, 16))
    first, again = np.empty((16, 16), np.float32), np.empty((16, 16), np.float32)
    noise.slice_at(3, first)
    noise.slice_at(90, again)
    noise.slice_at(3, again)
    assert np.array_equal(first, again)


@pytest.mark.parametrize("fwhm_nm", [2.0, 25.0, 60.0])
def test_the_field_has_unit_variance(fwhm_nm: float) -> None:
    values = field(5, fwhm_nm, (0, 0, 0), (60, 200, 200))
    assert values.mean() == pytest.approx(0.0, abs=0.06)
    assert values.std() == pytest.approx(1.0, abs=0.08)


def test_grains_have_the_asked_width() -> None:
    """Two cubic B-splines overlap by half at 0.961 lattice spacings, 0.665 of a grain's full width."""
    values = field(11, 50.0, (0, 0, 0), (30, 200, 200)).astype(np.float64)
    lags = np.arange(1, 16)
    r = [float((values[..., :-lag] * values[..., lag:]).mean() / values.var()) for lag in lags]
    half_nm = 5.0 * np.interp(-0.5, -np.array(r), lags)
    assert half_nm == pytest.approx(0.665 * 50.0, rel=0.1)


def test_keys_and_purposes_differ() -> None:
    assert not np.array_equal(field(1, 30.0, (0, 0, 0), (2, 9, 9)), field(2, 30.0, (0, 0, 0), (2, 9, 9)))
    assert sub_key(1, "a") != sub_key(1, "b") != sub_key(2, "b")
    assert key_from(np.random.default_rng(4)) == key_from(np.random.default_rng(4))


def test_lines_continue_from_any_place() -> None:
    assert np.array_equal(smooth_line(3, 0, 50, 7.0)[20:], smooth_line(3, 20, 30, 7.0))
    assert np.array_equal(normal_line(3, -5, 50)[20:], normal_line(3, 15, 30))
    many = normal_line(9, 0, 100_000)
    assert many.mean() == pytest.approx(0.0, abs=0.02) and many.std() == pytest.approx(1.0, abs=0.02)

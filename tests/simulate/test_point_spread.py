"""Blur kernels: mass, width and place."""

from __future__ import annotations

import math

import numpy as np
import pytest

from neuropil.simulate.point_spread import (
    LAYERS,
    beam_spread_kernels,
    escape_depth_kernel,
    gaussian_kernel,
    spread_table,
)


@pytest.mark.parametrize(("fwhm_nm", "voxel_nm"), [(16.0, 5.0), (40.0, 5.0), (16.0, 2.0)])
def test_gaussian_has_its_width(fwhm_nm: float, voxel_nm: float) -> None:
    kernel = gaussian_kernel(fwhm_nm, voxel_nm).astype(np.float64)
    place = (np.arange(kernel.size) - kernel.size // 2) * voxel_nm
    sigma = fwhm_nm / (2 * math.sqrt(2 * math.log(2)))
    assert kernel.sum() == pytest.approx(1.0, abs=1e-6)
    # Integration over the voxel adds a twelfth of its square to the variance.
    assert (kernel * place**2).sum() == pytest.approx(sigma**2 + voxel_nm**2 / 12, rel=0.02)


def test_no_blur_is_one_tap() -> None:
    assert gaussian_kernel(0.0, 5.0).tolist() == [1.0]


@pytest.mark.parametrize(("energy_kev", "share"), [(1.0, 0.0), (1.7, 0.77), (2.0, 0.95), (5.0, 0.98), (30.0, 0.5)])
def test_escape_depth_has_its_mean_at_the_slice(energy_kev: float, share: float) -> None:
    for voxel_nm in (2.0, 8.0):
        kernels, first = escape_depth_kernel(energy_kev, share, voxel_nm)
        assert kernels.sum(axis=1) == pytest.approx(np.diff(LAYERS), abs=0.02)
        kernel = kernels.sum(axis=0)
        spread = spread_table().at(energy_kev, share)
        place = (np.arange(kernel.size) + first) * voxel_nm
        assert kernel.sum() == pytest.approx(1.0, abs=1e-6)
        assert (kernel >= 0).all()
        assert (kernel * place).sum() == pytest.approx(0.0, abs=0.02 * spread.mean_depth_nm() + 0.1 * voxel_nm)


def test_signal_comes_from_deeper_at_higher_energy_and_from_less_deep_behind_a_filter() -> None:
    table = spread_table()
    by_energy = [table.at(energy, 0.0).mean_depth_nm() for energy in (0.5, 1.0, 2.0, 5.0, 10.0)]
    by_filter = [table.at(2.0, share).mean_depth_nm() for share in (0.0, 0.5, 0.8, 0.9, 0.98)]
    assert by_energy == sorted(by_energy) and by_filter == sorted(by_filter, reverse=True)
    # As Kanaya and Okayama's range, E^1.67, to a tenth of the exponent.
    assert np.log(by_energy[-1] / by_energy[1]) / np.log(10.0) == pytest.approx(1.67, abs=0.1)
    # Bouwer 2016: with a decelerated beam the signal comes from less than 30 nm in epoxy.
    assert table.at(1.5, 0.0).depth_within_nm(0.95) < 30.0


def test_contrast_comes_from_about_as_deep_as_detected_electrons_were() -> None:
    for share in (0.0, 0.8):
        spread = spread_table().at(2.0, share)
        greatest = spread.reach_nm * float(np.mean(1.0 - 0.5 * (spread.deepest[1:] + spread.deepest[:-1])))
        assert spread.mean_depth_nm() == pytest.approx(greatest, rel=0.1)


def test_beam_spread_is_symmetric_and_narrows_with_the_filter() -> None:
    *layers, wide = beam_spread_kernels(5.0, 0.0, 4.0)
    narrow = beam_spread_kernels(5.0, 0.9, 4.0)[-1]
    # What comes from deeper comes from a wider place.
    peaks = [kernel.max() for kernel in (*layers, wide)]
    assert peaks == sorted(peaks, reverse=True)
    assert wide.sum() == pytest.approx(1.0, abs=1e-6)
    assert (wide == wide[::-1]).all()
    assert narrow.max() > 2.0 * wide.max()
    assert narrow.size < wide.size


def test_spreads_between_tabulated_energies_and_filters_lie_between_them() -> None:
    table = spread_table()
    assert table.at(2.0, 0.8).reach_nm == pytest.approx(table.spreads[4][7].reach_nm)
    low, middle, high = (table.at(energy, 0.78).mean_depth_nm() for energy in (2.0, 2.4, 3.0))
    assert low < middle < high
    low, middle, high = (table.at(2.4, share).detected for share in (0.95, 0.93, 0.9))
    assert low < middle < high


def test_what_the_table_does_not_hold_is_refused() -> None:
    with pytest.raises(ValueError, match=r"landing_energy_kev is 40; the Monte Carlo table holds 0\.5 to 30 keV"):
        escape_depth_kernel(40.0, 0.0, 5.0)
    with pytest.raises(ValueError, match=r"energy_filter_share is 0\.99; the Monte Carlo table holds 0 to 0\.98"):
        beam_spread_kernels(2.0, 0.99, 5.0)

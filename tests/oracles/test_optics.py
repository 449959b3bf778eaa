"""Point spreads of light microscopes against the figures of reference/physics.md 3g and against each other."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from neuropil.simulate.light_spread import (
    Kind,
    airy_radius_nm,
    confocal_fwhm_nm,
    gaussian_spread,
    in_focus_to_one,
    measured_fwhm,
    on_larger_voxels,
    optical_spread,
    through_pinhole,
    two_photon_fwhm_nm,
    widefield_fwhm_nm,
)


def test_widefield_widths_of_an_oil_objective() -> None:
    """520 nm, NA 1.4, n 1.515: lateral 0.189, Airy radius 0.227, axial 0.489 µm."""
    lateral, axial = widefield_fwhm_nm(520, 1.4, 1.515)
    assert lateral == pytest.approx(189, abs=0.5)
    assert axial == pytest.approx(489, abs=0.5)
    assert airy_radius_nm(520, 1.4) == pytest.approx(227, abs=0.5)


def test_two_photon_widths() -> None:
    """Zipfel, 900 nm, NA 1.0, n 1.33: 0.344 and 1.244 µm; both formulas of the lateral radius meet near NA 0.7."""
    assert two_photon_fwhm_nm(900, 1.0, 1.33) == pytest.approx((344, 1244), abs=0.6)
    assert two_photon_fwhm_nm(900, 0.7, 1.33)[0] == pytest.approx(two_photon_fwhm_nm(900, 0.7001, 1.33)[0], rel=0.02)


def test_a_pinhole_sharpens_between_its_limits() -> None:
    """0.51 λ/NA with an open pinhole and 0.37 λ/NA with a closed one (Wilhelm et al.), here 0.36."""
    open_, one, closed = (confocal_fwhm_nm(500, 500, 1.2, 1.33, airy)[0] * 1.2 / 500 for airy in (20, 1, 0.01))
    assert open_ == pytest.approx(0.51, abs=0.005)
    assert closed == pytest.approx(0.37, abs=0.011)
    assert closed < one < open_


def widths(spread: np.ndarray, voxel_nm: tuple[float, float]) -> tuple[float, float]:
    z, y, x = (n // 2 for n in spread.shape)
    return voxel_nm[1] * measured_fwhm(spread[z, y]), voxel_nm[0] * measured_fwhm(spread[:, y, x])


VOXEL_NM = (30.0, 15.0)


@pytest.fixture(scope="module")
def _optics() -> None:
    """Pythons for which psfmodels has no wheel may lack it."""
    pytest.importorskip("psfmodels")


def focus(kind: Kind, wavelength_nm: float, na: float, index: float) -> np.ndarray:
    assert kind != "gaussian"
    return optical_spread(kind, wavelength_nm, na, index, index, 0.0, VOXEL_NM, (40, 30))


@pytest.mark.usefixtures("_optics")
def test_the_scalar_focus_is_as_wide_as_the_formulas() -> None:
    assert widths(focus("gibson_lanni", 520, 1.4, 1.515), VOXEL_NM) == pytest.approx((189, 489), rel=0.06)
    low = focus("vectorial", 520, 0.5, 1.0)
    assert widths(low, VOXEL_NM)[0] == pytest.approx(widefield_fwhm_nm(520, 0.5, 1.0)[0], rel=0.04)


@pytest.mark.usefixtures("_optics")
def test_the_vectorial_focus_is_wider_at_high_aperture() -> None:
    vectorial, scalar = (widths(focus(kind, 520, 1.4, 1.515), VOXEL_NM)[0] for kind in ("vectorial", "gibson_lanni"))
    assert 1.05 < vectorial / scalar < 1.2


@pytest.mark.usefixtures("_optics")
def test_the_squared_focus_is_the_two_photon_width() -> None:
    squared = optical_spread("gibson_lanni", 900, 1.0, 1.33, 1.33, 0.0, (60, 25), (40, 30)) ** 2
    assert widths(in_focus_to_one(squared), (60, 25)) == pytest.approx(two_photon_fwhm_nm(900, 1.0, 1.33), rel=0.1)


@pytest.mark.usefixtures("_optics")
def test_a_confocal_section_is_thinner_than_the_widefield_haze() -> None:
    """In each plane a widefield point sends all its light; a pinhole keeps less and less of it out of focus."""
    excitation, emission = focus("gibson_lanni", 488, 1.2, 1.33), focus("gibson_lanni", 520, 1.2, 1.33)
    assert emission[34:47].sum(axis=(1, 2)) == pytest.approx(1.0, abs=0.06)
    confocal = through_pinhole(excitation, emission, airy_radius_nm(520, 1.2), VOXEL_NM[1])
    sums = confocal.sum(axis=(1, 2))
    assert sums[40] == pytest.approx(1.0)
    assert sums[20] < 0.15 and sums[60] < 0.15
    gaussian = confocal_fwhm_nm(488, 520, 1.2, 1.33, 1.0)
    assert widths(confocal, VOXEL_NM) == pytest.approx(gaussian, rel=0.1)


@pytest.mark.usefixtures("_optics")
def test_a_sample_of_another_index_blurs_along_the_axis() -> None:
    """Oil into water 20 µm deep: spherical aberration lowers the peak."""
    matched = optical_spread("gibson_lanni", 520, 1.3, 1.515, 1.515, 20.0, (100, 25), (20, 30))
    aberrant = optical_spread("gibson_lanni", 520, 1.3, 1.515, 1.36, 20.0, (100, 25), (20, 30))
    assert aberrant.max() / aberrant.sum() < 0.6 * matched.max() / matched.sum()


def test_a_spread_on_larger_voxels_keeps_its_light() -> None:
    """Summed in the plane it is the same light; along z a thick voxel's mean is the spread's integral over it."""
    fine = gaussian_spread((200, 500), (20, 10), (60, 50))
    coarse = on_larger_voxels(fine, (25, 15))
    assert coarse.shape == (5, 9, 9)
    assert coarse.sum() * 25 == pytest.approx(fine.sum(), rel=1e-6)
    assert coarse[2].sum() == pytest.approx(fine[48:73].sum(axis=(1, 2)).mean(), rel=1e-3)
    assert np.allclose(on_larger_voxels(fine, (1, 1)), fine)


def test_a_missing_package_is_named_in_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psfmodels", None)
    with pytest.raises(ValueError, match=r"psf is vectorial, for which the package psfmodels is missing"):
        focus("vectorial", 520, 0.5, 1.0)


def test_a_gaussian_has_its_widths() -> None:
    assert widths(gaussian_spread((200, 500), (20, 10), (60, 50)), (20, 10)) == pytest.approx((200, 500), rel=0.002)

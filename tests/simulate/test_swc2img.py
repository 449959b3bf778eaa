"""SWC2IMG's knobs: its formulas by hand, and what comes out of them."""

from __future__ import annotations

import math

import numpy as np
import pytest

from neuropil.simulate.swc2img import Swc2Img, compensated_snr, image_swc2img, peak_photons
from neuropil.voxelize.volume import Volume

MICRON = (1000.0, 1000.0, 1000.0)


def settings(**values: float | bool) -> Swc2Img:
    return Swc2Img(name="test", source="SWC2IMG", **values)  # type: ignore[arg-type]


@pytest.mark.parametrize(("snr", "background"), [(5, 0), (10, 10), (20, 1), (100, 5)])
def test_the_peak_has_the_snr(snr: float, background: float) -> None:
    peak = peak_photons(snr, background)
    assert (peak - background) / math.sqrt(peak) == pytest.approx(snr)


def test_compensation_is_that_of_the_source() -> None:
    """σ of 1 µm, 0.5 µm pixels, 2 µm slices: 10 / (3.5449 · 2 · √(3.5449/2))."""
    by_hand = 10 / (7.08982 * math.sqrt(1.772454))
    assert compensated_snr(settings(), (2000, 500, 500)) == pytest.approx(by_hand, rel=1e-5)
    assert compensated_snr(settings(correlation_um=0.0), (2000, 500, 500)) == 10.0


def test_uncorrelated_stack_has_its_background_peak_and_noise() -> None:
    clean = np.zeros((20, 60, 60), np.uint16)
    clean[:, 30:] = 65535
    made = image_swc2img(
        Volume(clean, MICRON), settings(correlation_um=0.0, snr=20, rescaled=False), np.random.default_rng(0)
    )
    image, peak = made.image.data.astype(float), made.parameters["peak_photons"]
    assert peak == pytest.approx(peak_photons(20, 10))
    assert image[:, :30].mean() == pytest.approx(10, rel=0.01)
    assert image[:, :30].var() == pytest.approx(10, rel=0.03)
    assert image[:, 30:].mean() == pytest.approx(peak, rel=0.01)
    assert image[:, 30:].max() <= peak + 3 * math.sqrt(peak) + 0.5


def test_correlated_noise_has_the_snr_that_was_asked_for() -> None:
    """Far from any edge the Gaussian leaves the mean and takes the noise to (S − B)/SNR."""
    clean = np.ones((40, 80, 80), np.float32)
    clean[:, :5] = 0
    made = image_swc2img(
        Volume(clean, MICRON), settings(snr=100, correlation_um=0.7, rescaled=False), np.random.default_rng(0)
    )
    inner = made.image.data[5:-5, 15:-10, 10:-10].astype(float)
    peak = made.parameters["peak_photons"]
    assert (peak - 10) / inner.std() == pytest.approx(100, rel=0.06)
    shifted = np.corrcoef(inner[..., :-1].ravel(), inner[..., 1:].ravel())[0, 1]
    assert shifted == pytest.approx(math.exp(-1 / (4 * 0.7**2)), abs=0.06)


def test_rescaled_grey_levels() -> None:
    clean = np.ones((10, 60, 60), np.uint8)
    clean[0] = 0
    made = image_swc2img(Volume(clean, MICRON), settings(correlation_um=0.0), np.random.default_rng(0))
    peak = made.parameters["peak_photons"]
    assert made.image.data.dtype == np.uint8
    assert made.image.data[1:].mean() == pytest.approx(255 * peak / (peak + 3 * math.sqrt(peak)), rel=0.01)


@pytest.mark.parametrize(
    ("data", "size", "reason"),
    [
        (np.zeros((3, 3, 3)), MICRON, "from 0 to 0"),
        (-np.ones((3, 3, 3)), MICRON, "from -1 to -1"),
        (np.full((3, 3, 3), np.nan), MICRON, "nan"),
        (np.ones((3, 3, 3)), (1000.0, 500.0, 600.0), "y and x must agree"),
    ],
)
def test_bad_stacks_are_refused_in_a_sentence(data: np.ndarray, size: tuple[float, float, float], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        image_swc2img(Volume(data, size), settings(), np.random.default_rng(0))

"""Image statistics, on made images with known answers and on the real slices of metrics.md 2c."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from scipy import ndimage

from neuropil.simulate.appearance import Run, measure_appearance
from neuropil.simulate.statistics import (
    autocorrelation,
    class_greys,
    gaussian_spot_px,
    immerkaer_sigma,
    line_spectrum,
    noise_by_grey,
    radial_power_spectrum,
    texture,
)

# Every fourth of the 61 slices, 16 in all: those of the row "real train" of metrics.md.
EVERY_FOURTH = [
    "0000", "0004", "0008", "0012", "0016", "0024", "0028", "0045", "0054", "0062", "0076", "0104", "0119",
    "0135", "0146x", "0164",
]  # fmt: skip


def noise(sd: float, shape: tuple[int, ...] = (200, 240)) -> np.ndarray:
    return np.random.default_rng(0).normal(128.0, sd, shape)


def test_immerkaer_finds_white_noise_on_a_ramp() -> None:
    ramp = np.linspace(0, 40, 240)[None, :]
    assert immerkaer_sigma(noise(9.0) + ramp) == pytest.approx(9.0, rel=0.02)


def test_autocorrelation_of_a_moving_average() -> None:
    """Mean of 4 neighbours: 1 - lag/4 up to lag 4, then none."""
    values = ndimage.uniform_filter1d(noise(10.0, (400, 600)), 4, axis=1)
    found = autocorrelation(values, 1)
    assert found == pytest.approx((0.75, 0.5, 0.25, 0.0, 0.0, 0.0, 0.0, 0.0), abs=0.02)
    assert autocorrelation(values, 0)[0] == pytest.approx(0.0, abs=0.02)
    assert math.isnan(autocorrelation(np.ones((20, 20)), 1)[0])


def test_texture_of_a_checkerboard() -> None:
    """Steps of 10 along the axes, none along the diagonals: contrast is the mean of 100, 0, 100 and 0."""
    board = (10 * (np.indices((20, 20)).sum(axis=0) % 2)).astype(np.uint8)
    found = texture(board)
    assert found.contrast == pytest.approx(50.0)
    assert found.homogeneity == pytest.approx((1 / 101 + 1) / 2)
    assert found.correlation == pytest.approx(0.0, abs=0.01)
    assert found.entropy == pytest.approx(1.0, abs=0.01)


def test_white_noise_has_a_flat_spectrum() -> None:
    frequency, power = radial_power_spectrum(noise(5.0, (512, 512)))
    assert frequency[0] < 0.02 and frequency[-1] > 0.48
    assert power[2:] == pytest.approx(np.full(30, 25.0), rel=0.25)


def test_lines_of_white_noise_have_flat_power_and_a_wave_its_band() -> None:
    bands = (0.01, 0.1, 0.3, 0.501)
    assert line_spectrum(noise(5.0, (512, 512)), 1, bands) == pytest.approx([25.0] * 3, rel=0.05)
    wave = 10.0 * np.sin(2 * np.pi * 0.2 * np.arange(240))[:, None] * np.ones((1, 8))
    low, middle, high = line_spectrum(wave, 0, bands)
    assert middle > 100 * max(low, high)
    assert np.isnan(line_spectrum(noise(1.0, (20, 20)), 0, (0.01, 0.04, 0.5))[0])


def test_noise_is_sorted_by_the_grey_around_it() -> None:
    """Poisson counts shown dark: dark places, of many electrons, are noisier."""
    rng = np.random.default_rng(0)
    electrons = np.repeat([400.0, 900.0, 1600.0], 100)[None, :] * np.ones((300, 1))
    image = np.clip(250.0 - rng.poisson(electrons) / 8.0, 0, 255).round().astype(np.uint8)
    dark, middle, bright = noise_by_grey(image[None])
    assert [dark, middle, bright] == pytest.approx([1600 / 64, 900 / 64, 400 / 64], rel=0.15)


def test_the_spot_of_blurred_interfaces_is_found() -> None:
    """Random half-planes and discs are sharp interfaces; a Gaussian of 4.7 × 3.5 px is put on them."""
    rng = np.random.default_rng(2)
    y, x = np.mgrid[:900, :900]
    sharp = np.zeros((900, 900))
    for _ in range(150):
        cy, cx, radius = rng.uniform(0, 900), rng.uniform(0, 900), rng.uniform(20, 60)
        sharp[(y - cy) ** 2 + (x - cx) ** 2 < radius**2] = rng.uniform(0, 200)
    # Sharp at three times the resolution, then blurred and sampled.
    blurred = ndimage.gaussian_filter(sharp, (3 * 2.0, 3 * 1.5))[::3, ::3]
    noisy = [np.round(blurred + rng.normal(0, 2, blurred.shape)).clip(0, 255).astype(np.uint8) for _ in range(4)]
    spot_y, spot_x = gaussian_spot_px([np.stack(noisy)])
    assert spot_y == pytest.approx(2.0 * 2.3548, rel=0.1)
    assert spot_x == pytest.approx(1.5 * 2.3548, rel=0.1)


def test_bad_images_are_refused() -> None:
    with pytest.raises(ValueError, match="uint8"):
        texture(np.zeros((30, 30)))
    with pytest.raises(ValueError, match="2 dimensions"):
        texture(np.zeros((2, 30, 30), np.uint8))
    with pytest.raises(ValueError, match="at least 3"):
        immerkaer_sigma(np.zeros((2, 30)))
    with pytest.raises(ValueError, match="lag of 8"):
        autocorrelation(np.zeros((30, 6)), 1)
    with pytest.raises(ValueError, match="they must agree"):
        class_greys(np.zeros((2, 3, 3), np.uint8), np.zeros((3, 3), np.uint8))
    with pytest.raises(ValueError, match="neighbouring"):
        gaussian_spot_px([np.zeros((1, 30, 30), np.uint8)])


def test_class_greys_of_a_made_image() -> None:
    image = np.array([[10, 20, 30, 40]], np.uint8)
    field = np.array([[1, 3, 4, 0]], np.uint8)
    found = class_greys(image, field)
    assert found["mitochondrion"].mean == 15 and found["mitochondrion"].share == 0.5
    assert found["mitochondrial_boundary"].mean == 20
    assert found["background"].mean == 40
    assert "psd" not in found


def test_real_slices_have_the_published_statistics(read_slices: Callable[[list[str]], tuple]) -> None:
    images, labels = read_slices(EVERY_FOURTH)
    found = measure_appearance([Run(images)], len(images))
    published = {
        "grey mean": 139.2, "grey sd": 30.4, "texture contrast": 231.4, "texture homogeneity": 0.0803,
        "texture energy": 0.0134, "texture correlation": 0.875, "texture entropy": 12.758, "noise sigma": 9.26,
        "autocorrelation x 1": 0.880, "autocorrelation x 2": 0.828, "autocorrelation x 4": 0.686,
        "autocorrelation x 8": 0.445,
    }  # fmt: skip
    for name, value in published.items():
        assert found[name] == pytest.approx(value, rel=0.02), name
    greys = class_greys(images, labels)
    drawn = {"mitochondrion": (108.6, 15.5), "mitochondrial_boundary": (101.3, 13.9), "membrane": (110.0, 16.0),
                 "psd": (87.6, 13.3), "vesicle": (108.6, 14.7), "myelin_sheath": (78.5, 14.2)}  # fmt: skip
    for name, (mean, sd) in drawn.items():
        assert greys[name].mean == pytest.approx(mean, abs=1.5)
        assert greys[name].sd == pytest.approx(sd, abs=1.2)

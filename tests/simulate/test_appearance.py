"""The numbers that a calibration compares, on pictures whose numbers are known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from neuropil.simulate.appearance import (
    Run,
    class_numbers,
    darkest_depth_px,
    drawn_bits,
    drawn_numbers,
    loss,
    measure_appearance,
    misses,
    profile_greys,
    tolerance,
)


def noisy(shape: tuple[int, int, int], seed: int = 0) -> np.ndarray:
    """White noise about a grey of 128, seen through a spot."""
    values = ndimage.gaussian_filter(np.random.default_rng(seed).normal(0, 90, shape), (1.2, 1.5, 1.5))
    return np.clip(128 + values, 0, 255).astype(np.uint8)


def test_every_group_of_numbers_is_there() -> None:
    labels = np.zeros((20, 128, 128), np.uint8)
    labels[:, 40:50] = 4
    found = measure_appearance([Run(noisy(labels.shape), labels)], 5)
    for name in ("grey mean", "grey 50 %", "noise sigma", "noise variance dark", "autocorrelation x 8",
                 "autocorrelation z 4", "spectrum y 0.1", "spectrum z 0.1", "texture contrast", "sections grey step",
                 "blur x", "class membrane: grey", "class background: sd", "share membrane",
                 "size membrane: width"):  # fmt: skip
        assert name in found, name
    assert found["grey mean"] == pytest.approx(127.5, abs=1.0)
    assert found["share membrane"] == pytest.approx(10 / 128)
    assert found["size membrane: width"] == pytest.approx(10.0, abs=1.0)
    assert found["autocorrelation x 1"] == pytest.approx(found["autocorrelation y 1"], abs=0.02)
    assert all(tolerance(name, value) > 0.0 for name, value in found.items())


def test_greys_across_an_outline_and_where_it_turns_dark() -> None:
    """A dark square with soft edges, drawn 2 px too wide on each side."""
    grey = np.full((2, 120, 120), 160.0)
    grey[:, 40:80, 40:80] = 100.0
    images = np.rint(ndimage.gaussian_filter(grey, (0, 1.0, 1.0))).astype(np.uint8)
    labels = np.zeros(images.shape, np.uint8)
    labels[:, 38:82, 38:82] = 4
    found = class_numbers(images, labels)
    assert found["edge membrane"] == pytest.approx(2.0, abs=0.3)
    assert found["outline membrane: -6"] == pytest.approx(160.0, abs=0.5)
    assert found["outline membrane: +8"] == pytest.approx(100.0, abs=0.5)
    assert "edge psd" not in found


def test_what_a_stack_is_too_small_for_is_left_out() -> None:
    found = measure_appearance([Run(noisy((2, 64, 64)))], 5)
    assert "autocorrelation z 1" in found
    assert not any(name.startswith(("class", "share", "autocorrelation z 2", "spectrum z")) for name in found)


def test_the_same_tissue_misses_nothing_and_a_darker_one_its_greys() -> None:
    one, other = noisy((6, 128, 128)), noisy((6, 128, 128), seed=1)
    real, alike, darker = (measure_appearance([Run(images)], 6) for images in (one, other, other - np.uint8(12)))
    assert loss(real, real) == 0.0
    assert abs(misses(real, alike)["grey mean"]) < 0.3
    assert abs(misses(real, alike)["autocorrelation x 1"]) < 1.0
    assert misses(real, darker)["grey mean"] == pytest.approx(-4.0, abs=0.3)
    assert misses(real, darker)["autocorrelation x 1"] == pytest.approx(0.0, abs=0.5)


def test_drawn_classes_and_their_sizes() -> None:
    y, x = np.mgrid[:120, :120]
    field = np.zeros((2, 120, 120), np.uint8)
    for row in range(20, 120, 30):
        for column in range(20, 120, 30):
            field[:, (y - row) ** 2 + (x - column) ** 2 <= 25] = 16
    assert drawn_bits([Run(np.zeros_like(field), field)]) == 16
    assert drawn_bits([Run(np.zeros_like(field))]) == 0
    found = drawn_numbers(field)
    assert found["size vesicle: diameter"] == pytest.approx(10.0, abs=0.5)
    assert found["share background"] == pytest.approx(1.0 - found["share vesicle"])


def test_the_darkest_depth_of_a_ring_is_found() -> None:
    """A disc of radius 40 whose grey is least 6 px below its edge; pixels' depths are counted from their centres."""
    y, x = np.mgrid[:100, :100] - 50.0
    depth = 40.0 - np.hypot(y, x)
    image = np.clip(90.0 + 8.0 * np.abs(depth - 6.0), 0, 255).astype(np.uint8)[None]
    assert darkest_depth_px(image, depth[None] > 0) == pytest.approx(6.3, abs=0.5)
    assert darkest_depth_px(image, depth[None] > 38) is None


def test_profiles_are_told_apart() -> None:
    image = np.full((40, 80), 100, np.uint8)
    image[:, 41:] = 140
    inside = np.ones((40, 80), np.bool_)
    inside[:, 40] = False
    inside[0, :5] = True
    assert profile_greys(image, inside).tolist() == [100.0, 140.0]


def test_slices_that_cannot_be_measured_are_refused() -> None:
    images = noisy((2, 64, 64))
    with pytest.raises(ValueError, match="no slices"):
        measure_appearance([], 3)
    with pytest.raises(ValueError, match="labels"):
        Run(images, images[:, :-1])
    with pytest.raises(ValueError, match="uint16"):
        Run(images.astype(np.uint16))

"""What noise and grey tell of a detector, asked for what it is known to be."""

from __future__ import annotations

import numpy as np
import pytest

from neuropil.simulate.backscatter import response
from neuropil.simulate.detector import (
    NoiseFunction,
    measure_noise_function,
    noise_function_or_level,
    resin_grey_of,
    set_detector,
    stain_for_grey,
)
from neuropil.simulate.fibsem import image_fibsem
from neuropil.simulate.imaging import load_microscope
from neuropil.simulate.materials import load_materials
from neuropil.simulate.truth import Truth


def light_on_dark() -> np.ndarray:
    """Slices (2, y, x) whose noise grows with grey."""
    rng = np.random.default_rng(0)
    ramp = np.linspace(40, 200, 300)[None, None, :] * np.ones((2, 300, 1))
    return (ramp + rng.normal(0, 1, ramp.shape) * np.sqrt(ramp)).clip(0, 255).astype(np.uint8)


def test_the_noise_function_gives_gain_and_offset_back(block: Truth) -> None:
    hidden = load_microscope("fibsem").model_copy(
        update={"gain_grey_per_electron": -0.5, "offset_grey": 330.0, "dose_e_per_px": 26_000.0}
    )
    volumes = (block.materials, block.membrane, block.instances)
    image = image_fibsem(*volumes, load_materials(), hidden, np.random.default_rng(7)).image.data
    found = measure_noise_function(image)
    assert found.slope_grey == pytest.approx(0.5, rel=0.1)
    assert found.slope_grey * (found.blank_grey - 150.0) == pytest.approx(0.5 * 180.0, rel=0.05)


def test_light_stain_on_dark_is_refused_or_taken_for_a_level() -> None:
    image = light_on_dark()
    with pytest.raises(ValueError, match="heavy stain shown dark"):
        measure_noise_function(image)
    with pytest.raises(ValueError, match="three grey levels"):
        measure_noise_function(np.full((1, 50, 50), 90, np.uint8))
    microscope = load_microscope("fibsem")
    found = noise_function_or_level(image, 200.0, microscope)
    assert found.slope_grey * (found.blank_grey - 120.0) == pytest.approx(120.0, rel=0.1)


def test_the_detector_shows_resin_at_its_grey() -> None:
    microscope = set_detector(load_microscope("fibsem"), NoiseFunction(slope_grey=0.4, blank_grey=420.0), 190.0)
    assert resin_grey_of(microscope) == pytest.approx(190.0)
    assert microscope.gain_grey_per_electron == -0.4


def test_stain_for_grey_is_the_inverse_of_the_image() -> None:
    microscope, membrane = load_microscope("fibsem"), load_materials()["membrane"]
    darker, lighter = (stain_for_grey(membrane, grey, microscope) for grey in (90.0, 150.0))
    assert darker > lighter
    share = response(2.0, microscope.energy_filter_share).share_of(membrane.with_stain_fraction(darker))
    electrons = microscope.dose_e_per_px * microscope.collection_efficiency * share
    assert microscope.offset_grey + microscope.gain_grey_per_electron * electrons == pytest.approx(90.0, abs=0.01)
    assert stain_for_grey(membrane, 900.0, microscope) == pytest.approx(1e-3)

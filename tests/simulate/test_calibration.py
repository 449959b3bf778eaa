"""The calibration, asked for what it is known to be: phantoms imaged with hidden settings."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from neuropil.simulate.annotator import AnnotatorStyle, annotate
from neuropil.simulate.appearance import darkest_depth_px, measure_appearance, profile_greys, texture_sums
from neuropil.simulate.calibration import (
    NoiseFunction,
    calibrate_fibsem,
    fit_stains,
    measure_noise_function,
    set_detector,
    stain_for_grey,
)
from neuropil.simulate.fibsem import image_fibsem
from neuropil.simulate.imaging import load_microscope
from neuropil.simulate.materials import load_materials, load_structures
from neuropil.simulate.microscope import FibSem
from neuropil.simulate.truth import Truth


def imaged(block: Truth, microscope: FibSem, seed: int = 7) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    rng = np.random.default_rng(seed)
    shot = image_fibsem(block.materials, block.membrane, block.instances, load_materials(), microscope, rng)
    drawn = annotate(block.classes, block.instances, load_structures(), AnnotatorStyle(), rng)
    return shot.image.data, drawn.data


def test_the_noise_function_gives_gain_and_offset_back(block: Truth) -> None:
    hidden = load_microscope("fibsem").model_copy(update={"gain_grey_per_electron": -0.5, "offset_grey": 330.0,
                                                          "dose_e_per_px": 5000.0})  # fmt: skip
    found = measure_noise_function(imaged(block, hidden)[0])
    assert found.slope_grey == pytest.approx(0.5, rel=0.1)
    variance_at_150 = found.slope_grey * (found.blank_grey - 150.0)
    assert variance_at_150 == pytest.approx(0.5 * 180.0, rel=0.05)


def test_light_stain_on_dark_is_refused() -> None:
    rng = np.random.default_rng(0)
    ramp = np.linspace(40, 200, 300)[None, None, :] * np.ones((2, 300, 1))
    image = (ramp + rng.normal(0, 1, ramp.shape) * np.sqrt(ramp)).clip(0, 255).astype(np.uint8)
    with pytest.raises(ValueError, match="heavy stain shown dark"):
        measure_noise_function(image)
    with pytest.raises(ValueError, match="three grey levels"):
        measure_noise_function(np.full((1, 50, 50), 90, np.uint8))


def test_the_detector_shows_resin_at_its_grey() -> None:
    noise = NoiseFunction(slope_grey=0.4, blank_grey=420.0)
    microscope = set_detector(load_microscope("fibsem"), noise, 190.0)
    empty = load_materials()["astroplasm"].model_copy(
        update={"resin": 1.0, "protein": 0.0, "lipid": 0.0, "os": 0.0, "u": 0.0, "pb": 0.0}
    )
    electrons = microscope.dose_e_per_px * microscope.collection_efficiency * empty.backscatter(2.0)
    assert microscope.offset_grey + microscope.gain_grey_per_electron * electrons == pytest.approx(190.0)


def test_stain_for_grey_is_the_inverse_of_the_image() -> None:
    microscope, membrane = load_microscope("fibsem"), load_materials()["membrane"]
    darker, lighter = (stain_for_grey(membrane, grey, microscope) for grey in (90.0, 150.0))
    assert darker > lighter
    eta = membrane.with_stain_fraction(darker).backscatter(2.0)
    electrons = microscope.dose_e_per_px * microscope.collection_efficiency * eta
    assert microscope.offset_grey + microscope.gain_grey_per_electron * electrons == pytest.approx(90.0, abs=0.01)
    assert stain_for_grey(membrane, 900.0, microscope) == pytest.approx(1e-3)


def test_stains_come_to_the_target(block: Truth) -> None:
    """Started from stains that are half and double, the class greys come back to within 3 grey levels."""
    table, microscope = load_materials(), load_microscope("fibsem")
    small = block.crop((0, 0, 0), (10, 170, 170))
    target = measure_appearance([imaged(small, microscope)])
    wrong = table.with_materials(
        {
            "membrane": table["membrane"].with_stain_fraction(0.1),
            "ecs": table["ecs"].with_stain_fraction(0.065),
            "mitochondrial_matrix": table["mitochondrial_matrix"].with_stain_fraction(0.2),
        }
    )
    _, _, found = fit_stains(target, [small], load_structures(), wrong, microscope, AnnotatorStyle(), 0, 6)
    for name in ("membrane", "mitochondrion", "cytoplasm"):
        assert getattr(found, name) == pytest.approx(getattr(target, name), abs=3.0)


def test_the_whole_calibration_comes_near_a_hidden_instrument(block: Truth) -> None:
    hidden = load_microscope("fibsem").model_copy(
        update={
            "lateral_fwhm_nm": (22.0, 16.0),
            "gain_grey_per_electron": -0.5,
            "offset_grey": 330.0,
            "dose_e_per_px": 5000.0,
        }
    )
    small = block.crop((0, 0, 0), (18, 200, 220))
    real = imaged(small, hidden)
    messages: list[str] = []
    profile = calibrate_fibsem(
        "hidden",
        [real],
        [small],
        load_structures(),
        load_materials(),
        load_microscope("fibsem"),
        AnnotatorStyle(),
        {"slices": ["made"]},
        seed=1,
        turns=1,
        step=messages.append,
    )
    figures = profile.provenance["figures"]
    for name in ("membrane", "cytoplasm", "mitochondrion"):
        assert figures["simulated"][name] == pytest.approx(figures["real"][name], abs=3.0)
    assert profile.microscope.lateral_fwhm_nm[0] > profile.microscope.lateral_fwhm_nm[1]
    assert profile.microscope.lateral_fwhm_nm == pytest.approx((22.0, 16.0), rel=0.3)
    assert any("texture" in message for message in messages)


def test_texture_of_white_noise_has_no_reach() -> None:
    image = np.random.default_rng(0).normal(128, 10, (6, 120, 120)).clip(0, 255).astype(np.uint8)
    deep = np.ones(image.shape, np.bool_)
    texture = texture_sums(image, deep)
    assert (texture + texture).autocovariance("x") == pytest.approx(texture.autocovariance("x"))
    for axis in "xyz":
        assert np.abs(texture.autocovariance(axis)).max() < 2.0


def test_the_darkest_depth_of_a_ring_is_found() -> None:
    """A disc of radius 40 whose grey is least 6 px below its edge; pixels' depths are counted from their centres."""
    y, x = np.mgrid[:100, :100] - 50.0
    depth = 40.0 - np.hypot(y, x)
    image = np.clip(90.0 + 8.0 * np.abs(depth - 6.0), 0, 255).astype(np.uint8)[None]
    assert darkest_depth_px([(image, depth[None] > 0)]) == pytest.approx(6.3, abs=0.5)
    assert darkest_depth_px([(image, depth[None] > 38)]) is None


def test_profiles_are_told_apart() -> None:
    image = np.full((40, 80), 100, np.uint8)
    image[:, 41:] = 140
    inside = np.ones((40, 80), np.bool_)
    inside[:, 40] = False
    inside[0, :5] = True
    assert profile_greys(image, inside).tolist() == [100.0, 140.0]


def test_slices_that_cannot_be_measured_are_refused(block: Truth) -> None:
    images, labels = imaged(block, load_microscope("fibsem"))
    with pytest.raises(ValueError, match="no slices"):
        measure_appearance([])
    with pytest.raises(ValueError, match="labels"):
        measure_appearance([(images, labels[:, :-1])])
    with pytest.raises(ValueError, match="uint16"):
        measure_appearance([(images.astype(np.uint16), labels)])
    with pytest.raises(ValueError, match="neighbours"):
        calibrate_fibsem(
            "one", [(images[:1], labels[:1])], [block], load_structures(), load_materials(),
            load_microscope("fibsem"), AnnotatorStyle(), {},
        )  # fmt: skip

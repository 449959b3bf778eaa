"""The calibration, asked for what it is known to be: phantoms imaged with hidden settings."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from neuropil.simulate import calibration
from neuropil.simulate.annotator import AnnotatorStyle
from neuropil.simulate.appearance import drawn_bits, loss, measure_appearance
from neuropil.simulate.calibration import calibrate, fit_annotator
from neuropil.simulate.gradient_fit import smooth_numbers, turn_by_gradient
from neuropil.simulate.imaging import load_microscope
from neuropil.simulate.knobs import image_knobs
from neuropil.simulate.look import Look, Specimen, observe
from neuropil.simulate.materials import load_materials, load_structures
from neuropil.simulate.truth import Truth

STRUCTURES = load_structures()
START = Look(load_microscope("fibsem"), load_materials(), 8.0, AnnotatorStyle())


@pytest.fixture(scope="module")
def specimen(block: Truth) -> Specimen:
    """A phantom of 8 × 120 × 120 voxels, whose thick membranes are its thin ones."""
    small = block.crop((0, 0, 0), (8, 120, 120))
    scale = np.ones(int(small.instances.data.max()) + 1, np.float32)
    return Specimen(small, small.membrane, scale)


def hidden_look() -> Look:
    microscope = START.microscope.model_copy(
        update={"lateral_fwhm_nm": (22.0, 15.0), "gain_grey_per_electron": -0.3, "offset_grey": 560.0,
                "dose_e_per_px": 109_000.0}
    )  # fmt: skip
    membrane = START.table["membrane"].with_stain_fraction(0.09)
    return replace(START, microscope=microscope, table=START.table.with_materials({"membrane": membrane}))


def test_the_loop_comes_nearer_a_hidden_instrument(specimen: Specimen, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calibration, "LEAST_SQUARES_STEPS", 2)
    # Of so few pixels Porod's law tells the spot only roughly; this noise leaves it within a tenth.
    real = observe([specimen], STRUCTURES, hidden_look(), 63, seed=11)
    messages: list[str] = []
    found = calibrate(real, [specimen], STRUCTURES, START, rounds=1, step=messages.append)
    assert found.losses[-1] < 0.8 * found.losses[0]
    assert found.after["grey mean"] == pytest.approx(found.real["grey mean"], rel=0.03)
    assert found.after["grey sd"] == pytest.approx(found.real["grey sd"], rel=0.05)
    assert found.after["noise sigma"] == pytest.approx(found.real["noise sigma"], rel=0.05)
    assert found.after["autocorrelation y 3"] == pytest.approx(found.real["autocorrelation y 3"], rel=0.05)
    assert any("gradients" in message for message in messages) and any("CMA-ES" in message for message in messages)
    profile = found.look.profile("hidden", {"real": "made"})
    stain = found.look.table["membrane"].stain_fraction
    assert profile.stained(load_materials())["membrane"].stain_fraction == pytest.approx(stain, abs=1e-5)


def test_smooth_numbers_are_those_of_the_appearance(specimen: Specimen) -> None:
    import torch

    run = observe([specimen], STRUCTURES, START, 63, seed=2)[0]
    exact = measure_appearance([run], len(run.images))
    smooth = smooth_numbers(torch.from_numpy(run.images).float(), run.labels)
    assert len(smooth) > 40
    for name, value in smooth.items():
        assert float(value) == pytest.approx(exact[name], rel=0.02, abs=0.6 if name.startswith("grey") else 0.02), name


def test_gradients_lower_the_loss(specimen: Specimen) -> None:
    hidden = hidden_look()
    real = observe([specimen], STRUCTURES, hidden, 63, seed=9)
    goal = measure_appearance(real, 5)
    # Nothing is hidden but what these knobs turn.
    turned = ("electrons of resin", "grey of resin", "blank above resin", "stain of membrane")
    spot = {"lateral_fwhm_nm": hidden.microscope.lateral_fwhm_nm}
    start = replace(START, microscope=START.microscope.model_copy(update=spot))
    knobs = [knob for knob in image_knobs(start, (5.0, 5.0, 5.0), drawn_bits(real)) if knob.name in turned]
    labels = [run.labels for run in observe([specimen], STRUCTURES, start, 63, seed=9)]
    found = turn_by_gradient(goal, [specimen], labels, start, knobs, seed=9, steps=25)
    before, after = (
        loss(goal, measure_appearance(observe([specimen], STRUCTURES, look, 63, seed=9), 5)) for look in (start, found)
    )
    assert after < 0.6 * before


def test_the_annotators_hand_is_found(specimen: Specimen) -> None:
    style = AnnotatorStyle(membrane_inside_nm=18.0, membrane_outside_nm=18.0, mitochondrial_boundary_nm=40.0)
    hidden = replace(START, style=style)
    goal = measure_appearance(observe([specimen], STRUCTURES, hidden, 7, seed=4), 5)
    found = fit_annotator(goal, [specimen], STRUCTURES, START, 7, seed=0, rounds=8).style
    assert found.membrane_inside_nm == pytest.approx(18.0, abs=4.0)
    assert found.psd_margin_nm == START.style.psd_margin_nm

"""Each knob says what it is set to, and turns nothing that another one says."""

from __future__ import annotations

import pytest

from neuropil.simulate.annotator import AnnotatorStyle
from neuropil.simulate.imaging import load_microscope
from neuropil.simulate.knobs import image_knobs
from neuropil.simulate.look import Look
from neuropil.simulate.materials import load_materials


@pytest.mark.parametrize("microscope", ["fibsem", "sstem"])
@pytest.mark.parametrize("drawn", [0, 63])
def test_knobs_are_read_as_they_were_turned_and_leave_the_others(microscope: str, drawn: int) -> None:
    look = Look(load_microscope(microscope), load_materials(), 9.0, AnnotatorStyle())
    knobs = image_knobs(look, (5.0, 5.0, 5.0), drawn)
    assert len({knob.name for knob in knobs}) == len(knobs) > 12
    for knob in knobs:
        before = knob.read(look)
        value = min(max(before * 1.05, knob.low), knob.high)
        turned = knob.turned(look, value)
        assert knob.read(turned) == pytest.approx(value), knob.name
        for other in knobs:
            if other is not knob:
                assert other.read(turned) == pytest.approx(other.read(look)), (knob.name, other.name)


def test_what_no_label_tells_apart_follows_the_membrane() -> None:
    look = Look(load_microscope("fibsem"), load_materials(), 8.0, AnnotatorStyle())
    names = {drawn: {k.name: k for k in image_knobs(look, (5.0, 5.0, 5.0), drawn)} for drawn in (0, 63)}
    assert "stain of psd" in names[63] and "stain of psd" not in names[0]
    membrane = look.table["membrane"].stain_fraction
    darker = names[0]["stain of membrane"].turned(look, 1.2 * membrane).table
    assert darker["psd"].stain_fraction == pytest.approx(1.2 * look.table["psd"].stain_fraction)

"""`scripts/bench simulate`: what it compares makes the same kind of image."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from neuropil.simulate.materials import load_materials
from neuropil.simulate.truth import Truth

SCRIPTS = Path(__file__).parents[2] / "scripts"


def test_the_plain_model_gives_an_image_of_the_same_greys_and_texture(
    block: Truth, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(SCRIPTS))
    from benchmarks import simulate

    # Over so few slices drift would decide.
    steady = {"beam_current_sd": 0.0, "drift_gain_sd": 0.0, "drift_offset_grey": 0.0}
    table, microscope = load_materials(), simulate.microscope().model_copy(update=steady)
    volumes = {name: getattr(block, name).data for name in simulate.NAMES}
    images = [make(volumes, table, microscope) for make in (simulate.our_image, simulate.plain_image)]
    ours, plain = (image.astype(np.float64) for image in images)
    assert plain.mean() == pytest.approx(ours.mean(), abs=3.0)
    assert plain.std() == pytest.approx(ours.std(), rel=0.1)
    noise = [np.diff(image, 4, axis=2).std() / np.sqrt(70.0) for image in (ours, plain)]
    assert noise[1] == pytest.approx(noise[0], rel=0.1)
    assert np.corrcoef(ours[12].ravel(), plain[12].ravel())[0, 1] > 0.6

"""A whole calibration by the command, on few and small slices without labels."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from neuropil.pipeline import calibrating
from neuropil.pipeline.recipe import named_appearance
from neuropil.simulate import calibration, two_sample
from neuropil.simulate.imaging import image_block, load_microscope
from neuropil.simulate.materials import load_materials
from neuropil.simulate.phantom import make_phantom
from neuropil.voxelize.volume import Volume
from neuropil.voxelize.volume_files import write_volume


def test_a_profile_a_report_and_figures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: Callable[..., tuple[int, str, str]]
) -> None:
    phantom = make_phantom(np.random.default_rng(3), (24, 80, 80))
    volumes = (phantom.materials, phantom.membrane, phantom.instances)
    microscope = load_microscope("fibsem").model_copy(update={"lateral_fwhm_nm": (25.0, 20.0)})
    image = image_block(*volumes, load_materials(), microscope, np.random.default_rng(1)).image
    write_volume(Volume(image.data, (8.0, 8.0, 8.0)), tmp_path / "real.tif")
    for module, name, value in (
        (calibrating, "FIT_SEEDS", range(1, 2)), (calibrating, "TEST_SEEDS", range(101, 102)),
        (calibrating, "SLICES", 6), (calibration, "GRADIENT_STEPS", 2), (calibration, "LEAST_SQUARES_STEPS", 1),
        (two_sample, "_PATCHES_PER_FOLD", 8), (two_sample, "_EPOCHS", 1),
    ):  # fmt: skip
        monkeypatch.setattr(module, name, value)
    profile, folder = tmp_path / "mine.yaml", tmp_path / "run"
    code, out, err = command(
        "calibrate", tmp_path / "real.tif", "--microscope", "fibsem", "-o", profile, "--report", folder, "--json"
    )
    assert code == 0, err
    metrics = json.loads(out)
    assert metrics == json.loads((folder / "metrics.json").read_text())
    assert len(metrics["tolerances_off"]) >= 3
    assert 0.0 <= metrics["auc"]["after"] <= 1.0
    assert named_appearance(str(profile)).profile.name == "mine"
    page = (folder / "report.html").read_text()
    assert "autocorrelation x 8" in page and "Annotators" not in page
    assert len(list((folder / "blocks").glob("*.npz"))) == 2
    words = ["calibrate", tmp_path / "real.tif", "--microscope", "fibsem", "--start", profile, "--report", folder]
    code, out, err = command(*words, "-o", tmp_path / "again.yaml", "--json")
    assert code == 0, err
    assert json.loads(out)["tolerances_off"][0] == pytest.approx(min(metrics["tolerances_off"]), abs=0.1)

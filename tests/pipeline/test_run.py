"""The whole way on the smallest recipe: with real slices at hand, resumed, and with none to be had."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from neuropil.pipeline import real_images
from neuropil.pipeline.recipe import Recipe, load_recipe
from neuropil.pipeline.run import METRICS, run
from neuropil.train.classes import CLASS_NAMES


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def _real_slices(folder: Path) -> None:
    rng = np.random.default_rng(8)
    for kind, highest in (("images", 256), ("labels", 64)):
        (folder / "small" / kind).mkdir(parents=True)
        for name in ("0001", "0089", "0090"):
            array = rng.integers(0, highest, (64, 96), dtype=np.uint8)
            Image.fromarray(array).save(folder / "small" / kind / f"{name}.png")


@pytest.fixture(scope="module")
def finished(tiny_recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Recipe, Path, pytest.MonkeyPatch]:
    """A run with two real slices to score."""
    folder = tmp_path_factory.mktemp("run")
    _real_slices(folder / "data")
    patch = pytest.MonkeyPatch()
    patch.setenv("NEUROPIL_DATA", str(folder / "data"))
    given = load_recipe(str(tiny_recipe))
    recipe = given.model_copy(update={"blocks": 1, "real": given.real.model_copy(update={"dataset": "small"})})
    run(recipe, "tiny.yaml", folder / "out", workers=1)
    patch.undo()
    return recipe, folder, patch


class _Page(HTMLParser):
    """Headings' ids and every address that the page refers to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.headings: list[str] = []
        self.addresses: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if tag == "h2":
            self.headings.append(str(values.get("id")))
        self.addresses += [str(values[key]) for key in ("src", "href") if key in values]


def test_metrics_hold_what_the_readme_names(finished: tuple[Recipe, Path, pytest.MonkeyPatch]) -> None:
    metrics = json.loads((finished[1] / "out" / METRICS).read_text())
    assert set(metrics["real"]["dice"]) == set(CLASS_NAMES)
    assert metrics["real"]["slices"] == ["0089", "0090"]
    assert metrics["held_out_block"] is None
    assert metrics["training_steps"] == 3
    assert {"blocks", "training", "segmentation", "report"} <= set(metrics["seconds"])
    assert set(metrics["seconds"]) == set(metrics["peak_memory_mb"])
    assert all(50 < mb < 8000 for mb in metrics["peak_memory_mb"].values())
    assert metrics["certificates"]["no_crossing_pairs"] is True
    assert 0 < metrics["block"]["extracellular_fraction"] < 0.5


def test_dice_is_that_of_the_slices_on_disk(finished: tuple[Recipe, Path, pytest.MonkeyPatch]) -> None:
    out = finished[1] / "out"
    both = total = 0
    for name in ("0089", "0090"):
        found, truth = (
            np.array(Image.open(folder / f"{name}.png")) & 4
            for folder in (out / "segmentation", finished[1] / "data" / "small" / "labels")
        )
        both += np.count_nonzero(found & truth)
        total += np.count_nonzero(found) + np.count_nonzero(truth)
    metrics = json.loads((out / METRICS).read_text())
    assert metrics["real"]["dice"]["membrane"] == pytest.approx(2 * both / total, abs=1e-4)


def test_report_is_one_page_with_its_pictures(finished: tuple[Recipe, Path, pytest.MonkeyPatch]) -> None:
    text = (finished[1] / "out" / "report.html").read_text()
    page = _Page(text)
    expected = "micrograph neurons tissue labels segmentation dice training statistics certificates stages"
    assert page.headings == expected.split()
    assert len(page.addresses) >= 9
    assert all(address.startswith("data:image/") for address in page.addresses)
    assert not re.search(r"url\(|https?://", text)
    assert "A real slice, segmented" in text


def test_finished_stages_are_not_done_again(finished: tuple[Recipe, Path, pytest.MonkeyPatch]) -> None:
    recipe, folder, patch = finished
    out = folder / "out"
    kept = [out / "blocks" / "00000.zarr" / "manifest.json", out / "model" / "models" / "model.safetensors"]
    kept.append(out / "segmentation" / "0089.png")
    before = [file.stat().st_mtime_ns for file in kept]
    seconds = json.loads((out / METRICS).read_text())["seconds"]
    (out / "report.html").unlink()
    patch.setenv("NEUROPIL_DATA", str(folder / "data"))
    run(recipe, "tiny.yaml", out, workers=1)
    assert [file.stat().st_mtime_ns for file in kept] == before
    assert (out / "report.html").is_file()
    again = json.loads((out / METRICS).read_text())["seconds"]
    assert again["training"] == seconds["training"]
    # Another length of training: blocks stay, the network and its answers do not.
    longer = recipe.model_copy(update={"training": recipe.training.model_copy(update={"steps": 4})})
    run(longer, "tiny.yaml", out, workers=1)
    patch.undo()
    after = [file.stat().st_mtime_ns for file in kept]
    assert after[0] == before[0]
    assert after[1] != before[1]
    assert after[2] != before[2]
    assert json.loads((out / METRICS).read_text())["training_steps"] == 4


def test_without_real_images_a_held_out_block_is_scored(
    tiny_recipe: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("NEUROPIL_DATA", str(tmp_path / "absent"))
    monkeypatch.setattr(real_images.pooch, "os_cache", lambda name: tmp_path / "cache")
    monkeypatch.setattr(real_images, "EPFL_URL", "http://127.0.0.1:9/")
    recipe = load_recipe(str(tiny_recipe)).model_copy(update={"blocks": 1})
    run(recipe, "tiny.yaml", tmp_path / "out", workers=1)
    metrics = json.loads((tmp_path / "out" / METRICS).read_text())
    assert metrics["real"] is None
    assert metrics["blocks"] == 1
    assert set(metrics["held_out_block"]["dice"]) == set(CLASS_NAMES)
    assert (tmp_path / "out" / "blocks" / "00001.zarr").is_dir()
    assert "No real images" in capfd.readouterr().err
    assert "A held-out synthetic slice, segmented" in (tmp_path / "out" / "report.html").read_text()

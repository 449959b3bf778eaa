"""From a stack without labels to its segmentation: on the smallest recipe, resumed, with parts given, and bad input."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch

from neuropil.pipeline.real_run import BLOCKS, MODEL, PLAN, SEGMENTATION, seconds_of, voxel_size_of
from neuropil.train.classes import CLASS_NAMES
from neuropil.voxelize.volume_files import read_volume

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("stack") / "stack.tif"
    tifffile.imwrite(path, np.random.default_rng(4).integers(60, 200, (5, 70, 80), dtype=np.uint8))
    return path


def _words(stack: Path, tiny_recipe: Path, out: Path, *more: str) -> list[str]:
    given = ["--real", str(stack), "--voxel-size", "10,10,10", "--recipe", str(tiny_recipe), "-o", str(out)]
    return ["run", *given, "--budget", "20s", "--workers", "1", *more]


def test_a_stack_is_segmented_and_finished_stages_stay(
    stack: Path, tiny_recipe: Path, tmp_path: Path, command: Command
) -> None:
    words = _words(stack, tiny_recipe, tmp_path, "--profile", "epfl_ca1")
    code, _, err = command(*words)
    assert code == 0, err
    found = read_volume(str(tmp_path / SEGMENTATION))
    assert found.axes == "czyx" and found.channels == CLASS_NAMES and found.data.shape == (6, 5, 70, 80)
    assert found.voxel_size_nm == (10.0, 10.0, 10.0)
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    blocks = json.loads((tmp_path / PLAN).read_text())[0]
    assert metrics["blocks"] == blocks == len(list((tmp_path / BLOCKS).glob("*.zarr"))) >= 1
    assert f"{2 * metrics['training_steps']} steps in place of {metrics['training_steps']}" in metrics["more_time"]
    assert "segmentation.zarr" in (tmp_path / "report.html").read_text()
    kept = (tmp_path / PLAN).read_bytes(), (tmp_path / MODEL / "models" / "model.safetensors").stat().st_mtime_ns
    assert command(*words)[0] == 0
    assert kept == (
        (tmp_path / PLAN).read_bytes(),
        (tmp_path / MODEL / "models" / "model.safetensors").stat().st_mtime_ns,
    )
    other = tmp_path / "other"
    assert command(*_words(stack, tiny_recipe, other, "--model", str(tmp_path / MODEL)))[0] == 0
    assert not (other / BLOCKS).exists()
    np.testing.assert_array_equal(read_volume(str(other / SEGMENTATION)).data, found.data)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--budget", "soon"], "--budget is 'soon'"),
        (["--voxel-size", "10,10"], "--voxel-size is '10,10'"),
        (["--tissue", "liver"], "preset is 'liver'"),
        (["--profile", "nobody.yaml"], "nobody.yaml"),
        (["--model", "no-such-model"], "no-such-model"),
    ],
)
def test_what_is_wrong_is_said_in_a_sentence(
    more: list[str], said: str, stack: Path, tiny_recipe: Path, tmp_path: Path, command: Command
) -> None:
    given = [] if more[0] in ("--profile", "--model") else ["--profile", "epfl_ca1"]
    code, _, err = command(*_words(stack, tiny_recipe, tmp_path / "out", *given, *more))
    assert code == 2
    assert said in err and err.count("\n") == 1
    assert not (tmp_path / "out" / SEGMENTATION).exists()


def test_times_and_sizes_are_read() -> None:
    assert (seconds_of("90s"), seconds_of("30min"), seconds_of("1.5 h")) == (90.0, 1800.0, 5400.0)
    assert voxel_size_of("50,4,4") == (50.0, 4.0, 4.0)

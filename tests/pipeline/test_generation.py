from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from neuropil.pipeline import generation
from neuropil.pipeline.block_job import block_folder, is_finished
from neuropil.pipeline.generation import generate
from neuropil.pipeline.recipe import load_recipe


def test_two_workers_make_the_bytes_of_one(
    tiny_recipe: Path, tiny_blocks: Path, tmp_path: Path, files_of: Callable[[Path], dict[str, bytes]]
) -> None:
    recipe = load_recipe(str(tiny_recipe))
    heard: list[int] = []
    made = generate(recipe, str(tiny_recipe), recipe.seed, [1, 0], tmp_path, 2, heard.append)
    assert made.failed == []
    assert sorted(heard) == list(made.blocks) == [0, 1]
    assert files_of(tmp_path) == files_of(tiny_blocks)


def test_a_failure_is_tried_again_and_stops_no_other(
    tiny_recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = load_recipe(str(tiny_recipe))
    tried: list[int] = []

    def sometimes(recipe: object, seed: int, index: int, folder: Path) -> Path:
        tried.append(index)
        if index == 1 or (index == 2 and tried.count(2) == 1):
            raise RuntimeError("no room")
        return folder / str(index)

    monkeypatch.setattr(generation, "make_block", sometimes)
    made = generate(recipe, "my recipe.yaml", 9, range(4), tmp_path, workers=1)
    assert list(made.blocks) == [0, 2, 3]
    assert tried == [0, 1, 1, 2, 2, 3]
    (failed,) = made.failed
    assert failed.index == 1
    assert failed.reason == "RuntimeError: no room"
    words = shlex.split(failed.command)
    assert words[:4] == ["neuropil", "generate", "--recipe", "my recipe.yaml"]
    assert words[words.index("--index") + 1] == "1"
    assert words[words.index("--seed") + 1] == "9"


def test_killed_in_the_middle_leaves_nothing_half_made(
    tiny_recipe: Path, tiny_blocks: Path, tmp_path: Path, files_of: Callable[[Path], dict[str, bytes]]
) -> None:
    out = tmp_path / "out"
    program = [sys.executable, "-m", "neuropil.pipeline.command_line", "generate"]
    options = ["--recipe", str(tiny_recipe), "-o", str(out), "--workers", "1"]
    process = subprocess.Popen([*program, *options], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        # The first file of the first block, under its temporary name, is the moment to strike.
        deadline = time.monotonic() + 120
        while not any(out.glob(".00000*")) and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.005)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert process.returncode == -signal.SIGKILL
    left = os.listdir(out)
    assert left
    assert all(name.startswith(".") or is_finished(out / name) for name in left)
    recipe = load_recipe(str(tiny_recipe))
    made = generate(recipe, str(tiny_recipe), recipe.seed, [0, 1], out, workers=1)
    assert list(made.blocks) == [0, 1]
    assert sorted(os.listdir(out)) == [block_folder(out, k).name for k in (0, 1)]
    assert files_of(out) == files_of(tiny_blocks)

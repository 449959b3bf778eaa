"""Blocks by index: the same bytes on any workers, whatever fails and whoever is killed meanwhile."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
from dask.distributed import Client

from neuropil.pipeline import generation
from neuropil.pipeline.block_job import block_folder, is_finished
from neuropil.pipeline.generation import BlockOutcome, block_range, generate
from neuropil.pipeline.recipe import load_recipe

Files = Callable[[Path], dict[str, bytes]]


def ok(outcomes: list[BlockOutcome]) -> list[int]:
    """The indices of blocks that are there, where none failed."""
    assert [block.failure for block in outcomes] == [None] * len(outcomes)
    return sorted(block.index for block in outcomes)


def wait_for(condition: Callable[[], bool], seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.005)


def test_ranges() -> None:
    assert block_range("0:1000") == range(1000)
    assert block_range("7:8") == range(7, 8)
    assert block_range("3") == range(3)
    assert block_range("0:1000000000")[-1] == 999_999_999


def test_two_workers_make_the_bytes_of_one(
    tiny_recipe: Path, tiny_blocks: Path, tmp_path: Path, files_of: Files
) -> None:
    recipe = load_recipe(str(tiny_recipe))
    assert ok(list(generate(recipe, str(tiny_recipe), recipe.seed, [1, 0], tmp_path, workers=2))) == [0, 1]
    assert files_of(tmp_path) == files_of(tiny_blocks)
    again = list(generate(recipe, str(tiny_recipe), recipe.seed, range(2), tmp_path, workers=2))
    assert [block.found for block in again] == [True, True]


def test_what_is_there_is_kept_and_never_mixed(tiny_recipe: Path, tiny_blocks: Path) -> None:
    recipe = load_recipe(str(tiny_recipe))
    (found,) = generate(recipe, "tiny", recipe.seed, [1], tiny_blocks, workers=1)
    assert (found.found, found.failure, found.folder) == (True, None, block_folder(tiny_blocks, 1))
    (other,) = generate(recipe, "tiny", recipe.seed + 1, [1], tiny_blocks, workers=1)
    assert other.failure == "A block of another recipe or seed is in its place."


@pytest.fixture
def tries(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Block 1 always fails, block 2 fails once, block 3's recipe is wrong; the list tells what was tried."""
    tried: list[int] = []

    def sometimes(recipe: object, seed: int, index: int, folder: Path) -> Path:
        tried.append(index)
        if index == 1 or (index == 2 and tried.count(2) == 1):
            raise RuntimeError("no room")
        if index == 3:
            raise ValueError("tissue.size_um is too small.")
        return folder / str(index)

    monkeypatch.setattr(generation, "make_block", sometimes)
    return tried


def test_a_failure_is_tried_again_and_stops_no_other(tiny_recipe: Path, tmp_path: Path, tries: list[int]) -> None:
    recipe = load_recipe(str(tiny_recipe))
    made = list(generate(recipe, "my recipe.yaml", 9, range(5), tmp_path, workers=1))
    assert tries == [0, 1, 2, 3, 4, 1, 2, 1]
    failed = {block.index: block for block in made if block.failure is not None}
    assert sorted(failed) == [1, 3]
    assert ok([block for block in made if block.index not in failed]) == [0, 2, 4]
    assert failed[1].failure == "RuntimeError: no room"
    assert failed[3].failure == "tissue.size_um is too small."
    command = "neuropil generate 'my recipe.yaml' --blocks 1:2 --seed 9 --workers 1 -o"
    assert failed[1].command == f"{command} {shlex.quote(str(tmp_path))}"


def test_few_of_very_many_blocks_are_under_way(
    tiny_recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a billion blocks the first come at once: none but those under way cost time or memory."""
    monkeypatch.setattr(generation, "make_block", lambda recipe, seed, index, folder: folder)
    recipe = load_recipe(str(tiny_recipe))
    outcomes = generate(recipe, "tiny", 1, range(10**9), tmp_path, workers=1)
    assert [next(outcomes).index for _ in range(5)] == [0, 1, 2, 3, 4]


PROGRAM = [sys.executable, "-m", "neuropil.pipeline.command_line"]


def start(recipe: Path, out: Path, *options: str) -> subprocess.Popen[str]:
    command = [*PROGRAM, "generate", str(recipe), "-o", str(out), *options]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def workers_of(coordinator: int) -> list[psutil.Process]:
    """The processes below it that make blocks: those that have an output folder's lock open."""
    return [
        process
        for process in psutil.Process(coordinator).children(recursive=True)
        if any(file.path.endswith(".zarr.lock") for file in process.open_files())
    ]


def at_work(out: Path) -> list[Path]:
    return list(out.glob(".*.zarr.part"))


def test_killed_worker_and_killed_run_lose_nothing(
    tiny_recipe: Path, tiny_blocks: Path, tmp_path: Path, files_of: Files
) -> None:
    out = tmp_path / "out"
    run = start(tiny_recipe, out, "--blocks", "0:5", "--workers", "2")
    try:
        # A worker dies over a half-written block; the run goes on.
        wait_for(lambda: bool(at_work(out)))
        (victim, *_) = workers_of(run.pid)
        victim.kill()
        wait_for(lambda: is_finished(block_folder(out, 0)) or is_finished(block_folder(out, 1)))
        finished = {path.name: path.stat().st_mtime_ns for path in out.glob("[0-9]*") if is_finished(path)}
        # Then the whole run dies in the middle.
        wait_for(lambda: bool(at_work(out)))
        helpers = psutil.Process(run.pid).children(recursive=True)
        assert run.poll() is None
    finally:
        run.send_signal(signal.SIGKILL)
        run.communicate()
    assert psutil.wait_procs(helpers, timeout=20)[1] == []
    # What has a block's name is whole; what a killed attempt left has none.
    assert all(name.startswith(".") or is_finished(out / name) for name in os.listdir(out))
    assert [name for name in os.listdir(out) if name.startswith(".")] != []
    again = start(tiny_recipe, out, "--blocks", "0:5", "--workers", "2")
    printed, said = again.communicate(timeout=120)
    assert again.returncode == 0, said
    assert printed.split()[:5] == [str(block_folder(out, k)) for k in range(5)]
    assert [name for name in os.listdir(out) if name.startswith(".")] == []
    for name, when in finished.items():
        assert (out / name).stat().st_mtime_ns == when
    undisturbed = tmp_path / "undisturbed"
    recipe = load_recipe(str(tiny_recipe))
    ok(list(generate(recipe, "tiny", recipe.seed, range(2, 5), undisturbed, workers=1)))
    of_blocks = {name: content for name, content in files_of(out).items() if name[0].isdigit()}
    assert of_blocks == files_of(tiny_blocks) | files_of(undisturbed)


@dataclass(frozen=True)
class Scheduler:
    process: subprocess.Popen[str]
    address: str


@pytest.fixture
def scheduler() -> Iterator[Scheduler]:
    """A dask scheduler in a process of its own, without workers."""
    command = [sys.executable, "-m", "distributed.cli.dask_scheduler", "--port", "0", "--dashboard-address", ":0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        address = next(line.split()[-1] for line in process.stderr or [] if "Scheduler at:" in line)
        try:
            yield Scheduler(process, address)
        finally:
            process.kill()


def test_a_cluster_makes_the_same_bytes(
    scheduler: Scheduler, tiny_recipe: Path, tiny_blocks: Path, tmp_path: Path, files_of: Files
) -> None:
    run = start(tiny_recipe, tmp_path / "out", "--blocks", "1:2", "--scheduler", scheduler.address)
    command = [sys.executable, "-m", "distributed.cli.dask_worker", scheduler.address, "--nthreads", "1"]
    with subprocess.Popen([*command, "--no-dashboard"], stderr=subprocess.DEVNULL, cwd=tmp_path) as worker:
        try:
            _, said = run.communicate(timeout=120)
        finally:
            worker.terminate()
    assert run.returncode == 0, said
    assert files_of(tmp_path / "out" / "00001.zarr") == files_of(block_folder(tiny_blocks, 1))


def test_a_scheduler_that_goes_away(scheduler: Scheduler, tiny_recipe: Path, tmp_path: Path) -> None:
    run = start(tiny_recipe, tmp_path / "out", "--scheduler", scheduler.address)
    with Client(scheduler.address, set_as_default=False) as client:
        wait_for(lambda: client.run_on_scheduler(lambda dask_scheduler: len(dask_scheduler.tasks)) == 2)
    scheduler.process.kill()
    _, said = run.communicate(timeout=120)
    assert run.returncode == 2
    assert said.startswith("neuropil: The scheduler is gone.") and said.count("\n") == 1, said

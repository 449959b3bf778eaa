"""What is made appears whole and once, whoever else works on it or died over it."""

import multiprocessing
import os
import signal
import time
from pathlib import Path

import pytest

from neuropil.voxelize.replacement import made_once


def is_finished(folder: Path) -> bool:
    return (folder / "done").is_file()


def make(folder: Path, seconds: float) -> None:
    with made_once(folder, is_finished) as unfinished:
        if unfinished is None:
            return
        unfinished.mkdir()
        (unfinished / f"by_{os.getpid()}").touch()
        time.sleep(seconds)
        (unfinished / "done").touch()


def test_of_two_at_once_one_makes_it(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    both = [context.Process(target=make, args=(tmp_path / "it", 0.3)) for _ in range(4)]
    for process in both:
        process.start()
    for process in both:
        process.join()
        assert process.exitcode == 0
    assert os.listdir(tmp_path) == ["it"]
    assert len(os.listdir(tmp_path / "it")) == 2


def test_what_a_killed_process_left_is_removed(tmp_path: Path) -> None:
    killed = multiprocessing.get_context("fork").Process(target=make, args=(tmp_path / "it", 60))
    killed.start()
    while not list(tmp_path.glob(".it.part/by_*")):
        time.sleep(0.01)
    os.kill(killed.pid or 0, signal.SIGKILL)
    killed.join()
    assert not (tmp_path / "it").exists()
    make(tmp_path / "it", 0)
    assert os.listdir(tmp_path) == ["it"]
    assert sorted(os.listdir(tmp_path / "it")) == sorted(["done", f"by_{os.getpid()}"])


def test_a_failure_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), made_once(tmp_path / "it", is_finished) as unfinished:
        assert unfinished is not None
        unfinished.mkdir()
        raise RuntimeError("no room")
    assert os.listdir(tmp_path) == []


def test_what_is_unfinished_but_has_the_name_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "it").mkdir()
    (tmp_path / "it/mine").touch()
    with pytest.raises(OSError, match="not empty"):
        make(tmp_path / "it", 0)
    assert os.listdir(tmp_path) == ["it"]

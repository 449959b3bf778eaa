"""`scripts/slurm`, as far as it goes without SLURM: its job script, and a run on a stand-in for sbatch and scancel."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from neuropil.pipeline.block_job import block_folder

pytest.importorskip("dask_jobqueue")

SCRIPT = Path(__file__).parents[2] / "scripts/slurm"
# A job runs at once in a session of its own, whose id is the job's; cancelling ends the session.
SBATCH = """#!/bin/sh
cp "$1" "$STAND_IN/job.sh"
setsid bash "$STAND_IN/job.sh" > "$STAND_IN/log" 2>&1 &
echo "Submitted batch job $!"
"""
SCANCEL = """#!/bin/sh
kill -- "-$1"
"""


def test_the_job_script_asks_for_what_was_asked(tmp_path: Path) -> None:
    options = ["--cores", "4", "--memory", "6GB", "--walltime", "02:00:00", "--queue", "long", "--account", "lab"]
    shown = subprocess.run(
        [sys.executable, SCRIPT, "default", "-o", tmp_path / "out", *options, "--show-job"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    for line in ("-p long", "-A lab", "--cpus-per-task=4", "-t 02:00:00"):
        assert f"#SBATCH {line}" in shown.splitlines()
    assert "export NUMBA_NUM_THREADS=1" in shown
    assert "--nthreads 1" in shown and "--nworkers 4" in shown and "--memory-limit 5.59GiB" in shown
    assert subprocess.run(["bash", "-n"], input=shown, text=True).returncode == 0
    assert not (tmp_path / "out").exists()


def test_a_run_on_a_stand_in(
    tiny_recipe: Path, tiny_blocks: Path, tmp_path: Path, files_of: Callable[[Path], dict[str, bytes]]
) -> None:
    for name, content in (("sbatch", SBATCH), ("scancel", SCANCEL)):
        (tmp_path / name).write_text(content)
        (tmp_path / name).chmod(0o755)
    done = subprocess.run(
        [sys.executable, SCRIPT, tiny_recipe, "--blocks", "1:2", "-o", tmp_path / "out", "--jobs", "1"],
        env=os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}", "STAND_IN": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr + (tmp_path / "log").read_text()
    assert done.stdout.split()[0] == str(block_folder(tmp_path / "out", 1))
    assert files_of(tmp_path / "out/00001.zarr") == files_of(block_folder(tiny_blocks, 1))

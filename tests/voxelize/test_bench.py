"""`scripts/bench`: its JSON's form, its refusals, and that the contenders of `voxelize` fill the same voxels."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from neuropil.voxelize.solid import Scene

SCRIPTS = Path(__file__).parents[2] / "scripts"


def test_the_form_of_its_json() -> None:
    done = subprocess.run(
        [sys.executable, str(SCRIPTS / "bench"), "voxelize", "--size", "0.01", "--json"],
        capture_output=True,
        text=True,
        check=True,
    )
    result = json.loads(done.stdout)
    assert set(result) == {"input", "contenders", "ratios", "machine"}
    assert "closed meshes" in result["input"]
    assert set(result["contenders"]) == {"neuropil", "open3d", "vtk", "only_writing"}
    for figures in result["contenders"].values():
        assert figures["seconds"] > 0 and figures["peak_memory_mb"] > 10
    ours = result["contenders"]["neuropil"]["seconds"]
    for rival, ratio in result["ratios"].items():
        assert ratio == pytest.approx(result["contenders"][rival]["seconds"] / ours)
    assert result["machine"]["processors"] >= 1


def test_a_wrong_name_is_answered_in_one_line() -> None:
    for arguments, words in ((["nothing"], "voxelize"), (["voxelize", "--contender", "me"], "open3d")):
        done = subprocess.run([sys.executable, str(SCRIPTS / "bench"), *arguments], capture_output=True, text=True)
        assert done.returncode == 2
        assert words in done.stderr.splitlines()[-1] and "Traceback" not in done.stderr


def test_the_contenders_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(SCRIPTS))
    from benchmarks import _tissue_block, voxelize

    solids = _tissue_block.build_solids(0.5, 3)
    voxels = Scene(solids.parts, _tissue_block.VOXEL_NM).voxelize(solids.box)
    ours = [getattr(voxels, name).data for name in ("instances", "organelles", "classes", "materials")]
    assert (ours[0] > 0).mean() > 0.2
    for rival in (voxelize.open3d_arrays, voxelize.vtk_arrays):
        for array, theirs in zip(ours, rival(solids), strict=True):
            # Where meshes touch or cross themselves, the others count crossings and see a hole.
            assert np.mean(theirs != array) < 0.005

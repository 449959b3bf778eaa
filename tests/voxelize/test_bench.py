"""`scripts/bench voxelize`: its JSON's form, and that the contenders fill the same voxels."""

import importlib.machinery
import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

SCRIPT = Path(__file__).parents[2] / "scripts/bench"


@pytest.fixture(scope="module")
def bench() -> ModuleType:
    loader = importlib.machinery.SourceFileLoader("bench", str(SCRIPT))
    spec = importlib.util.spec_from_loader("bench", loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["bench"] = module
    loader.exec_module(module)
    return module


def test_the_form_of_its_json() -> None:
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "voxelize", "--size", "0.01", "--json"],
        capture_output=True,
        text=True,
        check=True,
    )
    result = json.loads(done.stdout)
    assert set(result) == {"contenders", "ratios", "machine"}
    assert set(result["contenders"]) == {"neuropil", "open3d", "vtk", "only_writing"}
    for figures in result["contenders"].values():
        assert figures["seconds"] > 0 and figures["peak_memory_mb"] > 10
    ours = result["contenders"]["neuropil"]["seconds"]
    for rival, ratio in result["ratios"].items():
        assert ratio == pytest.approx(result["contenders"][rival]["seconds"] / ours)
    assert result["machine"]["processors"] >= 1


def test_a_wrong_name_is_answered_in_one_line() -> None:
    for arguments, words in ((["nothing"], "voxelize"), (["voxelize", "--contender", "me"], "open3d")):
        done = subprocess.run([sys.executable, str(SCRIPT), *arguments], capture_output=True, text=True)
        assert done.returncode == 2
        assert words in done.stderr.splitlines()[-1] and "Traceback" not in done.stderr


def test_the_contenders_agree(bench: ModuleType) -> None:
    from neuropil.voxelize.solid import Box, Part, voxelize

    solids = bench.make_solids(0.02, 3)
    parts = [Part(vertices, faces, index + 1) for index, (vertices, faces, _) in enumerate(solids.meshes)]
    ours = voxelize(parts, Box((0, 0, 0), solids.shape), bench.VOXEL_NM).instances.data
    assert (ours > 0).mean() > 0.2
    for rival in (bench.open3d_instances, bench.vtk_instances):
        theirs = rival(solids)
        # Where the tubes cross themselves, the others count crossings and see a hole.
        assert np.mean(theirs != ours) < 0.005

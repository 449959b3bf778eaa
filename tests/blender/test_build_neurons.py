"""Neurons built by recipe: with pip's bpy, and inside Debian's Blender."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import bpy
import numpy as np
import pytest
import trimesh

from neuropil.morphology.swc import read_swc

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "build_neurons.py"
RECIPE = """
seed: 7
neurons:
  - {class: spiny_dendrite, length_um: 3}
  - {class: unmyelinated_axon, length_um: 4, count: 2}
  - {swc: fork.swc}
"""
FORK = "1 1 0 0 0 3 -1\n2 3 4 0 0 0.5 1\n3 3 10 0 0 0.5 2\n4 3 14 5 0 0.4 3\n5 3 14 -5 0 0.4 3\n"
NAMES = ["fork", "spiny_dendrite_0", "unmyelinated_axon_0", "unmyelinated_axon_1"]
COMMANDS = {
    "bpy": [sys.executable, str(SCRIPT)],
    "blender": ["blender", "--background", "--python", str(SCRIPT), "--"],
}


@pytest.fixture(params=["bpy", "blender"])
def command(request: pytest.FixtureRequest) -> list[str]:
    if request.param == "blender":
        if shutil.which("blender") is None:
            pytest.skip("Debian's blender is not installed")
        seen = subprocess.run(
            ["blender", "--background", "--python-expr", "import sys; print('python', sys.version_info[:2])"],
            capture_output=True,
            text=True,
            timeout=60,
        )
        if f"python {sys.version_info[:2]}" not in seen.stdout:
            pytest.skip("Blender's Python is not the version of this environment")
    return COMMANDS[request.param]


def built(command: list[str], folder: Path, recipe: str = RECIPE) -> subprocess.CompletedProcess[str]:
    (folder / "recipe.yaml").write_text(recipe)
    (folder / "fork.swc").write_text(FORK)
    arguments = [*command, str(folder / "recipe.yaml"), "-o", str(folder / "out")]
    return subprocess.run(arguments, capture_output=True, text=True, timeout=120)


def test_every_neuron_gets_its_files(command: list[str], tmp_path: Path) -> None:
    done = built(command, tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    out = tmp_path / "out"
    expected = [f"{name}.{suffix}" for name in NAMES for suffix in ("blend", "glb", "json", "ply", "swc")]
    assert sorted(path.name for path in out.iterdir()) == sorted(expected)
    for name in NAMES:
        report = json.loads((out / f"{name}.json").read_text())
        assert report["certificate"]["holds"], name
        assert report["points"] == len(read_swc(out / f"{name}.swc"))
        surface = trimesh.load(out / f"{name}.ply", process=False)
        scene = trimesh.load(out / f"{name}.glb", process=False)
        assert isinstance(surface, trimesh.Trimesh)
        assert isinstance(scene, trimesh.Scene)
        assert surface.is_watertight
        assert len(surface.faces) == report["triangles"]
        assert surface.volume == pytest.approx(report["certificate"]["volume_um3"], rel=1e-3)
        np.testing.assert_allclose(scene.to_mesh().bounds, surface.bounds, rtol=1e-6)
        assert blend_holds(out / f"{name}.blend", name) == report["triangles"]


def blend_holds(path: Path, name: str) -> int:
    """Triangles of the named object in a .blend file, as the Blender at hand reads it."""
    with bpy.data.libraries.load(str(path)) as (found, wanted):
        assert found.scenes
        wanted.objects = [name]
    shape = bpy.data.objects[name]
    count = len(shape.data.polygons)
    bpy.data.objects.remove(shape)
    return count


def test_same_recipe_same_bytes(command: list[str], tmp_path: Path) -> None:
    recipe = "seed: 1\nneurons: [{class: spiny_dendrite, length_um: 2}]\n"
    outcomes = []
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        assert built(command, tmp_path / name, recipe).returncode == 0
        outcomes.append((tmp_path / name / "out" / "spiny_dendrite_0.ply").read_bytes())
    assert outcomes[0] == outcomes[1]


@pytest.mark.parametrize(
    ("recipe", "sentence"),
    [
        ("seed: 1\nneurons: [{class: no_such}]", "class 'no_such' does not exist; allowed are"),
        ("seed: 1\nneurons: [{swc: none.swc}]", "none.swc: no such file"),
        ("seed: 1\nneurons: [{swc: fork.swc, count: 2}]", "count and length_um belong to a class"),
        ("seed: 1\ncolour: red\nneurons: [{swc: fork.swc}]", "unknown key colour"),
        ("seed: 1\nneurons: [{class: spiny_dendrite}]", "spiny_dendrite of kind dendrite needs length_um"),
        ("seed: -1\nneurons: [{swc: fork.swc}]", "seed is -1"),
    ],
)
def test_mistakes_get_one_sentence_and_exit_code_2(tmp_path: Path, recipe: str, sentence: str) -> None:
    done = built(COMMANDS["bpy"], tmp_path, recipe)
    assert done.returncode == 2
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()


def test_mistake_within_blender_gets_exit_code_2(command: list[str], tmp_path: Path) -> None:
    """Blender itself would end with 0."""
    done = built(command, tmp_path, "seed: 1\nneurons: [{swc: none.swc}]")
    assert done.returncode == 2
    assert "no such file" in done.stderr


def test_folder_that_cannot_be_made(command: list[str], tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file is in the way")
    done = built(command, tmp_path)
    assert done.returncode == 2
    assert "out" in done.stderr


def test_failed_certificate_gets_exit_code_3(tmp_path: Path) -> None:
    angle = np.linspace(0, 2 * np.pi * 1.02, 60)
    lines = [
        f"{index + 1} 2 {3 * np.cos(turn)} {3 * np.sin(turn)} 0 0.5 {index or -1}" for index, turn in enumerate(angle)
    ]
    (tmp_path / "ring.swc").write_text("\n".join(lines))
    done = built(COMMANDS["bpy"], tmp_path, "seed: 1\nneurons: [{swc: ring.swc}]")
    assert done.returncode == 3
    assert "its Euler number is 0 instead of 2" in done.stdout
    assert json.loads((tmp_path / "out" / "ring.json").read_text())["certificate"]["holds"] is False

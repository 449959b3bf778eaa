"""Whole neurons: grown from their class, swept into one closed surface, certified, drawn."""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import trimesh
import yaml

from neuropil.morphology.tree import Tree
from neuropil.voxelize.replacement import replacing

from .own_process import run_apart

CERTIFICATES = "certificates.json"
PICTURE_PX = (720, 720)
# Red, green, blue from 0 to 1, for one neuron after the other.
_COLOURS = ((0.29, 0.53, 0.78), (0.80, 0.36, 0.36), (0.44, 0.70, 0.44), (0.85, 0.64, 0.25))


def has_blender() -> bool:
    """Whether Blender's module can be imported here (there is no wheel of it for every Python)."""
    return find_spec("bpy") is not None


def require_blender() -> None:
    """Raises ValueError where Blender's module cannot be imported."""
    if not has_blender():
        raise ValueError("neurons are swept by Blender's module bpy, which is not installed: pip install bpy")


def make_neurons(class_names: Sequence[str], seed: int, folder: Path) -> None:
    """Grow one neuron of each class and leave its files, NAME.png and certificates.json in `folder`.

    Raises RuntimeError where a neuron could not be swept; the reason is then on standard error.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if not run_apart(_make_neurons, list(class_names), seed, folder):
        raise RuntimeError("a neuron could not be swept; what went wrong stands above")


def read_certificates(folder: Path) -> dict[str, dict[str, Any]]:
    """What `make_neurons` certified, by name of the class."""
    content: dict[str, dict[str, Any]] = json.loads((folder / CERTIFICATES).read_text(encoding="utf-8"))
    return content


def draw_neuron(tree: Tree, path: Path, size_px: tuple[int, int] = PICTURE_PX) -> None:
    """Sweep a skeleton and render it as a PNG. Raises ValueError where there is no Blender module."""
    require_blender()
    if not run_apart(_draw_neuron, tree, path, size_px):
        raise RuntimeError("the neuron could not be drawn; what went wrong stands above")


def _draw_neuron(tree: Tree, path: Path, size_px: tuple[int, int]) -> None:
    from neuropil.blender_addon.render import render_meshes
    from neuropil.blender_addon.sweep import build_mesh

    render_meshes([build_mesh(tree)], _COLOURS[:1], path, size_px)


def _make_neurons(class_names: list[str], seed: int, folder: Path) -> None:
    from neuropil.blender_addon.neuron_recipe import build_neurons
    from neuropil.blender_addon.render import render_meshes
    from neuropil.blender_addon.sweep import SweptMesh

    own_files = (".yaml", ".yml")
    entries = [{"class": str(Path(n).absolute()) if Path(n).suffix in own_files else n} for n in class_names]
    recipe = folder / "recipe.yaml"
    with replacing(recipe) as file:
        file.write_text(yaml.safe_dump({"seed": seed, "neurons": entries}), encoding="utf-8")
    certificates = {}
    for number, built in enumerate(build_neurons(recipe, folder)):
        certificates[built.name] = built.certificate.as_dict()
        surface = trimesh.load_mesh(folder / f"{built.name}.ply", process=False)
        mesh = SweptMesh(np.asarray(surface.vertices), np.asarray(surface.faces, np.int32))
        render_meshes([mesh], [_COLOURS[number % len(_COLOURS)]], folder / f"{built.name}.png", PICTURE_PX)
    with replacing(folder / CERTIFICATES) as file:
        file.write_text(json.dumps(certificates, indent=1) + "\n", encoding="utf-8")

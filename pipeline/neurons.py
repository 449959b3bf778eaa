"""Whole neurons: grown from their class, swept into one closed surface, certified, drawn."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import trimesh

from neuropil.morphology.growth import grow_neuron
from neuropil.morphology.neuron_class import load_class
from neuropil.morphology.swc import write_swc
from neuropil.morphology.tree import Tree
from neuropil.voxelize.replacement import replacing

from .own_process import run_apart

CERTIFICATES = "certificates.json"
PICTURE_PX = (900, 900)
# Red, green, blue from 0 to 1, for one neuron after the other.
_COLOURS = ((0.29, 0.53, 0.78), (0.80, 0.36, 0.36), (0.44, 0.70, 0.44), (0.85, 0.64, 0.25))


def has_blender() -> bool:
    """Whether Blender's module can be imported here (there is no wheel of it for every Python)."""
    return find_spec("bpy") is not None


def make_neurons(class_names: Sequence[str], seed: int, folder: Path) -> None:
    """Grow one neuron of each class and leave NAME.swc, NAME.ply and NAME.png in `folder`, and certificates.json.

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
    if not has_blender():
        raise ValueError("a neuron is swept and drawn by Blender's module bpy, which is not installed here")
    if not run_apart(_draw_neuron, tree, path, size_px):
        raise RuntimeError("the neuron could not be drawn; what went wrong stands above")


def _draw_neuron(tree: Tree, path: Path, size_px: tuple[int, int]) -> None:
    from neuropil.blender_addon.render import render_meshes
    from neuropil.blender_addon.sweep import build_mesh

    render_meshes([build_mesh(tree)], _COLOURS[:1], path, size_px)


def _make_neurons(class_names: list[str], seed: int, folder: Path) -> None:
    from neuropil.blender_addon.certificate import certify
    from neuropil.blender_addon.render import render_meshes
    from neuropil.blender_addon.sweep import build_mesh

    certificates = {}
    for number, name in enumerate(class_names):
        # Three numbers, so that no block of the run (two numbers) draws the same.
        tree = grow_neuron(load_class(name), np.random.default_rng([seed, number, 0]))
        mesh = build_mesh(tree)
        stem = Path(name).stem
        certificate = certify(mesh, tree)
        certificates[stem] = {**asdict(certificate), "holds": certificate.holds}
        write_swc(tree, folder / f"{stem}.swc")
        with replacing(folder / f"{stem}.ply") as file:
            trimesh.Trimesh(mesh.vertices_um, mesh.faces, process=False).export(file)
        render_meshes([mesh], [_COLOURS[number % len(_COLOURS)]], folder / f"{stem}.png", PICTURE_PX)
    with replacing(folder / CERTIFICATES) as file:
        file.write_text(json.dumps(certificates, indent=1) + "\n", encoding="utf-8")

"""Bodies swept and cut at the block's faces."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import trimesh

from neuropil.blender_addon.body_meshes import cut_to_box, sweep_folder
from neuropil.blender_addon.sweep import build_mesh
from neuropil.morphology.swc import write_swc
from neuropil.morphology.tree import Tree


def _tube(start: list[float], end: list[float], radius: float) -> Tree:
    return Tree(np.array([start, end]), np.full(2, radius), np.array([-1, 0]), np.array([3, 3]))


def test_a_tube_through_a_box_is_cut_flush() -> None:
    mesh = cut_to_box(build_mesh(_tube([-5, 2, 2], [9, 2, 2], 0.5), 16), (0, 0, 0), (4, 4, 4))
    surface = trimesh.Trimesh(mesh.vertices_um, mesh.faces, process=False)
    assert surface.is_watertight and surface.bounds[:, 0].tolist() == [0, 4]
    assert surface.volume == pytest.approx(4 * np.pi * 0.25, rel=0.01)


def test_what_stays_outside_leaves_no_surface(tmp_path: Path) -> None:
    (tmp_path / "swc").mkdir()
    (tmp_path / "ply").mkdir()
    write_swc(_tube([-9, 2, 2], [-1, 2, 2], 0.5), tmp_path / "swc" / "away.swc")
    write_swc(_tube([-9, 2, 2], [6, 2, 2], 0.5), tmp_path / "swc" / "here.swc")
    sweep_folder(tmp_path / "swc", tmp_path / "ply", (4, 4, 4), 8)
    assert sorted(file.name for file in (tmp_path / "ply").iterdir()) == ["here.ply", "pieces.json"]
    pieces = json.loads((tmp_path / "ply" / "pieces.json").read_text())
    assert pieces == {"away": {"trees": 1, "pieces": 1}, "here": {"trees": 1, "pieces": 1}}

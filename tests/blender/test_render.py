"""Rendered pictures."""

from __future__ import annotations

from pathlib import Path

import bpy
import numpy as np
import pytest
from PIL import Image

from neuropil.blender_addon.render import render_meshes
from neuropil.blender_addon.sweep import SweptMesh, build_mesh
from neuropil.morphology.tree import Tree


def tube(y_um: float) -> SweptMesh:
    points = np.array([(0, y_um, 0), (4, y_um, 0)])
    return build_mesh(Tree(points, np.full(2, 0.5), np.array([-1, 0]), np.full(2, 2)))


def test_picture_shows_each_mesh_in_its_colour_on_white(tmp_path: Path) -> None:
    path = tmp_path / "two.png"
    scenes = set(bpy.data.scenes)
    meshes = [tube(0.0), tube(3.0)]
    render_meshes(meshes, [(0.9, 0.1, 0.1), (0.1, 0.1, 0.9)], path, (90, 80), view_direction=(0, 0, -1), up=(0, 1, 0))
    picture = np.asarray(Image.open(path)).astype(int)
    assert picture.shape == (80, 90, 3)
    assert (picture[0, 0] == 255).all()
    red = np.argwhere(picture[..., 0] > picture[..., 2] + 60)
    blue = np.argwhere(picture[..., 2] > picture[..., 0] + 60)
    # Larger y is up, at smaller row numbers; both tubes run from left to right.
    assert blue[:, 0].max() < red[:, 0].min()
    assert np.ptp(red[:, 1]) > 60
    assert set(bpy.data.scenes) == scenes
    assert [entry.name for entry in tmp_path.iterdir()] == ["two.png"]


def test_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="there is no mesh to render"):
        render_meshes([], [], tmp_path / "none.png")
    with pytest.raises(ValueError, match="2 colours were given for 1 meshes"):
        render_meshes([tube(0)], [(1, 1, 1), (0, 0, 0)], tmp_path / "none.png")
    with pytest.raises(ValueError, match="different directions"):
        render_meshes([tube(0)], [(1, 1, 1)], tmp_path / "none.png", view_direction=(0, 0, 1), up=(0, 0, 2))

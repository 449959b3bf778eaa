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
from neuropil.morphology.tree import SOMA, Tree
from neuropil.tissue.circuit_cones import cones_of
from neuropil.tissue.circuit_separation import widened
from neuropil.tissue.cone_pairs import near_pairs


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


def _winding_neuron(rng: np.random.Generator) -> Tree:
    """A soma with stems that bend sharply, taper, and branch into thick and thin."""
    points, radii, parents, types = [np.zeros(3)], [6.0], [-1], [SOMA]
    tips = [(0, way / np.linalg.norm(way), float(rng.uniform(0.3, 2))) for way in rng.normal(size=(6, 3))]
    while tips and len(points) < 1500:
        above, heading, radius = tips.pop()
        for _ in range(int(rng.integers(5, 30))):
            step = 6.0 if above == 0 else float(rng.uniform(0.3, 2))
            points.append(points[above] + step * heading)
            radii.append(radius)
            parents.append(above)
            types.append(3)
            above = len(points) - 1
            heading = heading + rng.normal(0, 0.35, 3)
            heading /= np.linalg.norm(heading)
            radius *= float(rng.uniform(0.93, 1.03))
        if radius > 0.1:
            for share in (rng.uniform(0.4, 1), rng.uniform(0.1, 0.9)):
                turned = heading + rng.normal(0, 0.6, 3)
                tips.append((above, turned / np.linalg.norm(turned), radius * float(share)))
    return Tree(np.array(points), np.maximum(radii, 0.08), np.array(parents), np.array(types))


@pytest.mark.parametrize("seed", range(4))
def test_swept_surfaces_lie_within_the_cones_that_keep_cells_apart(seed: int) -> None:
    tree = _winding_neuron(np.random.default_rng(seed))
    vertices = build_mesh(tree, 8).vertices_um
    cones = widened(cones_of(tree))
    balls = np.column_stack([vertices, vertices, np.full((len(vertices), 2), 1e-9)])
    owners = np.repeat([0, 1], [len(cones), len(balls)])
    pairs, distances = near_pairs(np.concatenate([cones, balls]), owners, 0.01)
    depth = np.full(len(vertices), np.inf)
    np.minimum.at(depth, pairs[:, 1] - len(cones), distances)
    assert len(vertices) > 3000 and depth.max() <= 0

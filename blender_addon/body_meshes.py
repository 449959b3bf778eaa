"""Sweep a folder of skeletons into closed surfaces, cut at a box: `python -m neuropil.blender_addon.body_meshes`.

Blender keeps the memory of all it has done, so whoever needs many meshes runs this as a process of its own.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

import manifold3d
import numpy as np
import trimesh
from numpy.typing import ArrayLike

from ..morphology.swc import read_swc
from .surface import surface_pieces
from .sweep import SweptMesh, build_mesh

# Bodies that are mostly thicker than this are vessels or bare somas, and seen larger.
THICK_UM = 1.0
THICK_FACTOR = 3


def cut_to_box(mesh: SweptMesh, low_um: ArrayLike, high_um: ArrayLike) -> SweptMesh:
    """The part of a closed surface inside a box, closed again by the box's faces; empty where there is none."""
    solid = manifold3d.Manifold(
        manifold3d.Mesh64(np.ascontiguousarray(mesh.vertices_um), np.ascontiguousarray(mesh.faces.astype(np.uint64)))
    )
    if solid.status() != manifold3d.Error.NoError:
        raise ValueError(f"the surface is not closed: {solid.status()}")
    low, high = np.asarray(low_um, dtype=np.float64), np.asarray(high_um, dtype=np.float64)
    cut = solid ^ manifold3d.Manifold.cube((high - low).tolist()).translate(low.tolist())
    kept = cut.to_mesh64()
    vertices = np.asarray(kept.vert_properties, dtype=np.float64).reshape(-1, kept.vert_properties.shape[-1])[:, :3]
    return SweptMesh(vertices, np.asarray(kept.tri_verts, dtype=np.int32).reshape(-1, 3))


def sweep_folder(source: Path, target: Path, size_um: ArrayLike, sides: int) -> None:
    """Sweep every NAME.swc of `source` into NAME.ply in `target`, cut at the box from 0 to `size_um`.

    sides: corners around a neurite; a thick body gets three times as many.
    Writes pieces.json last: for each name, how many trees its skeleton has and how many pieces its surface had
    before the cut. A body that stays outside the box leaves no surface.
    """
    pieces = {}
    parent = os.getppid()
    for path in sorted(source.glob("*.swc")):
        if os.getppid() != parent:  # whoever wanted the meshes was killed
            raise RuntimeError(f"the process that asked for {target} is gone")
        tree = read_swc(path)
        is_thick = float(np.median(tree.radii_um)) > THICK_UM
        whole = build_mesh(tree, THICK_FACTOR * sides if is_thick else sides)
        found = int(surface_pieces(whole.faces, len(whole.vertices_um)).max(initial=-1)) + 1
        pieces[path.stem] = {"trees": len(tree.roots), "pieces": found}
        inside = cut_to_box(whole, (0, 0, 0), size_um)
        if len(inside.faces):
            trimesh.Trimesh(inside.vertices_um, inside.faces, process=False).export(target / f"{path.stem}.ply")
    (target / "pieces.json").write_text(json.dumps(pieces), encoding="utf-8")


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    parser.add_argument("--size-um", type=float, nargs=3, required=True)
    parser.add_argument("--sides", type=int, required=True)
    chosen = parser.parse_args()
    sweep_folder(chosen.source, chosen.target, chosen.size_um, chosen.sides)


if __name__ == "__main__":
    main()

"""A skeleton swept into one closed surface: Blender curves for the tubes, Manifold for the weld."""

from __future__ import annotations

from dataclasses import dataclass

import bpy
import manifold3d
import numpy as np
from numpy.typing import NDArray

from ..morphology.tree import Tree
from .runs import Ball, Run, runs_and_balls
from .surface import signed_volumes_um3, surface_pieces

# Triangles thinner than this, left by the weld, are merged away; a bilayer is 700 times thicker.
SLIVER_UM = 1e-5
# A ball of 1 nm radius holds 4e-9 µm³.
SMALLEST_PIECE_UM3 = 1e-9


@dataclass(frozen=True, eq=False)
class SweptMesh:
    """Triangles of one surface: vertices_um (n, 3) float64, faces (m, 3) int32, counter-clockwise from
    outside.
    """

    vertices_um: NDArray[np.float64]
    faces: NDArray[np.int32]


def build_mesh(tree: Tree, sides: int = 16) -> SweptMesh:
    """Sweep a circle along every run of the tree and unite all tubes into one closed surface.

    Rings are regular polygons with the area of the circle they stand for, so the tube's volume is the
    cylinder's and its surface lies within 1 % of the radius (16 sides). Tubes end flat, at the skeleton's
    tips. A forest gives one piece per tree that touches no other.

    Args:
        tree: skeleton, in µm.
        sides: corners of a ring; even, 4 or more.

    Raises:
        ValueError: sides is odd or below 4.
    """
    if sides < 4 or sides % 2:
        raise ValueError(f"sides is {sides}, but allowed are even numbers from 4")
    # Blender keeps coordinates in single precision: work around the middle of the cell.
    middle = (tree.points_um.min(axis=0) + tree.points_um.max(axis=0)) / 2
    runs, balls = runs_and_balls(tree.translated(-middle))
    solids = [_manifold(*_closed_tube(rings)) for rings in _swept_rings(runs, sides)]
    solids += [_ball_solid(ball, sides) for ball in balls]
    welded = manifold3d.Manifold.batch_boolean(solids, manifold3d.OpType.Add).simplify(SLIVER_UM).to_mesh64()
    vertices = np.asarray(welded.vert_properties, dtype=np.float64)[:, :3]
    faces = _without_voids(vertices, np.asarray(welded.tri_verts, dtype=np.int32))
    used, renumbered = np.unique(faces, return_inverse=True)
    return SweptMesh(vertices[used] + middle, renumbered.reshape(-1, 3).astype(np.int32))


def equal_area_factor(sides: int) -> float:
    """Circumradius of the regular polygon whose area is that of the unit circle."""
    return float(np.sqrt(2 * np.pi / (sides * np.sin(2 * np.pi / sides))))


def _swept_rings(runs: list[Run], sides: int) -> list[NDArray[np.float64]]:
    """Rings of every run, each (points, sides, 3), as Blender lays them along a curve of many splines."""
    if not runs:
        return []
    curve = bpy.data.curves.new("sweep", "CURVE")
    holder = bpy.data.objects.new("sweep", curve)
    try:
        curve.dimensions = "3D"
        curve.fill_mode = "FULL"
        curve.twist_mode = "MINIMUM"
        curve.bevel_mode = "ROUND"
        curve.bevel_depth = equal_area_factor(sides)
        curve.bevel_resolution = sides // 2 - 2
        for run in runs:
            spline = curve.splines.new("POLY")
            spline.points.add(len(run.points_um) - 1)
            spline.points.foreach_set("co", np.insert(run.points_um, 3, 1.0, axis=1).astype(np.float32).ravel())
            spline.points.foreach_set("radius", run.radii_um.astype(np.float32))
        mesh = holder.to_mesh()
        corners = np.empty(3 * len(mesh.vertices), dtype=np.float32)
        mesh.vertices.foreach_get("co", corners)
        holder.to_mesh_clear()
    finally:
        bpy.data.objects.remove(holder)
        bpy.data.curves.remove(curve)
    counts = np.array([len(run.points_um) for run in runs])
    if len(corners) != 3 * sides * counts.sum():
        raise RuntimeError(f"Blender laid {len(corners) // 3} vertices where {sides * counts.sum()} were due")
    rings = corners.astype(np.float64).reshape(-1, sides, 3)
    return np.split(rings, np.cumsum(counts)[:-1])


def _closed_tube(rings: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Triangles of one tube, closed by a flat cap at each end.

    Blender's own caps carry vertices of their own, which would have to be merged by position again.
    """
    count, sides, _ = rings.shape
    corner = np.arange(sides)
    ring = sides * np.arange(count - 1)[:, None]
    here, beside = ring + corner, ring + (corner + 1) % sides
    wall = np.stack([here, beside, here + sides, beside, beside + sides, here + sides], axis=-1).reshape(-1, 3)
    fan = np.stack([np.zeros(sides - 2, dtype=np.int64), corner[1:-1], corner[2:]], axis=-1)
    vertices, faces = rings.reshape(-1, 3), np.concatenate([wall, fan[:, ::-1], fan + sides * (count - 1)])
    return vertices, faces if signed_volumes_um3(vertices, faces).sum() > 0 else faces[:, ::-1]


def _ball_solid(ball: Ball, sides: int) -> manifold3d.Manifold:
    if not ball.is_soma:
        # Corners a hair inside the sphere, so that a ball at a joint hides within the tubes' flat sides.
        return manifold3d.Manifold.sphere(0.99 * ball.radius_um, sides).translate(ball.centre_um.tolist())
    sphere = manifold3d.Manifold.sphere(1.0, 4 * sides)
    scale = ball.radius_um * (4 / 3 * np.pi / sphere.volume()) ** (1 / 3)
    return sphere.scale([scale] * 3).translate(ball.centre_um.tolist())


def _manifold(vertices: NDArray[np.float64], faces: NDArray[np.int64]) -> manifold3d.Manifold:
    solid = manifold3d.Manifold(
        manifold3d.Mesh64(np.ascontiguousarray(vertices), np.ascontiguousarray(faces.astype(np.uint64)))
    )
    if solid.status() != manifold3d.Error.NoError:
        raise RuntimeError(f"a swept tube is not closed: {solid.status()}")
    return solid


def _without_voids(vertices: NDArray[np.float64], faces: NDArray[np.int32]) -> NDArray[np.int32]:
    """Drop the pieces that enclose nothing: surfaces of voids left where tubes nearly touch, and slivers."""
    piece = surface_pieces(faces, len(vertices))
    volumes = np.bincount(piece, weights=signed_volumes_um3(vertices, faces))
    return faces[volumes[piece] > SMALLEST_PIECE_UM3]

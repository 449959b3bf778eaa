"""What a swept mesh must be, measured on the mesh itself."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import manifold3d
import numpy as np
from numpy.typing import NDArray

from ..morphology.tree import Tree
from .surface import signed_volumes_um3, surface_pieces
from .sweep import SweptMesh
from .swept_solid import SweptSolid, swept_solid

LARGEST_RADIUS_ERROR = 0.05
LARGEST_VOLUME_ERROR = 0.05
VOLUME_SAMPLES = 20_000
# The thinnest places of the skeleton, where a sweep fails first.
RADIUS_SITES = 100
RAYS = 16


@dataclass(frozen=True)
class Certificate:
    """Measured properties of one cell's surface.

    Attributes:
        closed: every edge belongs to two faces that run it in opposite directions.
        components: number of connected pieces; surfaces of voids count.
        outward: every piece encloses a positive volume, seen from its faces' side.
        euler_number: vertices - edges + faces; 2 for a surface without holes, as a tree's must be.
        volume_um3: enclosed by the mesh.
        skeleton_volume_um3: of the cones and balls the skeleton stands for, estimated without the mesh.
        smallest_radius_um: of the skeleton, among the places where a radius can be measured.
        smallest_radius_error: largest relative difference between a radius and the median distance of the
        surface,
            over the thinnest such places; None where the mesh is not closed or no place lies free.
        radius_sites: number of places measured.
    """

    closed: bool
    components: int
    outward: bool
    euler_number: int
    volume_um3: float
    skeleton_volume_um3: float
    smallest_radius_um: float
    smallest_radius_error: float | None
    radius_sites: int

    @property
    def volume_error(self) -> float:
        """Mesh volume over skeleton volume, less 1."""
        return self.volume_um3 / self.skeleton_volume_um3 - 1

    @property
    def failures(self) -> tuple[str, ...]:
        """One clause for each property that does not hold."""
        clauses = []
        if not self.closed:
            clauses.append("the surface is not closed")
        if self.components != 1:
            clauses.append(f"it has {self.components} pieces instead of 1")
        if not self.outward:
            clauses.append("faces look inwards")
        if self.euler_number != 2:
            clauses.append(f"its Euler number is {self.euler_number} instead of 2, as where branches touch")
        if abs(self.volume_error) > LARGEST_VOLUME_ERROR:
            clauses.append(f"its volume differs from the skeleton's by {self.volume_error:+.1%}")
        if self.smallest_radius_error is None or self.smallest_radius_error > LARGEST_RADIUS_ERROR:
            error = "unknown" if self.smallest_radius_error is None else f"{self.smallest_radius_error:.1%}"
            clauses.append(f"the error of its smallest radii is {error}")
        return tuple(clauses)

    @property
    def holds(self) -> bool:
        """Whether nothing failed."""
        return not self.failures

    def as_dict(self) -> dict[str, Any]:
        """Everything, ready for JSON."""
        derived = {"volume_error": self.volume_error, "failures": list(self.failures), "holds": self.holds}
        return {**asdict(self), **derived}


def certify(mesh: SweptMesh, tree: Tree) -> Certificate:
    """Measure a mesh, and compare it with the skeleton it was swept from."""
    # Volumes are sums of signed parts: take them near the origin.
    middle = tree.points_um.mean(axis=0)
    near = SweptMesh(mesh.vertices_um - middle, mesh.faces)
    tree = tree.translated(-middle)
    piece = surface_pieces(near.faces, len(near.vertices_um))
    volumes = np.bincount(piece, weights=signed_volumes_um3(near.vertices_um, near.faces))
    solid = swept_solid(tree)
    # A fixed seed: the same mesh always gets the same certificate.
    rng = np.random.default_rng(0)
    closed = _is_closed(near.faces)
    sites = _thinnest_sites(tree, solid)
    error = _radius_error(near, tree, sites) if closed and len(sites) else None
    return Certificate(
        closed=closed,
        components=len(volumes),
        outward=bool((volumes > 0).all()),
        euler_number=_euler_number(near.faces),
        volume_um3=float(volumes.sum()),
        skeleton_volume_um3=solid.volume_um3(VOLUME_SAMPLES, rng),
        smallest_radius_um=float(_site_radii(tree, sites).min() if len(sites) else tree.radii_um.min()),
        smallest_radius_error=error,
        radius_sites=len(sites),
    )


def _is_closed(faces: NDArray[np.int32]) -> bool:
    """Whether each directed edge occurs once, and its reverse once."""
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]).astype(np.int64)
    count = int(faces.max()) + 1
    forth, back = np.sort(edges[:, 0] * count + edges[:, 1]), np.sort(edges[:, 1] * count + edges[:, 0])
    return bool(np.array_equal(forth, back) and (np.diff(forth) > 0).all())


def _euler_number(faces: NDArray[np.int32]) -> int:
    edges = np.sort(np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]), axis=1)
    return len(np.unique(faces)) - len(np.unique(edges, axis=0)) + len(faces)


def _site_radii(tree: Tree, sites: NDArray[np.int64]) -> NDArray[np.float64]:
    return (tree.radii_um[sites] + tree.radii_um[tree.parents[sites]]) / 2


def _thinnest_sites(tree: Tree, solid: SweptSolid) -> NDArray[np.int64]:
    """Points whose segments to their parents are the thinnest of those that lie free.

    A place is free where no part of the solid holds it, or comes close, but its own segment and the next ones: a
    branch within its trunk, or within the soma, has no surface to measure. Segments that begin at a branch
    point are left out, as are those much shorter than wide, whose surface belongs to their neighbours.
    """
    child = np.flatnonzero(tree.parents >= 0)
    parent = tree.parents[child]
    plain = (tree.child_counts[parent] == 1) & (tree.parents[parent] >= 0)
    child = child[plain & (tree.segment_lengths_um[child] > 0.2 * tree.radii_um[child])]
    child = child[_reaches_um(tree)[child] < tree.segment_lengths_um[child]]
    if not len(child):
        return child
    order = child[np.argsort(_site_radii(tree, child), kind="stable")][: 4 * RADIUS_SITES]
    start, end = tree.points_um[tree.parents[order]], tree.points_um[order]
    covered = _held_by_others(tree, solid, order, (start + end) / 2)
    # Beside a swelling of its trunk a branch may lie free, but not all round.
    axis = end - start
    side = np.cross(axis, np.eye(3)[np.argmin(abs(axis), axis=1)])
    side /= np.linalg.norm(side, axis=1)[:, None]
    up = np.cross(axis, side)
    up /= np.linalg.norm(up, axis=1)[:, None]
    beyond = 1.1 * _site_radii(tree, order)[:, None]
    for angle in np.arange(8) * np.pi / 4:
        around = (start + end) / 2 + beyond * (np.cos(angle) * side + np.sin(angle) * up)
        covered |= _held_by_others(tree, solid, order, around)
    return order[~covered][:RADIUS_SITES]


def _held_by_others(
    tree: Tree, solid: SweptSolid, child: NDArray[np.int64], points_um: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """Whether each point (n, 3) is held by a part of the solid other than its own segment, child (n,), and the next."""
    site, part = solid.holders(points_um)
    holder = solid.segments[part]
    own = child[site]
    above = tree.parents[own]
    is_next = (holder == own) | (holder == above) | ((holder >= 0) & (tree.parents[holder] == own))
    covered = np.zeros(len(child), dtype=bool)
    # Balls of the segment's own ends are as wide as the segment; others hide it.
    ball_centres = solid.starts_um[part]
    own_ball = (holder < 0) & (
        (ball_centres == tree.points_um[own]).all(axis=1) | (ball_centres == tree.points_um[above]).all(axis=1)
    )
    covered[site[~is_next & ~own_ball]] = True
    return covered


def _reaches_um(tree: Tree) -> NDArray[np.float64]:
    """(n,) how far the bends at both ends of each point's segment reach along it, on their inner side."""
    parents = np.maximum(tree.parents, 0)
    steps = tree.points_um - tree.points_um[parents]
    tangents = steps / np.maximum(tree.segment_lengths_um, 1e-12)[:, None]
    bends = np.arccos(np.clip(np.einsum("ij,ij->i", tangents, tangents[parents]), -1, 1))
    has_bend = (tree.parents >= 0) & (tree.parents[parents] >= 0)
    # At most 178°, where the tangent is still a number.
    reaches = np.where(has_bend, tree.radii_um[parents] * np.tan(np.minimum(bends, 3.1) / 2), 0.0)
    farthest = np.zeros(len(tree))
    np.maximum.at(farthest, parents[has_bend], reaches[has_bend])
    return reaches + farthest


def _radius_error(mesh: SweptMesh, tree: Tree, sites: NDArray[np.int64]) -> float | None:
    """Largest relative error of the surface's median distance, around the middles of the sites' segments."""
    faces = np.ascontiguousarray(mesh.faces.astype(np.uint64))
    solid = manifold3d.Manifold(manifold3d.Mesh64(np.ascontiguousarray(mesh.vertices_um), faces))
    if solid.status() != manifold3d.Error.NoError:
        return None
    angles = 2 * np.pi * (np.arange(RAYS) + 0.5) / RAYS
    errors = []
    for site, radius in zip(sites.tolist(), _site_radii(tree, sites).tolist(), strict=True):
        start, end = tree.points_um[tree.parents[site]], tree.points_um[site]
        axis = (end - start) / np.linalg.norm(end - start)
        side = np.cross(axis, np.eye(3)[np.argmin(abs(axis))])
        side /= np.linalg.norm(side)
        ways = np.cos(angles)[:, None] * side + np.sin(angles)[:, None] * np.cross(axis, side)
        distances = [_distance(solid, (start + end) / 2, way, 4 * radius) for way in ways]
        errors.append(abs(float(np.median(distances)) / radius - 1))
    return max(errors)


def _distance(
    solid: manifold3d.Manifold, start: NDArray[np.float64], way: NDArray[np.float64], longest: float
) -> float:
    """Distance of the surface along a ray; `longest` where there is none nearer."""
    hits = solid.ray_cast(start.tolist(), (start + longest * way).tolist())
    if not hits:
        return longest
    return min(float(np.linalg.norm(np.asarray(hit.position) - start)) for hit in hits)

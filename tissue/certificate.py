"""Proof that packed cells are closed, whole, and nowhere touch."""

from dataclasses import dataclass

import numba
import numpy as np
import numpy.typing as npt

from .clearance import Clearance, clearance
from .shapes import FaceArray, Shape
from .threads import each

LEAST_REACH_UM = 0.006


@numba.njit(cache=True, nogil=True)
def _root(parent: npt.NDArray[np.int32], n: int) -> int:
    while parent[n] != n:
        parent[n] = parent[parent[n]]
        n = parent[n]
    return n


@numba.njit(cache=True, nogil=True)
def _pieces(vertex_count: int, faces: FaceArray) -> npt.NDArray[np.int32]:
    parent = np.arange(vertex_count).astype(np.int32)
    for f in range(faces.shape[0]):
        a = _root(parent, faces[f, 0])
        for c in range(1, 3):
            b = _root(parent, faces[f, c])
            low, high = min(a, b), max(a, b)
            parent[high] = low
            a = low
    label = np.empty(vertex_count, np.int32)
    count = 0
    for n in range(vertex_count):
        root = _root(parent, n)
        if root == n:
            label[n] = count
            count += 1
        else:
            label[n] = label[root]
    return label


def pieces(vertex_count: int, faces: FaceArray) -> npt.NDArray[np.int32]:
    """Which connected piece each vertex belongs to, (n,), numbered in the order of their first vertices."""
    return np.asarray(_pieces(vertex_count, faces))


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
    used = np.zeros(len(vertices), bool)
    used[keep] = True
    renumbered = np.cumsum(used) - 1
    return (vertices[used], renumbered[keep].astype(np.int32)), float(counts.max() / counts.sum())


@numba.njit(cache=True, nogil=True)
def _is_closed(faces: FaceArray, vertex_count: int) -> bool:
    """Lists each vertex's outgoing edges, then looks for the opposite of every edge."""
    start = np.zeros(vertex_count + 2, np.int64)
    for f in range(faces.shape[0]):
        for c in range(3):
            start[faces[f, c] + 2] += 1
    start = np.cumsum(start)
    heads = np.empty(3 * faces.shape[0], np.int32)
    for f in range(faces.shape[0]):
        for c in range(3):
            tail = faces[f, c]
            heads[start[tail + 1]] = faces[f, (c + 1) % 3]
            start[tail + 1] += 1
    for tail in range(vertex_count):
        for n in range(start[tail], start[tail + 1]):
            head = heads[n]
            back = 0
            for m in range(start[head], start[head + 1]):
                back += heads[m] == tail
            again = 0
            for m in range(start[tail], start[tail + 1]):
                again += heads[m] == head
            if back != 1 or again != 1:
                return False
    return True


def is_closed(faces: FaceArray) -> bool:
    """Every directed edge has exactly one opposite: a closed, consistently oriented surface."""
    return bool(_is_closed(np.ascontiguousarray(faces, np.int32), int(faces.max(initial=-1)) + 1))


def volume_um3(shape: Shape) -> float:
    """Enclosed volume, positive if the faces look outward."""
    corners = shape[0][shape[1]]
    return float(np.einsum("ij,ij->", corners[:, 0], np.cross(corners[:, 1], corners[:, 2])) / 6)


def clearance_between(shapes: list[Shape], reach_um: float) -> Clearance:
    """How near the surfaces of the shapes come to each other, up to reach_um; owners are indices of the list."""
    offsets = np.cumsum([0, *(len(v) for v, _ in shapes)])
    return clearance(
        np.vstack([v for v, _ in shapes]).astype(np.float64),
        np.vstack([f + o for (_, f), o in zip(shapes, offsets, strict=False)]).astype(np.int32),
        np.repeat(np.arange(len(shapes)), [len(f) for _, f in shapes]),
        reach_um,
    )


def crossing_pairs(shapes: list[Shape]) -> set[tuple[int, int]]:
    """Index pairs whose surfaces intersect, smaller first: an exact test of all pairs of triangles."""
    return {(int(a), int(b)) for a, b in clearance_between(shapes, LEAST_REACH_UM).crossing}


@numba.njit(cache=True, nogil=True)
def _holds(
    vertices: npt.NDArray[np.float64], faces: FaceArray, probes: npt.NDArray[np.float64]
) -> npt.NDArray[np.bool_]:
    """Whether a closed surface holds each probe (n, 3): the parity of its crossings with a ray along x.

    Edges count for one of their two faces only (the usual half-open rule on y and z), so no crossing counts twice.
    """
    inside = np.zeros(len(probes), np.bool_)
    for f in range(faces.shape[0]):
        a, b, c = vertices[faces[f, 0]], vertices[faces[f, 1]], vertices[faces[f, 2]]
        low, high = min(a[1], min(b[1], c[1])), max(a[1], max(b[1], c[1]))
        for n in range(len(probes)):
            x, y, z = probes[n]
            if y < low or y > high:
                continue
            odd = False
            for p, q in ((a, b), (b, c), (c, a)):
                if (p[1] > y) != (q[1] > y):
                    # From the lower end on, so that both faces of an edge find the very same place on it.
                    d, e = (p, q) if p[1] < q[1] else (q, p)
                    odd ^= z < d[2] + (y - d[1]) / (e[1] - d[1]) * (e[2] - d[2])
            if odd:
                ny = (b[2] - a[2]) * (c[0] - a[0]) - (b[0] - a[0]) * (c[2] - a[2])
                nz = (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])
                nx = (b[1] - a[1]) * (c[2] - a[2]) - (b[2] - a[2]) * (c[1] - a[1])
                if nx != 0 and a[0] - ((y - a[1]) * ny + (z - a[2]) * nz) / nx > x:
                    inside[n] = not inside[n]
    return inside


def nested_pairs(shapes: list[Shape]) -> set[tuple[int, int]]:
    """(inner, outer) pairs where a shape lies wholly inside another; with no crossings one vertex decides."""
    lows = np.array([v.min(0) for v, _ in shapes])
    highs = np.array([v.max(0) for v, _ in shapes])
    probes = np.array([v[0] for v, _ in shapes], np.float64)

    def held(outer: int) -> set[tuple[int, int]]:
        boxed = np.flatnonzero(((lows > lows[outer]) & (highs < highs[outer])).all(1))
        if len(boxed) == 0:
            return set()
        vertices, faces = shapes[outer]
        return {(int(n), outer) for n in boxed[_holds(vertices.astype(np.float64), faces, probes[boxed])]}

    return set().union(*each(held, range(len(shapes))))


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


def certify_packing(shapes: list[Shape], asked_gap_um: float) -> PackingCertificate:
    """Check every cell and every pair of cells of a block; a least gap is looked for up to three times the asked."""
    gaps = clearance_between(shapes, max(3 * asked_gap_um, LEAST_REACH_UM))
    return PackingCertificate(
        cells=len(shapes),
        all_closed=all(each(lambda shape: is_closed(shape[1]), shapes)),
        all_one_piece=all(each(lambda shape: pieces(len(shape[0]), shape[1]).max(initial=0) == 0, shapes)),
        all_outward=all(volume_um3(s) > 0 for s in shapes),
        crossing_pairs=len(gaps.crossing),
        nested_pairs=len(nested_pairs(shapes)),
        least_gap_nm=1000 * gaps.least_um,
        asked_gap_nm=1000 * asked_gap_um,
    )

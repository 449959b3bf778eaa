"""How near the surfaces of different cells come to each other: every pair of triangles, none left out.

Two triangles cross where their distance is zero, so one figure proves both that no pair of cells intersects and that
the least gap is kept. Triangles are sorted into a lattice of bins by their boxes; two that are nearer than `reach`
share a bin, and pairs whose boxes or planes are farther apart than the nearest pair so far are passed over.
Distances after Ericson, Real-Time Collision Detection (2005), sections 5.1.5 and 5.1.9.
"""

from dataclasses import dataclass

import numba
import numpy as np
import numpy.typing as npt

from .arrival import FloatArray
from .threads import in_slabs

IntArray = npt.NDArray[np.integer]

BIN_UM = 0.045
MOST_CROSSINGS = 10_000


@dataclass(frozen=True)
class Clearance:
    """least_um: the least distance between triangles of different owners, or the reach where all are farther.

    crossing: (n, 2) pairs of owners with triangles that intersect, each once, smaller first.
    """

    least_um: float
    crossing: IntArray


def clearance(vertices_um: FloatArray, faces: IntArray, owner: IntArray, reach_um: float) -> Clearance:
    """The least distance up to reach_um between triangles of different owners.

    vertices_um (n, 3), faces (m, 3), owner (m,): whose triangle it is.
    """
    if len(faces) == 0:
        return Clearance(reach_um, np.empty((0, 2), np.int64))
    low = vertices_um.min(0) - reach_um
    shape = np.ceil((vertices_um.max(0) + reach_um - low) / BIN_UM).astype(np.int64) + 1
    found: dict[int, tuple[float, IntArray]] = {}

    def slab(first: int, stop: int) -> None:
        found[first] = _slab_clearance(vertices_um, faces, owner, reach_um, low, shape, first, stop)

    # Every slab looks through all faces, so there are few.
    in_slabs(slab, int(shape[0]), slabs_per_thread=2)
    crossing = np.vstack([pairs for _, pairs in found.values()])
    return Clearance(
        min(least for least, _ in found.values()),
        np.unique(np.sort(crossing, axis=1), axis=0),
    )


@numba.njit(cache=True, nogil=True)
def _bins(vertices: FloatArray, face: IntArray, margin: float, low: FloatArray, out: IntArray) -> None:
    """First and last bin per axis that a triangle's box, widened by margin, touches: out (2, 3)."""
    for d in range(3):
        a, b, c = vertices[face[0], d], vertices[face[1], d], vertices[face[2], d]
        out[0, d] = int((min(a, min(b, c)) - margin - low[d]) / BIN_UM)
        out[1, d] = int((max(a, max(b, c)) + margin - low[d]) / BIN_UM)


@numba.njit(cache=True, nogil=True)
def _slab_clearance(
    vertices: FloatArray,
    faces: IntArray,
    owner: IntArray,
    reach: float,
    low: FloatArray,
    shape: IntArray,
    first: int,
    stop: int,
) -> tuple[float, IntArray]:
    """The bins whose first index lies in [first, stop)."""
    span = np.empty((2, 3), np.int64)
    start = np.zeros((stop - first) * shape[1] * shape[2] + 2, np.int64)
    for fill in range(2):
        if fill:
            start = np.cumsum(start)
            entries = np.empty(start[-1], np.int32)
        for f in range(faces.shape[0]):
            _bins(vertices, faces[f], 0.5 * reach, low, span)
            if span[1, 0] < first or span[0, 0] >= stop:
                continue
            for i in range(max(span[0, 0], first), min(span[1, 0], stop - 1) + 1):
                for j in range(span[0, 1], span[1, 1] + 1):
                    for k in range(span[0, 2], span[1, 2] + 1):
                        at = ((i - first) * shape[1] + j) * shape[2] + k
                        if fill:
                            entries[start[at + 1]] = f
                            start[at + 1] += 1
                        else:
                            start[at + 2] += 1
    best = reach
    crossing = np.empty((MOST_CROSSINGS, 2), np.int64)
    crossings = 0
    one, other, normal = np.empty((3, 3)), np.empty((3, 3)), np.empty(3)
    whose = np.empty(64, np.int64)
    boxes = np.empty((64, 2, 3))
    for at in range((stop - first) * shape[1] * shape[2]):
        count = start[at + 1] - start[at]
        if count < 2:
            continue
        mixed = False
        for n in range(1, count):
            mixed = mixed or owner[entries[start[at] + n]] != owner[entries[start[at]]]
        if not mixed:
            continue
        if count > whose.shape[0]:
            whose, boxes = np.empty(2 * count, np.int64), np.empty((2 * count, 2, 3))
        here = entries[start[at] : start[at + 1]]
        for n in range(count):
            whose[n] = owner[here[n]]
            a, b, c = faces[here[n], 0], faces[here[n], 1], faces[here[n], 2]
            for d in range(3):
                boxes[n, 0, d] = min(vertices[a, d], min(vertices[b, d], vertices[c, d]))
                boxes[n, 1, d] = max(vertices[a, d], max(vertices[b, d], vertices[c, d]))
        bin_of = (first + at // (shape[1] * shape[2]), (at // shape[2]) % shape[1], at % shape[2])
        for n in range(count):
            for m in range(n):
                if whose[n] == whose[m] or _box_gap2(boxes[n], boxes[m]) > best * best:
                    continue
                if not _first_shared(boxes[n], boxes[m], 0.5 * reach, low, first, bin_of):
                    continue
                for c in range(3):
                    for d in range(3):
                        one[c, d] = vertices[faces[here[n], c], d]
                        other[c, d] = vertices[faces[here[m], c], d]
                _unit_normal(one, normal)
                if _beside(one, normal, other, best):
                    continue
                _unit_normal(other, normal)
                if _beside(other, normal, one, best):
                    continue
                distance = triangle_distance(one, other)
                if distance < best:
                    best = distance
                if distance == 0 and crossings < MOST_CROSSINGS:
                    crossing[crossings, 0], crossing[crossings, 1] = whose[n], whose[m]
                    crossings += 1
    return best, crossing[:crossings].copy()


@numba.njit(cache=True, nogil=True, inline="always")
def _box_gap2(one: FloatArray, other: FloatArray) -> float:
    total = 0.0
    for d in range(3):
        gap = max(one[0, d] - other[1, d], other[0, d] - one[1, d])
        if gap > 0:
            total += gap * gap
    return total


@numba.njit(cache=True, nogil=True, inline="always")
def _first_shared(
    one: FloatArray, other: FloatArray, margin: float, low: FloatArray, first: int, bin_of: tuple[int, int, int]
) -> bool:
    """Whether this is the first bin that two triangles share: they need comparing in no other."""
    for d in range(3):
        at = int((max(one[0, d], other[0, d]) - margin - low[d]) / BIN_UM)
        if (max(at, first) if d == 0 else at) != bin_of[d]:
            return False
    return True


@numba.njit(cache=True, nogil=True)
def _unit_normal(t: FloatArray, out: FloatArray) -> None:
    """Zero for a triangle without area, which has no plane."""
    a0, a1, a2 = t[1, 0] - t[0, 0], t[1, 1] - t[0, 1], t[1, 2] - t[0, 2]
    b0, b1, b2 = t[2, 0] - t[0, 0], t[2, 1] - t[0, 1], t[2, 2] - t[0, 2]
    out[0], out[1], out[2] = a1 * b2 - a2 * b1, a2 * b0 - a0 * b2, a0 * b1 - a1 * b0
    length = np.sqrt(out[0] * out[0] + out[1] * out[1] + out[2] * out[2])
    for d in range(3):
        out[d] = out[d] / length if length > 1e-15 else 0.0


@numba.njit(cache=True, nogil=True, inline="always")
def _beside(t: FloatArray, normal: FloatArray, other: FloatArray, far: float) -> bool:
    """Whether all corners of `other` lie farther than `far` on one side of t's plane."""
    least, most = 1e9, -1e9
    for c in range(3):
        h = (
            (other[c, 0] - t[0, 0]) * normal[0]
            + (other[c, 1] - t[0, 1]) * normal[1]
            + (other[c, 2] - t[0, 2]) * normal[2]
        )
        least, most = min(least, h), max(most, h)
    return least > far or most < -far


@numba.njit(cache=True, nogil=True, inline="always")
def _dot(a: FloatArray, b: FloatArray) -> float:
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


@numba.njit(cache=True, nogil=True)
def segment_distance2(p1: FloatArray, q1: FloatArray, p2: FloatArray, q2: FloatArray) -> float:
    """Squared distance of two segments (Ericson 5.1.9)."""
    d1, d2, r = q1 - p1, q2 - p2, p1 - p2
    a, e, f = _dot(d1, d1), _dot(d2, d2), _dot(d2, r)
    if a <= 1e-24 and e <= 1e-24:
        return _dot(r, r)
    if a <= 1e-24:
        s, t = 0.0, min(max(f / e, 0.0), 1.0)
    else:
        c = _dot(d1, r)
        if e <= 1e-24:
            t, s = 0.0, min(max(-c / a, 0.0), 1.0)
        else:
            b = _dot(d1, d2)
            denominator = a * e - b * b
            s = min(max((b * f - c * e) / denominator, 0.0), 1.0) if denominator > 1e-24 else 0.0
            t = (b * s + f) / e
            if t < 0:
                t, s = 0.0, min(max(-c / a, 0.0), 1.0)
            elif t > 1:
                t, s = 1.0, min(max((b - c) / a, 0.0), 1.0)
    apart = r + d1 * s - d2 * t
    return _dot(apart, apart)


@numba.njit(cache=True, nogil=True)
def point_triangle_distance2(p: FloatArray, t: FloatArray) -> float:
    """Squared distance of a point to a triangle (3, 3) (Ericson 5.1.5)."""
    a, b, c = t[0], t[1], t[2]
    ab, ac, ap = b - a, c - a, p - a
    d1, d2 = _dot(ab, ap), _dot(ac, ap)
    bp = p - b
    d3, d4 = _dot(ab, bp), _dot(ac, bp)
    cp = p - c
    d5, d6 = _dot(ab, cp), _dot(ac, cp)
    va, vb, vc = d3 * d6 - d5 * d4, d5 * d2 - d1 * d6, d1 * d4 - d3 * d2
    if d1 <= 0 and d2 <= 0:
        near = a
    elif d3 >= 0 and d4 <= d3:
        near = b
    elif d6 >= 0 and d5 <= d6:
        near = c
    elif vc <= 0 and d1 >= 0 and d3 <= 0:
        near = a + ab * (d1 / (d1 - d3) if d1 > d3 else 0.0)
    elif vb <= 0 and d2 >= 0 and d6 <= 0:
        near = a + ac * (d2 / (d2 - d6) if d2 > d6 else 0.0)
    elif va <= 0 and d4 - d3 >= 0 and d5 - d6 >= 0:
        both = (d4 - d3) + (d5 - d6)
        near = b + (c - b) * ((d4 - d3) / both if both > 0 else 0.0)
    else:
        total = va + vb + vc
        near = a + ab * (vb / total) + ac * (vc / total)
    apart = p - near
    return _dot(apart, apart)


@numba.njit(cache=True, nogil=True)
def _pierces(p: FloatArray, q: FloatArray, t: FloatArray) -> bool:
    """Whether the segment from p to q meets the triangle t, not counting one that lies in its plane."""
    normal = np.empty(3)
    _unit_normal(t, normal)
    hp, hq = _dot(normal, p - t[0]), _dot(normal, q - t[0])
    if hp * hq > 0 or hp == hq:
        return False
    x = p + (q - p) * (hp / (hp - hq))
    for c in range(3):
        edge, to = t[(c + 1) % 3] - t[c], x - t[c]
        side = (
            (edge[1] * to[2] - edge[2] * to[1]) * normal[0]
            + (edge[2] * to[0] - edge[0] * to[2]) * normal[1]
            + (edge[0] * to[1] - edge[1] * to[0]) * normal[2]
        )
        if side < 0:
            return False
    return True


@numba.njit(cache=True, nogil=True)
def triangle_distance(one: FloatArray, other: FloatArray) -> float:
    """Distance of two triangles (3, 3), 0 where they intersect."""
    least = 1e18
    for i in range(3):
        p, q = one[i], one[(i + 1) % 3]
        r, s = other[i], other[(i + 1) % 3]
        if _pierces(p, q, other) or _pierces(r, s, one):
            return 0.0
        least = min(least, min(point_triangle_distance2(p, other), point_triangle_distance2(r, one)))
        for j in range(3):
            least = min(least, segment_distance2(p, q, other[j], other[(j + 1) % 3]))
    return np.sqrt(least)

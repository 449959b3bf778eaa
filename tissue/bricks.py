"""Surfaces of thin winding bodies: marching tetrahedra on the bricks of a lattice that the body touches, and no others.

The box of a tube that crosses a block is mostly empty; here time and memory go with the tube's own volume.
"""

import numba
import numpy as np
import numpy.typing as npt

from .arrival import FloatArray, RoundCones, round_cone_distance
from .interior import CellInterior, IntArray, _room_at, cube_key
from .polygonize import TETRAHEDRA, cut_edges

EDGE = 12  # cubes along a brick
NODES = EDGE + 1
BITS = 20  # per axis in a node's number


@numba.njit(cache=True, nogil=True)
def _touched(cones: FloatArray, reach: float, spacing: float) -> IntArray:
    """Bricks (k, 3) within reach of the cones, in the order of their coordinates."""
    seen = {np.int64(0): True}
    seen.clear()
    edge = EDGE * spacing
    half = 0.5 * edge
    for c in range(cones.shape[0]):
        wide = reach + max(cones[c, 6], cones[c, 7])
        low = np.empty(3, np.int64)
        high = np.empty(3, np.int64)
        for d in range(3):
            low[d] = np.int64(np.floor((min(cones[c, d], cones[c, d + 3]) - wide) / edge))
            high[d] = np.int64(np.floor((max(cones[c, d], cones[c, d + 3]) + wide) / edge))
        for i in range(low[0], high[0] + 1):
            for j in range(low[1], high[1] + 1):
                for k in range(low[2], high[2] + 1):
                    x, y, z = i * edge + half, j * edge + half, k * edge + half
                    if round_cone_distance(x, y, z, cones[c]) < reach + 1.7320508 * half:
                        seen[cube_key(i, j, k)] = True
    keys = np.empty(len(seen), np.int64)
    for n, key in enumerate(seen):
        keys[n] = key
    keys.sort()
    bricks = np.empty((len(keys), 3), np.int64)
    for n in range(len(keys)):
        bricks[n, 0] = (keys[n] >> 40) - 65536
        bricks[n, 1] = ((keys[n] >> 20) & 1048575) - 65536
        bricks[n, 2] = (keys[n] & 1048575) - 65536
    return bricks


@numba.njit(cache=True, nogil=True)
def _raise_to_cones(fields: FloatArray, bricks: IntArray, cones: FloatArray, reach: float, spacing: float) -> None:
    """fields (k, NODES, NODES, NODES) = the depth below the union of cones, where it is above -reach."""
    place = {np.int64(0): np.int64(0)}
    place.clear()
    for b in range(bricks.shape[0]):
        place[cube_key(bricks[b, 0], bricks[b, 1], bricks[b, 2])] = np.int64(b)
    edge = EDGE * spacing
    for c in range(cones.shape[0]):
        wide = reach + max(cones[c, 6], cones[c, 7])
        low = np.empty(3, np.int64)
        high = np.empty(3, np.int64)
        for d in range(3):
            low[d] = np.int64(np.floor((min(cones[c, d], cones[c, d + 3]) - wide) / edge))
            high[d] = np.int64(np.floor((max(cones[c, d], cones[c, d + 3]) + wide) / edge))
        for bi in range(low[0], high[0] + 1):
            for bj in range(low[1], high[1] + 1):
                for bk in range(low[2], high[2] + 1):
                    key = cube_key(bi, bj, bk)
                    if key not in place:
                        continue
                    values = fields[place[key]]
                    first = np.empty(3, np.int64)
                    last = np.empty(3, np.int64)
                    for d in range(3):
                        corner = (bi if d == 0 else (bj if d == 1 else bk)) * EDGE
                        near = min(cones[c, d], cones[c, d + 3]) - wide
                        far = max(cones[c, d], cones[c, d + 3]) + wide
                        first[d] = max(np.int64(np.ceil(near / spacing)) - corner, 0)
                        last[d] = min(np.int64(np.floor(far / spacing)) - corner, EDGE)
                    for i in range(first[0], last[0] + 1):
                        x = (bi * EDGE + i) * spacing
                        for j in range(first[1], last[1] + 1):
                            y = (bj * EDGE + j) * spacing
                            for k in range(first[2], last[2] + 1):
                                z = (bk * EDGE + k) * spacing
                                depth = -round_cone_distance(x, y, z, cones[c])
                                if depth > values[i, j, k]:
                                    values[i, j, k] = depth


@numba.njit(cache=True, nogil=True)
def _cut_to_room(
    fields: FloatArray,
    bricks: IntArray,
    spacing: float,
    values: FloatArray,
    origin: FloatArray,
    grid_spacing: float,
    wall: float,
    plates: FloatArray,
    cones: FloatArray,
    low: FloatArray,
    head: IntArray,
    entry: IntArray,
) -> None:
    """Lower the field to the room there, where it is near the surface or inside."""
    for b in range(bricks.shape[0]):
        for i in range(NODES):
            for j in range(NODES):
                for k in range(NODES):
                    if fields[b, i, j, k] > -2 * spacing:
                        x = (bricks[b, 0] * EDGE + i) * spacing
                        y = (bricks[b, 1] * EDGE + j) * spacing
                        z = (bricks[b, 2] * EDGE + k) * spacing
                        room = _room_at(x, y, z, values, origin, grid_spacing, wall, plates, cones, low, head, entry)
                        fields[b, i, j, k] = min(fields[b, i, j, k], room)


@numba.njit(cache=True, nogil=True, inline="always")
def _vertex(
    a: int, b: int, fa: float, fb: float, table: dict[int, int], vertices: list[tuple[float, float, float]]
) -> int:
    """The vertex on the edge between two nodes, the smaller first."""
    step = b - a
    mask = (1 << BITS) - 1
    # An edge joins a node to one of seven greater neighbours.
    key = a * 8 + ((step >> (2 * BITS)) & 1) * 4 + ((step >> BITS) & 1) * 2 + (step & 1)
    if key in table:
        return table[key]
    t = fa / (fa - fb)
    ax, ay, az = a >> (2 * BITS), (a >> BITS) & mask, a & mask
    bx, by, bz = b >> (2 * BITS), (b >> BITS) & mask, b & mask
    vertices.append((ax + t * (bx - ax), ay + t * (by - ay), az + t * (bz - az)))
    table[key] = len(vertices) - 1
    return len(vertices) - 1


@numba.njit(cache=True, nogil=True)
def _march(fields: FloatArray, bricks: IntArray, tetrahedra: IntArray) -> tuple[FloatArray, npt.NDArray[np.int32]]:
    table = {np.int64(0): np.int64(0)}
    table.clear()
    vertices = [(0.0, 0.0, 0.0)]
    vertices.clear()
    faces = [(np.int64(0), np.int64(0), np.int64(0))]
    faces.clear()
    node = np.empty(8, np.int64)
    value = np.empty(8)
    sides, ends, corner = np.empty((2, 4), np.int64), np.empty((4, 2), np.int64), np.empty(4, np.int64)
    shift = np.int64(1 << (BITS - 1))
    for brick in range(bricks.shape[0]):
        field = fields[brick]
        for i in range(EDGE):
            for j in range(EDGE):
                for k in range(EDGE):
                    below = 0
                    for c in range(8):
                        value[c] = field[i + (c & 1), j + ((c >> 1) & 1), k + ((c >> 2) & 1)]
                        if value[c] <= 0:
                            below += 1
                    if below == 0 or below == 8:
                        continue
                    for c in range(8):
                        x = bricks[brick, 0] * EDGE + i + (c & 1) + shift
                        y = bricks[brick, 1] * EDGE + j + ((c >> 1) & 1) + shift
                        z = bricks[brick, 2] * EDGE + k + ((c >> 2) & 1) + shift
                        node[c] = (x << (2 * BITS)) + (y << BITS) + z
                    for t in range(6):
                        count, flipped = cut_edges(value, tetrahedra[t], sides, ends)
                        for m in range(count):
                            a, b = ends[m, 0], ends[m, 1]
                            corner[m] = _vertex(node[a], node[b], value[a], value[b], table, vertices)
                        for m in range(1, count - 1):
                            if flipped:
                                faces.append((corner[0], corner[m + 1], corner[m]))
                            else:
                                faces.append((corner[0], corner[m], corner[m + 1]))
    v = np.empty((len(vertices), 3))
    for n in range(len(vertices)):
        v[n, 0], v[n, 1], v[n, 2] = vertices[n]
    f = np.empty((len(faces), 3), np.int32)
    for n in range(len(faces)):
        f[n, 0], f[n, 1], f[n, 2] = faces[n]
    return v - shift, f


def swept_surface(
    cones: RoundCones, spacing_um: float, within: CellInterior | None = None
) -> tuple[FloatArray, npt.NDArray[np.int32]]:
    """Closed surface of a union of round cones, cut to the room that a cell has for it.

    Returns vertices (n, 3) in µm and faces (m, 3), outward; both empty where nothing is left. It may be in pieces.
    """
    packed = cones.packed()
    reach = 2.5 * spacing_um
    bricks = _touched(packed, reach, spacing_um)
    fields = np.full((len(bricks), NODES, NODES, NODES), -reach, np.float32)
    _raise_to_cones(fields, bricks, packed, reach, spacing_um)
    if within is not None:
        _cut_to_room(fields, bricks, spacing_um, *within.lookup())
    # A value of exactly zero would put several vertices on one node.
    fields[np.abs(fields) < 1e-7] = -1e-7
    vertices, faces = _march(fields, bricks, TETRAHEDRA)
    return vertices * spacing_um, faces

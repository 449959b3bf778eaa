"""Marching tetrahedra (Doi & Koide 1991): the closed surface of {f > 0} for f given on a grid.

Each cube is cut into the six Kuhn tetrahedra and f is linear in each, so the surface is exactly the zero set of one
continuous function. That is why it is used in place of marching cubes: two fields with f + g <= 0 on every node give
f + g <= 0 everywhere, hence surfaces that cannot cross, whatever the spacing.
"""

import numba
import numpy as np
import numpy.typing as npt

from .arrival import FloatArray, Grid

IntArray = npt.NDArray[np.integer]

# The six Kuhn tetrahedra of a cube, corners numbered x + 2 y + 4 z: the paths from corner 0 to corner 7,
# ordered so that each has positive volume.
TETRAHEDRA = np.array([[0, 1, 3, 7], [0, 5, 1, 7], [0, 3, 2, 7], [0, 2, 6, 7], [0, 4, 5, 7], [0, 6, 4, 7]], np.int64)


@numba.njit(cache=True, nogil=True, inline="always")
def _corner_value(field: FloatArray, i: int, j: int, k: int, outside: float) -> float:
    """The field with one layer of `outside` around it; i, j, k count from that layer."""
    if i == 0 or j == 0 or k == 0 or i > field.shape[0] or j > field.shape[1] or k > field.shape[2]:
        return outside
    return field[i - 1, j - 1, k - 1]


@numba.njit(cache=True, nogil=True)
def _longer(array: FloatArray, rows: int) -> FloatArray:
    """A copy with room for `rows` rows."""
    longer = np.empty((rows, array.shape[1]), array.dtype)
    longer[: array.shape[0]] = array
    return longer


@numba.njit(cache=True, nogil=True, inline="always")
def cut_edges(value: FloatArray, tetrahedron: IntArray, sides: IntArray, ends: IntArray) -> tuple[int, bool]:
    """How many edges of a tetrahedron the surface cuts, 0, 3 or 4, and whether their polygon is to be turned round.

    value (8,): the field at a cube's corners; tetrahedron (4,): which of them it has; sides (2, 4): scratch. The cut
    edges' corners come into ends (4, 2), in the polygon's order and the smaller first: along a Kuhn edge the greater
    corner is greater in every axis.
    """
    inside, outside = sides[0], sides[1]
    n_in = n_out = 0
    parity = 0
    for c in range(4):
        if value[tetrahedron[c]] > 0:
            inside[n_in] = tetrahedron[c]
            n_in += 1
            parity += n_out  # how many outside corners were passed: the permutation's sign
        else:
            outside[n_out] = tetrahedron[c]
            n_out += 1
    if n_in == 0 or n_in == 4:
        return 0, False
    count = 4 if n_in == 2 else 3
    for m in range(count):
        if n_in == 2:
            a = inside[0 if m < 2 else 1]
            b = outside[0 if m == 0 or m == 3 else 1]
        else:
            a = inside[0] if n_in == 1 else outside[0]
            b = outside[m] if n_in == 1 else inside[m]
        ends[m, 0], ends[m, 1] = min(a, b), max(a, b)
    return count, parity % 2 == 1


@numba.njit(cache=True, nogil=True)
def _march(field: FloatArray, tetrahedra: IntArray, outside_value: float) -> tuple[FloatArray, npt.NDArray[np.int32]]:
    """Vertices in steps of the grid, counted from the layer around the field, and faces."""
    nx, ny, nz = field.shape[0] + 2, field.shape[1] + 2, field.shape[2] + 2
    vertices, n_vertices = np.empty((1024, 3), np.float64), 0
    faces, n_faces = np.empty((2048, 3), np.int32), 0
    # An edge joins a node to one of its seven greater neighbours. Only edges that start in the layer of cubes at hand
    # or in the next are ever asked for, so two layers of nodes remember the vertices on them.
    table = np.full((2, ny, nz, 8), -1, np.int32)
    x, y, z = np.empty(8, np.int64), np.empty(8, np.int64), np.empty(8, np.int64)
    value = np.empty(8)
    sides, ends, corner = np.empty((2, 4), np.int64), np.empty((4, 2), np.int64), np.empty(4, np.int64)
    for i in range(nx - 1):
        table[(i + 1) % 2] = -1
        for j in range(ny - 1):
            for k in range(nz - 1):
                above = 0
                for c in range(8):
                    x[c], y[c], z[c] = i + (c & 1), j + ((c >> 1) & 1), k + ((c >> 2) & 1)
                    value[c] = _corner_value(field, x[c], y[c], z[c], outside_value)
                    above += value[c] > 0
                if above == 0 or above == 8:
                    continue
                if n_vertices + 40 > vertices.shape[0]:
                    vertices = _longer(vertices, 2 * vertices.shape[0])
                if n_faces + 40 > faces.shape[0]:
                    faces = _longer(faces, 2 * faces.shape[0])
                for t in range(6):
                    count, flipped = cut_edges(value, tetrahedra[t], sides, ends)
                    for m in range(count):
                        a, b = ends[m, 0], ends[m, 1]
                        kind = b - a
                        known = table[x[a] % 2, y[a], z[a], kind]
                        if known < 0:
                            s = value[a] / (value[a] - value[b])
                            vertices[n_vertices, 0] = x[a] + s * (x[b] - x[a])
                            vertices[n_vertices, 1] = y[a] + s * (y[b] - y[a])
                            vertices[n_vertices, 2] = z[a] + s * (z[b] - z[a])
                            known = n_vertices
                            table[x[a] % 2, y[a], z[a], kind] = known
                            n_vertices += 1
                        corner[m] = known
                    for m in range(1, count - 1):
                        last = m if flipped else m + 1
                        faces[n_faces, 0] = corner[0]
                        faces[n_faces, 1] = corner[2 * m + 1 - last]
                        faces[n_faces, 2] = corner[last]
                        n_faces += 1
    return vertices[:n_vertices].copy(), faces[:n_faces].copy()


def polygonize(grid: Grid, field_um: FloatArray) -> tuple[FloatArray, npt.NDArray[np.int32]]:
    """Closed surface of {field > 0}, outward oriented.

    The field is taken as negative beyond the grid, so the surface is closed where the body meets the grid's faces.

    Returns vertices (n, 3) float64 in µm and faces (m, 3) int32; both empty if the field is nowhere positive.
    """
    # A value of exactly zero would put several vertices on one node; -1e-7 µm keeps them apart and the body open.
    values = np.clip(np.where(np.abs(field_um) < 1e-7, -1e-7, field_um), -1.0, 1.0)
    vertices, faces = _march(values, TETRAHEDRA, -grid.spacing_um)
    return (vertices - 1) * grid.spacing_um + grid.origin_um, faces

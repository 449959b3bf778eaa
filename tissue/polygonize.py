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
_TETRAHEDRA = np.array([[0, 1, 3, 7], [0, 5, 1, 7], [0, 3, 2, 7], [0, 2, 6, 7], [0, 4, 5, 7], [0, 6, 4, 7]], np.int64)


@numba.njit(cache=True)
def _edge_vertex(
    a: int,
    b: int,
    fa: float,
    fb: float,
    ny: int,
    nz: int,
    table: dict[int, int],
    vertices: list[tuple[float, float, float]],
) -> int:
    if a > b:
        a, b, fa, fb = b, a, fb, fa
    # An edge joins a node to one of seven greater neighbours; the step names it uniquely.
    step = b - a
    dx = step // (ny * nz)
    rest = step - dx * ny * nz
    dy = rest // nz
    key = a * 8 + dx * 4 + dy * 2 + (rest - dy * nz)
    if key in table:
        return table[key]
    t = fa / (fa - fb)
    ax, ay, az = a // (ny * nz), (a // nz) % ny, a % nz
    bx, by, bz = b // (ny * nz), (b // nz) % ny, b % nz
    vertices.append((ax + t * (bx - ax), ay + t * (by - ay), az + t * (bz - az)))
    table[key] = len(vertices) - 1
    return len(vertices) - 1


@numba.njit(cache=True)
def _march(field: FloatArray, tetrahedra: IntArray) -> tuple[FloatArray, npt.NDArray[np.int32]]:
    nx, ny, nz = field.shape
    table = {np.int64(0): np.int64(0)}
    table.clear()
    vertices = [(0.0, 0.0, 0.0)]
    vertices.clear()
    faces = [(np.int64(0), np.int64(0), np.int64(0))]
    faces.clear()
    node = np.empty(8, np.int64)
    value = np.empty(8)
    inside = np.empty(4, np.int64)
    outside = np.empty(4, np.int64)
    for i in range(nx - 1):
        for j in range(ny - 1):
            for k in range(nz - 1):
                below = 0
                for c in range(8):
                    x, y, z = i + (c & 1), j + ((c >> 1) & 1), k + ((c >> 2) & 1)
                    node[c] = (x * ny + y) * nz + z
                    value[c] = field[x, y, z]
                    if value[c] <= 0:
                        below += 1
                if below == 0 or below == 8:
                    continue
                for t in range(6):
                    n_in = n_out = 0
                    parity = 0
                    for c in range(4):
                        if value[tetrahedra[t, c]] > 0:
                            inside[n_in] = tetrahedra[t, c]
                            n_in += 1
                            parity += n_out  # how many outside corners were passed: the permutation's sign
                        else:
                            outside[n_out] = tetrahedra[t, c]
                            n_out += 1
                    if n_in == 0 or n_in == 4:
                        continue
                    flip = parity % 2 == 1
                    corner = np.empty(4, np.int64)
                    if n_in == 2:
                        count = 4
                        for m in range(4):
                            a = inside[0 if m < 2 else 1]
                            b = outside[0 if m == 0 or m == 3 else 1]
                            corner[m] = _edge_vertex(node[a], node[b], value[a], value[b], ny, nz, table, vertices)
                    else:
                        count = 3
                        for m in range(3):
                            a = inside[0] if n_in == 1 else outside[0]
                            b = outside[m] if n_in == 1 else inside[m]
                            corner[m] = _edge_vertex(node[a], node[b], value[a], value[b], ny, nz, table, vertices)
                    for m in range(1, count - 1):
                        if flip:
                            faces.append((corner[0], corner[m + 1], corner[m]))
                        else:
                            faces.append((corner[0], corner[m], corner[m + 1]))
    v = np.empty((len(vertices), 3))
    for n in range(len(vertices)):
        v[n, 0], v[n, 1], v[n, 2] = vertices[n]
    f = np.empty((len(faces), 3), np.int32)
    for n in range(len(faces)):
        f[n, 0], f[n, 1], f[n, 2] = faces[n]
    return v, f


def polygonize(grid: Grid, field_um: FloatArray) -> tuple[FloatArray, npt.NDArray[np.int32]]:
    """Closed surface of {field > 0}, outward oriented.

    The field is taken as negative beyond the grid, so the surface is closed where the body meets the grid's faces.

    Returns vertices (n, 3) float64 in µm and faces (m, 3) int32; both empty if the field is nowhere positive.
    """
    # A value of exactly zero would put several vertices on one node; -1e-7 µm keeps them apart and the body open.
    padded = np.full(tuple(n + 2 for n in grid.shape), -grid.spacing_um, np.float64)
    padded[1:-1, 1:-1, 1:-1] = np.where(np.abs(field_um) < 1e-7, -1e-7, field_um)
    padded[1:-1, 1:-1, 1:-1] = np.clip(padded[1:-1, 1:-1, 1:-1], -1.0, 1.0)
    vertices, faces = _march(padded, _TETRAHEDRA)
    return (vertices - 1) * grid.spacing_um + grid.origin_um, faces

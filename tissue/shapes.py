"""Small closed shapes that organelles are made of."""

import numba
import numpy as np
import numpy.typing as npt
import trimesh

from .arrival import FloatArray

FaceArray = npt.NDArray[np.int32]
Shape = tuple[FloatArray, FaceArray]


def _ball(subdivisions: int) -> tuple[FloatArray, FaceArray, float]:
    """Unit icosphere blown up to the sphere's volume, its faces, and the distance of its farthest vertex."""
    mesh = trimesh.creation.icosphere(subdivisions=subdivisions)
    scale = float((4 / 3 * np.pi / mesh.volume) ** (1 / 3))
    return np.asarray(mesh.vertices) * scale, np.asarray(mesh.faces, np.int32), scale


_BALL = {level: _ball(level) for level in (1, 2, 3)}
# How far beyond its sphere's radius a ball's vertices lie.
CIRCUMSCRIBED = {level: scale for level, (_, _, scale) in _BALL.items()}


def spheres(centres_um: FloatArray, radii_um: FloatArray, level: int = 1) -> Shape:
    """Icospheres (80 faces each at level 1) of the spheres' volume, as one shape of n equal pieces."""
    return ellipsoids(centres_um, np.asarray(radii_um)[:, None, None] * np.eye(3), level)


def ellipsoids(centres_um: FloatArray, axes_um: FloatArray, level: int = 1) -> Shape:
    """Ellipsoids, the images of the unit ball under matrices axes_um (n, 3, 3), as one shape of n equal pieces."""
    base, base_faces, _ = _BALL[level]
    vertices = centres_um[:, None, :] + np.einsum("nij,vj->nvi", axes_um, base)
    step = np.arange(len(centres_um))[:, None, None] * len(base)
    return vertices.reshape(-1, 3), (base_faces[None] + step).reshape(-1, 3).astype(np.int32)


def lumpy_ball(centre_um: FloatArray, axes_um: FloatArray, lumps: FloatArray, level: int = 2) -> Shape:
    """An ellipsoid that bulges: its radius is multiplied by 1 + a smooth function of direction, lumps (m, 4).

    Each lump is a direction (3,) and a height: a bulge of the width of a quarter of the ball there.
    """
    base, faces, _ = _BALL[level]
    factor = np.ones(len(base))
    for x, y, z, height in lumps:
        factor += height * np.exp(3 * (base @ np.array([x, y, z]) - 1))
    return centre_um + (base * factor[:, None]) @ np.asarray(axes_um).T, faces.copy()


@numba.njit(cache=True, nogil=True)
def frames(path: FloatArray, across: FloatArray) -> FloatArray:
    """Two unit vectors at right angles to a path (n, 3) at each point, (n, 2, 3), carried along without twist."""
    n = path.shape[0]
    out = np.empty((n, 2, 3))
    here = across.copy()
    tangent = np.empty(3)
    for p in range(n):
        before, after = max(p - 1, 0), min(p + 1, n - 1)
        length = 0.0
        for d in range(3):
            tangent[d] = path[after, d] - path[before, d]
            length += tangent[d] * tangent[d]
        length = np.sqrt(length)
        along = 0.0
        for d in range(3):
            tangent[d] /= length
            along += here[d] * tangent[d]
        size = 0.0
        for d in range(3):
            here[d] -= along * tangent[d]
            size += here[d] * here[d]
        if size < 1e-12:
            least = np.argmin(np.abs(tangent))
            for d in range(3):
                here[d] = (1.0 if d == least else 0.0) - tangent[least] * tangent[d]
            size = (here * here).sum()
        here /= np.sqrt(size)
        out[p, 0] = here
        out[p, 1, 0] = tangent[1] * here[2] - tangent[2] * here[1]
        out[p, 1, 1] = tangent[2] * here[0] - tangent[0] * here[2]
        out[p, 1, 2] = tangent[0] * here[1] - tangent[1] * here[0]
    return out


def _area_factor(sides: int) -> float:
    """Circumscribed radius of the regular polygon that has the area of the unit circle."""
    return float(np.sqrt(2 * np.pi / (sides * np.sin(2 * np.pi / sides))))


CIRCUMSCRIBED_PRISM = _area_factor(6)


def _rings(path: FloatArray, radii: FloatArray, across: FloatArray, sides: int, flatness: float) -> FloatArray:
    """Rings of `sides` points round the points of a path, (n, sides, 3)."""
    frame = frames(np.ascontiguousarray(path, np.float64), np.asarray(across, np.float64))
    angle = np.arange(sides) * 2 * np.pi / sides
    section = np.stack([flatness * np.cos(angle), np.sin(angle)], axis=-1) * _area_factor(sides)
    return np.asarray(path[:, None] + np.asarray(radii)[:, None, None] * (section @ frame))


def _tube_faces(n: int, sides: int) -> FaceArray:
    a = (np.arange(n - 1)[:, None] * sides + np.arange(sides)[None]).ravel()
    b = (np.arange(n - 1)[:, None] * sides + (np.arange(sides)[None] + 1) % sides).ravel()
    walls = np.vstack([np.column_stack([a, b, b + sides]), np.column_stack([a, b + sides, a + sides])])
    ring = np.arange(sides)
    start = np.column_stack([np.full(sides, n * sides), (ring + 1) % sides, ring])
    last = (n - 1) * sides
    end = np.column_stack([np.full(sides, n * sides + 1), last + ring, last + (ring + 1) % sides])
    return np.vstack([walls, start, end]).astype(np.int32)


def tube(path_um: FloatArray, radii_um: FloatArray, across: FloatArray, sides: int = 6, flatness: float = 1.0) -> Shape:
    """A closed tube along a path of at least two points; `flatness` stretches its section along `across`.

    The section's area is that of the ellipse with semi-axes radius * flatness and radius.
    """
    rings = _rings(path_um, radii_um, across, sides, flatness)
    return np.vstack([rings.reshape(-1, 3), path_um[:1], path_um[-1:]]), _tube_faces(len(path_um), sides)


def ring_tube(path_um: FloatArray, radius_um: float, across: FloatArray, sides: int = 6) -> Shape:
    """A tube along a closed path of n points, the last joined to the first."""
    n = len(path_um)
    closed = np.vstack([path_um[-1:], path_um, path_um[:1]])
    rings = _rings(closed, np.full(n + 2, radius_um), across, sides, 1.0)
    a = (np.arange(n)[:, None] * sides + np.arange(sides)[None]).ravel()
    b = (np.arange(n)[:, None] * sides + (np.arange(sides)[None] + 1) % sides).ravel()
    up, turned = (a + sides) % (n * sides), (b + sides) % (n * sides)
    faces = np.vstack([np.column_stack([a, b, turned]), np.column_stack([a, turned, up])]).astype(np.int32)
    return rings[1:-1].reshape(-1, 3), faces


def plate(layers_um: FloatArray, centre_um: FloatArray) -> Shape:
    """A closed plate: its two sides' vertices layers_um (2, rings, n, 3) run round two centres (2, 3), ring by ring.

    The first side is seen from outside where its rings run counter-clockwise.
    """
    _, rings, n, _ = layers_um.shape
    vertices = np.vstack([layers_um.reshape(-1, 3), centre_um])
    a, b = np.arange(n), (np.arange(n) + 1) % n
    faces = []
    for side in range(2):
        base, middle = side * rings * n, 2 * rings * n + side
        part = [np.column_stack([np.full(n, middle), base + a, base + b])]
        for ring in range(rings - 1):
            inner, outer = base + ring * n, base + (ring + 1) * n
            part += [
                np.column_stack([inner + a, outer + a, outer + b]),
                np.column_stack([inner + a, outer + b, inner + b]),
            ]
        flat = np.vstack(part)
        faces.append(flat if side == 0 else flat[:, ::-1])
    top, bottom = (rings - 1) * n, rings * n + (rings - 1) * n
    faces.append(np.column_stack([top + a, bottom + a, bottom + b]))
    faces.append(np.column_stack([top + a, bottom + b, top + b]))
    return vertices, np.vstack(faces).astype(np.int32)


def joined(shapes: list[Shape]) -> Shape:
    """Several closed shapes as one of many pieces."""
    offsets = np.cumsum([0] + [len(v) for v, _ in shapes[:-1]])
    vertices = np.vstack([v for v, _ in shapes])
    faces = np.vstack([f + o for (_, f), o in zip(shapes, offsets, strict=True)])
    return vertices, faces.astype(np.int32)

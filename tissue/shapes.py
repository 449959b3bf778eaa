"""Small closed shapes that organelles are made of."""

import numpy as np
import numpy.typing as npt
import trimesh

from .arrival import FloatArray

FaceArray = npt.NDArray[np.int32]
Shape = tuple[FloatArray, FaceArray]

_ICOSPHERE = trimesh.creation.icosphere(subdivisions=1)
# A polyhedron of given circumradius is smaller than its sphere; this factor gives it the sphere's volume.
_ICOSPHERE_SCALE = float((4 / 3 * np.pi / _ICOSPHERE.volume) ** (1 / 3))


def spheres(centres_um: FloatArray, radii_um: FloatArray) -> Shape:
    """Icospheres (80 faces each) of the spheres' volume, as one shape of n pieces."""
    base = np.asarray(_ICOSPHERE.vertices) * _ICOSPHERE_SCALE
    vertices = centres_um[:, None, :] + base[None] * np.asarray(radii_um)[:, None, None]
    step = np.arange(len(centres_um))[:, None, None] * len(base)
    return vertices.reshape(-1, 3), (np.asarray(_ICOSPHERE.faces)[None] + step).reshape(-1, 3).astype(np.int32)


def _frames(path_um: FloatArray, across: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Two unit vectors at right angles to the path at each point, carried along without twist."""
    tangent = np.gradient(path_um, axis=0)
    tangent /= np.linalg.norm(tangent, axis=1, keepdims=True)
    first = np.empty_like(tangent)
    here = across - tangent[0] * (across @ tangent[0])
    if np.linalg.norm(here) < 1e-6:
        here = np.cross(tangent[0], np.eye(3)[np.argmin(np.abs(tangent[0]))])
    for n, t in enumerate(tangent):
        here = here - t * (here @ t)
        here = here / np.linalg.norm(here)
        first[n] = here
    return first, np.cross(tangent, first)


def tube(path_um: FloatArray, radii_um: FloatArray, across: FloatArray, sides: int = 6, flatness: float = 1.0) -> Shape:
    """A closed tube along a path of at least two points; `flatness` stretches its section along `across`.

    The section's area is that of the ellipse with semi-axes radius * flatness and radius.
    """
    first, second = _frames(path_um, across)
    angle = np.arange(sides) * 2 * np.pi / sides
    fill = np.sqrt(2 * np.pi / (sides * np.sin(2 * np.pi / sides)))  # polygon of the circle's area
    r = np.asarray(radii_um)[:, None, None] * fill
    rings = path_um[:, None] + r * (
        flatness * np.cos(angle)[None, :, None] * first[:, None] + np.sin(angle)[None, :, None] * second[:, None]
    )
    n = len(path_um)
    vertices = np.vstack([rings.reshape(-1, 3), path_um[:1], path_um[-1:]])
    a = (np.arange(n - 1)[:, None] * sides + np.arange(sides)[None]).ravel()
    b = (np.arange(n - 1)[:, None] * sides + (np.arange(sides)[None] + 1) % sides).ravel()
    walls = np.vstack([np.column_stack([a, b, b + sides]), np.column_stack([a, b + sides, a + sides])])
    ring = np.arange(sides)
    start = np.column_stack([np.full(sides, n * sides), (ring + 1) % sides, ring])
    last = (n - 1) * sides
    end = np.column_stack([np.full(sides, n * sides + 1), last + ring, last + (ring + 1) % sides])
    return vertices, np.vstack([walls, start, end]).astype(np.int32)


def sheet(centre_um: FloatArray, normal: FloatArray, rim_um: FloatArray, thickness_um: float) -> Shape:
    """A flat closed plate: its outline rim_um (n, 3) runs round centre_um in the plane across `normal`."""
    n = len(rim_um)
    half = 0.5 * thickness_um * normal
    vertices = np.vstack([rim_um + half, rim_um - half, [centre_um + half], [centre_um - half]])
    a, b = np.arange(n), (np.arange(n) + 1) % n
    top = np.column_stack([np.full(n, 2 * n), a, b])
    bottom = np.column_stack([np.full(n, 2 * n + 1), n + b, n + a])
    wall = np.vstack([np.column_stack([a, n + a, n + b]), np.column_stack([a, n + b, b])])
    faces = np.vstack([top, bottom, wall]).astype(np.int32)
    # The outline's sense decides which way the faces look; make it outward.
    turn = np.cross(rim_um[0] - centre_um, rim_um[1] - centre_um) @ normal
    return vertices, faces if turn > 0 else faces[:, ::-1]


def joined(shapes: list[Shape]) -> Shape:
    """Several closed shapes as one of many pieces."""
    offsets = np.cumsum([0] + [len(v) for v, _ in shapes[:-1]])
    vertices = np.vstack([v for v, _ in shapes])
    faces = np.vstack([f + o for (_, f), o in zip(shapes, offsets, strict=True)])
    return vertices, faces.astype(np.int32)

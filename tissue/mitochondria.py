"""Mitochondria: a body fitted into the cell, and cristae that hang on its inner membrane."""

from dataclasses import dataclass

import numba
import numpy as np

from .arrival import FloatArray, RoundCones, round_cone_distance
from .bricks import swept_surface
from .certificate import largest_piece
from .interior import CellInterior, IntArray, _room_at
from .placement import offset_path, path_length, random_across, resampled, unit
from .shapes import Shape, joined, plate, tube

SPACING_UM = 0.032
STEP_UM = 0.09
THINNEST_UM = 0.05
RIM_UM = 0.012  # depth at which a crista ends: within the inner membrane, which it is a fold of
RIM_SHARE = 0.35  # thickness of a lamella at its rim over that in its middle
RAYS = 20
MARCH_UM = 0.012  # steps by which a crista is followed outwards: no notch of the surface is so narrow
LAMELLA_UM = (0.02, 0.028)  # thickness: two membranes of 7 nm and the space between them
# From lamella to lamella: orthodox mitochondria of brain are full of them, 30-45 nm apart on the EPFL CA1 slices.
LAMELLAE_APART_UM = (0.034, 0.052)
MISSING_LAMELLAE = 0.1
UNEVEN = 0.12  # standard deviation of a lamella's place over their distance
FREE_RIMS = 0.35  # of the lamellae, those of which an arc of the rim hangs free


@dataclass(frozen=True)
class Mitochondrion:
    """Its outer surface, its cristae (None where there are none) and the length of its axis."""

    surface: Shape
    cristae: Shape | None
    length_um: float


def mitochondrion(
    interior: CellInterior, run_um: FloatArray, radius_um: float, rng: np.random.Generator
) -> Mitochondrion | None:
    """A mitochondrion along a run of the cell's axis, as thick as there is room; None where it does not fit.

    Its section is that of one or two parallel strands (round to flattened), swollen and pinched along its length.
    """
    fitted = offset_path(interior, resampled(run_um, STEP_UM), rng, radius_um)
    if fitted is None:
        return None
    path, room = fitted
    knots = np.exp(0.14 * rng.normal(size=len(path)))
    radii = np.minimum(radius_um * np.convolve(np.pad(knots, 1, mode="edge"), [0.25, 0.5, 0.25], "valid"), room)
    if radii.max() < THINNEST_UM:
        return None
    strands = [RoundCones(path[:-1], path[1:], radii[:-1], radii[1:])]
    if rng.random() < 0.5:
        aside = random_across(path[-1] - path[0], rng) * radius_um * rng.uniform(0.3, 0.8)
        strands.append(RoundCones(path[:-1] + aside, path[1:] + aside, 0.85 * radii[:-1], 0.85 * radii[1:]))
    cones = RoundCones(
        *(np.concatenate([getattr(s, name) for s in strands]) for name in RoundCones.__dataclass_fields__)
    )
    surface, _ = largest_piece(swept_surface(cones, SPACING_UM, interior))
    if len(surface[1]) < 60 or interior.depth(surface[0]).min() <= 0:
        return None
    cristae = _cristae(interior, cones.packed(), path, radii, rng)
    interior.occupy(cones)
    return Mitochondrion(surface, cristae, path_length(path))


@numba.njit(cache=True, nogil=True)
def _ray_reaches(
    centres: FloatArray,
    directions: FloatArray,
    normals: FloatArray,
    bows: FloatArray,
    body: FloatArray,
    first: IntArray,
    last: IntArray,
    values: FloatArray,
    origin: FloatArray,
    spacing: float,
    wall: float,
    plates: FloatArray,
    cones: FloatArray,
    low: FloatArray,
    head: IntArray,
    entry: IntArray,
) -> tuple[FloatArray, FloatArray]:
    """How far a crista that bows along its normal can reach from each centre in each direction.

    centres, normals (n, 3); directions (n, rays, 3); bows (n,) in 1/µm; first, last: which of the body's cones are near
    each. Returns reaches (n, rays) and the depth at the centres (n,), all in µm.
    """
    count, rays = directions.shape[0], directions.shape[1]
    reaches = np.zeros((count, rays))
    depths = np.empty(count)
    for n in range(count):
        for ray in range(-1, rays):
            reach = 0.0
            step = MARCH_UM
            while True:
                r = 0.0 if ray < 0 else reach + step
                x, y, z = centres[n, 0], centres[n, 1], centres[n, 2]
                if ray >= 0:
                    bow = bows[n] * r * r
                    x += r * directions[n, ray, 0] + bow * normals[n, 0]
                    y += r * directions[n, ray, 1] + bow * normals[n, 1]
                    z += r * directions[n, ray, 2] + bow * normals[n, 2]
                depth = -1e3
                for c in range(first[n], last[n]):
                    depth = max(depth, -round_cone_distance(x, y, z, body[c]))
                if depth > RIM_UM:
                    room = _room_at(x, y, z, values, origin, spacing, wall, plates, cones, low, head, entry)
                    depth = min(depth, room)
                if ray < 0:
                    depths[n] = depth
                    break
                if depth > RIM_UM and r < 0.6:
                    reach = r
                else:
                    step *= 0.5
                    if step < 0.002:
                        break
            if ray < 0 and depths[n] < RIM_UM + 0.01:
                break
            if ray >= 0:
                reaches[n, ray] = reach
    return reaches, depths


def _cristae(
    interior: CellInterior, body: FloatArray, path: FloatArray, radii: FloatArray, rng: np.random.Generator
) -> Shape | None:
    """Lamellae, each cut to the inner membrane's outline and here and there free of it, and tubules."""
    ends_apart = path[-1] - path[0]
    axis = unit(ends_apart if np.any(ends_apart) else rng.normal(size=3))
    tilt = rng.uniform(0, np.pi / 2) if rng.random() < 0.5 else rng.uniform(0, 0.4)
    normal = np.cos(tilt) * axis + np.sin(tilt) * random_across(axis, rng)
    spacing = rng.uniform(*LAMELLAE_APART_UM)
    along = path @ normal
    offsets = np.arange(along.min() - radii.max(), along.max() + radii.max(), spacing)
    offsets = offsets[rng.random(len(offsets)) > MISSING_LAMELLAE]
    offsets = offsets + rng.normal(scale=UNEVEN * spacing, size=len(offsets))
    if len(offsets) == 0:
        return None
    nearest = np.argmin(np.abs(along[None] - offsets[:, None]), axis=1)
    foot = path[nearest] + normal * (offsets - along[nearest])[:, None]
    u = random_across(normal, rng)
    v = np.cross(normal, u)
    centres = foot + (rng.normal(size=(len(offsets), 2)) @ np.array([u, v])) * 0.2 * radii[nearest, None]
    normals = np.repeat(normal[None], len(offsets), 0)
    angle = np.arange(RAYS) * 2 * np.pi / RAYS
    fan = np.cos(angle)[:, None] * u + np.sin(angle)[:, None] * v
    directions = np.repeat(fan[None], len(offsets), 0)
    # Neighbours bow alike, so that they stay apart.
    bows = rng.normal(scale=0.6) + rng.normal(scale=0.06, size=len(offsets))
    reaches, depths = _reaches(interior, body, len(path), centres, directions, normals, bows, nearest)
    shapes: list[Shape] = []
    tubular = rng.beta(0.4, 2.0)
    for n in np.flatnonzero((depths > 0.025) & (reaches.max(1) > 0.04)):
        if rng.random() < tubular:
            shapes += _tubules(centres[n], normal, directions[n], reaches[n], bows[n], rng)
            continue
        extent = reaches[n].copy()
        if rng.random() < FREE_RIMS:
            gap = np.cos(angle - rng.uniform(0, 2 * np.pi)) > rng.uniform(0.0, 0.9)
            extent[gap] *= rng.uniform(0.35, 0.9)
            extent = 0.25 * np.roll(extent, 1) + 0.5 * extent + 0.25 * np.roll(extent, -1)
            extent = np.minimum(extent, reaches[n])
        shapes.append(_lamella(centres[n], normal, fan, extent, bows[n], 0.5 * rng.uniform(*LAMELLA_UM)))
    return joined(shapes) if shapes else None


def _reaches(
    interior: CellInterior,
    body: FloatArray,
    points: int,
    centres: FloatArray,
    directions: FloatArray,
    normals: FloatArray,
    bows: FloatArray,
    nearest: IntArray,
) -> tuple[FloatArray, FloatArray]:
    """`_ray_reaches`, with the whole body where it is short and all its cones are near."""
    first = np.zeros(len(centres), np.int64)
    last = np.full(len(centres), len(body), np.int64)
    if len(body) == points - 1 and points > 16:  # one strand
        first, last = np.maximum(nearest - 7, 0), np.minimum(nearest + 7, len(body))
    return _ray_reaches(centres, directions, normals, bows, body, first, last, *interior.lookup())


def _lamella(
    centre: FloatArray, normal: FloatArray, fan: FloatArray, extent: FloatArray, bow: float, half: float
) -> Shape:
    """A bowed plate of thickness 2 half round a centre."""
    radius = np.array([0.5, 1.0])[:, None] * extent
    middle = centre + radius[..., None] * fan + (bow * radius**2)[..., None] * normal
    # Thin at the rim, where it joins the inner membrane by narrow junctions.
    thick = np.array([half, RIM_SHARE * half])[:, None, None] * normal
    return plate(np.stack([middle + thick, middle - thick]), centre + half * np.array([normal, -normal]))


def _tubules(
    centre: FloatArray,
    normal: FloatArray,
    directions: FloatArray,
    reaches: FloatArray,
    bow: float,
    rng: np.random.Generator,
) -> list[Shape]:
    """One to three tubes from the inner membrane inwards."""
    shapes = []
    for ray in rng.choice(len(directions), size=int(rng.integers(1, 4)), replace=False):
        if reaches[ray] < 0.05:
            continue
        r = (np.linspace(1.0, rng.uniform(0.0, 0.5), 5) * reaches[ray])[:, None]
        path = centre + r * directions[ray] + bow * r**2 * normal
        radii = np.full(5, 0.5 * rng.uniform(*LAMELLA_UM))
        radii[0] *= RIM_SHARE  # the junction
        shapes.append(tube(path, radii, rng.normal(size=3)))
    return shapes

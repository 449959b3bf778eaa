"""Vesicles: docked at active zones, crowded behind them, scattered elsewhere; none touches another."""

from dataclasses import dataclass

import numba
import numpy as np

from .arrival import FloatArray
from .interior import CellInterior, IntArray, _room_at, cube_key
from .shapes import CIRCUMSCRIBED, Shape, ellipsoids, spheres

# 44 nm mean outer diameter (mouse CA1, JCB 200711021 fig. 5); on the EPFL slices the median drawn diameter is 50 nm,
# and that of a ball's sections is below the ball's own.
RADIUS_UM = 0.025
RADIUS_SD_UM = 0.0022
LARGEST_UM = 0.032
DOCKING_GAP_UM = 0.003
BEYOND = CIRCUMSCRIBED[1]
TRIES = 40  # candidates per vesicle asked for; most fall outside a thin axon, and the crowd jams in the end


@dataclass(frozen=True)
class Crowd:
    """Where vesicles gather: `wanted` of them within reach of a focus, ever fewer towards the rim.

    flattening: by how much they are drawn out: 0 round, about 0.5 in symmetric boutons, whose vesicles are pleomorphic.
    """

    focus_um: FloatArray  # (3,)
    reach_um: float
    wanted: int
    flattening: float = 0.0


@dataclass(frozen=True)
class Vesicles:
    """Ellipsoids: centres (n, 3), axes (n, 3, 3) as `ellipsoids` takes them.

    outer_um: (n,) radii of the balls that hold them; crowd: (n,) 0 for the docked ones, n for those of the nth crowd.
    """

    centres_um: FloatArray
    axes_um: FloatArray
    outer_um: FloatArray
    crowd: IntArray

    def shape(self) -> Shape:
        """One shape of n equal pieces."""
        return ellipsoids(self.centres_um, self.axes_um)


def vesicle_axes(count: int, flattening: FloatArray | float, rng: np.random.Generator) -> tuple[FloatArray, FloatArray]:
    """Axes (count, 3, 3) of vesicles of natural sizes, turned at random, and the radii (count,) of balls round them.

    The volume does not change with the flattening: one axis is longer by 1 + f, the others are shorter.
    """
    radius = np.clip(rng.normal(RADIUS_UM, RADIUS_SD_UM, count), RADIUS_UM - 3 * RADIUS_SD_UM, LARGEST_UM)
    drawn_out = 1 + np.asarray(flattening) * rng.random(count)
    long_axis = rng.normal(size=(count, 3))
    long_axis /= np.linalg.norm(long_axis, axis=1, keepdims=True)
    along = long_axis[:, :, None] * long_axis[:, None, :]
    thin = (radius / np.sqrt(drawn_out))[:, None, None]
    axes = thin * (np.eye(3) - along) + (radius * drawn_out)[:, None, None] * along
    return axes, BEYOND * radius * drawn_out


@numba.njit(cache=True, nogil=True)
def _fill(
    points: FloatArray,
    outer: FloatArray,
    crowd: IntArray,
    wanted: IntArray,
    edge: float,
    values: FloatArray,
    origin: FloatArray,
    spacing: float,
    wall: float,
    plates: FloatArray,
    cones: FloatArray,
    low: FloatArray,
    head: IntArray,
    entry: IntArray,
) -> IntArray:
    """Random sequential addition: which of the candidates are kept, in their order."""
    first = {np.int64(0): np.int64(0)}
    first.clear()
    following = np.full(len(points), -1, np.int64)
    kept = np.empty(len(points), np.int64)
    count = 0
    left = wanted.copy()
    for n in range(len(points)):
        if left[crowd[n]] <= 0:
            continue
        x, y, z = points[n, 0], points[n, 1], points[n, 2]
        i, j, k = int(np.floor(x / edge)), int(np.floor(y / edge)), int(np.floor(z / edge))
        free = True
        for a in range(i - 1, i + 2):
            for b in range(j - 1, j + 2):
                for c in range(k - 1, k + 2):
                    key = cube_key(a, b, c)
                    m = first[key] if key in first else -1  # noqa: SIM401 (numba would make it optional)
                    while m >= 0 and free:
                        dx, dy, dz = points[m, 0] - x, points[m, 1] - y, points[m, 2] - z
                        apart = outer[m] + outer[n] + 0.0005
                        free = dx * dx + dy * dy + dz * dz >= apart * apart
                        m = following[m]
                if not free:
                    break
            if not free:
                break
        if not free:
            continue
        if _room_at(x, y, z, values, origin, spacing, wall, plates, cones, low, head, entry) < outer[n]:
            continue
        key = cube_key(i, j, k)
        following[n] = first[key] if key in first else -1  # noqa: SIM401
        first[key] = np.int64(n)
        kept[count] = n
        count += 1
        left[crowd[n]] -= 1
    return kept[:count]


def place_vesicles(
    interior: CellInterior,
    crowds: list[Crowd],
    docked_um: FloatArray,
    docked: int,
    flattening: float,
    rng: np.random.Generator,
) -> Vesicles:
    """Up to `docked` vesicles where there is room at docked_um (n, 3), then the crowds, until each has its number or is
    full. flattening: of the docked ones.
    """
    points, which, flat = [docked_um], [np.zeros(len(docked_um), np.int64)], [np.full(len(docked_um), flattening)]
    for number, crowd in enumerate(crowds, 1):
        tries = TRIES * crowd.wanted
        direction = rng.normal(size=(tries, 3))
        # Crowded in the middle, thinning out towards the rim.
        distance = crowd.reach_um * rng.beta(1.9, 1.9, tries)
        direction *= (distance / np.linalg.norm(direction, axis=1))[:, None]
        points.append(crowd.focus_um + direction)
        which.append(np.full(tries, number))
        flat.append(np.full(tries, crowd.flattening))
    candidates = np.vstack(points)
    axes, outer = vesicle_axes(len(candidates), np.concatenate(flat), rng)
    wanted = np.array([docked, *(c.wanted for c in crowds)], np.int64)
    of_crowd = np.concatenate(which)
    kept = _fill(candidates, outer, of_crowd, wanted, _edge(outer), *interior.lookup())
    kept = kept[_contained(interior, ellipsoids(candidates[kept], axes[kept]), len(kept))]
    return Vesicles(candidates[kept], axes[kept], outer[kept], of_crowd[kept])


def _contained(interior: CellInterior, shape: Shape, pieces: int) -> np.ndarray:
    """Which of a shape's equal pieces lie in the cell: where membranes bend sharply, depth falls faster than
    distance, and a ball with room enough may still reach through."""
    return np.asarray(interior.depth(shape[0]).reshape(pieces, -1).min(1) > 0) if pieces else np.zeros(0, bool)


def _edge(outer_um: FloatArray) -> float:
    """Edge of the cubes that vesicles are sorted into: neighbours that touch lie in neighbouring cubes."""
    return 2 * float(outer_um.max(initial=0.01)) + 0.001


def place_granules(
    interior: CellInterior, places_um: FloatArray, radii_um: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Those of the balls at places (n, 3) that find room and do not touch one another, and their radii (n,)."""
    outer = BEYOND * radii_um
    crowd, wanted = np.zeros(len(outer), np.int64), np.array([len(outer)])
    kept = _fill(places_um, outer, crowd, wanted, _edge(outer), *interior.lookup())
    kept = kept[_contained(interior, spheres(places_um[kept], radii_um[kept]), len(kept))]
    return places_um[kept], radii_um[kept]


def cytoplasm_um3(interior: CellInterior, focus_um: FloatArray, reach_um: float, rng: np.random.Generator) -> float:
    """Volume (µm³) of the cell within reach of a focus, from 300 random points."""
    direction = rng.normal(size=(300, 3))
    radius = reach_um * np.cbrt(rng.random(300))
    points = focus_um + direction * (radius / np.linalg.norm(direction, axis=1))[:, None]
    return float((interior.depth(points) > 0).mean() * 4 / 3 * np.pi * reach_um**3)


def docked_places(
    interior: CellInterior,
    centre_um: FloatArray,
    inward: FloatArray,
    spread_um: float,
    count: int,
    rng: np.random.Generator,
) -> FloatArray:
    """Places (n, 3) where a vesicle's centre lies just below an active zone's inner face.

    centre_um, inward: the zone's middle and the direction into the cell; spread_um: its radius. At each of `count`
    random spots on the zone the centre sinks until it has just the room it needs.
    """
    if count == 0:
        return np.empty((0, 3))
    u = np.cross(inward, np.eye(3)[np.argmin(np.abs(inward))])
    u /= np.linalg.norm(u)
    v = np.cross(inward, u)
    angle = rng.uniform(0, 2 * np.pi, count)
    r = spread_um * np.sqrt(rng.random(count))
    spots = centre_um + r[:, None] * (np.cos(angle)[:, None] * u + np.sin(angle)[:, None] * v)
    sunk = np.arange(-0.03, 0.15, 0.002)
    path = spots[:, None] + sunk[None, :, None] * inward
    room = interior.room(path.reshape(-1, 3)).reshape(count, -1)
    fits = room > BEYOND * (RADIUS_UM + 0.5 * RADIUS_SD_UM) + DOCKING_GAP_UM
    first = np.argmax(fits, axis=1)
    found = fits.any(axis=1) & (first > 0)
    return np.asarray(path[np.flatnonzero(found), first[found]])

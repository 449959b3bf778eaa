"""What is free inside one cell: the depth below its surface and the organelles that are there already.

Everything is asked at points and answered exactly: depth is linear in the tetrahedra whose zero set is the cell's mesh
(`polygonize`), so its sign decides whether a point lies inside that very mesh; distances to organelles are those to
the round cones that they are made of, found through a grid of buckets.
"""

from dataclasses import dataclass, field

import numba
import numpy as np
import numpy.typing as npt
from scipy import ndimage

from .arrival import FloatArray, Grid, RoundCones, round_cone_distance

WALL_UM = 0.011  # organelles keep this from their cell's surface: the plasma membrane and some cortex
REACH_UM = 0.25  # distances to organelles are known up to here
BUCKET_UM = 0.15
APART_UM = 0.006  # organelles keep this from each other

PLATE_APART_UM = 0.002  # and this from densities, which vesicles touch
REMOVED_UM = 0.03  # how far outside a piece that is taken away counts as lying
STEEPEST = 1.3  # by how much depth may change per µm: more than 1 where space is deformed and in tunnels

IntArray = npt.NDArray[np.integer]


@numba.njit(cache=True, nogil=True, inline="always")
def tetrahedral(values: FloatArray, origin: FloatArray, spacing: float, x: float, y: float, z: float) -> float:
    """The piecewise linear function of `polygonize`'s tetrahedra at a point; beyond the grid the nearest face's."""
    tx = min(max((x - origin[0]) / spacing, 0.0), values.shape[0] - 1.000001)
    ty = min(max((y - origin[1]) / spacing, 0.0), values.shape[1] - 1.000001)
    tz = min(max((z - origin[2]) / spacing, 0.0), values.shape[2] - 1.000001)
    i, j, k = int(tx), int(ty), int(tz)
    tx, ty, tz = tx - i, ty - j, tz - k
    first = values[i, j, k]
    last = values[i + 1, j + 1, k + 1]
    # From corner 0 to corner 7 along the axes in order of falling fraction.
    if tx >= ty:
        if ty >= tz:
            b, c = values[i + 1, j, k], values[i + 1, j + 1, k]
            high, middle, low = tx, ty, tz
        elif tx >= tz:
            b, c = values[i + 1, j, k], values[i + 1, j, k + 1]
            high, middle, low = tx, tz, ty
        else:
            b, c = values[i, j, k + 1], values[i + 1, j, k + 1]
            high, middle, low = tz, tx, ty
    elif tx >= tz:
        b, c = values[i, j + 1, k], values[i + 1, j + 1, k]
        high, middle, low = ty, tx, tz
    elif ty >= tz:
        b, c = values[i, j + 1, k], values[i, j + 1, k + 1]
        high, middle, low = ty, tz, tx
    else:
        b, c = values[i, j, k + 1], values[i, j + 1, k + 1]
        high, middle, low = tz, ty, tx
    return float(first + high * (b - first) + middle * (c - b) + low * (last - c))


@numba.njit(cache=True, nogil=True)
def _depths(values: FloatArray, origin: FloatArray, spacing: float, points: FloatArray) -> FloatArray:
    out = np.empty(points.shape[0])
    for n in range(points.shape[0]):
        out[n] = tetrahedral(values, origin, spacing, points[n, 0], points[n, 1], points[n, 2])
    return out


@numba.njit(cache=True, nogil=True, inline="always")
def _bucket(low: float, position: float, count: int) -> int:
    return min(max(int(np.floor((position - low) / BUCKET_UM)), 0), count - 1)


@numba.njit(cache=True, nogil=True)
def _enlist(
    cones: FloatArray, first: int, last: int, low: FloatArray, head: IntArray, entry: IntArray, count: int
) -> int:
    """Enter cones first … last - 1 into all buckets within reach; entry (n, 2): cone, next. The new count, or -1."""
    for c in range(first, last):
        wide = max(cones[c, 6], cones[c, 7]) + REACH_UM
        i0 = _bucket(low[0], min(cones[c, 0], cones[c, 3]) - wide, head.shape[0])
        i1 = _bucket(low[0], max(cones[c, 0], cones[c, 3]) + wide, head.shape[0])
        j0 = _bucket(low[1], min(cones[c, 1], cones[c, 4]) - wide, head.shape[1])
        j1 = _bucket(low[1], max(cones[c, 1], cones[c, 4]) + wide, head.shape[1])
        k0 = _bucket(low[2], min(cones[c, 2], cones[c, 5]) - wide, head.shape[2])
        k1 = _bucket(low[2], max(cones[c, 2], cones[c, 5]) + wide, head.shape[2])
        if count + (i1 - i0 + 1) * (j1 - j0 + 1) * (k1 - k0 + 1) > entry.shape[0]:
            return -c - 1
        for i in range(i0, i1 + 1):
            for j in range(j0, j1 + 1):
                for k in range(k0, k1 + 1):
                    entry[count, 0] = c
                    entry[count, 1] = head[i, j, k]
                    head[i, j, k] = count
                    count += 1
    return count


@numba.njit(cache=True, nogil=True, inline="always")
def _room_at(
    x: float,
    y: float,
    z: float,
    values: FloatArray,
    origin: FloatArray,
    spacing: float,
    wall: float,
    plates: FloatArray,
    cones: FloatArray,
    low: FloatArray,
    head: IntArray,
    entry: IntArray,
) -> float:
    depth = tetrahedral(values, origin, spacing, x, y, z)
    room = depth - wall
    for n in range(plates.shape[0]):
        dx, dy, dz = x - plates[n, 0], y - plates[n, 1], z - plates[n, 2]
        # Both are lower bounds of the distance to the plate.
        aside = np.sqrt(dx * dx + dy * dy + dz * dz) - plates[n, 3]
        room = min(room, max((depth - plates[n, 4]) / STEEPEST, aside) - PLATE_APART_UM)
    if cones.shape[0] > 0:
        n = head[
            _bucket(low[0], x, head.shape[0]), _bucket(low[1], y, head.shape[1]), _bucket(low[2], z, head.shape[2])
        ]
        while n >= 0:
            room = min(room, round_cone_distance(x, y, z, cones[entry[n, 0]]) - APART_UM)
            n = entry[n, 1]
    return room


@numba.njit(cache=True, nogil=True)
def _rooms(
    points: FloatArray,
    values: FloatArray,
    origin: FloatArray,
    spacing: float,
    wall: float,
    plates: FloatArray,
    cones: FloatArray,
    low: FloatArray,
    head: IntArray,
    entry: IntArray,
) -> FloatArray:
    out = np.empty(points.shape[0])
    for n in range(points.shape[0]):
        out[n] = _room_at(
            points[n, 0], points[n, 1], points[n, 2], values, origin, spacing, wall, plates, cones, low, head, entry
        )
    return out


# The neighbours that an edge of the tetrahedra joins a node to.
_JOINED = np.zeros((3, 3, 3), bool)
for _step in ((0, 0, 1), (0, 1, 0), (1, 0, 0), (0, 1, 1), (1, 0, 1), (1, 1, 0), (1, 1, 1), (0, 0, 0)):
    _JOINED[tuple(1 + s for s in _step)] = _JOINED[tuple(1 - s for s in _step)] = True


def only_piece(depth_um: FloatArray, nodes: tuple[IntArray, ...]) -> FloatArray:
    """The depth field with all but one of the body's pieces taken away: the one that holds most of the given nodes."""
    pieces, count = ndimage.label(depth_um > 0, structure=_JOINED)
    if count == 1:
        return depth_um
    held = np.bincount(pieces[nodes], minlength=count + 1)
    held[0] = 0
    return np.where((pieces > 0) & (pieces != np.argmax(held)), np.float32(-REMOVED_UM), depth_um)


def nodes_beside(grid: Grid, vertices_um: FloatArray) -> tuple[IntArray, ...]:
    """The ends of the edges on which a mesh's vertices (n, 3) lie, one inside and one outside each, (2 n,) per axis."""
    at = (vertices_um - grid.origin_um) / grid.spacing_um
    ends = np.vstack([np.floor(at + 1e-6), np.ceil(at - 1e-6)]).astype(int)
    return tuple(np.clip(ends, 0, np.array(grid.shape) - 1).T)


@numba.njit(cache=True, nogil=True, inline="always")
def cube_key(i: int, j: int, k: int) -> np.int64:
    """One number for a cube of a lattice, in the order of i, j, k from -65536 on."""
    return np.int64(((i + 65536) << 40) + ((j + 65536) << 20) + k + 65536)


@dataclass
class CellInterior:
    """What is free inside a cell. depth_um: distance below the surface on a grid (negative outside)."""

    grid: Grid
    depth_um: FloatArray
    wall_um: float = WALL_UM
    _plates: FloatArray = field(default_factory=lambda: np.empty((0, 5)), repr=False)
    _cones: FloatArray = field(default_factory=lambda: np.empty((0, 8)), repr=False)
    _head: IntArray = field(default_factory=lambda: np.full((1, 1, 1), -1, np.int32), repr=False)
    _entry: IntArray = field(default_factory=lambda: np.empty((0, 2), np.int32), repr=False)
    _entries: int = field(default=0, repr=False)

    def depth(self, points_um: FloatArray) -> FloatArray:
        """Depth (µm) below the cell's surface at points (n, 3): positive exactly inside its mesh."""
        points = np.ascontiguousarray(np.atleast_2d(points_um), np.float64)
        return np.asarray(_depths(self.depth_um, self.grid.origin_um, self.grid.spacing_um, points))

    def lookup(
        self,
    ) -> tuple[FloatArray, FloatArray, float, float, FloatArray, FloatArray, FloatArray, IntArray, IntArray]:
        """The arguments of `_room_at` after the point, for compiled loops."""
        return (
            self.depth_um,
            np.asarray(self.grid.origin_um, np.float64),
            self.grid.spacing_um,
            self.wall_um,
            self._plates,
            self._cones,
            np.asarray(self.grid.origin_um, np.float64),
            self._head,
            self._entry,
        )

    def room(self, points_um: FloatArray) -> FloatArray:
        """Free distance (µm) at points (n, 3), to the cell's wall and to the organelles there, which is at least so
        far away; beyond REACH_UM organelles do not count."""
        points = np.ascontiguousarray(np.atleast_2d(points_um), np.float64)
        return np.asarray(_rooms(points, *self.lookup()))

    def occupy(self, cones: RoundCones) -> None:
        """Keep later organelles out of a union of round cones."""
        packed = cones.packed()
        if len(self._cones) == 0:
            extent = np.array(self.grid.shape) * self.grid.spacing_um
            self._head = np.full(tuple(int(n) for n in np.ceil(extent / BUCKET_UM) + 1), -1, np.int32)
            self._entry = np.empty((1024, 2), np.int32)
        first = len(self._cones)
        self._cones = np.vstack([self._cones, packed])
        low = np.asarray(self.grid.origin_um, np.float64)
        while first < len(self._cones):
            # One cone at a time past a full table, so that none is entered twice.
            done = _enlist(self._cones, first, first + 1, low, self._head, self._entry, self._entries)
            if done < 0:
                self._entry = np.vstack([self._entry, np.empty_like(self._entry)])
                continue
            self._entries = done
            first += 1

    def occupy_balls(self, centres_um: FloatArray, radii_um: FloatArray) -> None:
        """Keep later organelles out of balls (n, 3), (n,)."""
        if len(centres_um):
            self.occupy(RoundCones(centres_um, centres_um + np.array([1e-6, 0, 0]), radii_um, radii_um))

    def occupy_plate(self, centre_um: FloatArray, radius_um: float, depth_um: float) -> None:
        """Keep organelles out of what lies above depth_um within a ball: a synaptic density."""
        self._plates = np.vstack([self._plates, [[*centre_um, radius_um, depth_um]]])

    def below(self, depth_um: float | FloatArray) -> "CellInterior":
        """The inner body that begins depth_um (a number, or one per node) below the surface, empty of organelles."""
        return CellInterior(self.grid, (self.depth_um - depth_um).astype(np.float32), self.wall_um)

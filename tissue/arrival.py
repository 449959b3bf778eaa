"""Contact inflation in closed form: every neurite grows at one speed until it meets a neighbour.

A swept neurite is the union of round cones along its skeleton. Growing it outward by t gives the points with
D(x) = min_p |x - p| - r(p) <= t, so D is the time at which the growing surface arrives at x. If all cells grow at
the same speed and stop where they meet, cell i ends up owning the points at which it arrives first: the cells of an
additively weighted (Apollonius) Voronoi diagram of the skeletons (Aurenhammer 1991, ACM Comput. Surv. 23:345).
Three properties follow, and the block's certificates check them afterwards:

* disjoint: no point is owned twice;
* one piece: the straight line from x to its nearest skeleton point stays inside the cell (D falls with slope one
  along it, any other cell's D falls no faster);
* a minimum gap: with D_j - D_i >= gap on i's side and the reverse on j's side, two surfaces are at least one gap
  apart, because D_j - D_i has slope two at most.
"""

from dataclasses import dataclass
from typing import Protocol

import numba
import numpy as np
import numpy.typing as npt

from .threads import in_slabs

FloatArray = npt.NDArray[np.floating]

FAR_UM = np.float32(1e3)


@dataclass(frozen=True)
class RoundCones:
    """Segments (n) with a radius at each end, the sweep's exact shape. Points in µm, order x, y, z."""

    start_um: FloatArray  # (n, 3)
    end_um: FloatArray  # (n, 3)
    start_radius_um: FloatArray  # (n,)
    end_radius_um: FloatArray  # (n,)

    def packed(self) -> FloatArray:
        """(n, 8) float64: start xyz, end xyz, two radii."""
        return np.ascontiguousarray(
            np.column_stack([self.start_um, self.end_um, self.start_radius_um, self.end_radius_um]),
            np.float64,
        )


@dataclass(frozen=True)
class Grid:
    """A regular lattice of nodes: node (i, j, k) of an array [x, y, z] lies at origin_um + (i, j, k) * spacing_um."""

    origin_um: FloatArray  # (3,)
    spacing_um: float
    shape: tuple[int, int, int]  # x, y, z

    @classmethod
    def around(cls, low_um: FloatArray, high_um: FloatArray, spacing_um: float) -> "Grid":
        """The smallest grid of this spacing that starts at low_um and reaches high_um."""
        counts = np.ceil((np.asarray(high_um) - low_um) / spacing_um - 1e-9).astype(int) + 1
        return cls(np.asarray(low_um, float), float(spacing_um), (int(counts[0]), int(counts[1]), int(counts[2])))

    def sub_grid(self, low_um: FloatArray, high_um: FloatArray) -> tuple["Grid", tuple[slice, slice, slice]]:
        """The nodes that cover a box (clipped to this grid), and where they lie in this grid's arrays."""
        first = np.clip(np.floor((np.asarray(low_um) - self.origin_um) / self.spacing_um), 0, np.array(self.shape) - 2)
        last = np.ceil((np.asarray(high_um) - self.origin_um) / self.spacing_um) + 1
        last = np.clip(last, first + 2, self.shape)
        a, b = first.astype(int), last.astype(int)
        window = (slice(int(a[0]), int(b[0])), slice(int(a[1]), int(b[1])), slice(int(a[2]), int(b[2])))
        extent = b - a
        sub = Grid(
            self.origin_um + a * self.spacing_um,
            self.spacing_um,
            (int(extent[0]), int(extent[1]), int(extent[2])),
        )
        return sub, window

    def nodes(self) -> FloatArray:
        """(nx, ny, nz, 3) node positions in µm."""
        axes = [self.origin_um[d] + np.arange(self.shape[d]) * self.spacing_um for d in range(3)]
        return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)


@numba.njit(cache=True, inline="always")
def round_cone_distance(x: float, y: float, z: float, cone: FloatArray) -> float:
    """Signed distance (µm) from a point to a round cone; Quilez, "Round Cone - exact", iquilezles.org."""
    bax, bay, baz = cone[3] - cone[0], cone[4] - cone[1], cone[5] - cone[2]
    pax, pay, paz = x - cone[0], y - cone[1], z - cone[2]
    rr = cone[6] - cone[7]
    l2 = bax * bax + bay * bay + baz * baz
    a2 = l2 - rr * rr
    pa2 = pax * pax + pay * pay + paz * paz
    if a2 <= 1e-18:  # one sphere swallows the other
        pbx, pby, pbz = x - cone[3], y - cone[4], z - cone[5]
        return min(np.sqrt(pa2) - cone[6], np.sqrt(pbx * pbx + pby * pby + pbz * pbz) - cone[7])
    il2 = 1.0 / l2
    along = pax * bax + pay * bay + paz * baz
    back = along - l2
    qx, qy, qz = pax * l2 - bax * along, pay * l2 - bay * along, paz * l2 - baz * along
    x2 = qx * qx + qy * qy + qz * qz
    y2 = along * along * l2
    z2 = back * back * l2
    k = np.sign(rr) * rr * rr * x2
    if np.sign(back) * a2 * z2 > k:
        return np.sqrt(x2 + z2) * il2 - cone[7]
    if np.sign(along) * a2 * y2 < k:
        return np.sqrt(x2 + y2) * il2 - cone[6]
    return (np.sqrt(x2 * a2 * il2) + along * rr) * il2 - cone[6]


@numba.njit(cache=True)
def _nodes_within(
    cone: FloatArray, wide: float, origin: FloatArray, spacing: float, shape: tuple[int, int, int]
) -> tuple[int, int, int, int, int, int]:
    """First and last node per axis of the box `wide` µm around a cone's axis, within an array's shape."""
    i0 = max(0, int(np.ceil((min(cone[0], cone[3]) - wide - origin[0]) / spacing)))
    i1 = min(shape[0] - 1, int(np.floor((max(cone[0], cone[3]) + wide - origin[0]) / spacing)))
    j0 = max(0, int(np.ceil((min(cone[1], cone[4]) - wide - origin[1]) / spacing)))
    j1 = min(shape[1] - 1, int(np.floor((max(cone[1], cone[4]) + wide - origin[1]) / spacing)))
    k0 = max(0, int(np.ceil((min(cone[2], cone[5]) - wide - origin[2]) / spacing)))
    k1 = min(shape[2] - 1, int(np.floor((max(cone[2], cone[5]) + wide - origin[2]) / spacing)))
    return i0, i1, j0, j1, k0, k1


@numba.njit(cache=True, nogil=True, inline="always")
def _middle_and_half(cone: FloatArray) -> tuple[float, float, float, float]:
    """The middle of a cone's axis, and how far from it the cone's surface lies at most."""
    x, y, z = 0.5 * (cone[0] + cone[3]), 0.5 * (cone[1] + cone[4]), 0.5 * (cone[2] + cone[5])
    half = 0.5 * np.sqrt((cone[3] - cone[0]) ** 2 + (cone[4] - cone[1]) ** 2 + (cone[5] - cone[2]) ** 2)
    return x, y, z, half + max(cone[6], cone[7])


@numba.njit(cache=True, nogil=True)
def lower_to_cones(field: FloatArray, origin: FloatArray, spacing: float, cones: FloatArray, reach: float) -> None:
    """field[x, y, z] = min(field, distance to any cone), on the nodes within reach (µm) of a cone's surface."""
    for c in range(cones.shape[0]):
        cone = cones[c]
        wide = reach + max(cone[6], cone[7])
        i0, i1, j0, j1, k0, k1 = _nodes_within(cone, wide, origin, spacing, field.shape)
        mx, my, mz, half = _middle_and_half(cone)
        for i in range(i0, i1 + 1):
            x = origin[0] + i * spacing
            for j in range(j0, j1 + 1):
                y = origin[1] + j * spacing
                across2 = (x - mx) ** 2 + (y - my) ** 2
                for k in range(k0, k1 + 1):
                    z = origin[2] + k * spacing
                    # Most nodes are nearer to what is there already than they can be to this cone.
                    known = field[i, j, k] + half
                    if known <= 0 or across2 + (z - mz) ** 2 >= known * known:
                        continue
                    d = round_cone_distance(x, y, z, cone)
                    if d < field[i, j, k]:
                        field[i, j, k] = d


@numba.njit(cache=True)
def _lower_to_cones_at(
    field: FloatArray,
    positions: FloatArray,
    origin: FloatArray,
    spacing: float,
    cones: FloatArray,
    reach: float,
    displaced: float,
) -> None:
    """As lower_to_cones, for nodes that lie elsewhere: at positions (nx, ny, nz, 3), at most `displaced` µm away."""
    for c in range(cones.shape[0]):
        cone = cones[c]
        wide = reach + max(cone[6], cone[7]) + displaced
        i0, i1, j0, j1, k0, k1 = _nodes_within(cone, wide, origin, spacing, field.shape)
        for i in range(i0, i1 + 1):
            for j in range(j0, j1 + 1):
                for k in range(k0, k1 + 1):
                    d = round_cone_distance(positions[i, j, k, 0], positions[i, j, k, 1], positions[i, j, k, 2], cone)
                    if d < field[i, j, k] and d < reach:
                        field[i, j, k] = d


def arrival_time(
    grid: Grid, cones: RoundCones, reach_um: float, warp: "SpaceWarp | None" = None
) -> npt.NDArray[np.float32]:
    """D(x) in µm of one cell on a grid: float32, shape of the grid; FAR_UM beyond reach_um of the sweep.

    With a warp, cones are given in flat space and the grid lies in the tissue.
    """
    field = np.full(grid.shape, FAR_UM, np.float32)
    if warp is None:
        lower_to_cones(field, grid.origin_um, grid.spacing_um, cones.packed(), reach_um)
    else:
        _lower_to_cones_at(
            field,
            warp.nodes(grid),
            grid.origin_um,
            grid.spacing_um,
            cones.packed(),
            reach_um,
            warp.largest_um,
        )
    return field


class SpaceWarp(Protocol):
    """What arrival times need of a deformation (neuropil.tissue.warp.Warp)."""

    @property
    def largest_um(self) -> float: ...
    def nodes(self, grid: Grid) -> FloatArray: ...
    def to_tissue(self, points_um: FloatArray) -> FloatArray: ...


# A cone's nodes are looked for this much farther around where it lies in the tissue, since the warp may part them.
WARPED_REACH = 1.25
RANKS = 3  # how many of the earliest arrivals are kept at a node: two make a membrane, the third makes it a corner


@dataclass(frozen=True)
class Arrivals:
    """The three earliest arrivals at each node, of three different cells.

    time_um: (3, nx, ny, nz) float32, growth in µm, rising along the first axis; FAR_UM where nobody arrives.
    cell: (3, nx, ny, nz) int32, which cell arrives; -1 for nobody.
    part: (nx, ny, nz) int16, the SWC type of the piece of the first cell that arrives.
    """

    grid: Grid
    time_um: npt.NDArray[np.float32]
    cell: npt.NDArray[np.int32]
    part: npt.NDArray[np.int16]

    @property
    def owner(self) -> npt.NDArray[np.int32]:
        """(nx, ny, nz): the cell that arrives first."""
        return self.cell[0]

    @property
    def runner_up(self) -> npt.NDArray[np.int32]:
        """(nx, ny, nz): the cell that arrives second."""
        return self.cell[1]

    @property
    def first_um(self) -> npt.NDArray[np.float32]:
        """(nx, ny, nz): when the first cell arrives."""
        return self.time_um[0]

    @property
    def second_um(self) -> npt.NDArray[np.float32]:
        """(nx, ny, nz): when the second cell arrives."""
        return self.time_um[1]


@numba.njit(cache=True, nogil=True, inline="always")
def insert_arrival(
    time: FloatArray, cell: npt.NDArray[np.int32], i: int, j: int, k: int, when: float, who: int
) -> bool:
    """Rank one more arrival among a node's three; True if it is now the first."""
    last = 2
    for rank in range(2):
        if cell[rank, i, j, k] == who:
            last = rank
            break
    if when >= time[last, i, j, k]:
        return False
    rank = last
    while rank > 0 and time[rank - 1, i, j, k] > when:
        time[rank, i, j, k] = time[rank - 1, i, j, k]
        cell[rank, i, j, k] = cell[rank - 1, i, j, k]
        rank -= 1
    time[rank, i, j, k] = when
    cell[rank, i, j, k] = who
    return rank == 0


@numba.njit(cache=True, nogil=True)
def _arrive(
    time: FloatArray,
    cell: npt.NDArray[np.int32],
    part: npt.NDArray[np.int16],
    positions: FloatArray,
    origin: FloatArray,
    spacing: float,
    cones: FloatArray,
    moved: FloatArray,
    cone_cell: npt.NDArray[np.int32],
    cone_part: npt.NDArray[np.int16],
    reach: float,
    first: int,
    stop: int,
) -> None:
    """All cones' arrivals at the nodes whose first index lies in [first, stop)."""
    shape = part.shape
    for c in range(cones.shape[0]):
        cone = cones[c]
        wide = reach + max(cone[6], cone[7])
        i0, i1, j0, j1, k0, k1 = _nodes_within(moved[c], WARPED_REACH * wide, origin, spacing, shape)
        x, y, z, half = _middle_and_half(cone)
        for i in range(max(i0, first), min(i1, stop - 1) + 1):
            for j in range(j0, j1 + 1):
                for k in range(k0, k1 + 1):
                    px, py, pz = positions[i, j, k, 0], positions[i, j, k, 1], positions[i, j, k, 2]
                    # One that cannot be among the first three need not be worked out.
                    known = min(time[RANKS - 1, i, j, k], reach) + half
                    if known <= 0 or (px - x) ** 2 + (py - y) ** 2 + (pz - z) ** 2 >= known * known:
                        continue
                    d = round_cone_distance(px, py, pz, cone)
                    if d < reach and insert_arrival(time, cell, i, j, k, d, cone_cell[c]):
                        part[i, j, k] = cone_part[c]


def earliest_arrivals(
    grid: Grid, cells: list[RoundCones], reach_um: float, warp: SpaceWarp, parts: list[npt.NDArray[np.int16]]
) -> Arrivals:
    """The three earliest arrivals of all cells within reach_um of their sweeps.

    The index in `cells` names the cell; parts: the SWC type of each of its cones, as many.
    """
    arrivals = Arrivals(
        grid,
        np.full((RANKS, *grid.shape), FAR_UM, np.float32),
        np.full((RANKS, *grid.shape), -1, np.int32),
        np.zeros(grid.shape, np.int16),
    )
    positions = warp.nodes(grid)
    cones = np.vstack([c.packed() for c in cells]) if cells else np.empty((0, 8))
    moved = np.hstack([warp.to_tissue(cones[:, :3]), warp.to_tissue(cones[:, 3:6]), cones[:, 6:]])
    owner = np.repeat(np.arange(len(cells), dtype=np.int32), [len(c.start_um) for c in cells])
    part = np.concatenate(parts).astype(np.int16) if cells else np.empty(0, np.int16)

    def slab(first: int, stop: int) -> None:
        _arrive(
            arrivals.time_um, arrivals.cell, arrivals.part, positions, grid.origin_um, grid.spacing_um, cones, moved,
            owner, part, reach_um, first, stop,
        )  # fmt: skip

    in_slabs(slab, grid.shape[0])
    return arrivals


@numba.njit(cache=True)
def interpolate(field: FloatArray, origin: FloatArray, spacing: float, points: FloatArray) -> FloatArray:
    """Trilinear values of field[x, y, z] at points (n, 3) µm; outside the grid the nearest face's value."""
    values = np.empty(points.shape[0], np.float32)
    for n in range(points.shape[0]):
        cell = np.empty(3, np.int64)
        part = np.empty(3)
        for d in range(3):
            t = (points[n, d] - origin[d]) / spacing
            t = min(max(t, 0.0), field.shape[d] - 1.000001)
            cell[d] = int(t)
            part[d] = t - cell[d]
        total = 0.0
        for corner in range(8):
            a, b, c = corner & 1, (corner >> 1) & 1, (corner >> 2) & 1
            weight = (part[0] if a else 1 - part[0]) * (part[1] if b else 1 - part[1]) * (part[2] if c else 1 - part[2])
            total += weight * field[cell[0] + a, cell[1] + b, cell[2] + c]
        values[n] = total
    return values

"""Distances between round cones, and all pairs of them that come near: the exact check behind circuit blocks.

A round cone is the union of the balls whose centres run along a segment while their radii change linearly: the
convex hull of its two end balls. With P(s), Q(t) on the two segments, the distance between two of them is the
least of |P(s) - Q(t)| - p(s) - q(t) over the unit square, negative where they overlap. That function is convex
(a norm of an affine map less an affine map), so a point where its gradient vanishes is the least of all, and where
there is none the least lies on an edge of the square, where one end ball meets a whole cone. Both have closed forms.
"""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

Cones = NDArray[np.float64]  # (n, 8): start x, y, z, end x, y, z, start radius, end radius, in µm
# Edge of a bin of the search, and how many bins there may be.
BIN_UM = 2.5
MOST_BINS = 8_000_000
# Segments more parallel than this have their least distance, to rounding, at an end of one of them.
PARALLEL = 1e-14


@numba.njit(cache=True, inline="always")
def _end_to_cone(
    px: float, py: float, pz: float, cone: NDArray[np.float64], vx: float, vy: float, vz: float, vv: float
) -> tuple[float, float]:
    """Distance of a point from a round cone's surface, and where along the cone (0 to 1) it is reached."""
    x, y, z = px - cone[0], py - cone[1], pz - cone[2]
    rise = cone[7] - cone[6]
    share = 0.0
    if vv > rise * rise:
        length = np.sqrt(vv)
        slope = rise / length
        along = (x * vx + y * vy + z * vz) / length
        square = x * x + y * y + z * z - along * along
        aside = np.sqrt(square) if square > 0 else 0.0
        share = (along + slope * aside / np.sqrt(1 - slope * slope)) / length
        share = min(1.0, max(0.0, share))
    elif rise > 0:  # the end ball holds the start ball
        share = 1.0
    x, y, z = x - share * vx, y - share * vy, z - share * vz
    return np.sqrt(x * x + y * y + z * z) - cone[6] - share * rise, share


@numba.njit(cache=True)
def cone_distance(a: NDArray[np.float64], b: NDArray[np.float64]) -> tuple[float, float, float]:
    """Distance (µm) between the surfaces of two round cones (8,), negative where they overlap, and the places s on
    `a` and t on `b`, from 0 to 1, whose balls come that near."""
    ux, uy, uz = a[3] - a[0], a[4] - a[1], a[5] - a[2]
    vx, vy, vz = b[3] - b[0], b[4] - b[1], b[5] - b[2]
    uu = ux * ux + uy * uy + uz * uz
    vv = vx * vx + vy * vy + vz * vz
    best, best_s, best_t = np.inf, 0.0, 0.0
    for end in range(2):
        distance, t = _end_to_cone(a[3 * end], a[3 * end + 1], a[3 * end + 2], b, vx, vy, vz, vv)
        if distance - a[6 + end] < best:
            best, best_s, best_t = distance - a[6 + end], float(end), t
        distance, s = _end_to_cone(b[3 * end], b[3 * end + 1], b[3 * end + 2], a, ux, uy, uz, uu)
        if distance - b[6 + end] < best:
            best, best_s, best_t = distance - b[6 + end], s, float(end)
    uv = ux * vx + uy * vy + uz * vz
    det = uu * vv - uv * uv
    if det <= PARALLEL * uu * vv:
        return best, best_s, best_t
    # Where the gradient vanishes, the unit vector n from Q to P has n·u = p' and n·v = -q'.
    du, dv = a[7] - a[6], b[7] - b[6]
    alpha, beta = (du * vv + dv * uv) / det, (-dv * uu - du * uv) / det
    square = alpha * du - beta * dv
    if square >= 1:
        return best, best_s, best_t
    wx, wy, wz = a[0] - b[0], a[1] - b[1], a[2] - b[2]
    mx, my, mz = uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx
    apart = wx * mx + wy * my + wz * mz
    gamma = np.sqrt((1 - square) / det)
    if apart < 0:
        gamma = -gamma
    length = apart / (gamma * det)
    yx = length * (alpha * ux + beta * vx + gamma * mx) - wx
    yy = length * (alpha * uy + beta * vy + gamma * my) - wy
    yz = length * (alpha * uz + beta * vz + gamma * mz) - wz
    yu, yv = yx * ux + yy * uy + yz * uz, yx * vx + yy * vy + yz * vz
    s, t = (yu * vv - yv * uv) / det, (yu * uv - yv * uu) / det
    if 0 <= s <= 1 and 0 <= t <= 1:
        # Computed from the places, not from `length`: never below the true least by more than rounding.
        x, y, z = wx + s * ux - t * vx, wy + s * uy - t * vy, wz + s * uz - t * vz
        distance = np.sqrt(x * x + y * y + z * z) - a[6] - s * du - b[6] - t * dv
        if distance < best:
            best, best_s, best_t = distance, s, t
    return best, best_s, best_t


def near_pairs(
    cones: Cones, owners: NDArray[np.int64], reach_um: float, resting: Cones | None = None
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """All pairs of cones of different owners that are nearer to each other than `reach_um`.

    Exhaustive: every pair whose boxes come that near is measured. With `resting`, the same cones at an earlier
    time, pairs of one owner count too where they were `reach_um` apart then: branches that may not come to touch.

    Returns:
        (k, 2) indices, the smaller one first, in a fixed order, and (k,) distances in µm.
    """
    if not len(cones):
        return np.empty((0, 2), np.int64), np.empty(0)
    wide = np.maximum(cones[:, 6], cones[:, 7])[:, None] + reach_um / 2
    low = np.minimum(cones[:, :3], cones[:, 3:6]) - wide
    high = np.maximum(cones[:, :3], cones[:, 3:6]) + wide
    corner = low.min(axis=0)
    extent = high.max(axis=0) - corner
    edge = max(BIN_UM, float(np.cbrt(np.prod(extent) / MOST_BINS)))
    counts = np.floor(extent / edge).astype(np.int64) + 1
    first = np.floor((low - corner) / edge).astype(np.int64)
    last = np.floor((high - corner) / edge).astype(np.int64)
    starts, members = _binned(first, last, counts)
    both = cones if resting is None else resting
    return _measured_pairs(
        cones, both, resting is not None, owners, low, high, corner, edge, counts, starts, members, reach_um
    )


@numba.njit(cache=True)
def _binned(
    first: NDArray[np.int64], last: NDArray[np.int64], counts: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Members of each bin one after the other, and where each bin starts among them."""
    starts = np.zeros(counts[0] * counts[1] * counts[2] + 1, np.int64)
    for n in range(len(first)):
        for i in range(first[n, 0], last[n, 0] + 1):
            for j in range(first[n, 1], last[n, 1] + 1):
                for k in range(first[n, 2], last[n, 2] + 1):
                    starts[(i * counts[1] + j) * counts[2] + k + 1] += 1
    starts = np.cumsum(starts)
    members = np.empty(starts[-1], np.int32)
    free = starts[:-1].copy()
    for n in range(len(first)):
        for i in range(first[n, 0], last[n, 0] + 1):
            for j in range(first[n, 1], last[n, 1] + 1):
                for k in range(first[n, 2], last[n, 2] + 1):
                    place = (i * counts[1] + j) * counts[2] + k
                    members[free[place]] = n
                    free[place] += 1
    return starts, members


@numba.njit(cache=True)
def _measured_pairs(
    cones: NDArray[np.float64],
    resting: NDArray[np.float64],
    with_own: bool,
    owners: NDArray[np.int64],
    low: NDArray[np.float64],
    high: NDArray[np.float64],
    corner: NDArray[np.float64],
    edge: float,
    counts: NDArray[np.int64],
    starts: NDArray[np.int64],
    members: NDArray[np.int32],
    reach: float,
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    pairs = np.empty((1024, 2), np.int64)
    distances = np.empty(1024)
    found = 0
    for place in range(len(starts) - 1):
        for here in range(starts[place], starts[place + 1]):
            m = members[here]
            for there in range(here + 1, starts[place + 1]):
                n = members[there]
                own = owners[m] == owners[n]
                if own and not with_own:
                    continue
                apart = False
                bin_of_pair = np.int64(0)
                for axis in range(3):
                    lowest = max(low[m, axis], low[n, axis])
                    if lowest > min(high[m, axis], high[n, axis]):
                        apart = True
                        break
                    bin_of_pair = bin_of_pair * counts[axis] + np.int64(np.floor((lowest - corner[axis]) / edge))
                # Each pair is measured in the one bin where the boxes' common part begins.
                if apart or bin_of_pair != place:
                    continue
                distance = cone_distance(cones[m], cones[n])[0]
                if distance >= reach or (own and cone_distance(resting[m], resting[n])[0] < reach):
                    continue
                if found == len(distances):
                    more = np.empty((2 * found, 2), np.int64)
                    more[:found] = pairs
                    pairs = more
                    longer = np.empty(2 * found)
                    longer[:found] = distances
                    distances = longer
                pairs[found, 0], pairs[found, 1] = min(m, n), max(m, n)
                distances[found] = distance
                found += 1
    return pairs[:found].copy(), distances[:found].copy()

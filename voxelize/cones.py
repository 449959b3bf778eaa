"""Round cones into voxels much larger than they are thick: how much of each voxel is filled, by what, by which cell.

Light microscopes see what a voxel holds, not what lies at its centre: a neurite of 0.1 µm in a voxel of 0.3 x 0.3 x
1 µm is a few percent of it. Each cone is crossed by columns along z that stand closer than it is wide; a round cone
is convex, so a column meets it in one interval, whose ends have a closed form. Along z nothing is sampled. Where
cones of one cell overlap, at joints and branches, a column counts for the first of them only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray

from .solid import Box
from .volume import Triple, Volume, checked_voxel_size

FULL = 65535
# Columns across the thinner end of a cone: its volume is then right within 1.5 % even where it runs along a row of
# columns, the worst case.
COLUMNS_ACROSS = 8
# Columns along each edge of a voxel, however thick the cone.
FEWEST_COLUMNS, MOST_COLUMNS = 3, 128


@dataclass(frozen=True, eq=False)
class ConeBody:
    """The round cones of one instance.

    cones: (n, 8) float64: start x, y, z, end x, y, z, start and end radius in µm; a ball where both ends are one.
    classes: (n,) uint8, class of each, above 0; where cones overlap, the first counts.
    instance: uint32 above 0. stained: whether its volume counts in `volume_fraction`.
    """

    cones: NDArray[np.float64]
    classes: NDArray[np.uint8]
    instance: int
    stained: bool = True


@dataclass(frozen=True, eq=False)
class ConeVoxels:
    """What the voxels of one box hold, each a Volume on the same lattice.

    instances: uint32, the instance that fills most of the voxel, 0 where there is none; classes: uint8, the class
    that fills most of what this instance fills; volume_fraction: uint16, share of the voxel's volume within stained
    bodies, FULL for all of it.
    """

    instances: Volume
    classes: Volume
    volume_fraction: Volume


def rasterize_cones(bodies: Sequence[ConeBody], voxel_size_nm: Triple, box: Box) -> ConeVoxels:
    """Fill the voxels of a box; bodies of different instances must not overlap.

    Voxel (0, 0, 0) of the lattice starts at x = y = z = 0. A box is the same alone and as a part of a larger one.

    Raises ValueError for a voxel size that is none, or a class or instance that is 0.
    """
    size = checked_voxel_size(voxel_size_nm)
    most, total = np.zeros(box.shape, np.float32), np.zeros(box.shape, np.float32)
    instances, classes = np.zeros(box.shape, np.uint32), np.zeros(box.shape, np.uint8)
    edges = np.array(size[::-1]) / 1000  # x, y, z in µm
    first = np.array(box.origin[::-1], np.int64)
    shape = np.array(box.shape[::-1], np.int64)
    # What the body under way fills of each voxel, by its classes; all zero between bodies.
    held = np.zeros((1, *box.shape), np.float32)
    for body in bodies:
        if body.instance < 1 or (len(body.classes) and int(body.classes.min()) < 1):
            raise ValueError("instances and classes of bodies are above 0, which stands for what is outside them.")
        wide = np.maximum(body.cones[:, 6], body.cones[:, 7])[:, None]
        low = np.minimum(body.cones[:, :3], body.cones[:, 3:6]) - wide
        high = np.maximum(body.cones[:, :3], body.cones[:, 3:6]) + wide
        near = ((low < (first + shape) * edges) & (high > first * edges)).all(axis=1)
        if not near.any():
            continue
        names, kinds = np.unique(body.classes[near], return_inverse=True)
        if len(names) > len(held):
            held = np.zeros((len(names), *box.shape), np.float32)
        cones, low, high = body.cones[near], low[near], high[near]
        starts, before = _overlapping_before(low, high, np.argsort(low[:, 0], kind="stable"))
        touched = _fill(cones, low, high, kinds.ravel(), starts, before, edges, first, shape, held)
        _take_over(touched, held, names, np.uint32(body.instance), body.stained, most, total, instances, classes)
    fraction = np.rint(np.minimum(total, 1.0) * FULL).astype(np.uint16)
    z, y, x = (at * edge for at, edge in zip(box.origin, size, strict=True))
    return ConeVoxels(*(Volume(array, size, (z, y, x)) for array in (instances, classes, fraction)))


@numba.njit(cache=True)
def _ball(x: float, y: float, centre: NDArray[np.float64], radius: float) -> tuple[float, float]:
    square = radius * radius - (x - centre[0]) ** 2 - (y - centre[1]) ** 2
    if square <= 0:
        return np.inf, -np.inf
    half = np.sqrt(square)
    return centre[2] - half, centre[2] + half


@numba.njit(cache=True)
def line_through_cone(x: float, y: float, cone: NDArray[np.float64]) -> tuple[float, float]:
    """First and last z at which the line at x, y along z is inside a round cone; inf, -inf where it misses it.

    The convex hull of two balls is the two balls and the piece of a circular cone that touches both along circles.
    """
    low, high = _ball(x, y, cone[:3], cone[6])
    other_low, other_high = _ball(x, y, cone[3:6], cone[7])
    low, high = min(low, other_low), max(high, other_high)
    ax, ay, az = cone[3] - cone[0], cone[4] - cone[1], cone[5] - cone[2]
    square = ax * ax + ay * ay + az * az
    rise = cone[7] - cone[6]
    if square <= rise * rise or square == 0:  # one ball holds the other
        return low, high
    length = np.sqrt(square)
    ax, ay, az = ax / length, ay / length, az / length
    sine = rise / length
    cosine = np.sqrt(1 - sine * sine)
    # The touching circles stand at h from the start, and the surface between has the radius w + k h.
    first, last = -cone[6] * sine, length - cone[7] * sine
    slope = sine / cosine
    waist = cone[6] * cosine - slope * first
    px, py = x - cone[0], y - cone[1]
    # With z from the start: h = h0 + az z, and the square of the distance from the axis is p² + z² - h².
    h0 = px * ax + py * ay
    grown = waist + slope * h0
    factor = 1 + slope * slope
    a = 1 - factor * az * az
    b = -h0 * az - grown * slope * az
    c = px * px + py * py - h0 * h0 - grown * grown
    if abs(a) < 1e-12:
        if abs(b) > 1e-15:
            z = -c / (2 * b)
            if first <= h0 + az * z <= last and waist + slope * (h0 + az * z) >= 0:
                low, high = min(low, cone[2] + z), max(high, cone[2] + z)
        return low, high
    under = b * b - a * c
    if under < 0:
        return low, high
    root = np.sqrt(under)
    for sign in (-1.0, 1.0):
        z = (-b + sign * root) / a
        h = h0 + az * z
        if first <= h <= last and waist + slope * h >= 0:
            low, high = min(low, cone[2] + z), max(high, cone[2] + z)
    return low, high


@numba.njit(cache=True)
def _overlapping_before(
    low: NDArray[np.float64], high: NDArray[np.float64], order: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """For each box those of lower index that it overlaps, one list after the other, and where each list starts.

    order: the boxes by their low x.
    """
    starts = np.zeros(len(low) + 1, np.int64)
    found = np.empty(0, np.int32)
    free = starts
    for filling in (False, True):
        for place in range(len(order)):
            m = order[place]
            for after in range(place + 1, len(order)):
                n = order[after]
                if low[n, 0] >= high[m, 0]:
                    break
                if (
                    low[n, 1] < high[m, 1]
                    and high[n, 1] > low[m, 1]
                    and low[n, 2] < high[m, 2]
                    and high[n, 2] > low[m, 2]
                ):
                    later, earlier = max(m, n), min(m, n)
                    if filling:
                        found[free[later]] = earlier
                        free[later] += 1
                    else:
                        starts[later + 1] += 1
        if not filling:
            starts = np.cumsum(starts)
            found = np.empty(starts[-1], np.int32)
            free = starts.copy()
    return starts, found


@numba.njit(cache=True)
def _columns_per_voxel(edge: float, cone: NDArray[np.float64]) -> int:
    width = 2 * min(cone[6], cone[7])
    return min(MOST_COLUMNS, max(FEWEST_COLUMNS, int(np.ceil(edge * COLUMNS_ACROSS / width))))


@numba.njit(cache=True)
def _fill(
    cones: NDArray[np.float64],
    low: NDArray[np.float64],
    high: NDArray[np.float64],
    kinds: NDArray[np.int64],
    starts: NDArray[np.int64],
    before: NDArray[np.int32],
    edges: NDArray[np.float64],
    first: NDArray[np.int64],
    shape: NDArray[np.int64],
    held: NDArray[np.float32],
) -> NDArray[np.int64]:
    """Add one body's cones to `held` (class, z, y, x), in voxels; returns the (k, 3) voxels touched, some twice."""
    touched = np.empty((4096, 3), np.int64)
    count = 0
    covered = np.empty((64, 2))
    for n in range(len(cones)):
        cone = cones[n]
        per_x, per_y = _columns_per_voxel(edges[0], cone), _columns_per_voxel(edges[1], cone)
        pitch_x, pitch_y = edges[0] / per_x, edges[1] / per_y
        weight = 1.0 / (per_x * per_y)
        i0 = max(first[0] * per_x, int(np.ceil(low[n, 0] / pitch_x - 0.5)))
        i1 = min((first[0] + shape[0]) * per_x - 1, int(np.floor(high[n, 0] / pitch_x - 0.5)))
        j0 = max(first[1] * per_y, int(np.ceil(low[n, 1] / pitch_y - 0.5)))
        j1 = min((first[1] + shape[1]) * per_y - 1, int(np.floor(high[n, 1] / pitch_y - 0.5)))
        if starts[n + 1] - starts[n] > len(covered):
            covered = np.empty((starts[n + 1] - starts[n], 2))
        for j in range(j0, j1 + 1):
            y = (j + 0.5) * pitch_y
            for i in range(i0, i1 + 1):
                x = (i + 0.5) * pitch_x
                bottom, top = line_through_cone(x, y, cone)
                if bottom >= top:
                    continue
                inner = _covered_by(x, y, bottom, top, cones, before[starts[n] : starts[n + 1]], covered)
                at_y, at_x = j // per_y - first[1], i // per_x - first[0]
                reached = bottom
                for piece in range(inner + 1):
                    until = covered[piece, 0] if piece < inner else top
                    if until > reached:
                        from_z = max(0.0, reached / edges[2] - first[2])
                        to_z = min(float(shape[2]), until / edges[2] - first[2])
                        for k in range(int(from_z), min(shape[2], int(np.ceil(to_z)))):
                            if held[kinds[n], k, at_y, at_x] == 0:
                                if count == len(touched):
                                    touched = np.concatenate((touched, np.empty_like(touched)))
                                touched[count, 0], touched[count, 1], touched[count, 2] = k, at_y, at_x
                                count += 1
                            share = min(to_z, k + 1.0) - max(from_z, float(k))
                            held[kinds[n], k, at_y, at_x] += np.float32(share * weight)
                    if piece < inner:
                        reached = max(reached, covered[piece, 1])
    return touched[:count]


@numba.njit(cache=True)
def _covered_by(
    x: float,
    y: float,
    bottom: float,
    top: float,
    cones: NDArray[np.float64],
    others: NDArray[np.int32],
    covered: NDArray[np.float64],
) -> int:
    """Intervals of a column within other cones, as far as they meet [bottom, top], by their start; how many."""
    count = 0
    for other in others:
        begin, end = line_through_cone(x, y, cones[other])
        if begin >= end or end <= bottom or begin >= top:
            continue
        place = count
        while place > 0 and covered[place - 1, 0] > begin:
            covered[place, 0], covered[place, 1] = covered[place - 1, 0], covered[place - 1, 1]
            place -= 1
        covered[place, 0], covered[place, 1] = begin, end
        count += 1
    return count


@numba.njit(cache=True)
def _take_over(
    touched: NDArray[np.int64],
    held: NDArray[np.float32],
    names: NDArray[np.uint8],
    instance: int,
    stained: bool,
    most: NDArray[np.float32],
    total: NDArray[np.float32],
    instances: NDArray[np.uint32],
    classes: NDArray[np.uint8],
) -> None:
    """Move what a body has filled from `held`, which is left zero, to the arrays of all bodies."""
    for n in range(len(touched)):
        k, j, i = touched[n, 0], touched[n, 1], touched[n, 2]
        own = np.float32(0)
        largest = 0
        for c in range(len(names)):
            own += held[c, k, j, i]
            if held[c, k, j, i] > held[largest, k, j, i]:
                largest = c
        if own == 0:  # listed twice
            continue
        if stained:
            total[k, j, i] += own
        if own > most[k, j, i]:
            most[k, j, i], instances[k, j, i], classes[k, j, i] = own, instance, names[largest]
        for c in range(len(names)):
            held[c, k, j, i] = 0

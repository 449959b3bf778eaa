"""The way of a thin axon from a place to a face of the block, through the voids between what is laid already.

A walk that looks ahead two steps ends in the first blind alley; the cheapest path over the clearance field does not.
"""

import heapq

import numba
import numpy as np
import numpy.typing as npt

from .arrival import FloatArray

STRAIGHT = 1.2  # what a step against the preferred direction costs, in steps; half of it is what a turn by 90° does
NARROW = 0.6  # what a step where there is just the room looked for costs, in steps
MOST_NODES = 400_000  # a search that has seen so many gives up


@numba.njit(cache=True, nogil=True)
def cheapest_way(
    clearance: FloatArray,
    own: npt.NDArray[np.bool_],
    start: npt.NDArray[np.int64],
    preferred: FloatArray,
    comfort: float,
    least: float,
) -> npt.NDArray[np.int64]:
    """Nodes (n, 3) of the cheapest path from start to any face of the grid; (0, 3) where there is none.

    clearance: µm at each node; own: nodes not to be entered; preferred: unit vector. A step costs its length, more where
    there is less clearance than `comfort` and where it turns from the preferred direction; none enters a node with less
    than `least`. Dijkstra 1959, Numer Math 1:269.
    """
    nx, ny, nz = clearance.shape
    cost = {np.int64(0): 0.0}
    before = {np.int64(0): np.int64(-1)}
    cost.clear()
    before.clear()
    first = np.int64((start[0] * ny + start[1]) * nz + start[2])
    cost[first] = 0.0
    before[first] = np.int64(-1)
    heap = [(0.0, first)]
    seen = 0
    last = np.int64(-1)
    while len(heap) > 0 and seen < MOST_NODES:
        so_far, node = heapq.heappop(heap)
        if so_far > cost[node]:
            continue
        seen += 1
        i, j, k = node // (ny * nz), (node // nz) % ny, node % nz
        if i == 0 or j == 0 or k == 0 or i == nx - 1 or j == ny - 1 or k == nz - 1:
            last = node
            break
        for a in range(-1, 2):
            for b in range(-1, 2):
                for c in range(-1, 2):
                    if a == 0 and b == 0 and c == 0:
                        continue
                    room = clearance[i + a, j + b, k + c]
                    if room < least or own[i + a, j + b, k + c]:
                        continue
                    length = np.sqrt(float(a * a + b * b + c * c))
                    along = (a * preferred[0] + b * preferred[1] + c * preferred[2]) / length
                    narrow = comfort / min(room, comfort)
                    step = length * (1.0 + NARROW * (narrow * narrow - 1.0) + 0.5 * STRAIGHT * (1.0 - along))
                    following = np.int64(((i + a) * ny + j + b) * nz + k + c)
                    if following not in cost or so_far + step < cost[following]:
                        cost[following] = so_far + step
                        before[following] = node
                        heapq.heappush(heap, (so_far + step, following))
    count = 0
    node = last
    while node >= 0:
        count += 1
        node = before[node]
    path = np.empty((count, 3), np.int64)
    node = last
    for n in range(count - 1, -1, -1):
        path[n, 0], path[n, 1], path[n, 2] = node // (ny * nz), (node // nz) % ny, node % nz
        node = before[node]
    return path


def smoothed(points: FloatArray, step: float) -> FloatArray:
    """A path over grid nodes (n, 3) without its zigzag, resampled every `step`; its ends stay."""
    for _ in range(2):
        if len(points) > 4:
            inner = 0.25 * points[:-2] + 0.5 * points[1:-1] + 0.25 * points[2:]
            points = np.vstack([points[:1], inner, points[-1:]])
    along = np.r_[0.0, np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1))]
    at = np.linspace(0.0, along[-1], max(2, 1 + round(along[-1] / step)))
    return np.column_stack([np.interp(at, along, points[:, axis]) for axis in range(3)])

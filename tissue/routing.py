"""The way of a thin axon from a place to a face of the block, through the voids between what is laid already.

A walk that looks ahead two steps ends in the first blind alley; the cheapest path over the clearance field does not.
"""

import heapq

import numba
import numpy as np
import numpy.typing as npt

from .arrival import FloatArray

STRAIGHT = 2.5  # what a step against the preferred direction costs, in steps; a turn by 90° costs half of it
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

    clearance: µm at each node; own: nodes not to be entered; preferred: unit vector. A step costs its length, more
    where there is less clearance than `comfort` and where it turns from the preferred direction; none enters a node
    with less than `least`. A* (Hart, Nilsson and Raphael 1968, IEEE Trans Syst Sci Cybern 4:100): what is left costs at
    least what the straight way to a face does where all is wide.
    """
    nx, ny, nz = clearance.shape
    to_face = np.empty(6)
    for face in range(6):
        outward = preferred[face // 2] * (1.0 if face % 2 else -1.0)
        across = max(1.0 - outward * outward, 0.0)
        straight, turn = 1.0 + 0.5 * STRAIGHT, 0.5 * STRAIGHT
        to_face[face] = np.sqrt(straight * straight - turn * turn * across) - turn * outward
    cost = np.full(nx * ny * nz, np.inf, np.float32)
    before = np.full(nx * ny * nz, -1, np.int32)
    first = np.int64((start[0] * ny + start[1]) * nz + start[2])
    settled = np.zeros(nx * ny * nz, np.bool_)
    cost[first] = 0.0
    heap = [(np.float32(0.0), first)]
    seen = 0
    last = np.int64(-1)
    while len(heap) > 0 and seen < MOST_NODES:
        _, node = heapq.heappop(heap)
        if settled[node]:
            continue
        settled[node] = True
        so_far = cost[node]
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
                    total = np.float32(so_far + step)
                    if total < cost[following]:
                        cost[following] = total
                        before[following] = node
                        x, y, z = i + a, j + b, k + c
                        left = min(
                            min(x * to_face[0], (nx - 1 - x) * to_face[1]),
                            min(y * to_face[2], (ny - 1 - y) * to_face[3]),
                            min(z * to_face[4], (nz - 1 - z) * to_face[5]),
                        )
                        heapq.heappush(heap, (np.float32(total + left), following))
    count = 0
    node = last
    while node >= 0:
        count += 1
        node = np.int64(before[node])
    path = np.empty((count, 3), np.int64)
    node = last
    for n in range(count - 1, -1, -1):
        path[n, 0], path[n, 1], path[n, 2] = node // (ny * nz), (node // nz) % ny, node % nz
        node = np.int64(before[node])
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

"""The way of a thin axon through the voids between what is laid already.

A walk that looks ahead two steps ends in the first blind alley; the cheapest path over the clearance field does not.
"""

import heapq

import numba
import numpy as np
import numpy.typing as npt

from .arrival import FloatArray

IntArray = npt.NDArray[np.integer]

STRAIGHT = 2.5  # what a step against the preferred direction costs, in steps; a turn by 90° costs half of it
NARROW = 0.6  # what a step where there is just the room looked for costs, in steps
MOST_NODES = 400_000  # a search that has seen so many gives up
ANY_FACE = np.array([-1, -1, -1])


class Router:
    """Cheapest ways through one clearance field, one search after another in the same memory."""

    def __init__(self, clearance: npt.NDArray[np.float32]) -> None:
        self._clearance = clearance
        self._cost = np.empty(clearance.size, np.float32)
        self._before = np.empty(clearance.size, np.int32)
        # Which search wrote the two above, twice its number, and one more where the node's cost is settled.
        self._search = np.zeros(clearance.size, np.int32)
        self._kept_off = np.zeros(clearance.size, np.int32)
        self._searches = 0

    def cheapest_way(
        self,
        start: IntArray,
        preferred: FloatArray,
        comfort_um: float,
        least_um: float,
        keep_off: IntArray,
        goal: IntArray = ANY_FACE,
        most_nodes: int = MOST_NODES,
    ) -> npt.NDArray[np.int64]:
        """Nodes (n, 3) of the cheapest path from start to the goal, or to any face of the grid.

        (0, 3) where there is none. preferred: unit vector; keep_off: nodes (n, 3) not to be entered. A step costs its
        length, more where there is less clearance than comfort_um and where it turns from the preferred direction;
        none enters a node with less than least_um.
        """
        self._searches += 1
        return np.asarray(
            _search(
                self._clearance, self._cost, self._before, self._search, self._kept_off, np.int32(self._searches),
                np.asarray(start, np.int64), np.asarray(preferred, np.float64), comfort_um, least_um,
                np.asarray(keep_off, np.int64).reshape(-1, 3), np.asarray(goal, np.int64), most_nodes,
            )
        )  # fmt: skip


@numba.njit(cache=True, nogil=True, inline="always")
def _cost_left(
    x: int, y: int, z: int, shape: tuple[int, int, int], goal: IntArray, preferred: FloatArray, to_face: FloatArray
) -> float:
    """What is left costs at least this: the straight way where all is wide."""
    if goal[0] >= 0:
        a, b, c = float(goal[0] - x), float(goal[1] - y), float(goal[2] - z)
        along = a * preferred[0] + b * preferred[1] + c * preferred[2]
        return (1.0 + 0.5 * STRAIGHT) * np.sqrt(a * a + b * b + c * c) - 0.5 * STRAIGHT * along
    return min(
        min(x * to_face[0], (shape[0] - 1 - x) * to_face[1]),
        min(min(y * to_face[2], (shape[1] - 1 - y) * to_face[3]), min(z * to_face[4], (shape[2] - 1 - z) * to_face[5])),
    )


@numba.njit(cache=True, nogil=True)
def _search(
    clearance: FloatArray,
    cost: FloatArray,
    before: IntArray,
    search: IntArray,
    kept_off: IntArray,
    number: int,
    start: IntArray,
    preferred: FloatArray,
    comfort: float,
    least: float,
    keep_off: IntArray,
    goal: IntArray,
    most_nodes: int,
) -> npt.NDArray[np.int64]:
    """A* (Hart, Nilsson and Raphael 1968, IEEE Trans Syst Sci Cybern 4:100)."""
    nx, ny, nz = clearance.shape
    to_face = np.empty(6)
    for face in range(6):
        outward = preferred[face // 2] * (1.0 if face % 2 else -1.0)
        across = max(1.0 - outward * outward, 0.0)
        straight, turn = 1.0 + 0.5 * STRAIGHT, 0.5 * STRAIGHT
        to_face[face] = np.sqrt(straight * straight - turn * turn * across) - turn * outward
    for n in range(keep_off.shape[0]):
        kept_off[(keep_off[n, 0] * ny + keep_off[n, 1]) * nz + keep_off[n, 2]] = number
    opened, settled = 2 * number, 2 * number + 1
    first = np.int64((start[0] * ny + start[1]) * nz + start[2])
    cost[first], before[first], search[first] = 0.0, -1, opened
    heap = [(np.float32(0.0), first)]
    seen = 0
    last = np.int64(-1)
    while len(heap) > 0 and seen < most_nodes:
        _, node = heapq.heappop(heap)
        if search[node] == settled:
            continue
        search[node] = settled
        so_far = cost[node]
        seen += 1
        i, j, k = node // (ny * nz), (node // nz) % ny, node % nz
        at_face = i == 0 or j == 0 or k == 0 or i == nx - 1 or j == ny - 1 or k == nz - 1
        if goal[0] >= 0:
            if i == goal[0] and j == goal[1] and k == goal[2]:
                last = node
                break
            if at_face:
                continue
        elif at_face:
            last = node
            break
        for a in range(-1, 2):
            for b in range(-1, 2):
                for c in range(-1, 2):
                    x, y, z = i + a, j + b, k + c
                    following = np.int64((x * ny + y) * nz + z)
                    room = clearance[x, y, z]
                    if room < least or kept_off[following] == number or search[following] == settled:
                        continue
                    length = np.sqrt(float(a * a + b * b + c * c))
                    along = (a * preferred[0] + b * preferred[1] + c * preferred[2]) / length
                    narrow = comfort / min(room, comfort)
                    step = length * (1.0 + NARROW * (narrow * narrow - 1.0) + 0.5 * STRAIGHT * (1.0 - along))
                    total = np.float32(so_far + step)
                    if search[following] != opened or total < cost[following]:
                        cost[following], before[following], search[following] = total, node, opened
                        left = _cost_left(x, y, z, clearance.shape, goal, preferred, to_face)
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

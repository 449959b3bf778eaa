"""Where the membranes lie: every cell's surface, placed so that the extracellular space is as wide as asked.

The first two arrivals at a point decide which cells face each other there, the third how near a third one is. Cell i
reaches half way to its neighbour less half the width of the extracellular space there, so its depth below its own
surface is (D_other - D_i - width) / 2. The width is narrow in the sheets between two cells and grows towards the
tunnels where three meet (Kinney et al. 2013, J Comp Neurol 521:448). Swelling or shrinking all cells is a change of
that one width: who touches whom does not change with it.
"""

from dataclasses import dataclass, replace

import numba
import numpy as np
import numpy.typing as npt
from scipy import ndimage

from .arrival import FAR_UM, Arrivals, FloatArray, Grid, insert_arrival
from .threads import in_slabs

IntArray = npt.NDArray[np.integer]

TUNNEL_REACH_UM = 0.06  # how much later the third cell may arrive for a place to count as part of a tunnel, at most
TUNNEL_REACH_SHEETS = 6.0  # and in widths of the sheets: in fixed tissue tunnels shrink with them
TUNNEL_OVER_SHEET = 2.2  # tunnels of 40-80 nm beside sheets of 10-40 nm (realism.md row 12)
FARTHEST_UM = 1.0
SAMPLES = 200_000  # points that measure a share of the block: standard error 0.0005 at a share of 0.06


@dataclass(frozen=True)
class Membranes:
    """Arrivals, and the width of the extracellular space that parts the cells.

    stretch: (nx, ny, nz), how much wider the gap is made where space is deformed. sheet_um: width between two cells.
    low_um, high_um: the built box, at whose faces every cell is cut.
    """

    arrivals: Arrivals
    stretch: FloatArray
    sheet_um: float
    low_um: FloatArray
    high_um: FloatArray

    def _geometry(self) -> tuple[FloatArray, IntArray, FloatArray, float, FloatArray, float, FloatArray, FloatArray]:
        grid = self.arrivals.grid
        return (
            self.arrivals.time_um, self.arrivals.cell, self.stretch, self.sheet_um, grid.origin_um, grid.spacing_um,
            self.low_um, self.high_um,
        )  # fmt: skip

    def windows(self, count: int) -> list[tuple[slice, slice, slice] | None]:
        """For each of `count` cells the part of the grid that it owns and one node around it; None if nothing."""
        nx, ny, nz = self.arrivals.grid.shape

        def wider(one: slice, length: int) -> slice:
            return slice(max(0, one.start - 1), min(length, one.stop + 1))

        found = ndimage.find_objects(self.arrivals.owner + 1, max_label=count)
        return [None if box is None else (wider(box[0], nx), wider(box[1], ny), wider(box[2], nz)) for box in found]

    def depth(self, cell: int, window: tuple[slice, slice, slice]) -> tuple[Grid, npt.NDArray[np.float32]]:
        """Distance (µm) below one cell's surface on a part of the grid, negative outside.

        Exact where the cell is among the first three to arrive, else the third's value, which is nearer to the surface.
        """
        grid = self.arrivals.grid
        first = np.array([s.start for s in window])
        x, y, z = (s.stop - s.start for s in window)
        out = np.empty((x, y, z), np.float32)
        _fill_depth(*self._geometry(), cell, first, out)
        return Grid(grid.origin_um + first * grid.spacing_um, grid.spacing_um, (x, y, z)), out

    def owners(self, points_um: FloatArray) -> npt.NDArray[np.int32]:
        """The cell in whose mesh each point (n, 3) lies, -1 for extracellular space."""
        found = np.empty(len(points_um), np.int32)
        in_slabs(lambda a, b: _owners(*self._geometry(), points_um[a:b], found[a:b]), len(points_um))
        return found

    def extracellular_fraction(self, points_um: FloatArray) -> float:
        """Share of points (n, 3) that lie in no cell."""
        return float((self.owners(points_um) < 0).mean())

    def fitted(self, target: float, least_um: float, points_um: FloatArray) -> "Membranes":
        """The same cells with the sheets as wide as it takes for the extracellular space to have its share.

        Raises ValueError where even sheets of least_um leave more than that.
        """
        low, high = least_um, 0.16
        least = replace(self, sheet_um=low).extracellular_fraction(points_um)
        if least > target + 0.01:
            raise ValueError(
                f"tissue: extracellular_fraction = {target:g}, but these cells leave {least:.3f} with the narrowest "
                f"sheets that gap_nm allows ({1000 * low:.0f} nm); ask for more, or a smaller gap_nm"
            )
        for _ in range(11):
            middle = 0.5 * (low + high)
            if replace(self, sheet_um=middle).extracellular_fraction(points_um) < target:
                low = middle
            else:
                high = middle
        return replace(self, sheet_um=0.5 * (low + high))


@numba.njit(cache=True, nogil=True, inline="always")
def _node_depth(
    time: FloatArray, cell: IntArray, stretch: FloatArray, sheet: float, i: int, j: int, k: int, who: int
) -> float:
    reach = min(TUNNEL_REACH_UM, TUNNEL_REACH_SHEETS * sheet)
    near_third = 1 - (time[2, i, j, k] - time[0, i, j, k]) / reach
    width = stretch[i, j, k] * sheet * (1 + (TUNNEL_OVER_SHEET - 1) * max(0.0, near_third))
    if cell[0, i, j, k] == who:
        ahead = time[1, i, j, k] - time[0, i, j, k]
    elif cell[1, i, j, k] == who:
        ahead = time[0, i, j, k] - time[1, i, j, k]
    else:
        ahead = time[0, i, j, k] - time[2, i, j, k]
    # Zero itself would put several vertices of a surface on one node.
    depth = min(max(0.5 * (ahead - width), -FARTHEST_UM), FARTHEST_UM)
    return depth if abs(depth) > 1e-7 else -1e-7


@numba.njit(cache=True, nogil=True, inline="always")
def _to_face(origin: FloatArray, spacing: float, low: FloatArray, high: FloatArray, i: int, j: int, k: int) -> float:
    x, y, z = origin[0] + i * spacing, origin[1] + j * spacing, origin[2] + k * spacing
    return min(min(min(x - low[0], high[0] - x), min(y - low[1], high[1] - y)), min(z - low[2], high[2] - z))


@numba.njit(cache=True, nogil=True)
def _fill_depth(
    time: FloatArray,
    cell: IntArray,
    stretch: FloatArray,
    sheet: float,
    origin: FloatArray,
    spacing: float,
    low: FloatArray,
    high: FloatArray,
    who: int,
    first: IntArray,
    out: FloatArray,
) -> None:
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            for k in range(out.shape[2]):
                a, b, c = first[0] + i, first[1] + j, first[2] + k
                depth = _node_depth(time, cell, stretch, sheet, a, b, c, who)
                # The built box cuts every cell; the cut counts as surface, so that organelles end inside it too.
                if depth > 0:
                    face = _to_face(origin, spacing, low, high, a, b, c)
                    depth = min(depth, face if abs(face) > 1e-7 else -1e-7)
                out[i, j, k] = depth


@numba.njit(cache=True, nogil=True)
def _owners(
    time: FloatArray,
    cell: IntArray,
    stretch: FloatArray,
    sheet: float,
    origin: FloatArray,
    spacing: float,
    low: FloatArray,
    high: FloatArray,
    points: FloatArray,
    found: IntArray,
) -> None:
    """Which mesh holds each point: its field is linear in the Kuhn tetrahedra that polygonize cuts cubes into."""
    weight = np.empty(4)
    at = np.empty(3, np.int64)
    part = np.empty(3)
    order = np.empty(3, np.int64)
    for n in range(points.shape[0]):
        for d in range(3):
            t = (points[n, d] - origin[d]) / spacing
            at[d] = min(max(int(t), 0), time.shape[1 + d] - 2)
            part[d] = t - at[d]
        order[0] = 0 if part[0] >= part[1] and part[0] >= part[2] else (1 if part[1] >= part[2] else 2)
        a, b = (order[0] + 1) % 3, (order[0] + 2) % 3
        order[1], order[2] = (a, b) if part[a] >= part[b] else (b, a)
        weight[0] = 1 - part[order[0]]
        weight[1] = part[order[0]] - part[order[1]]
        weight[2] = part[order[1]] - part[order[2]]
        weight[3] = part[order[2]]
        found[n] = -1
        for c in range(4):
            i, j, k = _corner(at, order, c)
            who = cell[0, i, j, k]
            if who < 0:
                continue
            depth = 0.0
            for m in range(4):
                i, j, k = _corner(at, order, m)
                depth += weight[m] * _node_depth(time, cell, stretch, sheet, i, j, k, who)
            if depth > 0:
                found[n] = who
                break


@numba.njit(cache=True, nogil=True, inline="always")
def _corner(at: IntArray, order: IntArray, count: int) -> tuple[int, int, int]:
    """The corner of a cube that is reached after `count` steps along the axes in their order."""
    i, j, k = at[0], at[1], at[2]
    for c in range(count):
        i += order[c] == 0
        j += order[c] == 1
        k += order[c] == 2
    return i, j, k


def give_interstices(arrivals: Arrivals, glia: int, share: float, width_um: float, inside: tuple[slice, ...]) -> float:
    """Let the glial cell have what the others leave: they stop growing at one time, and it fills the space between.

    Only the space that hangs together with the cell's own branches becomes its own; pockets elsewhere go on being
    filled by their neighbours. The time is chosen so that the cell gets `share` of the block's nodes `inside` (or as
    much of it as there is). The arrivals are changed in place, as if the cell arrived at 2 t - D_1, which puts its
    membrane where the first of the others has grown for t. width_um: of the extracellular space between.

    Returns the time t in µm.
    """
    time, cell = arrivals.time_um, arrivals.cell
    is_glia = cell == glia
    branch = np.where(is_glia, time, FAR_UM).min(0)
    others = np.where(cell[0] == glia, time[1], time[0])
    own = 0.5 * (others - branch) > 0.5 * width_um
    if not own.any():
        return float("inf")
    low, high = 0.0, float(min(others[own].max(), 0.4))
    for _ in range(9):
        middle = 0.5 * (low + high)
        held = _connected(own | (others > middle + 0.5 * width_um), own)
        low, high = (middle, high) if held[inside].mean() > share else (low, middle)
    limit = 0.5 * (low + high)
    candidate = own | (others > limit + 0.5 * width_um)
    held = _connected(candidate, own)
    # Every node that shares a tetrahedron with one of the cell's has to know when it arrives.
    zone = ndimage.binary_dilation(held, np.ones((3, 3, 3), bool), iterations=2) & (held | ~candidate)
    # Beyond the reach of every arrival nobody says how thick the space is.
    zone &= others < FAR_UM
    nodes = np.stack(np.nonzero(zone)).astype(np.int64)
    _arrive_between(time, cell, arrivals.part, nodes, others[zone], limit, glia)
    return limit


def _connected(candidate: npt.NDArray[np.bool_], own: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """The one piece of `candidate` that holds most of `own`."""
    pieces, _ = ndimage.label(candidate)
    largest = int(np.argmax(np.bincount(pieces[own])))
    return np.asarray(pieces == largest)


@numba.njit(cache=True)
def _arrive_between(
    time: FloatArray, cell: IntArray, part: IntArray, nodes: IntArray, others: FloatArray, limit: float, glia: int
) -> None:
    for n in range(nodes.shape[1]):
        i, j, k = nodes[0, n], nodes[1, n], nodes[2, n]
        if insert_arrival(time, cell, i, j, k, 2 * limit - others[n], glia):
            part[i, j, k] = 0

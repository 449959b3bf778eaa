"""The space that a block's cells leave each other while they are laid out, and walks and ways through it.

A clearance field (distance to the nearest surface so far, on a grid) steers every walk.
"""

import math

import numba
import numpy as np
import numpy.typing as npt

from neuropil.morphology.tree import Tree

from .arrival import FloatArray, Grid, RoundCones, interpolate, lower_to_cones
from .parameters import TissueParameters
from .routing import ANY_FACE, MOST_NODES, Router, smoothed

SPACING_UM = 0.04
REACH_UM = 0.5
AXON_REACH_UM = 0.35  # no bouton is wider; a shorter reach is cheaper
SEED_CLEARANCE_UM = 0.012  # what every laid-out surface keeps from every other, before inflation
STEP_UM = 0.09
KEEP_OFF_UM = 0.15  # an axon's two ways out keep off each other from here on
NARROWEST_UM = 0.035  # radius at which an axon still squeezes through, before inflation
MOST_NODES_TO_GOAL = 20_000
CANDIDATES = 20  # directions a walk chooses from at each step
# By how much the radius of a neurite grows on the average until it meets its neighbours; measured on finished blocks.
USUAL_INFLATION_UM = 0.03
_AROUND = np.stack(np.meshgrid(*[np.arange(-2, 3)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)


@numba.njit(cache=True)
def _walk(
    clearance: FloatArray,
    origin: FloatArray,
    spacing: float,
    start: FloatArray,
    direction: FloatArray,
    preferred: FloatArray,
    comfort: float,
    smallest: float,
    stiffness: float,
    purpose: float,
    noise: FloatArray,
    low: FloatArray,
    high: FloatArray,
    step: float,
) -> tuple[FloatArray, bool]:
    """Steps from start until the box is left (True) or no direction offers `smallest` clearance (False)."""
    limit, candidates = noise.shape[0], noise.shape[1]
    path = np.empty((limit + 1, 3))
    path[0] = start
    here = start.copy()
    heading = direction.copy()
    probe = np.empty((2, 3))
    for n in range(limit):
        best = -1e9
        best_heading = heading.copy()
        for c in range(candidates):
            trial = heading + (0.0 if c == 0 else 1.0) * noise[n, c]
            trial = trial / np.sqrt((trial * trial).sum())
            probe[0] = here + step * trial
            probe[1] = here + 2.5 * step * trial
            room = interpolate(clearance, origin, spacing, probe)
            if room[0] < smallest:
                continue
            score = (
                2.0 * min(room[0], comfort) / comfort
                + min(room[1], comfort) / comfort
                + purpose * (trial * preferred).sum()
                + stiffness * (trial * heading).sum()
            )
            if score > best:
                best = score
                best_heading = trial
        if best == -1e9:
            return path[: n + 1], False
        heading = best_heading
        here = here + step * heading
        path[n + 1] = here
        for d in range(3):
            if here[d] < low[d] or here[d] > high[d]:
                return path[: n + 2], True
    return path, False


def unit(vector: FloatArray) -> FloatArray:
    """The vector of length 1 in the same direction."""
    return np.asarray(vector / math.sqrt(vector.dot(vector)))


def any_direction(rng: np.random.Generator) -> FloatArray:
    """A random unit vector."""
    return unit(rng.normal(size=3))


def across(direction: FloatArray, rng: np.random.Generator) -> FloatArray:
    """A random direction at right angles to another."""
    (x, y, z), (a, b, c) = direction, any_direction(rng)
    return unit(np.array([y * c - z * b, z * a - x * c, x * b - y * a]))  # np.cross takes ten times as long


def smooth_noise(rng: np.random.Generator, n: int, knots_apart: int) -> FloatArray:
    """n values of unit-variance noise, linear between knots."""
    knots = rng.normal(size=n // knots_apart + 2)
    return np.interp(np.arange(n) / knots_apart, np.arange(len(knots)), knots)


def limited_slope(radii: FloatArray, step: float, slope: float = 0.7) -> FloatArray:
    """Radii lowered until they change by less than `slope` per µm of path: the sweep stays a union of cones."""
    out = radii.copy()
    for n in range(1, len(out)):
        out[n] = min(out[n], out[n - 1] + slope * step)
    for n in range(len(out) - 2, -1, -1):
        out[n] = min(out[n], out[n + 1] + slope * step)
    return out


class FreeSpace:
    """The clearance field of a block in the making.

    beyond_um: how far beyond the built box the cells must reach.
    """

    def __init__(self, parameters: TissueParameters, beyond_um: float, rng: np.random.Generator) -> None:
        margin = parameters.margin_um + beyond_um
        self.low = np.full(3, -margin)
        self.high = np.asarray(parameters.size_um, float) + margin
        self.parameters = parameters
        self.rng = rng
        self.grid = Grid.around(self.low, self.high, SPACING_UM)
        self.clearance = np.full(self.grid.shape, np.float32(REACH_UM))
        self._router = Router(self.clearance)

    @property
    def volume_um3(self) -> float:
        """Of the whole box that is laid out."""
        return float(np.prod(self.high - self.low))

    def room(self, points: FloatArray) -> FloatArray:
        """Clearance (µm) at points (n, 3)."""
        return interpolate(self.clearance, self.grid.origin_um, self.grid.spacing_um, np.atleast_2d(points))

    def occupy(self, cones: RoundCones, reach_um: float = REACH_UM) -> None:
        """Lower the clearance round what is laid."""
        lower_to_cones(self.clearance, self.grid.origin_um, self.grid.spacing_um, cones.packed(), reach_um)

    def node(self, point: FloatArray) -> npt.NDArray[np.int64]:
        """The node of the clearance field that is nearest to a point."""
        node = np.rint((point - self.grid.origin_um) / self.grid.spacing_um).astype(np.int64)
        return np.clip(node, 0, np.array(self.grid.shape) - 1)

    def walk(
        self,
        start: FloatArray,
        direction: FloatArray,
        *,
        comfort_um: float,
        smallest_um: float,
        stiffness: float,
        purpose: float,
        wobble: float = 0.35,
        most_um: float = math.inf,
    ) -> tuple[FloatArray, bool]:
        """A path of points STEP_UM apart that keeps to the open, and whether it left the block."""
        limit = int(min(1.6 * float(np.linalg.norm(self.high - self.low)), most_um) / STEP_UM)
        noise = self.rng.normal(scale=wobble, size=(limit, CANDIDATES, 3))
        path, left = _walk(
            self.clearance,
            self.grid.origin_um,
            self.grid.spacing_um,
            np.asarray(start, float),
            np.asarray(direction, float),
            np.asarray(direction, float),
            comfort_um,
            smallest_um,
            stiffness,
            purpose,
            noise,
            self.low,
            self.high,
            STEP_UM,
        )
        return path, bool(left)

    def walk_both_ways(self, start: FloatArray, direction: FloatArray, **manner: float) -> tuple[FloatArray, int, int]:
        """A path through start, the index of start in it, and how many of its ends left the block."""
        ahead, left_ahead = self.walk(start, direction, **manner)
        back, left_back = self.walk(start, -np.asarray(direction), **manner)
        return np.vstack([back[:0:-1], ahead]), len(back) - 1, int(left_ahead) + int(left_back)

    def tree(self, path: FloatArray, radii: FloatArray, swc_type: int) -> Tree:
        """An unbranched tree, its ends drawn back into the box so that every node lies inside."""
        points = np.clip(path, self.low, self.high)
        keep = np.r_[True, np.linalg.norm(np.diff(points, axis=0), axis=1) > 1e-4]
        points, radii = points[keep], radii[keep]
        n = len(points)
        return Tree(points, radii, np.arange(-1, n - 1, dtype=np.int32), np.full(n, swc_type, np.int16))

    def way(
        self, start: FloatArray, direction: FloatArray, taken: FloatArray, goal: FloatArray | None = None
    ) -> FloatArray:
        """Points STEP_UM apart from start to the goal or to a face, keeping off the points `taken`.

        (0, 3) where there is no way.
        """
        ends = taken[np.linalg.norm(taken - start, axis=1) > KEEP_OFF_UM]
        if goal is not None:
            ends = ends[np.linalg.norm(ends - goal, axis=1) > KEEP_OFF_UM]
        off = np.rint((ends - self.grid.origin_um) / self.grid.spacing_um).astype(np.int64)
        off = np.clip((off[:, None] + _AROUND).reshape(-1, 3), 0, np.array(self.grid.shape) - 1)
        nodes = self._router.cheapest_way(
            self.node(start),
            direction,
            self.parameters.axon_comfort_um,
            NARROWEST_UM + SEED_CLEARANCE_UM,
            off,
            ANY_FACE if goal is None else self.node(goal),
            MOST_NODES if goal is None else MOST_NODES_TO_GOAL,
        )
        if len(nodes) < 2:
            return np.empty((0, 3))
        points = self.grid.origin_um + nodes * self.grid.spacing_um
        return smoothed(np.vstack([start, points[1:]]), STEP_UM)

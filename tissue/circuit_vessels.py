"""Capillaries of a circuit block: winding tubes that cross it and keep apart."""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from neuropil.morphology.tree import VESSEL, Tree

from .circuit_cones import cropped
from .circuit_parameters import CircuitParameters, Vessels

STEP_UM = 2.0
# Path over which a capillary forgets its direction; set by eye on images of cortical capillaries, whose branches run
# 50 to 100 µm and are gently curved.
PERSISTENCE_UM = 80.0
# Radii differ from vessel to vessel, and wander along each, by these shares (set by eye).
SPREAD_BETWEEN, SPREAD_ALONG = 0.15, 0.1
WANDER_UM = 25.0
GAP_UM = 3.0
TRIES = 2000


def lay_vessels(parameters: CircuitParameters, rng: np.random.Generator) -> list[Tree]:
    """Vessels that fill their share of the block, to within half of one; each passes through the whole built box.

    Raises ValueError where they do not fit.
    """
    asked = parameters.vessels
    if asked is None:
        return []
    size = np.asarray(parameters.size_um)
    target = asked.volume_share * float(np.prod(size))
    vessels: list[Tree] = []
    held = latest = 0.0
    while held + latest / 2 < target:
        taken = cKDTree(np.concatenate([other.points_um for other in vessels])) if vessels else None
        widest = max((float(other.radii_um.max()) for other in vessels), default=0.0)
        for _ in range(TRIES):
            vessel = _vessel(asked, size, parameters.margin_um, rng)
            reach = float(vessel.radii_um.max()) + widest + GAP_UM
            if taken is None or not np.isfinite(taken.query(vessel.points_um, distance_upper_bound=reach)[0]).any():
                break
        else:
            raise ValueError(
                f"circuit.vessels.volume_share is {asked.volume_share:g}, but only {held / np.prod(size):.3g} was "
                "reached with vessels that keep apart"
            )
        inside = cropped(vessel, np.zeros(3), size)
        latest = inside.tree.swept_volume_um3() if inside is not None else 0.0
        held += latest
        vessels.append(vessel)
    return vessels


def _vessel(asked: Vessels, size: NDArray[np.float64], margin_um: float, rng: np.random.Generator) -> Tree:
    """One tube through a random point of the block, both ways until it has left the built box."""
    middle = rng.uniform(0, size)
    direction = rng.normal(size=3)
    direction /= np.linalg.norm(direction)
    beyond = margin_um + 4 * asked.radius_um
    low, high = np.full(3, -beyond), size + beyond
    forth = _walk(middle, direction, low, high, rng)
    back = _walk(middle, -direction, low, high, rng)
    points = np.concatenate([back[:0:-1], forth])
    mean = asked.radius_um * np.exp(rng.normal(0, SPREAD_BETWEEN))
    knots = rng.normal(0, SPREAD_ALONG, int(len(points) * STEP_UM / WANDER_UM) + 2)
    wander = np.interp(np.arange(len(points)) * STEP_UM / WANDER_UM, np.arange(len(knots)), knots)
    return Tree(points, mean * np.exp(wander), np.arange(len(points)) - 1, np.full(len(points), VESSEL, dtype=np.int16))


def _walk(
    start: NDArray[np.float64],
    heading: NDArray[np.float64],
    low: NDArray[np.float64],
    high: NDArray[np.float64],
    rng: np.random.Generator,
) -> NDArray[np.float64]:
    """(n, 3) points of a path that forgets its direction over PERSISTENCE_UM, until it has left the box.

    One that has not after many times the box's size ends there.
    """
    most = int(20 * (high - low).max() / STEP_UM)
    return np.asarray(_walked(start, heading, rng.normal(0, np.sqrt(STEP_UM / PERSISTENCE_UM), (most, 3)), low, high))


@numba.njit(cache=True)
def _walked(
    start: NDArray[np.float64],
    heading: NDArray[np.float64],
    turns: NDArray[np.float64],
    low: NDArray[np.float64],
    high: NDArray[np.float64],
) -> NDArray[np.float64]:
    points = np.empty((len(turns) + 1, 3))
    points[0] = start
    heading = heading.copy()
    for n in range(len(turns)):
        if (points[n] <= low).any() or (points[n] >= high).any():
            return points[: n + 1].copy()
        points[n + 1] = points[n] + STEP_UM * heading
        heading += turns[n] - (turns[n] * heading).sum() * heading
        heading /= np.sqrt((heading * heading).sum())
    return points

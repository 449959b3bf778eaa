"""Capillaries of a circuit block: winding tubes that cross it and keep apart."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

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
GAP_UM = 10.0
TRIES = 400


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
        for _ in range(TRIES):
            vessel = _vessel(asked, size, parameters.margin_um, rng)
            if all(_apart(vessel, other) for other in vessels):
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
    forth = _walk(middle, direction, -beyond, size + beyond, rng)
    back = _walk(middle, -direction, -beyond, size + beyond, rng)
    points = np.concatenate([back[:0:-1], forth])
    mean = asked.radius_um * np.exp(rng.normal(0, SPREAD_BETWEEN))
    knots = rng.normal(0, SPREAD_ALONG, int(len(points) * STEP_UM / WANDER_UM) + 2)
    wander = np.interp(np.arange(len(points)) * STEP_UM / WANDER_UM, np.arange(len(knots)), knots)
    return Tree(points, mean * np.exp(wander), np.arange(len(points)) - 1, np.full(len(points), VESSEL, dtype=np.int16))


def _walk(
    start: NDArray[np.float64],
    heading: NDArray[np.float64],
    low: NDArray[np.float64] | float,
    high: NDArray[np.float64],
    rng: np.random.Generator,
) -> NDArray[np.float64]:
    points = [start]
    while (points[-1] > low).all() and (points[-1] < high).all():
        points.append(points[-1] + STEP_UM * heading)
        turn = rng.normal(size=3) * np.sqrt(STEP_UM / PERSISTENCE_UM)
        heading = heading + turn - (turn @ heading) * heading
        heading = heading / np.linalg.norm(heading)
    return np.array(points)


def _apart(one: Tree, other: Tree) -> bool:
    away = np.linalg.norm(one.points_um[:, None] - other.points_um[None], axis=2)
    return bool((away > one.radii_um[:, None] + other.radii_um[None] + GAP_UM).all())

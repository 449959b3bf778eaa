"""Microtubules: parallel arrays along a process, each as long as it finds room."""

import numpy as np

from .arrival import FloatArray, RoundCones
from .interior import CellInterior
from .placement import path_length, resampled, stretches
from .shapes import CIRCUMSCRIBED_PRISM, Shape, frames, tube

RADIUS_UM = 0.0125  # outer diameter 25 nm (realism.md row 46)
APART_UM = 0.055  # centre to centre at the least: side arms keep microtubules 20-30 nm from each other
BUNDLE_UM = 0.045  # radius of a bundle in a thin axon, and how close its microtubules lie
BUNDLED_APART_UM = 0.034
STEP_UM = 0.02  # at which room is looked for
RING_EVERY = 4  # steps from one ring of the mesh to the next
SHORTEST_UM = 0.3


def microtubules(
    interior: CellInterior, run_um: FloatArray, count: int, rng: np.random.Generator, *, bundled: bool = False
) -> list[Shape]:
    """Up to `count` microtubules along a run of the cell's axis; each stretch that finds room is a shape of its own.

    bundled: close together and off the axis, as in thin axons.
    """
    path = resampled(run_um, STEP_UM)
    across = frames(path, rng.normal(size=3))
    widest = float(np.percentile(interior.depth(path), 90))
    offsets = _spread(count, BUNDLE_UM, BUNDLED_APART_UM, rng) if bundled else _spread(count, widest, APART_UM, rng)
    if bundled:
        offsets = offsets + rng.normal(size=2) * 0.4 * max(widest - BUNDLE_UM, 0.0)
    if len(offsets) == 0:
        return []
    # Offsets drift slowly, so that the array is parallel but not ruled.
    drift = np.cumsum(rng.normal(scale=0.0015, size=(len(offsets), len(path), 2)), axis=1)
    lateral = offsets[:, None] + drift - drift.mean(axis=1, keepdims=True)
    paths = path[None] + np.einsum("npk,pkd->npd", lateral, across)
    outer = RADIUS_UM * CIRCUMSCRIBED_PRISM
    shapes: list[Shape] = []
    for line in paths:
        for stretch in stretches(interior.room(line) > outer):
            part = line[stretch][::RING_EVERY]
            if len(part) < 3 or path_length(part) < SHORTEST_UM:
                continue
            shape = tube(part, np.full(len(part), RADIUS_UM), rng.normal(size=3))
            if interior.depth(shape[0]).min() <= 0:
                continue
            shapes.append(shape)
            radii = np.full(len(part) - 1, outer)
            interior.occupy(RoundCones(part[:-1], part[1:], radii, radii))
    return shapes


def _spread(count: int, radius_um: float, apart_um: float, rng: np.random.Generator) -> FloatArray:
    """Up to `count` places (n, 2) in a disc, apart_um from each other."""
    places: list[FloatArray] = []
    for candidate in rng.uniform(-radius_um, radius_um, size=(6 * count, 2)):
        if len(places) >= count:
            break
        if (candidate**2).sum() > radius_um**2:
            continue
        if all(((candidate - other) ** 2).sum() > apart_um**2 for other in places):
            places.append(candidate)
    return np.reshape(places, (-1, 2))

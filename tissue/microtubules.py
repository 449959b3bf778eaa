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
DRIFT_UM = 0.0012  # sideways, per step


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
    # Offsets drift slowly, so that the array is parallel but not ruled; a bundle drifts as one.
    drift = np.cumsum(rng.normal(scale=DRIFT_UM, size=(1 if bundled else len(offsets), len(path), 2)), axis=1)
    lateral = offsets[:, None] + drift - drift.mean(axis=1, keepdims=True)
    paths = path[None] + np.einsum("npk,pkd->npd", lateral, across)
    outer = RADIUS_UM * CIRCUMSCRIBED_PRISM
    room = interior.room(paths.reshape(-1, 3)).reshape(len(offsets), -1)
    parts = [
        part
        for line, free in zip(paths, room > outer, strict=True)
        for part in (line[stretch][::RING_EVERY] for stretch in stretches(free))
        if len(part) >= 3 and path_length(part) >= SHORTEST_UM
    ]
    turns = rng.normal(size=(len(parts), 3))
    shapes = [tube(part, np.full(len(part), RADIUS_UM), turn) for part, turn in zip(parts, turns, strict=True)]
    kept = [n for n, (vertices, _) in enumerate(shapes) if interior.depth(vertices).min() > 0]
    if kept:
        starts, ends = (np.vstack([parts[n][cut] for n in kept]) for cut in (slice(None, -1), slice(1, None)))
        radii = np.full(len(starts), outer)
        interior.occupy(RoundCones(starts, ends, radii, radii))
    return [shapes[n] for n in kept]


def _spread(count: int, radius_um: float, apart_um: float, rng: np.random.Generator) -> FloatArray:
    """Up to `count` places (n, 2) in a disc, apart_um from each other."""
    candidates = rng.uniform(-radius_um, radius_um, size=(6 * count, 2))
    places = np.empty((count, 2))
    found = 0
    for candidate in candidates[(candidates**2).sum(axis=1) <= radius_um**2]:
        if found == count:
            break
        if not found or ((places[:found] - candidate) ** 2).sum(axis=1).min() > apart_um**2:
            places[found] = candidate
            found += 1
    return places[:found]

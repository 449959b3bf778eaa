"""Where organelles go: stretches of a cell's axis, and free places beside it."""

import numpy as np

from neuropil.morphology.tree import Tree

from .arrival import FloatArray
from .interior import CellInterior


def chains(tree: Tree, swc_type: int) -> list[FloatArray]:
    """Unbranched runs of one type as point arrays (n, 3)."""
    runs: list[list[int]] = []
    last: dict[int, list[int]] = {}
    for node in range(len(tree.parents)):
        if tree.types[node] != swc_type:
            continue
        parent = int(tree.parents[node])
        run = last.pop(parent, None)
        if run is None:
            run = [parent] if parent >= 0 and tree.types[parent] == swc_type else []
            runs.append(run)
        run.append(node)
        last[node] = run
    return [tree.points_um[run] for run in runs if len(run) > 1]


def runs_inside(interior: CellInterior, path_um: FloatArray, depth_um: float = 0.02) -> list[FloatArray]:
    """The stretches of a path, of three points or more, that lie at least depth_um below the cell's surface."""
    return [path_um[s] for s in stretches(interior.depth(path_um) > depth_um) if s.stop - s.start >= 3]


def stretches(keep: np.ndarray) -> list[slice]:
    """The stretches of True."""
    edges = np.flatnonzero(np.diff(np.r_[False, keep, False].astype(np.int8)))
    return [slice(int(a), int(b)) for a, b in zip(edges[::2], edges[1::2], strict=True)]


def longest_run(keep: np.ndarray) -> slice | None:
    """The longest stretch of True."""
    return max(stretches(keep), key=lambda s: s.stop - s.start, default=None)


def path_length(path_um: FloatArray) -> float:
    """Length (µm) of a path (n, 3)."""
    return float(np.linalg.norm(np.diff(path_um, axis=0), axis=1).sum())


def resampled(path_um: FloatArray, step_um: float) -> FloatArray:
    """The same path with points about step_um apart, at least three."""
    along = np.r_[0, np.cumsum(np.linalg.norm(np.diff(path_um, axis=0), axis=1))]
    positions = np.linspace(0, along[-1], max(3, int(along[-1] / step_um) + 1))
    return np.stack([np.interp(positions, along, path_um[:, d]) for d in range(3)], axis=-1)


def unit(vector: FloatArray) -> FloatArray:
    """The vector at length 1."""
    return np.asarray(vector / np.linalg.norm(vector))


def random_across(direction: FloatArray, rng: np.random.Generator) -> FloatArray:
    """A random unit vector at right angles to another."""
    return unit(np.cross(direction, rng.normal(size=3)))


def offset_path(
    interior: CellInterior, run_um: FloatArray, rng: np.random.Generator, radius_um: float, tries: int = 6
) -> tuple[FloatArray, FloatArray] | None:
    """A run shifted sideways to where a tube of this radius fits best, and the room along it.

    Returns the longest stretch where the room is at least 60 % of the radius, or None if it is under three points.
    """
    direction = run_um[-1] - run_um[0]
    slack = max(float(np.median(interior.depth(run_um))) - radius_um, 0.0)
    paths = [run_um + random_across(direction, rng) * rng.uniform(0, 0.95) * slack for _ in range(tries)]
    rooms = interior.room(np.vstack(paths)).reshape(tries, -1)
    best: tuple[FloatArray, FloatArray] | None = None
    for path, room in zip(paths, rooms, strict=True):
        stretch = longest_run(room > 0.6 * radius_um)
        if stretch is not None and (best is None or stretch.stop - stretch.start > len(best[0])):
            best = path[stretch], room[stretch]
    return best if best is not None and len(best[0]) >= 3 else None


def free_places(
    interior: CellInterior, points_um: FloatArray, radii_um: FloatArray, rng: np.random.Generator, tries: int = 8
) -> tuple[FloatArray, FloatArray]:
    """Centres (n, 3) near given points where balls fit, and their radii (n,); those that find no room are left out.

    Each place is occupied before the next is looked for.
    """
    centres, kept = [], []
    for radius in radii_um:
        base = points_um[rng.integers(len(points_um), size=tries)]
        spread = np.maximum(interior.depth(base), 0.05)
        candidates = base + 0.6 * spread[:, None] * rng.normal(size=base.shape)
        free = np.flatnonzero(interior.room(candidates) > radius)
        if len(free):
            centres.append(candidates[free[0]])
            kept.append(float(radius))
            interior.occupy_balls(centres[-1][None], np.array([radius]))
    return np.reshape(centres, (-1, 3)), np.array(kept)

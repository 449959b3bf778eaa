"""Neurites of a circuit block, led round each other until no two cells touch.

Cells are posed as if alone, so their neurites run through each other and through somas. Here every neurite becomes a
thread of movable points: where two cells are nearer than the gap, their nearest points are pushed apart along the
line between them, the thinner one farther; between pushes the displacements are smoothed along the neurite, so that
a detour becomes a bend and not a kink (position-based dynamics, Müller et al. 2007, J. Vis. Commun. Image R.
18:109). Somas and vessels stay. What cannot be resolved is cut off, and counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numba
import numpy as np
from numpy.typing import NDArray

from neuropil.morphology.tree import SOMA, VESSEL, Tree

from .circuit_cones import ConesOfTree, cones_of, sub_forest
from .cone_pairs import Cones, cone_distance, near_pairs

# The swept surface may lie this much outside the round cones, in radii: eight-sided rings of the circle's area have
# corners 5.4 % out, rings at bends of up to 50° are widened by 5 %, and flattening moves centre lines by 1 %.
SWEEP_EXCESS = 0.12
# A soma's surface has 32 corners around.
SOMA_EXCESS = 0.01
# Pairs within the gap and this are watched until the next search.
SKIN_UM = 0.15
# Pushed this much farther than the gap, so that the last nanometre is not approached for ever.
SLACK_UM = 0.02
SEARCHES = 45
PUSHES = 5
# Once nothing is smoothed any more, few pairs are left, and these are pushed for longer.
LAST_PUSHES = 20
# No point moves farther in one push: neurites that meet a soma are led round it step by step.
LONGEST_PUSH_UM = 0.8
# Smoothing draws displacements towards their neighbours' by this share per push; it fades to nothing, since it holds
# what pushes and what is pushed in balance a little too near each other.
SMOOTHING = 0.4
SMOOTHED_SEARCHES = 20
# A neurite that has moved farther than this counts as led round.
REROUTED_UM = 0.2


@dataclass(frozen=True, eq=False)
class Separated:
    """Trees that keep the gap, in the order given; None where nothing is left of one.

    rerouted: for each tree, whether each point was led round something; lost: the length cut off each.
    """

    trees: list[Tree | None]
    rerouted: list[NDArray[np.bool_]]
    lost_um: list[float]


def widened(parts: ConesOfTree) -> Cones:
    """The cones (n, 8) with radii that hold the swept surface."""
    cones = parts.cones.copy()
    cones[:, 6:] *= np.where(parts.types == SOMA, 1 + SOMA_EXCESS, 1 + SWEEP_EXCESS)[:, None]
    return cones


def separate(trees: Sequence[Tree], gap_um: float) -> Separated:
    """Move the neurites of different trees, as little as it takes, until all are `gap_um` apart."""
    parts = [cones_of(tree) for tree in trees]
    offsets = np.cumsum([0, *(len(tree) for tree in trees)])
    starts = np.concatenate([p.starts + o for p, o in zip(parts, offsets, strict=False)])
    ends = np.concatenate([p.ends + o for p, o in zip(parts, offsets, strict=False)])
    owners = np.repeat(np.arange(len(trees)), [len(p.ends) for p in parts])
    resting = np.concatenate([widened(p) for p in parts])
    points = np.concatenate([tree.points_um for tree in trees])
    radii = np.concatenate([tree.radii_um for tree in trees])
    parents = np.concatenate(
        [np.where(t.parents >= 0, t.parents + o, -1) for t, o in zip(trees, offsets, strict=False)]
    )
    types = np.concatenate([tree.types for tree in trees])
    # Thick neurites give way less.
    yields = np.where(np.isin(types, (SOMA, VESSEL)), 0.0, 1 / np.maximum(radii, 0.1) ** 2)
    moved = np.zeros_like(points)
    cones = resting.copy()
    for search in range(SEARCHES):
        pairs, distances = near_pairs(cones, owners, gap_um + SKIN_UM, resting)
        own = owners[pairs[:, 0]] == owners[pairs[:, 1]]
        if not (distances[~own] < gap_um).any():
            break
        smoothing = SMOOTHING * max(0.0, 1 - search / SMOOTHED_SEARCHES) ** 2
        # Which points have moved since the search: pairs of others keep the distance that was found.
        shifted = np.full(len(points), smoothing > 0)
        for _ in range(PUSHES if smoothing else LAST_PUSHES):
            _push(points, moved, cones, starts, ends, yields, pairs, distances, shifted, gap_um + SLACK_UM)
            if smoothing:
                moved = _smoothed(moved, parents, yields, smoothing)
        cones[:, :3], cones[:, 3:6] = (points + moved)[starts], (points + moved)[ends]
    placed = points + moved
    far = np.linalg.norm(moved, axis=1) > REROUTED_UM
    spans = [slice(first, last) for first, last in pairwise(offsets)]
    done: list[Tree | None] = [
        Tree(placed[span], tree.radii_um, tree.parents, tree.types) for tree, span in zip(trees, spans, strict=True)
    ]
    lost = _cut_apart(done, gap_um)
    return Separated(done, [far[span] for span in spans], lost)


@numba.njit(cache=True)
def _push(
    points: NDArray[np.float64],
    moved: NDArray[np.float64],
    cones: Cones,
    starts: NDArray[np.int64],
    ends: NDArray[np.int64],
    yields: NDArray[np.float64],
    pairs: NDArray[np.int64],
    distances: NDArray[np.float64],
    shifted: NDArray[np.bool_],
    target: float,
) -> None:
    """Push each pair of cones that is nearer than `target` apart, one after the other, in `moved`.

    distances: of the pairs, as long as none of their points is marked in `shifted`, which is kept up to date.
    """
    cone = np.empty((2, 8))
    away, tangent = np.empty(3), np.empty(3)
    index = np.empty(4, np.int64)
    weight = np.empty(4)
    for pair in range(len(pairs)):
        for side in range(2):
            n = pairs[pair, side]
            index[2 * side], index[2 * side + 1] = starts[n], ends[n]
        if distances[pair] >= target and not (
            shifted[index[0]] or shifted[index[1]] or shifted[index[2]] or shifted[index[3]]
        ):
            continue
        for side in range(2):
            n = pairs[pair, side]
            for axis in range(3):
                cone[side, axis] = points[starts[n], axis] + moved[starts[n], axis]
                cone[side, 3 + axis] = points[ends[n], axis] + moved[ends[n], axis]
            cone[side, 6], cone[side, 7] = cones[n, 6], cones[n, 7]
        distance, s, t = cone_distance(cone[0], cone[1])
        lack = target - distance
        if lack <= 0:
            continue
        weight[0], weight[1], weight[2], weight[3] = 1 - s, s, t - 1, -t
        if index[0] == index[1]:
            weight[0], weight[1] = 0.0, 1.0
        if index[2] == index[3]:
            weight[2], weight[3] = 0.0, -1.0
        norm = 0.0
        for axis in range(3):
            away[axis] = (
                cone[0, axis]
                + s * (cone[0, 3 + axis] - cone[0, axis])
                - cone[1, axis]
                - t * (cone[1, 3 + axis] - cone[1, axis])
            )
            norm += away[axis] ** 2
        norm = np.sqrt(norm)
        first_fixed = yields[index[0]] == 0 and yields[index[1]] == 0
        second_fixed = yields[index[2]] == 0 and yields[index[3]] == 0
        if first_fixed and second_fixed:
            continue
        if norm < 1e-9:
            _across(cone, away)
            norm = 1.0
        for axis in range(3):
            away[axis] /= norm
        if first_fixed or second_fixed:
            lack = _aside(cone[1 if first_fixed else 0], away, tangent, norm, lack)
        share = 0.0
        for k in range(4):
            share += yields[index[k]] * weight[k] * weight[k]
        if share <= 1e-12:
            continue
        scale = min(lack, LONGEST_PUSH_UM) / share
        for k in range(4):
            step = scale * yields[index[k]] * weight[k]
            step = min(LONGEST_PUSH_UM, max(-LONGEST_PUSH_UM, step))
            if step != 0:
                shifted[index[k]] = True
            for axis in range(3):
                moved[index[k], axis] += step * away[axis]


@numba.njit(cache=True)
def _across(cone: NDArray[np.float64], away: NDArray[np.float64]) -> None:
    """A direction at right angles to both of two segments, into `away`."""
    u, v = cone[0, 3:6] - cone[0, :3], cone[1, 3:6] - cone[1, :3]
    away[0], away[1], away[2] = u[1] * v[2] - u[2] * v[1], u[2] * v[0] - u[0] * v[2], u[0] * v[1] - u[1] * v[0]
    norm = np.sqrt(away[0] ** 2 + away[1] ** 2 + away[2] ** 2)
    if norm < 1e-12:
        # In one line: any direction that is not along it.
        least = 0
        for axis in range(3):
            if abs(u[axis]) < abs(u[least]):
                least = axis
        other = (least + 1) % 3
        away[:] = 0.0
        away[least], away[other] = 1.0, 0.0
        norm = 1.0
    away /= norm


@numba.njit(cache=True)
def _aside(
    segment: NDArray[np.float64],
    away: NDArray[np.float64],
    tangent: NDArray[np.float64],
    norm: float,
    lack: float,
) -> float:
    """Turn the push off a fixed thing to the side of the segment, so that a neurite is not stretched along itself.

    Changes `away` in place and returns how far the segment has to go that way.
    """
    length = 0.0
    along = 0.0
    for axis in range(3):
        tangent[axis] = segment[3 + axis] - segment[axis]
        length += tangent[axis] ** 2
    length = np.sqrt(length)
    if length < 1e-9:
        return lack
    for axis in range(3):
        tangent[axis] /= length
        along += away[axis] * tangent[axis]
    aside = np.sqrt(max(0.0, 1 - along * along))
    if aside < 0.3:
        return lack
    for axis in range(3):
        away[axis] = (away[axis] - along * tangent[axis]) / aside
    return -norm * aside + np.sqrt((norm * aside) ** 2 + lack * lack + 2 * norm * lack)


@numba.njit(cache=True)
def _smoothed(
    moved: NDArray[np.float64], parents: NDArray[np.int64], yields: NDArray[np.float64], smoothing: float
) -> NDArray[np.float64]:
    """Displacements drawn a little towards those of the neighbours along the tree."""
    total = np.zeros_like(moved)
    count = np.zeros(len(moved))
    for n in range(len(moved)):
        parent = parents[n]
        if parent >= 0:
            total[n] += moved[parent]
            total[parent] += moved[n]
            count[n] += 1
            count[parent] += 1
    for n in range(len(moved)):
        if count[n] and yields[n] > 0:
            total[n] = (1 - smoothing) * moved[n] + smoothing * total[n] / count[n]
        else:
            total[n] = moved[n]
    return total


def _cut_apart(trees: list[Tree | None], gap_um: float) -> list[float]:
    """Cut off, in place, of each pair still too near the one with less beyond it; the lengths lost."""
    lost = [0.0] * len(trees)
    while True:
        there = [(k, tree, cones_of(tree)) for k, tree in enumerate(trees) if tree is not None]
        owners = np.repeat([k for k, _, _ in there], [len(parts.ends) for _, _, parts in there])
        ends = np.concatenate([parts.ends for _, _, parts in there])
        movable = np.concatenate([~np.isin(parts.types, (SOMA, VESSEL)) for _, _, parts in there])
        pairs = near_pairs(np.concatenate([widened(parts) for _, _, parts in there]), owners, gap_um)[0]
        involved = {int(k) for k in owners[pairs.ravel()]}
        keep = {k: np.ones(len(tree), dtype=bool) for k, tree, _ in there if k in involved}
        beyond = {k: _summed_to_root(tree.segment_lengths_um, tree.parents) for k, tree, _ in there if k in involved}
        parents = {k: tree.parents for k, tree, _ in there if k in involved}
        for pair in pairs.tolist():
            both = [(int(owners[n]), int(ends[n]), bool(movable[n])) for n in pair]
            candidates = [(k, point) for k, point, gives_way in both if gives_way]
            if candidates and all(keep[k][point] for k, point, _ in both):
                k, point = min(candidates, key=lambda one: float(beyond[one[0]][one[1]]))
                _cut_beyond(point, keep[k], parents[k])
        if all(kept.all() for kept in keep.values()):
            # Nothing is too near, or nothing that is may be cut: somas of several points. The certificate will tell.
            return lost
        for k, tree, _ in there:
            if k in keep and not keep[k].all():
                lost[k] += float(tree.segment_lengths_um[~keep[k]].sum())
                trees[k] = sub_forest(tree, keep[k] & ~_bared(tree, keep[k]))


def _bared(tree: Tree, keep: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Roots from which nothing starts any more, and which are no somas."""
    left = np.bincount(tree.parents[keep & (tree.parents >= 0)], minlength=len(tree))
    return np.asarray((tree.parents < 0) & (tree.types != SOMA) & (tree.child_counts > 0) & (left == 0))


@numba.njit(cache=True)
def _summed_to_root(values: NDArray[np.float64], parents: NDArray[np.int32]) -> NDArray[np.float64]:
    total = values.copy()
    for n in range(len(total) - 1, -1, -1):
        if parents[n] >= 0:
            total[parents[n]] += total[n]
    return total


@numba.njit(cache=True)
def _cut_beyond(first: int, keep: NDArray[np.bool_], parents: NDArray[np.int32]) -> None:
    """Drop a point and all that hangs on it; parents stand before their children."""
    keep[first] = False
    for n in range(first + 1, len(keep)):
        if parents[n] >= 0 and not keep[parents[n]]:
            keep[n] = False

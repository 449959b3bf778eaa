"""Smooth runs of a skeleton: the centre lines that one sweep each can follow without folding over itself."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from ..morphology.tree import SOMA, Tree

SHARPEST_BEND_DEG = 50.0
FARTHEST_TURN_DEG = 60.0
# Points whose removal moves the tube's surface by less than this share of the local radius are left out.
FLATNESS = 0.01
# Blender merges curve points nearer than 1e-5; two rings this close would be one ring anyway.
CLOSEST_POINTS_UM = 1e-4


@dataclass(frozen=True, eq=False)
class Run:
    """One centre line to sweep: points_um (n, 3) with n at least 2, radii_um (n,)."""

    points_um: NDArray[np.float64]
    radii_um: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Ball:
    """A sphere that fills the gap where runs meet, or a soma."""

    centre_um: NDArray[np.float64]
    radius_um: float
    is_soma: bool = False


def runs_and_balls(tree: Tree) -> tuple[list[Run], list[Ball]]:
    """Cover a tree by smooth runs, and by balls at the soma and wherever runs meet at an angle.

    A branch that leaves the trunk starts on the trunk's centre line, with its own radius, so that it
    overlaps the trunk; the child that goes straightest on belongs to the trunk's run. A soma given as one
    point, or as the three points of the NeuroMorpho convention (a centre and two satellites), is one ball
    with the radius of its centre; any other soma is swept like a neurite.
    """
    is_ball = _soma_centres(tree)
    swallowed = _soma_satellites(tree, is_ball)
    balls = [_soma_ball(tree, index) for index in np.flatnonzero(is_ball).tolist()]
    runs: list[Run] = []
    for indices in _continuous_runs(tree, is_ball, swallowed):
        points, radii = tree.points_um[indices], tree.radii_um[indices].copy()
        if is_ball[indices[0]] or tree.child_counts[indices[0]] > 1:
            radii[0] = radii[1] if is_ball[indices[0]] else min(radii[0], radii[1])
        points, radii = _without_repeats(points, radii)
        if len(points) < 2:
            continue
        keep = _flattened(points, radii)
        pieces, joints = _split_at_bends(points[keep], radii[keep])
        runs.extend(pieces)
        balls.extend(joints)
    balls.extend(_branch_balls(tree, is_ball))
    if not runs and not balls:
        balls = [_soma_ball(tree, 0)]
    return runs, balls


def _soma_ball(tree: Tree, index: int) -> Ball:
    return Ball(tree.points_um[index], float(tree.radii_um[index]), is_soma=True)


def _soma_centres(tree: Tree) -> NDArray[np.bool_]:
    """Roots of type soma that stand for a whole ball: alone, or with leaf satellites about one radius
    away.
    """
    result = np.zeros(len(tree), dtype=bool)
    for root in tree.roots.tolist():
        if tree.types[root] != SOMA:
            continue
        satellites = [child for child in tree.children[root] if tree.types[child] == SOMA]
        if all(tree.child_counts[child] == 0 for child in satellites):
            distances = tree.segment_lengths_um[satellites]
            result[root] = bool(np.all(distances <= 1.5 * tree.radii_um[root]))
        if not tree.children[root]:
            result[root] = True
    return result


def _soma_satellites(tree: Tree, is_ball: NDArray[np.bool_]) -> NDArray[np.bool_]:
    of_soma = (tree.parents >= 0) & is_ball[np.maximum(tree.parents, 0)] & (tree.types == SOMA)
    return of_soma & (tree.child_counts == 0)


def _continuous_runs(tree: Tree, is_ball: NDArray[np.bool_], swallowed: NDArray[np.bool_]) -> list[NDArray[np.int64]]:
    """Point indices of runs that go straight on through branch points."""
    successor = np.full(len(tree), -1, dtype=np.int64)
    for index, children in enumerate(tree.children):
        if children and not is_ball[index]:
            successor[index] = children[0] if len(children) == 1 else straightest_child(tree, index, children)
    runs = []
    for index, children in enumerate(tree.children):
        for child in children:
            goes_on = successor[index] == child and tree.parents[index] >= 0
            if swallowed[child] or goes_on:
                continue
            run = [index, child]
            while successor[run[-1]] >= 0:
                run.append(int(successor[run[-1]]))
            runs.append(np.asarray(run, dtype=np.int64))
    return runs


def straightest_child(tree: Tree, index: int, children: tuple[int, ...]) -> int:
    """The child that carries the trunk on: of those not much thinner than the thickest, the straightest."""
    parent = int(tree.parents[index])
    thickest = max(float(tree.radii_um[child]) for child in children)
    candidates = [child for child in children if tree.radii_um[child] >= 0.7 * thickest]
    if parent < 0:
        return candidates[0]
    along = _unit(tree.points_um[index] - tree.points_um[parent])
    turns = [float(along @ _unit(tree.points_um[child] - tree.points_um[index])) for child in candidates]
    return candidates[int(np.argmax(turns))]


def _branch_balls(tree: Tree, is_ball: NDArray[np.bool_]) -> list[Ball]:
    """A ball at each branch point where a side branch is thick enough to show a notch beside the trunk."""
    balls = []
    for index in tree.branch_points.tolist():
        if is_ball[index]:
            continue
        side = sorted(float(tree.radii_um[child]) for child in tree.children[index])[-2]
        if tree.parents[index] < 0 or side > 0.3 * tree.radii_um[index]:
            balls.append(Ball(tree.points_um[index], float(tree.radii_um[index])))
    return balls


def _without_repeats(
    points: NDArray[np.float64], radii: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Drop points that repeat their predecessor; the last point always stays."""
    keep = [0]
    for index in range(1, len(points)):
        if np.linalg.norm(points[index] - points[keep[-1]]) > CLOSEST_POINTS_UM:
            keep.append(index)
        elif index == len(points) - 1 and len(keep) > 1:
            keep[-1] = index
    return points[keep], radii[keep]


def _flattened(points: NDArray[np.float64], radii: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Ramer-Douglas-Peucker on centre line and radius together; which points to keep."""
    keep = np.zeros(len(points), dtype=bool)
    keep[[0, -1]] = True
    stack = [(0, len(points) - 1)]
    while stack:
        first, last = stack.pop()
        if last - first < 2:
            continue
        chord = points[last] - points[first]
        inner = points[first + 1 : last] - points[first]
        share = np.clip(inner @ chord / max(float(chord @ chord), 1e-18), 0.0, 1.0)
        radius = radii[first] + share * (radii[last] - radii[first])
        away = np.linalg.norm(inner - share[:, None] * chord, axis=1) + abs(radii[first + 1 : last] - radius)
        excess = away / radii[first + 1 : last]
        worst = int(np.argmax(excess))
        if excess[worst] > FLATNESS:
            middle = first + 1 + worst
            keep[middle] = True
            stack += [(first, middle), (middle, last)]
    return keep


def _split_at_bends(points: NDArray[np.float64], radii: NDArray[np.float64]) -> tuple[list[Run], list[Ball]]:
    """Cut a run where it bends sharply, curls, or where neighbouring rings would cross; a ball fills each
    cut.

    Rings stand in the plane that halves the bend, so the inner side of ring j reaches r_j tan(bend_j / 2)
    along its segments; two rings cross when these reaches add up to more than the segment's length.
    """
    steps = np.diff(points, axis=0)
    lengths = np.linalg.norm(steps, axis=1)
    cosines = np.einsum("ij,ij->i", steps[1:], steps[:-1]) / (lengths[1:] * lengths[:-1])
    half_bends = np.zeros(len(points))
    half_bends[1:-1] = np.arccos(np.clip(cosines, -1.0, 1.0)) / 2
    cut = half_bends > np.radians(SHARPEST_BEND_DEG) / 2
    reach = np.where(cut, 0.0, radii * np.tan(np.minimum(half_bends, 1.5)))
    while True:
        crowded = np.flatnonzero(reach[:-1] + reach[1:] > 0.9 * lengths)
        if not crowded.size:
            break
        worse = np.unique(np.where(reach[crowded] >= reach[crowded + 1], crowded, crowded + 1))
        cut[worse] = True
        reach[worse] = 0.0
    _cut_curls(cut, steps / lengths[:, None])
    ends = [0, *np.flatnonzero(cut).tolist(), len(points) - 1]
    # A bent ring, seen along its segment, is an ellipse narrower by the cosine: widen it to the same area.
    widened = np.where(cut, radii, radii / np.sqrt(np.cos(np.where(cut, 0.0, half_bends))))
    runs = [Run(points[a : b + 1], widened[a : b + 1]) for a, b in pairwise(ends)]
    # Where the radius changes steeply, a ball of the full radius would bulge out of the cones.
    cosines = lengths / np.hypot(lengths, np.diff(radii))
    return runs, [
        Ball(points[index], float(radii[index] * min(cosines[index - 1], cosines[index])))
        for index in np.flatnonzero(cut).tolist()
    ]


def _cut_curls(cut: NDArray[np.bool_], tangents: NDArray[np.float64]) -> None:
    """Cut, in place, where a run has turned far from where it headed after the last cut.

    Between cuts it then advances along one direction and cannot meet itself, as a curl would; the weld unites
    different tubes only, not a tube with itself.
    """
    farthest = np.cos(np.radians(FARTHEST_TURN_DEG))
    first = 0
    for index in range(1, len(tangents)):
        if cut[index] or tangents[index] @ tangents[first] < farthest:
            cut[index] = True
            first = index


def _unit(vector: NDArray[np.float64]) -> NDArray[np.float64]:
    length = float(np.linalg.norm(vector))
    return vector / length if length > 0 else vector

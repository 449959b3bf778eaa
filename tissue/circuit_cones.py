"""A tree as the round cones that collide, fill voxels and lie along its swept surface; and its parts within a box."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from neuropil.blender_addon.runs import straightest_child
from neuropil.morphology.tree import SOMA, Tree, order_from_parents

from .cone_pairs import Cones


@dataclass(frozen=True, eq=False)
class ConesOfTree:
    """Round cones of a tree.

    cones: (n, 8), see `cone_pairs`; starts, ends: (n,) the tree's points at both ends, the same point for a ball.
    types: (n,) SWC type of each, that of its end.
    """

    cones: Cones
    starts: NDArray[np.int64]
    ends: NDArray[np.int64]
    types: NDArray[np.int16]


def cones_of(tree: Tree) -> ConesOfTree:
    """A cone for each segment, a ball for the soma and for a root that branches.

    As in the sweep, a branch starts with its own radius, not with that of the trunk or soma that it hangs on, but for
    the one that carries the trunk on; the trunk's own cone ends in a ball that fills the branch point.
    """
    ends = np.flatnonzero(tree.parents >= 0)
    starts = tree.parents[ends].astype(np.int64)
    start_radii = tree.radii_um[starts].copy()
    from_soma = (tree.types[starts] == SOMA) & (tree.types[ends] != SOMA)
    start_radii[from_soma] = tree.radii_um[ends[from_soma]]
    own_radius = tree.child_counts[starts] > 1
    goes_on = [
        straightest_child(tree, point, tree.children[point])
        for point in tree.branch_points.tolist()
        if tree.parents[point] >= 0 and tree.types[point] != SOMA
    ]
    own_radius[np.isin(ends, goes_on)] = False
    start_radii[own_radius] = np.minimum(start_radii, tree.radii_um[ends])[own_radius]
    balls = tree.roots[(tree.types[tree.roots] == SOMA) | (tree.child_counts[tree.roots] != 1)]
    starts, ends = np.concatenate([starts, balls]), np.concatenate([ends, balls])
    radii = np.concatenate([start_radii, tree.radii_um[balls]]), tree.radii_um[ends]
    cones = np.column_stack([tree.points_um[starts], tree.points_um[ends], *radii])
    return ConesOfTree(cones, starts, ends, tree.types[ends])


def sub_forest(tree: Tree, keep: NDArray[np.bool_]) -> Tree | None:
    """The tree without the segments (by their end point) and lone roots for which `keep` (n,) is false.

    A point whose own segment goes but from which another starts becomes a root. None where nothing is left.
    """
    cut = tree.parents.copy()
    cut[~keep] = -1
    used = keep.copy()
    used[cut[cut >= 0]] = True
    if not used.any():
        return None
    number = np.cumsum(used) - 1
    parents = np.where(cut >= 0, number[np.maximum(cut, 0)], -1)[used]
    return Tree(tree.points_um[used], tree.radii_um[used], parents, tree.types[used])


def within_tiles(tree: Tree, size_um: NDArray[np.float64], margin_um: float) -> dict[tuple[int, int, int], Tree]:
    """The tree's part in each tile of a lattice: the segments and somas whose solids reach into it, whole.

    Tile (i, j, k) spans size_um from (i, j, k) * size_um on, and margin_um more on all sides; parts are moved by
    -(i, j, k) * size_um, so that all lie in the tile (0, 0, 0).
    """
    parts = cones_of(tree)
    wide = np.maximum(parts.cones[:, 6], parts.cones[:, 7])[:, None] + margin_um
    low = np.minimum(parts.cones[:, :3], parts.cones[:, 3:6]) - wide
    high = np.maximum(parts.cones[:, :3], parts.cones[:, 3:6]) + wide
    first = np.floor(low / size_um).astype(np.int64)
    spans = np.ceil(high / size_um).astype(np.int64) - first
    owners, tiles = [], []
    for step in np.ndindex(*spans.max(axis=0)):
        reached = np.flatnonzero((spans > step).all(axis=1))
        owners.append(parts.ends[reached])
        tiles.append(first[reached] + step)
    owner, tile = np.concatenate(owners), np.concatenate(tiles)
    names, which = np.unique(tile, axis=0, return_inverse=True)
    order = np.argsort(which.ravel(), kind="stable")
    groups = np.split(owner[order], np.cumsum(np.bincount(which.ravel()))[:-1])
    found = {}
    for name, group in zip(names, groups, strict=True):
        keep = np.zeros(len(tree), dtype=bool)
        keep[group] = True
        part = sub_forest(tree, keep)
        assert part is not None
        found[(int(name[0]), int(name[1]), int(name[2]))] = part.translated(-name * size_um)
    return found


@dataclass(frozen=True, eq=False)
class Cropped:
    """The part of a tree inside a box: a forest, and where it was cut.

    entries, exits: (k,) points of `tree`, on the box's faces, where a path from root to tip comes in and goes out.
    """

    tree: Tree
    entries: NDArray[np.int64]
    exits: NDArray[np.int64]


def cropped(tree: Tree, low_um: NDArray[np.float64], high_um: NDArray[np.float64]) -> Cropped | None:
    """Cut a tree exactly at the faces of a box; None where its centre lines stay outside.

    Every segment keeps the part that lies inside (faces included); a point is put on the face where it is cut, with
    the radius that the segment has there. The lengths inside and outside add up to the whole.
    """
    child = np.flatnonzero(tree.parents >= 0)
    parent = tree.parents[child]
    start, way = tree.points_um[parent], tree.points_um[child] - tree.points_um[parent]
    with np.errstate(divide="ignore", invalid="ignore"):
        one, other = (low_um - start) / way, (high_um - start) / way
    within = (start >= low_um) & (start <= high_um)
    still = way == 0
    enters = np.where(still, np.where(within, -np.inf, np.inf), np.minimum(one, other))
    leaves = np.where(still, np.where(within, np.inf, -np.inf), np.maximum(one, other))
    enter, leave = enters.max(axis=1, initial=0.0), leaves.min(axis=1, initial=1.0)
    is_in = ((tree.points_um >= low_um) & (tree.points_um <= high_um)).all(axis=1)
    crosses = (leave > enter) | (is_in[parent] & is_in[child])
    starts_new = crosses & ~is_in[parent]
    ends_new = crosses & ~is_in[child]
    count = int(is_in.sum())
    if count == 0 and not crosses.any():
        return None
    number = np.full(len(tree), -1, dtype=np.int64)
    number[is_in] = np.arange(count)
    parts = cones_of(tree)
    radius_from, radius_to = parts.cones[: len(child), 6], parts.cones[: len(child), 7]

    def on_face(
        which: NDArray[np.bool_], share: NDArray[np.float64], axis: NDArray[np.int64], comes_in: bool
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        rows = np.flatnonzero(which)
        places = start[rows] + share[rows, None] * way[rows]
        places = np.clip(places, low_um, high_um)
        cut = axis[rows]
        at_low = (way[rows, cut] > 0) == comes_in
        places[np.arange(len(rows)), cut] = np.where(at_low, low_um[cut], high_um[cut])
        return places, radius_from[rows] + share[rows] * (radius_to - radius_from)[rows]

    entry_places, entry_radii = on_face(starts_new, enter, enters.argmax(axis=1), True)
    exit_places, exit_radii = on_face(ends_new, leave, leaves.argmin(axis=1), False)
    entries = count + np.arange(len(entry_places))
    exits = count + len(entry_places) + np.arange(len(exit_places))
    above = np.where(is_in[parent], number[parent], -1)
    above[starts_new] = entries
    points = np.concatenate([tree.points_um[is_in], entry_places, exit_places])
    radii = np.concatenate([tree.radii_um[is_in], entry_radii, exit_radii])
    types = np.concatenate([tree.types[is_in], tree.types[child[starts_new]], tree.types[child[ends_new]]])
    parents = np.full(len(points), -1, dtype=np.int64)
    kept = crosses & is_in[child]
    parents[number[child[kept]]] = above[kept]
    parents[exits] = above[ends_new]
    # Parents stand before their children: the points on faces come in between.
    order = order_from_parents(parents)
    position = np.empty_like(order)
    position[order] = np.arange(len(order))
    moved = parents[order]
    forest = Tree(points[order], radii[order], np.where(moved >= 0, position[moved], -1), types[order])
    return Cropped(forest, position[entries], position[exits])

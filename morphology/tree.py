"""A neuron's skeleton: points with radii, each pointing at its parent."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

UNDEFINED = 0
SOMA = 1
AXON = 2
DENDRITE = 3
APICAL_DENDRITE = 4
# SWC leaves 5 and above to the user; these are what this project writes.
SPINE_NECK = 10
SPINE_HEAD = 11
VARICOSITY = 12
GLIA = 13
VESSEL = 14


@dataclass(frozen=True, eq=False)
class Tree:
    """Skeleton of one cell, or a forest when several points have no parent.

    Attributes:
        points_um: (n, 3) float64, x, y, z in µm.
        radii_um: (n,) float64, above 0.
        parents: (n,) int32, index of the parent point, -1 for a root; a parent stands before its children.
        types: (n,) int16, SWC types (0 undefined, 1 soma, 2 axon, 3 dendrite, 4 apical dendrite, 5+ free).

    Raises:
        ValueError: lengths differ, a value is not finite, a radius is not above 0, a parent does not
            exist, stands after its child, or is part of a cycle.
    """

    points_um: NDArray[np.float64]
    radii_um: NDArray[np.float64]
    parents: NDArray[np.int32]
    types: NDArray[np.int16]

    def __post_init__(self) -> None:
        points = _frozen_array(self.points_um, np.float64)
        radii = _frozen_array(self.radii_um, np.float64)
        parents = _frozen_array(self.parents, np.int32)
        types = _frozen_array(self.types, np.int16)
        object.__setattr__(self, "points_um", points)
        object.__setattr__(self, "radii_um", radii)
        object.__setattr__(self, "parents", parents)
        object.__setattr__(self, "types", types)
        count = len(points)
        if points.ndim != 2 or points.shape[1] != 3 or count == 0:
            raise ValueError(f"points_um has shape {points.shape}, but a tree needs (n, 3) with n at least 1")
        for name, array in (("radii_um", radii), ("parents", parents), ("types", types)):
            if array.shape != (count,):
                raise ValueError(f"{name} has shape {array.shape}, but {count} points need ({count},)")
        _refuse_bad_numbers(points, radii)
        indices = np.arange(count)
        unknown = np.flatnonzero((parents < -1) | (parents >= count))
        if unknown.size:
            first = int(unknown[0])
            raise ValueError(
                f"point {first} has parent {parents[first]}, but allowed are -1 (a root) and 0 to {count - 1}"
            )
        late = np.flatnonzero(parents >= indices)
        if late.size:
            order_from_parents(parents)  # says so when the reason is a cycle
            first = int(late[0])
            raise ValueError(f"point {first} has parent {parents[first]}, but a parent stands before its children")

    def __len__(self) -> int:
        return len(self.points_um)

    @cached_property
    def roots(self) -> NDArray[np.int64]:
        """Indices of the points without a parent."""
        return np.flatnonzero(self.parents < 0)

    @cached_property
    def child_counts(self) -> NDArray[np.int64]:
        """(n,) number of children of each point."""
        return np.bincount(self.parents[self.parents >= 0], minlength=len(self))

    @cached_property
    def children(self) -> tuple[tuple[int, ...], ...]:
        """Indices of the children of each point, ascending."""
        lists: list[list[int]] = [[] for _ in range(len(self))]
        for index, parent in enumerate(self.parents.tolist()):
            if parent >= 0:
                lists[parent].append(index)
        return tuple(tuple(members) for members in lists)

    @cached_property
    def segment_lengths_um(self) -> NDArray[np.float64]:
        """(n,) distance of each point from its parent; 0 for roots."""
        lengths = np.linalg.norm(self.points_um - self.points_um[np.maximum(self.parents, 0)], axis=1)
        lengths[self.roots] = 0.0
        return lengths

    @property
    def length_um(self) -> float:
        """Summed length of all segments."""
        return float(self.segment_lengths_um.sum())

    @cached_property
    def tips(self) -> NDArray[np.int64]:
        """Indices of points without children."""
        return np.flatnonzero(self.child_counts == 0)

    @cached_property
    def branch_points(self) -> NDArray[np.int64]:
        """Indices of points with two or more children."""
        return np.flatnonzero(self.child_counts > 1)

    def sections(self) -> Iterator[NDArray[np.int64]]:
        """Unbranched runs of point indices, root to tip.

        Each run starts with the root or branch point it hangs on, and ends with a branch point or a tip. A
        lone root yields nothing.
        """
        starts = self.child_counts != 1
        starts[self.roots] = True
        for first in np.flatnonzero(starts).tolist():
            for child in self.children[first]:
                run = [first, child]
                while self.child_counts[run[-1]] == 1:
                    run.append(self.children[run[-1]][0])
                yield np.asarray(run, dtype=np.int64)

    def translated(self, offset_um: ArrayLike) -> Tree:
        """The same tree moved by offset_um (x, y, z)."""
        offset = np.asarray(offset_um, dtype=np.float64)
        return Tree(self.points_um + offset, self.radii_um, self.parents, self.types)

    def swept_volume_um3(self) -> float:
        """Sum of the cone frusta of all segments; where segments overlap, the overlap counts twice."""
        child = np.flatnonzero(self.parents >= 0)
        ends, starts = self.radii_um[child], self.radii_um[self.parents[child]]
        squares = starts**2 + starts * ends + ends**2
        return float((np.pi / 3 * self.segment_lengths_um[child] * squares).sum())


def order_from_parents(parents: NDArray[np.integer]) -> NDArray[np.int64]:
    """Order of points in which every parent stands before its children.

    Args:
        parents: (n,) index of each point's parent, negative for roots; any order. What is sorted
            already keeps its order.

    Returns:
        (n,) permutation: position k of the result holds the index of the point that comes k-th.

    Raises:
        ValueError: the parents form a cycle; the message names one point of it.
    """
    depths = np.full(len(parents), -1, dtype=np.int64)
    parent_list = parents.tolist()
    for start in range(len(parent_list)):
        path: list[int] = []
        on_path: set[int] = set()
        point = start
        while point >= 0 and depths[point] < 0:
            if point in on_path:
                raise ValueError(f"point {point} is its own ancestor: a tree has no cycle")
            path.append(point)
            on_path.add(point)
            point = parent_list[point]
        depth = depths[point] + 1 if point >= 0 else 0
        for point in reversed(path):
            depths[point] = depth
            depth += 1
    if np.all(np.asarray(parents) < np.arange(len(parents))):
        return np.arange(len(parents), dtype=np.int64)
    return np.argsort(depths, kind="stable")


def _frozen_array(values: ArrayLike, kind: type[np.generic]) -> NDArray:
    array = np.array(values, dtype=kind)
    array.setflags(write=False)
    return array


def _refuse_bad_numbers(points_um: NDArray[np.float64], radii_um: NDArray[np.float64]) -> None:
    lost = np.flatnonzero(~np.isfinite(points_um).all(axis=1))
    if lost.size:
        place = points_um[lost[0]].tolist()
        raise ValueError(f"point {lost[0]} lies at {place}, but allowed are finite numbers")
    bad = np.flatnonzero(~(np.isfinite(radii_um) & (radii_um > 0)))
    if bad.size:
        raise ValueError(f"radius of point {bad[0]} is {radii_um[bad[0]]:g} µm, but must be above 0")

"""The sections of one domain of a cell: unbranched runs of points, each with the section it hangs on."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from .tree import SOMA, Tree


@dataclass(frozen=True, eq=False)
class Section:
    """One unbranched run.

    Attributes:
        points: (n,) indices into the tree, from the branch point (or stem's first point) to a branch point or tip.
        parent: place of the section it hangs on in its list, -1 for a stem.
        order: number of branch points between the soma and its start; 0 for a stem.
        start_um: path from the start of its stem to its start.
    """

    points: NDArray[np.int64]
    parent: int
    order: int
    start_um: float


@dataclass(frozen=True, eq=False)
class Domain:
    """All sections of one SWC type of one cell; a section stands before those that hang on it.

    Attributes:
        tree: the cell.
        sections: its runs of points.
        centre_um: (3,) where the distances of a Sholl profile start: the soma, or the root where there is none.
    """

    tree: Tree
    sections: tuple[Section, ...]
    centre_um: NDArray[np.float64]

    @cached_property
    def stems(self) -> list[int]:
        """Sections of order 0."""
        return [place for place, section in enumerate(self.sections) if section.parent < 0]

    @cached_property
    def daughters(self) -> list[list[int]]:
        """Sections that hang on each section."""
        lists: list[list[int]] = [[] for _ in self.sections]
        for place, section in enumerate(self.sections):
            if section.parent >= 0:
                lists[section.parent].append(place)
        return lists

    @cached_property
    def tips(self) -> NDArray[np.int64]:
        """Number of tips that each section leads to; 1 for a terminal section."""
        counts = np.array([not daughters for daughters in self.daughters], dtype=np.int64)
        for place in range(len(self.sections) - 1, -1, -1):
            if self.sections[place].parent >= 0:
                counts[self.sections[place].parent] += counts[place]
        return counts

    @cached_property
    def lengths_um(self) -> NDArray[np.float64]:
        """Path length of each section."""
        step = self.tree.segment_lengths_um
        return np.array([step[section.points[1:]].sum() for section in self.sections])

    @cached_property
    def chords_um(self) -> NDArray[np.float64]:
        """(n, 3) vector from the start to the end of each section."""
        points = self.tree.points_um
        return np.array([points[s.points[-1]] - points[s.points[0]] for s in self.sections]).reshape(-1, 3)


def domain_of(tree: Tree, swc_types: tuple[int, ...]) -> Domain:
    """The sections of all neurites of the given SWC types.

    A neurite starts where a point of these types hangs on the soma (the way from the soma's centre does not
    count), on a neurite of another type, or on nothing.
    """
    own = np.isin(tree.types, swc_types)
    parents = tree.parents
    own_parent = (parents >= 0) & own[np.maximum(parents, 0)]
    children: list[list[int]] = [[] for _ in range(len(tree))]
    for child in np.flatnonzero(own_parent & own).tolist():
        children[parents[child]].append(child)
    sections: list[Section] = []
    for root in np.flatnonzero(own & ~own_parent).tolist():
        # Without a soma, several daughters of the root are several stems; with one, the root is a stem's first point.
        hangs = parents[root] >= 0 and tree.types[parents[root]] != SOMA
        start = [int(parents[root]), root] if hangs else [root]
        if parents[root] < 0 and len(children[root]) > 1:
            waiting = [([root, child], -1, 0, 0.0) for child in reversed(children[root])]
        else:
            waiting = [(start, -1, 0, 0.0)]
        while waiting:
            run, parent, order, path = waiting.pop()
            while len(children[run[-1]]) == 1:
                run.append(children[run[-1]][0])
            if len(run) > 1:
                place = len(sections)
                sections.append(Section(np.asarray(run), parent, order, path))
                path, order = path + float(tree.segment_lengths_um[run[1:]].sum()), order + 1
            else:
                place = parent  # a stem that branches at its first point has no length of its own
            waiting += [
                ([run[-1], child], place, order if place >= 0 else 0, path) for child in reversed(children[run[-1]])
            ]
    return Domain(tree, tuple(sections), tree.points_um[_centre(tree)])


def _centre(tree: Tree) -> int:
    somata = np.flatnonzero(tree.types == SOMA)
    return int(somata[0]) if somata.size else int(tree.roots[0])

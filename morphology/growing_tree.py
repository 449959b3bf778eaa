"""A tree while it grows: chains of points, and whether a new one would touch what is there."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from .tree import SOMA, Tree

# Along the tree, parts of one joint are no farther apart than this many times their radii and the gap: branches that
# leave at 30° come clear of each other about there.
JOINT = 4.0
# Where they still touch, that is nearer than this share of the gap, they are no farther apart than this many times.
TOUCH = 3.0
MARGIN = 0.3


class GrowingTree:
    """Points so far, in arrays that double when full."""

    def __init__(self) -> None:
        self._count = 0
        self._points = np.empty((256, 3))
        self._radii = np.empty(256)
        self._parents = np.empty(256, dtype=np.int32)
        self._types = np.empty(256, dtype=np.int16)
        self._children: list[list[int]] = []

    def __len__(self) -> int:
        return self._count

    @property
    def points(self) -> NDArray[np.float64]:
        return self._points[: self._count]

    @property
    def radii(self) -> NDArray[np.float64]:
        return self._radii[: self._count]

    @property
    def types(self) -> NDArray[np.int16]:
        return self._types[: self._count]

    def add_chain(
        self, parent: int, points: NDArray[np.float64], radii: NDArray[np.float64], types: NDArray[np.int16]
    ) -> NDArray[np.int64]:
        """Add points one after the other, the first hanging on `parent`; returns their indices."""
        indices = np.arange(self._count, self._count + len(points))
        while indices[-1] >= len(self._radii):
            for name in ("_points", "_radii", "_parents", "_types"):
                array = getattr(self, name)
                setattr(self, name, np.concatenate([array, np.empty_like(array)]))
        self._points[indices] = points
        self._radii[indices] = radii
        self._types[indices] = types
        self._parents[indices] = np.concatenate([[parent], indices[:-1]])
        self._count += len(points)
        self._children += [[index + 1] for index in indices[:-1].tolist()] + [[]]
        if parent >= 0:
            self._children[parent].append(int(indices[0]))
        return indices

    def is_clear(self, points: NDArray[np.float64], radii: NDArray[np.float64], gap_um: float) -> bool:
        """Whether balls at these points keep a gap from the balls at all points so far."""
        return not (self._spare(points, radii, gap_um)[1] <= gap_um).any()

    def has_room(
        self,
        points: NDArray[np.float64],
        radii: NDArray[np.float64],
        arc_um: NDArray[np.float64],
        gap_um: float,
        parent: int,
        path_um: float,
    ) -> bool:
        """Whether a chain that is to hang on `parent` keeps a gap from the tree, but where they are joined.

        Two balls may touch where the way between them along the tree is short (`JOINT` times their radii and the gap)
        and the chain has touched all along: they are parts of one joint. Stems may touch the soma at their start only,
        and each other nowhere.

        Args:
            arc_um: (n,) path from the parent to each point.
            path_um: path from the start of the stem to the parent.
        """
        near, spare = self._spare(points, radii, gap_um)
        close = spare <= gap_um
        if not close.any():
            return True
        reach = radii[:, None] + self.radii[near] + gap_um
        ways = self._ways_along(parent, JOINT * float(reach.max()))
        way = arc_um[:, None] + np.array([ways.get(int(index), np.inf) for index in near])
        soma = self.types[near] == SOMA
        way[:, soma], reach[:, soma] = (path_um + arc_um)[:, None], (radii + gap_um)[:, None]
        # Branches that came clear of each other and touch again would close a loop.
        touching = spare <= MARGIN * gap_um
        run = np.cumprod(touching.any(axis=1)).astype(bool)
        apart = (way > JOINT * reach) | (touching & (way > TOUCH * (reach - (1 - MARGIN) * gap_um)))
        return not ((close & apart) | (touching & ~run[:, None])).any()

    def _spare(
        self, points: NDArray[np.float64], radii: NDArray[np.float64], reach_um: float
    ) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Indices of the points whose balls may come within a reach, and (points, nearby) gaps between the balls."""
        if not len(points) or not self._count:
            return np.empty(0, dtype=np.int64), np.empty((len(points), 0))
        reach = float(radii.max()) + self.radii[:, None] + reach_um
        low, high = points.min(axis=0) - reach, points.max(axis=0) + reach
        near = np.flatnonzero(((self.points > low) & (self.points < high)).all(axis=1))
        distances = np.linalg.norm(self.points[near][None] - points[:, None], axis=2)
        return near, distances - radii[:, None] - self.radii[near]

    def _ways_along(self, start: int, limit_um: float) -> dict[int, float]:
        """Path along the tree, but not through the soma, to each point within a limit."""
        if start < 0 or self._types[start] == SOMA:
            return {}
        ways = {start: 0.0}
        waiting = [start]
        while waiting:
            here = waiting.pop()
            for there in (int(self._parents[here]), *self._children[here]):
                if there < 0 or there in ways or self._types[there] == SOMA:
                    continue
                way = ways[here] + math.dist(self._points[there], self._points[here])
                if way <= limit_um:
                    ways[there] = way
                    waiting.append(there)
        return ways

    def finished(self) -> Tree:
        return Tree(self.points, self.radii, self._parents[: self._count], self.types)

"""What a set of reconstructed or grown arbors measures: the numbers a neuron class is made of."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from .tree import SOMA, Tree


@dataclass
class ArborStatistics:
    """Pooled samples of one domain (one SWC type) over any number of cells.

    Attributes:
        stems: number of stems, one per cell.
        length_um: summed length, one per cell.
        stem_radius_um: radius at the first point of a stem.
        section_length_um: path of sections that end in a branch point.
        terminal_length_um: path of sections that end in a tip.
        branching_angle_deg: angle between the two daughters of a branch point, 5 µm along each.
        tortuosity: path over chord of every stretch `tortuosity_length_um` long.
        taper_per_um: relative loss of radius per µm of path of a section, negative where it gains.
        branched, ended: number of sections of each branching order (0 = stem) that branch and that end.
    """

    stems: list[int] = field(default_factory=list)
    length_um: list[float] = field(default_factory=list)
    stem_radius_um: list[float] = field(default_factory=list)
    section_length_um: list[float] = field(default_factory=list)
    terminal_length_um: list[float] = field(default_factory=list)
    branching_angle_deg: list[float] = field(default_factory=list)
    tortuosity: list[float] = field(default_factory=list)
    taper_per_um: list[float] = field(default_factory=list)
    branched: dict[int, int] = field(default_factory=dict)
    ended: dict[int, int] = field(default_factory=dict)

    def branching_probability(self) -> list[float]:
        """Share of the sections of each order that branch, from order 0 on."""
        orders = range(max([*self.branched, *self.ended], default=-1) + 1)
        totals = [self.branched.get(order, 0) + self.ended.get(order, 0) for order in orders]
        return [
            self.branched.get(order, 0) / total if total else 0.0 for order, total in zip(orders, totals, strict=True)
        ]


def measure_arbors(trees: Iterable[Tree], swc_type: int, tortuosity_length_um: float = 10.0) -> ArborStatistics:
    """Measure all neurites of one SWC type that leave the soma of each tree, in µm."""
    statistics = ArborStatistics()
    for tree in trees:
        _measure_tree(statistics, tree, swc_type, tortuosity_length_um)
    return statistics


def _measure_tree(statistics: ArborStatistics, tree: Tree, swc_type: int, tortuosity_length_um: float) -> None:
    of_type = tree.types == swc_type
    from_soma = (tree.parents >= 0) & (tree.types[np.maximum(tree.parents, 0)] == SOMA)
    stems = np.flatnonzero(of_type & from_soma).tolist()
    statistics.stems.append(len(stems))
    statistics.length_um.append(float(tree.segment_lengths_um[of_type & ~from_soma].sum()))
    starts = [(stem, stem, 0) for stem in stems]
    while starts:
        first, second, order = starts.pop()
        run = [first] if first == second else [first, second]
        while tree.child_counts[run[-1]] == 1:
            run.append(tree.children[run[-1]][0])
        children = [child for child in tree.children[run[-1]] if of_type[child]]
        _measure_section(statistics, tree, np.asarray(run), order, bool(children), tortuosity_length_um)
        if order == 0:
            statistics.stem_radius_um.append(float(tree.radii_um[first]))
        if len(children) == 2:
            ways = [_ahead(tree, run[-1], child) for child in children]
            cosine = float(np.clip(ways[0] @ ways[1], -1, 1))
            statistics.branching_angle_deg.append(float(np.degrees(np.arccos(cosine))))
        starts += [(run[-1], child, order + 1) for child in children]


def _measure_section(
    statistics: ArborStatistics,
    tree: Tree,
    run: NDArray[np.int64],
    order: int,
    branches: bool,
    tortuosity_length_um: float,
) -> None:
    count = statistics.branched if branches else statistics.ended
    count[order] = count.get(order, 0) + 1
    points = tree.points_um[run]
    arc = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1))])
    length = float(arc[-1])
    if length <= 0:
        return
    (statistics.section_length_um if branches else statistics.terminal_length_um).append(length)
    statistics.taper_per_um.append(float(np.log(tree.radii_um[run[0]] / tree.radii_um[run[-1]])) / length)
    marks = np.arange(0.0, length, tortuosity_length_um)
    places = np.stack([np.interp(marks, arc, points[:, axis]) for axis in range(3)], axis=1)
    chords = np.linalg.norm(np.diff(places, axis=0), axis=1)
    statistics.tortuosity.extend((tortuosity_length_um / chords[chords > 0]).tolist())


def _ahead(tree: Tree, start: int, child: int) -> NDArray[np.float64]:
    """Unit vector from a branch point to where the branch is 5 µm away, or ends."""
    point = child
    while tree.child_counts[point] == 1 and np.linalg.norm(tree.points_um[point] - tree.points_um[start]) < 5:
        point = tree.children[point][0]
    way = tree.points_um[point] - tree.points_um[start]
    length = np.linalg.norm(way)
    return way / length if length > 0 else np.array([0.0, 0.0, 1.0])

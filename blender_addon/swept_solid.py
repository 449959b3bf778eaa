"""The solid that a skeleton stands for, as cones and balls: an estimate independent of any mesh."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from ..morphology.tree import SOMA, Tree

# Below this bend the tubes of two segments close by themselves.
OPEN_BEND_COSINE = 0.9985
# Longest piece of a cone, in radii, so that a search by its middle stays local.
LONGEST_PIECE_RADII = 8.0


@dataclass(frozen=True, eq=False)
class SweptSolid:
    """Union of flat-ended cones from `starts_um` to `ends_um`; where both are one point, a ball.

    Attributes:
        starts_um, ends_um: (n, 3).
        start_radii_um, end_radii_um: (n,).
        segments: (n,) the tree's point whose segment to its parent a cone is part of; -1 for balls.
    """

    starts_um: NDArray[np.float64]
    ends_um: NDArray[np.float64]
    start_radii_um: NDArray[np.float64]
    end_radii_um: NDArray[np.float64]
    segments: NDArray[np.int64]

    def volume_um3(self, samples: int, rng: np.random.Generator) -> float:
        """Volume of the union, by the estimator of Karp & Luby 1983.

        Points are drawn within the parts, in proportion to their volumes; each counts for one over the
        number of parts that hold it. The standard error is below the volume / sqrt(samples).
        """
        volumes = self._volumes_um3()
        part = rng.choice(len(volumes), samples, p=volumes / volumes.sum())
        holders = self.holders(self._points_within(part, rng))[0]
        multiplicity = np.bincount(holders, minlength=samples)
        # Rounding may leave a point of a part's rim outside all parts.
        return float(volumes.sum() * (1 / np.maximum(multiplicity, 1)).mean())

    def holders(self, points: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """All pairs (index of a point, index of a part) where the part holds the point."""
        lengths = np.linalg.norm(self.ends_um - self.starts_um, axis=1)
        reaches = lengths / 2 + np.maximum(self.start_radii_um, self.end_radii_um)
        # Parts of like reach share a search tree.
        octaves = np.floor(np.log2(reaches)).astype(int)
        pairs = []
        for octave in np.unique(octaves).tolist():
            members = np.flatnonzero(octaves == octave)
            middles = (self.starts_um[members] + self.ends_um[members]) / 2
            near = cKDTree(middles).query_ball_point(points, 2.0 ** (octave + 1))
            counts = np.array([len(found) for found in near])
            if counts.sum():
                part = members[np.concatenate([found for found in near if found]).astype(np.int64)]
                point = np.repeat(np.arange(len(points)), counts)
                inside = self._holds(part, points[point])
                pairs.append(np.stack([point[inside], part[inside]]))
        point, part = np.concatenate(pairs, axis=1) if pairs else np.empty((2, 0), dtype=np.int64)
        return point, part

    def _holds(self, part: NDArray[np.int64], points: NDArray[np.float64]) -> NDArray[np.bool_]:
        axis = self.ends_um[part] - self.starts_um[part]
        away = points - self.starts_um[part]
        square = np.einsum("ij,ij->i", axis, axis)
        is_ball = square == 0
        share = np.einsum("ij,ij->i", away, axis) / np.where(is_ball, 1.0, square)
        distance = np.linalg.norm(away - share[:, None] * axis, axis=1)
        radius = self.start_radii_um[part] + share * (self.end_radii_um[part] - self.start_radii_um[part])
        return (distance <= radius) & (is_ball | ((share >= 0) & (share <= 1)))

    def _volumes_um3(self) -> NDArray[np.float64]:
        lengths = np.linalg.norm(self.ends_um - self.starts_um, axis=1)
        first, second = self.start_radii_um, self.end_radii_um
        cones = np.pi / 3 * lengths * (first**2 + first * second + second**2)
        return np.where(lengths > 0, cones, 4 / 3 * np.pi * first**3)

    def _points_within(self, part: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.float64]:
        """One point drawn evenly within each of the given parts."""
        count = len(part)
        axis = self.ends_um[part] - self.starts_um[part]
        length = np.linalg.norm(axis, axis=1)
        first, second = self.start_radii_um[part], self.end_radii_um[part]
        # Cross-section grows with the square of the radius: the radius cubed is spread evenly.
        cubed = first**3 + rng.random(count) * (second**3 - first**3)
        even = np.abs(second - first) < 1e-9 * first
        share = np.where(even, rng.random(count), (np.cbrt(cubed) - first) / np.where(even, 1.0, second - first))
        direction = rng.normal(size=(count, 3))
        unit = axis / np.where(length > 0, length, 1.0)[:, None]
        radial = direction - np.einsum("ij,ij->i", direction, unit)[:, None] * unit
        radial /= np.linalg.norm(radial, axis=1)[:, None]
        radius = first + share * (second - first)
        in_cone = share[:, None] * axis + (radius * np.sqrt(rng.random(count)))[:, None] * radial
        in_ball = (first * np.cbrt(rng.random(count)))[:, None] * radial
        return self.starts_um[part] + np.where(length[:, None] > 0, in_cone, in_ball)


def swept_solid(tree: Tree) -> SweptSolid:
    """Cones of all segments, and balls where segments meet at an angle, branch, or stand for a soma.

    A branch starts with its own radius, not with that of the trunk or soma it hangs on.
    """
    children = np.flatnonzero(tree.parents >= 0)
    parents = tree.parents[children]
    in_soma = (tree.types[children] == SOMA) & (tree.types[parents] == SOMA)
    satellites = in_soma & _is_whole_soma(tree)[parents]
    children, parents = children[~satellites], parents[~satellites]
    start_radii = np.where(tree.types[parents] == SOMA, tree.radii_um[children], tree.radii_um[parents])
    branching = tree.child_counts[parents] > 1
    start_radii[branching] = np.minimum(start_radii, tree.radii_um[children])[branching]
    starts, ends = tree.points_um[parents], tree.points_um[children]
    lengths = np.linalg.norm(ends - starts, axis=1)
    cones = lengths > 1e-9
    pieces = _cut(starts[cones], ends[cones], start_radii[cones], tree.radii_um[children][cones], children[cones])
    ball_radii = _ball_radii_um(tree)
    balls = np.flatnonzero(ball_radii)
    centres, radii = tree.points_um[balls], ball_radii[balls]
    return SweptSolid(
        np.concatenate([pieces[0], centres]),
        np.concatenate([pieces[1], centres]),
        np.concatenate([pieces[2], radii]),
        np.concatenate([pieces[3], radii]),
        np.concatenate([pieces[4], np.full(len(balls), -1)]),
    )


def _is_whole_soma(tree: Tree) -> NDArray[np.bool_]:
    """Points of type soma that stand for a ball: roots whose soma children, if any, are leaves."""
    inner = np.zeros(len(tree), dtype=bool)
    soma_parent = (tree.parents >= 0) & (tree.types == SOMA) & (tree.child_counts > 0)
    inner[tree.parents[soma_parent]] = True
    return (tree.types == SOMA) & (tree.parents < 0) & ~inner


def _ball_radii_um(tree: Tree) -> NDArray[np.float64]:
    """(n,) radius of the ball that fills the gap between the cones that meet at a point; 0 where there is
    none.

    Where a cone is steep, the ball is the largest that touches it from within, so that it does not bulge out.
    """
    whole_soma = _is_whole_soma(tree)
    filled = (tree.child_counts > 1) & (tree.types != SOMA)
    middle = tree.parents[tree.parents >= 0]
    child = np.flatnonzero(tree.parents >= 0)
    before = tree.parents[middle]
    known = before >= 0
    middle, child, before = middle[known], child[known], before[known]
    first, second = tree.points_um[middle] - tree.points_um[before], tree.points_um[child] - tree.points_um[middle]
    scale = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    bent = np.einsum("ij,ij->i", first, second) < OPEN_BEND_COSINE * scale
    filled[middle[bent & (tree.child_counts[middle] == 1)]] = True
    lengths = tree.segment_lengths_um
    rise = tree.radii_um - tree.radii_um[np.maximum(tree.parents, 0)]
    cosines = np.where(tree.parents >= 0, lengths / np.maximum(np.hypot(lengths, rise), 1e-12), 1.0)
    cosines[whole_soma[np.maximum(tree.parents, 0)] & (tree.parents >= 0)] = 1.0
    inscribed = cosines.copy()
    only = child[tree.child_counts[middle] == 1]
    inscribed[tree.parents[only]] = np.minimum(cosines[tree.parents[only]], cosines[only])
    inscribed *= tree.radii_um
    # A ball that reaches over a flat end would round it.
    ends = np.union1d(tree.tips, tree.roots[~whole_soma[tree.roots]])
    filled &= cKDTree(tree.points_um[ends]).query(tree.points_um)[0] >= inscribed
    return np.where(whole_soma, tree.radii_um, np.where(filled, inscribed, 0.0))


def _cut(
    starts: NDArray[np.float64],
    ends: NDArray[np.float64],
    start_radii: NDArray[np.float64],
    end_radii: NDArray[np.float64],
    segments: NDArray[np.int64],
) -> tuple[NDArray[Any], ...]:
    """Cut long cones across into short ones."""
    lengths = np.linalg.norm(ends - starts, axis=1)
    counts = np.ceil(lengths / (LONGEST_PIECE_RADII * np.maximum(start_radii, end_radii))).astype(int)
    cone = np.repeat(np.arange(len(counts)), counts)
    place = np.arange(len(cone)) - np.repeat(np.cumsum(counts) - counts, counts)
    low, high = place / counts[cone], (place + 1) / counts[cone]
    axes, slopes = (ends - starts)[cone], (end_radii - start_radii)[cone]
    return (
        starts[cone] + low[:, None] * axes,
        starts[cone] + high[:, None] * axes,
        start_radii[cone] + low * slopes,
        start_radii[cone] + high * slopes,
        segments[cone],
    )

"""What lone neurites measure: shaft radius, tortuosity, varicosities, twigs; and classes fitted to them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy import signal

from .distribution_fit import fit_distribution, normal_correlation, shared_variance, significant, two_sample_distance
from .neuron_class import NeuronClass, Spine, Varicosity
from .tree import Tree

STEP_UM = 0.05
# Stretches that tortuosity is taken over, where neurites are long enough.
STRETCH_UM = 2.0
# A terminal branch of this length beside the shaft, from its surface on, is a twig: a spine, or a filopodium.
TWIG_UM = (0.4, 3.0)
# A varicosity is this much thicker than the shaft's median, and stands out by as much.
SWELLING = 1.4
# Groups of a class are fitted where there are this many samples.
ENOUGH = 20


@dataclass
class NeuriteShape:
    """Samples over any number of neurites.

    Attributes:
        shaft_radius_um: of bare shaft but its ends, every 0.05 µm, by neurite.
        length_um: of the shaft (the longest path), one per neurite.
        tortuosity: path over chord of stretches of the shaft, `stretch_um` long.
        section_length_um: between branch points; twigs do not make one.
        varicosity_spacing_um, varicosity_radius_um, varicosity_length_um: along the shaft.
        twig_density_per_um: one per neurite.
        twig_length_um, twig_neck_um, twig_head_um: from the shaft's surface; least radius of the
            inner half and greatest of the outer.
    """

    stretch_um: float
    shaft_radius_um: list[NDArray[np.float64]] = field(default_factory=list)
    length_um: list[float] = field(default_factory=list)
    tortuosity: list[float] = field(default_factory=list)
    section_length_um: list[float] = field(default_factory=list)
    varicosity_spacing_um: list[float] = field(default_factory=list)
    varicosity_radius_um: list[float] = field(default_factory=list)
    varicosity_length_um: list[float] = field(default_factory=list)
    twig_density_per_um: list[float] = field(default_factory=list)
    twig_length_um: list[float] = field(default_factory=list)
    twig_neck_um: list[float] = field(default_factory=list)
    twig_head_um: list[float] = field(default_factory=list)


def measure_neurites(trees: Sequence[Tree], stretch_um: float = STRETCH_UM) -> NeuriteShape:
    """Measure neurites; each is one tree, rooted anywhere."""
    found = NeuriteShape(stretch_um)
    for tree in trees:
        shaft = longest_path(tree)
        arc = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(tree.points_um[shaft], axis=0), axis=1))])
        if arc[-1] < 8 * STEP_UM:
            continue
        # Towards its ends the distance to the surface is that to the end.
        margin = min(float(np.median(tree.radii_um[shaft])), arc[-1] / 4)
        places = np.arange(margin, arc[-1] - margin, STEP_UM)
        radii = np.interp(places, arc, tree.radii_um[shaft])
        found.length_um.append(float(arc[-1]))
        found.tortuosity += _tortuosities(tree.points_um[shaft], arc, stretch_um)
        bare = _measure_varicosities(found, radii)
        found.shaft_radius_um.append(radii[bare])
        _measure_branches(found, tree, set(shaft.tolist()), float(arc[-1]))
    return found


def longest_path(tree: Tree) -> NDArray[np.int64]:
    """Points from tip to tip along the longest path of a tree."""
    lengths = tree.segment_lengths_um
    below = np.zeros(len(tree))
    best, top = -1.0, 0
    ways: list[list[tuple[float, int]]] = [[] for _ in range(len(tree))]
    for point in range(len(tree) - 1, -1, -1):
        arms = sorted(ways[point], reverse=True)
        below[point] = arms[0][0] if arms else 0.0
        total = sum(length for length, _ in arms[:2])
        if total > best:
            best, top = total, point
        if tree.parents[point] >= 0:
            ways[tree.parents[point]].append((below[point] + float(lengths[point]), point))
    halves = []
    for _, start in sorted(ways[top], reverse=True)[:2]:
        half = [start]
        while ways[half[-1]]:
            half.append(max(ways[half[-1]])[1])
        halves.append(half)
    first = halves[0] if halves else []
    second = halves[1] if len(halves) > 1 else []
    return np.array([*reversed(first), top, *second])


def stretch_for(shape: NeuriteShape) -> float:
    """Stretch that tortuosity is taken over: at most half of the usual shaft."""
    return min(STRETCH_UM, significant(float(np.median(shape.length_um)) / 2))


def fit_neurites(name: str, shape: NeuriteShape, source: str) -> NeuronClass:
    """Class of kind neurite with the distributions of the measured shapes."""
    radii = np.concatenate(shape.shaft_radius_um)
    # One radius in ten, so that the goodness of fit counts radii and not their neighbours.
    apart = [neurite[:: max(1, round(0.5 / STEP_UM))] for neurite in shape.shaft_radius_um]
    sections = shape.section_length_um if len(shape.section_length_um) >= ENOUGH else shape.length_um
    varicosity = spine = None
    if len(shape.varicosity_spacing_um) >= ENOUGH:
        varicosity = Varicosity(
            spacing_um=fit_distribution(shape.varicosity_spacing_um, source),
            radius_um=fit_distribution(shape.varicosity_radius_um, source),
            length_um=fit_distribution(shape.varicosity_length_um, source),
        )
    if len(shape.twig_length_um) >= ENOUGH:
        spine = Spine(
            density_per_um=fit_distribution(shape.twig_density_per_um, source),
            length_um=fit_distribution(shape.twig_length_um, source),
            neck_radius_um=fit_distribution(shape.twig_neck_um, source),
            head_radius_um=fit_distribution(shape.twig_head_um, source),
            neck_head_correlation=significant(normal_correlation(shape.twig_neck_um, shape.twig_head_um)),
        )
    return NeuronClass(
        name=name,
        source=source,
        kind="neurite",
        shaft_radius_um=fit_distribution(radii, source, 1e-3),
        radius_correlation=significant(shared_variance(apart)),
        radius_period_um=significant(_radius_period(shape.shaft_radius_um)),
        section_length_um=fit_distribution(sections, source, 1e-3),
        tortuosity=fit_distribution(shape.tortuosity, source, 1.0),
        tortuosity_length_um=shape.stretch_um,
        varicosity=varicosity,
        spine=spine,
    )


def neurite_distances(first: NeuriteShape, second: NeuriteShape) -> dict[str, float]:
    """Two-sample Kolmogorov-Smirnov distances, pooled over neurites, of what both have samples of."""
    found = {}
    for key in vars(first):
        if key in ("stretch_um", "length_um", "section_length_um"):
            continue  # lengths are cut by the faces of the volume
        samples = [getattr(shape, key) for shape in (first, second)]
        if key == "shaft_radius_um":
            samples = [np.concatenate(sample) if sample else [] for sample in samples]
        if all(len(sample) for sample in samples):
            found[key] = two_sample_distance(*samples)
    return found


def _tortuosities(points: NDArray[np.float64], arc: NDArray[np.float64], stretch_um: float) -> list[float]:
    marks = np.arange(0.0, arc[-1], stretch_um)
    places = np.stack([np.interp(marks, arc, points[:, axis]) for axis in range(3)], axis=1)
    chords = np.linalg.norm(np.diff(places, axis=0), axis=1)
    return (stretch_um / chords[chords > 0]).tolist()


def _measure_varicosities(found: NeuriteShape, radii: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Adds the varicosities along a shaft, and returns where it is bare."""
    usual = float(np.median(radii))
    peaks, _ = signal.find_peaks(
        radii, height=SWELLING * usual, prominence=(SWELLING - 1) * usual, distance=max(1, round(0.3 / STEP_UM))
    )
    bare = np.ones(len(radii), dtype=bool)
    if not len(peaks):
        return bare
    # An ellipsoid is √3/2 of its length wide where it is half as thick as at its middle.
    _, _, low, high = signal.peak_widths(radii, peaks, rel_height=0.5)
    for left, right in zip(low, high, strict=True):
        middle, half = (left + right) / 2, (right - left) / np.sqrt(3)
        bare[max(0, int(middle - half)) : int(middle + half) + 1] = False
        found.varicosity_length_um.append(2 * half * STEP_UM)
    found.varicosity_radius_um += radii[peaks].tolist()
    found.varicosity_spacing_um += (np.diff(peaks) * STEP_UM).tolist()
    return bare if bare.any() else np.ones(len(radii), dtype=bool)


def _measure_branches(found: NeuriteShape, tree: Tree, shaft: set[int], length_um: float) -> None:
    """Adds the twigs that stand on a shaft, and the sections between branch points that no twig makes."""
    twigs = 0
    kept = np.ones(len(tree), dtype=bool)
    for run in tree.sections():
        along = np.concatenate([[0.0], np.cumsum(tree.segment_lengths_um[run[1:]])])
        beyond = float(along[-1] - tree.radii_um[run[0]])
        if tree.child_counts[run[-1]] or int(run[-1]) in shaft or beyond > TWIG_UM[1]:
            continue
        kept[run[1:]] = False
        if int(run[0]) in shaft and beyond >= TWIG_UM[0]:
            twigs += 1
            radii = tree.radii_um[run[along >= tree.radii_um[run[0]]]]
            half = len(radii) // 2
            found.twig_length_um.append(beyond + float(tree.radii_um[run[-1]]))
            found.twig_neck_um.append(float(radii[: half + 1].min()))
            found.twig_head_um.append(float(radii[half:].max()))
    found.twig_density_per_um.append(twigs / length_um)
    bare = _part(tree, kept)
    ends = {*bare.tips.tolist(), *bare.roots.tolist()}
    for run in bare.sections():
        if not ends & {int(run[0]), int(run[-1])}:
            found.section_length_um.append(float(bare.segment_lengths_um[run[1:]].sum()))


def _part(tree: Tree, kept: NDArray[np.bool_]) -> Tree:
    """The tree of some of its points; what hangs on others is not among them."""
    place = np.cumsum(kept) - 1
    parents = np.where(tree.parents >= 0, place[np.maximum(tree.parents, 0)], -1)
    return Tree(tree.points_um[kept], tree.radii_um[kept], parents[kept], tree.types[kept])


def _radius_period(neurites: Sequence[NDArray[np.float64]]) -> float:
    """Twice the path after which the radius has half forgotten itself, 0.2 to 10 µm."""
    lags = max(2, round(5.0 / STEP_UM))
    products, counts = np.zeros(lags), np.zeros(lags)
    for radii in neurites:
        rest = np.log(radii) - np.log(radii).mean()
        for lag in range(min(lags, len(rest))):
            products[lag] += (rest[: len(rest) - lag] * rest[lag:]).sum()
            counts[lag] += len(rest) - lag
    kept = products / np.maximum(counts, 1)
    below = np.flatnonzero(kept < 0.5 * kept[0]) if kept[0] > 0 else np.empty(0, dtype=int)
    return float(np.clip(2 * STEP_UM * (below[0] if below.size else lags), 0.2, 10.0))

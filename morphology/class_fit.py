"""Fitting a class of whole neurons to reconstructed cells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from . import neuron_class as model
from .distribution import Distribution
from .distribution_fit import fit_distribution, normal_correlation, shared_variance, significant
from .frame import aligned
from .morphometry import branch_angles, measure, tip_pairs, way_along
from .neuron_class import NeuronClass
from .sections import Domain, domain_of
from .topology import LEAST_BALANCE, MOST_BALANCE, fit_balance
from .tree import APICAL_DENDRITE, AXON, DENDRITE, SOMA, Tree

# An arbor is flat where the thinner of its two widths is below this share of the other; above, chance can do it.
FLAT = 0.5
SHORTEST_UM = 0.01


@dataclass(frozen=True)
class DomainKind:
    """A domain that a set of cells has: its name, its kind of neurite and the SWC types that belong to it."""

    name: str
    neurite: str
    swc_types: tuple[int, ...]


def domain_kinds(trees: Sequence[Tree]) -> list[DomainKind]:
    """The domains of a set of cells.

    Apical dendrites that fewer than half of the cells with dendrites have are counted with the other dendrites;
    points of types beyond 4, or 0, are neurites of no stated kind.
    """
    present = [set(np.unique(tree.types).tolist()) - {SOMA} for tree in trees]
    apical = sum(APICAL_DENDRITE in types for types in present)
    dendritic = sum(bool(types & {DENDRITE, APICAL_DENDRITE}) for types in present)
    every = set().union(*present)
    kinds = []
    if apical and 2 * apical >= dendritic:
        kinds.append(DomainKind("apical", "apical_dendrite", (APICAL_DENDRITE,)))
        if DENDRITE in every:
            kinds.append(DomainKind("basal", "dendrite", (DENDRITE,)))
    elif dendritic:
        kinds.append(DomainKind("dendrites", "dendrite", (DENDRITE, APICAL_DENDRITE)))
    if AXON in every:
        kinds.append(DomainKind("axon", "axon", (AXON,)))
    other = tuple(sorted(every - {AXON, DENDRITE, APICAL_DENDRITE}))
    if other:
        kinds.append(DomainKind("neurites", "neurite", other))
    return kinds


def fit_class(name: str, cells: Mapping[str, Tree], kinds: Sequence[DomainKind], source: str) -> NeuronClass:
    """Class whose distributions are those of the cells; pulls are left at 0 (`calibration.calibrated`).

    Args:
        cells: the trees by the names of their files.
        kinds: the domains to fit (`domain_kinds`); cells without one do not count for it.
        source: where the cells come from; it ends up in every distribution.
    """
    trees = [aligned(tree) for tree in cells.values()]
    domains: dict[str, model.Domain] = {}
    for kind in kinds:
        found = [domain for tree in trees if (domain := domain_of(tree, kind.swc_types)).sections]
        domains[kind.name] = _fit_domain(kind, found, f"fitted to {len(found)} cells of {source}")
    everything = measure(domain_of(tree, kind.swc_types) for tree in trees for kind in kinds)
    text = f"fitted to {len(cells)} cells of {source}, all domains"
    somata = [float(tree.radii_um[tree.types == SOMA].max()) for tree in trees if (tree.types == SOMA).any()]
    return NeuronClass(
        name=name,
        source=f"fitted to {len(cells)} cells of {source}: {', '.join(cells)}",
        kind="cell",
        shaft_radius_um=fit_distribution(everything.radius_um, text),
        section_length_um=fit_distribution(everything.section_length_um, text, SHORTEST_UM),
        tortuosity=fit_distribution(everything.tortuosity, text, 1.0),
        arbor=model.Arbor(
            soma_radius_um=fit_distribution(somata, f"fitted to {len(somata)} cells of {source}") if somata else None,
            flatness=_flatness(trees),
            domains=domains,
        ),
    )


def _fit_domain(kind: DomainKind, domains: Sequence[Domain], source: str) -> model.Domain:
    tips = [domain.tips[domain.stems] for domain in domains]
    lengths = [np.maximum(domain.lengths_um, SHORTEST_UM) for domain in domains]
    ends = [domain.tips == 1 for domain in domains]
    stems = [np.array([section.parent < 0 for section in domain.sections]) for domain in domains]
    starts = [np.array([section.start_um for section in domain.sections]) for domain in domains]
    decay = _decay(_picked(starts, ends), _picked(lengths, ends))
    orders = [np.array([max(section.order, 1) for section in domain.sections]) for domain in domains]
    between = [~stem & ~end for stem, end in zip(stems, ends, strict=True)]
    exponent = _length_exponent(orders, lengths, between)
    level = [
        length * np.exp(decay * start * end) * order ** (-exponent * mid)
        for length, start, end, order, mid in zip(lengths, starts, ends, orders, between, strict=True)
    ]
    longest = float(np.concatenate(lengths).max())
    trunks = _picked(lengths, [stem & ~end for stem, end in zip(stems, ends, strict=True)])
    inner = _picked(level, between)
    everything = measure(domains)
    radii = _radii(domains)
    direction, spread = _direction(domains)

    def fitted(sample: Sequence[float] | NDArray[np.float64], low: float | None = None) -> Distribution:
        return fit_distribution(sample, source, low)

    angles = [angle for domain in domains for angle in branch_angles(domain)]
    return model.Domain.model_validate(
        {
            "neurite": kind.neurite,
            "stems": fitted([len(domain.stems) for domain in domains]),
            "tips": fitted(np.concatenate(tips)),
            "tips_correlation": significant(shared_variance(tips)),
            "balance": significant(float(np.clip(_balance(domains), LEAST_BALANCE, MOST_BALANCE))),
            "stem_length_um": fitted(trunks) if len(trunks) else None,
            "section_length_um": fitted(inner if len(inner) else np.concatenate(lengths)),
            "length_exponent": significant(exponent),
            "terminal_length_um": fitted(np.minimum(_picked(level, ends), longest)),
            "terminal_decay_per_um": significant(decay),
            "length_correlation": significant(shared_variance(level)),
            "tortuosity": fitted(everything.tortuosity, 1.0),
            "tortuosity_correlation": significant(
                normal_correlation(everything.section_length_um, everything.tortuosity)
            ),
            "branching_angle_deg": fitted(angles if angles else [60.0]),
            "tip_radius_um": fitted(radii.tip_um),
            "rall_exponent": significant(radii.exponent),
            "radius_spread": significant(radii.spread),
            "radius_memory": significant(radii.memory),
            "taper_per_um": significant(radii.taper_per_um),
            "direction": direction,
            "spread_deg": spread,
        }
    )


def _balance(domains: Sequence[Domain]) -> float:
    return fit_balance(pair for domain in domains for pair in tip_pairs(domain))


def _picked(arrays: Sequence[NDArray], masks: Sequence[NDArray[np.bool_]]) -> NDArray[np.float64]:
    return np.concatenate([array[mask] for array, mask in zip(arrays, masks, strict=True)])


def _decay(starts_um: NDArray[np.float64], lengths_um: NDArray[np.float64]) -> float:
    """Rate at which terminal sections get shorter with the path to them; 0 where chance could do it (5 %)."""
    if len(starts_um) < 3 or np.ptp(starts_um) == 0:
        return 0.0
    line = stats.linregress(starts_um, np.log(lengths_um))
    return float(max(0.0, -line.slope)) if line.pvalue < 0.05 else 0.0


def _length_exponent(
    orders: Sequence[NDArray[np.int64]], lengths_um: Sequence[NDArray[np.float64]], between: Sequence[NDArray[np.bool_]]
) -> float:
    """Power of the branching order that sections between branch points go with, within cells; 0 where chance could
    do it (5 %).
    """
    first, second = [], []
    for order, length, mid in zip(orders, lengths_um, between, strict=True):
        if mid.sum() > 1:
            logs = np.log(order[mid]), np.log(length[mid])
            first.append(logs[0] - logs[0].mean())
            second.append(logs[1] - logs[1].mean())
    if not first or np.ptp(np.concatenate(first)) == 0 or sum(map(len, first)) < 4:
        return 0.0
    line = stats.linregress(np.concatenate(first), np.concatenate(second))
    return float(np.clip(line.slope, -2, 2)) if line.pvalue < 0.05 else 0.0


@dataclass(frozen=True)
class _Radii:
    tip_um: NDArray[np.float64]
    exponent: float
    spread: float
    memory: float
    taper_per_um: float


def _radii(domains: Sequence[Domain]) -> _Radii:
    """Radius of sections against the tips they lead to: one line through the logarithms, a height for each cell."""
    heights, slopes = [], np.zeros(2)
    taper = np.zeros(2)
    samples = []
    for domain in domains:
        radius = np.array([np.median(domain.tree.radii_um[section.points[1:]]) for section in domain.sections])
        size, thickness = np.log(domain.tips), np.log(radius)
        samples.append((size, thickness))
        slopes += (np.sum((size - size.mean()) * (thickness - thickness.mean())), np.sum((size - size.mean()) ** 2))
        for section in domain.sections:
            own = section.points[1:]
            if len(own) > 2:
                place = np.cumsum(domain.tree.segment_lengths_um[own])
                place -= place.mean()
                taper += (-(place * np.log(domain.tree.radii_um[own])).sum(), (place**2).sum())
    slope = float(np.clip(slopes[0] / slopes[1], 1e-3, 1.0)) if slopes[1] > 0 else 2 / 3
    residuals = []
    for size, thickness in samples:
        heights.append(float((thickness - slope * size).mean()))
        residuals.append(thickness - slope * size - heights[-1])
    spread = float(np.concatenate(residuals).std())
    kin = np.array(
        [
            (rest[section.parent], rest[place])
            for domain, rest in zip(domains, residuals, strict=True)
            for place, section in enumerate(domain.sections)
            if section.parent >= 0
        ]
    ).reshape(-1, 2)
    memory = float(np.clip((kin[:, 0] * kin[:, 1]).mean() / spread**2, 0, 0.99)) if len(kin) > 2 and spread > 0 else 0.0
    return _Radii(
        np.exp(heights), 1 / slope, spread, memory, float(max(0.0, taper[0] / taper[1])) if taper[1] > 0 else 0.0
    )


def _direction(domains: Sequence[Domain]) -> tuple[tuple[float, float, float] | None, float]:
    """Axis of the stems, and half angle of the cone that has their mean cosine with it."""
    ways = np.array([way_along(domain, place) for domain in domains for place in domain.stems])
    norms = np.linalg.norm(ways, axis=1)
    ways = ways[norms > 0] / norms[norms > 0, None]
    if not len(ways):
        return None, 180.0
    mean = ways.mean(axis=0)
    length = float(np.linalg.norm(mean))
    # A mean this short comes about by chance (Rayleigh's test in three dimensions: 3 n R² is χ² of 3 degrees).
    if 3 * len(ways) * length**2 < stats.chi2.ppf(0.95, 3) and len(ways) > 2:
        return None, 180.0
    axis = mean / length
    # The cosine is uniform within a cone, so its mean is that of 1 and the edge's.
    spread = float(np.degrees(np.arccos(np.clip(2 * length - 1, -1, 1))))
    return (round(axis[0], 3), round(axis[1], 3), round(axis[2], 3)), round(spread, 1)


def _flatness(trees: Sequence[Tree]) -> float:
    """1 - depth over width of the arbors across their axis, where that is far from a round arbor's."""
    shares = []
    for tree in trees:
        points = tree.points_um[tree.types != SOMA]
        if len(points) > 2:
            shares.append(float(points[:, 1].std() / max(points[:, 0].std(), 1e-9)))
    share = float(np.median(shares)) if shares else 1.0
    return significant(1 - share) if share < FLAT else 0.0

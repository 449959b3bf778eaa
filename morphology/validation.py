"""Grown cells against held-out real ones, beside real ones against each other."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from .calibration import calibrated
from .class_fit import DomainKind, domain_kinds, fit_class
from .distribution_fit import two_sample_distance
from .growth import grow_neuron
from .morphometry import Morphometry, measure
from .neuron_class import NeuronClass
from .sections import domain_of
from .tree import Tree

QUANTITIES = {
    "sholl": "Sholl profile",
    "length": "total length",
    "section_length": "section length",
    "branch_order": "branch order",
    "branch_angle": "branch angle",
    "tortuosity": "tortuosity",
    "radius": "radius against path distance",
    "asymmetry": "tree asymmetry",
}
LEAST_CELLS = 4
PATH_BINS = 5


@dataclass
class Validation:
    """Kolmogorov-Smirnov distances of one class, one value per split in every list.

    Attributes:
        generated: by domain and quantity, cells grown from a fit to the one part against the other part.
        real: the same for the one part itself against the other.
        grown, held_out: samples of the last split, by domain, for the figures.
        cells: number of real cells by domain.
    """

    generated: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    real: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    grown: dict[str, Morphometry] = field(default_factory=dict)
    held_out: dict[str, Morphometry] = field(default_factory=dict)
    cells: dict[str, int] = field(default_factory=dict)

    def table(self, which: str) -> dict[str, float]:
        """Distance by quantity, mean over domains and splits; `which` is "generated" or "real"."""
        by_domain: dict[str, dict[str, list[float]]] = getattr(self, which)
        return {
            key: float(np.mean([np.mean(quantities[key]) for quantities in by_domain.values()])) for key in QUANTITIES
        }

    def medians(self) -> tuple[float, float]:
        """Median over the eight quantities, of grown and of real cells against held-out ones."""
        return float(np.median(list(self.table("generated").values()))), float(
            np.median(list(self.table("real").values()))
        )


def validate(
    cells: Mapping[str, Tree],
    held_out: float,
    splits: int,
    seed: int,
    report: Callable[[float, str], None] = lambda fraction, note: None,
) -> Validation:
    """Compare grown with held-out real cells over random splits.

    In every split a class is fitted to one part of the cells, and as many cells as that part has are grown from it;
    grown cells and that part are both compared with the other part. Files without a domain do not count for it.

    Args:
        held_out: share of the cells in the other part; 0.5 gives split halves.

    Raises:
        ValueError: too few cells.
    """
    if len(cells) < LEAST_CELLS:
        raise ValueError(
            f"{len(cells)} cell(s), but {LEAST_CELLS} are needed, to fit to some and hold out others"
        )
    kinds = domain_kinds(list(cells.values()))
    found = Validation()
    for kind in kinds:
        found.cells[kind.name] = sum(bool(domain_of(tree, kind.swc_types).sections) for tree in cells.values())
        found.generated[kind.name] = {key: [] for key in QUANTITIES}
        found.real[kind.name] = {key: [] for key in QUANTITIES}
    for number in range(splits):
        rng = np.random.default_rng((seed, number))
        report(number / splits, f"split {number + 1} of {splits}")
        fitted, other = split_cells(cells, kinds, held_out, rng)
        used = [kind for kind in kinds if _has(fitted, kind) and _has(other, kind)]
        trial = calibrated(fit_class("trial", fitted, used, "trial"), fitted, used, seed + number)
        grown = _grow(trial, len(fitted), rng)
        for kind in used:
            parts = [measure(domain_of(tree, kind.swc_types) for tree in part.values()) for part in (fitted, other)]
            new = measure(domain_of(tree, kind.swc_types) for tree in grown[: len(parts[0].length_um)])
            for key in QUANTITIES:
                found.generated[kind.name][key].append(distance(new, parts[1], key))
                found.real[kind.name][key].append(distance(parts[0], parts[1], key))
            found.grown[kind.name], found.held_out[kind.name] = new, parts[1]
    return found


def split_cells(
    cells: Mapping[str, Tree], kinds: Sequence[DomainKind], held_out: float, rng: np.random.Generator
) -> tuple[dict[str, Tree], dict[str, Tree]]:
    """Two parts at random; files with the same domains are shared out alike, and no part is empty."""
    groups: dict[tuple[bool, ...], list[str]] = {}
    for name, tree in cells.items():
        groups.setdefault(tuple(_has({name: tree}, kind) for kind in kinds), []).append(name)
    order = [name for names in groups.values() for name in rng.permutation(names).tolist()]
    # Every place of the order gets its turn; the start of the turns is drawn.
    turns = np.floor((np.arange(len(order)) + rng.random()) * held_out + 1e-9)
    is_held = np.diff(np.concatenate([turns, [np.floor((len(order) + rng.random()) * held_out)]])) > 0
    if is_held.all() or not is_held.any():
        is_held[:] = is_held.all()
        one = int(rng.integers(len(order)))
        is_held[one] = not is_held[one]
    fitted = {name: cells[name] for name, held in zip(order, is_held, strict=True) if not held}
    return fitted, {name: cells[name] for name, held in zip(order, is_held, strict=True) if held}


def distance(first: Morphometry, second: Morphometry, key: str) -> float:
    """Two-sample Kolmogorov-Smirnov distance of one quantity.

    Radius against path distance: the mean over fifths of the path (of `second`) of the distance of the radii there.
    """
    if key == "radius":
        edges = np.quantile(second.path_um, np.linspace(0, 1, PATH_BINS + 1)[1:-1])
        bins = [np.searchsorted(edges, sample.path_um) for sample in (first, second)]
        values = [np.asarray(sample.radius_um) for sample in (first, second)]
        here = [two_sample_distance(values[0][bins[0] == k], values[1][bins[1] == k]) for k in range(PATH_BINS)]
        return float(np.mean(here))
    names = {"sholl": "sholl_um", "length": "length_um", "section_length": "section_length_um"}
    name = names.get(key, "branch_angle_deg" if key == "branch_angle" else key)
    return two_sample_distance(np.asarray(getattr(first, name)), np.asarray(getattr(second, name)))


def _grow(neuron_class: NeuronClass, count: int, rng: np.random.Generator) -> list[Tree]:
    return [grow_neuron(neuron_class, rng) for _ in range(count)]


def _has(cells: Mapping[str, Tree], kind: DomainKind) -> bool:
    return any(np.isin(tree.types, kind.swc_types).any() for tree in cells.values())

"""Setting the pull of a class's domains so that grown arbors reach as far from the soma as measured ones."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from .class_fit import DomainKind
from .distribution_fit import significant
from .growth import grow_neuron
from .morphometry import sholl_crossings
from .neuron_class import NeuronClass
from .sections import Domain, domain_of
from .tree import Tree

GROWN_CELLS = 4
# Pulls that are tried, over one typical section; then the ones halfway to the neighbours of the best.
STRENGTHS = [-0.5, -0.25, -0.1, 0.0, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0]
# Domains whose stems leave within this cone may be pulled along its axis.
NARROW_DEG = 75.0


def calibrated(neuron_class: NeuronClass, cells: Mapping[str, Tree], kinds: list[DomainKind], seed: int) -> NeuronClass:
    """The class with each domain's pull set by growing cells from it.

    Pulls are tried until the grown Sholl profile is as near as it gets to the measured one (Wasserstein distance). For
    a domain with a narrow cone of stems, pulls along its axis and away from the soma are both tried.
    """
    assert neuron_class.arbor is not None
    domains = dict(neuron_class.arbor.domains)
    for kind in kinds:
        real = [found for tree in cells.values() if (found := domain_of(tree, kind.swc_types)).sections]
        profile = _profile(real)
        narrow = domains[kind.name].direction is not None and domains[kind.name].spread_deg <= NARROW_DEG
        best, nearest = domains[kind.name], np.inf
        for outward in (True, False) if narrow else (True,):
            pull, miss = _pull(neuron_class, kind, outward, profile, seed)
            if miss < nearest:
                best = domains[kind.name].model_copy(update={"pull_per_um": pull, "pull_outward": outward and narrow})
                nearest = miss
        domains[kind.name] = best
    return _with_domains(neuron_class, domains)


def _pull(
    neuron_class: NeuronClass, kind: DomainKind, outward: bool, profile: NDArray[np.float64], seed: int
) -> tuple[float, float]:
    """Pull with which the grown Sholl profile comes nearest to the measured one, and how near (µm)."""
    assert neuron_class.arbor is not None
    domain = neuron_class.arbor.domains[kind.name]
    section = float(domain.section_length_um.quantile(0.5))
    tried: dict[float, float] = {}

    def miss(strength: float) -> float:
        if strength not in tried:
            pull = float(np.clip(strength / section, -1, 1))
            changed = domain.model_copy(update={"pull_per_um": pull, "pull_outward": outward})
            grown = _grown(_with_domains(neuron_class, {kind.name: changed}), kind, seed)
            tried[strength] = float(stats.wasserstein_distance(_profile(grown), profile))
        return tried[strength]

    for strength in STRENGTHS:
        miss(strength)
    best = min(tried, key=miss)
    place = STRENGTHS.index(best)
    for other in STRENGTHS[max(0, place - 1) : place + 2]:
        miss((best + other) / 2)
    best = min(tried, key=miss)
    return significant(float(np.clip(best / section, -1, 1))), tried[best]


def _profile(domains: list[Domain]) -> NDArray[np.float64]:
    """Distances of all Sholl crossings."""
    return np.concatenate([sholl_crossings(domain) for domain in domains])


def _grown(neuron_class: NeuronClass, kind: DomainKind, seed: int) -> list[Domain]:
    trees = [grow_neuron(neuron_class, np.random.default_rng((seed, k)), keeps_off=False) for k in range(GROWN_CELLS)]
    return [domain_of(tree, kind.swc_types) for tree in trees]


def _with_domains(neuron_class: NeuronClass, domains: Mapping[str, object]) -> NeuronClass:
    assert neuron_class.arbor is not None
    arbor = neuron_class.arbor.model_copy(update={"domains": dict(domains)})
    return neuron_class.model_copy(update={"arbor": arbor})

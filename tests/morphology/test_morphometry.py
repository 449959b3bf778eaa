"""The eight quantities, on trees small enough to know and against neurom on real ones."""

from __future__ import annotations

from pathlib import Path

import neurom
import numpy as np
import pytest

from neuropil.morphology.morphometry import branch_angles, measure, sholl_crossings, tip_pairs
from neuropil.morphology.sections import domain_of
from neuropil.morphology.swc import read_swc
from neuropil.morphology.tree import AXON, DENDRITE, SOMA, Tree


def tree(
    points: list[tuple[float, ...]], parents: list[int], types: list[int], radii: list[float] | None = None
) -> Tree:
    return Tree(
        np.array(points, dtype=float), np.array(radii or [1.0] * len(points)), np.array(parents), np.array(types)
    )


def fork() -> Tree:
    """A stem of 20 µm that forks at a right angle into 30 and 40 µm; the second fork's arms are 3 and 4 µm."""
    points = [(0, 0, 0), (5, 0, 0), (25, 0, 0), (25, 30, 0), (25, 0, 40), (25, 0, 43), (29, 0, 40)]
    return tree(points, [-1, 0, 1, 2, 2, 4, 4], [SOMA, *[DENDRITE] * 6], [5, 2, 1, 1, 0.5, 0.5, 0.5])


def test_sections_of_a_fork() -> None:
    domain = domain_of(fork(), (DENDRITE,))
    assert domain.stems == [0]
    assert sorted(domain.lengths_um.tolist()) == [3, 4, 20, 30, 40]
    assert sorted(section.order for section in domain.sections) == [0, 1, 1, 2, 2]
    assert domain.tips[0] == 3
    assert sorted(tip_pairs(domain)) == [(1, 1), (1, 2)]
    assert sorted({section.start_um for section in domain.sections}) == [0, 20, 60]


def test_measures_of_a_fork() -> None:
    found = measure([domain_of(fork(), (DENDRITE,))])
    assert found.length_um == [97]
    assert found.tortuosity == [1] * 5
    assert sorted(found.asymmetry) == [0, 1]
    assert sorted(found.branch_angle_deg) == [pytest.approx(90), pytest.approx(90)]
    assert max(found.path_um) < 64
    assert max(found.radius_um) < 2


def test_sholl_crossings_of_straight_lines() -> None:
    """A line from 5 to 25 µm crosses spheres 5, 6, … 24."""
    straight = tree([(0, 0, 0), (5, 0, 0), (25, 0, 0)], [-1, 0, 1], [SOMA, DENDRITE, DENDRITE])
    assert sholl_crossings(domain_of(straight, (DENDRITE,))).tolist() == list(range(5, 25))


def test_tortuosity_of_a_right_angle() -> None:
    bent = tree([(0, 0, 0), (1, 0, 0), (4, 0, 0), (4, 4, 0)], [-1, 0, 1, 2], [SOMA, *[AXON] * 3])
    assert measure([domain_of(bent, (AXON,))]).tortuosity == [pytest.approx(7 / 5)]


def test_without_a_soma_the_roots_daughters_are_stems() -> None:
    points = [(0, 0, 0), (3, 0, 0), (0, 4, 0)]
    assert domain_of(tree(points, [-1, 0, 0], [AXON] * 3), (AXON,)).stems == [0, 1]
    assert domain_of(tree(points, [-1, 0, 1], [AXON] * 3), (AXON,)).stems == [0]


def test_an_axon_on_a_dendrite_starts_there() -> None:
    points = [(0, 0, 0), (5, 0, 0), (9, 0, 0), (5, 6, 0)]
    both = tree(points, [-1, 0, 1, 1], [SOMA, DENDRITE, DENDRITE, AXON])
    assert domain_of(both, (AXON,)).lengths_um.tolist() == [6]
    assert domain_of(both, (DENDRITE,)).lengths_um.tolist() == [4]


def test_no_such_domain_measures_nothing() -> None:
    assert measure([domain_of(fork(), (AXON,))]).length_um == []


@pytest.mark.parametrize(
    "name", ["motoneuron/ok_m140mod.CNG.swc", "cortex_layer6/RP100428-12-IDJ.CNG.swc", "purkinje/e1cb4a1.CNG.swc"]
)
def test_agrees_with_neurom(real_data: Path, name: str) -> None:
    """Section lengths, tortuosities, branch orders and Sholl crossings of all dendrites."""
    path = real_data / "morphologies" / name
    domain = domain_of(read_swc(path), (DENDRITE,))
    cell = neurom.load_morphology(path)
    kind = neurom.NeuriteType.basal_dendrite
    rival = np.sort([value for value in neurom.get("section_lengths", cell, neurite_type=kind) if value > 0])
    own = np.sort(domain.lengths_um[domain.lengths_um > 0])
    np.testing.assert_allclose(own, rival, rtol=1e-4, atol=1e-3)
    bends = np.sort(neurom.get("section_tortuosity", cell, neurite_type=kind))
    np.testing.assert_allclose(np.sort(measure([domain]).tortuosity), bends[np.isfinite(bends)][: len(own)], rtol=1e-3)
    asymmetry = neurom.get("partition_asymmetry", cell, neurite_type=kind, method="uylings")
    assert np.mean(measure([domain]).asymmetry) == pytest.approx(np.mean(asymmetry), abs=0.02)


def test_angles_are_measured_five_micrometres_along() -> None:
    """Both daughters leave at a right angle and then run side by side."""
    points = [(0, 0, 0), (1, 0, 0), (5, 0, 0), (5, 5, 0), (50, 5, 0), (5, 0, 5), (50, 0, 5)]
    types = [SOMA, *[DENDRITE] * 6]
    domain = domain_of(tree(points, [-1, 0, 1, 2, 3, 2, 5], types), (DENDRITE,))
    assert branch_angles(domain) == [pytest.approx(90)]

"""Grown against held-out cells: how cells are split, and what distances mean."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neuropil.morphology.class_fit import domain_kinds
from neuropil.morphology.morphometry import Morphometry
from neuropil.morphology.swc import read_swc
from neuropil.morphology.tree import AXON, DENDRITE, SOMA, Tree
from neuropil.morphology.validation import QUANTITIES, distance, split_cells, validate


def cell(*types: int) -> Tree:
    return Tree(np.eye(3)[: len(types)], np.ones(len(types)), np.arange(len(types)) - 1, np.array(types))


@settings(max_examples=40, deadline=None)
@given(st.integers(4, 30), st.floats(0.05, 0.95), st.integers(0, 99))
def test_parts_are_disjoint_and_as_large_as_asked(count: int, held_out: float, seed: int) -> None:
    cells = {str(number): cell(SOMA, DENDRITE) for number in range(count)}
    kinds = domain_kinds(list(cells.values()))
    fitted, other = split_cells(cells, kinds, held_out, np.random.default_rng(seed))
    assert fitted.keys() | other.keys() == cells.keys()
    assert not fitted.keys() & other.keys()
    assert fitted and other
    assert abs(len(other) - held_out * count) <= 1.5


def test_files_with_and_without_axon_go_to_both_parts() -> None:
    cells = {f"a{number}": cell(SOMA, AXON) for number in range(4)} | {f"d{n}": cell(SOMA, DENDRITE) for n in range(8)}
    kinds = domain_kinds(list(cells.values()))
    for seed in range(10):
        for part in split_cells(cells, kinds, 0.5, np.random.default_rng(seed)):
            assert sum(name.startswith("a") for name in part) == 2


def test_distances() -> None:
    first = Morphometry(sholl_um=[1, 2, 3], length_um=[1.0], path_um=[1, 2, 3, 4, 5], radius_um=[1, 1, 1, 1, 1])
    second = Morphometry(sholl_um=[4, 5, 6], length_um=[1.0], path_um=[1, 2, 3, 4, 5], radius_um=[1, 1, 2, 2, 2])
    assert distance(first, first, "sholl") == 0
    assert distance(first, second, "sholl") == 1
    assert distance(first, second, "length") == 0
    assert distance(first, second, "radius") == pytest.approx(3 / 5)


def test_a_sample_of_one_side_only_is_as_far_as_can_be() -> None:
    assert distance(Morphometry(), Morphometry(asymmetry=[0.5]), "asymmetry") == 1
    assert distance(Morphometry(), Morphometry(), "asymmetry") == 0


def test_real_cells(real_data: Path) -> None:
    """Small motoneurons: all eight quantities of both."""
    folder = real_data / "morphologies" / "motoneuron"
    names = ["ok_m208mod", "ok_m79_diana", "ok_m85mod", "ok_m135mod"]
    cells = {name: read_swc(folder / f"{name}.CNG.swc") for name in names}
    found = validate(cells, 0.5, 1, 0)
    assert found.cells["dendrites"] == 4
    assert set(found.table("generated")) == set(QUANTITIES)
    grown, real = found.medians()
    assert 0 < real < 0.7
    assert 0 < grown < 0.7


def test_too_few_cells() -> None:
    with pytest.raises(ValueError, match=r"1 cell\(s\), but 4 are needed"):
        validate({"a": cell(SOMA, DENDRITE)}, 0.5, 1, 0)

"""Grown neurites and neurons: deterministic, true to their class, and like the measured arbors."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from neuropil.morphology.growth import grow_neurite, grow_neuron
from neuropil.morphology.morphometry import measure
from neuropil.morphology.neuron_class import load_class
from neuropil.morphology.sections import domain_of
from neuropil.morphology.tree import AXON, DENDRITE, SOMA, SPINE_HEAD, SPINE_NECK, VARICOSITY, Tree

NEURITES = ["unmyelinated_axon", "myelinated_axon", "spiny_dendrite", "astrocyte_process"]
CELLS = ["cortical_pyramidal", "cortical_interneuron"]


def grown(name: str, length_um: float = 20.0, seed: int = 0) -> Tree:
    return grow_neurite(load_class(name), (1, 2, 3), (0, 0, 2), length_um, np.random.default_rng(seed))


@cache
def grown_cells(name: str) -> list[Tree]:
    return [grow_neuron(load_class(name), np.random.default_rng(seed), keeps_off=False) for seed in range(8)]


def same(first: Tree, second: Tree) -> bool:
    return len(first) == len(second) and np.array_equal(first.points_um, second.points_um)


@pytest.mark.parametrize("name", NEURITES)
def test_neurite_is_a_function_of_its_seed(name: str) -> None:
    assert same(grown(name), grown(name))
    assert not same(grown(name), grown(name, seed=1))


@pytest.mark.parametrize("name", CELLS)
def test_neuron_is_a_function_of_its_seed(name: str) -> None:
    first, second, other = (grow_neuron(load_class(name), np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert same(first, second)
    assert not same(first, other)


@pytest.mark.parametrize("name", NEURITES)
def test_neurite_starts_where_told_and_is_as_long_as_told(name: str) -> None:
    tree = grown(name)
    assert tree.points_um[0].tolist() == [1, 2, 3]
    forward = tree.points_um[1] - tree.points_um[0]
    assert forward[2] / np.linalg.norm(forward) > 0.99
    shaft = [0]
    while tree.children[shaft[-1]] and tree.children[shaft[-1]][0] == shaft[-1] + 1:
        shaft.append(shaft[-1] + 1)
    assert tree.segment_lengths_um[shaft].sum() == pytest.approx(20.0)


@pytest.mark.parametrize("name", NEURITES)
def test_shaft_radius_keeps_to_the_class(name: str) -> None:
    neuron_class = load_class(name)
    kind = {"axon": AXON, "dendrite": DENDRITE}.get(neuron_class.kind)
    tree = grown(name, 50.0)
    radii = tree.radii_um if kind is None else tree.radii_um[tree.types == kind]
    assert radii.min() >= neuron_class.shaft_radius_um.quantile(0.0) - 1e-12
    assert radii.max() <= neuron_class.shaft_radius_um.quantile(1.0) + 1e-12


def test_varicosities_stand_as_densely_as_published() -> None:
    """One per 2.7 µm (Shepherd & Harris 1998, realism target 25)."""
    tree = grown("unmyelinated_axon", 1000.0)
    swollen = tree.radii_um > 0.12
    peaks = swollen[1:-1] & (tree.radii_um[1:-1] >= tree.radii_um[2:]) & (tree.radii_um[1:-1] > tree.radii_um[:-2])
    assert 1000 / peaks.sum() == pytest.approx(2.7, rel=0.2)
    assert 0.2 < (tree.types == VARICOSITY).mean() < 0.55


def test_spines_stand_as_densely_as_the_class_says() -> None:
    spine = load_class("spiny_dendrite").spine
    assert spine is not None
    counts = []
    for seed in range(10):
        tree = grown("spiny_dendrite", 20.0, seed)
        starts = (tree.types == SPINE_NECK) & (tree.types[np.maximum(tree.parents, 0)] == DENDRITE)
        counts.append(starts.sum())
        assert (tree.types == SPINE_HEAD).any()
    assert np.mean(counts) / 20 == pytest.approx(float(spine.density_per_um.quantile(0.5)), rel=0.3)


def test_thicker_necks_carry_larger_heads() -> None:
    """Ofer 2021: neck diameter correlates with the head (realism target 36)."""
    necks, heads = [], []
    for seed in range(6):
        tree = grown("spiny_dendrite", 40.0, seed)
        for start in np.flatnonzero((tree.types == SPINE_NECK) & (tree.types[tree.parents] == DENDRITE)).tolist():
            spine = [start]
            while tree.children[spine[-1]]:
                spine.append(tree.children[spine[-1]][0])
            necks.append(tree.radii_um[start])
            heads.append(tree.radii_um[spine].max())
    assert len(necks) > 200
    assert 0.3 < np.corrcoef(np.log(necks), np.log(heads))[0, 1] < 0.8


@pytest.mark.parametrize("tortuosity", [1.03, 1.2, 1.6])
def test_path_over_chord_is_the_tortuosity_asked_for(tortuosity: float) -> None:
    """Root-mean-square chord of a worm-like chain (Kratky & Porod 1949)."""
    myelinated = load_class("myelinated_axon")
    fixed = myelinated.tortuosity.model_copy(update={"kind": "constant", "mean": tortuosity, "sd": None})
    bare = myelinated.model_copy(update={"tortuosity": fixed})
    squares = []
    for seed in range(400):
        tree = grow_neurite(bare, (0, 0, 0), (1, 0, 0), 10.0, np.random.default_rng(seed))
        squares.append(np.sum((tree.points_um[-1] - tree.points_um[0]) ** 2))
    assert 10 / np.sqrt(np.mean(squares)) == pytest.approx(tortuosity, rel=0.03)


@pytest.mark.parametrize(
    ("name", "swc_type", "mean_um"),
    # Means measured on cortex_principal and cortex_interneuron, 10 cells each (sd about half of the mean).
    [("cortical_pyramidal", 3, 2135), ("cortical_pyramidal", 2, 3106), ("cortical_interneuron", 3, 1673)],
)
def test_arbors_are_as_long_as_the_measured_ones(name: str, swc_type: int, mean_um: float) -> None:
    cells = grown_cells(name)
    found = measure(domain_of(cell, (swc_type,)) for cell in cells)
    assert 0.5 * mean_um < np.mean(found.length_um) < 1.6 * mean_um
    assert all(cell.types[0] == SOMA and len(cell.roots) == 1 for cell in cells)


@pytest.mark.parametrize(
    ("name", "length", "direction", "sentence"),
    [
        ("spiny_dendrite", 0.0, (1, 0, 0), "length_um is 0"),
        ("spiny_dendrite", 5.0, (0, 0, 0), "a direction needs a length"),
        ("cortical_pyramidal", 5.0, (1, 0, 0), "is of kind cell"),
    ],
)
def test_refused(name: str, length: float, direction: tuple[float, ...], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        grow_neurite(load_class(name), (0, 0, 0), direction, length, np.random.default_rng(0))


def test_a_neurites_class_grows_no_neuron() -> None:
    with pytest.raises(ValueError, match="a neuron grows from kind cell"):
        grow_neuron(load_class("spiny_dendrite"), np.random.default_rng(0))

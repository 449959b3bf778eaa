"""Skeletons of drawn volumes: lengths, radii in anisotropic voxels, what is left out, and shapes of neurites."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from neuropil.morphology.growth import grow_neurite
from neuropil.morphology.neurite_shape import fit_neurites, longest_path, measure_neurites, stretch_for
from neuropil.morphology.neuron_class import load_class
from neuropil.morphology.segmented import choose_objects, skeleton, skeletons
from neuropil.morphology.tree import Tree

VOXEL_NM = (40.0, 20.0, 20.0)


def drawn(shape: tuple[int, int, int], balls: list[tuple[float, float, float, float]]) -> NDArray[np.bool_]:
    """Voxels inside any of the balls (z, y, x, radius in nm)."""
    axes = (np.arange(n) * size + size / 2 for n, size in zip(shape, VOXEL_NM, strict=True))
    grid = np.stack(np.meshgrid(*axes, indexing="ij"))
    mask = np.zeros(shape, dtype=bool)
    for z, y, x, radius in balls:
        mask |= ((grid - np.array([z, y, x])[:, None, None, None]) ** 2).sum(axis=0) <= radius**2
    return mask


def tube(radius_nm: float, length_nm: float = 4000) -> list[tuple[float, float, float, float]]:
    return [(600.0, 600.0, x, radius_nm) for x in np.arange(300.0, 300 + length_nm, 40)]


@pytest.mark.parametrize("radius_nm", [150.0, 300.0])
def test_tube_in_flat_voxels(radius_nm: float) -> None:
    mask = drawn((30, 60, 240), tube(radius_nm))
    tree = skeleton(mask, VOXEL_NM)
    assert tree is not None
    shape = measure_neurites([tree])
    assert np.median(shape.shaft_radius_um[0]) == pytest.approx(radius_nm * 1e-3, abs=0.04)
    assert shape.length_um[0] == pytest.approx(4.0 + 2e-3 * radius_nm, abs=0.5)
    assert np.median(shape.tortuosity) < 1.05
    np.testing.assert_allclose(np.median(tree.points_um[:, 1:], axis=0), [0.6, 0.6], atol=0.05)


def test_beads_and_twigs_are_found() -> None:
    balls = tube(100) + [(600.0, 600.0, x, 280.0) for x in (1000.0, 2000.0, 3000.0)]
    balls += [(600.0, y, 2500.0, 70.0) for y in np.arange(600.0, 1300.0, 20)]
    tree = skeleton(drawn((30, 80, 240), balls), VOXEL_NM)
    assert tree is not None
    shape = measure_neurites([tree])
    assert len(shape.varicosity_radius_um) == 3
    assert np.mean(shape.varicosity_spacing_um) == pytest.approx(1.0, abs=0.15)
    assert np.mean(shape.varicosity_radius_um) == pytest.approx(0.28, abs=0.06)
    assert len(shape.twig_length_um) == 1
    assert shape.twig_length_um[0] == pytest.approx(0.65, abs=0.2)


def test_somata_and_crumbs_are_left_out() -> None:
    labels = np.zeros((60, 60, 60), dtype=np.uint64)
    labels[2:6, 2:6, :] = 10**12  # 60 voxels long
    labels[20:58, 20:58, 20:58] = 7
    labels[50:53, 2:5, 2:5] = 3
    voxel = (100.0, 100.0, 100.0)
    choice = choose_objects(labels, voxel)
    assert (choice.large, choice.short, len(choice.boxes)) == (1, 1, 1)
    found = list(skeletons(choice, voxel, np.random.default_rng(0)))
    assert [one.label for one in found] == [10**12]
    assert found[0].origin_nm == (200, 200, 0)


def test_all_zero_and_fractions_are_refused() -> None:
    with pytest.raises(ValueError, match="no object: all 8 voxels are 0"):
        choose_objects(np.zeros((2, 2, 2), dtype=np.uint8), VOXEL_NM)
    with pytest.raises(ValueError, match="float64 values, but object ids are whole numbers"):
        choose_objects(np.ones((2, 2, 2)), VOXEL_NM)
    with pytest.raises(ValueError, match="holds -1, but object ids"):
        choose_objects(np.full((2, 2, 2), -1), VOXEL_NM)


def test_longest_path_of_a_fork() -> None:
    points = np.array([(0, 0, 0), (1, 0, 0), (4, 0, 0), (1, 2, 0), (1, 0, 5)], dtype=float)
    tree = Tree(points, np.ones(5), np.array([-1, 0, 1, 1, 1]), np.zeros(5))
    assert sorted([longest_path(tree)[0], longest_path(tree)[-1]]) == [2, 4]
    assert len(longest_path(tree)) == 3


def test_a_grown_neurite_is_fitted_again() -> None:
    axon = load_class("unmyelinated_axon")
    trees = [grow_neurite(axon, (0, 0, 0), (1, 0, 0), 20.0, np.random.default_rng(seed)) for seed in range(20)]
    shape = measure_neurites(trees)
    fitted = fit_neurites("again", shape, "test")
    assert fitted.kind == "neurite"
    assert stretch_for(shape) == 2.0
    rng = np.random.default_rng(0)
    assert fitted.shaft_radius_um.sample(rng, 3000).mean() == pytest.approx(
        axon.shaft_radius_um.sample(rng, 3000).mean(), rel=0.2
    )
    assert fitted.varicosity is not None
    assert axon.varicosity is not None
    assert fitted.varicosity.spacing_um.sample(rng, 3000).mean() == pytest.approx(
        axon.varicosity.spacing_um.sample(rng, 3000).mean(), rel=0.35
    )


def test_neurites_of_one_class_differ_as_their_class_says() -> None:
    axon = load_class("unmyelinated_axon").model_copy(update={"radius_correlation": 0.9, "varicosity": None})
    radii = [grow_neurite(axon, (0, 0, 0), (1, 0, 0), 20.0, np.random.default_rng(seed)).radii_um for seed in range(30)]
    within = np.mean([one.std() for one in radii])
    between = np.std([one.mean() for one in radii])
    assert between > 1.5 * within

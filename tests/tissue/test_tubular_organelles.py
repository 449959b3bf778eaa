"""Reticulum and microtubules: closed, inside, out of each other's way."""

import numpy as np

from neuropil.tissue.arrival import FloatArray
from neuropil.tissue.certificate import crossing_pairs, is_closed, pieces, volume_um3
from neuropil.tissue.interior import CellInterior
from neuropil.tissue.microtubules import RADIUS_UM, microtubules
from neuropil.tissue.reticulum import reticulum, spine_apparatus, thin_tube


def test_a_dendrites_reticulum_is_a_network_along_it(thick: CellInterior, axis: FloatArray) -> None:
    found = reticulum(thick, axis, 4, np.random.default_rng(0))
    assert found
    for vertices, faces in found:
        assert is_closed(faces) and pieces(len(vertices), faces).max() == 0
        assert thick.depth(vertices).min() > 0
    largest = max(found, key=lambda s: len(s[1]))
    assert np.ptp(largest[0][:, 0]) > 1.5
    assert volume_um3(largest) > 0.7 * sum(volume_um3(s) for s in found)  # hangs together
    vertices, faces = largest
    assert len(vertices) - len(faces) // 2 < 2  # Euler: it has loops


def test_an_axons_tube_follows_the_axon(thin: CellInterior, axis: FloatArray) -> None:
    found = [
        s
        for seed in range(4)
        for s in thin_tube(CellInterior(thin.grid, thin.depth_um), axis, np.random.default_rng(seed))
    ]
    assert max(np.ptp(v[:, 0]) for v, _ in found) > 1.2
    for vertices, faces in found:
        assert is_closed(faces)
        assert thin.depth(vertices).min() > 0


def test_microtubules_are_parallel_and_apart(thick: CellInterior, axis: FloatArray) -> None:
    reticulum(thick, axis, 2, np.random.default_rng(1))
    found = microtubules(thick, axis, 40, np.random.default_rng(2))
    assert len(found) > 20
    assert crossing_pairs(found) == set()
    for vertices, faces in found:
        assert is_closed(faces)
        assert thick.depth(vertices).min() > 0
        length = np.ptp(vertices[:, 0])
        assert length > 0.25
        assert np.ptp(vertices[:, 1]) < 0.3 * length + 0.1  # along the process
        assert abs(volume_um3((vertices, faces)) / length / (np.pi * RADIUS_UM**2) - 1) < 0.1


def test_a_bundle_leaves_room_in_a_thin_axon(thin: CellInterior, axis: FloatArray) -> None:
    found = microtubules(thin, axis, 4, np.random.default_rng(0), bundled=True)
    assert 2 <= len(found) <= 8
    places = np.array([v[:, 1:].mean(0) for v, _ in found])
    assert np.ptp(places, axis=0).max() < 0.14


def test_a_spine_apparatus_is_a_stack_across_the_neck(thick: CellInterior) -> None:
    found = [
        s
        for seed in range(3)
        for s in spine_apparatus(
            CellInterior(thick.grid, thick.depth_um),
            np.zeros(3),
            np.array([0.0, 0, 1]),
            0.3,
            np.random.default_rng(seed),
        )
    ]
    assert found
    for vertices, faces in found:
        assert is_closed(faces)
        assert thick.depth(vertices).min() > 0
    flat = max(found, key=lambda s: len(s[1]))[0]
    assert np.ptp(flat[:, 2]) < 0.5 * max(np.ptp(flat[:, 0]), np.ptp(flat[:, 1]))

"""Vesicles are of natural size, do not touch, crowd where they are asked to, and dock at active zones."""

import numpy as np
import pytest

from neuropil.tissue.arrival import FloatArray
from neuropil.tissue.certificate import crossing_pairs
from neuropil.tissue.interior import CellInterior
from neuropil.tissue.vesicles import (
    RADIUS_UM,
    Crowd,
    Vesicles,
    cytoplasm_um3,
    docked_places,
    place_granules,
    place_vesicles,
    vesicle_axes,
)

NOWHERE = np.empty((0, 3))


def crowd(interior: CellInterior, wanted: int, flattening: float = 0.0) -> Vesicles:
    asked = [Crowd(np.array([0.0, 0.1, 0.0]), 0.4, wanted, flattening), Crowd(np.array([1.0, 0, 0]), 0.3, 20)]
    return place_vesicles(interior, asked, NOWHERE, 0, 0.0, np.random.default_rng(2))


def test_crowds_get_their_numbers_apart_and_inside(thick: CellInterior) -> None:
    placed = crowd(thick, 200)
    assert np.bincount(placed.crowd).tolist() == [0, 200, 20]
    apart = np.linalg.norm(placed.centres_um[:, None] - placed.centres_um, axis=-1)
    np.fill_diagonal(apart, 9)
    assert (apart > placed.outer_um[:, None] + placed.outer_um).all()
    vertices, faces = placed.shape()
    assert thick.depth(vertices).min() > 0
    each = np.split(vertices, 220)
    assert crossing_pairs([(v, faces[:80]) for v in each]) == set()


def test_a_crowd_that_is_full_stops(thin: CellInterior) -> None:
    assert len(crowd(thin, 5000).centres_um) < 2000


def test_sizes_are_natural_and_symmetric_boutons_hold_flat_ones() -> None:
    rng = np.random.default_rng(0)
    axes, outer = vesicle_axes(4000, 0.0, rng)
    radius = np.cbrt(np.linalg.det(axes))
    assert 2000 * radius.mean() == pytest.approx(50, abs=0.5)
    assert 2000 * radius.std() == pytest.approx(4.4, abs=0.6)
    flat, _ = vesicle_axes(4000, 0.6, rng)
    sides = np.linalg.svd(flat, compute_uv=False)
    assert np.mean(sides[:, 0] / sides[:, 2]) == pytest.approx(1.47, abs=0.1)
    assert np.cbrt(np.linalg.det(flat)).mean() == pytest.approx(RADIUS_UM, rel=0.01)
    assert (outer > radius).all()


def test_docked_vesicles_touch_the_active_zone(thick: CellInterior) -> None:
    face, inward, zone = np.array([0.0, 0.4, 0.0]), np.array([0.0, -1, 0]), 0.02
    thick.occupy_plate(face, 0.2, zone)
    places = docked_places(thick, face, inward, 0.15, 40, np.random.default_rng(1))
    placed = place_vesicles(thick, [], places, 12, 0.0, np.random.default_rng(1))
    assert 8 <= len(placed.centres_um) <= 12
    below = thick.depth(placed.centres_um) - zone - RADIUS_UM
    assert below.min() > 0 and below.max() < 0.02
    assert np.hypot(*placed.centres_um[:, [0, 2]].T).max() < 0.16


def test_vesicles_keep_out_of_what_is_there(thick: CellInterior) -> None:
    thick.occupy_balls(np.array([[0.0, 0.1, 0.0]]), np.array([0.2]))
    placed = crowd(thick, 150)
    assert (np.linalg.norm(placed.centres_um - [0, 0.1, 0], axis=1) > 0.2 + placed.outer_um).all()


def test_cytoplasm_is_measured(thin: CellInterior) -> None:
    found = np.mean([cytoplasm_um3(thin, np.zeros(3), 0.4, np.random.default_rng(n)) for n in range(20)])
    assert found == pytest.approx(np.pi * 0.12**2 * 0.78, rel=0.1)


def test_granules_do_not_touch(thick: CellInterior, axis: FloatArray) -> None:
    rng = np.random.default_rng(3)
    places = np.repeat(axis, 40, axis=0) + 0.2 * rng.normal(size=(40 * len(axis), 3))
    centres, radii = place_granules(thick, places, rng.uniform(0.011, 0.017, len(places)))
    apart = np.linalg.norm(centres[:, None] - centres, axis=-1) + 9 * np.eye(len(centres))
    assert len(centres) > 200
    assert (apart > radii[:, None] + radii).all()

"""Synaptic densities lie behind the membranes that face each other, the cleft between them, and nowhere else."""

import numpy as np
import pytest

from neuropil.morphology.tree import AXON, SPINE_HEAD, Tree
from neuropil.tissue.arrival import Grid, RoundCones, earliest_arrivals
from neuropil.tissue.certificate import is_closed, volume_um3
from neuropil.tissue.interior import CellInterior
from neuropil.tissue.laid_cell import Bouton, LaidOutCell, SpineHead
from neuropil.tissue.parameters import TissueParameters
from neuropil.tissue.synapses import (
    CLEFT_UM,
    LEAFLET_UM,
    Outline,
    Surroundings,
    Synapse,
    contacts_near,
    find_synapses,
    widened,
)
from neuropil.tissue.warp import Warp

GRID = Grid.around(np.full(3, -0.8), np.full(3, 0.8), 0.04)
STILL = Warp(GRID, np.zeros((3, *GRID.shape), np.float32))
GAP_UM = 0.02
# Two thick parallel tubes along x whose surfaces, inflated, meet in the plane y = 0.
OWN, OTHER = (
    RoundCones(np.array([[-2.0, y, 0]]), np.array([[2.0, y, 0]]), np.array([0.2]), np.array([0.2])) for y in (-0.3, 0.3)
)
ROUND = Outline(np.zeros((3, 2)))
# Below y = -GAP/2 lies the cell that holds the density.
INTERIOR = CellInterior(GRID, (-0.5 * GAP_UM - GRID.nodes()[..., 1]).astype(np.float32))


def synapse(outline: Outline = ROUND) -> Synapse:
    return Synapse(1, 2, 1, np.zeros(3), np.array([0.0, 1, 0]), 0.15, "asymmetric", outline)


def surroundings(outline: Outline = ROUND) -> Surroundings:
    return Surroundings.of(synapse(outline), INTERIOR, OWN, OTHER, STILL, GAP_UM)


def test_contact_lies_between_the_two_and_points_across() -> None:
    arrivals = earliest_arrivals(GRID, [OWN, OTHER], 0.4, STILL, [np.full(1, 3, np.int16)] * 2)
    contact = contacts_near(arrivals, 0, np.zeros(3), 0.3, {1})[0]
    assert contact.partner == 1
    assert abs(contact.position_um[1]) < 0.05
    assert contact.normal == pytest.approx([0, 1, 0], abs=0.1)
    assert contacts_near(arrivals, 0, np.zeros(3), 0.3, {5}) == []


def test_density_is_a_plate_of_the_asked_size_on_its_own_side() -> None:
    plate = surroundings().density(0.04)
    assert plate is not None
    vertices, faces = plate
    assert is_closed(faces)
    surface = -0.5 * GAP_UM - LEAFLET_UM
    assert vertices[:, 1].max() == pytest.approx(surface, abs=0.003)
    assert vertices[:, 1].min() == pytest.approx(surface - 0.04, abs=0.003)
    assert volume_um3(plate) == pytest.approx(synapse().psd_area_um2 * 0.04, rel=0.15)


def test_the_cleft_fills_the_space_between() -> None:
    plate = surroundings().cleft()
    assert plate is not None
    assert is_closed(plate[1])
    assert plate[0][:, 1].min() < -0.5 * GAP_UM and plate[0][:, 1].max() > 0.5 * GAP_UM - 0.005


def test_a_hole_in_the_outline_leaves_less() -> None:
    holed = Outline(np.zeros((3, 2)), (0.2, 0.0, 0.4))
    whole, perforated = surroundings().density(0.04), surroundings(holed).density(0.04)
    assert whole is not None and perforated is not None
    assert volume_um3(perforated) == pytest.approx(volume_um3(whole) * (1 - 0.4**2), rel=0.1)


def test_random_outlines_keep_the_area_and_differ() -> None:
    rng = np.random.default_rng(0)
    plane = np.stack(np.meshgrid(*[np.linspace(-0.4, 0.4, 161)] * 2), axis=-1)
    areas = []
    for _ in range(40):
        outline = Outline.random(0.2, rng)
        radius = np.sqrt(0.2 / np.pi / (1 - outline.hole[2] ** 2))
        areas.append((outline.inside(plane, radius) > 0).mean() * 0.8**2)
    assert np.mean(areas) == pytest.approx(0.2, rel=0.08)
    assert np.std(areas) > 0.001


def test_widened_gives_the_cleft_its_width_there_alone() -> None:
    depth = INTERIOR.depth_um.copy()
    wide = widened(GRID, depth, [synapse()], 0.008)
    back = INTERIOR.depth_um - wide
    at = tuple(np.rint((np.zeros(3) - GRID.origin_um) / GRID.spacing_um).astype(int))
    assert back[at] == pytest.approx(0.5 * (CLEFT_UM - 0.008), abs=1e-4)
    assert back.min() == 0 and (back[[0, -1]] == 0).all()


def test_densities_grow_with_the_spines_head() -> None:
    """A head of each size before the same thick axon: the area goes with the head's volume, within its scatter."""
    areas, heads = [], []
    for radius in np.repeat((0.1, 0.15, 0.2, 0.26), 6):
        middle = np.array([0.0, -radius, 0.0])
        ball = RoundCones(middle[None], middle[None] + 1e-4, np.array([radius - 0.03]), np.array([radius - 0.03]))
        axon = RoundCones(np.array([[-2.0, 0.3, 0]]), np.array([[2.0, 0.3, 0]]), np.array([0.25]), np.array([0.25]))
        types = [np.full(1, SPINE_HEAD, np.int16), np.full(1, AXON, np.int16)]
        arrivals = earliest_arrivals(GRID, [ball, axon], 0.4, STILL, types)
        tree = Tree(middle[None], np.array([radius]), np.array([-1]), np.array([SPINE_HEAD]))
        dendrite = LaidOutCell("dendrite", tree, [], [SpineHead(middle, radius, 1.0)])
        bouton = Bouton(np.array([0.0, 0.3, 0.0]), 0.25)
        parameters = TissueParameters(size_um=(1.0, 1.0, 1.0), margin_um=0.5, synapse_probability=1.0)
        cells = [dendrite, LaidOutCell("axon", tree, [bouton])]
        found = find_synapses(parameters, cells, arrivals, 0.01, np.random.default_rng(len(areas)))
        assert [(s.pre_id, s.post_id, s.on) for s in found] == [(2, 1, "spine")]
        areas.append(found[0].psd_area_um2)
        heads.append(found[0].head_volume_um3)
    assert np.corrcoef(np.log(heads), np.log(areas))[0, 1] > 0.8
    assert np.std(np.array(areas) / heads) > 0  # a continuum, not a rule

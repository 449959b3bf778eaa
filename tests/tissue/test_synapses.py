"""A synaptic density lies behind the membrane that faces the partner, and nowhere else."""

import numpy as np
import pytest

from neuropil.tissue.arrival import Grid, RoundCones, earliest_arrivals
from neuropil.tissue.certificate import is_closed, volume_um3
from neuropil.tissue.synapses import LEAFLET_UM, Synapse, contacts_near, density
from neuropil.tissue.warp import Warp

GRID = Grid.around(np.full(3, -0.8), np.full(3, 0.8), 0.04)
STILL = Warp(GRID, np.zeros((3, *GRID.shape), np.float32))
# Two thick parallel tubes along x whose surfaces, inflated, meet in the plane y = 0.
OWN, OTHER = (
    RoundCones(np.array([[-2.0, y, 0]]), np.array([[2.0, y, 0]]), np.array([0.2]), np.array([0.2])) for y in (-0.3, 0.3)
)


def test_contact_lies_between_the_two() -> None:
    arrivals = earliest_arrivals(GRID, [OWN, OTHER], 0.4, STILL)
    contact = contacts_near(arrivals, 0, np.zeros(3), 0.3, {1})[0]
    assert contact.partner == 1
    assert abs(contact.position_um[1]) < 0.05
    assert contacts_near(arrivals, 0, np.zeros(3), 0.3, {5}) == []


def test_density_is_a_plate_of_the_asked_size_on_its_own_side() -> None:
    synapse = Synapse(1, 2, 1, np.zeros(3), 0.15, "asymmetric")
    plate = density(synapse, OWN, OTHER, STILL, 0.02, 0.04)
    assert plate is not None
    vertices, faces = plate
    assert is_closed(faces)
    assert vertices[:, 1].max() < -0.01 - LEAFLET_UM + 0.005
    assert vertices[:, 1].min() > -0.01 - LEAFLET_UM - 0.04 - 0.02
    assert volume_um3(plate) == pytest.approx(synapse.psd_area_um2 * 0.04, rel=0.25)

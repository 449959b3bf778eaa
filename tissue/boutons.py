"""Room for boutons: beside spine heads and in wide voids, before any thin axon takes it."""

from dataclasses import dataclass

import numpy as np

from neuropil.morphology.neuron_class import NeuronClass

from .arrival import FloatArray, RoundCones
from .free_space import (
    AXON_REACH_UM,
    SEED_CLEARANCE_UM,
    STEP_UM,
    USUAL_INFLATION_UM,
    FreeSpace,
    across,
    any_direction,
    limited_slope,
)
from .laid_cell import SpineHead

THINNEST_BOUTON_UM = 0.11  # where it is widest, before inflation
NARROWEST_BOUTON_UM = 0.07  # where it ends
DIRECTIONS = 32  # places and directions that a bouton is tried in, of which
PLACES = 12  # with most room are looked at closely
DRAWN_NODES = 4096  # among which a bouton looks for a void
LEAST_SHARE = 0.85  # of its volume, with less of which a bouton is given up for want of room
WIDER = (1.0, 1.2, 1.4, 1.7)  # by how much a bouton that is cramped here swells there


@dataclass(frozen=True)
class Reserved:
    """Room kept for a bouton: nodes STEP_UM apart along its axis, and their radii."""

    points_um: FloatArray  # (n, 3)
    radii_um: FloatArray  # (n,)

    def round_cones(self) -> RoundCones:
        """Its shape."""
        return RoundCones(self.points_um[:-1], self.points_um[1:], self.radii_um[:-1], self.radii_um[1:])

    def turned(self) -> "Reserved":
        """The same from its other end on."""
        return Reserved(self.points_um[::-1], self.radii_um[::-1])

    @property
    def inflated_volume_um3(self) -> float:
        """About what it will hold once it has met its neighbours."""
        return _inflated_volume_um3(self.radii_um)


def _inflated_volume_um3(radii_um: FloatArray) -> float:
    return float(np.pi * ((radii_um + USUAL_INFLATION_UM) ** 2).sum() * STEP_UM)


def lay_boutons(space: FreeSpace, heads: list[SpineHead], sizes: list[tuple[float, float]]) -> list[Reserved]:
    """Boutons of these sizes, as far as they find room: one beside every spine head, the others in the voids.

    sizes: as of `bouton_sizes`. Larger ones choose first, and larger heads have larger boutons (Harris and Stevens
    1989, J Neurosci 9:2982).
    """
    heads = sorted(heads, key=lambda head: -head.radius_um)
    with_head = np.sort(space.rng.permutation(len(sizes))[: len(heads)]).tolist()
    laid = []
    for n, size in enumerate(sizes):
        found = _beside(space, heads[with_head.index(n)], *size) if n in with_head else _in_void(space, *size)
        if found is not None:
            space.occupy(found.round_cones(), AXON_REACH_UM)
            laid.append(found)
    return laid


def bouton_sizes(space: FreeSpace, axon: NeuronClass, volume_um3: float) -> list[tuple[float, float]]:
    """Radius before inflation and half length of as many boutons as hold a volume, largest first."""
    assert axon.varicosity is not None
    sizes: list[tuple[float, float]] = []
    while volume_um3 > 0:
        inflated = float(axon.varicosity.radius_um.sample(space.rng))
        half = max(0.5 * float(axon.varicosity.length_um.sample(space.rng)), inflated)
        sizes.append((inflated - USUAL_INFLATION_UM, half))
        volume_um3 -= 4 / 3 * np.pi * inflated**2 * half
    return sorted(sizes, reverse=True)


def _beside(space: FreeSpace, head: SpineHead, wish_um: float, half_um: float) -> Reserved | None:
    """A bouton that faces a spine head, on the side where it can be largest."""
    outward = np.array([any_direction(space.rng) for _ in range(DIRECTIONS)])
    radius = np.full(DIRECTIONS, wish_um)
    for _ in range(3):  # a smaller one moves nearer to the head, where there may be less room again
        places = head.centre_um + (head.radius_um + radius + 2 * SEED_CLEARANCE_UM)[:, None] * outward
        radius = np.minimum(radius, space.room(places) - SEED_CLEARANCE_UM)
    axes = np.array([across(direction, space.rng) for direction in outward])
    return _largest(space, places, axes, wish_um, half_um)


def _in_void(space: FreeSpace, wish_um: float, half_um: float) -> Reserved | None:
    """A bouton in one of the voids that are wide enough, where it can be thickest."""
    nodes = space.rng.integers(space.grid.shape, size=(DRAWN_NODES, 3))
    room = space.clearance[tuple(nodes.T)]
    wide = nodes[room > min(wish_um, 0.9 * AXON_REACH_UM)]
    if len(wide) == 0:
        wide = nodes[room > THINNEST_BOUTON_UM + SEED_CLEARANCE_UM]
    if len(wide) == 0:
        return None
    places = space.grid.origin_um + wide[:DIRECTIONS] * space.grid.spacing_um
    axes = np.array([any_direction(space.rng) for _ in range(len(places))])
    return _largest(space, places, axes, wish_um, half_um)


def _largest(
    space: FreeSpace, places: FloatArray, axes: FloatArray, radius_um: float, half_um: float
) -> Reserved | None:
    """The spindle of most volume round one of the places, bent and shaped as the room has it; None for none."""
    half = max(half_um, radius_um + USUAL_INFLATION_UM)
    volume = 4 / 3 * np.pi * (radius_um + USUAL_INFLATION_UM) ** 2 * half
    best, most = None, LEAST_SHARE * volume
    widest = np.argsort(-space.room(places), kind="stable")[:PLACES]
    for place, axis in zip(places[widest], axes[widest], strict=True):
        path, middle = _along_void(space, place, axis, radius_um, half)
        if len(path) < 3:
            continue
        along = (np.arange(len(path)) - middle) * STEP_UM
        spindle = radius_um * np.sqrt(np.clip(1 - (along / half) ** 2, 0, None))
        fitting = _fitting(spindle, space.room(path) - SEED_CLEARANCE_UM, volume, space.parameters.thinnest_radius_um)
        held = min(_inflated_volume_um3(fitting), volume)
        if fitting.max() > THINNEST_BOUTON_UM and held > most:
            best, most = Reserved(path, fitting), held
    return best


def _fitting(spindle: FloatArray, room: FloatArray, volume_um3: float, thinnest: float) -> FloatArray:
    """The spindle cut to the room, and where that takes volume from it, wider where there is room."""
    for wider in WIDER:
        fitting = limited_slope(np.maximum(np.minimum(wider * spindle, room), thinnest), STEP_UM)
        if _inflated_volume_um3(fitting) >= volume_um3:
            break
    return fitting


def _along_void(
    space: FreeSpace, start: FloatArray, axis: FloatArray, comfort_um: float, half_um: float
) -> tuple[FloatArray, int]:
    """Points up to half_um from start both ways along an axis, where there is room, and the index of start."""
    manner = {"comfort_um": comfort_um, "smallest_um": NARROWEST_BOUTON_UM, "stiffness": 4.0, "purpose": 2.0}
    sides = []
    for direction in (axis, -axis):
        path, left = space.walk(start, direction, **manner, most_um=half_um)
        sides.append(path[: len(path) - int(left)])
    return np.vstack([sides[1][:0:-1], sides[0]]), len(sides[1]) - 1

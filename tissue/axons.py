"""Laying out thin axons: from bouton to bouton, out of the block, and through what voids are left."""

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import maximum_filter

from neuropil.morphology.neuron_class import NeuronClass
from neuropil.morphology.tree import AXON

from .arrival import FloatArray
from .boutons import THINNEST_BOUTON_UM, Reserved
from .free_space import (
    AXON_REACH_UM,
    CANDIDATES,
    NARROWEST_UM,
    SEED_CLEARANCE_UM,
    STEP_UM,
    USUAL_INFLATION_UM,
    FreeSpace,
    any_direction,
    limited_slope,
    smooth_noise,
    unit,
)
from .laid_cell import Bouton, LaidOutCell

FILLING_ROUNDS = 6
BOUTON_SEARCH_UM = 0.45  # how far from its place along the axon a bouton is put for the sake of room
LEAST_AHEAD = 0.3  # cosine of the angle between a bouton's axis and the next bouton on its axon
LEAST_WAY_UM = 0.3
SPACING_OFF_UM = 0.8  # how far from its place the next bouton may be
NEXT_TRIES = 4  # boutons that an axon tries to reach before it leaves the block
NO_WAY = np.empty((0, 3))


@dataclass(frozen=True)
class _Tip:
    """An end of a bouton, and where an axon's way to or from it begins, two steps off it."""

    place_um: FloatArray
    outward: FloatArray
    off_um: FloatArray

    @classmethod
    def of(cls, space: FreeSpace, points_um: FloatArray) -> "_Tip | None":
        """The end at the last of a bouton's points; None where there is no way out."""
        place, outward = points_um[-1], unit(points_um[-1] - points_um[0])
        directions = np.array([unit(outward + 0.5 * space.rng.normal(size=3)) for _ in range(CANDIDATES)])
        # The field knows the bouton itself: two steps away that no longer counts.
        places = place + 2 * STEP_UM * directions
        room = space.room(places)
        best = int(np.argmax(room))
        return cls(place, outward, places[best]) if room[best] >= NARROWEST_UM + SEED_CLEARANCE_UM else None

    def way(self, space: FreeSpace, taken_um: FloatArray, goal: "_Tip | None" = None) -> FloatArray:
        """From here, without the tip itself, to another tip, without that, or to a face; no point where none is."""
        if goal is None:
            way = space.way(self.off_um, self.outward, taken_um)
            return np.vstack([0.5 * (self.place_um + self.off_um), way]) if len(way) else way
        way = space.way(self.off_um, unit(goal.off_um - self.off_um), taken_um, goal.off_um)
        ends = 0.5 * (self.place_um + self.off_um), 0.5 * (goal.place_um + goal.off_um)
        return np.vstack([ends[0], way, ends[1]]) if len(way) else way


@dataclass
class _Led:
    """An axon in the making: its path (n, 3), and the radii of its boutons by the node at which each begins."""

    path_um: FloatArray
    boutons: dict[int, FloatArray]

    def turned(self) -> "_Led":
        """The same from its other end on."""
        n = len(self.path_um)
        return _Led(self.path_um[::-1], {n - at - len(radii): radii[::-1] for at, radii in self.boutons.items()})

    def append(self, way_um: FloatArray, bouton: Reserved) -> None:
        """Lead it on through a bouton."""
        self.boutons[len(self.path_um) + len(way_um)] = bouton.radii_um
        self.path_um = np.vstack([self.path_um, way_um, bouton.points_um])


def lead_axons(space: FreeSpace, boutons: list[Reserved], axon: NeuronClass) -> list[LaidOutCell]:
    """Axons through all boutons, from one to the next at the class's spacings where there is a way, else to a face.

    One that finds no way ends at its bouton.
    """
    free = dict(enumerate(boutons))
    laid = []
    for number, bouton in enumerate(boutons):
        if free.pop(number, None) is None:
            continue
        led = _Led(bouton.points_um, {0: bouton.radii_um})
        for _ in range(2):
            _lead_on(space, led, free, axon)
            led = led.turned()
        laid.append(_axon_along(space, led, axon))
    return laid


def _lead_on(space: FreeSpace, led: _Led, free: dict[int, Reserved], axon: NeuronClass) -> None:
    """Lead an axon that ends in a bouton on, through free boutons, and to a face."""
    assert axon.varicosity is not None
    while True:
        at = max(led.boutons)
        tip = _Tip.of(space, led.path_um[at:])
        if tip is None:
            return
        spacing_um = float(axon.varicosity.spacing_um.sample(space.rng))
        own_um = STEP_UM * (len(led.path_um) - at)
        for number, there in _next_boutons(tip, free, spacing_um - 0.5 * own_um):
            goal = _Tip.of(space, there.points_um[::-1])
            way = NO_WAY if goal is None else tip.way(space, led.path_um, goal)
            if len(way):
                led.append(way, there)
                del free[number]
                break
        else:
            led.path_um = np.vstack([led.path_um, tip.way(space, led.path_um)])
            return


def _next_boutons(tip: _Tip, free: dict[int, Reserved], along_um: float) -> list[tuple[int, Reserved]]:
    """Boutons that lie ahead of a tip, turned so that they are entered at their first point, the likeliest first.

    along_um: how far from the tip the middle of the next one is to be.
    """
    found = []
    for number, bouton in free.items():
        for there in (bouton, bouton.turned()):
            points = there.points_um
            to = points[0] - tip.place_um
            far = float(np.linalg.norm(to))
            ahead = min(to @ tip.outward, to @ unit(points[-1] - points[0]))
            off = far + 0.5 * STEP_UM * len(points) - along_um
            if far > LEAST_WAY_UM and ahead > LEAST_AHEAD * far and abs(off) < SPACING_OFF_UM:
                found.append((abs(off), number, there))
    found.sort(key=lambda one: one[:2])
    return [(number, there) for _, number, there in found[:NEXT_TRIES]]


def _axon_along(space: FreeSpace, led: _Led, axon: NeuronClass) -> LaidOutCell:
    """An axon along a path, with more boutons where there is room, its room taken."""
    thinnest, path = space.parameters.thinnest_radius_um, led.path_um
    shaft = max(float(axon.shaft_radius_um.sample(space.rng)) - USUAL_INFLATION_UM, thinnest)
    room = space.room(path) - SEED_CLEARANCE_UM
    wish = np.maximum(shaft * (1 + 0.2 * smooth_noise(space.rng, len(path), 5)), thinnest)
    swellings = _place_boutons(space, room, axon, [(at, at + len(radii)) for at, radii in led.boutons.items()])
    for centre, radius, half_um in swellings:
        s = (np.arange(len(path)) - centre) * STEP_UM / half_um
        wish = np.maximum(wish, radius * np.sqrt(np.clip(1 - s**2, 0, None)))
    radii = np.minimum(wish, np.maximum(room, NARROWEST_UM))
    places = [centre for centre, _, _ in swellings]
    for at, reserved in led.boutons.items():
        radii[at : at + len(reserved)] = reserved
        places.append(at + int(np.argmax(reserved)))
    radii = limited_slope(radii, STEP_UM)
    boutons = [Bouton(path[c], float(radii[c])) for c in places if radii[c] > THINNEST_BOUTON_UM]
    cell = LaidOutCell("axon", space.tree(path, radii, AXON), boutons)
    space.occupy(cell.round_cones(), AXON_REACH_UM)
    return cell


def _place_boutons(
    space: FreeSpace, room: FloatArray, axon: NeuronClass, taken: list[tuple[int, int]]
) -> list[tuple[int, float, float]]:
    """Boutons along a path with this room at its nodes: node, radius and half length in µm of each.

    They follow each other at the class's spacings, each where there is most room nearby and not where it
    would have to be much smaller than its size. taken: nodes (from, to) where there is a bouton anyway.
    """
    assert axon.varicosity is not None
    placed: list[tuple[int, float, float]] = []
    spans = [(0.5 * (first + stop), 0.5 * (stop - first) * STEP_UM) for first, stop in taken]
    position = float(axon.varicosity.spacing_um.sample(space.rng)) * space.rng.random()
    search = int(BOUTON_SEARCH_UM / STEP_UM)
    while position < len(room) * STEP_UM:
        node = int(position / STEP_UM)
        window = room[max(0, node - search) : node + search + 1]
        node = max(0, node - search) + int(np.argmax(window))
        radius = float(axon.varicosity.radius_um.sample(space.rng)) - USUAL_INFLATION_UM
        alone = all(abs(node - c) * STEP_UM > half + 0.4 for c, half in spans)
        if alone and room[node] > 0.8 * radius:
            half = max(0.5 * float(axon.varicosity.length_um.sample(space.rng)), radius + USUAL_INFLATION_UM)
            placed.append((node, radius, half))
            spans.append((node, half))
            position += float(axon.varicosity.spacing_um.sample(space.rng))
        else:
            position += BOUTON_SEARCH_UM  # one that finds no room comes a little later
    return placed


def fill_with_axons(space: FreeSpace, axon: NeuronClass) -> list[LaidOutCell]:
    """Axons through the largest voids first, until no void is wider than the parameters ask."""
    widest = space.parameters.widest_void_radius_um
    given_up = np.zeros(space.grid.shape, bool)
    laid: list[LaidOutCell] = []
    for _ in range(FILLING_ROUNDS):
        peaks = (space.clearance == maximum_filter(space.clearance, 3)) & (space.clearance >= widest) & ~given_up
        nodes = np.argwhere(peaks)
        if len(nodes) == 0:
            break
        for node in nodes[np.argsort(-space.clearance[peaks], kind="stable")]:
            if space.clearance[tuple(node)] < widest:
                continue
            path = _through(space, space.grid.origin_um + node * space.grid.spacing_um)
            if path is None:
                given_up[tuple(slice(max(0, n - 2), n + 3) for n in node)] = True
            else:
                laid.append(_axon_along(space, _Led(path, {}), axon))
    return laid


def _through(space: FreeSpace, start: FloatArray) -> FloatArray | None:
    """A path through start from face to face; None if there is no way."""
    direction = any_direction(space.rng)
    ahead = space.way(start, direction, NO_WAY)
    back = space.way(start, -direction, ahead) if len(ahead) else ahead
    return np.vstack([back[:0:-1], ahead]) if len(back) else None

"""Growing a neurite or a whole neuron from its class."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from .appendages import add_side_branches, add_spines, swell
from .distribution import Distribution
from .growing_tree import MARGIN, GrowingTree
from .morphometry import BRANCH_REACH_UM
from .neuron_class import SWC_TYPE_OF_KIND, Domain, NeuronClass
from .path import any_perpendicular, detour, persistence_um, unit, wander
from .topology import split
from .tree import SOMA, Tree

# Points stand this far apart along a lone neurite (its own mean radius, within these bounds) and along a cell's
# sections (a sixteenth of the typical section, within these).
NEURITE_STEP_UM = (0.1, 0.5)
CELL_STEP_UM = (0.05, 1.0)
# Gap between two branches, in steps: of two that cross, the nearest points are this much farther apart than they are.
GAP_STEPS = 0.7
# Greatest radius of a stem over that of the soma.
WIDEST_STEM = 0.7
# How often a section that would touch the cell itself is drawn again.
TRIES = 20


def grow_neurite(
    neuron_class: NeuronClass,
    start_um: ArrayLike,
    direction: ArrayLike,
    length_um: float,
    rng: np.random.Generator,
) -> Tree:
    """Grow one unbranched neurite, with the varicosities, spines and side branches of its class.

    The path is a worm-like chain: its direction wanders so that path over chord is a draw of the class's
    tortuosity. The shaft's radius runs smoothly from one draw to the next. Spines stand at random along the
    shaft and around it.

    Args:
        start_um: (3,) where it starts.
        direction: (3,) where it heads at first, any length but 0.
        length_um: path length of the shaft.

    Raises:
        ValueError: length not above 0, direction without length, or a class of whole cells.
    """
    heading = np.asarray(direction, dtype=np.float64)
    if neuron_class.kind == "cell":
        raise ValueError(f"class {neuron_class.name} is of kind cell, but a neurite is grown from axon, dendrite, glia")
    if not length_um > 0:
        raise ValueError(f"length_um is {length_um:g}, but allowed are numbers above 0")
    if not np.linalg.norm(heading) > 0:
        raise ValueError("direction is [0, 0, 0], but a direction needs a length")
    typical = float(neuron_class.shaft_radius_um.quantile(0.5))
    step = float(np.clip(typical, *NEURITE_STEP_UM))
    persistence = persistence_um(neuron_class.tortuosity.sample(rng), neuron_class.tortuosity_length_um)
    start = np.asarray(start_um, dtype=np.float64)
    path, arc = wander(start, heading, length_um, step, persistence, rng)
    radii = _wandering_radius(neuron_class, arc, rng)
    types = np.full(len(arc), SWC_TYPE_OF_KIND[neuron_class.kind], dtype=np.int16)
    if neuron_class.varicosity is not None:
        swell(neuron_class.varicosity, arc, radii, types, rng)
    growing = GrowingTree()
    shaft = growing.add_chain(-1, path, radii, types)
    if neuron_class.spine is not None:
        add_spines(growing, neuron_class.spine, shaft, arc, rng)
    if neuron_class.side_branch is not None:
        thinnest = float(neuron_class.shaft_radius_um.quantile(0.0))
        add_side_branches(growing, neuron_class.side_branch, shaft, arc, persistence, thinnest, rng)
    return growing.finished()


def grow_neuron(neuron_class: NeuronClass, rng: np.random.Generator, keeps_off: bool = True) -> Tree:
    """Grow a whole cell around the origin: a soma, if its class has one, and the branching neurites of each domain.

    Every stem draws the number of its tips, which share out at each branch point by the beta-splitting model until
    each is alone; sections draw length, tortuosity and angle, and are as thick as the tips they feed (Rall).

    Args:
        keeps_off: draw a section anew that would touch the cell itself, and leave it out when none finds room.
            Without, branches may run through each other.

    Raises:
        ValueError: a class that is not of kind cell.
    """
    arbor = neuron_class.arbor
    if arbor is None:
        raise ValueError(f"class {neuron_class.name} is of kind {neuron_class.kind}, but a neuron grows from kind cell")
    growing = GrowingTree()
    soma_radius = 0.0
    if arbor.soma_radius_um is not None:
        soma_radius = arbor.soma_radius_um.sample(rng)
        growing.add_chain(-1, np.zeros((1, 3)), np.array([soma_radius]), np.array([SOMA], dtype=np.int16))
    squeeze = np.array([1.0, 1.0 - arbor.flatness, 1.0])
    taken: list[NDArray[np.float64]] = []
    for domain in arbor.domains.values():
        sprout = _Sprout(growing, domain, squeeze, soma_radius, keeps_off, rng)
        for _ in range(max(1, round(domain.stems.sample(rng)))):
            direction = _free_direction(domain, squeeze, taken, rng)
            taken.append(direction)
            sprout.grow_stem(direction)
    return growing.finished()


@dataclass(frozen=True)
class _Bud:
    """Where a section starts: the point it hangs on (-1 for none), its place and direction, the tips it leads to, its
    branching order (0 for a stem), the path from its stem's start, and the normal score of its parent's radius.
    """

    parent: int
    start: NDArray[np.float64]
    direction: NDArray[np.float64]
    tips: int
    order: int
    path_um: float
    radius_score: float


class _Sprout:
    """Grows the neurites of one domain of one cell, with what the cell's neurites have in common."""

    def __init__(
        self,
        growing: GrowingTree,
        domain: Domain,
        squeeze: NDArray[np.float64],
        soma_radius: float,
        keeps_off: bool,
        rng: np.random.Generator,
    ) -> None:
        self._growing = growing
        self._domain = domain
        self._squeeze = squeeze
        self._soma_radius = soma_radius
        self._keeps_off = keeps_off
        self._rng = rng
        self._tip_radius = domain.tip_radius_um.sample(rng)
        self._cell_tips, self._cell_length = rng.normal(size=2)
        typical = float(domain.section_length_um.quantile(0.5))
        self._step = float(np.clip(typical / 16, *CELL_STEP_UM))

    def grow_stem(self, direction: NDArray[np.float64]) -> None:
        """Grow a stem that heads in a direction from the soma's surface, and all that hangs on it."""
        domain = self._domain
        tips = max(1, round(self._draw(domain.tips, domain.tips_correlation, self._cell_tips)))
        on_soma = self._soma_radius > 0
        parent = 0 if len(self._growing) else -1
        buds = [_Bud(parent, self._soma_radius * direction, direction, tips, 0, 0.0, 0.0)]
        while buds:
            # Trunks before twigs: what finds no room is then a twig.
            bud = buds.pop(max(range(len(buds)), key=lambda place: buds[place].tips))
            buds += self._grow_section(bud, on_soma)

    def _draw(self, distribution: Distribution, correlation: float, common: float) -> float:
        """A draw that is correlated among those of one cell (Gaussian copula)."""
        score = np.sqrt(correlation) * common + np.sqrt(1 - correlation) * self._rng.normal()
        return float(distribution.quantile(special.ndtr(score)))

    def _shape(self, bud: _Bud) -> tuple[float, float]:
        """Length and tortuosity of a section."""
        domain, rng = self._domain, self._rng
        kind = domain.terminal_length_um if bud.tips == 1 else domain.section_length_um
        if bud.order == 0 and bud.tips > 1 and domain.stem_length_um is not None:
            kind = domain.stem_length_um
        score = (
            np.sqrt(domain.length_correlation) * self._cell_length
            + np.sqrt(1 - domain.length_correlation) * rng.normal()
        )
        length = float(kind.quantile(special.ndtr(score)))
        if bud.tips == 1:
            length *= float(np.exp(-domain.terminal_decay_per_um * bud.path_um))
        elif bud.order > 0:
            length *= bud.order**domain.length_exponent
        shared = domain.tortuosity_correlation
        bend = float(domain.tortuosity.quantile(special.ndtr(shared * score + np.sqrt(1 - shared**2) * rng.normal())))
        return max(length, 2 * self._step), bend

    def _grow_section(self, bud: _Bud, on_soma: bool) -> list[_Bud]:
        """Add a section; returns the buds of its daughters, none where it ends or finds no room."""
        growing, domain, rng = self._growing, self._domain, self._rng
        length, tortuosity = self._shape(bud)
        kept = 0.0 if bud.order == 0 else domain.radius_memory
        score = kept * bud.radius_score + np.sqrt(1 - kept**2) * rng.normal()
        thickness = self._tip_radius * bud.tips ** (1 / domain.rall_exponent) * np.exp(domain.radius_spread * score)
        for attempt in range(TRIES):
            # Each try swings a little farther out; drawing the length anew would favour short sections.
            # In a flat arbor it may also leave the plane, to pass over what is in the way.
            direction = unit(bud.direction + rng.normal(0, 0.08 * attempt, 3))
            squeeze = self._squeeze ** (1 - attempt / TRIES)
            path, arc = detour(bud.start, direction, length, tortuosity, self._step, squeeze, BRANCH_REACH_UM, rng)
            taper = np.exp(np.clip(domain.taper_per_um * (arc[-1] / 2 - arc), -1, 1))
            radii = thickness * taper
            if bud.order == 0 and on_soma:
                radii = np.minimum(radii, WIDEST_STEM * self._soma_radius)
            if not self._keeps_off or self._has_room(path, radii, arc, bud):
                break
        else:
            return []
        # A section that hangs on a branch point shares that point; a stem starts on the soma's surface.
        first = 0 if bud.parent < 0 or (on_soma and bud.order == 0) else 1
        types = np.full(len(arc) - first, SWC_TYPE_OF_KIND[domain.neurite], dtype=np.int16)
        last = int(growing.add_chain(bud.parent, path[first:], radii[first:], types)[-1])
        if bud.tips == 1:
            return []
        back = min(int(np.searchsorted(arc, arc[-1] - BRANCH_REACH_UM)), len(path) - 2)
        heading = unit(path[-1] - path[back])
        pulled = heading + domain.pull_per_um * arc[-1] * self._axis(path[-1])
        if np.linalg.norm(pulled) > 0.1:
            heading = unit(pulled)
        shares = split(bud.tips, domain.balance, rng)
        return [
            _Bud(last, path[-1], way, tips, bud.order + 1, bud.path_um + float(arc[-1]), score)
            for way, tips in zip(self._ways(heading, *shares), shares, strict=True)
        ]

    def _has_room(
        self, path: NDArray[np.float64], radii: NDArray[np.float64], arc: NDArray[np.float64], bud: _Bud
    ) -> bool:
        """Whether a section keeps off the rest of the cell and off itself."""
        gap = GAP_STEPS * self._step
        return self._growing.has_room(path, radii, arc, gap, bud.parent, bud.path_um) and _keeps_off_itself(
            path, float(radii[0]), gap
        )

    def _axis(self, place: NDArray[np.float64]) -> NDArray[np.float64]:
        """Where the domain's pull points to."""
        if self._domain.direction is not None and not self._domain.pull_outward:
            return unit(np.array(self._domain.direction))
        distance = float(np.linalg.norm(place))
        return place / distance if distance > 0 else np.zeros(3)

    def _ways(self, heading: NDArray[np.float64], more: int, fewer: int) -> tuple[NDArray[np.float64], ...]:
        """Directions of two daughters, in one plane with their parent's; their angles share the angle between them."""
        domain, rng = self._domain, self._rng
        between = np.radians(domain.branching_angle_deg.sample(rng))
        side = self._squeeze * any_perpendicular(heading, rng)
        side = unit(side - (side @ heading) * heading)
        # The thicker daughter turns less (Murray 1926): angles in inverse proportion to the cross-sections.
        thick, thin = (tips ** (2 / domain.rall_exponent) for tips in (more, fewer))
        thick_turn = between * thin / (thin + thick)
        return tuple(np.cos(turn) * heading + np.sin(turn) * side for turn in (thick_turn, thick_turn - between))


def _keeps_off_itself(path: NDArray[np.float64], radius: float, gap_um: float) -> bool:
    """Whether no two points of a section, farther apart on the way than a half turn, come too near."""
    count = len(path)
    way = np.linalg.norm(path[1] - path[0]) * np.abs(np.subtract.outer(np.arange(count), np.arange(count)))
    squares = ((path[:, None] - path[None]) ** 2).sum(axis=2)
    # Turns as tight as the section is thick close up; wider ones keep the whole gap.
    for reach in (2 * radius + MARGIN * gap_um, 2 * radius + gap_um):
        if ((way > 2 * reach) & (squares <= reach**2)).any():
            return False
    return True


def _free_direction(
    domain: Domain, squeeze: NDArray[np.float64], taken: list[NDArray[np.float64]], rng: np.random.Generator
) -> NDArray[np.float64]:
    """Direction of a stem within the domain's cone; of eight tries the one farthest from the stems before
    it.
    """
    axis = np.array([0.0, 0.0, 1.0]) if domain.direction is None else unit(np.array(domain.direction))
    spread = 180.0 if domain.direction is None else domain.spread_deg
    tries = []
    for _ in range(8):
        cosine = rng.uniform(np.cos(np.radians(spread)), 1.0)
        way = cosine * axis + np.sqrt(1 - cosine**2) * any_perpendicular(axis, rng)
        tries.append(unit(way * squeeze))
    nearest = [max((float(candidate @ other) for other in taken), default=-1.0) for candidate in tries]
    return tries[int(np.argmin(nearest))]


def _wandering_radius(
    neuron_class: NeuronClass, arc: NDArray[np.float64], rng: np.random.Generator
) -> NDArray[np.float64]:
    """Radius along the shaft: draws of the class, one per period, joined by half cosines."""
    period = neuron_class.radius_period_um
    place = arc / period + rng.random()
    count = int(place[-1]) + 2
    if neuron_class.radius_correlation > 0:
        common, share = rng.normal(), neuron_class.radius_correlation
        scores = np.sqrt(share) * common + np.sqrt(1 - share) * rng.normal(size=count)
        draws = neuron_class.shaft_radius_um.quantile(special.ndtr(scores))
    else:
        draws = neuron_class.shaft_radius_um.sample(rng, count)
    knot = place.astype(int)
    share = (1 - np.cos(np.pi * (place - knot))) / 2
    return draws[knot] * (1 - share) + draws[knot + 1] * share

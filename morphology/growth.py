"""Growing a neurite or a whole neuron from its class."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import optimize, special

from .neuron_class import SWC_TYPE_OF_KIND, Domain, NeuronClass, SideBranch, Spine, Varicosity
from .tree import SOMA, SPINE_HEAD, SPINE_NECK, VARICOSITY, Tree

# A cell's neurites are stepped at this length; a lone neurite at its own mean radius, within these bounds.
CELL_STEP_UM = 1.0
SHORTEST_STEP_UM = 0.1
LONGEST_STEP_UM = 0.5
MOST_POINTS = 500_000
# How often a section, spine or side branch that would touch the cell itself is drawn again.
TRIES = 20
# Closest approach of a spine or side branch to the rest of its neurite.
SPINE_GAP_UM = 0.04
# Radius of the flat tip of a spine's head over the radius of its neck.
SPINE_TIP = 0.6


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
    step = float(np.clip(typical, SHORTEST_STEP_UM, LONGEST_STEP_UM))
    persistence = _persistence_um(neuron_class.tortuosity.sample(rng), neuron_class.tortuosity_length_um)
    start = np.asarray(start_um, dtype=np.float64)
    path, arc = _wander(start, heading, length_um, step, persistence, rng)
    radii = _wandering_radius(neuron_class, arc, rng)
    types = np.full(len(arc), SWC_TYPE_OF_KIND[neuron_class.kind], dtype=np.int16)
    if neuron_class.varicosity is not None:
        _swell(neuron_class.varicosity, arc, radii, types, rng)
    growing = _GrowingTree()
    shaft = growing.add_chain(-1, path, radii, types)
    if neuron_class.spine is not None:
        _add_spines(growing, neuron_class.spine, shaft, arc, rng)
    if neuron_class.side_branch is not None:
        thinnest = float(neuron_class.shaft_radius_um.quantile(0.0))
        _add_side_branches(growing, neuron_class.side_branch, shaft, arc, persistence, thinnest, rng)
    return growing.finished()


def grow_neuron(neuron_class: NeuronClass, rng: np.random.Generator) -> Tree:
    """Grow a whole cell around the origin: a soma and the branching neurites of each domain of its class.

    Each section wanders like a neurite, pulled towards its domain's axis, and ends by branching in two or by
    ending. Daughters share the parent's radius by Rall's law and leave in one plane with it, the thinner one
    at the larger angle.

    Raises:
        ValueError: a class that is not of kind cell, or one whose branching runs away.
    """
    arbor = neuron_class.arbor
    if arbor is None:
        raise ValueError(f"class {neuron_class.name} is of kind {neuron_class.kind}, but a neuron grows from kind cell")
    growing = _GrowingTree()
    soma_radius = arbor.soma_radius_um.sample(rng)
    growing.add_chain(-1, np.zeros((1, 3)), np.array([soma_radius]), np.array([SOMA], dtype=np.int16))
    taken: list[NDArray[np.float64]] = []
    for domain in arbor.domains.values():
        stem_radius_um = domain.stem_radius_um or neuron_class.shaft_radius_um
        for _ in range(max(0, round(domain.stems.sample(rng)))):
            direction = _free_direction(domain, taken, rng)
            taken.append(direction)
            radius = min(stem_radius_um.sample(rng), 0.7 * soma_radius)
            bud = _Bud(0, soma_radius * direction, direction, radius, 0)
            _grow_stem(growing, neuron_class, domain, bud, rng)
    return growing.finished()


class _GrowingTree:
    """Points so far, in arrays that double when full."""

    def __init__(self) -> None:
        self._count = 0
        self._points = np.empty((256, 3))
        self._radii = np.empty(256)
        self._parents = np.empty(256, dtype=np.int32)
        self._types = np.empty(256, dtype=np.int16)
        self._chains = np.empty(256, dtype=np.int32)
        self._chain_starts: list[int] = []

    def __len__(self) -> int:
        return self._count

    @property
    def points(self) -> NDArray[np.float64]:
        return self._points[: self._count]

    @property
    def radii(self) -> NDArray[np.float64]:
        return self._radii[: self._count]

    @property
    def types(self) -> NDArray[np.int16]:
        return self._types[: self._count]

    def add_chain(
        self, parent: int, points: NDArray[np.float64], radii: NDArray[np.float64], types: NDArray[np.int16]
    ) -> NDArray[np.int64]:
        """Add points one after the other, the first hanging on `parent`; returns their indices."""
        indices = np.arange(self._count, self._count + len(points))
        while indices[-1] >= len(self._radii):
            for name in ("_points", "_radii", "_parents", "_types", "_chains"):
                array = getattr(self, name)
                setattr(self, name, np.concatenate([array, np.empty_like(array)]))
        self._points[indices] = points
        self._radii[indices] = radii
        self._types[indices] = types
        self._parents[indices] = np.concatenate([[parent], indices[:-1]])
        self._chains[indices] = len(self._chain_starts)
        self._chain_starts.append(parent)
        self._count += len(points)
        return indices

    def is_clear(
        self,
        points: NDArray[np.float64],
        radii: NDArray[np.float64],
        gap_um: float,
        beside: int | None = None,
    ) -> bool:
        """Whether balls at these points keep a gap from the balls at all points so far.

        Where `beside` is a point, the chain it belongs to and the other chains that hang on it do not count.
        """
        if not len(points):
            return True
        reach = float(radii.max() + self.radii.max()) + gap_um
        low, high = points.min(axis=0) - reach, points.max(axis=0) + reach
        near = np.flatnonzero(((self.points > low) & (self.points < high)).all(axis=1))
        if beside is not None:
            chain = self._chains[near]
            near = near[(chain != self._chains[beside]) & (np.array(self._chain_starts)[chain] != beside)]
        distances = np.linalg.norm(self.points[near][None] - points[:, None], axis=2)
        return bool((distances > radii[:, None] + self.radii[near] + gap_um).all())

    def finished(self) -> Tree:
        return Tree(self.points, self.radii, self._parents[: self._count], self.types)


@dataclass(frozen=True)
class _Bud:
    """Where a section starts: the point it hangs on, its first point, direction, radius and branching
    order.
    """

    parent: int
    start: NDArray[np.float64]
    direction: NDArray[np.float64]
    radius: float
    order: int


def _grow_stem(
    growing: _GrowingTree, neuron_class: NeuronClass, domain: Domain, stem: _Bud, rng: np.random.Generator
) -> None:
    section_length_um = domain.section_length_um or neuron_class.section_length_um
    tortuosity = domain.tortuosity or neuron_class.tortuosity
    swc_type = SWC_TYPE_OF_KIND[domain.neurite]
    axis = _unit(np.array(domain.direction)) if domain.direction and not domain.pull_outward else None
    buds = [stem]
    while buds:
        bud = buds.pop()
        if len(growing) > MOST_POINTS:
            raise ValueError(f"class {neuron_class.name}: branching_probability lets the arbor grow without end")
        probabilities = domain.branching_probability
        branches = rng.random() < probabilities[min(bud.order, len(probabilities) - 1)]
        length = (section_length_um if branches else domain.terminal_length_um).sample(rng)
        persistence = _persistence_um(tortuosity.sample(rng), neuron_class.tortuosity_length_um)
        for attempt in range(TRIES):
            # Each try swings a little farther out; drawing the length anew would favour short sections.
            direction = _unit(bud.direction + rng.normal(0, 0.08 * attempt, 3))
            pull = (domain.pull_per_um, axis)
            path, arc = _wander(bud.start, direction, length, CELL_STEP_UM, persistence, rng, pull)
            radii = np.maximum(bud.radius * np.exp(-domain.taper_per_um * arc), domain.tip_radius_um)
            # Near its start a section cannot keep the gap from what it hangs on, nor from its twin.
            base_radius = 0.0 if bud.parent == 0 else float(growing.radii[bud.parent])
            beyond = arc > 2.5 * (CELL_STEP_UM + bud.radius + base_radius)
            if (
                growing.is_clear(path[beyond], radii[beyond], CELL_STEP_UM)
                and growing.is_clear(path[1:][~beyond[1:]], radii[1:][~beyond[1:]], CELL_STEP_UM, bud.parent)
                and _keeps_off_itself(path, radii)
            ):
                break
        else:
            continue  # no room: the branch is not grown
        # A section that hangs on a branch point shares that point; a stem starts on the soma's surface.
        first = 0 if bud.parent == 0 else 1
        types = np.full(len(arc) - first, swc_type, dtype=np.int16)
        last = int(growing.add_chain(bud.parent, path[first:], radii[first:], types)[-1])
        if branches:
            heading = _unit(path[-1] - path[-2])
            buds += _daughters(domain, last, path[-1], heading, float(radii[-1]), bud.order + 1, rng)


def _keeps_off_itself(path: NDArray[np.float64], radii: NDArray[np.float64]) -> bool:
    """Whether no two points of a section, farther apart on the way than a half turn, come too near."""
    reach = 2 * radii[0] + CELL_STEP_UM
    stride = int(np.ceil(np.pi / 2 * reach / CELL_STEP_UM)) + 1
    return all(
        bool((np.linalg.norm(path[index + stride :] - path[index], axis=1) > reach).all())
        for index in range(len(path) - stride)
    )


def _daughters(
    domain: Domain,
    parent: int,
    point: NDArray[np.float64],
    heading: NDArray[np.float64],
    radius: float,
    order: int,
    rng: np.random.Generator,
) -> list[_Bud]:
    """Two buds; their radii follow Rall's law, their angles from the parent share the angle between them."""
    exponent = domain.rall_exponent
    share = domain.thin_share.sample(rng)
    thin, thick = radius * share ** (1 / exponent), radius * (1 - share) ** (1 / exponent)
    between = np.radians(domain.branching_angle_deg.sample(rng))
    side = _any_perpendicular(heading, rng)
    # The thicker daughter turns less (Murray 1926): angles in inverse proportion to the cross-sections.
    thick_turn = between * thin**2 / (thin**2 + thick**2)
    thin_turn = between - thick_turn
    buds = []
    for turn, sign, size in ((thick_turn, 1.0, thick), (thin_turn, -1.0, thin)):
        direction = np.cos(turn) * heading + sign * np.sin(turn) * side
        buds.append(_Bud(parent, point, direction, max(size, domain.tip_radius_um), order))
    return buds


def _free_direction(domain: Domain, taken: list[NDArray[np.float64]], rng: np.random.Generator) -> NDArray[np.float64]:
    """Direction of a stem within the domain's cone; of eight tries the one farthest from the stems before
    it.
    """
    axis = np.array([0.0, 0.0, 1.0]) if domain.direction is None else _unit(np.array(domain.direction))
    spread = 180.0 if domain.direction is None else domain.spread_deg
    tries = []
    for _ in range(8):
        cosine = rng.uniform(np.cos(np.radians(spread)), 1.0)
        tries.append(cosine * axis + np.sqrt(1 - cosine**2) * _any_perpendicular(axis, rng))
    nearest = [max((float(candidate @ other) for other in taken), default=-1.0) for candidate in tries]
    return tries[int(np.argmin(nearest))]


def _persistence_um(tortuosity: float, length_um: float) -> float:
    """Persistence length of a worm-like chain whose path over root-mean-square chord is `tortuosity`.

    Mean square chord of a chain of length L: 2 P L (1 - P/L (1 - exp(-L/P))) (Kratky & Porod 1949). Valid for
    tortuosity above 1; 1.0005 and below count as straight.
    """
    if tortuosity <= 1.0005:
        return np.inf

    def excess(log_ratio: float) -> float:
        ratio = np.exp(log_ratio)  # P / L
        return float(2 * ratio * (1 + ratio * np.expm1(-1 / ratio))) - tortuosity**-2

    return length_um * float(np.exp(optimize.brentq(excess, np.log(1e-4), np.log(1e4))))


def _wander(
    start: NDArray[np.float64],
    direction: NDArray[np.float64],
    length_um: float,
    step_um: float,
    persistence_um: float,
    rng: np.random.Generator,
    pull: tuple[float, NDArray[np.float64] | None] = (0.0, None),
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(n, 3) points and (n,) path length of a worm-like chain.

    A pull (rate per µm, axis) turns it towards the axis, or away from the origin when the axis is None.
    """
    pull_per_um, axis = pull
    count = max(2, round(length_um / step_um))
    step = length_um / count
    # In three dimensions the direction forgets itself by exp(-s / P) when it turns by a variance s / P per
    # axis.
    turns = rng.normal(size=(count, 3)) * np.sqrt(step / persistence_um)
    heading = _unit(direction)
    points = np.empty((count + 1, 3))
    points[0] = start
    for index in range(count):
        points[index + 1] = points[index] + step * heading
        sideways = turns[index] - (turns[index] @ heading) * heading
        angle = float(np.linalg.norm(sideways))
        turned = np.cos(angle) * heading + np.sinc(angle / np.pi) * sideways
        if pull_per_um > 0:
            turned = turned + pull_per_um * step * (_unit(points[index + 1]) if axis is None else axis)
        heading = _unit(turned)
    return points, step * np.arange(count + 1)


def _wandering_radius(
    neuron_class: NeuronClass, arc: NDArray[np.float64], rng: np.random.Generator
) -> NDArray[np.float64]:
    """Radius along the shaft: draws of the class, one per period, joined by half cosines."""
    period = neuron_class.radius_period_um
    place = arc / period + rng.random()
    draws = neuron_class.shaft_radius_um.sample(rng, int(place[-1]) + 2)
    knot = place.astype(int)
    share = (1 - np.cos(np.pi * (place - knot))) / 2
    return draws[knot] * (1 - share) + draws[knot + 1] * share


def _swell(
    varicosity: Varicosity,
    arc: NDArray[np.float64],
    radii: NDArray[np.float64],
    types: NDArray[np.int16],
    rng: np.random.Generator,
) -> None:
    """Raise the radii, in place, to the ellipsoids of varicosities; each stands a drawn spacing after the
    last.
    """
    centre = varicosity.spacing_um.sample(rng) * rng.random()
    while centre < arc[-1]:
        half = varicosity.length_um.sample(rng) / 2
        # Longer than wide: a swelling is no disc.
        widest = min(varicosity.radius_um.sample(rng), half)
        ellipse = widest * np.sqrt(np.maximum(0, 1 - ((arc - centre) / half) ** 2))
        types[ellipse > radii] = VARICOSITY
        np.maximum(radii, ellipse, out=radii)
        centre += varicosity.spacing_um.sample(rng)


def _add_spines(
    growing: _GrowingTree,
    spine: Spine,
    shaft: NDArray[np.int64],
    arc: NDArray[np.float64],
    rng: np.random.Generator,
) -> None:
    """Spines at random places of the shaft; one that would touch another or the shaft is placed anew."""
    for _ in range(rng.poisson(spine.density_per_um.sample(rng) * arc[-1])):
        along, radii, types = _spine_outline(spine, rng)
        beyond = along > 2 * (radii[0] + SPINE_GAP_UM)  # the foot of the neck touches the shaft
        for _ in range(TRIES):
            base = shaft[int(np.clip(np.searchsorted(arc, rng.uniform(0, arc[-1])), 1, len(shaft) - 2))]
            forward = _unit(growing.points[base + 1] - growing.points[base - 1])
            out = _unit(_any_perpendicular(forward, rng) + rng.normal(0, 0.25) * forward)
            points = growing.points[base] + (growing.radii[base] + along)[:, None] * out
            if growing.is_clear(points[beyond], radii[beyond], SPINE_GAP_UM):
                growing.add_chain(int(base), points, radii, types)
                break


def _spine_outline(
    spine: Spine, rng: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int16]]:
    """Distance from the shaft's surface, radius and type of each point of one spine: neck, then a round
    head.
    """
    first, second = rng.normal(size=2)
    correlation = spine.neck_head_correlation
    second = correlation * first + np.sqrt(1 - correlation**2) * second
    head = float(spine.head_radius_um.quantile(special.ndtr(second)))
    neck = min(float(spine.neck_radius_um.quantile(special.ndtr(first))), 0.8 * head)
    # The neck lasts until the head, or anything else, is clear of the shaft.
    neck_length = max(spine.length_um.sample(rng) - 2 * head, neck + 2 * SPINE_GAP_UM)
    # The head's rings start where the ball is as wide as the neck and end in a small flat tip.
    angles = np.linspace(np.pi - np.arcsin(neck / head), np.arcsin(SPINE_TIP * neck / head), 8)
    count = max(2, round(neck_length / SHORTEST_STEP_UM))
    neck_along = np.linspace(0, neck_length, count, endpoint=False)
    along = np.concatenate([neck_along, neck_length + head * (1 + np.cos(angles))])
    radii = np.concatenate([np.full(count, neck), head * np.sin(angles)])
    types = np.where(np.arange(len(along)) < count, SPINE_NECK, SPINE_HEAD).astype(np.int16)
    return along, radii, types


def _add_side_branches(
    growing: _GrowingTree,
    branch: SideBranch,
    shaft: NDArray[np.int64],
    arc: NDArray[np.float64],
    persistence_um: float,
    thinnest_um: float,
    rng: np.random.Generator,
) -> None:
    place = branch.spacing_um.sample(rng) * rng.random()
    while place < arc[-1]:
        index = int(np.clip(np.searchsorted(arc, place), 1, len(shaft) - 2))
        base = int(shaft[index])
        surface = float(growing.radii[base])
        radius = surface * branch.radius_ratio.sample(rng)
        forward = _unit(growing.points[shaft[index + 1]] - growing.points[shaft[index - 1]])
        for _ in range(TRIES):
            angle = np.radians(branch.angle_deg.sample(rng))
            direction = np.cos(angle) * forward + np.sin(angle) * _any_perpendicular(forward, rng)
            length = branch.length_um.sample(rng) + surface
            path, steps = _wander(growing.points[base], direction, length, SHORTEST_STEP_UM, persistence_um, rng)
            # It may touch the shaft only where it leaves it.
            beyond = steps > 2 * surface + radius
            radii = np.maximum(radius * (1 - 0.5 * steps / length), thinnest_um)
            if growing.is_clear(path[beyond], radii[beyond], SPINE_GAP_UM):
                types = np.full(len(steps) - 1, growing.types[base], dtype=np.int16)
                growing.add_chain(base, path[1:], radii[1:], types)
                break
        place += branch.spacing_um.sample(rng)


def _any_perpendicular(axis: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    """Unit vector at right angles to a unit axis, at random around it."""
    while True:
        vector = rng.normal(size=3)
        vector -= (vector @ axis) * axis
        if np.linalg.norm(vector) > 1e-3:
            return _unit(vector)


def _unit(vector: NDArray[np.float64]) -> NDArray[np.float64]:
    return vector / np.linalg.norm(vector)

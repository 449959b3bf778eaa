"""Laying out a block's cells: skeletons with radii that leave clearance to each other and fill the space.

Large things first, then whatever fits into what is left ("void routing"): myelinated axons and dendrites cross the
block, spines stand on the dendrites, astrocyte branches follow the widest voids, boutons take their room beside spine
heads and in wide voids, an axon is led through each of them, and further thin axons are led through the largest
remaining void, again and again, until no void is wider than asked. A clearance field (distance to the nearest surface
so far, on a grid) steers every walk.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numba
import numpy as np
import numpy.typing as npt
from scipy.ndimage import maximum_filter

from neuropil.morphology.neuron_class import NeuronClass
from neuropil.morphology.tree import AXON, DENDRITE, GLIA, SPINE_HEAD, SPINE_NECK, Tree

from .arrival import FloatArray, Grid, RoundCones, interpolate, lower_to_cones
from .parameters import TissueParameters
from .routing import cheapest_way, smoothed

CLEARANCE_SPACING_UM = 0.04
CLEARANCE_REACH_UM = 0.5
AXON_CLEARANCE_REACH_UM = 0.35  # no bouton is wider; a shorter reach is cheaper
SEED_CLEARANCE_UM = 0.012  # what every laid-out surface keeps from every other, before inflation
STEP_UM = 0.09
KEEP_OFF_UM = 0.15  # an axon's two ways out keep off each other from here on
NARROWEST_UM = 0.035  # radius at which an axon still squeezes through, before inflation
# By how much the radius of a neurite grows on the average until it meets its neighbours; measured on finished blocks.
USUAL_INFLATION_UM = 0.03
BRANCH_SHARE = 0.45  # of an astrocyte's volume that its branches hold, the rest being leaflets between other cells
FILLING_ROUNDS = 6
THINNEST_NECK_UM = 0.035
SPINE_TRIES = 24
THINNEST_BOUTON_UM = 0.11
BOUTON_SEARCH_UM = 0.45  # how far from its place along the axon a bouton is put for the sake of room
DIRECTIONS = 24  # places and directions that a bouton is tried in, of which
PLACES = 8  # with most room are looked at closely
CANDIDATES = 20  # directions a walk chooses from at each step


@dataclass(frozen=True)
class Bouton:
    """A varicosity: where vesicles gather."""

    centre_um: FloatArray
    radius_um: float


@dataclass(frozen=True)
class SpineHead:
    """Where a spine ends: the place for a postsynaptic density. length_um: of the whole spine, from the shaft on."""

    centre_um: FloatArray
    radius_um: float
    length_um: float


@dataclass(frozen=True)
class LaidOutCell:
    """One cell before inflation."""

    kind: str  # axon, dendrite, astrocyte, myelinated_axon
    skeleton: Tree
    boutons: list[Bouton] = field(default_factory=list)
    spine_heads: list[SpineHead] = field(default_factory=list)
    nodes_of_ranvier: list[tuple[FloatArray, float]] = field(default_factory=list)  # middles, and half the bare length

    def round_cones(self) -> RoundCones:
        """The sweep's exact shape. A spine's first segment keeps the neck's radius, not the shaft's."""
        tree = self.skeleton
        child = np.flatnonzero(tree.parents >= 0)
        parent = tree.parents[child]
        leaves_shaft = (tree.types[child] == SPINE_NECK) & (tree.types[parent] == DENDRITE)
        start_radius = np.where(leaves_shaft, tree.radii_um[child], tree.radii_um[parent])
        return RoundCones(tree.points_um[parent], tree.points_um[child], start_radius, tree.radii_um[child])

    def cone_types(self) -> npt.NDArray[np.int16]:
        """SWC type of each of the round cones, as many."""
        tree = self.skeleton
        return np.asarray(tree.types[tree.parents >= 0])

    def moved(self, move: Callable[[FloatArray], FloatArray]) -> "LaidOutCell":
        """The same cell with every point moved."""
        tree = self.skeleton
        return LaidOutCell(
            self.kind,
            Tree(move(tree.points_um), tree.radii_um, tree.parents, tree.types),
            [Bouton(move(b.centre_um[None])[0], b.radius_um) for b in self.boutons],
            [SpineHead(move(h.centre_um[None])[0], h.radius_um, h.length_um) for h in self.spine_heads],
            [(move(middle[None])[0], half) for middle, half in self.nodes_of_ranvier],
        )


@dataclass(frozen=True)
class Reserved:
    """Room kept for a bouton: nodes STEP_UM apart along its axis, and their radii."""

    points_um: FloatArray  # (n, 3)
    radii_um: FloatArray  # (n,)

    def round_cones(self) -> RoundCones:
        """Its shape."""
        return RoundCones(self.points_um[:-1], self.points_um[1:], self.radii_um[:-1], self.radii_um[1:])

    @property
    def inflated_volume_um3(self) -> float:
        """About what it will hold once it has met its neighbours."""
        return float(np.pi * ((self.radii_um + USUAL_INFLATION_UM) ** 2).sum() * STEP_UM)


@numba.njit(cache=True)
def _walk(
    clearance: FloatArray,
    origin: FloatArray,
    spacing: float,
    start: FloatArray,
    direction: FloatArray,
    preferred: FloatArray,
    comfort: float,
    smallest: float,
    stiffness: float,
    purpose: float,
    noise: FloatArray,
    low: FloatArray,
    high: FloatArray,
    step: float,
) -> tuple[FloatArray, bool]:
    """Steps from start until the box is left (True) or no direction offers `smallest` clearance (False)."""
    limit, candidates = noise.shape[0], noise.shape[1]
    path = np.empty((limit + 1, 3))
    path[0] = start
    here = start.copy()
    heading = direction.copy()
    probe = np.empty((2, 3))
    for n in range(limit):
        best = -1e9
        best_heading = heading.copy()
        for c in range(candidates):
            trial = heading + (0.0 if c == 0 else 1.0) * noise[n, c]
            trial = trial / np.sqrt((trial * trial).sum())
            probe[0] = here + step * trial
            probe[1] = here + 2.5 * step * trial
            room = interpolate(clearance, origin, spacing, probe)
            if room[0] < smallest:
                continue
            score = (
                2.0 * min(room[0], comfort) / comfort
                + min(room[1], comfort) / comfort
                + purpose * (trial * preferred).sum()
                + stiffness * (trial * heading).sum()
            )
            if score > best:
                best = score
                best_heading = trial
        if best == -1e9:
            return path[: n + 1], False
        heading = best_heading
        here = here + step * heading
        path[n + 1] = here
        for d in range(3):
            if here[d] < low[d] or here[d] > high[d]:
                return path[: n + 2], True
    return path, False


def _unit(vector: FloatArray) -> FloatArray:
    return np.asarray(vector / np.linalg.norm(vector))


def _any_direction(rng: np.random.Generator) -> FloatArray:
    return _unit(rng.normal(size=3))


def _across(direction: FloatArray, rng: np.random.Generator) -> FloatArray:
    """A random direction at right angles to another."""
    return _unit(np.cross(direction, _any_direction(rng)))


def _limited_slope(radii: FloatArray, step: float, slope: float = 0.7) -> FloatArray:
    """Radii lowered until they change by less than `slope` per µm of path: the sweep stays a union of cones."""
    out = radii.copy()
    for n in range(1, len(out)):
        out[n] = min(out[n], out[n - 1] + slope * step)
    for n in range(len(out) - 2, -1, -1):
        out[n] = min(out[n], out[n + 1] + slope * step)
    return out


class Layout:
    """The block's cells so far and the clearance field around them."""

    def __init__(self, parameters: TissueParameters, beyond_um: float, rng: np.random.Generator) -> None:
        margin = parameters.margin_um + beyond_um
        self.low = np.full(3, -margin)
        self.high = np.asarray(parameters.size_um, float) + margin
        self.parameters = parameters
        self.rng = rng
        self.cells: list[LaidOutCell] = []
        self.grid = Grid.around(self.low, self.high, CLEARANCE_SPACING_UM)
        self.clearance = np.full(self.grid.shape, np.float32(CLEARANCE_REACH_UM))

    def room(self, points: FloatArray) -> FloatArray:
        """Clearance (µm) at points (n, 3)."""
        return interpolate(self.clearance, self.grid.origin_um, self.grid.spacing_um, np.atleast_2d(points))

    def add(self, cell: LaidOutCell) -> None:
        """Keep a cell and lower the clearance around it."""
        self.cells.append(cell)
        self._occupy(cell.round_cones(), AXON_CLEARANCE_REACH_UM if cell.kind == "axon" else CLEARANCE_REACH_UM)

    def _occupy(self, cones: RoundCones, reach_um: float) -> None:
        lower_to_cones(self.clearance, self.grid.origin_um, self.grid.spacing_um, cones.packed(), reach_um)

    def walk(
        self,
        start: FloatArray,
        direction: FloatArray,
        *,
        comfort_um: float,
        smallest_um: float,
        stiffness: float,
        purpose: float,
        wobble: float = 0.35,
        most_um: float = math.inf,
    ) -> tuple[FloatArray, bool]:
        """A path of points STEP_UM apart that keeps to the open, and whether it left the block."""
        limit = int(min(1.6 * float(np.linalg.norm(self.high - self.low)), most_um) / STEP_UM)
        noise = self.rng.normal(scale=wobble, size=(limit, CANDIDATES, 3))
        path, left = _walk(
            self.clearance,
            self.grid.origin_um,
            self.grid.spacing_um,
            np.asarray(start, float),
            np.asarray(direction, float),
            np.asarray(direction, float),
            comfort_um,
            smallest_um,
            stiffness,
            purpose,
            noise,
            self.low,
            self.high,
            STEP_UM,
        )
        return path, bool(left)

    def walk_both_ways(self, start: FloatArray, direction: FloatArray, **manner: float) -> tuple[FloatArray, int, int]:
        """A path through start, the index of start in it, and how many of its ends left the block."""
        ahead, left_ahead = self.walk(start, direction, **manner)
        back, left_back = self.walk(start, -np.asarray(direction), **manner)
        return np.vstack([back[:0:-1], ahead]), len(back) - 1, int(left_ahead) + int(left_back)

    def tree(self, path: FloatArray, radii: FloatArray, swc_type: int) -> Tree:
        """An unbranched tree, its ends drawn back into the box so that every node lies inside."""
        points = np.clip(path, self.low, self.high)
        keep = np.r_[True, np.linalg.norm(np.diff(points, axis=0), axis=1) > 1e-4]
        points, radii = points[keep], radii[keep]
        n = len(points)
        return Tree(points, radii, np.arange(-1, n - 1, dtype=np.int32), np.full(n, swc_type, np.int16))

    # ---- large things first -------------------------------------------------------------------------------------

    def lay_across(self, kind: str, radius_um: float, swc_type: int, attempts: int = 30) -> bool:
        """One thick, nearly straight process from face to face; False if there is no room for it."""
        best: tuple[float, FloatArray] | None = None
        for _ in range(attempts):
            start = self.rng.uniform(self.low, self.high)
            if self.room(start)[0] < radius_um * 0.9:
                continue
            path, _, exits = self.walk_both_ways(
                start,
                _any_direction(self.rng),
                comfort_um=radius_um + 0.1,
                smallest_um=min(radius_um * 0.7, CLEARANCE_REACH_UM * 0.95),
                stiffness=6.0,
                purpose=3.0,
                wobble=0.15,
            )
            length = len(path) * STEP_UM
            if exits == 2 and length > 4 * radius_um and (best is None or length > best[0]):
                best = (length, path)
                if length > 0.8 * float(np.min(self.high - self.low)):
                    break
        if best is None:
            return False
        path = best[1]
        wave = 1 + 0.18 * _smooth_noise(self.rng, len(path), 8)
        room = self.room(path) - SEED_CLEARANCE_UM
        # Beyond the field's reach the room is unknown but at least the reach.
        room = np.where(room >= CLEARANCE_REACH_UM - 2 * SEED_CLEARANCE_UM, np.inf, room)
        radii = _limited_slope(np.minimum(radius_um * wave, room), STEP_UM)
        self.add(LaidOutCell(kind, self.tree(path, radii, swc_type)))
        return True

    def grow_spines(self, index: int, spiny: NeuronClass, density_scale: float) -> None:
        """Spines on a dendrite that is already laid, where there is room; the cell is replaced by the spiny one."""
        if spiny.spine is None:
            return
        cell = self.cells[index]
        shaft = cell.skeleton
        points, radii = [*shaft.points_um], [*shaft.radii_um]
        parents, types = [*shaft.parents], [*shaft.types]
        heads: list[SpineHead] = []
        density = float(spiny.spine.density_per_um.sample(self.rng)) * density_scale
        along = self.rng.exponential(1 / density)
        for node in range(1, len(shaft.points_um)):
            along -= STEP_UM
            if along > 0:
                continue
            along += self.rng.exponential(1 / density)
            tangent = _unit(shaft.points_um[node] - shaft.points_um[node - 1])
            spine = self._spine(shaft.points_um[node], shaft.radii_um[node], tangent, spiny)
            if spine is None:
                continue
            first = len(points)
            points.extend(spine[0])
            radii.extend(spine[1])
            parents.extend([node, *range(first, first + len(spine[0]) - 1)])
            types.extend([SPINE_NECK] * (len(spine[0]) - 2) + [SPINE_HEAD] * 2)
            length = float(np.linalg.norm(spine[0][-1] - shaft.points_um[node]) + spine[1][-1] - shaft.radii_um[node])
            heads.append(SpineHead(spine[0][-1], float(spine[1][-1]), length))
            cones = RoundCones(np.array(spine[0][:-1]), np.array(spine[0][1:]), spine[1][:-1], spine[1][1:])
            self._occupy(cones, CLEARANCE_REACH_UM)
        tree = Tree(np.array(points), np.array(radii), np.array(parents, np.int32), np.array(types, np.int16))
        self.cells[index] = LaidOutCell(cell.kind, tree, [], heads)

    def _spine(
        self, base: FloatArray, shaft_radius: float, tangent: FloatArray, spiny: NeuronClass
    ) -> tuple[FloatArray, FloatArray] | None:
        """Points and radii of a spine that finds room, or None."""
        assert spiny.spine is not None
        length = float(spiny.spine.length_um.sample(self.rng))
        neck, head = (radius - USUAL_INFLATION_UM for radius in spiny.spine.sample_neck_and_head_um(self.rng))
        neck, head = max(neck, THINNEST_NECK_UM), max(head, self.parameters.thinnest_radius_um)
        shortest = 2.2 * head + 0.15
        for wished in np.linspace(max(length, shortest), shortest, SPINE_TRIES):
            length = float(wished)  # a spine that finds no room is drawn shorter
            out = _unit(_across(tangent, self.rng) + 0.3 * self.rng.normal(size=3))
            bend = _across(out, self.rng) * self.rng.uniform(0, 0.25)
            reach = np.array([0.0, 0.35, 0.7, 1.0]) * (length - 1.6 * head)
            t = np.r_[reach, length - head * 0.9, length - head * 0.4]
            points = base + np.outer(shaft_radius * 0.85 + t, out) + np.outer((t / length) ** 2 * length, bend)
            radii = np.r_[neck * 1.3, neck, neck, neck * 1.2, head * self.rng.uniform(0.85, 1.1), head]
            room = self.room(points)
            from_axis = np.linalg.norm(points - base, axis=1)
            own = 0.8 * from_axis - shaft_radius - 0.03  # at least the clearance to its own dendrite
            crowded = (room < radii + SEED_CLEARANCE_UM) & (room < own)
            inside = ((points > self.low + 0.05) & (points < self.high - 0.05)).all()
            if inside and not crowded.any():
                return points, radii
        return None

    # ---- axons --------------------------------------------------------------------------------------------------

    def lay_axon(self, start: FloatArray, direction: FloatArray, axon: NeuronClass) -> bool:
        """An axon through start from face to face; False if there is no way."""
        start = np.asarray(start, float)
        ahead = self._way_out(start, direction, np.empty((0, 3)))
        back = self._way_out(start, -np.asarray(direction), ahead) if len(ahead) else ahead
        if len(back) == 0:
            return False
        self._add_axon(np.vstack([back[:0:-1], ahead]), axon, None)
        return True

    def _way_out(self, start: FloatArray, direction: FloatArray, taken: FloatArray) -> FloatArray:
        """Points STEP_UM apart from start to a face, keeping off the points `taken`; (0, 3) where there is no way."""
        node = np.rint((start - self.grid.origin_um) / self.grid.spacing_um).astype(np.int64)
        node = np.clip(node, 0, np.array(self.grid.shape) - 1)
        own = np.zeros(self.grid.shape, bool)
        away = np.linalg.norm(taken - start, axis=1) > KEEP_OFF_UM
        for other in np.rint((taken[away] - self.grid.origin_um) / self.grid.spacing_um).astype(int):
            own[tuple(slice(max(0, n - 2), n + 3) for n in other)] = True
        way = cheapest_way(
            self.clearance,
            own,
            node,
            np.asarray(direction, float),
            self.parameters.axon_comfort_um,
            NARROWEST_UM + SEED_CLEARANCE_UM,
        )
        if len(way) < 2:
            return np.empty((0, 3))
        points = self.grid.origin_um + way * self.grid.spacing_um
        return smoothed(np.vstack([start, points[1:]]), STEP_UM)

    def _add_axon(self, path: FloatArray, axon: NeuronClass, first: tuple[int, FloatArray] | None) -> None:
        """Keep an axon along a path. first: a bouton that has its room already, its first node and its nodes' radii."""
        thinnest = self.parameters.thinnest_radius_um
        shaft = max(float(axon.shaft_radius_um.sample(self.rng)) - USUAL_INFLATION_UM, thinnest)
        room = self.room(path) - SEED_CLEARANCE_UM
        wish = np.maximum(shaft * (1 + 0.2 * _smooth_noise(self.rng, len(path), 5)), thinnest)
        taken = None if first is None else (first[0], first[0] + len(first[1]))
        swellings = self._place_boutons(room, axon, taken)
        for centre, radius, half_um in swellings:
            s = (np.arange(len(path)) - centre) * STEP_UM / half_um
            wish = np.maximum(wish, radius * np.sqrt(np.clip(1 - s**2, 0, None)))
        radii = np.minimum(wish, np.maximum(room, NARROWEST_UM))
        places = [centre for centre, _, _ in swellings]
        if first is not None and taken is not None:
            radii[slice(*taken)] = first[1]
            places.append(taken[0] + len(first[1]) // 2)
        radii = _limited_slope(radii, STEP_UM)
        boutons = [Bouton(path[c], float(radii[c])) for c in places if radii[c] > THINNEST_BOUTON_UM]
        self.add(LaidOutCell("axon", self.tree(path, radii, AXON), boutons))

    def _place_boutons(
        self, room: FloatArray, axon: NeuronClass, taken: tuple[int, int] | None
    ) -> list[tuple[int, float, float]]:
        """Boutons along a path with this room at its nodes: node, radius and half length in µm of each.

        They follow each other at the class's spacings, each where there is most room nearby and not where it
        would have to be much smaller than its size. taken: nodes (from, to) where there is a bouton anyway.
        """
        assert axon.varicosity is not None
        placed: list[tuple[int, float, float]] = []
        spans = [] if taken is None else [(0.5 * sum(taken), 0.5 * (taken[1] - taken[0]) * STEP_UM)]
        position = float(axon.varicosity.spacing_um.sample(self.rng)) * self.rng.random()
        search = int(BOUTON_SEARCH_UM / STEP_UM)
        while position < len(room) * STEP_UM:
            node = int(position / STEP_UM)
            window = room[max(0, node - search) : node + search + 1]
            node = max(0, node - search) + int(np.argmax(window))
            radius = float(axon.varicosity.radius_um.sample(self.rng)) - USUAL_INFLATION_UM
            alone = all(abs(node - c) * STEP_UM > half + 0.4 for c, half in spans)
            if alone and room[node] > 0.8 * radius:
                half = max(0.5 * float(axon.varicosity.length_um.sample(self.rng)), radius + USUAL_INFLATION_UM)
                placed.append((node, radius, half))
                spans.append((node, half))
                position += float(axon.varicosity.spacing_um.sample(self.rng))
            else:
                position += BOUTON_SEARCH_UM  # one that finds no room comes a little later
        return placed

    def lay_boutons(self, axon: NeuronClass, volume_um3: float) -> list[Reserved]:
        """Room for boutons before any thin axon takes it: one beside every spine head, then in the voids.

        As many are drawn from the class as hold volume_um3 once inflated, or as there are heads, and again for what has
        become smaller for want of room; larger ones choose first, and larger heads have larger boutons (Harris and
        Stevens 1989, J Neurosci 9:2982).
        """
        heads = sorted((head for cell in self.cells for head in cell.spine_heads), key=lambda head: -head.radius_um)
        laid: list[Reserved] = []
        for _ in range(FILLING_ROUNDS):
            missing = volume_um3 - sum(bouton.inflated_volume_um3 for bouton in laid)
            wishes = self._bouton_sizes(axon, missing, len(heads))
            with_head = np.sort(self.rng.permutation(len(wishes))[: len(heads)]).tolist()
            found = [self._bouton_beside(head, *wishes[n]) for n, head in zip(with_head, heads, strict=False)]
            heads = heads[len(with_head) :]
            found += [self._bouton_in_void(*wishes[n]) for n in range(len(wishes)) if n not in with_head]
            laid += [bouton for bouton in found if bouton is not None]
        return laid

    def _bouton_sizes(self, axon: NeuronClass, volume_um3: float, least: int) -> list[tuple[float, float]]:
        """Radius before inflation and half length of at least so many boutons that hold a volume, largest first."""
        assert axon.varicosity is not None
        sizes: list[tuple[float, float]] = []
        while volume_um3 > 0 or len(sizes) < least:
            inflated = float(axon.varicosity.radius_um.sample(self.rng))
            half = max(0.5 * float(axon.varicosity.length_um.sample(self.rng)), inflated)
            sizes.append((inflated - USUAL_INFLATION_UM, half))
            volume_um3 -= 4 / 3 * np.pi * inflated**2 * half
        return sorted(sizes, reverse=True)

    def _bouton_beside(self, head: SpineHead, wish_um: float, half_um: float) -> Reserved | None:
        """A bouton that faces a spine head, on the side where it can be largest."""
        outward = np.array([_any_direction(self.rng) for _ in range(DIRECTIONS)])
        radius = np.full(DIRECTIONS, wish_um)
        for _ in range(3):  # a smaller one moves nearer to the head, where there may be less room again
            places = head.centre_um + (head.radius_um + radius + 2 * SEED_CLEARANCE_UM)[:, None] * outward
            radius = np.minimum(radius, self.room(places) - SEED_CLEARANCE_UM)
        axes = [_across(direction, self.rng) for direction in outward]
        return self._taken(self._largest(places, axes, radius, half_um))

    def _bouton_in_void(self, wish_um: float, half_um: float) -> Reserved | None:
        """A bouton in one of the voids that are wide enough, where it can be thickest."""
        wide = np.flatnonzero(self.clearance.ravel() > min(wish_um, 0.9 * AXON_CLEARANCE_REACH_UM))
        if len(wide) == 0:
            wide = np.flatnonzero(self.clearance.ravel() > THINNEST_BOUTON_UM + SEED_CLEARANCE_UM)
        if len(wide) == 0:
            return None
        nodes = np.column_stack(np.unravel_index(self.rng.choice(wide, DIRECTIONS), self.grid.shape))
        places = self.grid.origin_um + nodes * self.grid.spacing_um
        axes = [_any_direction(self.rng) for _ in range(DIRECTIONS)]
        return self._taken(self._largest(places, axes, np.full(DIRECTIONS, wish_um), half_um))

    def _largest(
        self, places: FloatArray, axes: list[FloatArray], radii: FloatArray, half_um: float
    ) -> Reserved | None:
        """The spindle of most volume round one of the places, bent and shortened as the room has it; None for none."""
        best, most = None, 0.0
        widest = np.argsort(-np.minimum(self.room(places), radii), kind="stable")[:PLACES]
        for place, axis, radius in zip(places[widest], np.array(axes)[widest], radii[widest], strict=True):
            half = max(half_um, float(radius) + USUAL_INFLATION_UM)
            path, middle = self._walk_along_void(place, axis, float(radius), half)
            if len(path) < 3:
                continue
            along = (np.arange(len(path)) - middle) * STEP_UM
            spindle = radius * np.sqrt(np.clip(1 - (along / half) ** 2, 0, None))
            fitting = np.minimum(spindle, self.room(path) - SEED_CLEARANCE_UM)
            fitting = _limited_slope(np.maximum(fitting, self.parameters.thinnest_radius_um), STEP_UM)
            if fitting.max() > THINNEST_BOUTON_UM and (fitting**2).sum() > most:
                most = float((fitting**2).sum())
                best = Reserved(path, fitting)
        return best

    def _walk_along_void(
        self, start: FloatArray, axis: FloatArray, comfort_um: float, half_um: float
    ) -> tuple[FloatArray, int]:
        """Points up to half_um from start both ways along an axis, where there is room, and the index of start."""
        manner = {"comfort_um": comfort_um, "smallest_um": THINNEST_BOUTON_UM, "stiffness": 4.0, "purpose": 2.0}
        sides = []
        for direction in (axis, -axis):
            path, left = self.walk(start, direction, **manner, most_um=half_um)
            sides.append(path[: len(path) - int(left)])
        return np.vstack([sides[1][:0:-1], sides[0]]), len(sides[1]) - 1

    def _taken(self, bouton: Reserved | None) -> Reserved | None:
        """The same bouton, its room taken."""
        if bouton is not None:
            self._occupy(bouton.round_cones(), AXON_CLEARANCE_REACH_UM)
        return bouton

    def lead_axons(self, boutons: list[Reserved], axon: NeuronClass) -> None:
        """An axon through each of the boutons, leaving it at both tips; one that finds no way ends there."""
        for bouton in boutons:
            points = bouton.points_um
            axis = _unit(points[-1] - points[0])
            ahead = self._leave(points[-1], axis, np.empty((0, 3)))
            back = self._leave(points[0], -axis, ahead)
            path = np.vstack([back[::-1], bouton.points_um, ahead])
            self._add_axon(path, axon, (len(back), bouton.radii_um))

    def _leave(self, tip_um: FloatArray, axis: FloatArray, taken: FloatArray) -> FloatArray:
        """The way of an axon out of a bouton's tip, without the tip; no point where there is no way out."""
        directions = np.array([_unit(axis + 0.5 * self.rng.normal(size=3)) for _ in range(CANDIDATES)])
        # The field knows the bouton itself: two steps away that no longer counts.
        room = self.room(tip_um + 2 * STEP_UM * directions)
        best = int(np.argmax(room))
        if room[best] < NARROWEST_UM + SEED_CLEARANCE_UM:
            return np.empty((0, 3))
        way = self._way_out(tip_um + 2 * STEP_UM * directions[best], axis, taken)
        return np.vstack([tip_um + STEP_UM * directions[best], way]) if len(way) else way

    def fill_with_axons(self, axon: NeuronClass) -> None:
        """Lead axons through the largest voids first, until no void is wider than the parameters ask."""
        assert axon.varicosity is not None
        widest = self.parameters.widest_void_radius_um
        given_up = np.zeros(self.grid.shape, bool)
        for _ in range(FILLING_ROUNDS):
            peaks = (self.clearance == maximum_filter(self.clearance, 3)) & (self.clearance >= widest) & ~given_up
            nodes = np.argwhere(peaks)
            if len(nodes) == 0:
                return
            for node in nodes[np.argsort(-self.clearance[peaks], kind="stable")]:
                if self.clearance[tuple(node)] >= widest and not self._fill_void(node, axon):
                    given_up[tuple(slice(max(0, n - 2), n + 3) for n in node)] = True

    def _fill_void(self, node: npt.NDArray[np.int64], axon: NeuronClass) -> bool:
        """An axon through a node of the clearance field; False if none finds a way."""
        assert axon.varicosity is not None
        start = self.grid.origin_um + node * self.grid.spacing_um
        return self.lay_axon(start, _any_direction(self.rng), axon)

    # ---- glia ---------------------------------------------------------------------------------------------------

    def lay_astrocyte(self, astrocyte: NeuronClass, volume_um3: float) -> None:
        """One astrocyte's branches along the widest voids, until they hold the asked volume."""
        node = np.unravel_index(int(np.argmax(self.clearance)), self.grid.shape)
        root = self.grid.origin_um + np.array(node) * self.grid.spacing_um
        points, radii, parents = [root], [min(0.3, float(self.room(root)[0]) - SEED_CLEARANCE_UM)], [-1]
        held = 0.0
        for _ in range(60):
            if held >= volume_um3:
                break
            branch_from = int(self.rng.integers(len(points)))
            start = points[branch_from]
            path, _ = self.walk(
                start,
                _any_direction(self.rng),
                comfort_um=0.2,
                smallest_um=self.parameters.thinnest_radius_um + SEED_CLEARANCE_UM,
                stiffness=0.8,
                purpose=0.6,
                wobble=0.6,
            )
            if len(path) < 4:
                continue
            path = np.clip(path, self.low, self.high)
            keep = np.r_[True, np.linalg.norm(np.diff(path, axis=0), axis=1) > 1e-4]
            path = path[keep]
            wish = float(astrocyte.shaft_radius_um.sample(self.rng)) * np.exp(
                0.6 * _smooth_noise(self.rng, len(path), 3)
            )
            branch = np.minimum(
                wish, np.maximum(self.room(path) - SEED_CLEARANCE_UM, self.parameters.thinnest_radius_um)
            )
            branch = _limited_slope(np.r_[min(radii[branch_from], branch[0]), branch[1:]], STEP_UM)
            first = len(points)
            points.extend(path[1:])
            radii.extend(branch[1:])
            parents.extend([branch_from, *range(first, first + len(path) - 2)])
            held += float((np.pi * branch**2).sum() * STEP_UM)
        if len(points) > 1:
            tree = Tree(
                np.array(points),
                np.array(radii),
                np.array(parents, np.int32),
                np.full(len(points), GLIA, np.int16),
            )
            self.add(LaidOutCell("astrocyte", tree))


def _smooth_noise(rng: np.random.Generator, n: int, knots_apart: int) -> FloatArray:
    """n values of unit-variance noise, linear between knots."""
    knots = rng.normal(size=n // knots_apart + 2)
    return np.interp(np.arange(n) / knots_apart, np.arange(len(knots)), knots)


def _inflated_volume_um3(tree: Tree) -> float:
    """About how much a neurite will hold once it has met its neighbours."""
    child = np.flatnonzero(tree.parents >= 0)
    radii = 0.5 * (tree.radii_um[child] + tree.radii_um[tree.parents[child]]) + USUAL_INFLATION_UM
    return float((np.pi * radii**2 * tree.segment_lengths_um[child]).sum())


def _spine_volume_um3(cells: list[LaidOutCell]) -> float:
    """About what the heads of all spines hold once inflated."""
    return sum(4 / 3 * np.pi * (h.radius_um + USUAL_INFLATION_UM) ** 3 for c in cells for h in c.spine_heads)


def _bouton_share(axon: NeuronClass) -> float:
    """Share of an axon's volume in its varicosities, from the class's mean sizes: spindles on a cylinder."""
    assert axon.varicosity is not None
    shares = (np.arange(100) + 0.5) / 100
    shaft, radius, length, spacing = (
        one.quantile(shares)
        for one in (
            axon.shaft_radius_um,
            axon.varicosity.radius_um,
            axon.varicosity.length_um,
            axon.varicosity.spacing_um,
        )
    )
    swelling = 2 / 3 * np.pi * (radius**2).mean() * length.mean()
    between = np.pi * (shaft**2).mean() * max(spacing.mean() - length.mean(), 0.0)
    return float(swelling / (swelling + between))


def lay_out(
    parameters: TissueParameters,
    dendrite: NeuronClass,
    axon: NeuronClass,
    myelinated: NeuronClass,
    astrocyte: NeuronClass,
    beyond_um: float,
    rng: np.random.Generator,
) -> list[LaidOutCell]:
    """All cells of a block as skeletons with radii.

    Sweeps keep clear of each other up to the clearance field's grid; where two still overlap by some nm, contact
    inflation gives each the half that is nearer to it, so the packed cells never do.

    beyond_um: how far beyond the built box the cells must reach.

    Raises ValueError where the parameters leave no room for what they ask.
    """
    layout = Layout(parameters, beyond_um, rng)
    volume = float(np.prod(layout.high - layout.low))
    assert myelinated.myelin is not None
    enrichment = parameters.enrichment
    for n in range(int(parameters.myelinated_axons * enrichment.myelin + rng.random())):
        outer = float(myelinated.shaft_radius_um.sample(rng)) / float(myelinated.myelin.g_ratio.sample(rng))
        if not any(layout.lay_across("myelinated_axon", outer * 0.8**attempt, AXON) for attempt in range(5)):
            raise ValueError(f"tissue: myelinated_axons = {parameters.myelinated_axons}, but only {n} fit the block")
    held, failures = 0.0, 0
    while held < parameters.dendrite_shaft_fraction * volume and failures < 12:
        # After a failure a thinner one is tried: the block fills with what still fits.
        radius = (float(dendrite.shaft_radius_um.sample(rng)) - USUAL_INFLATION_UM) * 0.9**failures
        if layout.lay_across("dendrite", radius, DENDRITE):
            held += _inflated_volume_um3(layout.cells[-1].skeleton)
        else:
            failures += 1
    for index, cell in enumerate(layout.cells):
        if cell.kind == "dendrite":
            layout.grow_spines(index, dendrite, enrichment.synapses)
    if parameters.astrocyte_fraction > 0:
        layout.lay_astrocyte(astrocyte, BRANCH_SHARE * parameters.astrocyte_fraction * volume)
    spines = _spine_volume_um3(layout.cells)
    # Whatever the extracellular space is to be: swelling must not change what is laid.
    rest = 1 - parameters.dendrite_shaft_fraction - parameters.astrocyte_fraction
    asked = (rest * volume - spines) * _bouton_share(axon)
    boutons = layout.lay_boutons(axon, asked)
    layout.lead_axons(boutons, axon)
    layout.lead_axons(layout.lay_boutons(axon, asked - sum(b.inflated_volume_um3 for b in boutons)), axon)
    layout.fill_with_axons(axon)
    return layout.cells

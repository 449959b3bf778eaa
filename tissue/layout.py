"""Laying out a block's cells: skeletons with radii that leave clearance to each other and fill the space.

Large things first, then whatever fits into what is left ("void routing"): myelinated axons and dendrites cross the
block, spines stand on the dendrites, an axon with a bouton is led past every spine head, astrocyte branches follow
the widest voids, and thin axons are led through the largest remaining void, again and again, until no void is wider
than asked. A clearance field (distance to the nearest surface so far, on a grid) steers every walk.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import numba
import numpy as np

from neuropil.morphology.neuron_class import NeuronClass
from neuropil.morphology.tree import AXON, DENDRITE, GLIA, SPINE_HEAD, SPINE_NECK, Tree

from .arrival import FloatArray, Grid, RoundCones, interpolate, lower_to_cones
from .parameters import TissueParameters

CLEARANCE_SPACING_UM = 0.04
CLEARANCE_REACH_UM = 0.5
SEED_CLEARANCE_UM = 0.012  # what every laid-out surface keeps from every other, before inflation
STEP_UM = 0.09
WIDE_VOID_UM = 0.11
CANDIDATES = 20  # directions a walk chooses from at each step


@dataclass(frozen=True)
class Bouton:
    """A varicosity: where vesicles gather."""

    centre_um: FloatArray
    radius_um: float


@dataclass(frozen=True)
class SpineHead:
    """Where a spine ends: the place for a postsynaptic density."""

    centre_um: FloatArray
    radius_um: float


@dataclass(frozen=True)
class LaidOutCell:
    """One cell before inflation."""

    kind: str  # axon, dendrite, astrocyte, myelinated_axon
    skeleton: Tree
    boutons: list[Bouton] = field(default_factory=list)
    spine_heads: list[SpineHead] = field(default_factory=list)

    def round_cones(self) -> RoundCones:
        """The sweep's exact shape. A spine's first segment keeps the neck's radius, not the shaft's."""
        tree = self.skeleton
        child = np.flatnonzero(tree.parents >= 0)
        parent = tree.parents[child]
        leaves_shaft = (tree.types[child] == SPINE_NECK) & (tree.types[parent] == DENDRITE)
        start_radius = np.where(leaves_shaft, tree.radii_um[child], tree.radii_um[parent])
        return RoundCones(tree.points_um[parent], tree.points_um[child], start_radius, tree.radii_um[child])

    def moved(self, move: Callable[[FloatArray], FloatArray]) -> "LaidOutCell":
        """The same cell with every point moved."""
        tree = self.skeleton
        return LaidOutCell(
            self.kind,
            Tree(move(tree.points_um), tree.radii_um, tree.parents, tree.types),
            [Bouton(move(b.centre_um[None])[0], b.radius_um) for b in self.boutons],
            [SpineHead(move(h.centre_um[None])[0], h.radius_um) for h in self.spine_heads],
        )


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
        self._occupy(cell.round_cones())

    def _occupy(self, cones: RoundCones) -> None:
        lower_to_cones(self.clearance, self.grid.origin_um, self.grid.spacing_um, cones.packed(), CLEARANCE_REACH_UM)

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
        limit: int = 400,
    ) -> tuple[FloatArray, bool]:
        """A path of points STEP_UM apart that keeps to the open, and whether it left the block."""
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
        ahead, left_ahead = self.walk(start, direction, **manner)  # type: ignore[arg-type]
        back, left_back = self.walk(start, -np.asarray(direction), **manner)  # type: ignore[arg-type]
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
        assert spiny.spine is not None
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
            heads.append(SpineHead(spine[0][-1], float(spine[1][-1])))
            self._occupy(RoundCones(np.array(spine[0][:-1]), np.array(spine[0][1:]), spine[1][:-1], spine[1][1:]))
        tree = Tree(np.array(points), np.array(radii), np.array(parents, np.int32), np.array(types, np.int16))
        self.cells[index] = LaidOutCell(cell.kind, tree, [], heads)

    def _spine(
        self, base: FloatArray, shaft_radius: float, tangent: FloatArray, spiny: NeuronClass
    ) -> tuple[FloatArray, FloatArray] | None:
        """Points and radii of a spine that finds room, or None."""
        assert spiny.spine is not None
        length = float(spiny.spine.length_um.sample(self.rng))
        neck = float(spiny.spine.neck_radius_um.sample(self.rng))
        head = float(spiny.spine.head_radius_um.sample(self.rng))
        length = max(length, 2.2 * head + 0.15)
        for _ in range(8):
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

    def lay_axon(
        self,
        start: FloatArray,
        direction: FloatArray,
        axon: NeuronClass,
        bouton_radius_um: float | None,
        shortest_um: float,
    ) -> bool:
        """An axon through start, with a bouton there if one is asked for; False if it would end before shortest_um."""
        assert axon.varicosity is not None
        shaft = float(axon.shaft_radius_um.sample(self.rng))
        path, middle, exits = self.walk_both_ways(
            start,
            direction,
            comfort_um=shaft + 0.03,
            smallest_um=self.parameters.thinnest_radius_um + SEED_CLEARANCE_UM,
            stiffness=2.5,
            purpose=1.2,
        )
        length = len(path) * STEP_UM
        if len(path) < 4 or (exits < 2 and length < shortest_um):
            return False
        room = self.room(path) - SEED_CLEARANCE_UM
        wish = shaft * (1 + 0.2 * _smooth_noise(self.rng, len(path), 5))
        wish = np.maximum(wish, self.parameters.thinnest_radius_um)
        boutons = []
        centres = [] if bouton_radius_um is None else [middle]
        position = self.rng.exponential(float(axon.varicosity.spacing_um.sample(self.rng)))
        for n in range(len(path)):
            position -= STEP_UM
            if position <= 0 and room[n] > 0.12:
                position = float(axon.varicosity.spacing_um.sample(self.rng))
                if all(abs(n - c) * STEP_UM > 1.0 for c in centres):
                    centres.append(n)
        for n, c in enumerate(centres):
            target = float(axon.varicosity.radius_um.sample(self.rng))
            if n == 0 and bouton_radius_um is not None:
                target = bouton_radius_um
            half = 0.5 * float(axon.varicosity.length_um.sample(self.rng))
            s = (np.arange(len(path)) - c) * STEP_UM / half
            wish = np.maximum(wish, target * np.sqrt(np.clip(1 - s**2, 0, None)))
        radii = np.minimum(wish, np.maximum(room, self.parameters.thinnest_radius_um))
        radii = _limited_slope(radii, STEP_UM)
        boutons = [Bouton(path[c], float(radii[c])) for c in centres if radii[c] > 0.11]
        self.add(LaidOutCell("axon", self.tree(path, radii, AXON), boutons))
        return True

    def lay_partners(self, axon: NeuronClass) -> None:
        """An axon with a bouton at every spine head that has room beside it."""
        assert axon.varicosity is not None
        for cell in [c for c in self.cells if c.kind == "dendrite"]:
            for head in cell.spine_heads:
                wish = float(axon.varicosity.radius_um.sample(self.rng))
                outward = [_any_direction(self.rng) for _ in range(24)]
                places = np.array([head.centre_um + d * (head.radius_um + wish + 0.03) for d in outward])
                places = np.clip(places, self.low, self.high)
                room = self.room(places)
                best = int(np.argmax(room))
                radius = min(wish, float(room[best]) - SEED_CLEARANCE_UM)
                if radius > 0.1:
                    self.lay_axon(
                        places[best], _across(outward[best], self.rng), axon, radius, self.parameters.shortest_axon_um
                    )

    def fill_with_axons(self, axon: NeuronClass) -> None:
        """Lead an axon through the largest void until no void is wider than the parameters ask."""
        assert axon.varicosity is not None
        open_to = self.clearance.copy()
        for _ in range(4000):
            np.minimum(open_to, self.clearance, out=open_to)
            node = np.unravel_index(int(np.argmax(open_to)), self.grid.shape)
            if open_to[node] < self.parameters.widest_void_radius_um:
                return
            start = self.grid.origin_um + np.array(node) * self.grid.spacing_um
            # A wide void is where a bouton lies.
            wide = float(open_to[node]) - SEED_CLEARANCE_UM
            bouton = min(float(axon.varicosity.radius_um.sample(self.rng)), wide) if wide > WIDE_VOID_UM else None
            # Only an ending fits into a wide pocket; a small one is left to the astrocyte.
            lengths = [self.parameters.shortest_axon_um] * 2 + [0.0] * (wide > WIDE_VOID_UM)
            if not any(self.lay_axon(start, _any_direction(self.rng), axon, bouton, shortest) for shortest in lengths):
                around = tuple(slice(max(0, n - 2), n + 3) for n in node)
                open_to[around] = 0

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
    for n in range(parameters.myelinated_axons):
        outer = float(myelinated.shaft_radius_um.sample(rng)) / float(myelinated.myelin.g_ratio.sample(rng))
        if not any(layout.lay_across("myelinated_axon", outer * 0.8**attempt, AXON) for attempt in range(5)):
            raise ValueError(f"tissue: myelinated_axons = {parameters.myelinated_axons}, but only {n} fit the block")
    held, failures = 0.0, 0
    while held < parameters.dendrite_fraction * volume and failures < 12:
        # After a failure a thinner one is tried: the block fills with what still fits.
        radius = float(dendrite.shaft_radius_um.sample(rng)) * 0.9**failures
        if layout.lay_across("dendrite", radius, DENDRITE):
            held += layout.cells[-1].skeleton.swept_volume_um3()
        else:
            failures += 1
    for index, cell in enumerate(layout.cells):
        if cell.kind == "dendrite":
            layout.grow_spines(index, dendrite, parameters.spine_density_scale)
    layout.lay_partners(axon)
    layout.lay_astrocyte(astrocyte, parameters.astrocyte_fraction * volume)
    layout.fill_with_axons(axon)
    return layout.cells

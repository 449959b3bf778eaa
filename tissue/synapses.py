"""Synapses: where an axon and a dendrite face each other, and the densities on both sides and in the cleft."""

from dataclasses import dataclass

import numpy as np

from neuropil.morphology.tree import SPINE_HEAD

from .arrival import Arrivals, FloatArray, Grid, RoundCones, arrival_time, interpolate
from .interior import CellInterior
from .laid_cell import LaidOutCell
from .parameters import TissueParameters
from .polygonize import polygonize
from .shapes import Shape
from .warp import Warp

# Mean and sd behind the membrane, which with its 8 nm makes the 44 nm of mouse CA1 (JCB 200711021, fig. 5).
PSD_THICKNESS_UM = (0.036, 0.006)
SYMMETRIC_THICKNESS = 0.4  # a symmetric synapse's density over an asymmetric one's: about as thin as the presynaptic
ACTIVE_ZONE_THICKNESS_UM = 0.014
# Beyond both densities lies a web of filaments, by which they fade into the cytoplasm: actin in spines, the presynaptic
# cytomatrix. As far as the grey of the EPFL CA1 slices falls off beside drawn densities.
WEB_UM = 0.026
CLEFT_UM = 0.0205  # width of the cleft (JCB 200711021, fig. 5)
DENSITY_SPACING_UM = 0.013
REACH_UM = 0.45  # arrivals are looked at as far as this from a sweep
LEAFLET_UM = 0.006  # a density begins behind the membrane
FACING_UM = 0.03  # how much farther than the own surface the partner's may seem and still be what faces it

# PSD area is proportional to the head's volume (Ofer 2021), with this scatter: 0.05 µm² for a spine of 0.04 µm³,
# 0.3 µm² for one of 0.29 µm³ (realism.md rows 34 and 35), of which the head is some 70 %.
AREA_PER_HEAD_VOLUME = 1.6  # 1/µm
AREA_SCATTER = 0.25
SMALLEST_AREA_UM2, LARGEST_AREA_UM2 = 0.015, 0.5
SHAFT_AREA_UM2 = (0.05, 0.025)  # mean and sd on shafts, where no head sets the size
SHARE_OF_CONTACT = 0.85  # a density leaves a rim of the contact free
PERFORATED_FROM_UM2 = 0.1  # larger densities often have a hole (Harris et al. 1992, J Neurosci 12:2685)
HARMONICS = 3
# A density ends where its membrane has turned by more than 50° from the synapse's plane: real ones are shallow cups.
FLATTEST_COSINE, TURN_UM = 0.64, 0.2
# What makes 87-94 % of all synapses asymmetric, 80-91 % of these on spines, 62-86 % of the symmetric ones on shafts
# (Santuy 2018; realism.md rows 26 and 27).
SYMMETRIC_ON_SPINES, SYMMETRIC_ON_SHAFTS = 0.03, 0.35
# A presynaptic axon is at least so deep somewhere within so far behind the contact: vesicles need the room.
THINNEST_BOUTON_UM = 0.045
BEHIND_UM = (0.04, 0.08, 0.12, 0.16)
BOUTON_PREFERENCE = 4.0


@dataclass(frozen=True)
class Outline:
    """The outline of a density: waves of the rim about a disc, and a hole.

    waves: (HARMONICS, 2), amplitude over the radius and phase of 2, 3, 4 … waves round the rim.
    hole: its place in the disc's plane and its radius, over the disc's radius; radius 0 for none.
    """

    waves: FloatArray
    hole: tuple[float, float, float] = (0.0, 0.0, 0.0)

    @classmethod
    def random(cls, area_um2: float, rng: np.random.Generator) -> "Outline":
        """Outlines as varied as real ones; large ones may be perforated."""
        waves = np.column_stack([rng.normal(scale=0.09, size=HARMONICS), rng.uniform(0, 2 * np.pi, HARMONICS)])
        if area_um2 < PERFORATED_FROM_UM2 or rng.random() < 0.4:
            return cls(waves)
        angle, off = rng.uniform(0, 2 * np.pi), rng.uniform(0.1, 0.6)
        return cls(waves, (float(off * np.cos(angle)), float(off * np.sin(angle)), float(rng.uniform(0.2, 0.35))))

    def inside(self, across_um: FloatArray, radius_um: float) -> FloatArray:
        """How far (µm) points across_um (…, 2) of the disc's plane lie within the outline, negative outside."""
        distance = np.hypot(across_um[..., 0], across_um[..., 1])
        # At most 1.3 radii wide, as `Synapse.reach_um` takes it.
        angle = np.arctan2(across_um[..., 1], across_um[..., 0])
        rim = sum(a * np.cos((n + 2) * angle + p) for n, (a, p) in enumerate(self.waves))
        within = radius_um * np.clip(1 + rim, 0.6, 1.3) - distance
        x, y, size = self.hole
        if size > 0:
            to_hole = np.hypot(across_um[..., 0] - x * radius_um, across_um[..., 1] - y * radius_um)
            within = np.minimum(within, to_hole - size * radius_um)
        return np.asarray(within)


@dataclass(frozen=True)
class Synapse:
    """One synapse. Ids are cell ids; the position is the middle of the contact.

    normal: unit vector from the postsynaptic to the presynaptic cell.
    head_volume_um3: of the spine head that it is on, None on a shaft.
    """

    id: int
    pre_id: int
    post_id: int
    position_um: FloatArray  # (3,)
    normal: FloatArray  # (3,)
    psd_radius_um: float
    kind: str  # asymmetric or symmetric
    outline: Outline
    head_volume_um3: float | None = None

    @property
    def psd_area_um2(self) -> float:
        """Area of the disc that the density covers, its hole left out."""
        return float(np.pi * self.psd_radius_um**2 * (1 - self.outline.hole[2] ** 2))

    @property
    def on(self) -> str:
        """spine or shaft."""
        return "shaft" if self.head_volume_um3 is None else "spine"

    @property
    def _aside_um(self) -> float:
        """How far from the contact's plane, on either side, densities may lie."""
        return 0.6 * self.psd_radius_um + 0.07

    @property
    def reach_um(self) -> float:
        """Radius of a ball round the position that holds all of the synapse's densities."""
        return float(np.hypot(1.3 * self.psd_radius_um, self._aside_um))

    def within(self, points_um: FloatArray) -> FloatArray:
        """How far (µm) points (…, 3) lie within the synapse's outline, looked at along its normal."""
        u = np.cross(self.normal, np.eye(3)[np.argmin(np.abs(self.normal))])
        u /= np.linalg.norm(u)
        offset = points_um - self.position_um
        across = offset @ np.column_stack([u, np.cross(self.normal, u)])
        # A contact is a cap at most: what lies farther from its plane is another side of the cell.
        near = self._aside_um - np.abs(offset @ self.normal)
        return np.minimum(self.outline.inside(across, self.psd_radius_um), near)


@dataclass(frozen=True)
class Contact:
    """Where two cells face each other near some point; normal: from the first cell to its partner."""

    partner: int
    position_um: FloatArray
    area_um2: float
    normal: FloatArray


def contacts_near(
    arrivals: Arrivals, cell: int, centre_um: FloatArray, radius_um: float, partners: set[int]
) -> list[Contact]:
    """Faces that `cell` shares with each of `partners` within a ball, widest first."""
    sub, window = arrivals.grid.sub_grid(centre_um - radius_um, centre_um + radius_um)
    owner, runner = arrivals.owner[window], arrivals.runner_up[window]
    shell = 1.5 * sub.spacing_um
    facing = (arrivals.second_um[window] - arrivals.first_um[window] < 2 * shell) & ((owner == cell) | (runner == cell))
    nodes = sub.nodes()
    facing &= ((nodes - centre_um) ** 2).sum(-1) < radius_um**2
    own = (owner == cell)[facing]
    partner = np.where(own, runner[facing], owner[facing])
    where = nodes[facing]
    found = []
    for other in sorted(set(partner.tolist()) & partners):
        ours = partner == other
        points = where[ours]
        sides = own[ours]
        if sides.all() or not sides.any():
            continue
        middle = points[np.argmin(((points - points.mean(0)) ** 2).sum(1))]
        towards = points[~sides].mean(0) - points[sides].mean(0)
        # The nodes fill a shell of twice `shell` around the contact.
        area = len(points) * sub.spacing_um**3 / (2 * shell)
        found.append(Contact(int(other), middle, area, towards / max(float(np.linalg.norm(towards)), 1e-9)))
    return sorted(found, key=lambda c: -c.area_um2)


def head_volume_um3(
    arrivals: Arrivals, cell: int, centre_um: FloatArray, radius_um: float, half_gap_um: float
) -> float:
    """Volume of the spine head of `cell` round a place: the nodes that the head's own cones reach first."""
    reach = radius_um + 0.25
    sub, window = arrivals.grid.sub_grid(centre_um - reach, centre_um + reach)
    inside = 0.5 * (arrivals.second_um[window] - arrivals.first_um[window]) > half_gap_um
    head = (arrivals.owner[window] == cell) & (arrivals.part[window] == SPINE_HEAD) & inside
    near = ((sub.nodes() - centre_um) ** 2).sum(-1) < reach**2
    return float((head & near).sum() * sub.spacing_um**3)


def find_synapses(
    parameters: TissueParameters, cells: list[LaidOutCell], arrivals: Arrivals, gap_um: float, rng: np.random.Generator
) -> list[Synapse]:
    """A synapse at spine heads that face an axon, and between some free boutons and the shafts they lie on.

    Cell ids are list indices plus one. 87–94 % of cortical synapses are asymmetric and most of those on spines
    (Santuy 2018).
    """
    axons = {n for n, c in enumerate(cells) if c.kind == "axon"}
    dendrites = {n for n, c in enumerate(cells) if c.kind == "dendrite"}
    low = np.full(3, -parameters.margin_um)
    high = np.asarray(parameters.size_um) + parameters.margin_um
    synapses: list[Synapse] = []

    def keep(pre: int, post: int, contact: Contact, area: float, kind: str, head: float | None) -> None:
        area = float(np.clip(min(area, SHARE_OF_CONTACT * contact.area_um2), SMALLEST_AREA_UM2, LARGEST_AREA_UM2))
        outline = Outline.random(area, rng)
        radius = float(np.sqrt(area / np.pi / (1 - outline.hole[2] ** 2)))
        position = contact.position_um
        inside = ((position > low) & (position < high)).all()
        near = any(np.linalg.norm(s.position_um - position) < s.psd_radius_um + radius + 0.05 for s in synapses)
        if inside and not near:
            normal = contact.normal if contact.partner == pre else -contact.normal
            number = len(synapses) + 1
            synapses.append(Synapse(number, pre + 1, post + 1, position, normal, radius, kind, outline, head))

    for index in sorted(dendrites):
        for head in cells[index].spine_heads:
            candidates = [
                (_fitness(arrivals, cells[contact.partner], contact), contact)
                for contact in contacts_near(arrivals, index, head.centre_um, head.radius_um + 0.15, axons)
                if contact.area_um2 > SMALLEST_AREA_UM2
            ]
            fitness, best = max(candidates, key=lambda one: one[0], default=(0.0, None))
            if best is not None and fitness > 0 and rng.random() < parameters.synapse_probability:
                volume = head_volume_um3(arrivals, index, head.centre_um, head.radius_um, 0.5 * gap_um)
                area = AREA_PER_HEAD_VOLUME * volume * float(np.exp(AREA_SCATTER * rng.normal()))
                kind = "symmetric" if rng.random() < SYMMETRIC_ON_SPINES else "asymmetric"
                keep(best.partner, index, best, area, kind, volume)
    for index in sorted(axons):
        for bouton in cells[index].boutons:
            taken = any(
                s.pre_id == index + 1 and np.linalg.norm(s.position_um - bouton.centre_um) < bouton.radius_um + 0.3
                for s in synapses
            )
            if taken or rng.random() > parameters.shaft_synapse_probability * parameters.enrichment.synapses:
                continue
            contacts = contacts_near(arrivals, index, bouton.centre_um, bouton.radius_um + 0.12, dendrites)
            if contacts and contacts[0].area_um2 > 0.02:
                kind = "symmetric" if rng.random() < SYMMETRIC_ON_SHAFTS else "asymmetric"
                keep(index, contacts[0].partner, contacts[0], float(rng.normal(*SHAFT_AREA_UM2)), kind, None)
    return synapses


def _fitness(arrivals: Arrivals, axon: LaidOutCell, contact: Contact) -> float:
    """How well an axon serves as a partner: the contact's area, more at a bouton, 0 where it is too thin."""
    grid = arrivals.grid
    behind = contact.position_um + np.outer(BEHIND_UM, contact.normal)
    nodes = np.rint((behind - grid.origin_um) / grid.spacing_um).astype(int)
    at = tuple(np.clip(nodes, 0, np.array(grid.shape) - 1).T)
    depth = 0.5 * (arrivals.second_um[at] - arrivals.first_um[at])
    if np.where(arrivals.owner[at] == contact.partner, depth, 0.0).max() < THINNEST_BOUTON_UM:
        return 0.0
    near = any(np.linalg.norm(b.centre_um - contact.position_um) < b.radius_um + 0.2 for b in axon.boutons)
    return contact.area_um2 * (BOUTON_PREFERENCE if near else 1.0)


def psd_thickness_um(kind: str, rng: np.random.Generator) -> float:
    """Thickness of the density behind the postsynaptic membrane."""
    mean, sd = PSD_THICKNESS_UM
    thick = float(np.clip(rng.normal(mean, sd), mean - 2.5 * sd, mean + 2.5 * sd))
    return thick * (1.0 if kind == "asymmetric" else SYMMETRIC_THICKNESS)


@dataclass(frozen=True)
class Surroundings:
    """A fine grid round a synapse as one of its cells sees it.

    depth_um: below the cell's surface; within_um: how far inside the synapse's outline, where the partner is what
    faces the cell, negative elsewhere.
    """

    grid: Grid
    depth_um: FloatArray
    within_um: FloatArray

    @classmethod
    def of(
        cls, synapse: Synapse, interior: CellInterior, own: RoundCones, other: RoundCones, warp: Warp, gap_um: float
    ) -> "Surroundings":
        """own, other: the sweeps of the cell that looks and of its partner, before the warp; gap_um: between cells."""
        wide = 1.3 * synapse.psd_radius_um + 0.05
        last = interior.grid.origin_um + (np.array(interior.grid.shape) - 1) * interior.grid.spacing_um
        low = np.maximum(synapse.position_um - wide, interior.grid.origin_um)
        grid = Grid.around(low, np.minimum(synapse.position_um + wide, last), DENSITY_SPACING_UM)
        nodes = grid.nodes()
        depth = interior.depth(nodes.reshape(-1, 3)).reshape(grid.shape)
        # Which membranes face each other changes slowly: every third node is enough.
        coarse = Grid.around(low, grid.origin_um + np.array(grid.shape) * grid.spacing_um, 3 * DENSITY_SPACING_UM)
        between = gap_um * warp.stretch_at(coarse.nodes().reshape(-1, 3)).reshape(coarse.shape)
        seen = 0.5 * (arrival_time(coarse, other, REACH_UM, warp) - arrival_time(coarse, own, REACH_UM, warp) - between)
        partner = interpolate(seen.astype(np.float32), coarse.origin_um, coarse.spacing_um, nodes.reshape(-1, 3))
        facing = FACING_UM - (partner.reshape(grid.shape) - depth)
        within = np.minimum(synapse.within(nodes), facing)
        return cls(grid, depth, np.minimum(within, _flat(depth, synapse.normal)))

    def density(self, thickness_um: float) -> Shape | None:
        """The plate of dense material on the cell's side, following its membrane; None if nothing is left.

        It lies between LEAFLET_UM and LEAFLET_UM + thickness_um behind the membrane.
        """
        behind = np.minimum(self.depth_um - LEAFLET_UM, LEAFLET_UM + thickness_um - self.depth_um)
        return _plate(self.grid, np.minimum(behind, self.within_um))

    def cleft(self) -> Shape | None:
        """The dense material between the membranes; None if nothing is left.

        It reaches under both and is to be painted before the cells, which cut it to the space between them.
        """
        between = np.minimum(0.004 - self.depth_um, self.depth_um + CLEFT_UM + 0.003)
        return _plate(self.grid, np.minimum(between, self.within_um))


def _flat(depth_um: FloatArray, normal: FloatArray) -> FloatArray:
    """Positive (µm) where a membrane lies across the synapse's normal, negative where it has turned away from it."""
    slope = np.stack(np.gradient(depth_um), axis=-1)
    cosine = np.abs(slope @ normal) / np.maximum(np.linalg.norm(slope, axis=-1), 1e-9)
    return np.asarray(TURN_UM * (cosine - FLATTEST_COSINE))


def _plate(grid: Grid, field: FloatArray) -> Shape | None:
    vertices, faces = polygonize(grid, field)
    return (vertices, faces) if len(faces) >= 20 else None


def widened(grid: Grid, depth_um: FloatArray, synapses: list[Synapse], sheet_um: float) -> FloatArray:
    """A cell's depth field with its surface drawn back at its synapses, so that their clefts are CLEFT_UM wide.

    depth_um: (nx, ny, nz) below the surface that leaves half of a space sheet_um wide; it is changed in place.
    synapses: those of the cell.
    """
    back = 0.5 * (CLEFT_UM - sheet_um)
    if back <= 0:
        return depth_um
    for synapse in synapses:
        wide = synapse.psd_radius_um * 1.3 + 0.08
        sub, window = grid.sub_grid(synapse.position_um - wide, synapse.position_um + wide)
        share = np.clip(synapse.within(sub.nodes()) / 0.04 + 1.0, 0, 1)
        near = np.abs(depth_um[window]) < 0.15
        depth_um[window] = np.where(near, depth_um[window] - back * share, depth_um[window])
    return depth_um

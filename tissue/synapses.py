"""Synapses: where an axon and a dendrite face each other across the gap, with their densities on both sides."""

from dataclasses import dataclass

import numpy as np

from .arrival import Arrivals, FloatArray, Grid, RoundCones, arrival_time
from .layout import LaidOutCell
from .parameters import TissueParameters
from .polygonize import polygonize
from .shapes import Shape
from .warp import Warp

PSD_THICKNESS_UM = (0.030, 0.050)  # 44 nm mean, mouse CA1 (JCB 200711021, Fig. 5)
ACTIVE_ZONE_THICKNESS_UM = 0.018
DENSITY_SPACING_UM = 0.014
LEAFLET_UM = 0.006  # a density begins behind the membrane


@dataclass(frozen=True)
class Synapse:
    """One synapse. Ids are cell ids; the position is the middle of the contact."""

    id: int
    pre_id: int
    post_id: int
    position_um: FloatArray  # (3,)
    psd_radius_um: float
    kind: str  # asymmetric or symmetric

    @property
    def psd_area_um2(self) -> float:
        """Area of the disc that the density covers."""
        return float(np.pi * self.psd_radius_um**2)


@dataclass(frozen=True)
class Contact:
    """Where two cells face each other near some point."""

    partner: int
    position_um: FloatArray
    area_um2: float


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
    partner = np.where(owner == cell, runner, owner)[facing]
    where = nodes[facing]
    found = []
    for other in sorted(set(partner.tolist()) & partners):
        points = where[partner == other]
        middle = points[np.argmin(((points - points.mean(0)) ** 2).sum(1))]
        # The nodes fill a shell of twice `shell` around the contact.
        found.append(Contact(int(other), middle, len(points) * sub.spacing_um**3 / (2 * shell)))
    return sorted(found, key=lambda c: -c.area_um2)


def find_synapses(
    parameters: TissueParameters, cells: list[LaidOutCell], arrivals: Arrivals, rng: np.random.Generator
) -> list[Synapse]:
    """A synapse at spine heads that face an axon, and between some free boutons and the shafts they lie on.

    Cell ids are list indices plus one. 87–94 % of cortical synapses are asymmetric and most of those on spines
    (Santuy 2018); here spine synapses are asymmetric and shaft synapses symmetric or asymmetric alike.
    """
    axons = {n for n, c in enumerate(cells) if c.kind == "axon"}
    dendrites = {n for n, c in enumerate(cells) if c.kind == "dendrite"}
    low = np.full(3, -parameters.margin_um)
    high = np.asarray(parameters.size_um) + parameters.margin_um
    synapses: list[Synapse] = []

    def keep(pre: int, post: int, position: FloatArray, radius: float, kind: str) -> None:
        inside = ((position > low) & (position < high)).all()
        near = any(np.linalg.norm(s.position_um - position) < s.psd_radius_um + radius + 0.05 for s in synapses)
        if inside and not near:
            synapses.append(Synapse(len(synapses) + 1, pre + 1, post + 1, position, radius, kind))

    for index in sorted(dendrites):
        for head in cells[index].spine_heads:
            contacts = contacts_near(arrivals, index, head.centre_um, head.radius_um + 0.15, axons)
            if contacts and contacts[0].area_um2 > 0.01 and rng.random() < parameters.synapse_probability:
                # PSD area grows with the head (Ofer 2021); it cannot be wider than the contact.
                wish = head.radius_um * rng.uniform(0.75, 1.05) + 0.02
                radius = float(np.clip(min(wish, np.sqrt(contacts[0].area_um2 / np.pi) * 1.1), 0.07, 0.3))
                keep(contacts[0].partner, index, contacts[0].position_um, radius, "asymmetric")
    for index in sorted(axons):
        for bouton in cells[index].boutons:
            taken = any(
                s.pre_id == index + 1 and np.linalg.norm(s.position_um - bouton.centre_um) < bouton.radius_um + 0.3
                for s in synapses
            )
            if taken or rng.random() > parameters.shaft_synapse_probability:
                continue
            contacts = contacts_near(arrivals, index, bouton.centre_um, bouton.radius_um + 0.12, dendrites)
            if contacts and contacts[0].area_um2 > 0.02:
                radius = float(np.clip(np.sqrt(contacts[0].area_um2 / np.pi) * 0.8, 0.08, 0.22))
                keep(
                    index,
                    contacts[0].partner,
                    contacts[0].position_um,
                    radius,
                    "symmetric" if rng.random() < 0.5 else "asymmetric",
                )
    return synapses


def density(
    synapse: Synapse, own: RoundCones, other: RoundCones, warp: Warp, gap_um: float, thickness_um: float
) -> Shape | None:
    """The plate of dense material on one side of a synapse, following the membrane there; None if nothing is left.

    own, other: the cell that holds the density and its partner. The plate lies between LEAFLET_UM and
    LEAFLET_UM + thickness_um behind the own membrane that faces the partner.
    """
    wide = synapse.psd_radius_um + 0.05
    grid = Grid.around(synapse.position_um - wide, synapse.position_um + wide, DENSITY_SPACING_UM)
    reach = wide * 2
    nodes = grid.nodes()
    between = gap_um * warp.stretch_at(nodes.reshape(-1, 3)).reshape(grid.shape)
    depth = 0.5 * (arrival_time(grid, other, reach, warp) - arrival_time(grid, own, reach, warp) - between)
    lateral = synapse.psd_radius_um - np.linalg.norm(nodes - synapse.position_um, axis=-1)
    plate = np.minimum(np.minimum(depth - LEAFLET_UM, LEAFLET_UM + thickness_um - depth), lateral)
    vertices, faces = polygonize(grid, plate)
    return (vertices, faces) if len(faces) >= 8 else None

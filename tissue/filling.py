"""Filling the cells: organelles and synaptic densities, each inside its own cell."""

from dataclasses import dataclass, field

import numpy as np

from neuropil.morphology.neuron_class import NeuronClass
from neuropil.morphology.tree import AXON, DENDRITE, GLIA, Tree

from .arrival import FloatArray, RoundCones
from .certificate import largest_piece
from .layout import LaidOutCell
from .organelles import (
    CellInterior,
    Mitochondrion,
    chains,
    fitting_spheres,
    longest_run,
    mitochondrion,
    random_places,
    tubules,
    vesicle_radii_um,
    vesicles,
)
from .parameters import TissueParameters
from .polygonize import polygonize
from .shapes import FaceArray, Shape, joined
from .synapses import ACTIVE_ZONE_THICKNESS_UM, PSD_THICKNESS_UM, Synapse, density
from .warp import Warp

# Thick dendrites hold several mitochondria side by side: 8 % of the section of CA1 neuropil (EPFL labels).
DENDRITE_AREA_PER_MITOCHONDRION_UM2 = 0.17
CISTERNAE_PER_UM3 = 40.0  # stretches of endoplasmic reticulum in dendrites; set by eye on the EPFL CA1 slices
BODIES_PER_UM = 0.35  # lysosomes and multivesicular bodies along a dendrite; set by eye likewise
LOOSE_VESICLES_PER_UM3 = 120.0  # endosomes and transport vesicles in dendrites; set by eye likewise

VESICLE_RICH_AXONS = 0.8  # share of axons with vesicles wherever they are thick; set by eye likewise
THICK_AXON_UM = 0.1


@dataclass(frozen=True)
class Cell:
    """One cell: its skeleton and its one closed surface, cut by the faces of the built box."""

    id: int
    kind: str  # axon, dendrite, astrocyte, myelinated_axon
    skeleton: Tree
    vertices_um: FloatArray
    faces: FaceArray


@dataclass(frozen=True)
class Solid:
    """A closed surface that is filled with one structure. Later solids of a block replace earlier ones."""

    structure: str
    cell_id: int
    vertices_um: FloatArray
    faces: FaceArray


@dataclass
class Contents:
    """Solids collected while the cells are filled, and what is counted on the way."""

    solids: list[Solid] = field(default_factory=list)
    counts: dict[str, float] = field(default_factory=dict)
    uncontained: set[str] = field(default_factory=set)

    def add(self, structure: str, cell_id: int, shape: Shape | None, interior: CellInterior | None = None) -> None:
        if shape is None or len(shape[1]) == 0:
            return
        if interior is not None and interior.depth(shape[0]).min() <= 0:
            self.uncontained.add(structure)
        self.solids.append(Solid(structure, cell_id, shape[0].astype(np.float32), shape[1]))

    def count(self, what: str, amount: float = 1) -> None:
        self.counts[what] = self.counts.get(what, 0) + amount


def fill_cell(
    contents: Contents,
    cell: Cell,
    laid: LaidOutCell,
    interior: CellInterior,
    neuron_class: NeuronClass,
    synapses: list[Synapse],
    cones: list[RoundCones],
    warp: Warp,
    parameters: TissueParameters,
    rng: np.random.Generator,
) -> None:
    """The cell's body and all that lies in it."""
    surface = (cell.vertices_um, cell.faces)
    if cell.kind == "myelinated_axon":
        _add_myelinated(contents, cell, interior, neuron_class, rng)
        return
    contents.add(cell.kind, cell.id, surface)
    gap = parameters.flat_gap_um
    for synapse in synapses:
        if synapse.post_id == cell.id:
            thickness = float(rng.uniform(*PSD_THICKNESS_UM)) * (1.0 if synapse.kind == "asymmetric" else 0.45)
            plate = density(synapse, cones[cell.id - 1], cones[synapse.pre_id - 1], warp, gap, thickness)
            contents.add("psd", cell.id, plate)
        if synapse.pre_id == cell.id:
            plate = density(
                synapse, cones[cell.id - 1], cones[synapse.post_id - 1], warp, gap, ACTIVE_ZONE_THICKNESS_UM
            )
            contents.add("active_zone", cell.id, plate)
    if cell.kind == "axon":
        _fill_axon(contents, cell, laid, interior, neuron_class, synapses, parameters, rng)
    elif cell.kind == "dendrite":
        _fill_dendrite(contents, cell, interior, neuron_class, parameters, rng)
    else:
        _fill_astrocyte(contents, cell, interior, neuron_class, parameters, rng)


def _add_myelinated(
    contents: Contents,
    cell: Cell,
    interior: CellInterior,
    neuron_class: NeuronClass,
    rng: np.random.Generator,
) -> None:
    """The sheath as the outer body, the axon as what is left at the g-ratio's depth."""
    contents.add("myelin", cell.id, (cell.vertices_um, cell.faces))
    depth = interior.depth(cell.skeleton.points_um)
    if depth.max() < 0.05:  # it only grazes the built box: all sheath
        return
    outer = float(np.median(depth[depth > 0]))
    assert neuron_class.myelin is not None
    sheath = outer * (1 - float(neuron_class.myelin.g_ratio.sample(rng)))
    core, _ = largest_piece(polygonize(interior.grid, interior.depth_um - sheath))
    contents.add("axon_core", cell.id, core, interior)
    inside = CellInterior(interior.grid, interior.depth_um - sheath)
    for run in chains(cell.skeleton, AXON):
        _add_mitochondria(contents, cell, inside, run, neuron_class, 1.0, rng)
        _add_tubules(contents, "microtubule", cell, inside, [run] * 8, 0.0125, rng)


def _add_tubules(
    contents: Contents,
    structure: str,
    cell: Cell,
    interior: CellInterior,
    runs: list[FloatArray],
    radius_um: float,
    rng: np.random.Generator,
    flatness: float = 1.0,
    wander_um: float = 0.0,
) -> None:
    shapes = tubules(interior, runs, radius_um, rng, flatness=flatness, wander_um=wander_um)
    contents.count(structure, len(shapes))
    if shapes:
        contents.add(structure, cell.id, joined(shapes))


def _add_mitochondria(
    contents: Contents,
    cell: Cell,
    interior: CellInterior,
    run: FloatArray,
    neuron_class: NeuronClass,
    scale: float,
    rng: np.random.Generator,
) -> None:
    """Mitochondria along a run until their share of its length is reached, free lengths between them at random."""
    kind = neuron_class.mitochondria
    if kind is None or len(run) < 4:
        return
    step = float(np.linalg.norm(np.diff(run, axis=0), axis=1).mean())
    occupancy = min(float(kind.occupancy.sample(rng)) * scale, 0.95)
    if occupancy <= 0:
        return
    mean_length = float(np.mean(kind.length_um.quantile(np.linspace(0.05, 0.95, 19))))
    position = float(rng.uniform(-mean_length, mean_length * (1 / occupancy - 1)))
    while position < len(run) * step:
        length = float(kind.length_um.sample(rng))
        window = run[max(0, int(position / step)) : int((position + length) / step) + 1]
        if len(window) >= 4:
            _add_mitochondrion(
                contents, cell, mitochondrion(interior, window, float(kind.radius_um.sample(rng)), rng), interior
            )
        position += length + float(rng.exponential(mean_length * (1 / occupancy - 1)))


def _add_mitochondrion(contents: Contents, cell: Cell, found: Mitochondrion | None, interior: CellInterior) -> None:
    """Its surface and cristae, if it found room."""
    if found is not None:
        contents.add("mitochondrion", cell.id, found.surface, interior)
        contents.add("crista", cell.id, found.cristae)
        contents.count("mitochondria")


def _fill_axon(
    contents: Contents,
    cell: Cell,
    laid: LaidOutCell,
    interior: CellInterior,
    neuron_class: NeuronClass,
    synapses: list[Synapse],
    parameters: TissueParameters,
    rng: np.random.Generator,
) -> None:
    path = cell.skeleton.points_um
    own = [s for s in synapses if s.pre_id == cell.id]
    for bouton in laid.boutons:
        # 53 % of varicosities hold no mitochondrion (Shepherd & Harris 1998).
        if rng.random() < 0.47 * parameters.mitochondria_scale and neuron_class.mitochondria is not None:
            half = 0.5 * float(neuron_class.mitochondria.length_um.sample(rng))
            run = path[np.linalg.norm(path - bouton.centre_um, axis=1) < half]
            radius = float(neuron_class.mitochondria.radius_um.sample(rng)) * 1.1
            if len(run) >= 3:
                _add_mitochondrion(contents, cell, mitochondrion(interior, run, radius, rng), interior)
    _add_mitochondria(contents, cell, interior, path, neuron_class, parameters.mitochondria_scale, rng)
    foci, reach, share = _vesicle_foci(path, laid, own, interior, rng)
    placed = vesicles(interior, foci, reach, parameters.vesicle_density_per_um3 * share, rng)
    if len(placed):
        contents.add(
            "vesicle", cell.id, fitting_spheres(interior, placed, vesicle_radii_um(len(placed), rng)), interior
        )
        contents.count("vesicles", len(placed))
    _add_tubules(contents, "microtubule", cell, interior, [path] * int(rng.integers(2, 6)), 0.0125, rng)
    if rng.random() < 0.6:
        _add_tubules(contents, "endoplasmic_reticulum", cell, interior, [path], 0.020, rng, wander_um=0.02)


def _vesicle_foci(
    path: FloatArray, laid: LaidOutCell, own: list[Synapse], interior: CellInterior, rng: np.random.Generator
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Where an axon's vesicles gather: foci (m, 3), how far each crowd reaches (m,), and its relative density (m,)."""
    foci: list[FloatArray] = []
    reach: list[float] = []
    share: list[float] = []
    for synapse in own:
        near = [
            b.radius_um for b in laid.boutons if np.linalg.norm(b.centre_um - synapse.position_um) < b.radius_um + 0.4
        ]
        foci.append(synapse.position_um)
        reach.append(0.3 + 1.5 * min(near, default=0.15))
        share.append(float(rng.uniform(0.6, 1.4)))
    for bouton in laid.boutons:
        foci.append(bouton.centre_um)
        reach.append(bouton.radius_um + 0.2)
        share.append(float(rng.uniform(0.3, 1.0)))
    if rng.random() < VESICLE_RICH_AXONS:
        depth = interior.depth(path)
        density = float(rng.uniform(0.2, 0.9))
        for node in np.flatnonzero(depth > THICK_AXON_UM):
            foci.append(path[node])
            reach.append(float(depth[node]) + 0.05)
            share.append(density)
    return np.reshape(foci, (-1, 3)), np.array(reach), np.array(share)


def _fill_dendrite(
    contents: Contents,
    cell: Cell,
    interior: CellInterior,
    neuron_class: NeuronClass,
    parameters: TissueParameters,
    rng: np.random.Generator,
) -> None:
    tree = cell.skeleton
    for whole in chains(tree, DENDRITE):
        inside = longest_run(interior.depth(whole) > 0.02)
        if inside is None or inside.stop - inside.start < 4:
            continue
        run = whole[inside]
        radius = float(np.median(interior.depth(run)))
        for _ in range(max(1, round(np.pi * radius**2 / DENDRITE_AREA_PER_MITOCHONDRION_UM2))):
            _add_mitochondria(contents, cell, interior, run, neuron_class, parameters.mitochondria_scale, rng)
        length = float(np.linalg.norm(np.diff(run, axis=0), axis=1).sum())
        volume = np.pi * radius**2 * length
        for _ in range(int(rng.poisson(CISTERNAE_PER_UM3 * volume))):
            flat = float(rng.choice([1.0, rng.uniform(1, 3), rng.uniform(2, 5)]))
            start = int(rng.integers(max(1, len(run) - 8)))
            stretch = run[start : start + int(rng.integers(4, 16))]
            _add_tubules(
                contents,
                "endoplasmic_reticulum",
                cell,
                interior,
                [stretch],
                float(rng.uniform(0.02, 0.045)),
                rng,
                flatness=flat,
                wander_um=0.035,
            )
        bodies = random_places(interior, run, 0.08, int(rng.poisson(BODIES_PER_UM * length)), rng)
        for place in bodies:
            _add_body(contents, cell, interior, place, rng)
        loose = random_places(interior, run, 0.022, int(rng.poisson(LOOSE_VESICLES_PER_UM3 * volume)), rng)
        if len(loose):
            contents.add(
                "vesicle",
                cell.id,
                fitting_spheres(interior, loose, vesicle_radii_um(len(loose), rng)),
                interior,
            )
            contents.count("vesicles", len(loose))
        if neuron_class.microtubule_density_per_um2 is not None:
            number = int(float(neuron_class.microtubule_density_per_um2.sample(rng)) * np.pi * radius**2)
            _add_tubules(contents, "microtubule", cell, interior, [run] * min(number, 60), 0.0125, rng)


def _add_body(
    contents: Contents, cell: Cell, interior: CellInterior, place: FloatArray, rng: np.random.Generator
) -> None:
    """A lysosome (dark, solid) or a multivesicular body (a bag of small vesicles)."""
    room = float(interior.depth(place)[0]) - 0.02
    radius = min(float(rng.uniform(0.07, 0.17)), room)
    if radius < 0.05:
        return
    shape = fitting_spheres(interior, place[None], np.array([radius]))
    if rng.random() < 0.35:
        contents.add("lysosome", cell.id, shape, interior)
        return
    contents.add("multivesicular_body", cell.id, shape, interior)
    inner = place + rng.normal(scale=0.45 * radius, size=(12, 3))
    inner = inner[np.linalg.norm(inner - place, axis=1) < radius - 0.035]
    if len(inner):
        contents.add("multivesicular_body", cell.id, fitting_spheres(interior, inner, np.full(len(inner), 0.02)))


def _fill_astrocyte(
    contents: Contents,
    cell: Cell,
    interior: CellInterior,
    neuron_class: NeuronClass,
    parameters: TissueParameters,
    rng: np.random.Generator,
) -> None:
    for run in chains(cell.skeleton, GLIA):
        _add_mitochondria(contents, cell, interior, run, neuron_class, parameters.mitochondria_scale, rng)
        _add_tubules(contents, "endoplasmic_reticulum", cell, interior, [run], 0.022, rng, flatness=1.5, wander_um=0.03)
    granules = random_places(interior, cell.skeleton.points_um, 0.018, 6 * len(cell.skeleton.points_um), rng)
    if len(granules):  # glycogen
        contents.add(
            "filament",
            cell.id,
            fitting_spheres(interior, granules, rng.uniform(0.011, 0.017, len(granules))),
            interior,
        )

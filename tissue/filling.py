"""Filling the cells: organelles and synaptic densities, each inside its own cell.

The order is that of need: densities, mitochondria, bodies, reticulum, microtubules, and vesicles last, each finding
its way round what is there already, so that no two interpenetrate.
"""

from dataclasses import dataclass

import numpy as np

from neuropil.morphology.neuron_class import NeuronClass
from neuropil.morphology.tree import AXON, DENDRITE, GLIA, Tree

from .arrival import FloatArray, RoundCones
from .contents import Contents
from .endosomes import bodies
from .interior import CellInterior
from .laid_cell import LaidOutCell
from .microtubules import microtubules
from .mitochondria import STEP_UM, mitochondrion
from .myelin import add_myelinated
from .parameters import TissueParameters
from .placement import chains, path_length, resampled, runs_inside
from .reticulum import reticulum, spine_apparatus, thin_tube
from .shapes import FaceArray, Shape, spheres
from .synapses import (
    ACTIVE_ZONE_THICKNESS_UM,
    BEHIND_UM,
    LEAFLET_UM,
    WEB_UM,
    Surroundings,
    Synapse,
    psd_thickness_um,
)
from .vesicles import Crowd, Vesicles, cytoplasm_um3, docked_places, place_granules, place_vesicles
from .warp import Warp

# Thick dendrites hold several mitochondria side by side: 8 % of the section of CA1 neuropil (EPFL labels).
DENDRITE_AREA_PER_MITOCHONDRION_UM2 = 0.22
BOUTONS_WITH_MITOCHONDRION = 0.47  # Shepherd & Harris 1998: 53 % of varicosities hold none
RETICULUM_TUBES_PER_UM2 = 8.0  # of a dendrite's section; set by eye on the EPFL CA1 slices
BODIES_PER_UM = 0.5  # endosomes, lysosomes and multivesicular bodies along a dendrite; set by eye likewise
LOOSE_VESICLES_PER_UM3 = 60.0  # transport vesicles in dendrites; set by eye likewise
AXONS_WITH_RETICULUM = 0.5
MICROTUBULES_OF_AXON = (2, 7)
HEADS_WITH_APPARATUS = 0.3  # of the heads that are large enough; Spacek & Harris 1997: most large ones, few small
LARGE_HEAD_UM = 0.19

# Vesicles: some 200 in a bouton of 0.13 µm³ (realism.md rows 23 and 31), more in larger ones; 10 docked on a mean
# active zone of 0.04 µm² (rows 30 and 31).
VESICLE_COUNT_SD = 0.35
DOCKED_PER_UM2 = 250.0
# Many swellings hold vesicles without a synapse in the block; how many is set by eye on the EPFL CA1 slices.
VESICLE_RICH_AXONS = 0.85
SHARE_WITHOUT_SYNAPSE = (0.5, 1.1)
WIDE_UM = 0.065  # radius of an axon that vesicles gather in
VARICOSITY_APART_UM = 0.35
PLEOMORPHIC = 0.6  # how far vesicles of symmetric boutons are drawn out


@dataclass(frozen=True)
class Cell:
    """One cell: its skeleton and its one closed surface, cut by the faces of the built box."""

    id: int
    kind: str  # axon, dendrite, astrocyte, myelinated_axon
    skeleton: Tree
    vertices_um: FloatArray
    faces: FaceArray


def fill_cell(
    contents: Contents,
    cell: Cell,
    laid: LaidOutCell,
    interior: CellInterior,
    membrane_side: CellInterior,
    neuron_class: NeuronClass,
    synapses: list[Synapse],
    cones: list[RoundCones],
    warp: Warp,
    gap_um: float,
    parameters: TissueParameters,
    rng: np.random.Generator,
) -> None:
    """The cell's body and all that lies in it. gap_um: width of the extracellular space between two cells.

    interior: within which organelles find their places; membrane_side: the depth below the cell's surface as it is,
    which synaptic densities follow; the same unless the cell has swollen since it was filled.
    synapses: those of the cell; cones: every cell's sweep before the warp. The numbers drawn are the cell's own.
    """
    if cell.kind == "myelinated_axon":
        core = add_myelinated(contents, cell.id, (cell.vertices_um, cell.faces), laid, interior, neuron_class, rng)
        if core is not None:
            for run in _axis_runs(core, cell.skeleton, AXON):
                _add_mitochondria(contents, cell, core, run, neuron_class, 1.0, rng)
                _add_all(contents, "endoplasmic_reticulum", cell, core, thin_tube(core, run, rng))
                _add_all(contents, "microtubule", cell, core, microtubules(core, run, 14, rng))
        return
    contents.add(cell.kind, cell.id, (cell.vertices_um, cell.faces))
    for synapse in synapses:
        _add_densities(contents, cell, interior, membrane_side, synapse, cones, warp, gap_um, rng)
    if cell.kind == "axon":
        there = [s for s in synapses if s.id in contents.synapses]
        _fill_axon(contents, cell, laid, interior, neuron_class, there, parameters, rng)
    elif cell.kind == "dendrite":
        _fill_dendrite(contents, cell, laid, interior, neuron_class, parameters, rng)
    else:
        _fill_astrocyte(contents, cell, interior, neuron_class, parameters, rng)


def _add_densities(
    contents: Contents,
    cell: Cell,
    interior: CellInterior,
    membrane_side: CellInterior,
    synapse: Synapse,
    cones: list[RoundCones],
    warp: Warp,
    gap_um: float,
    rng: np.random.Generator,
) -> None:
    """The cell's side of a synapse; the postsynaptic cell makes the cleft too."""
    post = synapse.post_id == cell.id
    behind = synapse.position_um + np.outer(BEHIND_UM, -synapse.normal if post else synapse.normal)
    if interior.depth(behind).max() <= 0:
        return
    parts = contents.of_synapse(synapse.id)
    parts.sides += 1
    partner = synapse.pre_id if post else synapse.post_id
    around = Surroundings.of(synapse, membrane_side, cones[cell.id - 1], cones[partner - 1], warp, gap_um)
    thickness = psd_thickness_um(synapse.kind, rng) if post else ACTIVE_ZONE_THICKNESS_UM
    layer = "psd" if post else "active_zone"
    plate = around.density(thickness)
    if plate is not None and membrane_side.depth(plate[0]).min() <= 0:
        plate = None  # the membrane is folded too sharply there
    number = contents.add_instance(layer, cell.id, plate, membrane_side)
    contents.add("synaptic_web", cell.id, around.density(thickness + WEB_UM))
    if post:
        parts.psd_id = number
        parts.cleft_id = contents.add_instance("cleft", 0, around.cleft())
    else:
        parts.active_zone_id = number
    if number:
        interior.occupy_plate(synapse.position_um, synapse.reach_um, LEAFLET_UM + thickness)


def _axis_runs(interior: CellInterior, tree: Tree, swc_type: int) -> list[FloatArray]:
    """The stretches of the cell's unbranched runs that lie inside it, their points STEP_UM apart."""
    return [
        resampled(inside, STEP_UM)
        for run in chains(tree, swc_type)
        for inside in runs_inside(interior, run)
        if path_length(inside) > 2 * STEP_UM
    ]


def _add_all(contents: Contents, layer: str, cell: Cell, interior: CellInterior, shapes: list[Shape]) -> None:
    for shape in shapes:
        # Depth can fall faster than distance where membranes bend sharply: what would reach through is left out.
        if interior.depth(shape[0]).min() > 0:
            contents.add_instance(layer, cell.id, shape, interior)


def _add_spheres(
    contents: Contents, layer: str, cell: Cell, interior: CellInterior, centres: FloatArray, radii: FloatArray
) -> None:
    if len(centres):
        contents.add_instance(layer, cell.id, spheres(centres, radii), interior, pieces=len(centres))


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
    occupancy = min(float(kind.occupancy.sample(rng)) * scale, 0.95)
    if occupancy <= 0:
        return
    mean_length = float(np.mean(kind.length_um.quantile(np.linspace(0.05, 0.95, 19))))
    position = float(rng.uniform(-mean_length, mean_length * (1 / occupancy - 1)))
    while position < len(run) * STEP_UM:
        length = float(kind.length_um.sample(rng))
        window = run[max(0, int(position / STEP_UM)) : max(0, int((position + length) / STEP_UM) + 1)]
        if len(window) >= 4:
            _add_mitochondrion(contents, cell, interior, window, float(kind.radius_um.sample(rng)), rng)
        position += length + float(rng.exponential(mean_length * (1 / occupancy - 1)))


def _add_mitochondrion(
    contents: Contents, cell: Cell, interior: CellInterior, run: FloatArray, radius: float, rng: np.random.Generator
) -> None:
    """Its surface and cristae, if it finds room."""
    found = mitochondrion(interior, run, radius, rng)
    if found is not None:
        number = contents.add_instance("mitochondrion", cell.id, found.surface, interior)
        contents.add("crista", cell.id, found.cristae, interior, number)


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
    scale = parameters.enrichment.mitochondria
    for bouton in laid.boutons:
        if rng.random() < BOUTONS_WITH_MITOCHONDRION * scale and neuron_class.mitochondria is not None:
            half = 0.5 * float(neuron_class.mitochondria.length_um.sample(rng))
            run = path[np.linalg.norm(path - bouton.centre_um, axis=1) < half]
            radius = float(neuron_class.mitochondria.radius_um.sample(rng)) * 1.1
            if len(run) >= 3:
                _add_mitochondrion(contents, cell, interior, run, radius, rng)
    runs = _axis_runs(interior, cell.skeleton, AXON)
    for run in runs:
        _add_mitochondria(contents, cell, interior, run, neuron_class, scale, rng)
    _dock_vesicles(contents, cell, interior, synapses, rng)
    # A thin axon's microtubules and reticulum keep together and leave the rest to vesicles.
    for run in runs:
        number = int(rng.integers(*MICROTUBULES_OF_AXON))
        _add_all(contents, "microtubule", cell, interior, microtubules(interior, run, number, rng, bundled=True))
    if rng.random() < AXONS_WITH_RETICULUM:
        for run in runs:
            _add_all(contents, "endoplasmic_reticulum", cell, interior, thin_tube(interior, run, rng))
    _crowd_vesicles(contents, cell, runs, interior, synapses, parameters, rng)


def _dock_vesicles(
    contents: Contents, cell: Cell, interior: CellInterior, synapses: list[Synapse], rng: np.random.Generator
) -> None:
    """Vesicles that touch the active zones."""
    for synapse in synapses:
        number = int(rng.poisson(DOCKED_PER_UM2 * synapse.psd_area_um2))
        spread = 0.95 * synapse.psd_radius_um
        places = docked_places(interior, synapse.position_um, synapse.normal, spread, 6 * number, rng)
        flattening = PLEOMORPHIC if synapse.kind == "symmetric" else 0.0
        placed = place_vesicles(interior, [], places, number, flattening, rng)
        first = _add_vesicles(contents, cell, interior, placed)
        interior.occupy_balls(placed.centres_um, placed.outer_um)
        contents.of_synapse(synapse.id).docked_ids = set(range(first, first + len(placed.centres_um)))


def _add_vesicles(contents: Contents, cell: Cell, interior: CellInterior, placed: Vesicles) -> int:
    """Keep them as instances; the first's id."""
    number = len(placed.centres_um)
    return contents.add_instance("vesicle", cell.id, placed.shape(), interior, pieces=number) if number else 0


def _crowd_vesicles(
    contents: Contents,
    cell: Cell,
    runs: list[FloatArray],
    interior: CellInterior,
    synapses: list[Synapse],
    parameters: TissueParameters,
    rng: np.random.Generator,
) -> None:
    """The reserve behind each active zone, and fewer vesicles in swellings without one."""
    foci = [(s.position_um + 0.1 * s.normal, s.psd_radius_um, 1.0) for s in synapses]
    if rng.random() < VESICLE_RICH_AXONS:
        rich = float(rng.uniform(*SHARE_WITHOUT_SYNAPSE))
        for run in runs:
            foci += [
                (place, width, rich * float(rng.uniform(0.5, 1.5)))
                for place, width in _wide_places(interior, run)
                if all(np.linalg.norm(place - s.position_um) > width + 0.3 for s in synapses)
            ]
    per_um3 = parameters.vesicle_density_per_um3 * parameters.enrichment.vesicles
    flattening = PLEOMORPHIC if any(s.kind == "symmetric" for s in synapses) else 0.0
    crowds = []
    for focus, size, share in foci:
        reach = 0.3 + 0.9 * size + 0.1 * float(rng.random())
        mean = per_um3 * cytoplasm_um3(interior, focus, reach, rng) * share
        crowds.append(Crowd(focus, reach, int(mean * np.exp(VESICLE_COUNT_SD * rng.normal())), flattening))
    placed = place_vesicles(interior, crowds, np.empty((0, 3)), 0, 0.0, rng)
    first = _add_vesicles(contents, cell, interior, placed)
    for number, synapse in enumerate(synapses, 1):
        members = first + np.flatnonzero(placed.crowd == number)
        contents.of_synapse(synapse.id).reserve_ids = set(members.tolist())


def _wide_places(interior: CellInterior, run: FloatArray) -> list[tuple[FloatArray, float]]:
    """Where an axon swells: the deepest points of its axis, VARICOSITY_APART_UM from each other, and their depth."""
    depth = interior.depth(run)
    found: list[tuple[FloatArray, float]] = []
    for node in np.argsort(-depth):
        if depth[node] < WIDE_UM:
            break
        if all(np.linalg.norm(run[node] - place) > VARICOSITY_APART_UM for place, _ in found):
            found.append((run[node], float(depth[node])))
    return found


def _fill_dendrite(
    contents: Contents,
    cell: Cell,
    laid: LaidOutCell,
    interior: CellInterior,
    neuron_class: NeuronClass,
    parameters: TissueParameters,
    rng: np.random.Generator,
) -> None:
    for run in _axis_runs(interior, cell.skeleton, DENDRITE):
        area = np.pi * float(np.median(interior.depth(run))) ** 2
        length = path_length(run)
        for _ in range(max(1, round(area / DENDRITE_AREA_PER_MITOCHONDRION_UM2))):
            _add_mitochondria(contents, cell, interior, run, neuron_class, parameters.enrichment.mitochondria, rng)
        for body in bodies(interior, run, int(rng.poisson(BODIES_PER_UM * length)), rng):
            if interior.depth(body.surface[0]).min() <= 0:
                continue
            number = contents.add_instance(body.structure, cell.id, body.surface, interior)
            contents.add("intraluminal_vesicle", cell.id, body.inner, interior, number)
        tubes = max(1, int(rng.poisson(RETICULUM_TUBES_PER_UM2 * area)))
        _add_all(contents, "endoplasmic_reticulum", cell, interior, reticulum(interior, run, tubes, rng))
        if neuron_class.microtubule_density_per_um2 is not None:
            number = int(float(neuron_class.microtubule_density_per_um2.sample(rng)) * area)
            _add_all(contents, "microtubule", cell, interior, microtubules(interior, run, number, rng))
        wanted = int(rng.poisson(LOOSE_VESICLES_PER_UM3 * area * length))
        crowds = [Crowd(run[int(rng.integers(len(run)))], 0.5, 1) for _ in range(wanted)]
        loose = place_vesicles(interior, crowds, np.empty((0, 3)), 0, 0.0, rng)
        _add_vesicles(contents, cell, interior, loose)
    for head in laid.spine_heads:
        if head.radius_um > LARGE_HEAD_UM and rng.random() < HEADS_WITH_APPARATUS:
            neck = _unit_towards(cell.skeleton, head.centre_um)
            shapes = spine_apparatus(interior, head.centre_um, neck, head.radius_um, rng)
            _add_all(contents, "endoplasmic_reticulum", cell, interior, shapes)


def _unit_towards(tree: Tree, head_um: FloatArray) -> FloatArray:
    """Direction in which a spine enters its head."""
    node = int(np.argmin(((tree.points_um - head_um) ** 2).sum(1)))
    along = tree.points_um[node] - tree.points_um[max(int(tree.parents[node]), 0)]
    length = float(np.linalg.norm(along))
    return np.asarray(along / length) if length > 0 else np.array([0.0, 0.0, 1.0])


def _fill_astrocyte(
    contents: Contents,
    cell: Cell,
    interior: CellInterior,
    neuron_class: NeuronClass,
    parameters: TissueParameters,
    rng: np.random.Generator,
) -> None:
    for run in _axis_runs(interior, cell.skeleton, GLIA):
        _add_mitochondria(contents, cell, interior, run, neuron_class, parameters.enrichment.mitochondria, rng)
        _add_all(contents, "endoplasmic_reticulum", cell, interior, reticulum(interior, run, 1, rng))
    points = cell.skeleton.points_um
    base = points[rng.integers(len(points), size=8 * len(points))]
    places = base + 0.6 * np.maximum(interior.depth(base), 0.05)[:, None] * rng.normal(size=base.shape)
    glycogen = place_granules(interior, places, rng.uniform(0.011, 0.017, len(places)))
    _add_spheres(contents, "filament", cell, interior, *glycogen)

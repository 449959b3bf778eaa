"""A block of neuropil: cells laid out, inflated into contact, and filled with their organelles."""

from dataclasses import asdict, dataclass, field

import numpy as np
from neuropil.morphology.neuron_class import NeuronClass, load_class
from neuropil.morphology.tree import AXON, DENDRITE, GLIA, Tree

from .arrival import Arrivals, FloatArray, Grid, RoundCones, arrival_time, cell_window, earliest_arrivals
from .certificate import certify_packing, largest_piece, volume_um3
from .layout import LaidOutCell, lay_out
from .organelles import (
    CellInterior,
    chains,
    mitochondrion,
    random_places,
    tubules,
    vesicle_shape,
    vesicles,
)
from .parameters import TissueParameters
from .polygonize import polygonize
from .shapes import FaceArray, Shape, joined, spheres
from .synapses import ACTIVE_ZONE_THICKNESS_UM, PSD_THICKNESS_UM, Synapse, density, find_synapses
from .warp import Warp

# Membranes undulate on these scales (µm); set by eye on the EPFL CA1 slices.
UNDULATION_UM = (0.045, 0.012)
UNDULATION_WAVELENGTH_UM = (0.9, 0.3)
# Linear pieces between the grid's nodes cut corners; the gap is made this much wider so that the asked one is kept.
GRID_ALLOWANCE = 1.25
# Thick dendrites hold several mitochondria side by side: 8 % of the section of CA1 neuropil (EPFL labels).
DENDRITE_AREA_PER_MITOCHONDRION_UM2 = 0.17


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


@dataclass(frozen=True)
class TissueBlock:
    """A finished block. Points in µm from the block's corner; the tissue reaches margin_um beyond it."""

    size_um: tuple[float, float, float]
    cells: list[Cell]
    solids: list[Solid]
    synapses: list[Synapse]
    certificates: dict[str, bool]
    statistics: dict[str, float]


PAINT_ORDER = (
    "axon",
    "dendrite",
    "astrocyte",
    "myelin",
    "axon_core",
    "mitochondrion",
    "crista",
    "endoplasmic_reticulum",
    "lysosome",
    "multivesicular_body",
    "microtubule",
    "psd",
    "active_zone",
    "vesicle",
    "filament",
)


@dataclass
class _Contents:
    """Solids collected while the cells are filled, and what is counted on the way."""

    solids: list[Solid] = field(default_factory=list)
    counts: dict[str, float] = field(default_factory=dict)
    uncontained: set[str] = field(default_factory=set)

    def add(
        self, structure: str, cell_id: int, shape: Shape | None, interior: CellInterior | None = None
    ) -> None:
        if shape is None or len(shape[1]) == 0:
            return
        if interior is not None and interior.depth(shape[0]).min() <= 0:
            self.uncontained.add(structure)
        self.solids.append(Solid(structure, cell_id, shape[0].astype(np.float32), shape[1]))

    def count(self, what: str, amount: float = 1) -> None:
        self.counts[what] = self.counts.get(what, 0) + amount


def depth_field(
    arrivals: Arrivals,
    index: int,
    cones: RoundCones,
    parameters: TissueParameters,
    warp: Warp,
    reach_um: float,
) -> tuple[Grid, FloatArray]:
    """Distance (µm) below the inflated surface of one cell, on the part of the grid that it can reach."""
    sub, window = cell_window(arrivals.grid, cones, reach_um + warp.largest_um)
    own = arrival_time(sub, cones, reach_um, warp)
    others = np.where(arrivals.owner[window] == index, arrivals.second_um[window], arrivals.first_um[window])
    half_gap = 0.5 * parameters.gap_nm / 1000 * GRID_ALLOWANCE * warp.stretch[window]
    depth = np.minimum(0.5 * (others - own) - half_gap, parameters.growth_limit_nm / 1000 - own)
    # The built box cuts every cell; the cut counts as surface, so that organelles end inside it too.
    nodes = sub.nodes()
    to_face = np.minimum(
        nodes + parameters.margin_um, np.asarray(parameters.size_um) + parameters.margin_um - nodes
    )
    return sub, np.minimum(depth, to_face.min(-1)).astype(np.float32)


def build_block(parameters: TissueParameters, rng: np.random.Generator) -> TissueBlock:
    """Lay out, inflate, fill and certify one block.

    Raises:
        ValueError: the parameters ask for more than fits.
    """
    classes = {
        "dendrite": load_class(parameters.dendrite_class),
        "axon": load_class(parameters.axon_class),
        "myelinated_axon": load_class(parameters.myelinated_class),
        "astrocyte": load_class(parameters.astrocyte_class),
    }
    spacing = parameters.grid_spacing_nm / 1000
    beyond = parameters.margin_um + spacing
    grid = Grid.around(np.full(3, -beyond), np.asarray(parameters.size_um) + beyond, spacing)
    warp = Warp.random(grid, UNDULATION_UM, UNDULATION_WAVELENGTH_UM, rng)
    flat = lay_out(
        parameters,
        classes["dendrite"],
        classes["axon"],
        classes["myelinated_axon"],
        classes["astrocyte"],
        warp.largest_um,
        rng,
    )
    cones = [cell.round_cones() for cell in flat]
    laid = [cell.moved(warp.to_tissue) for cell in flat]
    reach = parameters.growth_limit_nm / 1000 + 4 * spacing
    arrivals = earliest_arrivals(grid, cones, reach, warp)
    synapses = find_synapses(parameters, laid, arrivals, rng)

    cells: list[Cell] = []
    contents = _Contents()
    for index, cell in enumerate(laid):
        sub, depth = depth_field(arrivals, index, cones[index], parameters, warp, reach)
        surface, share = largest_piece(polygonize(sub, depth))
        if len(surface[1]) == 0:  # it passed by just outside the built box
            continue
        if share < 1:
            contents.count("slivers_dropped")
        cells.append(Cell(index + 1, cell.kind, cell.skeleton, *surface))
        interior = CellInterior(sub, depth)
        _fill(contents, cells[-1], cell, interior, classes[cell.kind], synapses, cones, warp, parameters, rng)

    order = {name: n for n, name in enumerate(PAINT_ORDER)}
    solids = sorted(contents.solids, key=lambda s: order[s.structure])
    solids = [
        Solid("axon" if s.structure == "axon_core" else s.structure, s.cell_id, s.vertices_um, s.faces)
        for s in solids
    ]
    packing = certify_packing([(c.vertices_um, c.faces) for c in cells], parameters.gap_nm / 1000)
    certificates = {
        "closed": packing.all_closed,
        "one_piece": packing.all_one_piece,
        "outward": packing.all_outward,
        "no_crossing_pairs": packing.crossing_pairs == 0,
        "no_nested_pairs": packing.nested_pairs == 0,
        "gap_kept": packing.least_gap_nm >= packing.asked_gap_nm,
        "organelles_contained": not contents.uncontained,
    }
    statistics = _statistics(parameters, cells, contents, synapses)
    statistics |= {k: float(v) for k, v in asdict(packing).items() if not isinstance(v, bool)}
    return TissueBlock(parameters.size_um, cells, solids, synapses, certificates, statistics)


def _fill(
    contents: _Contents,
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
    gap = parameters.gap_nm / 1000 * GRID_ALLOWANCE
    for synapse in synapses:
        if synapse.post_id == cell.id:
            thickness = float(rng.uniform(*PSD_THICKNESS_UM)) * (
                1.0 if synapse.kind == "asymmetric" else 0.45
            )
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
    contents: _Contents,
    cell: Cell,
    interior: CellInterior,
    neuron_class: NeuronClass,
    rng: np.random.Generator,
) -> None:
    """The sheath as the outer body, the axon as what is left at the g-ratio's depth."""
    contents.add("myelin", cell.id, (cell.vertices_um, cell.faces))
    outer = float(np.median(interior.depth(cell.skeleton.points_um)))
    assert neuron_class.myelin is not None
    sheath = outer * (1 - float(neuron_class.myelin.g_ratio.sample(rng)))
    core, _ = largest_piece(polygonize(interior.grid, interior.depth_um - sheath))
    contents.add("axon_core", cell.id, core, interior)
    inside = CellInterior(interior.grid, interior.depth_um - sheath)
    for run in chains(cell.skeleton, AXON):
        _add_mitochondria(contents, cell, inside, run, neuron_class, 1.0, rng)
        _add_tubules(contents, "microtubule", cell, inside, [run] * 8, 0.0125, rng)


def _add_tubules(
    contents: _Contents,
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
    contents: _Contents,
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
            found = mitochondrion(interior, window, float(kind.radius_um.sample(rng)), rng)
            if found is not None:
                contents.add("mitochondrion", cell.id, found.surface, interior)
                contents.add("crista", cell.id, found.cristae)
                contents.count("mitochondria")
        position += length + float(rng.exponential(mean_length * (1 / occupancy - 1)))


def _fill_axon(
    contents: _Contents,
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
            found = mitochondrion(interior, run, radius, rng) if len(run) >= 3 else None
            if found is not None:
                contents.add("mitochondrion", cell.id, found.surface, interior)
                contents.add("crista", cell.id, found.cristae)
                contents.count("mitochondria")
    _add_mitochondria(contents, cell, interior, path, neuron_class, parameters.mitochondria_scale, rng)
    centres = []
    for synapse in own:
        bouton_radius = min(
            (
                b.radius_um
                for b in laid.boutons
                if np.linalg.norm(b.centre_um - synapse.position_um) < b.radius_um + 0.4
            ),
            default=0.15,
        )
        reach = 0.3 + 1.5 * bouton_radius
        crowd = parameters.vesicle_density_per_um3 * rng.uniform(0.6, 1.4)
        centres.append(vesicles(interior, synapse.position_um, reach, crowd, rng))
    for bouton in laid.boutons:
        if not any(np.linalg.norm(bouton.centre_um - s.position_um) < bouton.radius_um + 0.4 for s in own):
            sparse = parameters.vesicle_density_per_um3 * rng.uniform(0.1, 0.7)
            centres.append(vesicles(interior, bouton.centre_um, bouton.radius_um + 0.15, sparse, rng))
    placed = np.vstack(centres) if centres else np.empty((0, 3))
    if len(placed):
        contents.add("vesicle", cell.id, vesicle_shape(interior, placed, rng), interior)
        contents.count("vesicles", len(placed))
    _add_tubules(contents, "microtubule", cell, interior, [path] * int(rng.integers(2, 6)), 0.0125, rng)
    if rng.random() < 0.6:
        _add_tubules(contents, "endoplasmic_reticulum", cell, interior, [path], 0.020, rng, wander_um=0.02)


def _fill_dendrite(
    contents: _Contents,
    cell: Cell,
    interior: CellInterior,
    neuron_class: NeuronClass,
    parameters: TissueParameters,
    rng: np.random.Generator,
) -> None:
    tree = cell.skeleton
    for run in chains(tree, DENDRITE):
        radius = float(np.median(interior.depth(run)))
        for _ in range(max(1, round(np.pi * radius**2 / DENDRITE_AREA_PER_MITOCHONDRION_UM2))):
            _add_mitochondria(contents, cell, interior, run, neuron_class, parameters.mitochondria_scale, rng)
        for _ in range(int(rng.poisson(1 + 4 * radius))):
            flat = float(rng.uniform(1, 3.5))
            start = int(rng.integers(max(1, len(run) - 8)))
            stretch = run[start : start + int(rng.integers(5, 30))]
            _add_tubules(
                contents,
                "endoplasmic_reticulum",
                cell,
                interior,
                [stretch],
                float(rng.uniform(0.018, 0.03)),
                rng,
                flatness=flat,
                wander_um=0.035,
            )
        bodies = random_places(interior, run, 0.08, int(rng.poisson(0.35 * len(run) * 0.09)), rng)
        for place in bodies:
            _add_body(contents, cell, interior, place, rng)
        loose = random_places(interior, run, 0.022, int(rng.poisson(40 * radius**2 * len(run) * 0.09)), rng)
        if len(loose):
            contents.add("vesicle", cell.id, vesicle_shape(interior, loose, rng), interior)
            contents.count("vesicles", len(loose))
        if neuron_class.microtubule_density_per_um2 is not None:
            number = int(float(neuron_class.microtubule_density_per_um2.sample(rng)) * np.pi * radius**2)
            _add_tubules(contents, "microtubule", cell, interior, [run] * min(number, 60), 0.0125, rng)


def _add_body(
    contents: _Contents, cell: Cell, interior: CellInterior, place: FloatArray, rng: np.random.Generator
) -> None:
    """A lysosome (dark, solid) or a multivesicular body (a bag of small vesicles)."""
    room = float(interior.depth(place)[0]) - 0.02
    radius = min(float(rng.uniform(0.07, 0.17)), room)
    if radius < 0.05:
        return
    shape = spheres(place[None], np.array([radius]))
    if rng.random() < 0.35:
        contents.add("lysosome", cell.id, shape, interior)
        return
    contents.add("multivesicular_body", cell.id, shape, interior)
    inner = place + rng.normal(scale=0.45 * radius, size=(12, 3))
    inner = inner[np.linalg.norm(inner - place, axis=1) < radius - 0.035]
    if len(inner):
        contents.add("multivesicular_body", cell.id, spheres(inner, np.full(len(inner), 0.02)))


def _fill_astrocyte(
    contents: _Contents,
    cell: Cell,
    interior: CellInterior,
    neuron_class: NeuronClass,
    parameters: TissueParameters,
    rng: np.random.Generator,
) -> None:
    for run in chains(cell.skeleton, GLIA):
        _add_mitochondria(contents, cell, interior, run, neuron_class, parameters.mitochondria_scale, rng)
        _add_tubules(
            contents, "endoplasmic_reticulum", cell, interior, [run], 0.022, rng, flatness=1.5, wander_um=0.03
        )
    granules = random_places(interior, cell.skeleton.points_um, 0.018, 6 * len(cell.skeleton.points_um), rng)
    if len(granules):  # glycogen
        contents.add(
            "filament", cell.id, spheres(granules, rng.uniform(0.011, 0.017, len(granules))), interior
        )


def _statistics(
    parameters: TissueParameters, cells: list[Cell], contents: _Contents, synapses: list[Synapse]
) -> dict[str, float]:
    """Shares of the built box by kind of cell, densities per µm³, diameters."""
    box = float(np.prod(np.asarray(parameters.size_um) + 2 * parameters.margin_um))
    block = float(np.prod(parameters.size_um))
    volume = {kind: 0.0 for kind in ("axon", "dendrite", "astrocyte", "myelinated_axon")}
    for cell in cells:
        volume[cell.kind] += volume_um3((cell.vertices_um, cell.faces))
    inside = [s for s in synapses if (s.position_um > 0).all() and (s.position_um < parameters.size_um).all()]
    figures = {f"{kind}_fraction": held / box for kind, held in volume.items()}
    figures["extracellular_fraction"] = 1 - sum(volume.values()) / box
    figures["synapses_per_um3"] = len(inside) / block
    figures["mitochondrial_fraction"] = (
        sum(
            volume_um3((s.vertices_um.astype(float), s.faces))
            for s in contents.solids
            if s.structure == "mitochondrion"
        )
        / box
    )
    length = sum(_length_um(c.skeleton) for c in cells if c.kind == "axon")
    figures["axon_length_um_per_um3"] = length / box
    figures |= {f"{name}_per_um3": number / box for name, number in contents.counts.items()}
    return figures


def _length_um(tree: Tree) -> float:
    child = np.flatnonzero(tree.parents >= 0)
    return float(np.linalg.norm(tree.points_um[child] - tree.points_um[tree.parents[child]], axis=1).sum())

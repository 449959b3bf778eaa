"""A block of neuropil: cells laid out, inflated into contact, and filled with their organelles."""

from dataclasses import asdict, dataclass

import numpy as np

from neuropil.morphology.neuron_class import load_class

from .arrival import Arrivals, FloatArray, Grid, RoundCones, arrival_time, cell_window, earliest_arrivals
from .certificate import certify_packing, largest_piece, volume_um3
from .filling import Cell, Contents, Solid, fill_cell
from .layout import lay_out
from .organelles import CellInterior
from .parameters import TissueParameters
from .polygonize import polygonize
from .synapses import Synapse, find_synapses
from .warp import Warp

# Membranes undulate on these scales (µm); set by eye on the EPFL CA1 slices.
UNDULATION_UM = (0.045, 0.012)
UNDULATION_WAVELENGTH_UM = (0.9, 0.3)


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
    half_gap = 0.5 * parameters.flat_gap_um * warp.stretch[window]
    depth = np.minimum(0.5 * (others - own) - half_gap, parameters.growth_limit_nm / 1000 - own)
    # The built box cuts every cell; the cut counts as surface, so that organelles end inside it too.
    nodes = sub.nodes()
    to_face = np.minimum(nodes + parameters.margin_um, np.asarray(parameters.size_um) + parameters.margin_um - nodes)
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
    contents = Contents()
    for index, cell in enumerate(laid):
        sub, depth = depth_field(arrivals, index, cones[index], parameters, warp, reach)
        surface, share = largest_piece(polygonize(sub, depth))
        if len(surface[1]) == 0:  # it passed by just outside the built box
            continue
        if share < 1:
            contents.count("slivers_dropped")
        cells.append(Cell(index + 1, cell.kind, cell.skeleton, *surface))
        interior = CellInterior(sub, depth)
        fill_cell(contents, cells[-1], cell, interior, classes[cell.kind], synapses, cones, warp, parameters, rng)

    there = {cell.id for cell in cells}  # a partner may have passed by just outside
    synapses = [s for s in synapses if {s.pre_id, s.post_id} <= there]
    order = {name: n for n, name in enumerate(PAINT_ORDER)}
    solids = sorted(contents.solids, key=lambda s: order[s.structure])
    solids = [
        Solid("axon" if s.structure == "axon_core" else s.structure, s.cell_id, s.vertices_um, s.faces) for s in solids
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


def _statistics(
    parameters: TissueParameters, cells: list[Cell], contents: Contents, synapses: list[Synapse]
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
    length = sum(c.skeleton.length_um for c in cells if c.kind == "axon")
    figures["axon_length_um_per_um3"] = length / box
    figures |= {f"{name}_per_um3": number / box for name, number in contents.counts.items()}
    return figures

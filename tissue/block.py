"""A block of neuropil: cells laid out, inflated into contact, and filled with their organelles."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import asdict, dataclass, replace

import numpy as np

from neuropil.morphology.neuron_class import load_class

from .arrival import Arrivals, FloatArray, Grid, earliest_arrivals
from .block_statistics import measure_block, membrane_gaps_nm
from .certificate import certify_packing, largest_piece
from .contents import Contents, Organelle, Solid, SynapseParts
from .filling import Cell, fill_cell
from .interior import CellInterior, nodes_beside, only_piece
from .laid_cell import LaidOutCell
from .layout import lay_out
from .membranes import SAMPLES, Membranes, give_interstices
from .myelin import with_nodes
from .organelle_certificate import separate
from .parameters import TissueParameters
from .polygonize import polygonize
from .synapses import Synapse, find_synapses, widened
from .threads import each
from .warp import Warp

# Membranes undulate on these scales (µm); set by eye on the EPFL CA1 slices.
UNDULATION_UM = (0.045, 0.012)
UNDULATION_WAVELENGTH_UM = (0.9, 0.3)
# How far from its sweep a cell's arrivals are followed: no void is so wide.
REACH_UM = 0.24
# A grid too coarse for the asked extracellular share or gap is refined by this, down to there.
FINER = 0.75
FINEST_SPACING_UM = 0.01
GAP_ATTEMPTS = 2  # on each grid


@dataclass(frozen=True)
class TissueBlock:
    """A finished block. Points in µm from the block's corner; the tissue reaches margin_um beyond it."""

    size_um: tuple[float, float, float]
    cells: list[Cell]
    solids: list[Solid]
    synapses: list[Synapse]
    synapse_parts: dict[int, SynapseParts]  # by synapse id: which instances make it
    organelles: list[Organelle]
    certificates: dict[str, bool]
    statistics: dict[str, float]
    membrane_gaps_nm: FloatArray  # (n,) width of the extracellular space at random places of the membranes
    seconds: dict[str, float]  # what each stage took


class _Stopwatch:
    """Seconds per stage."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start


def build_block(parameters: TissueParameters, rng: np.random.Generator) -> TissueBlock:
    """Lay out, inflate, fill and certify one block.

    Raises:
        ValueError: the parameters ask for more than fits.
    """
    watch = _Stopwatch()
    # Each stage has its own numbers, so that another width of the extracellular space is the same tissue, swollen.
    for_layout, for_warp, for_samples, for_synapses, for_cells = rng.spawn(5)
    classes = {
        "dendrite": load_class(parameters.dendrite_class),
        "axon": load_class(parameters.axon_class),
        "myelinated_axon": load_class(parameters.myelinated_class),
        "astrocyte": load_class(parameters.astrocyte_class),
    }
    with watch.stage("layout"):
        warp = Warp.random(
            grid_of(parameters, parameters.grid_spacing_nm / 1000), UNDULATION_UM, UNDULATION_WAVELENGTH_UM, for_warp
        )
        flat = lay_out(
            parameters,
            classes["dendrite"],
            classes["axon"],
            classes["myelinated_axon"],
            classes["astrocyte"],
            warp.largest_um,
            for_layout,
        )
        flat = [
            with_nodes(cell, classes[cell.kind], parameters.nodes_of_ranvier_per_um, for_layout)
            if cell.kind == "myelinated_axon"
            else cell
            for cell in flat
        ]
        laid = [cell.moved(warp.to_tissue) for cell in flat]
        cones = [cell.round_cones() for cell in flat]
        samples = for_samples.uniform(0, parameters.size_um, (SAMPLES, 3))
    spacing, short_nm = parameters.grid_spacing_nm / 1000, np.inf
    while short_nm > 0 and spacing >= FINEST_SPACING_UM:
        with watch.stage("inflation"):
            spacing, arrivals, membranes, as_filled = inflate(parameters, flat, warp, samples, spacing)
            synapses = find_synapses(parameters, laid, arrivals, as_filled.sheet_um, deepcopy(for_synapses))
        for _ in range(GAP_ATTEMPTS):
            with watch.stage("meshing"):
                cells, in_pieces = mesh_cells(laid, membranes, as_filled, synapses)
            with watch.stage("certificate"):
                packing = certify_packing([(c.vertices_um, c.faces) for c in cells], parameters.gap_nm / 1000)
            short_nm = packing.asked_gap_nm - packing.least_gap_nm
            if short_nm <= 0:
                break
            # Linear pieces may bulge by some nm where a surface is hollow: a little wider everywhere, and again.
            with watch.stage("inflation"):
                wider = replace(membranes, sheet_um=membranes.sheet_um + (short_nm + 0.2) / 1000)
                as_filled = wider if as_filled is membranes else as_filled
                membranes = wider
        spacing *= FINER
    contents = Contents()
    contents.count("slivers_dropped", len(in_pieces))
    seeds = for_cells.spawn(len(laid))
    windows = membranes.windows(len(laid))
    with watch.stage("filling"):

        def fill(cell: Cell) -> Contents:
            index = cell.id - 1
            window = windows[index]
            assert window is not None
            facing = _facing(synapses, cell.id)
            sub, depth = membranes.depth(index, window)
            widened(sub, depth, facing, membranes.sheet_um)
            if cell.id in in_pieces:
                depth = only_piece(depth, nodes_beside(sub, cell.vertices_um))
            own = Contents()
            membrane_side = CellInterior(sub, depth)
            if as_filled is not membranes:
                body = np.nonzero(depth > 0)
                sub, depth = as_filled.depth(index, window)
                depth = only_piece(widened(sub, depth, facing, as_filled.sheet_um), body)
            fill_cell(
                own, cell, laid[index], CellInterior(sub, depth), membrane_side, classes[cell.kind], facing, cones,
                warp, membranes.sheet_um, parameters, seeds[index],
            )  # fmt: skip
            return own

        for own in each(fill, cells):
            contents.append(own)
        contents.drop_half_synapses()
        synapses = [s for s in synapses if s.id in contents.synapses]
    with watch.stage("organelle certificate"):
        organelles = separate(contents, cells)
    certificates = {
        "closed": packing.all_closed,
        "one_piece": packing.all_one_piece,
        "outward": packing.all_outward,
        "no_crossing_pairs": packing.crossing_pairs == 0,
        "no_nested_pairs": packing.nested_pairs == 0,
        "gap_kept": packing.least_gap_nm >= packing.asked_gap_nm,
        "organelles_contained": not contents.uncontained and organelles.through_membranes == 0,
        "organelles_apart": organelles.crossing == organelles.nested == 0,
    }
    with watch.stage("statistics"):
        statistics = measure_block(parameters, cells, laid, contents, synapses, membranes, samples)
        statistics |= {"organelles": float(organelles.instances), "organelles_left_out": float(organelles.left_out)}
        statistics |= {k: float(v) for k, v in asdict(packing).items() if not isinstance(v, bool)}
        gaps = membrane_gaps_nm(cells, parameters.size_um, for_samples)
    return TissueBlock(
        parameters.size_um, cells, contents.painted(), synapses, contents.synapses, contents.organelles(),
        certificates, statistics, gaps, watch.seconds,
    )  # fmt: skip


def _facing(synapses: list[Synapse], cell_id: int) -> list[Synapse]:
    """The synapses of one cell."""
    return [s for s in synapses if cell_id in (s.pre_id, s.post_id)]


def mesh_cells(
    laid: list[LaidOutCell], membranes: Membranes, as_filled: Membranes, synapses: list[Synapse]
) -> tuple[list[Cell], set[int]]:
    """Every cell's one closed surface, its clefts widened, and the ids of those that left slivers behind."""
    windows = membranes.windows(len(laid))

    def mesh(index: int) -> tuple[Cell, bool] | None:
        window = windows[index]
        # Swelling brings no cell into the block that was not there.
        if window is None or not (as_filled.depth(index, window)[1] > 0).any():
            return None
        sub, depth = membranes.depth(index, window)
        widened(sub, depth, _facing(synapses, index + 1), membranes.sheet_um)
        # The piece of most nodes, and not of most faces: that is the same one before and after swelling.
        largest = only_piece(depth, np.nonzero(depth > 0))
        surface, share = largest_piece(polygonize(sub, largest))
        if len(surface[1]) == 0:  # it passed by just outside the built box
            return None
        return Cell(index + 1, laid[index].kind, laid[index].skeleton, *surface), share < 1 or largest is not depth

    meshed = [found for found in each(mesh, range(len(laid))) if found is not None]
    cells = [cell for cell, _ in meshed]
    in_pieces = {cell.id for cell, left_slivers in meshed if left_slivers}
    return cells, in_pieces


def grid_of(parameters: TissueParameters, spacing_um: float) -> Grid:
    """The grid of the built box and one node more on each side."""
    beyond = parameters.margin_um + spacing_um
    return Grid.around(np.full(3, -beyond), np.asarray(parameters.size_um) + beyond, spacing_um)


def inflate(
    parameters: TissueParameters, cells: list[LaidOutCell], warp: Warp, samples_um: FloatArray, spacing: float
) -> tuple[float, Arrivals, Membranes, Membranes]:
    """The grid's spacing in µm, arrivals, membranes that leave the asked extracellular share, and those within which
    organelles are placed.

    samples_um: points (n, 3) at which shares are measured; spacing: of the coarsest grid that is tried, in µm. Linear
    pieces between the grid's nodes cut the corners where three cells meet; where that alone leaves more than the asked
    share, a finer grid is taken.
    """
    while True:
        grid = grid_of(parameters, spacing)
        cones = [cell.round_cones() for cell in cells]
        arrivals = earliest_arrivals(grid, cones, REACH_UM, warp, [cell.cone_types() for cell in cells])
        _give_to_glia(arrivals, cells, parameters)
        try:
            return spacing, arrivals, *place_membranes(parameters, arrivals, warp, samples_um)
        except ValueError:
            spacing *= FINER
            if spacing < FINEST_SPACING_UM:
                raise


def _give_to_glia(arrivals: Arrivals, cells: list[LaidOutCell], parameters: TissueParameters) -> None:
    """The astrocyte takes the interstices, up to the asked share of the block."""
    glia = [n for n, cell in enumerate(cells) if cell.kind == "astrocyte"]
    if not glia:
        return
    grid = arrivals.grid
    _, inside = grid.sub_grid(np.zeros(3), np.asarray(parameters.size_um))
    # Sheets are about as wide as this at the end; the share that comes of it is measured on the meshes.
    width = parameters.filling_fraction / 8
    give_interstices(arrivals, glia[0], parameters.astrocyte_fraction, width, inside)


def place_membranes(
    parameters: TissueParameters, arrivals: Arrivals, warp: Warp, samples: FloatArray
) -> tuple[Membranes, Membranes]:
    """Membranes that leave the asked extracellular share, and those within which organelles are placed.

    samples: points (n, 3) at which shares are measured.
    """
    low = np.full(3, -parameters.margin_um)
    high = np.asarray(parameters.size_um) + parameters.margin_um
    least = parameters.least_sheet_um
    stretch = warp.stretch_at(arrivals.grid.nodes().reshape(-1, 3)).reshape(arrivals.grid.shape)
    touching = Membranes(arrivals, stretch, least, low, high)
    asked = touching.fitted(parameters.extracellular_fraction, least, samples)
    if parameters.filling_fraction == parameters.extracellular_fraction:
        return asked, asked
    return asked, touching.fitted(parameters.filling_fraction, least, samples)

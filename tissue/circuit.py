"""A circuit block: whole neurons posed in 50 to 500 µm of space, cropped to it, nowhere touching."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from neuropil.morphology.tree import (
    APICAL_DENDRITE,
    AXON,
    DENDRITE,
    GLIA,
    SOMA,
    SPINE_HEAD,
    SPINE_NECK,
    VARICOSITY,
    Tree,
)

from .circuit_cones import cones_of, cropped, within_tiles
from .circuit_parameters import CircuitParameters
from .circuit_posing import PosedCell, pose_cells
from .circuit_separation import separate, widened
from .circuit_vessels import lay_vessels
from .cone_pairs import near_pairs

VESSEL_KIND = "vessel"
# What counts as neither axon, dendrite nor neurite of unknown kind.
NO_FIBRES = (SOMA, SPINE_NECK, SPINE_HEAD, GLIA)
# How far beyond the gap that was asked for the least one is looked for.
GAP_SEARCH_UM = 0.2


@dataclass(frozen=True, eq=False)
class CircuitCell:
    """What a block holds of one cell, or one vessel. Points in µm from the block's corner.

    Attributes:
        id: from 1; the same in labels, files and tables.
        kind: the class's or file's name, or "vessel".
        body: the forest of all segments that reach into the built box (the block and its margin), each whole: what
            is swept and fills voxels.
        skeleton: the body's centre lines cut exactly at the block's faces; None where they stay outside.
        entries, exits: (k,) points of `skeleton`, on the faces, where a path from the soma comes in and goes out.
        soma_um: (3,) centre of the soma, which may lie outside; None for vessels.
    """

    id: int
    kind: str
    body: Tree
    skeleton: Tree | None
    entries: NDArray[np.int64]
    exits: NDArray[np.int64]
    soma_um: NDArray[np.float64] | None


@dataclass(frozen=True, eq=False)
class CircuitBlock:
    """A finished circuit block."""

    size_um: tuple[float, float, float]
    cells: list[CircuitCell]
    certificates: dict[str, bool]
    statistics: dict[str, float]


def build_circuit(parameters: CircuitParameters, rng: np.random.Generator) -> CircuitBlock:
    """Lay vessels, pose cells, lead their neurites round each other, crop, and prove that nothing touches.

    Raises:
        ValueError: the parameters ask for more than fits.
    """
    for_vessels, for_cells = rng.spawn(2)
    vessels = lay_vessels(parameters, for_vessels)
    posed = [*pose_cells(parameters, vessels, for_cells), *(PosedCell(VESSEL_KIND, tree) for tree in vessels)]
    size = np.asarray(parameters.size_um)
    pieces = [piece for cell in posed for piece in _pieces(cell, size, parameters)]
    # Ids go first to the cells whose somas are inside, then to those that enter, then to vessels.
    pieces.sort(key=lambda piece: 2 if piece.soma_um is None else int(_is_outside(piece.soma_um, size)))
    known = [piece.body for piece in pieces]
    separated = separate(known, parameters.min_gap_um)
    cells: list[CircuitCell] = []
    for piece, body in zip(pieces, separated.trees, strict=True):
        if body is None:
            continue
        inside = cropped(body, np.zeros(3), size)
        none = np.empty(0, np.int64)
        skeleton, entries, exits = (inside.tree, inside.entries, inside.exits) if inside else (None, none, none)
        cells.append(CircuitCell(len(cells) + 1, piece.kind, body, skeleton, entries, exits, piece.soma_um))
    crowded, least_gap = _nearest(cells, parameters.min_gap_um)
    certificates = {"gap_kept": crowded == 0}
    length = sum(tree.length_um for tree in known)
    led_round = sum(
        float(tree.segment_lengths_um[moved].sum()) for tree, moved in zip(known, separated.rerouted, strict=True)
    )
    statistics = _statistics(parameters, cells) | {
        "pairs_too_near": float(crowded),
        "least_gap_um": least_gap,
        "asked_gap_um": parameters.min_gap_um,
        "rerouted_length_share": led_round / length if length else 0.0,
        "lost_length_share": sum(separated.lost_um) / length if length else 0.0,
    }
    return CircuitBlock(parameters.size_um, cells, certificates, statistics)


@dataclass(frozen=True, eq=False)
class _Piece:
    """What reaches into the built box of a cell or vessel, and where its soma is."""

    kind: str
    body: Tree
    soma_um: NDArray[np.float64] | None


def _is_outside(place: NDArray[np.float64], size: NDArray[np.float64]) -> bool:
    return bool((place < 0).any() or (place > size).any())


def _pieces(cell: PosedCell, size: NDArray[np.float64], parameters: CircuitParameters) -> list[_Piece]:
    """The cell's own part in the block; where neurites enter, also those of the neurons around it.

    The cell's part in each neighbouring tile of space is what a neuron that lies alike in the opposite tile sends
    into the block. So as much enters as leaves, and no part of a shape is seen twice.
    """
    tiles = within_tiles(cell.tree, size, parameters.margin_um)
    if cell.kind == VESSEL_KIND:
        return [_Piece(VESSEL_KIND, tiles[0, 0, 0], None)]
    if not parameters.neurites_enter:
        tiles = {(0, 0, 0): tiles[0, 0, 0]}
    return [_Piece(cell.kind, part, cell.tree.points_um[0] - np.array(tile) * size) for tile, part in tiles.items()]


def _nearest(cells: list[CircuitCell], gap_um: float) -> tuple[int, float]:
    """How many pairs of cells are nearer than the gap, and the least gap between any two; over all pairs of cones.

    For the first, cones are widened to hold the swept surfaces, so that what is found keeps those apart too; the
    second is that of the cones themselves.
    """
    parts = [cones_of(cell.body) for cell in cells]
    owners = np.repeat(np.arange(len(cells)), [len(p.ends) for p in parts])
    crowded = near_pairs(np.concatenate([widened(p) for p in parts]), owners, gap_um)[0]
    distances = near_pairs(np.concatenate([p.cones for p in parts]), owners, gap_um + GAP_SEARCH_UM)[1]
    pairs = {tuple(pair) for pair in owners[crowded].tolist()}
    return len(pairs), float(distances.min(initial=gap_um + GAP_SEARCH_UM))


def _statistics(parameters: CircuitParameters, cells: list[CircuitCell]) -> dict[str, float]:
    """Counts and densities within the block; volumes by the frusta of the skeletons, somas as balls in it."""
    volume = float(np.prod(parameters.size_um))
    neurons = [cell for cell in cells if cell.kind != VESSEL_KIND]
    lengths = {"axon": 0.0, "dendrite": 0.0, "fibre": 0.0}
    for cell in neurons:
        if cell.skeleton is None:
            continue
        types, length = cell.skeleton.types, cell.skeleton.segment_lengths_um
        lengths["axon"] += float(length[np.isin(types, (AXON, VARICOSITY))].sum())
        lengths["dendrite"] += float(length[np.isin(types, (DENDRITE, APICAL_DENDRITE))].sum())
        lengths["fibre"] += float(length[~np.isin(types, NO_FIBRES)].sum())
    centres = [cell.soma_um for cell in neurons if cell.soma_um is not None]
    inside = sum(not _is_outside(centre, np.asarray(parameters.size_um)) for centre in centres)
    return {
        "neurons_present": float(len(neurons)),
        "somas_inside": float(inside),
        "neurons_per_mm3": inside / (volume * 1e-9),
        "axon_length_um_per_um3": lengths["axon"] / volume,
        "dendrite_length_um_per_um3": lengths["dendrite"] / volume,
        "fibre_length_um_per_um3": lengths["fibre"] / volume,
        "vessels": float(len(cells) - len(neurons)),
    }

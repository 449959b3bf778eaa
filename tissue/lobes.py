"""Lobes of boutons: what is left between neurites when all are laid is filled by boutons beside it.

Real boutons are no spindles; they take the shape that their neighbours leave them.
"""

from dataclasses import replace

import numpy as np
from scipy.ndimage import maximum_filter
from scipy.spatial import cKDTree

from neuropil.morphology.tree import VARICOSITY, Tree

from .arrival import FloatArray, RoundCones
from .boutons import NARROWEST_BOUTON_UM
from .free_space import AXON_REACH_UM, SEED_CLEARANCE_UM, FreeSpace
from .laid_cell import LaidOutCell

ROUNDS = 3
NEIGHBOURS = 6  # nodes of boutons that a void looks at
REACH_UM = 0.35  # from a bouton's middle, beyond its radius, to the nodes that count as the bouton's
BESIDE_UM = 0.06  # what may lie between a bouton and the void that it grows into


def with_lobes(space: FreeSpace, cells: list[LaidOutCell]) -> list[LaidOutCell]:
    """The cells, their boutons grown into the voids of at least `smallest_lobe_um` beside them, widest first."""
    smallest = space.parameters.smallest_lobe_um
    for _ in range(ROUNDS):
        nodes, radii, owner, index = _bouton_nodes(cells)
        peaks = (space.clearance == maximum_filter(space.clearance, 3)) & (space.clearance >= smallest)
        voids = np.argwhere(peaks)
        if len(nodes) == 0 or len(voids) == 0:
            break
        tree = cKDTree(nodes)
        lobes: dict[int, list[tuple[int, FloatArray, float]]] = {}
        for void in voids[np.argsort(-space.clearance[peaks], kind="stable")]:
            place = space.grid.origin_um + void * space.grid.spacing_um
            radius = float(space.clearance[tuple(void)]) - SEED_CLEARANCE_UM
            if radius + SEED_CLEARANCE_UM < smallest:
                continue  # filled meanwhile
            far, near = tree.query(place, NEIGHBOURS)
            near, far = near[near < len(nodes)], far[near < len(nodes)]
            between = far - radii[near] - radius
            best = int(np.argmin(between))
            if between[best] > BESIDE_UM:
                continue
            node = near[best]
            lobes.setdefault(int(owner[node]), []).append((int(index[node]), place, radius))
            cone = RoundCones(nodes[node][None], place[None], np.array([min(radii[node], radius)]), np.array([radius]))
            space.occupy(cone, AXON_REACH_UM)
        cells = [_with_lobes(cell, lobes[n]) if n in lobes else cell for n, cell in enumerate(cells)]
    return cells


def _bouton_nodes(cells: list[LaidOutCell]) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """Points (n, 3) and radii (n,) of the boutons' nodes, and of which cell they are which node."""
    found = []
    for number, cell in enumerate(cells):
        tree = cell.skeleton
        of_bouton = tree.radii_um > NARROWEST_BOUTON_UM
        for bouton in cell.boutons:
            near = np.linalg.norm(tree.points_um - bouton.centre_um, axis=1) < bouton.radius_um + REACH_UM
            nodes = np.flatnonzero(of_bouton & near)
            found.append((tree.points_um[nodes], tree.radii_um[nodes], np.full(len(nodes), number), nodes))
    if not found:
        return np.empty((0, 3)), np.empty(0), np.empty(0, int), np.empty(0, int)
    points, radii, owner, index = (np.concatenate(part) for part in zip(*found, strict=True))
    return points, radii, owner, index


def _with_lobes(cell: LaidOutCell, lobes: list[tuple[int, FloatArray, float]]) -> LaidOutCell:
    """The cell with a ball at the end of a short branch for each lobe: node it grows from, place, radius."""
    tree = cell.skeleton
    grown = Tree(
        np.vstack([tree.points_um, [place for _, place, _ in lobes]]),
        np.r_[tree.radii_um, [radius for _, _, radius in lobes]],
        np.r_[tree.parents, [node for node, _, _ in lobes]].astype(np.int32),
        np.r_[tree.types, np.full(len(lobes), VARICOSITY)].astype(np.int16),
    )
    return replace(cell, skeleton=grown)

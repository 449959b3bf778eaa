"""The frame that cells are compared in: soma at the origin, axis along z, thinnest direction along y."""

from __future__ import annotations

import numpy as np

from .tree import APICAL_DENDRITE, DENDRITE, SOMA, Tree


def aligned(tree: Tree) -> Tree:
    """The cell moved and turned into its own frame.

    z is the way from the soma (or root) to the centroid of the apical dendrite; of all dendrites in a cell without
    one; of everything in a cell without dendrites. y is the direction across it in which the cell extends least.
    """
    somata = np.flatnonzero(tree.types == SOMA)
    centre = tree.points_um[somata[0] if somata.size else tree.roots[0]]
    points = tree.points_um - centre
    weights = tree.segment_lengths_um * (tree.types != SOMA)
    for types in ((APICAL_DENDRITE,), (DENDRITE,)):
        chosen = np.isin(tree.types, types)
        if (weights * chosen).sum() > 0:
            weights = weights * chosen
            break
    way = weights @ points
    length = np.linalg.norm(way)
    z = way / length if length > 0 else np.array([0.0, 0.0, 1.0])
    across = points - np.outer(points @ z, z)
    spread = np.linalg.eigh(across.T @ across)[1]
    # The least direction of all is z itself, which `across` has none of.
    y = spread[:, 1] - (spread[:, 1] @ z) * z
    y /= np.linalg.norm(y)
    frame = np.stack([np.cross(y, z), y, z])
    return Tree(points @ frame.T, tree.radii_um, tree.parents, tree.types)

"""Connected pieces and volumes of triangle surfaces."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components


def surface_pieces(faces: NDArray[np.int32], vertex_count: int) -> NDArray[np.int64]:
    """(m,) number of the connected piece that each face belongs to, from 0."""
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]]])
    graph = coo_array((np.ones(len(edges), dtype=bool), edges.T), shape=(vertex_count, vertex_count))
    labels = connected_components(graph, directed=False)[1][faces[:, 0]]
    return np.unique(labels, return_inverse=True)[1].reshape(-1).astype(np.int64)


def signed_volumes_um3(vertices: NDArray[np.float64], faces: NDArray[np.integer]) -> NDArray[np.float64]:
    """(m,) volume of the tetrahedron between each face and the origin."""
    corners = vertices[faces]
    return np.einsum("ij,ij->i", corners[:, 0], np.cross(corners[:, 1], corners[:, 2])) / 6

"""Proof that organelles lie in their cells and apart from one another: every triangle, on the finished meshes.

A place is found for an organelle by asking at points; between them a surface may still touch another. Here all
triangles are compared, and the few organelles that touch something are left out.
"""

from dataclasses import dataclass

import numpy as np
import open3d as o3d

from .arrival import FloatArray
from .clearance import IntArray, clearance
from .contents import Contents, Solid
from .filling import Cell

# Organelles proper: what these are made of lies beside, not within, one another.
SEPARATE = (
    "mitochondrion", "endoplasmic_reticulum", "lysosome", "endosome", "multivesicular_body", "microtubule", "psd",
    "active_zone", "vesicle", "filament",
)  # fmt: skip
LARGE = ("mitochondrion", "endoplasmic_reticulum", "lysosome", "endosome", "multivesicular_body")
TOUCHING_UM = 1e-4
MANY = 1000
CELLS = -1  # the owner of every cell's surface: cells among themselves are `certify_packing`'s business


@dataclass(frozen=True)
class OrganelleCertificate:
    """What was found over all organelles of a block, exhaustively.

    instances: how many there are; left_out: how many more there were, which touched another or their cell's surface;
    through_membranes: pairs of an organelle and a cell whose surfaces intersect; crossing: pairs of organelles whose
    surfaces do; nested: organelles that lie in another.
    """

    instances: int
    left_out: int
    through_membranes: int
    crossing: int
    nested: int


def separate(contents: Contents, cells: list[Cell]) -> OrganelleCertificate:
    """Leave out what reaches out of its cell and the later of every two organelles that cross; certify the rest."""
    crossing = _crossings(_outer_solids(contents, SEPARATE), cells)
    dropped = contents.outside | (set(crossing.max(axis=1).tolist()) if len(crossing) else set())
    contents.drop(dropped)
    # Nothing moves, so what is left crosses nothing; only a list so long that it may not be whole is made anew.
    crossing = crossing[~np.isin(crossing, list(dropped)).any(axis=1)]
    if len(dropped) > MANY:
        crossing = _crossings(_outer_solids(contents, SEPARATE), cells)
    solids = _outer_solids(contents, SEPARATE)
    through = int((crossing.min(axis=1) < 0).sum()) if len(crossing) else 0
    return OrganelleCertificate(
        sum(s.pieces for s in solids), len(dropped), through, len(crossing) - through, _nested(solids)
    )


def _outer_solids(contents: Contents, structures: tuple[str, ...]) -> list[Solid]:
    """The first solid of every instance; what follows under the same number lies within it."""
    seen: set[int] = set()
    found = []
    for solid in contents.solids:
        if solid.structure in structures and solid.organelle_id > 0 and solid.organelle_id not in seen:
            seen.update(range(solid.organelle_id, solid.organelle_id + solid.pieces))
            found.append(solid)
    return found


def _crossings(solids: list[Solid], cells: list[Cell]) -> IntArray:
    """Pairs (n, 2) of instances whose surfaces intersect; all cells count as one, called CELLS."""
    if not solids:
        return np.empty((0, 2), np.int64)
    surfaces = [(s.vertices_um, s.faces) for s in solids] + [(c.vertices_um, c.faces) for c in cells]
    vertices = np.vstack([v for v, _ in surfaces]).astype(np.float64)
    offsets = np.cumsum([0, *(len(v) for v, _ in surfaces[:-1])])
    faces = np.vstack([f + offset for (_, f), offset in zip(surfaces, offsets, strict=True)]).astype(np.int64)
    owner = [s.organelle_id + np.repeat(np.arange(s.pieces), len(s.faces) // s.pieces) for s in solids]
    owner += [np.full(len(c.faces), CELLS) for c in cells]
    return clearance(vertices, faces, np.concatenate(owner).astype(np.int64), TOUCHING_UM).crossing


def _nested(solids: list[Solid]) -> int:
    """How many of the small instances lie within one of the large: with no crossings one vertex decides."""
    large = [s for s in solids if s.structure in LARGE]
    probes: list[FloatArray] = [
        s.vertices_um.reshape(s.pieces, -1, 3)[:, 0] for s in solids if s.structure not in LARGE
    ]
    if not large or not probes:
        return 0
    scene = o3d.t.geometry.RaycastingScene()
    offsets = np.cumsum([0, *(len(s.vertices_um) for s in large[:-1])])
    faces = np.vstack([s.faces + offset for s, offset in zip(large, offsets, strict=True)])
    vertices = np.vstack([s.vertices_um for s in large]).astype(np.float32)
    scene.add_triangles(o3d.core.Tensor(vertices), o3d.core.Tensor(faces.astype(np.uint32)))
    points = o3d.core.Tensor(np.vstack(probes).astype(np.float32))
    return int((scene.compute_occupancy(points, nthreads=1, nsamples=3).numpy() > 0).sum())

"""Packing, meshing, filling and certifying a block of neuropil. Size 1 is a block of (5 µm)³.

Ours builds the whole block with all organelles; its stages are columns. The rivals do a part of it: `fcl` is the exact
check of all pairs of our finished cells by trimesh's collision manager alone, `rays` grows unbranched neurites into
contact by rays, round after round, without spines, glia, organelles or certificate.
"""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np

from ._ray_inflation import inflate_by_rays
from ._tissue_block import load, save, tissue_parameters

EDGE_UM = 5.0
INPUT, CELLS = "input.json", "cells"


def prepare(size: float, seed: int, folder: Path) -> str:
    edge_um = EDGE_UM * size ** (1 / 3)
    (folder / INPUT).write_text(json.dumps([edge_um, seed]))
    return f"({edge_um:.3g} µm)³ of {edge_um**3:.3g} µm³"


def neuropil(folder: Path) -> dict[str, float]:
    from neuropil.tissue.block import build_block

    edge_um, seed = json.loads((folder / INPUT).read_text())
    # Compile, or load what was compiled.
    build_block(tissue_parameters(0.4), np.random.default_rng(seed))
    start = time.perf_counter()
    block = build_block(tissue_parameters(edge_um), np.random.default_rng(seed))
    seconds = time.perf_counter() - start
    save([(cell.vertices_um, cell.faces) for cell in block.cells], folder / CELLS)
    return {
        "seconds": seconds,
        **{f"{stage} s": spent for stage, spent in block.seconds.items()},
        "cells": len(block.cells),
        "solids": len(block.solids),
        "filled %": 100 * (1 - block.statistics["extracellular_fraction"]),
        "crossing pairs": block.statistics["crossing_pairs"],
        "certificates held %": 100 * float(np.mean(list(block.certificates.values()))),
    }


def fcl(folder: Path) -> dict[str, float]:
    """The cells are those that `neuropil` left, so it has to run before."""
    import trimesh

    shapes = load(folder / CELLS)
    assert isinstance(shapes, list)
    start = time.perf_counter()
    manager = trimesh.collision.CollisionManager()
    for index, (vertices, faces) in enumerate(shapes):
        manager.add_object(str(index), trimesh.Trimesh(vertices, faces, process=False))
    _, crossing = manager.in_collision_internal(return_names=True)
    return {"seconds": time.perf_counter() - start, "cells": len(shapes), "crossing pairs": len(crossing)}


def rays(folder: Path) -> dict[str, float]:
    edge_um, seed = json.loads((folder / INPUT).read_text())
    return inflate_by_rays(edge_um, np.random.default_rng(seed))


CONTENDERS = {"neuropil": neuropil, "fcl": fcl, "rays": rays}

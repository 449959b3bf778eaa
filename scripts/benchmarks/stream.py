"""A block too large for memory, voxelized tile by tile and written as OME-Zarr. Size 1 is 2048³ voxels of 5 nm.

The meshes are those of a real block of 1024³ voxels, set side by side until the large one is full, so that there are
as many as in tissue. Ours voxelizes and writes; `only_writing` writes one tile's arrays again and again.
"""

from __future__ import annotations

import tempfile
import time
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np

from neuropil.pipeline.block_job import ARRAY_TYPES, TILE_VOXELS, given_away
from neuropil.voxelize.block_files import BlockWriter
from neuropil.voxelize.solid import Box, Part, Scene

from ._tissue_block import VOXEL_NM, Solids, build_solids, load, save

EDGE_VOXELS = 2048
CELL_VOXELS = 1024
LABELS = {name: dtype for name, dtype in ARRAY_TYPES.items() if name not in ("image", "annotation")}


def prepare(size: float, seed: int, folder: Path) -> str:
    edge = round(EDGE_VOXELS * size ** (1 / 3))
    cell = min(CELL_VOXELS, edge)
    solids = build_solids(cell * VOXEL_NM[0] / 1000, seed)
    save((solids, edge), folder / "solids")
    copies = len(range(0, edge, cell)) ** 3
    faces = sum(len(part.faces) for part in solids.parts)
    return f"{edge}³ voxels of {VOXEL_NM[0]:g} nm, {copies * len(solids.parts)} closed meshes of {copies * faces} faces"


def _side_by_side(folder: Path) -> tuple[list[Part], Box]:
    loaded = load(folder / "solids")
    assert isinstance(loaded, tuple)
    solids, edge = loaded
    assert isinstance(solids, Solids)
    step_um = solids.box.shape[0] * VOXEL_NM[0] / 1000
    highest = max(part.instance for part in solids.parts)
    parts = []
    for number, place in enumerate(product(range(-(-edge // solids.box.shape[0])), repeat=3)):
        for part in solids.parts:
            # Each copy has cells, and memory, of its own.
            instance = part.instance + number * highest if part.instance else 0
            moved = (part.vertices_um + np.array(place[::-1]) * step_um).astype(part.vertices_um.dtype)
            parts.append(replace(part, vertices_um=moved, faces=part.faces.copy(), instance=instance))
    return parts, Box((0, 0, 0), (edge, edge, edge))


def _writer(folder: Path, box: Box) -> BlockWriter:
    return BlockWriter(folder / "block.zarr", box.shape, VOXEL_NM, image=None, labels=LABELS)


def _arrays(scene: Scene, tile: Box) -> dict[str, np.ndarray]:
    voxels = scene.voxelize(tile)
    return {name: getattr(voxels, name).data for name in LABELS}


def neuropil(folder: Path) -> dict[str, float]:
    parts, box = _side_by_side(folder)
    Scene(parts[-2:], VOXEL_NM).voxelize(Box((0, 0, 0), (4, 4, 4)))
    written = 0
    with tempfile.TemporaryDirectory(dir=folder) as out:
        start = time.perf_counter()
        scene = Scene(given_away(parts), VOXEL_NM)
        ready = time.perf_counter()
        writer = _writer(Path(out), box)
        for tile in box.tiles(TILE_VOXELS):
            writer.write(_arrays(scene, tile), tile.origin)
        seconds = time.perf_counter() - start
        written = sum(file.stat().st_size for file in Path(out).rglob("*") if file.is_file())
    return {"seconds": seconds, "scene s": ready - start, "written MB": written / 2**20}


def only_writing(folder: Path) -> dict[str, float]:
    parts, box = _side_by_side(folder)
    scene = Scene(given_away(parts), VOXEL_NM)
    with tempfile.TemporaryDirectory(dir=folder) as out:
        writer = _writer(Path(out), box)
        same = _arrays(scene, next(box.tiles(TILE_VOXELS)))
        start = time.perf_counter()
        for tile in box.tiles(TILE_VOXELS):
            depth, height, width = tile.shape
            writer.write({name: array[:depth, :height, :width] for name, array in same.items()}, tile.origin)
        return {"seconds": time.perf_counter() - start}


CONTENDERS = {"neuropil": neuropil, "only_writing": only_writing}

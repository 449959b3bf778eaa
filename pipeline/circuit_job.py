"""A circuit block on disk: cells tens to hundreds of micrometres apart, at the voxel size of a light microscope.

NNNNN.zarr/             an OME-Zarr group, opened as it is by viewers
  labels/               instances, classes; volume_fraction, the share of a voxel that lies within neurons
  skeletons/*.swc       the centre lines of each cell, cut exactly at the block's faces
  meshes/*.ply          each cell's surface, closed, cut at the faces
  manifest.json         recipe, seed, versions, cells with somas and crossings of faces, certificates, statistics
  preview.png           maximum-intensity projections along z, y and x, each cell in its colour
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import trimesh
from numpy.typing import NDArray

from neuropil.morphology.neuron_class import NeuronClass
from neuropil.morphology.swc import write_swc
from neuropil.morphology.tree import (
    APICAL_DENDRITE,
    AXON,
    DENDRITE,
    GLIA,
    SOMA,
    SPINE_HEAD,
    SPINE_NECK,
    VARICOSITY,
    VESSEL,
)
from neuropil.tissue.circuit import VESSEL_KIND, CircuitBlock, CircuitCell, build_circuit
from neuropil.tissue.circuit_cones import cones_of
from neuropil.voxelize.block_files import BlockWriter
from neuropil.voxelize.cones import ConeBody, rasterize_cones
from neuropil.voxelize.solid import Box

from .circuit_pictures import Projections
from .circuit_realism import compare_circuit
from .neurons import require_blender
from .pictures import write_png

if TYPE_CHECKING:
    from .recipe import Recipe

ARRAY_TYPES: Mapping[str, type] = {"instances": np.uint32, "classes": np.uint8, "volume_fraction": np.uint16}
# Voxels (z, y, x) in memory at a time, with what each cell fills of them by class: whole chunks of the files.
TILE_VOXELS = (64, 256, 256)
CLASS_IDS = {
    "soma": 1, "axon": 2, "dendrite": 3, "apical_dendrite": 4, "spine": 5, "vessel": 6, "glia": 7, "neurite": 8,
}  # fmt: skip
# What an SWC type is drawn as; any other is a neurite of unknown kind.
CLASS_OF_TYPE = {
    SOMA: "soma",
    AXON: "axon",
    VARICOSITY: "axon",
    DENDRITE: "dendrite",
    APICAL_DENDRITE: "apical_dendrite",
    SPINE_NECK: "spine",
    SPINE_HEAD: "spine",
    VESSEL: "vessel",
    GLIA: "glia",
}
# Corners around a neurite; its radius is at most a few voxels.
SIDES = 8
# Blocks with more triangles are certified on their round cones alone: the collision library's trees take about
# 1 kB for each.
MOST_TRIANGLES = 4_000_000
_VERSIONS = ("neuropil", "numpy", "numba", "scipy", "trimesh", "zarr", "manifold3d", "bpy")


def inputs_of_circuit(recipe: Recipe) -> dict[str, Any]:
    """What of a recipe decides a circuit block's bytes, as JSON keeps it, the files that it names included."""
    assert recipe.circuit is not None
    sources: list[dict[str, Any]] = []
    for group in recipe.circuit.cells:
        source = group.source()
        if isinstance(source, NeuronClass):
            sources.append(source.model_dump(mode="json"))
        else:
            assert group.swc is not None
            sources.append({"sha256": hashlib.sha256(group.swc.read_bytes()).hexdigest()})
    return recipe.model_dump(mode="json", include={"circuit", "voxel_size_nm"}) | {"cells": sources}


def write_circuit(recipe: Recipe, seed: int, index: int, folder: Path) -> None:
    """Make block `index` in `folder`, which must not exist.

    Raises ValueError where the recipe asks for what cannot be made, or Blender's module is missing.
    """
    assert recipe.circuit is not None
    require_blender()
    circuit = build_circuit(recipe.circuit, np.random.default_rng(np.random.SeedSequence([seed, index])))
    z, y, x = (
        max(1, round(um * 1000 / nm)) for um, nm in zip(reversed(circuit.size_um), recipe.voxel_size_nm, strict=True)
    )
    names = {
        "instances": {cell.id: f"{cell.id} {cell.kind}" for cell in circuit.cells},
        "classes": {number: name for name, number in CLASS_IDS.items()},
    }
    writer = BlockWriter(folder, (z, y, x), recipe.voxel_size_nm, image=None, labels=ARRAY_TYPES, names=names)
    projections = Projections((z, y, x), recipe.voxel_size_nm)
    bodies = [_cone_body(cell) for cell in circuit.cells]
    filled = 0
    for tile in Box((0, 0, 0), (z, y, x)).tiles(TILE_VOXELS):
        voxels = rasterize_cones(bodies, recipe.voxel_size_nm, tile)
        arrays = {name: getattr(voxels, name).data for name in ARRAY_TYPES}
        writer.write(arrays, tile.origin)
        projections.add(arrays["instances"], arrays["volume_fraction"], tile.origin)
        filled += int(arrays["volume_fraction"].sum(dtype=np.int64))
    certificates, statistics = _write_shapes(circuit, folder)
    statistics |= {"voxel_neuron_fraction": filled / (np.iinfo(np.uint16).max * x * y * z)}
    write_png(projections.picture(), folder / "preview.png")
    measured = circuit.statistics | statistics
    writer.finish(
        {
            "recipe": inputs_of_circuit(recipe),
            "seed": seed,
            "index": index,
            "versions": {name: version(name) for name in _VERSIONS},
            "cells": [_entry(cell) for cell in circuit.cells],
            "certificates": circuit.certificates | certificates,
            "statistics": measured,
            "realism": compare_circuit(measured),
        }
    )


def _cone_body(cell: CircuitCell) -> ConeBody:
    parts = cones_of(cell.body)
    classes = np.array([CLASS_IDS[CLASS_OF_TYPE.get(int(kind), "neurite")] for kind in parts.types], np.uint8)
    # Where a stem lies within the soma, the soma counts: it comes first.
    order = np.argsort(parts.types != SOMA, kind="stable")
    return ConeBody(parts.cones[order], classes[order], cell.id, stained=cell.kind != VESSEL_KIND)


def _name(cell: CircuitCell) -> str:
    return f"{cell.id:05d}_{cell.kind}"


def _entry(cell: CircuitCell) -> dict[str, Any]:
    """A cell in the manifest; `entries` and `exits` are where its neurites cross the block's faces, x, y, z in µm."""

    def places(points: NDArray[np.int64]) -> list[list[float]]:
        return [] if cell.skeleton is None else cell.skeleton.points_um[points].tolist()

    return {
        "id": cell.id,
        "kind": cell.kind,
        "soma_um": None if cell.soma_um is None else cell.soma_um.tolist(),
        "length_um": 0.0 if cell.skeleton is None else cell.skeleton.length_um,
        "entries_um": places(cell.entries),
        "exits_um": places(cell.exits),
    }


def _write_shapes(circuit: CircuitBlock, folder: Path) -> tuple[dict[str, bool], dict[str, float]]:
    """Write skeletons and swept meshes; what the meshes prove, and what they measure."""
    (folder / "skeletons").mkdir()
    (folder / "meshes").mkdir()
    for cell in circuit.cells:
        if cell.skeleton is not None:
            write_swc(cell.skeleton, folder / "skeletons" / f"{_name(cell)}.swc")
    with tempfile.TemporaryDirectory() as place:
        bodies = Path(place)
        for cell in circuit.cells:
            write_swc(cell.body, bodies / f"{_name(cell)}.swc")
        _sweep(bodies, folder / "meshes", circuit.size_um)
    pieces = json.loads((folder / "meshes" / "pieces.json").read_text(encoding="utf-8"))
    (folder / "meshes" / "pieces.json").unlink()
    meshes = {file.stem: trimesh.load_mesh(file, process=False) for file in sorted((folder / "meshes").glob("*.ply"))}
    volume = float(np.prod(circuit.size_um))
    held = {True: 0.0, False: 0.0}
    for cell in circuit.cells:
        if _name(cell) in meshes:
            held[cell.kind == VESSEL_KIND] += float(meshes[_name(cell)].volume)
    certificates = {
        "meshes_closed": all(mesh.is_watertight and mesh.is_winding_consistent for mesh in meshes.values()),
        "meshes_outward": all(mesh.volume > 0 for mesh in meshes.values()),
        "meshes_one_piece_per_tree": all(found["pieces"] <= found["trees"] for found in pieces.values()),
    }
    triangles = sum(len(mesh.faces) for mesh in meshes.values())
    statistics = {
        "neuron_fraction": held[False] / volume,
        "vessel_fraction": held[True] / volume,
        "mesh_triangles": float(triangles),
    }
    if triangles <= MOST_TRIANGLES:
        crossing = _crossing_pairs(list(meshes.values()))
        certificates["no_crossing_meshes"] = crossing == 0
        statistics["crossing_mesh_pairs"] = float(crossing)
    return certificates, statistics


def _sweep(bodies: Path, meshes: Path, size_um: tuple[float, float, float]) -> None:
    """Sweep skeletons by Blender, in a process of its own, which gives all its memory back.

    A worker that makes blocks may not start processes through multiprocessing, hence the command.
    """
    words = [sys.executable, "-m", "neuropil.blender_addon.body_meshes", str(bodies), str(meshes)]
    words += ["--sides", str(SIDES), "--size-um", *(repr(float(length)) for length in size_um)]
    done = subprocess.run(words, capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"the cells could not be swept: {done.stderr.strip() or done.stdout.strip()}")


def _crossing_pairs(meshes: list[trimesh.Trimesh]) -> int:
    """How many pairs of surfaces intersect, by the Flexible Collision Library's exact test over all pairs."""
    manager = trimesh.collision.CollisionManager()
    for number, mesh in enumerate(meshes):
        manager.add_object(str(number), mesh)
    _, names = manager.in_collision_internal(return_names=True)
    return len(names)

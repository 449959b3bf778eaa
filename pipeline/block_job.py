"""Block k of a data set: a pure function of recipe, seed and k, on disk in a folder of its own.

NNNNN.zarr/             an OME-Zarr group, opened as it is by viewers
  image/, labels/       micrograph; instances, classes, materials, membrane, annotation
  skeletons/*.swc       one per cell
  meshes/*.ply          one per cell
  synapses.csv          one line per synapse: partners, place, size, the instances that make it
  organelles.csv        one line per instance in labels/organelles
  manifest.json         recipe, seed, versions, all that was sampled, certificates, statistics
  preview.png           the middle slice, and its cells in colours
"""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterable, Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import trimesh
from numpy.typing import NDArray

from neuropil.morphology.neuron_class import load_class
from neuropil.morphology.swc import write_swc
from neuropil.simulate.annotator import AnnotatorStyle, annotate
from neuropil.simulate.fibsem import sampled_artefacts
from neuropil.simulate.hash_noise import key_from
from neuropil.simulate.imaging import (
    ImageGrid,
    Microscope,
    blur_reach,
    image_block,
    label_reach_nm,
    labels_on_image,
)
from neuropil.simulate.materials import MaterialTable, StructureTable, cell_stains, load_structures
from neuropil.simulate.microscope import BlockFaceSem
from neuropil.simulate.randomisation import profile_inputs
from neuropil.simulate.section_artefacts import Field2D
from neuropil.simulate.sstem import SsTem, sampled_sections
from neuropil.tissue.block import TissueBlock, build_block
from neuropil.tissue.block_statistics import WIDEST_GAP_NM, sheets_and_tunnels
from neuropil.tissue.parameters import TissueParameters
from neuropil.train.classes import CLASS_NAMES, masks_from_bits
from neuropil.voxelize.block_files import IMAGE, MANIFEST, BlockWriter
from neuropil.voxelize.replacement import made_once
from neuropil.voxelize.solid import Box, Part, Scene
from neuropil.voxelize.volume import Triple

from .circuit_job import inputs_of_circuit, write_circuit
from .pictures import grey_rgb, instance_overlay, side_by_side, write_png
from .recipe import Appearance, Recipe, named_profile

# Voxels (z, y, x) that are in memory with all their intermediate arrays at a time: whole chunks of the arrays on
# disk, and whole rows where they are not very long, since what lies around a tile is voxelized too.
TILE_VOXELS = (64, 256, 1024)
# The same for sections, each of which is many voxels deep.
SECTIONS_IN_TILE = 8
ARRAY_TYPES: Mapping[str, type] = {
    IMAGE: np.uint8,
    "instances": np.uint32,
    "organelles": np.uint32,
    "classes": np.uint8,
    "materials": np.uint8,
    "membrane": np.uint8,
    "annotation": np.uint8,
}
# Which of the tissue's parameters names the class of a kind of cell.
CLASS_KEYS = {
    "axon": "axon_class",
    "dendrite": "dendrite_class",
    "myelinated_axon": "myelinated_class",
    "astrocyte": "astrocyte_class",
}
_VERSIONS = ("neuropil", "numpy", "numba", "scipy", "trimesh", "zarr")


def block_folder(folder: Path, index: int) -> Path:
    """Where block `index` of a data set in `folder` lies."""
    return folder / f"{index:05d}.zarr"


def block_um3(recipe: Recipe) -> float:
    """Volume of each of a recipe's blocks."""
    return math.prod((recipe.circuit or recipe.tissue).size_um)


def is_finished(block: Path) -> bool:
    """Whether a block is there and whole: the folder takes its name only at the end."""
    return (block / MANIFEST).is_file()


def read_manifest(block: Path) -> dict[str, Any]:
    """A finished block's manifest. Raises FileNotFoundError where there is none."""
    if not is_finished(block):
        raise FileNotFoundError(f"{block} is not a finished block: it has no {MANIFEST}")
    content: dict[str, Any] = json.loads((block / MANIFEST).read_text(encoding="utf-8"))
    return content


def array_in_block(source: str, array: str) -> str:
    """Where an array of a block lies, as `read_volume` takes it; `source` itself where it is no block.

    `array` is image or the name of one of the labels.
    """
    block = Path(source)
    if not is_finished(block):
        return source
    return str(block / (IMAGE if array == IMAGE else f"labels/{array}"))


def make_block(recipe: Recipe, seed: int, index: int, folder: Path) -> Path:
    """Make block `index` in `folder` unless it is there already, and return its folder.

    Raises ValueError where the recipe asks for tissue that cannot be made, or a finished block of another
    recipe or seed is in the way.
    """
    block = block_folder(folder, index)
    if not is_finished(block):
        with made_once(block, is_finished) as unfinished:
            if unfinished is not None:
                write = _write_block if recipe.circuit is None else write_circuit
                write(recipe, seed, index, unfinished)
                return block
    if not is_block_of(block, inputs_of_blocks(recipe), seed):
        raise ValueError(f"{block} was made from another recipe or seed; choose another folder or remove it")
    return block


def _write_block(recipe: Recipe, seed: int, index: int, folder: Path) -> None:
    # A stage's random numbers do not depend on how many an earlier stage has used.
    for_tissue, for_image, for_annotator, for_stain, for_profile = np.random.SeedSequence([seed, index]).spawn(5)
    tissue = build_block(recipe.tissue, np.random.default_rng(for_tissue))
    appearance = recipe.load_appearance(np.random.default_rng(for_profile))
    structures, table = appearance.profile.lined(load_structures()), appearance.materials
    names = {
        "classes": {s.class_id: name for name, s in structures.structures.items()},
        "materials": {m.id: name for name, m in table.materials.items()},
    }
    image, labels = ARRAY_TYPES[IMAGE], {name: dtype for name, dtype in ARRAY_TYPES.items() if name != IMAGE}
    grid = ImageGrid.of(appearance.profile.microscope, recipe.block_shape, recipe.voxel_size_nm)
    writer = BlockWriter(folder, grid.shape, grid.voxel_size_nm, image=image, labels=labels, names=names)
    stain_scale = drawn_stain_scale(recipe.tissue, tissue, np.random.default_rng(for_stain))
    _write_cells(tissue, folder)
    _write_synapses(tissue, folder / "synapses.csv")
    _write_organelles(tissue, folder / "organelles.csv")
    # The microscope's key, from which every cell's stain follows, is the first number it draws.
    key = key_from(np.random.default_rng(for_image))
    manifest: dict[str, Any] = {
        "recipe": inputs_of_blocks(recipe),
        "seed": seed,
        "index": index,
        "versions": {name: version(name) for name in _VERSIONS},
        "profile": appearance.profile.model_dump(mode="json", exclude={"provenance"}),
        "structures": {name: s.model_dump() for name, s in structures.structures.items()},
        "cells": _cell_records(tissue, table, structures, key, stain_scale),
        "certificates": {name: bool(holds) for name, holds in tissue.certificates.items()},
        "statistics": {name: float(value) for name, value in tissue.statistics.items()},
        "membrane_gaps_nm": _width_histogram(tissue.membrane_gaps_nm),
    }
    parts = tissue_parts(tissue, structures, {name: material.id for name, material in table.materials.items()})
    # The meshes of a large block fill gigabytes; from here on the scene alone has them, in its own form.
    del tissue
    scene = Scene(given_away(parts), recipe.voxel_size_nm)
    manifest["microscope"], drawn = _image(
        appearance, scene, grid, structures, for_image, for_annotator, stain_scale, writer
    )
    manifest["statistics"] |= drawn
    middle = grid.shape[0] // 2
    grey, ids = (np.asarray(writer.array(name)[middle]) for name in (IMAGE, "instances"))
    write_png(side_by_side([grey_rgb(grey), instance_overlay(grey, ids)]), folder / "preview.png")
    writer.finish(manifest)


def given_away(parts: list[Part]) -> Iterator[Part]:
    """The parts in their order, each gone from the list, so that its memory is free once it has been used."""
    parts.reverse()
    while parts:
        yield parts.pop()


def _width_histogram(gaps_nm: NDArray[np.float64]) -> dict[str, list[float]]:
    """How often sheets (two cells) and tunnels (three) of the extracellular space are how wide, in steps of 2 nm."""
    edges = np.arange(0, WIDEST_GAP_NM + 2, 2)
    sheets, tunnels = (np.histogram(widths, edges)[0].tolist() for widths in sheets_and_tunnels(gaps_nm))
    return {"edges_nm": edges.tolist(), "sheets": sheets, "tunnels": tunnels}


def is_block_of(block: Path, made_from: Mapping[str, Any], seed: int) -> bool:
    """Whether the finished block in the folder `block` was made from these `inputs_of_blocks` and this seed."""
    made = read_manifest(block)
    return bool(made["recipe"] == made_from and made["seed"] == seed)


def inputs_of_blocks(recipe: Recipe) -> dict[str, Any]:
    """What of a recipe decides a block's bytes, as JSON keeps it, the files that it names included."""
    if recipe.circuit is not None:
        return inputs_of_circuit(recipe)
    own = recipe.model_dump(mode="json", include={"tissue", "voxel_size_nm"})
    classes = {key: load_class(name) for key, name in recipe.tissue if key.endswith("_class")}
    look = {
        "profile": profile_inputs(named_profile(recipe.profile)),
        "materials": recipe.load_appearance().materials.model_dump(mode="json"),
    }
    return own | look | {key: one.model_dump(mode="json") for key, one in classes.items()}


def tissue_parts(tissue: TissueBlock, structures: StructureTable, material_ids: Mapping[str, int]) -> list[Part]:
    """The block's solids, in their order, with the class, material and membrane their structures have."""
    parts = []
    for solid in tissue.solids:
        structure = structures[solid.structure]
        parts.append(
            Part(
                solid.vertices_um,
                solid.faces,
                solid.cell_id,
                structure.class_id,
                material_ids[structure.material],
                structure.membrane_nm,
                solid.organelle_id,
                solid.pieces,
            )
        )
    return parts


def drawn_stain_scale(
    parameters: TissueParameters, tissue: TissueBlock, rng: np.random.Generator
) -> NDArray[np.float32]:
    """By cell id, the factor on its stain that is drawn from its class."""
    scale = np.ones(max((cell.id for cell in tissue.cells), default=0) + 1, np.float32)
    for cell in tissue.cells:
        drawn = load_class(getattr(parameters, CLASS_KEYS[cell.kind])).stain_scale
        if drawn is not None:
            scale[cell.id] = drawn.sample(rng)
    return scale


def _cell_records(
    tissue: TissueBlock, table: MaterialTable, structures: StructureTable, key: int, stain_scale: NDArray[np.float32]
) -> list[dict[str, Any]]:
    """Each cell with the stain that its materials took up: mass fractions of osmium, uranium and lead."""
    materials: dict[int, set[str]] = {cell.id: {"membrane"} for cell in tissue.cells}
    for solid in tissue.solids:
        if solid.cell_id in materials:
            materials[solid.cell_id].add(structures[solid.structure].material)
    wanted = {cell: sorted(names) for cell, names in materials.items()}
    stains = cell_stains(table, key, wanted, stain_scale)
    return [
        {"id": c.id, "kind": c.kind, "stain_scale": float(stain_scale[c.id]), "stain": stains[c.id]}
        for c in tissue.cells
    ]


def recorded_stain_scale(manifest: Mapping[str, Any]) -> NDArray[np.float32]:
    """By cell id, the factor on its stain that a block's manifest records; 1 where it records none."""
    cells = {int(cell["id"]): float(cell.get("stain_scale", 1.0)) for cell in manifest.get("cells", [])}
    scale = np.ones(max(cells, default=0) + 1, np.float32)
    for cell, factor in cells.items():
        scale[cell] = factor
    return scale


def _image(
    appearance: Appearance,
    scene: Scene,
    grid: ImageGrid,
    structures: StructureTable,
    for_image: np.random.SeedSequence,
    for_annotator: np.random.SeedSequence,
    stain_scale: NDArray[np.float32],
    writer: BlockWriter,
) -> tuple[dict[str, Any], dict[str, float]]:
    """Write image and labels of a block on the image's grid; all the microscope sampled, and statistics of it all.

    The block is worked through in tiles. Each is voxelized with a halo as wide as blur and annotators reach, so
    that no face of a tile or of the block shows, and random numbers go by absolute voxel.
    """
    size_nm = scene.voxel_size_nm
    profile, materials = appearance.profile, appearance.materials
    microscope = profile.microscope
    halo = _halo(microscope, profile.annotator, size_nm)
    sampled: dict[str, Any] = {}
    greys, bits = np.zeros(256, np.int64), np.zeros(256, np.int64)
    slices = TILE_VOXELS[0] if grid.block_slices == 1.0 else SECTIONS_IN_TILE
    for tile in Box((0, 0, 0), grid.shape).tiles((slices, *TILE_VOXELS[1:])):
        voxels = scene.voxelize(_box_with_halo(tile, grid, halo))
        micrograph = image_block(
            voxels.materials,
            voxels.membrane,
            voxels.instances,
            materials,
            microscope,
            np.random.default_rng(for_image),
            stain_scale,
        )
        annotation = annotate(
            voxels.classes,
            voxels.instances,
            structures,
            profile.annotator,
            np.random.default_rng(for_annotator),
        )
        truth = {
            "instances": voxels.instances,
            "organelles": voxels.organelles,
            "classes": voxels.classes,
            "materials": voxels.materials,
            "membrane": voxels.membrane,
            "annotation": annotation,
        }
        of_tile = {name: labels_on_image(volume, micrograph, microscope) for name, volume in truth.items()}
        of_tile[IMAGE] = micrograph.image
        # Where the tile begins in what was imaged: the halo may have held further sections.
        shown_from = round(micrograph.image.origin_nm[0] / grid.voxel_size_nm[0])
        skipped = (tile.origin[0] - shown_from, *halo[1:])
        inner = {name: volume.crop(skipped, tile.shape).data for name, volume in of_tile.items()}
        writer.write(inner, tile.origin)
        greys += np.bincount(inner[IMAGE].ravel(), minlength=256)
        bits += np.bincount(inner["annotation"].ravel(), minlength=256)
        if tile.origin[1:] == (0, 0):
            _gather(sampled, micrograph.parameters, skipped[0], tile.shape[0])
    if isinstance(microscope, BlockFaceSem):
        # Debris lies where it lies: the first tiles have not seen all of it.
        sampled |= sampled_artefacts(microscope, sampled["key"], size_nm, (0, 0, 0), grid.shape)
    elif isinstance(microscope, SsTem):
        field = Field2D((0, 0), grid.shape[1:], size_nm[1:])
        sampled |= sampled_sections(microscope, sampled["key"], range(grid.shape[0]), field)
    return sampled, _drawn_statistics(greys, bits)


def _halo(microscope: Microscope, annotator: AnnotatorStyle, size_nm: Triple) -> tuple[int, int, int]:
    """How many voxels (z, y, x) around a tile still change what it shows or what is drawn on it."""
    drawn = drawing_reach_nm(annotator)
    z, y, x = (
        max(blur, math.ceil((drawn + moved) / nm))
        for blur, moved, nm in zip(blur_reach(microscope, size_nm), label_reach_nm(microscope), size_nm, strict=True)
    )
    return z, y, x


def _box_with_halo(tile: Box, grid: ImageGrid, halo: tuple[int, int, int]) -> Box:
    """The voxels of the block that a tile of its image needs."""
    first, count = grid.slices_of_block(tile.origin[0], tile.shape[0])
    origin, shape = (first, *tile.origin[1:]), (count, *tile.shape[1:])
    (z, y, x), (depth, height, width) = (
        (low - around for low, around in zip(origin, halo, strict=True)),
        (whole + 2 * around for whole, around in zip(shape, halo, strict=True)),
    )
    return Box((z, y, x), (depth, height, width))


def drawing_reach_nm(style: AnnotatorStyle) -> float:
    """How far away, in nm, truth still changes what an annotator of this style draws."""
    return max(
        # A slice's band may be several standard deviations wider than the mean.
        (1 + 5 * style.width_jitter) * max(style.membrane_inside_nm, style.membrane_outside_nm),
        style.mitochondrion_outside_nm + style.mitochondrial_boundary_nm,
        style.psd_margin_nm + style.psd_widest_nm + style.psd_narrowest_nm,
        style.vesicle_cap_nm + style.vesicle_margin_nm,
        style.myelin_margin_nm,
    )


def _gather(sampled: dict[str, Any], of_slices: Mapping[str, Any], halo: int, count: int) -> None:
    """Add the sampled parameters of some slices: lists have one entry per slice, else it holds for the block."""
    for name, value in of_slices.items():
        if isinstance(value, list):
            sampled.setdefault(name, []).extend(value[halo : halo + count])
        else:
            sampled[name] = value


def _drawn_statistics(greys: NDArray[np.int64], bits: NDArray[np.int64]) -> dict[str, float]:
    """Share of the voxels that each class fills, and the image's grey levels, from histograms of both, (256,)."""
    masks = masks_from_bits(np.arange(256, dtype=np.uint8))
    shares = {
        f"annotated_{name}": float((bits * mask).sum() / bits.sum())
        for name, mask in zip(CLASS_NAMES, masks, strict=True)
    }
    levels = np.arange(256)
    mean = float((greys * levels).sum() / greys.sum())
    return shares | {"grey_mean": mean, "grey_sd": float(np.sqrt((greys * (levels - mean) ** 2).sum() / greys.sum()))}


def _write_cells(tissue: TissueBlock, folder: Path) -> None:
    (folder / "skeletons").mkdir()
    (folder / "meshes").mkdir()
    for cell in tissue.cells:
        name = f"{cell.id:05d}_{cell.kind}"
        write_swc(cell.skeleton, folder / "skeletons" / f"{name}.swc")
        mesh = trimesh.Trimesh(cell.vertices_um, cell.faces, process=False)
        mesh.export(folder / "meshes" / f"{name}.ply")


def _write_synapses(tissue: TissueBlock, path: Path) -> None:
    """One line per synapse. `on` is spine or shaft; ids of instances are those of labels/organelles, 0 for none."""
    columns = ["id", "pre_id", "post_id", "x_um", "y_um", "z_um", "psd_area_um2", "kind", "on", "head_volume_um3"]
    columns += ["psd_id", "active_zone_id", "cleft_id", "docked_vesicles", "vesicles"]
    with open(path, "w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(columns)
        for s in tissue.synapses:
            parts = tissue.synapse_parts[s.id]
            head = "" if s.head_volume_um3 is None else round(s.head_volume_um3, 6)
            row = [s.id, s.pre_id, s.post_id, *_rounded(s.position_um), round(s.psd_area_um2, 6), s.kind, s.on, head]
            row += [
                parts.psd_id,
                parts.active_zone_id,
                parts.cleft_id,
                len(parts.docked_ids),
                len(parts.docked_ids | parts.reserve_ids),
            ]
            table.writerow(row)


def _write_organelles(tissue: TissueBlock, path: Path) -> None:
    """One line per instance; a cell_id of 0 is between the cells."""
    with open(path, "w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["id", "structure", "cell_id", "volume_um3", "x_um", "y_um", "z_um"])
        for one in tissue.organelles:
            table.writerow([one.id, one.structure, one.cell_id, round(one.volume_um3, 9), *_rounded(one.centre_um)])


def _rounded(place_um: Iterable[float]) -> list[float]:
    return [round(float(value), 6) for value in place_um]

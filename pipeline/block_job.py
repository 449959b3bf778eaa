"""Block k of a data set: a pure function of recipe, seed and k, on disk in a folder of its own.

NNNNN.zarr/             an OME-Zarr group, opened as it is by viewers
  image/, labels/       micrograph; instances, classes, materials, membrane, annotation
  skeletons/*.swc       one per cell
  meshes/*.ply          one per cell
  synapses.csv          one line per synapse
  manifest.json         recipe, seed, versions, all that was sampled, certificates, statistics
  preview.png           the middle slice, and its cells in colours
"""

from __future__ import annotations

import csv
import json
import math
import shutil
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import trimesh
from numpy.typing import NDArray

from neuropil.morphology.neuron_class import load_class
from neuropil.morphology.swc import write_swc
from neuropil.simulate.annotator import AnnotatorStyle, annotate
from neuropil.simulate.fibsem import blur_reach, image_fibsem
from neuropil.simulate.materials import StructureTable, load_structures
from neuropil.tissue.block import TissueBlock, build_block
from neuropil.train.classes import CLASS_NAMES, masks_from_bits
from neuropil.voxelize.block_files import IMAGE, MANIFEST, write_block
from neuropil.voxelize.solid import Box, Part, Scene
from neuropil.voxelize.volume import Volume

from .pictures import grey_rgb, instance_overlay, side_by_side, write_png
from .recipe import Recipe

# Slices that are in memory with all their intermediate arrays at a time.
SLAB_SLICES = 32
_VERSIONS = ("neuropil", "numpy", "numba", "scipy", "trimesh", "zarr")


def block_folder(folder: Path, index: int) -> Path:
    """Where block `index` of a data set in `folder` lies."""
    return folder / f"{index:05d}.zarr"


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
    if is_finished(block):
        if not is_block_of(block, recipe, seed):
            raise ValueError(f"{block} was made from another recipe or seed; choose another folder or remove it")
        return block
    for left_by_a_killed_attempt in folder.glob(f".{block.stem}.*"):
        shutil.rmtree(left_by_a_killed_attempt)
    # A stage's random numbers do not depend on how many an earlier stage has used.
    for_tissue, for_image, for_annotator = np.random.SeedSequence([seed, index]).spawn(3)
    tissue = build_block(recipe.tissue, np.random.default_rng(for_tissue))
    structures = load_structures()
    arrays, sampled = _image(recipe, tissue, structures, for_image, for_annotator)
    image = arrays.pop("image")
    manifest = {
        "recipe": inputs_of_blocks(recipe),
        "seed": seed,
        "index": index,
        "versions": {name: version(name) for name in _VERSIONS},
        "microscope": sampled,
        "structures": {name: s.model_dump() for name, s in structures.structures.items()},
        "cells": [{"id": cell.id, "kind": cell.kind} for cell in tissue.cells],
        "certificates": {name: bool(holds) for name, holds in tissue.certificates.items()},
        "statistics": {name: float(value) for name, value in tissue.statistics.items()}
        | _drawn_statistics(image.data, arrays["annotation"].data),
    }
    names = {
        "classes": {s.class_id: name for name, s in structures.structures.items()},
        "materials": {m.id: name for name, m in recipe.load_appearance().materials.materials.items()},
    }

    def write_beside(unfinished: Path) -> None:
        _write_cells(tissue, unfinished)
        _write_synapses(tissue, unfinished / "synapses.csv")
        middle = image.data.shape[0] // 2
        grey, ids = image.data[middle], arrays["instances"].data[middle]
        write_png(side_by_side([grey_rgb(grey), instance_overlay(grey, ids)]), unfinished / "preview.png")

    write_block(block, image, arrays, manifest, names=names, beside=write_beside)
    return block


def is_block_of(block: Path, recipe: Recipe, seed: int) -> bool:
    """Whether the finished block in the folder `block` was made from this recipe and seed."""
    made = read_manifest(block)
    return bool(made["recipe"] == inputs_of_blocks(recipe) and made["seed"] == seed)


def inputs_of_blocks(recipe: Recipe) -> dict[str, Any]:
    """What of a recipe decides a block's bytes, as JSON keeps it, the files that it names included."""
    appearance = recipe.load_appearance()
    own = recipe.model_dump(mode="json", include={"tissue", "voxel_size_nm"})
    classes = {key: load_class(name) for key, name in recipe.tissue if key.endswith("_class")}
    look = {
        "profile": appearance.profile.model_dump(mode="json", exclude={"provenance"}),
        "materials": appearance.materials.model_dump(mode="json"),
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
            )
        )
    return parts


def _image(
    recipe: Recipe,
    tissue: TissueBlock,
    structures: StructureTable,
    for_image: np.random.SeedSequence,
    for_annotator: np.random.SeedSequence,
) -> tuple[dict[str, Volume], dict[str, Any]]:
    """Image and labels of the block, and all that the microscope sampled.

    The block is worked through in slabs of slices. Each is voxelized with a halo as wide as blur and
    annotators reach, so that no face of a slab or of the block shows, and random numbers go by absolute voxel.
    """
    size_nm = recipe.voxel_size_nm
    appearance = recipe.load_appearance()
    profile, materials = appearance.profile, appearance.materials
    microscope = profile.microscope
    ids = {name: material.id for name, material in materials.materials.items()}
    scene = Scene(tissue_parts(tissue, structures, ids), size_nm)
    depth, height, width = (
        max(1, round(um * 1000 / nm)) for um, nm in zip(reversed(tissue.size_um), size_nm, strict=True)
    )
    drawn = drawing_reach_nm(profile.annotator)
    halo_z, halo_y, halo_x = (
        max(blur, math.ceil(drawn / nm)) for blur, nm in zip(blur_reach(microscope, size_nm), size_nm, strict=True)
    )
    types = {
        "image": np.uint8,
        "instances": np.uint32,
        "classes": np.uint8,
        "materials": np.uint8,
        "membrane": np.uint8,
        "annotation": np.uint8,
    }
    arrays = {name: np.empty((depth, height, width), dtype) for name, dtype in types.items()}
    sampled: dict[str, Any] = {}
    for first in range(0, depth, SLAB_SLICES):
        count = min(SLAB_SLICES, depth - first)
        box = Box((first - halo_z, -halo_y, -halo_x), (count + 2 * halo_z, height + 2 * halo_y, width + 2 * halo_x))
        voxels = scene.voxelize(box)
        micrograph = image_fibsem(
            voxels.materials,
            voxels.membrane,
            voxels.instances,
            materials,
            microscope,
            np.random.default_rng(for_image),
        )
        annotation = annotate(
            voxels.classes,
            voxels.instances,
            structures,
            profile.annotator,
            np.random.default_rng(for_annotator),
        )
        of_slab = {
            "image": micrograph.image,
            "instances": voxels.instances,
            "classes": voxels.classes,
            "materials": voxels.materials,
            "membrane": voxels.membrane,
            "annotation": annotation,
        }
        for name, volume in of_slab.items():
            inner = volume.crop((halo_z, halo_y, halo_x), (count, height, width))
            arrays[name][first : first + count] = inner.data
        _gather(sampled, micrograph.parameters, halo_z, count)
    return {name: Volume(array, size_nm) for name, array in arrays.items()}, sampled


def drawing_reach_nm(style: AnnotatorStyle) -> float:
    """How far away, in nm, truth still changes what an annotator of this style draws."""
    return max(
        # A slice's band may be several standard deviations wider than the mean.
        (1 + 5 * style.width_jitter) * max(style.membrane_inside_nm, style.membrane_outside_nm),
        style.mitochondrion_outside_nm + style.mitochondrial_boundary_nm,
        style.psd_margin_nm,
        style.vesicle_cap_nm + style.vesicle_margin_nm,
        style.myelin_margin_nm,
    )


def _gather(sampled: dict[str, Any], of_slab: Mapping[str, Any], halo: int, count: int) -> None:
    """Add a slab's sampled parameters: lists have one entry per slice, anything else holds for the block."""
    for name, value in of_slab.items():
        if isinstance(value, list):
            sampled.setdefault(name, []).extend(value[halo : halo + count])
        else:
            sampled[name] = value


def _drawn_statistics(image: NDArray[np.uint8], annotation: NDArray[np.uint8]) -> dict[str, float]:
    """Share of the voxels that each class fills, and the image's grey levels."""
    histogram = np.bincount(annotation.ravel(), minlength=256)
    masks = masks_from_bits(np.arange(256, dtype=np.uint8))
    shares = {
        f"annotated_{name}": float((histogram * mask).sum() / annotation.size)
        for name, mask in zip(CLASS_NAMES, masks, strict=True)
    }
    return shares | {"grey_mean": float(image.mean()), "grey_sd": float(image.std(dtype=np.float64))}


def _write_cells(tissue: TissueBlock, folder: Path) -> None:
    (folder / "skeletons").mkdir()
    (folder / "meshes").mkdir()
    for cell in tissue.cells:
        name = f"{cell.id:05d}_{cell.kind}"
        write_swc(cell.skeleton, folder / "skeletons" / f"{name}.swc")
        mesh = trimesh.Trimesh(cell.vertices_um, cell.faces, process=False)
        mesh.export(folder / "meshes" / f"{name}.ply")


def _write_synapses(tissue: TissueBlock, path: Path) -> None:
    with open(path, "w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["id", "pre_id", "post_id", "x_um", "y_um", "z_um", "psd_area_um2", "kind"])
        for s in tissue.synapses:
            x, y, z = (round(float(v), 6) for v in s.position_um)
            table.writerow([s.id, s.pre_id, s.post_id, x, y, z, round(s.psd_area_um2, 6), s.kind])

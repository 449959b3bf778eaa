"""Blocks of virtual tissue to calibrate with: made once, kept as arrays in a run's folder."""

from __future__ import annotations

import functools
import hashlib
import json
from importlib import resources
from pathlib import Path

import numpy as np

from neuropil import morphology, tissue, voxelize
from neuropil.simulate.look import THICK, Specimen
from neuropil.simulate.materials import PLASMA_MEMBRANE_NM, StructureTable, load_materials, load_structures
from neuropil.simulate.truth import Truth
from neuropil.tissue.block import build_block
from neuropil.tissue.parameters import TissueParameters
from neuropil.voxelize.replacement import replacing
from neuropil.voxelize.solid import Box, Scene, VoxelBlock
from neuropil.voxelize.volume import Triple, Volume

from .block_job import drawn_stain_scale, tissue_parts

_ARRAYS = ("materials", "membrane", "instances", "classes", "thick_membrane")


def load_specimen(
    parameters: TissueParameters, shape: tuple[int, int, int], voxel_size_nm: Triple, seed: int, folder: Path
) -> Specimen:
    """The middle voxels (z, y, x) of a block of tissue; made, and kept in `folder`, unless it is there.

    The file's name holds a hash of all that decides it, the code that makes tissue and its data included.
    """
    inputs = [parameters.model_dump(mode="json"), shape, voxel_size_nm, load_structures().model_dump(mode="json")]
    inputs.append(_code_digest())
    digest = hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()[:12]
    file = folder / f"{seed:05d}-{digest}.npz"
    if not file.is_file():
        arrays = _make(parameters, shape, voxel_size_nm, seed)
        with replacing(file) as unfinished:
            np.savez_compressed(unfinished, **arrays)
    with np.load(file) as kept:
        volumes = {name: Volume(kept[name], voxel_size_nm) for name in _ARRAYS}
        thick = volumes.pop("thick_membrane")
        return Specimen(Truth(**volumes), thick, kept["stain_scale"])


@functools.cache
def _code_digest() -> str:
    """Hash of the code, and of the classes and tissues of assets, that decide what a block of tissue is."""
    digest = hashlib.sha256()
    folders = [Path(package.__file__).parent for package in (morphology, tissue, voxelize) if package.__file__]
    files = [file for folder in folders for file in folder.rglob("*.py")]
    assets = Path(str(resources.files("neuropil.assets")))
    files += [file for name in ("classes", "tissues") for file in (assets / name).rglob("*.yaml")]
    for file in sorted(files):
        digest.update(file.name.encode() + file.read_bytes())
    return digest.hexdigest()


def _make(
    parameters: TissueParameters, shape: tuple[int, int, int], voxel_size_nm: Triple, seed: int
) -> dict[str, np.ndarray]:
    for_tissue, for_stain = np.random.SeedSequence([seed, 0]).spawn(2)
    block = build_block(parameters, np.random.default_rng(for_tissue))
    ids = {name: material.id for name, material in load_materials().materials.items()}
    sizes = zip(block.size_um[::-1], voxel_size_nm, shape, strict=True)
    z, y, x = (max(0, (round(um * 1000 / nm) - count) // 2) for um, nm, count in sizes)
    box = Box((z, y, x), shape)

    def voxels(structures: StructureTable) -> VoxelBlock:
        return Scene(iter(tissue_parts(block, structures, ids)), voxel_size_nm).voxelize(box)

    thin = voxels(load_structures())
    thick = voxels(load_structures().with_plasma_membranes(THICK * PLASMA_MEMBRANE_NM))
    arrays = {name: getattr(thin, name).data for name in _ARRAYS if name != "thick_membrane"}
    scale = drawn_stain_scale(parameters, block, np.random.default_rng(for_stain))
    return arrays | {"thick_membrane": thick.membrane.data, "stain_scale": scale}

"""The block of tissue that benchmarks work on: the default recipe's neuropil, packed and filled, cut to size."""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from neuropil.pipeline.block_job import tissue_parts
from neuropil.pipeline.recipe import load_recipe
from neuropil.simulate.materials import load_structures
from neuropil.tissue.block import TissueBlock, build_block
from neuropil.tissue.parameters import TissueParameters
from neuropil.voxelize.solid import Box, Part

RECIPE = "default"
VOXEL_NM = (5.0, 5.0, 5.0)


def tissue_parameters(edge_um: float) -> TissueParameters:
    """The recipe's tissue, as a cube."""
    return load_recipe(RECIPE).tissue.model_copy(update={"size_um": (edge_um,) * 3})


@dataclass(frozen=True)
class Solids:
    """All solids of a block in painter's order, and the block's voxels."""

    parts: list[Part]
    box: Box

    def describe(self) -> str:
        faces = sum(len(part.faces) for part in self.parts)
        z, y, x = self.box.shape
        return f"{len(self.parts)} closed meshes, {faces} faces, {z} × {y} × {x} voxels of {VOXEL_NM[0]:g} nm"


def solids_of(tissue: TissueBlock) -> Solids:
    materials = load_recipe(RECIPE).load_appearance().materials.materials
    parts = tissue_parts(tissue, load_structures(), {name: material.id for name, material in materials.items()})
    z, y, x = (round(um * 1000 / nm) for um, nm in zip(reversed(tissue.size_um), VOXEL_NM, strict=True))
    return Solids(parts, Box((0, 0, 0), (z, y, x)))


def build_solids(edge_um: float, seed: int) -> Solids:
    return solids_of(build_block(tissue_parameters(edge_um), np.random.default_rng(seed)))


def save(thing: object, path: Path) -> None:
    path.write_bytes(pickle.dumps(thing, protocol=5))


def load(path: Path) -> object:
    return pickle.loads(path.read_bytes())

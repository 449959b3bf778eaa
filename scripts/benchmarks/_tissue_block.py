"""The block of tissue that benchmarks work on: the default recipe's neuropil, packed and filled, cut to size."""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from neuropil.tissue.parameters import TissueParameters
from neuropil.voxelize.solid import Box, Part

if TYPE_CHECKING:
    from neuropil.pipeline.recipe import Recipe

RECIPE = "default"
VOXEL_NM = (5.0, 5.0, 5.0)


def load_recipe() -> Recipe:
    """The recipe whose tissue is measured."""
    # Its libraries take seconds to load, and most contenders do without.
    from neuropil.pipeline import recipe

    return recipe.load_recipe(RECIPE)


def tissue_parameters(edge_um: float) -> TissueParameters:
    """The recipe's tissue, as a cube."""
    return load_recipe().tissue.model_copy(update={"size_um": (edge_um,) * 3})


@dataclass(frozen=True)
class Solids:
    """All solids of a block in painter's order, and the block's voxels."""

    parts: list[Part]
    box: Box

    def describe(self) -> str:
        faces = sum(len(part.faces) for part in self.parts)
        z, y, x = self.box.shape
        return f"{len(self.parts)} closed meshes, {faces} faces, {z} × {y} × {x} voxels of {VOXEL_NM[0]:g} nm"


def build_solids(edge_um: float, seed: int) -> Solids:
    """Pack and fill a cube of tissue."""
    from neuropil.pipeline.block_job import tissue_parts
    from neuropil.simulate.materials import load_structures
    from neuropil.tissue.block import build_block

    tissue = build_block(tissue_parameters(edge_um), np.random.default_rng(seed))
    materials = load_recipe().load_appearance().materials.materials
    parts = tissue_parts(tissue, load_structures(), {name: material.id for name, material in materials.items()})
    edge = round(edge_um * 1000 / VOXEL_NM[0])
    return Solids(parts, Box((0, 0, 0), (edge, edge, edge)))


def save(thing: object, path: Path) -> None:
    path.write_bytes(pickle.dumps(thing, protocol=5))


def load(path: Path) -> object:
    return pickle.loads(path.read_bytes())

"""Blocks of a recipe with a randomised profile: each its own look, written down, and the same again."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from neuropil.pipeline.block_job import make_block, read_manifest
from neuropil.pipeline.recipe import load_recipe
from neuropil.voxelize.block_files import read_block


def test_each_block_is_drawn_anew_and_the_same_again(tiny_recipe: Path, tmp_path: Path) -> None:
    recipe = load_recipe(str(tiny_recipe)).model_copy(update={"profile": "randomised_fibsem"})
    blocks = [make_block(recipe, 3, index, tmp_path / "one") for index in range(2)]
    first, second = (read_manifest(block)["profile"] for block in blocks)
    assert first["microscope"]["lateral_fwhm_nm"] != second["microscope"]["lateral_fwhm_nm"]
    assert first["stains"]["membrane"] != second["stains"]["membrane"]
    again = make_block(recipe, 3, 1, tmp_path / "other")
    images = [read_block(block).volume("image").data for block in (blocks[1], again)]
    assert np.array_equal(*images) and images[0].std() > 3.0

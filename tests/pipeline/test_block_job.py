from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from neuropil.morphology.swc import read_swc
from neuropil.pipeline import block_job
from neuropil.pipeline.block_job import array_in_block, block_folder, make_block, read_manifest
from neuropil.pipeline.recipe import load_recipe
from neuropil.tissue.block import TissueBlock, build_block
from neuropil.voxelize.block_files import read_block
from neuropil.voxelize.volume_files import read_volume


@pytest.fixture(scope="module")
def tiny_tissue(tiny_recipe: Path) -> TissueBlock:
    """The tissue of the tiny recipe's block 0, as `make_block` draws it."""
    recipe = load_recipe(str(tiny_recipe))
    for_tissue = np.random.SeedSequence([recipe.seed, 0]).spawn(3)[0]
    return build_block(recipe.tissue, np.random.default_rng(for_tissue))


def test_arrays_agree_with_recipe_and_each_other(tiny_blocks: Path) -> None:
    block = read_block(block_folder(tiny_blocks, 0))
    assert block.voxel_size_nm == (10, 10, 10)
    assert block.shape_zyx == (40, 60, 60)
    arrays = {name: block.volume(name).data for name in ("image", *block.labels)}
    assert set(arrays) == {"image", "instances", "organelles", "classes", "materials", "membrane", "annotation"}
    assert 20 < arrays["image"].mean() < 235
    # Extracellular space is where no cell is, in every array.
    outside = arrays["instances"] == 0
    assert 0.01 < outside.mean() < 0.5
    assert set(np.unique(arrays["classes"][outside])) <= {0, 10}
    assert (arrays["classes"][~outside] > 0).all()
    assert block.names["classes"][1] == "axon"
    kinds = {cell["id"]: cell["kind"] for cell in block.manifest["cells"]}
    assert set(np.unique(arrays["instances"])) - {0} <= set(kinds)


def test_what_lies_beside_the_arrays(tiny_blocks: Path) -> None:
    block = block_folder(tiny_blocks, 0)
    manifest = read_manifest(block)
    skeletons = sorted((block / "skeletons").glob("*.swc"))
    assert [f.stem for f in skeletons] == [f.stem for f in sorted((block / "meshes").glob("*.ply"))]
    assert len(skeletons) == len(manifest["cells"])
    assert len(read_swc(skeletons[0])) > 1
    with open(block / "synapses.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    ids = {cell["id"] for cell in manifest["cells"]}
    assert all(int(row["pre_id"]) in ids and int(row["post_id"]) in ids for row in rows)
    with open(block / "organelles.csv", newline="") as file:
        structures = {int(row["id"]): row["structure"] for row in csv.DictReader(file)}
    labels = read_block(block).volume("organelles").data
    assert set(np.unique(labels)) - {0} <= set(structures)
    for row in rows:
        assert {structures.get(int(row["psd_id"]), "psd"), structures.get(int(row["cleft_id"]), "cleft")} == {
            "psd",
            "cleft",
        }
    for cell in manifest["cells"]:
        assert cell["stain"]["membrane"]["os"] > 0
    assert len({cell["stain"]["membrane"]["os"] for cell in manifest["cells"]}) > 1
    scale = block_job.recorded_stain_scale(manifest)
    assert [scale[cell["id"]] for cell in manifest["cells"]] == pytest.approx(
        [cell["stain_scale"] for cell in manifest["cells"]]
    )
    assert np.std(scale[1:]) > 0
    assert (block / "preview.png").stat().st_size > 1000
    assert manifest["seed"] == 3
    assert manifest["recipe"]["tissue"]["size_um"] == [0.6, 0.6, 0.4]
    assert manifest["recipe"]["profile"]["microscope"]["landing_energy_kev"] > 0
    assert manifest["statistics"]["annotated_membrane"] > 0.02
    assert len(manifest["microscope"]["drift_gain"]) == 40
    assert set(manifest["certificates"].values()) <= {True, False}


@pytest.mark.parametrize("tile", [(8, 256, 256), (32, 16, 48), (40, 60, 60)])
def test_tiles_do_not_show(
    tile: tuple[int, int, int],
    tiny_recipe: Path,
    tiny_blocks: Path,
    tiny_tissue: TissueBlock,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    files_of: Callable[[Path], dict[str, bytes]],
) -> None:
    recipe = load_recipe(str(tiny_recipe))
    monkeypatch.setattr(block_job, "build_block", lambda parameters, rng: tiny_tissue)
    monkeypatch.setattr(block_job, "TILE_VOXELS", tile)
    make_block(recipe, recipe.seed, 0, tmp_path)
    assert files_of(block_folder(tmp_path, 0)) == files_of(block_folder(tiny_blocks, 0))


def test_another_seed_and_another_index_differ(tiny_recipe: Path, tiny_blocks: Path, tmp_path: Path) -> None:
    recipe = load_recipe(str(tiny_recipe))
    first, second = (read_block(block_folder(tiny_blocks, k)).volume("image").data for k in (0, 1))
    make_block(recipe, recipe.seed + 1, 0, tmp_path)
    other = read_block(block_folder(tmp_path, 0)).volume("image").data
    for image in (second, other):
        assert (image != first).mean() > 0.5


def test_finished_block_is_left_alone_and_never_mixed(tiny_recipe: Path, tiny_blocks: Path) -> None:
    recipe = load_recipe(str(tiny_recipe))
    block = block_folder(tiny_blocks, 0)
    before = block.stat().st_mtime_ns
    assert make_block(recipe, recipe.seed, 0, tiny_blocks) == block
    assert block.stat().st_mtime_ns == before
    with pytest.raises(ValueError, match="another recipe or seed"):
        make_block(recipe, recipe.seed + 1, 0, tiny_blocks)
    wider = recipe.model_copy(update={"tissue": recipe.tissue.model_copy(update={"gap_nm": 20.0})})
    with pytest.raises(ValueError, match="another recipe or seed"):
        make_block(wider, recipe.seed, 0, tiny_blocks)


def test_arrays_of_a_block_are_volumes(tiny_blocks: Path) -> None:
    block = block_folder(tiny_blocks, 0)
    for name in ("image", "instances"):
        volume = read_volume(array_in_block(str(block), name))
        assert volume.shape_zyx == (40, 60, 60)
        assert volume.voxel_size_nm == (10, 10, 10)
    assert array_in_block("some.tif", "image") == "some.tif"

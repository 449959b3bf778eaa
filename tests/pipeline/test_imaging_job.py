"""Blocks through every microscope, and blocks that are written on the grid of sections."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml
from scipy import ndimage

from neuropil.pipeline.block_job import block_folder, make_block, read_manifest
from neuropil.pipeline.imaging_job import parameters_file
from neuropil.pipeline.recipe import load_recipe
from neuropil.simulate.materials import read_asset
from neuropil.train.labelled_volume import load_block
from neuropil.voxelize.block_files import read_block, write_block
from neuropil.voxelize.volume import Volume
from neuropil.voxelize.volume_files import read_volume

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="session")
def sections(tiny_recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a block of sections of 50 nm, shifted by a few nm."""
    folder = tmp_path_factory.mktemp("sections")
    microscope = read_asset("microscopes", "sstem")[0] | {"folds": None, "tears": None}
    profile = read_asset("profiles", "epfl_ca1")[0] | {"microscope": microscope}
    (folder / "profile.yaml").write_text(yaml.safe_dump(profile))
    recipe = load_recipe(str(tiny_recipe)).model_copy(update={"profile": str(folder / "profile.yaml")})
    return make_block(recipe, 3, 0, folder)


def test_a_block_of_sections_has_labels_on_their_grid(sections: Path) -> None:
    block = read_block(sections)
    assert block.shape_zyx == (8, 60, 60)
    assert block.voxel_size_nm == (50.0, 10.0, 10.0)
    made = read_manifest(sections)["microscope"]
    assert [one["index"] for one in made["sections"]] == list(range(8))
    image, bits = (block.volume(name).data for name in ("image", "annotation"))
    drawn = bits & 0b100 > 0
    assert image[~drawn].mean() - image[drawn].mean() > 15
    assert load_block(sections).planes == ("z",)


def test_sections_are_those_of_the_whole_block(sections: Path, tiny_blocks: Path) -> None:
    """The tissue of the same seed on fine voxels, cut by hand where the manifest says."""
    fine = read_block(block_folder(tiny_blocks, 0)).volume("instances").data
    cut = read_block(sections).volume("instances").data
    for plane, one in zip(cut, read_manifest(sections)["microscope"]["sections"], strict=True):
        y, x = (round(shift / 10) for shift in one["shift_nm"])
        whole = fine[min(int(one["middle_nm"] / 10), 39)]
        rows, columns = (np.clip(np.arange(60) + shift, 0, 59) for shift in (y, x))
        expected = whole[np.ix_(rows, columns)]
        # The sections' smooth warp, of some nm, shows within two voxels of a membrane only.
        deep = ndimage.minimum_filter(expected, 5) == ndimage.maximum_filter(expected, 5)
        inside = (slice(8, -8), slice(8, -8))
        assert deep[inside].mean() > 0.3
        assert (plane == expected)[inside][deep[inside]].all()


def test_sections_cannot_be_imaged_again(command: Command, sections: Path, tmp_path: Path) -> None:
    code, _, err = command("image", sections, "-o", tmp_path / "again.tif")
    assert code == 2
    assert "holds sections, not the tissue between them" in err


def test_a_block_through_another_microscope(command: Command, tiny_blocks: Path, tmp_path: Path) -> None:
    block, out = block_folder(tiny_blocks, 0), tmp_path / "ss.tif"
    code, said, err = command("image", block, "--microscope", "sstem", "-o", out, "--labels", tmp_path / "cells.nii.gz")
    assert (code, said.split()) == (0, [str(out), f"{out}.json"]), err
    image, cells = read_volume(out), read_volume(tmp_path / "cells.nii.gz")
    assert image.shape_zyx == cells.shape_zyx == (8, 60, 60)
    assert image.voxel_size_nm == cells.voxel_size_nm == (50.0, 10.0, 10.0)
    sampled = json.loads((tmp_path / "ss.tif.json").read_text())
    assert sampled["microscope"]["modality"] == "sstem"
    assert len(sampled["sections"]) == 8


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("sbfsem", (40, 60, 60)),
        ("widefield", (1, 6, 6)),
        ("confocal", (2, 8, 8)),
        ("xray_absorption", (4, 6, 6)),
        ("xray_phase", (8, 12, 12)),
        ("swc2img", (40, 60, 60)),
    ],
)
def test_every_modality_has_its_own_voxels(
    name: str, shape: tuple[int, int, int], command: Command, tiny_blocks: Path, tmp_path: Path
) -> None:
    out, labels = tmp_path / "out.h5:image", tmp_path / "cells.nii.gz"
    mine = tmp_path / "mine.yaml"
    cheaper = {"xray_absorption": {"projections": 20}, "xray_phase": {"projections": 20}}
    cheaper |= {"widefield": {"psf": "gaussian"}, "confocal": {"psf": "gaussian"}}
    mine.write_text(yaml.safe_dump(read_asset("microscopes", name)[0] | cheaper.get(name, {})))
    code, _, err = command("image", block_folder(tiny_blocks, 0), "--microscope", mine, "-o", out, "--labels", labels)
    assert code == 0, err
    image, cells = read_volume(str(out)), read_volume(labels)
    assert image.shape_zyx == cells.shape_zyx == shape
    assert image.voxel_size_nm == cells.voxel_size_nm
    assert json.loads((tmp_path / "out.h5.json").read_text())["microscope"]["modality"] == name


@pytest.fixture
def circuit(tmp_path: Path) -> Path:
    """A block as a circuit's is: a cell with id 1 and a vessel with id 2, and how much of each voxel they fill."""
    size = (1000.0, 300.0, 300.0)
    ids, share = np.zeros((4, 40, 40), np.uint32), np.zeros((4, 40, 40), np.uint16)
    ids[:, 8:12], ids[:, 28:32] = 1, 2
    share[ids > 0] = 65535
    labels = {"instances": Volume(ids, size), "volume_fraction": Volume(share, size)}
    cells = [{"id": 1, "kind": "cortical_pyramidal"}, {"id": 2, "kind": "vessel"}]
    write_block(tmp_path / "circuit.zarr", None, labels, {"cells": cells})
    return tmp_path / "circuit.zarr"


@pytest.mark.parametrize("name", ["two_photon", "swc2img"])
def test_cells_of_a_circuit_shine_and_its_vessels_do_not(
    name: str, command: Command, circuit: Path, tmp_path: Path
) -> None:
    mine = tmp_path / "mine.yaml"
    labelled = {"labelled_share": 1.0} if name == "two_photon" else {"correlation_um": 0.0}
    mine.write_text(yaml.safe_dump(read_asset("microscopes", name)[0] | labelled))
    code, _, err = command("image", circuit, "--microscope", mine, "-o", tmp_path / "out.tif")
    assert code == 0, err
    image = read_volume(tmp_path / "out.tif")
    assert image.voxel_size_nm == (1000.0, 300.0, 300.0)
    cell, vessel, empty = (image.data[:, low : low + 2].mean() for low in (9, 29, 18))
    assert cell > 3 * empty
    assert vessel == pytest.approx(empty, rel=0.15)


def test_a_circuit_holds_no_materials_for_electrons(command: Command, circuit: Path, tmp_path: Path) -> None:
    code, _, err = command("image", circuit, "--microscope", "fibsem", "-o", tmp_path / "out.tif")
    assert code == 2
    assert "holds no materials, which a microscope of modality fibsem images" in err


def test_a_block_smaller_than_a_voxel(command: Command, tiny_blocks: Path, tmp_path: Path) -> None:
    block = block_folder(tiny_blocks, 0)
    code, _, err = command("image", block, "--microscope", "two_photon", "-o", tmp_path / "out.tif")
    assert code == 2
    assert "400 nm long in z, from 0 nm on, which holds no whole voxel of the microscope's 500 nm" in err


def test_blocks_are_generated_with_electrons_alone(command: Command, tiny_recipe: Path, tmp_path: Path) -> None:
    microscope = read_asset("microscopes", "confocal")[0]
    profile = read_asset("profiles", "epfl_ca1")[0] | {"microscope": microscope}
    (tmp_path / "profile.yaml").write_text(yaml.safe_dump(profile))
    recipe = yaml.safe_load(tiny_recipe.read_text()) | {"profile": str(tmp_path / "profile.yaml")}
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    code, _, err = command("generate", tmp_path / "recipe.yaml", "-o", tmp_path / "out")
    assert code != 0
    assert "not of one of modality confocal; image them with neuropil image" in err


def test_parameters_lie_beside_the_image() -> None:
    assert parameters_file("a/b.h5:volumes/raw") == Path("a/b.h5.json")
    assert parameters_file("slices/") == Path("slices.json")


@pytest.mark.parametrize(
    ("key", "value", "sentence"),
    [
        ("voltage_kv", 300, "sstem: voltage_kv is 300; sections are imaged at 80 to 120 kV"),
        ("modality", "light", "modality has to be one of"),
        ("colour", "red", "unknown key sstem.colour (value 'red'); allowed keys are modality, name"),
        ("section_thickness_nm", 5000, "section_thickness_nm is 5000, but input should be less than or equal to 250"),
    ],
)
def test_a_wrong_microscope_is_refused_in_a_sentence(
    key: str, value: object, sentence: str, command: Command, tiny_blocks: Path, tmp_path: Path
) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(yaml.safe_dump(read_asset("microscopes", "sstem")[0] | {key: value}))
    block = block_folder(tiny_blocks, 0)
    code, _, err = command("image", block, "--microscope", file, "-o", tmp_path / "out.tif")
    assert code == 2
    assert sentence in err
    assert not (tmp_path / "out.tif").exists()

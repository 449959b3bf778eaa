"""The command line as a user meets it: mistakes cost one sentence and exit code 2, and leave nothing behind."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.ndimage import gaussian_filter

from neuropil.pipeline import block_workers
from neuropil.pipeline.block_job import block_folder
from neuropil.train.classes import CLASS_NAMES
from neuropil.voxelize.block_files import read_block
from neuropil.voxelize.volume import Volume
from neuropil.voxelize.volume_files import read_volume, write_volume

Command = Callable[..., tuple[int, str, str]]


def _is_one_sentence(text: str) -> bool:
    return text.startswith("neuropil: ") and text.count("\n") == 1 and "Traceback" not in text


@pytest.fixture
def refused(command: Command) -> Callable[..., str]:
    """The one sentence with which a command is refused."""

    def run(*arguments: object) -> str:
        code, out, err = command(*arguments)
        assert (code, out) == (2, "")
        assert _is_one_sentence(err), err
        return err

    return run


def _changed(recipe: Path, folder: Path, old: str, new: str) -> Path:
    text = recipe.read_text()
    assert old in text
    changed = folder / "changed.yaml"
    changed.write_text(text.replace(old, new))
    return changed


def test_unknown_recipe_key(refused: Callable[..., str], tiny_recipe: Path, tmp_path: Path) -> None:
    recipe = _changed(tiny_recipe, tmp_path, "margin_um", "colour")
    sentence = refused("generate", recipe, "-o", tmp_path / "out")
    assert "changed.yaml" in sentence
    assert "tissue.colour" in sentence
    assert not (tmp_path / "out").exists()


def test_negative_radius(refused: Callable[..., str], tiny_recipe: Path, tmp_path: Path) -> None:
    recipe = _changed(tiny_recipe, tmp_path, "margin_um: 0.05", "thinnest_radius_um: -1")
    sentence = refused("run", "--recipe", recipe, "-o", tmp_path / "out")
    assert "tissue.thinnest_radius_um is -1" in sentence
    assert not (tmp_path / "out").exists()


def test_class_that_does_not_exist(refused: Callable[..., str], tiny_recipe: Path, tmp_path: Path) -> None:
    recipe = _changed(tiny_recipe, tmp_path, "margin_um: 0.05", "axon_class: giant")
    sentence = refused("generate", recipe, "-o", tmp_path / "out")
    assert "'giant'" in sentence
    assert "unmyelinated_axon" in sentence
    assert not (tmp_path / "out").exists()


def test_swc_with_a_cycle(refused: Callable[..., str], tmp_path: Path) -> None:
    swc = tmp_path / "cycle.swc"
    swc.write_text("1 3 0 0 0 1 3\n2 3 1 0 0 1 1\n3 3 2 0 0 1 2\n")
    sentence = refused("view", swc, "-o", tmp_path / "cycle.png")
    assert "cycle.swc" in sentence
    assert not (tmp_path / "cycle.png").exists()


def test_neurons_from_an_swc_with_a_cycle(refused: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "cycle.swc").write_text("1 3 0 0 0 1 3\n2 3 1 0 0 1 1\n3 3 2 0 0 1 2\n")
    (tmp_path / "neurons.yaml").write_text("seed: 1\nneurons:\n  - swc: cycle.swc\n")
    sentence = refused("build", tmp_path / "neurons.yaml", "-o", tmp_path / "out")
    assert "cycle.swc" in sentence or "Blender" in sentence
    assert not (tmp_path / "out").exists()


def test_swc_with_a_negative_radius(refused: Callable[..., str], tmp_path: Path) -> None:
    swc = tmp_path / "thin.swc"
    swc.write_text("1 3 0 0 0 1 -1\n2 3 1 0 0 -2 1\n")
    assert "radius is -2" in refused("view", swc, "-o", tmp_path / "thin.png")


@pytest.mark.parametrize(
    "arguments",
    [
        ("run", "--recipe", "absent.yaml"),
        ("generate", "absent.yaml", "-o", "out"),
        ("image", "absent", "-o", "out.tif"),
        ("train", "absent", "-o", "out"),
        ("segment", "absent", "absent.tif", "-o", "out.tif"),
        ("evaluate", "absent.tif", "absent.tif"),
        ("view", "absent.tif", "-o", "out.png"),
        ("export", "absent.tif", "out.nii.gz"),
    ],
)
def test_missing_file(
    arguments: tuple[str, ...],
    refused: Callable[..., str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert "absent" in refused(*arguments)
    assert list(tmp_path.iterdir()) == []


def test_recipe_that_is_not_shipped(refused: Callable[..., str], tmp_path: Path) -> None:
    assert "default" in refused("run", "--recipe", "nonsense", "-o", tmp_path / "out")


def test_volume_of_wrong_dimension(refused: Callable[..., str], tmp_path: Path) -> None:
    masks = Volume(np.zeros((6, 2, 3, 4), np.uint8), (5, 5, 5), axes="czyx", channels=tuple("abcdef"))
    write_volume(masks, tmp_path / "masks.tif")
    sentence = refused("evaluate", tmp_path / "masks.tif", tmp_path / "masks.tif", "--objects")
    assert "has channels" in sentence
    assert "channels" in refused("view", tmp_path / "masks.tif", "-o", tmp_path / "out.png")
    assert not (tmp_path / "out.png").exists()


def test_shapes_that_differ(refused: Callable[..., str], tmp_path: Path) -> None:
    for name, depth in (("one", 2), ("other", 3)):
        write_volume(Volume(np.zeros((depth, 3, 4), np.uint8), (5, 5, 5)), tmp_path / f"{name}.tif")
    assert "(2, 3, 4)" in refused("evaluate", tmp_path / "one.tif", tmp_path / "other.tif")


def test_output_that_cannot_be_written(refused: Callable[..., str], tiny_recipe: Path, tmp_path: Path) -> None:
    occupied = tmp_path / "file"
    occupied.write_text("mine")
    assert str(occupied) in refused("generate", tiny_recipe, "-o", occupied)
    assert str(occupied) in refused("run", "--recipe", tiny_recipe, "-o", occupied / "below")
    assert occupied.read_text() == "mine"
    source = tmp_path / "source.tif"
    write_volume(Volume(np.zeros((2, 3, 4), np.uint8), (5, 5, 5)), source)
    assert str(occupied) in refused("export", source, occupied / "below.nii.gz")


@pytest.mark.parametrize("blocks", ["5:2", "5:5", "0", "x", "1:x", "-1:3", ":4", "1:2:3", "1.5", ""])
def test_blocks_that_are_no_range(blocks: str, refused: Callable[..., str], tiny_recipe: Path, tmp_path: Path) -> None:
    sentence = refused("generate", tiny_recipe, f"--blocks={blocks}", "-o", tmp_path / "out")
    assert f"--blocks is {blocks!r}" in sentence
    assert "A:B" in sentence
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:1", "nowhere", "ftp://host:8786"])
def test_scheduler_that_does_not_answer(
    address: str,
    refused: Callable[..., str],
    tiny_recipe: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(block_workers, "SECONDS_TO_ANSWER", 0.5)
    sentence = refused("generate", tiny_recipe, "--scheduler", address, "-o", tmp_path / "out")
    assert f"--scheduler is {address}" in sentence
    assert list((tmp_path / "out").iterdir()) == []


def test_view_that_is_no_png(refused: Callable[..., str], tmp_path: Path) -> None:
    write_volume(Volume(np.zeros((2, 3, 4), np.uint8), (5, 5, 5)), tmp_path / "source.tif")
    assert ".jpg" in refused("view", tmp_path / "source.tif", "-o", tmp_path / "out.jpg")


def test_scores_of_classes(command: Command, tmp_path: Path) -> None:
    truth = np.zeros((1, 4, 8), np.uint8)
    truth[0, :, :4] |= 1  # mitochondrion: 16 voxels, half of them found
    truth[0, 0, :] |= 4  # membrane: 8 voxels, all found
    found = truth.copy()
    found[0, :2, :4] &= 0b11111110
    for name, array in (("truth", truth), ("found", found)):
        write_volume(Volume(array, (5, 5, 5)), tmp_path / f"{name}.tif")
    code, out, _ = command("evaluate", tmp_path / "found.tif", tmp_path / "truth.tif", "--json")
    assert code == 0
    scores = json.loads(out)
    assert scores["dice"]["mitochondrion"] == pytest.approx(2 * 8 / (16 + 8), abs=1e-4)
    assert scores["dice"]["membrane"] == 1.0
    assert scores["dice"]["psd"] is None
    assert scores["mean_dice"] == pytest.approx((2 / 3 + 1) / 2, abs=1e-4)
    _, out, _ = command("evaluate", tmp_path / "found.tif", tmp_path / "truth.tif")
    assert "dice membrane" in out


def test_scores_of_objects(command: Command, tmp_path: Path) -> None:
    truth = np.repeat(np.array([1, 2], np.uint32), 8).reshape(1, 4, 4)
    write_volume(Volume(truth, (5, 5, 5)), tmp_path / "truth.nii.gz")
    write_volume(Volume(np.ones_like(truth), (5, 5, 5)), tmp_path / "merged.nii.gz")
    code, out, _ = command("evaluate", tmp_path / "merged.nii.gz", tmp_path / "truth.nii.gz", "--objects", "--json")
    assert code == 0
    assert json.loads(out)["voi_merge"] == pytest.approx(1.0)
    assert json.loads(out)["voi_split"] == pytest.approx(0.0)


def test_ids_are_known_by_their_type_and_a_folder_of_swc_files_is_a_truth(command: Command, tmp_path: Path) -> None:
    found = np.repeat(np.array([1, 2], np.uint32), 8).reshape(1, 4, 4)
    write_volume(Volume(found, (5, 5, 5)), tmp_path / "found.tif")
    _, out, _ = command("evaluate", tmp_path / "found.tif", tmp_path / "found.tif", "--json")
    assert json.loads(out)["adapted_rand_error"] == pytest.approx(0)
    (tmp_path / "skeletons").mkdir()
    (tmp_path / "skeletons" / "a.swc").write_text("1 0 0.0025 0.0025 0.0025 1 -1\n2 0 0.0175 0.0025 0.0025 1 1\n")
    code, out, _ = command("evaluate", tmp_path / "found.tif", tmp_path / "skeletons", "--json")
    assert (code, json.loads(out)["nerl"]) == (0, pytest.approx(1))


def test_export_keeps_voxels_and_their_size(command: Command, tmp_path: Path) -> None:
    data = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    write_volume(Volume(data, (8, 4, 4)), tmp_path / "source.tif")
    code, out, _ = command("export", tmp_path / "source.tif", tmp_path / "out.nii.gz")
    assert (code, out.strip()) == (0, str(tmp_path / "out.nii.gz"))
    written = read_volume(tmp_path / "out.nii.gz")
    np.testing.assert_array_equal(written.data, data)
    assert written.voxel_size_nm == (8, 4, 4)


def test_block_through_its_own_microscope_again(command: Command, tiny_blocks: Path, tmp_path: Path) -> None:
    block = block_folder(tiny_blocks, 0)
    code, _, err = command("image", block, "-o", tmp_path / "again.tif", "--seed", 5)
    assert code == 0, err
    again, first = read_volume(tmp_path / "again.tif"), read_block(block).volume("image")
    assert again.voxel_size_nm == first.voxel_size_nm
    # The same tissue, other noise and grain: alike once noise is smoothed away, unlike other tissue, and not equal.
    other = read_block(block_folder(tiny_blocks, 1)).volume("image")
    smooth = [gaussian_filter(np.asarray(volume.data, float), 1).ravel() for volume in (again, first, other)]
    same, unlike = np.corrcoef(smooth)[0, 1:]
    assert same > 0.5 and same > 2 * abs(unlike)
    assert np.corrcoef(np.ravel(again.data), np.ravel(first.data))[0, 1] < 0.999


def test_array_of_a_block_as_nifti(command: Command, tiny_blocks: Path, tmp_path: Path) -> None:
    block = block_folder(tiny_blocks, 0)
    code, _, err = command("export", block, tmp_path / "cells.nii.gz", "--array", "instances")
    assert code == 0, err
    written = read_volume(tmp_path / "cells.nii.gz")
    np.testing.assert_array_equal(written.data, read_block(block).volume("instances").data)


def test_array_that_a_block_lacks(refused: Callable[..., str], tiny_blocks: Path, tmp_path: Path) -> None:
    block = block_folder(tiny_blocks, 0)
    assert "nonsense" in refused("export", block, tmp_path / "out.tif", "--array", "nonsense")
    assert not (tmp_path / "out.tif").exists()


def test_view_of_a_block(command: Command, tiny_blocks: Path, tmp_path: Path) -> None:
    code, _, err = command("view", block_folder(tiny_blocks, 0), "-o", tmp_path / "block.png")
    assert code == 0, err
    with Image.open(tmp_path / "block.png") as picture:
        # Three sections of 60, 60 and 60 voxels with gaps, and the view in 3D below where it can be drawn.
        assert picture.width >= 60 * 3
        assert len(np.unique(np.array(picture).reshape(-1, 3), axis=0)) > 100


def test_trained_on_blocks_and_segmented(
    command: Command, refused: Callable[..., str], tiny_recipe: Path, tiny_blocks: Path, tmp_path: Path
) -> None:
    torch.set_num_threads(1)
    model, source = tmp_path / "model", block_folder(tiny_blocks, 1) / "image"
    code, _, err = command("train", tiny_blocks, "--recipe", tiny_recipe, "--steps", 2, "-o", model)
    assert code == 0, err
    code, _, err = command("segment", model, source, "-o", tmp_path / "found.nii.gz")
    assert code == 0, err
    found = read_volume(tmp_path / "found.nii.gz")
    assert found.shape_zyx == (40, 60, 60)
    assert found.data.dtype == np.uint8
    assert found.channels == CLASS_NAMES
    assert found.data.max() <= 1
    code, _, err = command("segment", model, source, "-o", tmp_path / "folders")
    assert code == 0, err
    assert {p.name for p in (tmp_path / "folders").iterdir() if p.is_dir()} == set(CLASS_NAMES)
    truth = block_folder(tiny_blocks, 1) / "labels" / "annotation"
    code, out, _ = command("evaluate", tmp_path / "found.nii.gz", truth, "--json")
    assert code == 0
    assert set(json.loads(out)["dice"]) == set(CLASS_NAMES)
    # A model is for grey images of its scale.
    cells = block_folder(tiny_blocks, 1) / "labels" / "instances"
    assert "uint32" in refused("segment", model, cells, "-o", tmp_path / "no.tif")
    assert "steps" in refused("train", tiny_blocks, "--steps", 2, "--seconds", 9, "-o", tmp_path / "other")
    assert not (tmp_path / "no.tif").exists()
    assert not (tmp_path / "other").exists()


def test_entry_point_in_a_process_of_its_own(tmp_path: Path) -> None:
    program = [sys.executable, "-m", "neuropil.pipeline.command_line"]
    done = subprocess.run([*program, "view", str(tmp_path / "absent.swc")], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert _is_one_sentence(done.stderr), done.stderr

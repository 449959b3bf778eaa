"""`neuropil train` on real volumes of any form, on fresh blocks, and what it refuses."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from neuropil.pipeline import training_job
from neuropil.pipeline.recipe import Recipe, load_recipe
from neuropil.pipeline.training_job import fresh_block, train_on_fresh_blocks
from neuropil.train.bundle import read_bundle
from neuropil.train.classes import CLASS_NAMES
from neuropil.train.endless import Freshness
from neuropil.train.labelled_volume import LabelledVolume, Source
from neuropil.voxelize.volume import Volume
from neuropil.voxelize.volume_files import write_volume

Command = Callable[..., tuple[int, str, str]]
NM = (10.0, 10.0, 10.0)


@pytest.fixture(autouse=True)
def one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training_job, "use_fastest_threads", lambda: 1)


@pytest.fixture
def volumes(tmp_path: Path) -> Path:
    """A grey stack in several forms, with labels as a bit field, as masks, as one class, and an empty one."""
    rng = np.random.default_rng(0)
    image, bits = rng.integers(0, 256, (8, 40, 48)).astype(np.uint8), rng.integers(0, 64, (8, 40, 48)).astype(np.uint8)
    for name in ("raw", "raw.tif", "raw.nii.gz", "all.h5:raw", "raw.zarr"):
        write_volume(Volume(image, NM), tmp_path / name)
    write_volume(Volume(bits, NM), tmp_path / "all.h5:bits")
    masks = np.stack([bits & 1, (bits >> 2) & 1])
    write_volume(Volume(masks, NM, axes="czyx", channels=("mitochondrion", "membrane")), tmp_path / "masks.zarr")
    write_volume(Volume((bits & 1) * 255, NM), tmp_path / "mito")
    write_volume(Volume(bits * 0, NM), tmp_path / "empty.tif")
    write_volume(Volume(bits[:4], NM), tmp_path / "short.tif")
    return tmp_path


@pytest.mark.parametrize(
    ("image", "labels", "drawn"),
    [
        ("raw", "all.h5:bits", CLASS_NAMES),
        ("raw.tif", "masks.zarr", ("mitochondrion", "membrane")),
        ("raw.nii.gz", "mito,mitochondrion", ("mitochondrion",)),
        ("all.h5:raw", "all.h5:bits,instances", ()),
        ("raw.zarr", "all.h5:bits,bits", CLASS_NAMES),
    ],
)
def test_labelled_volumes_of_every_form(image: str, labels: str, drawn: tuple[str, ...], volumes: Path) -> None:
    (volume,) = Source.parse(f"volume:{volumes / image},{volumes / labels}").load()
    assert volume.image.shape == (8, 40, 48) and volume.drawn == drawn and volume.voxel_size_nm == NM
    assert (volume.instances is not None) == (drawn == ())
    if "mitochondrion" in drawn:
        assert 0.4 < (volume.bits & 1).mean() < 0.6


def test_trained_on_volumes_alone_and_beside_blocks(
    volumes: Path, tiny_recipe: Path, tiny_blocks: Path, tmp_path: Path, command: Command
) -> None:
    mix = f"volume:{volumes / 'raw.tif'},{volumes / 'mito'},mitochondrion"
    for name, more in (("alone", []), ("beside", [tiny_blocks])):
        code, out, err = command("train", "-r", tiny_recipe, "--mix", mix, "-o", tmp_path / name, *more)
        assert (code, out.strip()) == (0, str(tmp_path / name)), err
        record = json.loads((tmp_path / name / "training.json").read_text())
        assert any(v.startswith("raw.tif") for v in record["training_volumes"])
    assert len(record["training_volumes"]) == 3
    card = (tmp_path / "beside" / "docs" / "README.md").read_text()
    assert "raw.tif" in card and "3 steps" in card
    assert read_bundle(tmp_path / "alone").voxel_size_nm == NM


def test_bad_sources_are_refused_in_one_sentence(
    volumes: Path, tiny_recipe: Path, tmp_path: Path, command: Command
) -> None:
    (volumes / "cut.h5").write_bytes((volumes / "all.h5").read_bytes()[:3000])
    raw = volumes / "raw.tif"
    for source, reason in {
        f"volume:{raw},{volumes / 'empty.tif'}": "nothing is drawn in it",
        f"volume:{raw},{volumes / 'short.tif'}": "(4, 40, 48) voxels",
        f"volume:{volumes / 'cut.h5'}:raw,{raw}": "cut short",
        f"volume:{raw},{volumes / 'mito'},nucleus": "'nucleus' is none of bits, instances",
        f"volume:{raw}": "volume:IMAGE,LABELS",
        f"volume:{volumes / 'nowhere.tif'},{raw}": "does not exist",
        f"tiff:{raw}": "is not block:DIR",
    }.items():
        code, out, err = command("train", "-r", tiny_recipe, "--mix", source, "-o", tmp_path / "model")
        assert (code, out) == (2, "") and err.count("\n") == 1 and reason in err, err
    code, _, err = command("train", "-r", tiny_recipe, "-o", tmp_path / "model")
    assert code == 2 and "nothing to train on" in err
    code, _, err = command("train", "-r", tiny_recipe, "--fresh", raw, "-o", tmp_path / "model")
    assert code == 2 and "not both" in err
    assert not (tmp_path / "model").exists()


def made_quickly(recipe: Recipe, folder: Path, keep: int, instances: bool, index: int) -> LabelledVolume:
    rng = np.random.default_rng(index)
    image, bits = (rng.integers(0, n, (8, 40, 40)).astype(np.uint8) for n in (256, 64))
    return LabelledVolume(f"block {index}", image, bits, NM)


def test_fresh_blocks_while_training(tiny_recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training_job, "fresh_block", made_quickly)
    train_on_fresh_blocks(load_recipe(str(tiny_recipe)), Freshness(window=2, steps_per_block=1), tmp_path / "model")
    record = json.loads((tmp_path / "model" / "training.json").read_text())
    assert record["fresh_blocks"].startswith("tiny ") and record["blocks_not_made"] == {}
    assert "dice_mean" in record["validation"]
    cutting = load_recipe(str(tiny_recipe)).training.model_copy(update={"workers": 2})
    with pytest.raises(ValueError, match="only 0 is allowed"):
        recipe = load_recipe(str(tiny_recipe)).model_copy(update={"training": cutting})
        train_on_fresh_blocks(recipe, Freshness(), tmp_path / "other")


def test_passed_blocks_are_removed_and_the_first_is_kept(
    tiny_recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe, made = load_recipe(str(tiny_recipe)), []

    def make(recipe: Recipe, seed: int, index: int, folder: Path) -> Path:
        made.append((seed, index))
        block = folder / f"{index:05d}.zarr"
        block.mkdir(parents=True)
        return block

    loaded = made_quickly(recipe, tmp_path, 0, False, 0)
    monkeypatch.setattr(training_job, "make_block", make)
    monkeypatch.setattr(training_job, "load_block", lambda path, instances: replace(loaded, name=path.name))
    names = [fresh_block(recipe, tmp_path, 2, False, index).name for index in range(5)]
    assert names[-1] == "00004.zarr" and made == [(recipe.seed, k) for k in range(5)]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["00000.zarr", "00003.zarr", "00004.zarr"]

"""What the semantic experiments train and score on: virtual blocks, real slices, and slices held out by z."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from neuropil.pipeline.block_job import block_folder
from neuropil.pipeline.generation import generate
from neuropil.pipeline.real_images import data_folders
from neuropil.pipeline.recipe import Recipe, load_recipe
from neuropil.train.bundle import Model
from neuropil.train.classes import CLASS_NAMES, masks_from_bits
from neuropil.train.inference import segment
from neuropil.train.labelled_volume import LabelledVolume, Source, load_block
from neuropil.train.metrics.masks import Counts, count_voxels
from neuropil.voxelize.volume import Volume

NM5 = (5.0, 5.0, 5.0)
LAST_TRAINING_SLICE, FIRST_HELD_OUT_SLICE = "0063", "0089"
# One block of so many is crossed by a myelinated axon, and is larger, since the axon fills a fifth of a small one.
MYELIN_IN = 4
MYELIN_SIZE_UM = (4.0, 4.0, 1.3)


def recipes() -> tuple[Recipe, Recipe]:
    """The blocks of CA1-like neuropil that networks learn from: without and with a myelinated axon."""
    plain = load_recipe("default")
    tissue = plain.tissue.model_copy(update={"size_um": MYELIN_SIZE_UM, "myelinated_axons": 1})
    return plain, plain.model_copy(update={"name": "default with myelin", "tissue": tissue})


def synthetic(folder: Path, count: int, workers: int) -> list[LabelledVolume]:
    """`count` blocks, which are made in `folder` where they are not there yet. Raises ValueError where one fails."""
    volumes = []
    for recipe, name, number in zip(
        recipes(), ("plain", "myelin"), (count - count // MYELIN_IN, count // MYELIN_IN), strict=True
    ):
        made = list(generate(recipe, recipe.name, recipe.seed, range(number), folder / name, workers))
        failed = [block for block in made if block.failure is not None]
        if failed:
            raise ValueError(f"block {failed[0].index} of {folder / name} could not be made: {failed[0].failure}")
        volumes += [load_block(block_folder(folder / name, index)) for index in range(number)]
    return volumes


def _epfl() -> Path:
    for folder in data_folders():
        if (folder / "epfl_ca1").is_dir():
            return folder / "epfl_ca1"
    raise FileNotFoundError("there is no epfl_ca1; NEUROPIL_DATA names the folder that holds it")


def real_training() -> list[LabelledVolume]:
    """The labelled real slices up to 0063."""
    return Source(kind="bits", path=_epfl(), last=LAST_TRAINING_SLICE, voxel_size_nm=NM5).load()


def held_out() -> list[LabelledVolume]:
    """The labelled real slices from 0089 on, in runs of neighbours, one volume each."""
    slices = Source(kind="bits", path=_epfl(), first=FIRST_HELD_OUT_SLICE, voxel_size_nm=NM5).load()
    runs: list[list[LabelledVolume]] = []
    for volume in slices:
        if not runs or int(volume.name[:4]) != int(runs[-1][-1].name[:4]) + 1:
            runs.append([])
        runs[-1].append(volume)
    return [
        LabelledVolume(
            f"{run[0].name}-{run[-1].name}",
            np.concatenate([v.image for v in run]),
            np.concatenate([v.bits for v in run]),
            NM5,
        )
        for run in runs
    ]


def scores(model: Model, volumes: Sequence[LabelledVolume]) -> dict[str, float | None]:
    """Dice per class of the model, pooled over all volumes, and `mean` over the classes that are drawn in them.

    A class that is drawn in none gets None; its voxels that were found nevertheless are `false_CLASS`, a share of all.
    A 3D model is not asked about single slices.
    """
    volumes = [v for v in volumes if model.spatial_dims == 2 or len(v.image) > 1]
    pooled, voxels = {name: Counts() for name in model.classes}, sum(v.image.size for v in volumes)
    for volume in volumes:
        found = segment(model, Volume(volume.image, volume.voxel_size_nm)).data
        truth = masks_from_bits(volume.bits)
        for k, name in enumerate(model.classes):
            pooled[name] += count_voxels(found[k], truth[CLASS_NAMES.index(name)])
    # Two dozen voxels in twenty slices are a slip of the pen, by which no class can be scored.
    drawn = {n: c for n, c in pooled.items() if c.true_positive + c.false_negative > 1e-5 * voxels}
    out: dict[str, float | None] = {name: (pooled[name].dice if name in drawn else None) for name in model.classes}
    out["mean"] = float(np.mean([counts.dice for counts in drawn.values()]))
    missing = {f"false_{n}": c.false_positive / voxels for n, c in pooled.items() if n not in drawn}
    return {key: None if value is None else round(value, 4) for key, value in (out | missing).items()}

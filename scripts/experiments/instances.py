#!/usr/bin/env python3
"""Cells told apart by networks that have seen nothing but synthetic blocks: affinities in 3D against linked sections.

For each tissue, blocks are made in out/instances, and with each seed a 3D network of affinities and a 2D one with
linked sections are trained on all but the last block, for equal seconds. They are scored on the last block, those of
the fly also on the real gala crops, beside a watershed of plain darkness. Writes docs/results/instances.md and pictures
of each contender's worst section. What is finished is kept: the same command goes on after a kill.
`python scripts/experiments/instances.py --seconds 1200`
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.filters import threshold_otsu
from skimage.morphology import h_maxima
from skimage.segmentation import watershed

from neuropil.pipeline.block_job import block_folder
from neuropil.pipeline.generation import generate
from neuropil.pipeline.linking_job import add_linking_head, instances_of_image
from neuropil.pipeline.pictures import grey_rgb, instance_overlay, side_by_side, write_png
from neuropil.pipeline.real_images import data_folders
from neuropil.pipeline.recipe import Recipe, load_recipe
from neuropil.pipeline.torch_threads import use_fastest_threads
from neuropil.train.bundle import read_bundle, write_atomically
from neuropil.train.dataset import SegmentationDataset
from neuropil.train.evaluation import evaluate
from neuropil.train.labelled_volume import LabelledVolume, load_block, load_volume
from neuropil.train.linking import link_sections, read_head
from neuropil.train.settings import NETWORKS, AffinityTask, TrainingConfig
from neuropil.train.training import train_network
from neuropil.voxelize.volume import Volume

ROOT = Path(__file__).resolve().parent.parent.parent
OUT = ROOT / "out" / "instances"
RESULTS = ROOT / "docs" / "results"
SCORES = ("adapted_rand_error", "voi_split", "voi_merge", "cremi_score", "ap75", "seconds_per_megavoxel")
WATERSHED, AFFINITIES, LINKED = "darkness watershed", "3D affinities", "linked sections"
NETWORK_CONTENDERS = (AFFINITIES, LINKED)
Finder = Callable[[Volume], tuple[Volume, float]]
GALA = ("train", "example")
GALA_NM = (10.0, 10.0, 10.0)
# The watershed's only two lengths, set beforehand: smoothing, and how deep a basin has to be to be one.
SMOOTHING_NM = 15.0
BASIN_NM = 20.0


@dataclass(frozen=True)
class Tissue:
    """Blocks to train on: a recipe, imaged on other voxels or by another profile, and whether gala is like it."""

    recipe: str
    voxel_size_nm: tuple[float, float, float]
    profile: str | None
    network_3d: str
    patch_3d: tuple[int, int]
    real: bool = False

    def load(self) -> Recipe:
        recipe = load_recipe(self.recipe)
        changes = {"voxel_size_nm": self.voxel_size_nm, "profile": self.profile or recipe.profile}
        return Recipe.model_validate({**recipe.model_dump(exclude_unset=True), **changes})


TISSUES = {
    "fly": Tissue("fly", (10, 10, 10), None, "fast3d", (64, 64), real=True),
    "rodent_ca1": Tissue("rodent_ca1", (10, 10, 10), None, "fast3d", (64, 64)),
    # Sections of 50 nm, as isbi2012 has them, on pixels twice as large.
    "fly_sections": Tissue("fly", (10, 8, 8), "isbi2012", "sections3d", (16, 128)),
}


@dataclass(frozen=True)
class Budget:
    seconds: float
    blocks: int


def blocks_of(name: str, count: int, workers: int) -> list[LabelledVolume]:
    """Blocks 0 … count of a tissue, the last of which is held out."""
    recipe, folder = TISSUES[name].load(), OUT / name / "blocks"
    for made in generate(recipe, name, recipe.seed, range(count + 1), folder, workers):
        if made.failure is not None:
            raise SystemExit(f"block {made.index} of {name}: {made.failure}")
    return [load_block(block_folder(folder, k), instances=True) for k in range(count + 1)]


def targets_of(name: str, held_out: LabelledVolume) -> dict[str, LabelledVolume]:
    """What networks trained on a tissue are scored on."""
    targets = {"held-out block": held_out}
    if TISSUES[name].real:
        folder = next((d / "gala_crops" for d in data_folders() if (d / "gala_crops").is_dir()), None)
        if folder is None:
            raise SystemExit("the real crops gala_crops are missing: set NEUROPIL_DATA to the folder they lie in")
        for crop in GALA:
            file = folder / f"{crop}.h5"
            volumes = f"{file}:volumes/raw", f"{file}:volumes/labels/neuron_ids"
            targets[f"gala {crop}"] = load_volume(*volumes, "instances", GALA_NM)
    return targets


def trained(name: str, contender: str, seed: int, blocks: list[LabelledVolume], budget: Budget) -> Path:
    """The folder of a contender's bundle, trained on `blocks` for the budget's seconds if it is not there."""
    tissue, planar = TISSUES[name], contender == LINKED
    folder = OUT / name / f"{'2d' if planar else '3d'}-{budget.seconds:g}s-{len(blocks)}-{seed}"
    task = AffinityTask(planar=planar)
    depth, side = (None, 256) if planar else tissue.patch_3d
    network = NETWORKS["fast2d" if planar else tissue.network_3d]
    data = SegmentationDataset([blocks], side, None, 2 if planar else 3, 0.0, task=task, depth_px=depth)
    config = TrainingConfig(
        network=network,
        task=task,
        budget_seconds=budget.seconds,
        batch=8 if planar else 2,
        learning_rate=2e-3,
        seed=seed,
    )
    train_network(config, data, [], folder)
    if planar:
        add_linking_head(folder, blocks, seed)
    return folder


def found_by(folder: Path, image: Volume) -> tuple[Volume, float]:
    """Instances of an image by a bundle, and seconds per million voxels."""
    model = read_bundle(folder)
    begin = time.perf_counter()
    found = instances_of_image(model, image)
    if isinstance(model.task, AffinityTask) and model.task.planar:
        found = link_sections(model, read_head(folder), image, found)
    return found, (time.perf_counter() - begin) / (found.data.size / 1e6)


def darkness_watershed(image: Volume) -> tuple[Volume, float]:
    """The bar: basins of the distance to what is darker than Otsu's threshold, section by section distances in nm."""
    begin = time.perf_counter()
    size = np.array(image.voxel_size_nm)
    grey = ndimage.gaussian_filter(image.data.astype(np.float32), SMOOTHING_NM / size)
    depth = ndimage.distance_transform_edt(grey > threshold_otsu(grey), sampling=size)
    seeds, _ = ndimage.label(h_maxima(depth, BASIN_NM), np.ones((3, 3, 3)))
    found = watershed(-depth, seeds).astype(np.uint32)
    return Volume(found, image.voxel_size_nm), (time.perf_counter() - begin) / (found.size / 1e6)


def scored(found: Volume, seconds: float, truth: NDArray[np.uint32]) -> dict[str, float]:
    scores = evaluate(found, Volume(truth, found.voxel_size_nm))
    return {key: scores[key] for key in SCORES if key in scores} | {"seconds_per_megavoxel": seconds}


def worst_section(image: Volume, found: Volume, truth: NDArray[np.uint32], path: Path) -> None:
    """Grey, truth and what was found in the section with the largest variation of information."""
    errors = [
        evaluate(Volume(found.data[z : z + 1], found.voxel_size_nm), Volume(t[None], found.voxel_size_nm))["voi"]
        if t.any()
        else 0.0
        for z, t in enumerate(truth)
    ]
    z = int(np.argmax(errors))
    grey = image.data[z]
    write_png(
        side_by_side([grey_rgb(grey), instance_overlay(grey, truth[z]), instance_overlay(grey, found.data[z])]), path
    )


def rows(names: list[str], seeds: int, budget: Budget, workers: int) -> Iterator[dict[str, Any]]:
    """One row per tissue, contender, seed and target, from disk where it was worked out before."""
    for name in names:
        *training, held_out = blocks_of(name, budget.blocks, workers)
        targets = targets_of(name, held_out)
        for target, volume in targets.items():
            yield one_row(name, WATERSHED, 0, target, volume, OUT / name, darkness_watershed)
        for contender, seed in product(NETWORK_CONTENDERS, range(seeds)):
            folder = trained(name, contender, seed, training, budget)
            for target, volume in targets.items():
                yield one_row(name, contender, seed, target, volume, folder, partial(found_by, folder))


def one_row(
    name: str, contender: str, seed: int, target: str, volume: LabelledVolume, folder: Path, find: Finder
) -> dict[str, Any]:
    """Scores of what `find` makes of a volume; kept in `folder`."""
    file = folder / f"{target.replace(' ', '_')}-scores.json"
    if file.exists():
        kept: dict[str, Any] = json.loads(file.read_text())
        return kept
    image, truth = Volume(volume.image, volume.voxel_size_nm), volume.instances
    assert truth is not None
    found, seconds = find(image)
    if seed == 0:
        picture = f"{name}_{contender}_{target}.png".replace(" ", "_").lower()
        worst_section(image, found, truth, RESULTS / "instances" / picture)
    row = {"tissue": name, "target": target, "contender": contender, "seed": seed, **scored(found, seconds, truth)}
    write_atomically(file, json.dumps(row).encode())
    print(json.dumps(row), flush=True)
    return row


def report(found: list[dict[str, Any]], seeds: int, budget: Budget) -> str:
    """The tables: mean and, over seeds, standard deviation of each score."""
    text = (
        "# Cells told apart\n\nNetworks trained on synthetic blocks only "
        f"({budget.blocks} blocks of each tissue, {budget.seconds:g} s per network, {seeds} seeds; mean ± sd), "
        "scored on a block held out and, those of the fly, on the two real FIB-SEM crops of `gala_crops` (a million "
        "voxels each: an indication, no more). The bar is a watershed of plain darkness. Adapted Rand error in "
        "CREMI's form, variation of information in bits; the truth's 0 is not scored. Seconds are of this machine, "
        "from grey levels to ids. Made by `python scripts/experiments/instances.py`; pictures of each contender's "
        "worst section (image, truth, found) lie in `instances/`.\n"
    )
    head = (
        "| contender | ARE | VOI split | VOI merge | CREMI score | AP75 | s / Mvoxel |\n|---|---|---|---|---|---|---|\n"
    )
    for tissue, target in dict.fromkeys((r["tissue"], r["target"]) for r in found):
        text += f"\n## Trained on {tissue}, {target}\n\n{head}"
        some = [r for r in found if (r["tissue"], r["target"]) == (tissue, target)]
        for contender in dict.fromkeys(r["contender"] for r in some):
            values = [np.array([r[key] for r in some if r["contender"] == contender], float) for key in SCORES]
            text += f"| {contender} | " + " | ".join(_spread(v) for v in values) + " |\n"
    return text


def _spread(values: NDArray[np.float64]) -> str:
    return f"{values.mean():.3f}" + (f" ± {values.std(ddof=1):.3f}" if len(values) > 1 else "")


def main() -> None:
    """Make blocks, train, score, and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tissue", action="append", choices=list(TISSUES), help="all, if none is named")
    parser.add_argument("--seconds", type=float, default=1200.0, help="of training, per network")
    parser.add_argument("--blocks", type=int, default=3, help="to train on; one more is held out")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=1, help="processes that make blocks")
    arguments = parser.parse_args()
    use_fastest_threads()
    budget = Budget(arguments.seconds, arguments.blocks)
    found = list(rows(arguments.tissue or list(TISSUES), arguments.seeds, budget, arguments.workers))
    (RESULTS / "instances.md").write_text(report(found, arguments.seeds, budget), encoding="utf-8")


if __name__ == "__main__":
    main()

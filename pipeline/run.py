"""The whole way: blocks, a network trained on them, real slices segmented with it and scored, a report."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from numpy.typing import NDArray
from PIL import Image

from neuropil.morphology.neuron_class import load_class
from neuropil.train.bundle import METADATA, read_bundle
from neuropil.train.classes import bits_from_masks
from neuropil.train.inference import segment
from neuropil.train.labelled_volume import load_block
from neuropil.train.training import RECORD as TRAINING_RECORD
from neuropil.voxelize.replacement import replacing
from neuropil.voxelize.volume import Volume

from .block_job import block_folder, block_um3, inputs_of_blocks, is_block_of, read_manifest
from .generation import generate
from .neurons import has_blender, make_neurons, read_certificates
from .output_folder import claim_folder
from .pictures import write_png
from .progress import bar, block_bar, say
from .real_images import RealImages, find_real_images
from .recipe import Recipe
from .report import ScoredSlice, report_html
from .run_record import RunRecord, hash_of
from .scores import score_slices
from .stage_meter import StageMeter
from .torch_threads import use_fastest_threads
from .training_job import train_on_blocks

METRICS = "metrics.json"
REPORT = "report.html"
NEURONS = "neurons"
BLOCKS = "blocks"
MODEL = "model"
SEGMENTATION = "segmentation"
SCORES = "scores.json"
# Slices of a synthetic block that are scored where there are no real ones.
HELD_OUT_SLICES = 16


@dataclass(frozen=True)
class Slice:
    """A grey slice (y, x) that is scored, and the bit field of its true classes."""

    name: str
    image: NDArray[np.uint8]
    bits: NDArray[np.uint8]
    voxel_size_nm: tuple[float, float, float]


def run(recipe: Recipe, recipe_name: str, folder: Path, workers: int) -> Path:
    """Run a recipe in `folder` and return the path of the report; finished stages are not done again.

    Raises ValueError for what the recipe gets wrong, or where a block could not be made; OSError where
    `folder` cannot be written.
    """
    if recipe.circuit is not None:
        raise ValueError(
            f"recipe {recipe_name} makes circuit blocks, which have no micrograph to train on; "
            f"make them with neuropil generate {recipe_name}"
        )
    claim_folder(folder)
    with replacing(folder / "recipe.yaml") as file:
        file.write_text(yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False), encoding="utf-8")
    record = RunRecord(folder)
    real = find_real_images(recipe.real.dataset, recipe.real.first_slice, say)
    # Without real slices one block more is made, which the network does not see in training.
    count = recipe.blocks + (0 if real else 1)
    made_from = [inputs_of_blocks(recipe), recipe.seed]
    learnt_from = [recipe.blocks, recipe.patches.model_dump(mode="json"), recipe.training.model_dump(mode="json")]
    blocks = [block_folder(folder / BLOCKS, index) for index in range(count)]
    training, held_out = blocks[: recipe.blocks], blocks[recipe.blocks :]

    if recipe.neurons and has_blender():
        neurons = folder / NEURONS
        classes = [load_class(name).model_dump(mode="json") for name in recipe.neurons]
        record.stage(
            "neurons",
            hash_of(classes, recipe.seed),
            lambda: make_neurons(recipe.neurons, recipe.seed, neurons),
            output=neurons,
        )
    elif recipe.neurons:
        say("No whole neurons: Blender's module bpy, which sweeps them, is not installed.")
    record.stage(
        "blocks",
        hash_of(made_from, count),
        lambda: _make_blocks(recipe, recipe_name, count, folder / BLOCKS, workers),
    )
    model = folder / MODEL
    record.stage(
        "training", hash_of(made_from, learnt_from), lambda: train_on_blocks(recipe, training, model), output=model
    )
    weights = json.loads((model / METADATA).read_text(encoding="utf-8"))["neuropil"]["weights_sha256"]
    scored = [str(real.folder), real.names] if real else [made_from, recipe.blocks]
    segmented = folder / SEGMENTATION
    record.stage(
        "segmentation",
        hash_of(weights, scored),
        lambda: _segment(model, _slices(recipe, real, held_out), segmented),
        output=segmented,
    )
    metrics = _metrics(recipe, record, real, training, folder)
    with StageMeter() as meter, replacing(folder / REPORT) as file:
        shown = _shown_slice(list(_slices(recipe, real, held_out)), segmented)
        file.write_text(report_html(metrics, folder / NEURONS, training[0], model, shown), encoding="utf-8")
    metrics["seconds"]["report"] = round(meter.seconds, 2)
    metrics["peak_memory_mb"]["report"] = round(meter.peak_memory_mb, 1)
    with replacing(folder / METRICS) as file:
        file.write_text(json.dumps(metrics, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return folder / REPORT


def _make_blocks(recipe: Recipe, recipe_name: str, count: int, folder: Path, workers: int) -> None:
    """Blocks 0 to `count` - 1; those that an earlier recipe left in the run's folder are removed first."""
    made_from = inputs_of_blocks(recipe)
    for block in sorted(folder.glob("[0-9]*.zarr")):
        if not is_block_of(block, made_from, recipe.seed):
            shutil.rmtree(block)
    failed = []
    with block_bar(count, block_um3(recipe)) as report:
        for made in generate(recipe, recipe_name, recipe.seed, range(count), folder, workers):
            report(made.found, made.failure is not None)
            if made.failure is not None:
                failed.append(made)
    if failed:
        raise ValueError(
            f"{len(failed)} of {count} blocks could not be made, the first because: {failed[0].failure} "
            f"(again with: {failed[0].command})"
        )


def _slices(recipe: Recipe, real: RealImages | None, held_out: Sequence[Path]) -> Iterator[Slice]:
    """What is scored: the real slices, else slices spread over the held-out block."""
    if real:
        for name in real.names:
            yield Slice(name, real.image(name), real.bits(name), recipe.real.voxel_size_nm)
        return
    volume = load_block(held_out[0])
    wanted = np.linspace(0, len(volume.image) - 1, min(HELD_OUT_SLICES, len(volume.image)))
    for z in sorted(set(wanted.round().astype(int).tolist())):
        yield Slice(f"{z:04d}", volume.image[z], volume.bits[z], volume.voxel_size_nm)


def _segment(model_folder: Path, slices: Iterator[Slice], folder: Path) -> None:
    """Bit fields NAME.png and scores.json in `folder`."""
    model = read_bundle(model_folder)
    use_fastest_threads()
    folder.mkdir(parents=True, exist_ok=True)
    pairs = []
    with bar("segmenting") as report:
        for number, item in enumerate(slices, start=1):
            masks = segment(model, Volume(item.image[None], item.voxel_size_nm)).data
            found = bits_from_masks(masks[:, 0])
            write_png(found, folder / f"{item.name}.png")
            pairs.append((found, item.bits))
            report(0.0, f"slice {number}")
    content = {"slices": sorted(file.stem for file in folder.glob("*.png")), **score_slices(pairs)}
    with replacing(folder / SCORES) as file:
        file.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def _shown_slice(slices: Sequence[Slice], segmented: Path) -> ScoredSlice:
    """The middle one of the slices that were scored, with what was found on it."""
    item = slices[len(slices) // 2]
    with Image.open(segmented / f"{item.name}.png") as picture:
        found = np.array(picture)
    return ScoredSlice(item.name, item.image, found, item.bits, item.voxel_size_nm[1:])


def _metrics(
    recipe: Recipe, record: RunRecord, real: RealImages | None, blocks: Sequence[Path], folder: Path
) -> dict[str, Any]:
    neurons = read_certificates(folder / NEURONS) if recipe.neurons and has_blender() else {}
    manifests = [read_manifest(block) for block in blocks]
    scores: dict[str, Any] = json.loads((folder / SEGMENTATION / SCORES).read_text(encoding="utf-8"))
    names = manifests[0]["statistics"]
    return {
        "recipe": recipe.name,
        "preset": recipe.tissue.preset,
        "seed": recipe.seed,
        "blocks": len(blocks),
        "versions": {name: version(name) for name in ("neuropil", "numpy", "torch", "monai")},
        "machine": {"cores": os.cpu_count(), "gpu": torch.cuda.is_available()},
        "real": {"dataset": recipe.real.dataset, **scores} if real else None,
        "held_out_block": None if real else scores,
        # A statistic that a block lacks (no vesicle, say) is 0 there.
        "block": {n: float(np.mean([m["statistics"].get(n, 0.0) for m in manifests])) for n in names},
        "certificates": {n: all(m["certificates"][n] for m in manifests) for n in manifests[0]["certificates"]}
        | {f"neuron_{name}": made["holds"] for name, made in neurons.items()},
        "training_steps": json.loads((folder / MODEL / TRAINING_RECORD).read_text())["steps"],
        "seconds": {name: stage.seconds for name, stage in record.stages.items()},
        "peak_memory_mb": {name: stage.peak_memory_mb for name, stage in record.stages.items()},
    }

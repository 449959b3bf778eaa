"""Training with a recipe's network and settings: on blocks on disk, on fresh ones, on real volumes beside them."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from neuropil.train.dataset import PatchSource, SegmentationDataset
from neuropil.train.endless import EndlessDataset, Freshness
from neuropil.train.labelled_volume import LabelledVolume, Source, load_block
from neuropil.train.settings import AffinityTask
from neuropil.train.training import train_network

from .block_job import block_folder, inputs_of_blocks, is_finished, make_block
from .progress import bar
from .recipe import Recipe
from .run_record import hash_of
from .torch_threads import use_fastest_threads

# Share of the last block's slices on which the training curve is validated; nothing is trained on them.
VALIDATION_SHARE = 0.125
# Where, in the model's folder, fresh blocks lie as long as patches may come from them.
FRESH = "fresh"


def blocks_below(folders: Sequence[Path]) -> list[Path]:
    """Finished blocks among `folders` and directly inside them, in order.

    Raises FileNotFoundError where a folder is missing or holds no block.
    """
    blocks: list[Path] = []
    for folder in folders:
        found = [folder] if is_finished(folder) else sorted(filter(is_finished, folder.glob("[0-9]*.zarr")))
        if not found:
            raise FileNotFoundError(f"{folder} is no block of tissue and holds none")
        blocks += found
    return blocks


def train_on_blocks(
    recipe: Recipe, blocks: Sequence[Path], folder: Path, others: Sequence[Source] = (), share: float = 0.5
) -> None:
    """Train the recipe's network on `blocks` and leave the bundle in `folder`; a killed training goes on.

    With `others`, each a source of labelled volumes, they get `share` of the patches (all, where there are no blocks).
    The last eighth of the last block's (or else of the last source's) slices is validated on, not trained on.
    Raises ValueError where `folder` holds a training with other settings or blocks, or there is nothing to train on.
    """
    instances = recipe.training.task.labels == "instances"
    groups = [[load_block(block, instances) for block in blocks]] if blocks else []
    weights = [1 - share] if blocks else []
    for source in others:
        groups.append(source.load(instances))
        weights.append(source.weight * (share if blocks else 1.0) / sum(s.weight for s in others))
    if not groups:
        raise ValueError("there is nothing to train on: name blocks, or labelled volumes, or ask for fresh blocks")
    validation = _kept_aside(groups[0])
    patches = recipe.patches
    dataset = SegmentationDataset(
        groups,
        patches.patch_px,
        weights,
        recipe.training.network.spatial_dims,
        patches.balanced,
        patches.augmentation,
        recipe.training.task,
        patches.depth_px,
        # Others are brought to the scale of the blocks, or to the first one's.
        groups[0][0].voxel_size_nm if others else None,
    )
    _train(recipe, dataset, validation, folder, dataset.volumes)


def train_on_fresh_blocks(
    recipe: Recipe, freshness: Freshness, folder: Path, others: Sequence[Source] = (), share: float = 0.5
) -> None:
    """Train the recipe's network on blocks that are made meanwhile, as `train_on_blocks` does on those on disk.

    Block 0 is validated on. Raises ValueError where patches are to be cut by other processes: only this one has them.
    """
    if recipe.training.workers:
        raise ValueError(f"training.workers is {recipe.training.workers}, but with fresh blocks only 0 is allowed")
    instances = recipe.training.task.labels == "instances"
    groups = [source.load(instances) for source in others]
    total = sum(s.weight for s in others) or 1.0
    weights = [1 - share if others else 1.0, *(share * source.weight / total for source in others)]
    patches = recipe.patches
    keep = freshness.window + 2 * freshness.workers + 1
    with EndlessDataset(
        partial(fresh_block, recipe, folder / FRESH, keep, instances),
        f"{recipe.name} {hash_of(inputs_of_blocks(recipe), recipe.seed)}",
        replace(freshness, first=1),
        recipe.training.task,
        recipe.voxel_size_nm,
        patches.patch_px,
        recipe.training.network.spatial_dims,
        patches.balanced,
        patches.augmentation,
        patches.depth_px,
        groups,
        weights,
    ) as dataset:
        _train(recipe, dataset, [dataset.block(0)], folder, [dataset.block(0)])
    shutil.rmtree(folder / FRESH, ignore_errors=True)


def fresh_block(recipe: Recipe, folder: Path, keep: int, instances: bool, index: int) -> LabelledVolume:
    """Block `index` of a recipe, made in `folder` if it is not there; the one `keep` before it is removed."""
    block = load_block(make_block(recipe, recipe.seed, index, folder), instances)
    if index - keep > 0:  # block 0 stays for validation
        shutil.rmtree(block_folder(folder, index - keep), ignore_errors=True)
    return block


def _train(
    recipe: Recipe,
    dataset: PatchSource,
    validation: Sequence[LabelledVolume],
    folder: Path,
    labelled: Sequence[LabelledVolume],
) -> None:
    """The bundle; where it finds cells in single sections, with a head that links them, learnt on `labelled`."""
    if recipe.training.threads is None:
        use_fastest_threads()
    with bar("training") as report:
        train_network(recipe.training, dataset, validation, folder, report)
    task = recipe.training.task
    if isinstance(task, AffinityTask) and task.planar:
        from .linking_job import add_linking_head

        add_linking_head(folder, labelled, recipe.training.seed)


def _kept_aside(volumes: list[LabelledVolume]) -> list[LabelledVolume]:
    """The last slices, which are taken from `volumes`: of the last one, or the last of single slices."""
    last = volumes[-1]
    if len(volumes) > 1 and len(last.image) == 1:
        count = max(1, round(len(volumes) * VALIDATION_SHARE))
        aside = volumes[-count:]
        del volumes[-count:]
        return aside
    kept = len(last.image) - max(1, round(len(last.image) * VALIDATION_SHARE))
    if kept < 1:
        return [last]
    volumes[-1] = _slab(last, 0, kept)
    return [_slab(last, kept, len(last.image))]


def _slab(volume: LabelledVolume, first: int, last: int) -> LabelledVolume:
    """Slices first to last - 1."""
    name, cells = f"{volume.name}[{first}:{last}]", volume.instances
    return replace(
        volume,
        name=name,
        image=volume.image[first:last],
        bits=volume.bits[first:last],
        instances=None if cells is None else cells[first:last],
    )

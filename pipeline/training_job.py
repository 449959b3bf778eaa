"""Training on blocks on disk, with a recipe's network and settings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from neuropil.train.dataset import SegmentationDataset
from neuropil.train.labelled_volume import LabelledVolume, load_block
from neuropil.train.training import train_network

from .block_job import is_finished
from .progress import bar
from .recipe import Recipe
from .torch_threads import use_fastest_threads

# Share of the last block's slices on which the training curve is validated; nothing is trained on them.
VALIDATION_SHARE = 0.125


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


def train_on_blocks(recipe: Recipe, blocks: Sequence[Path], folder: Path) -> None:
    """Train the recipe's network on `blocks` and leave the bundle in `folder`; a killed training goes on.

    Raises ValueError where `folder` holds a training with other settings or blocks.
    """
    task = recipe.training.task
    volumes = [load_block(block, instances=task.labels == "instances") for block in blocks]
    last = volumes[-1]
    kept = len(last.image) - max(1, round(len(last.image) * VALIDATION_SHARE))
    volumes[-1] = _slab(last, 0, kept)
    patches = recipe.patches
    dataset = SegmentationDataset(
        [volumes],
        patches.patch_px,
        spatial_dims=recipe.training.network.spatial_dims,
        balanced=patches.balanced,
        augmentation=patches.augmentation,
        task=task,
        depth_px=patches.depth_px,
    )
    if recipe.training.threads is None:
        use_fastest_threads()
    with bar("training") as report:
        train_network(recipe.training, dataset, [_slab(last, kept, len(last.image))], folder, report)


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

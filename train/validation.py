"""How good a network is while it trains: Dice per channel on sections kept aside."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from .inference import Segmenter
from .labelled_volume import LabelledVolume
from .metrics.masks import Counts, count_voxels
from .settings import Task
from .tasks import targets_of


def validate(
    segmenter: Segmenter, task: Task, volumes: Sequence[LabelledVolume], sections: int, patch_shape: Sequence[int]
) -> dict[str, float]:
    """`dice_CHANNEL` pooled over the sections, and `dice_mean` over the channels that occur; empty without volumes.

    Targets that nobody knows are not counted. In 3D the middle of each volume is looked at, two patches wide at most.
    """
    pooled = [Counts() for _ in task.channels]
    for image, labels, volume in _images(volumes, task, segmenter.spatial_dims, sections, patch_shape):
        truth = targets_of(task, labels, volume.voxel_size_nm)
        found = segmenter.whole(image)
        for k, name in enumerate(task.channels):
            known = ~np.isnan(truth[k]) if task.labels == "instances" or name in volume.drawn else np.zeros((), bool)
            pooled[k] += count_voxels((found[k] >= 128)[known], (truth[k] > 0.5)[known])
    if not volumes:
        return {}
    scores = {f"dice_{name}": counts.dice for name, counts in zip(task.channels, pooled, strict=True)}
    known_scores = [score for score in scores.values() if not np.isnan(score)]
    scores["dice_mean"] = float(np.mean(known_scores or [0.0]))
    return {key: score for key, score in scores.items() if not np.isnan(score)}


def _images(
    volumes: Sequence[LabelledVolume], task: Task, spatial_dims: int, wanted: int, patch_shape: Sequence[int]
) -> Iterator[tuple[NDArray, NDArray, LabelledVolume]]:
    """Images and labels (z, y, x): evenly spread sections in 2D, the middle of each volume in 3D."""
    boxes: list[tuple[LabelledVolume, tuple[slice, ...]]] = []
    if spatial_dims == 3:
        for volume in volumes:
            middle = (_middle(length, 2 * side) for length, side in zip(volume.image.shape, patch_shape, strict=True))
            boxes.append((volume, tuple(middle)))
    else:
        sections = [(v, z) for v in volumes for z in range(len(v.image))]
        spread = np.linspace(0, len(sections) - 1, min(wanted, len(sections))).round().astype(int)
        boxes = [(v, (slice(z, z + 1),)) for v, z in (sections[k] for k in spread)]
    for volume, box in boxes:
        labels = volume.bits if task.labels == "bits" else volume.instances
        if labels is None:
            raise ValueError(f"{volume.name} has no ids of cells, which the task {task.kind} is validated on")
        yield volume.image[box], labels[box], volume


def _middle(length: int, most: int) -> slice:
    start = max(0, (length - most) // 2)
    return slice(start, start + most)

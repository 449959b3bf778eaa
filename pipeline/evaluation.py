"""Scores of one volume against another, each named by a path."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from neuropil.train.classes import CLASS_NAMES, masks_from_bits
from neuropil.train.evaluation import evaluate
from neuropil.voxelize.volume import Volume
from neuropil.voxelize.volume_files import VoxelSizeUnknown, read_volume


def evaluate_files(predicted: str, truth: str, objects: bool) -> dict[str, Any]:
    """Scores of classes, or with `objects` of the objects that the volumes' ids tell apart.

    Classes come as masks (c, z, y, x) or as a bit field (z, y, x) of the six. Raises ValueError, in one sentence,
    where the volumes do not fit each other or hold something else.
    """
    found, true = _read_both(predicted, truth)
    if objects:
        for name, volume in ((predicted, found), (truth, true)):
            if volume.axes != "zyx":
                raise ValueError(f"{name} has channels, but ids of objects are one volume z, y, x")
        return evaluate(found, true)
    return evaluate(_as_masks(predicted, found), _as_masks(truth, true))


def table_of(scores: Mapping[str, Any]) -> str:
    """Scores as lines of text, one number each."""
    lines: list[tuple[str, Any]] = []
    for name, value in scores.items():
        if isinstance(value, Mapping):
            lines += [(f"{name} {key}", inner) for key, inner in value.items()]
        else:
            lines.append((name, value))
    width = max(len(name) for name, _ in lines)
    return "\n".join(f"{name:{width}}  {'–' if value is None else f'{value:.4f}'}" for name, value in lines)


def _read_both(predicted: str, truth: str) -> tuple[Volume, Volume]:
    """Both volumes; one that does not state its voxel size is taken to have the other's (scores count voxels)."""
    volumes: list[Volume | None] = []
    for spec in (predicted, truth):
        try:
            volumes.append(read_volume(spec))
        except VoxelSizeUnknown:
            volumes.append(None)
    found, true = volumes
    size = next((v.voxel_size_nm for v in volumes if v is not None), (1.0, 1.0, 1.0))
    return found or read_volume(predicted, size), true or read_volume(truth, size)


def _as_masks(name: str, volume: Volume) -> Volume:
    if volume.axes == "czyx":
        return volume
    if volume.data.dtype != np.uint8:
        raise ValueError(
            f"{name} holds {volume.data.dtype} values, but classes are masks or a bit field of uint8; "
            "ids of objects need --objects"
        )
    return Volume(masks_from_bits(volume.data), volume.voxel_size_nm, volume.origin_nm, "czyx", CLASS_NAMES)

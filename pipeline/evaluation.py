"""Scores of one volume against another."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuropil.train.metrics import (
    adapted_rand_cremi,
    ap75,
    cremi_score,
    mean_segmentation_accuracy,
    overlaps,
    variation_of_information,
)
from neuropil.voxelize.volume_files import VoxelSizeUnknown, read_volume

from .scores import score_classes


def evaluate_classes(predicted: str, truth: str) -> dict[str, Any]:
    """Dice and IoU per class of two bit fields. Raises ValueError where they are none or differ in shape."""
    found, true = _array(predicted), _array(truth)
    for name, array in ((predicted, found), (truth, true)):
        if array.ndim != 3:
            raise ValueError(f"{name} has {array.ndim} dimensions, but a bit field of classes has z, y, x")
        if array.dtype != np.uint8:
            raise ValueError(f"{name} holds {array.dtype} values, but a bit field of classes is uint8")
    _check_shapes(found, true)
    scores = score_classes([(found, true)])
    return {"dice": scores.dice(), "mean_dice": scores.mean_dice, "iou": scores.iou()}


def evaluate_objects(predicted: str, truth: str) -> dict[str, Any]:
    """Errors of objects' ids (0: nothing): adapted Rand, variation of information, CREMI score, AP75, mSA."""
    found, true = _array(predicted), _array(truth)
    _check_shapes(found, true)
    table = overlaps(found, true)
    rand, information = adapted_rand_cremi(table), variation_of_information(table)
    return {
        "adapted_rand_error": rand.error,
        "voi_split": information.voi_split,
        "voi_merge": information.voi_merge,
        "cremi_score": cremi_score(table),
        "ap75": ap75(found, true),
        "mean_segmentation_accuracy": mean_segmentation_accuracy(found, true),
    }


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


def _array(spec: str) -> NDArray[Any]:
    try:
        return read_volume(spec).data
    except VoxelSizeUnknown:
        # Scores count voxels, whatever their size.
        return read_volume(spec, (1.0, 1.0, 1.0)).data


def _check_shapes(found: NDArray[Any], true: NDArray[Any]) -> None:
    if found.shape != true.shape:
        raise ValueError(f"what was found has the shape {found.shape}, the truth {true.shape}; they must agree")

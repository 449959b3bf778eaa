"""What a segmentation is worth against the truth, as a dictionary that JSON can hold."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuropil.voxelize.volume import Volume

from . import metrics
from .classes import CLASS_NAMES, masks_from_bits
from .metrics import Counts

# Volumes whose voxel sizes differ by more than this fraction do not show the same voxels.
SAME_SIZE = 0.02


def evaluate(predicted: Volume, truth: Volume) -> dict[str, Any]:
    """Scores of `predicted`: per class for masks (c, z, y, x), of instances for label volumes (z, y, x).

    Where the prediction holds masks, the truth may be a bit field uint8 (z, y, x) too. Raises ValueError where the
    two do not fit, or the truth is empty.
    """
    if predicted.data.shape[-3:] != truth.data.shape[-3:]:
        raise ValueError(
            f"the prediction has {predicted.data.shape[-3:]} voxels (z, y, x) "
            f"and the truth {truth.data.shape[-3:]}; they must agree"
        )
    pairs = zip(predicted.voxel_size_nm, truth.voxel_size_nm, strict=True)
    if any(abs(a / b - 1) > SAME_SIZE for a, b in pairs):
        raise ValueError(
            f"the prediction's voxels measure {predicted.voxel_size_nm} nm (z, y, x) "
            f"and the truth's {truth.voxel_size_nm}; they must agree"
        )
    if predicted.axes == "czyx":
        if truth.axes == "zyx":
            truth = Volume(
                masks_from_bits(truth.data.astype(np.uint8)),
                truth.voxel_size_nm,
                truth.origin_nm,
                "czyx",
                CLASS_NAMES,
            )
        return evaluate_masks(predicted, truth)
    if truth.axes == "czyx":
        raise ValueError("the prediction is one label volume (z, y, x), but the truth holds masks per class")
    return evaluate_instances(predicted.data, truth.data)


def evaluate_masks(predicted: Volume, truth: Volume) -> dict[str, Any]:
    """Dice, IoU, precision and recall per class, pooled over all sections, with their means.

    The answer's `dice`, `iou`, `precision` and `recall` map class names to numbers; `mean_dice` and `mean_iou` are
    means over the classes that occur in prediction or truth. A class that occurs in neither gets None.
    Channels are matched by name. Raises ValueError for different names, or a truth without a single voxel.
    """
    if set(predicted.channels) != set(truth.channels):
        raise ValueError(
            f"the prediction's classes are {', '.join(predicted.channels)} and the truth's "
            f"{', '.join(truth.channels)}; they must be the same"
        )
    counts = pooled_counts(
        (
            {name: predicted.data[predicted.channels.index(name), z] for name in truth.channels},
            {name: truth.data[truth.channels.index(name), z] for name in truth.channels},
        )
        for z in range(truth.data.shape[1])
    )
    if not any(c.true_positive + c.false_negative for c in counts.values()):
        raise ValueError("the truth's masks are empty: there is nothing to score against")
    scores: dict[str, Any] = {
        key: {name: _number(getattr(c, key)) for name, c in counts.items()}
        for key in ("dice", "iou", "precision", "recall")
    }
    for key in ("dice", "iou"):
        known = [value for value in scores[key].values() if value is not None]
        scores[f"mean_{key}"] = float(np.mean(known))
    return scores


def pooled_counts(
    sections: Iterable[tuple[dict[str, NDArray], dict[str, NDArray]]],
) -> dict[str, Counts]:
    """Counts per class summed over (prediction, truth) pairs of masks by class name."""
    total: dict[str, Counts] = {}
    for predicted, truth in sections:
        for name, mask in truth.items():
            total[name] = total.get(name, Counts()) + metrics.count_voxels(predicted[name], mask)
    return total


def evaluate_instances(predicted: NDArray, truth: NDArray) -> dict[str, Any]:
    """Scores of label volumes (z, y, x); the truth's 0 is not scored.

    `adapted_rand_error` and its precision and recall are in CREMI's form; scikit-image's number has its own
    name. Entropies are in bits. Raises ValueError for labels that are not integers or an empty truth.
    """
    table = metrics.overlaps(predicted, truth)
    cremi, information = metrics.adapted_rand_cremi(table), metrics.variation_of_information(table)
    isbi = metrics.isbi_scores(predicted, truth)
    return {
        "adapted_rand_error": cremi.error,
        "adapted_rand_precision": cremi.precision,
        "adapted_rand_recall": cremi.recall,
        "adapted_rand_error_skimage": metrics.adapted_rand_skimage(table).error,
        "voi_split": information.voi_split,
        "voi_merge": information.voi_merge,
        "voi": information.voi,
        "normalised_information_distance": information.normalised_distance,
        "cremi_score": metrics.cremi_score(table),
        "vrand": isbi.vrand,
        "vinfo": isbi.vinfo,
        "ap75": _number(metrics.ap75(predicted, truth)),
        "msa": _number(metrics.mean_segmentation_accuracy(predicted, truth)),
        "segments": int(np.count_nonzero(np.unique(predicted))),
        "objects": int(np.count_nonzero(np.unique(truth))),
    }


def _number(value: float) -> float | None:
    return None if math.isnan(value) else float(value)

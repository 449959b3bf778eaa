"""Voxels of a class found, invented and missed: Dice, IoU, precision and recall."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Counts:
    """Voxels (or objects) found rightly, found wrongly and missed, and voxels rightly left out; counts of several
    slices add up with ``+``."""

    true_positive: int = 0
    false_positive: int = 0
    false_negative: int = 0
    true_negative: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(
            self.true_positive + other.true_positive,
            self.false_positive + other.false_positive,
            self.false_negative + other.false_negative,
            self.true_negative + other.true_negative,
        )

    @property
    def dice(self) -> float:
        """2TP/(2TP+FP+FN); NaN where neither mask holds a voxel."""
        return _ratio(2 * self.true_positive, 2 * self.true_positive + self.wrong)

    @property
    def iou(self) -> float:
        """TP/(TP+FP+FN); NaN where neither mask holds a voxel."""
        return _ratio(self.true_positive, self.true_positive + self.wrong)

    @property
    def background_iou(self) -> float:
        """TN/(TN+FP+FN): the IoU of what lies outside; NaN where nothing does."""
        return _ratio(self.true_negative, self.true_negative + self.wrong)

    @property
    def mean_iou(self) -> float:
        """Mean of the class's IoU and the background's, the second number that PyTorch Connectomics prints."""
        return (self.iou + self.background_iou) / 2

    @property
    def precision(self) -> float:
        return _ratio(self.true_positive, self.true_positive + self.false_positive)

    @property
    def recall(self) -> float:
        return _ratio(self.true_positive, self.true_positive + self.false_negative)

    @property
    def wrong(self) -> int:
        return self.false_positive + self.false_negative


def count_voxels(predicted: NDArray, truth: NDArray) -> Counts:
    """Counts of one class from two masks of one shape (anything not 0 is inside)."""
    if predicted.shape != truth.shape:
        raise ValueError(f"the prediction has shape {predicted.shape} and the truth {truth.shape}; they must agree")
    p, t = predicted.astype(bool, copy=False), truth.astype(bool, copy=False)
    both = int(np.count_nonzero(p & t))
    found, true = int(np.count_nonzero(p)), int(np.count_nonzero(t))
    return Counts(both, found - both, true - both, p.size - found - true + both)


def dice(predicted: NDArray, truth: NDArray) -> float:
    """Dice coefficient 2TP/(2TP+FP+FN) of two masks of one shape, NaN if both are empty."""
    return count_voxels(predicted, truth).dice


def intersection_over_union(predicted: NDArray, truth: NDArray) -> float:
    """Jaccard index TP/(TP+FP+FN) of two masks of one shape, NaN if both are empty."""
    return count_voxels(predicted, truth).iou


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else float("nan")

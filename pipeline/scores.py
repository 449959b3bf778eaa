"""Dice per class of segmentations against drawn or exact classes."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from neuropil.train.classes import CLASS_NAMES, masks_from_bits
from neuropil.train.metrics import Counts, count_voxels


@dataclass(frozen=True)
class ClassScores:
    """Voxel counts of each class, pooled over all slices that were scored."""

    counts: dict[str, Counts]

    def dice(self) -> dict[str, float | None]:
        """Dice per class; None where the class occurs in neither."""
        return {name: _known(counts.dice) for name, counts in self.counts.items()}

    def iou(self) -> dict[str, float | None]:
        return {name: _known(counts.iou) for name, counts in self.counts.items()}

    @property
    def mean_dice(self) -> float | None:
        """Mean over the classes that occur."""
        known = [value for value in self.dice().values() if value is not None]
        return sum(known) / len(known) if known else None


def score_classes(pairs: Iterable[tuple[NDArray[np.uint8], NDArray[np.uint8]]]) -> ClassScores:
    """Scores of (predicted, true) bit fields of one shape each. Raises ValueError where shapes differ."""
    counts = {name: Counts() for name in CLASS_NAMES}
    for predicted, truth in pairs:
        masks = zip(CLASS_NAMES, masks_from_bits(predicted), masks_from_bits(truth), strict=True)
        for name, mine, theirs in masks:
            counts[name] += count_voxels(mine, theirs)
    return ClassScores(counts)


def _known(value: float) -> float | None:
    return None if math.isnan(value) else round(value, 4)

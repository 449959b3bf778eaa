"""Dice per class of slices against drawn or exact classes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuropil.train.classes import CLASS_NAMES, masks_from_bits
from neuropil.train.evaluation import pooled_counts


def score_slices(pairs: Iterable[tuple[NDArray[np.uint8], NDArray[np.uint8]]]) -> dict[str, Any]:
    """Scores of (found, true) bit fields (y, x), voxels pooled over all slices, which may differ in size.

    `dice` and `iou` map class names to numbers, None where a class occurs in neither; `mean_dice` is the mean
    over the others. Raises ValueError where the two of a pair differ in shape.
    """
    counts = pooled_counts((_by_class(found), _by_class(true)) for found, true in pairs)
    scores: dict[str, Any] = {
        key: {name: _known(getattr(c, key)) for name, c in counts.items()} for key in ("dice", "iou")
    }
    known = [value for value in scores["dice"].values() if value is not None]
    return scores | {"mean_dice": float(np.mean(known)) if known else None}


def _by_class(bits: NDArray[np.uint8]) -> dict[str, NDArray[Any]]:
    return dict(zip(CLASS_NAMES, masks_from_bits(bits), strict=True))


def _known(value: float) -> float | None:
    return None if np.isnan(value) else round(value, 4)

"""The sparse table of overlaps between predicted segments and true objects, from which all else is computed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Overlaps:
    """`voxels[k]` voxels lie in predicted segment `segment[k]` and true object `truth[k]`, each pair once.

    0 is background in a prediction and "not drawn, ignored" in a truth. Tables of parts of a volume add up with ``+``.
    """

    segment: NDArray[np.uint64]
    truth: NDArray[np.uint64]
    voxels: NDArray[np.float64]

    def __add__(self, other: Overlaps) -> Overlaps:
        return _table(
            np.concatenate([self.segment, other.segment]),
            np.concatenate([self.truth, other.truth]),
            np.concatenate([self.voxels, other.voxels]),
        )

    @cached_property
    def drawn(self) -> Overlaps:
        """The table without the voxels whose truth is 0.

        Raises ValueError if nothing is left.
        """
        keep = self.truth != 0
        if not keep.any():
            raise ValueError("the truth is 0 everywhere: there is nothing to score against")
        return Overlaps(self.segment[keep], self.truth[keep], self.voxels[keep])

    @cached_property
    def without_background(self) -> Overlaps:
        """The table without the voxels predicted 0."""
        keep = self.segment != 0
        return Overlaps(self.segment[keep], self.truth[keep], self.voxels[keep])

    @cached_property
    def segment_sizes(self) -> NDArray[np.float64]:
        """Voxels per predicted segment, in order of ids (0, if present, comes first)."""
        return _sums(self.segment, self.voxels)

    @cached_property
    def truth_sizes(self) -> NDArray[np.float64]:
        """Voxels per true object, in order of ids."""
        return _sums(self.truth, self.voxels)


def overlaps(predicted: NDArray, truth: NDArray) -> Overlaps:
    """Table of overlaps of two label arrays of one shape.

    Raises ValueError if the shapes differ or the arrays hold anything but whole numbers from 0 on.
    """
    if predicted.shape != truth.shape:
        raise ValueError(f"the prediction has shape {predicted.shape} and the truth {truth.shape}; they must agree")
    for name, array in (("prediction", predicted), ("truth", truth)):
        if array.dtype.kind not in "uib":
            raise ValueError(f"the {name} holds {array.dtype} values; label volumes hold integers")
        if array.dtype.kind == "i" and array.size and array.min() < 0:
            raise ValueError(f"the {name} holds {array.min()}; labels are numbers from 0 on")
    s, t = predicted.ravel(), truth.ravel()
    # Labels come in runs along x: sorting runs is several times cheaper than sorting voxels.
    changes = np.flatnonzero((s[1:] != s[:-1]) | (t[1:] != t[:-1])) + 1
    starts = np.concatenate([np.zeros(min(1, s.size), np.int64), changes])
    lengths = np.diff(np.append(starts, s.size)).astype(np.float64)
    return _table(s[starts].astype(np.uint64), t[starts].astype(np.uint64), lengths)


def overlaps_of_slabs(slabs: Iterable[tuple[NDArray, NDArray]]) -> Overlaps:
    """Table of a volume given as (prediction, truth) parts, one part in memory at a time."""
    empty = np.zeros(0, np.uint64)
    table = Overlaps(empty, empty, np.zeros(0))
    for predicted, truth in slabs:
        table = table + overlaps(predicted, truth)
    return table


def _table(segment: NDArray[np.uint64], truth: NDArray[np.uint64], voxels: NDArray[np.float64]) -> Overlaps:
    """Rows of equal pairs added up."""
    segment_ids, s = np.unique(segment, return_inverse=True)
    truth_ids, t = np.unique(truth, return_inverse=True)
    pair, row = np.unique(s.astype(np.int64) * max(1, len(truth_ids)) + t, return_inverse=True)
    return Overlaps(
        segment_ids[pair // max(1, len(truth_ids))],
        truth_ids[pair % max(1, len(truth_ids))],
        np.bincount(row.ravel(), weights=voxels, minlength=len(pair)).astype(np.float64),
    )


def _sums(ids: NDArray[np.uint64], voxels: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.bincount(np.unique(ids, return_inverse=True)[1].ravel(), weights=voxels).astype(np.float64)

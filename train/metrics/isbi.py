"""The scores of the ISBI 2012 challenge: foreground-restricted Rand and information, section by section."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from .borders import without_borders
from .contingency import Overlaps, overlaps
from .information import variation_of_information


@dataclass(frozen=True)
class IsbiScores:
    vrand: float
    vinfo: float


def isbi_scores_of_table(table: Overlaps) -> IsbiScores:
    """Vrand and Vinfo with α = 0.5 (Arganda-Carreras et al. 2015, eqs 3 and 8), best 1: harmonic means of split and
    merge scores. Voxels where the truth is 0 are ignored; borders are to be thinned before the table is made."""
    drawn = table.drawn
    both = float((drawn.voxels**2).sum())
    halves = 0.5 * float((drawn.segment_sizes**2).sum()) + 0.5 * float((drawn.truth_sizes**2).sum())
    information = variation_of_information(table)
    entropies = 0.5 * information.segment_entropy + 0.5 * information.truth_entropy
    return IsbiScores(both / halves, information.mutual / entropies if entropies > 0 else 1.0)


def isbi_scores(predicted: NDArray, truth: NDArray, thin_borders: bool = True) -> IsbiScores:
    """Foreground-restricted Vrand and Vinfo of label arrays (z, y, x) or (y, x), 0 the membrane.

    With `thin_borders` the prediction's membranes are thinned to nothing in each section first, each border voxel
    going to the nearest segment, so that a thick membrane is not an error.
    """
    return isbi_scores_of_table(overlaps(without_borders(predicted) if thin_borders else predicted, truth))


def isbi_scores_of_membrane(
    membrane: NDArray, truth: NDArray, thresholds: Sequence[float] = tuple(np.linspace(0.1, 0.9, 9))
) -> IsbiScores:
    """Best Vrand and best Vinfo over thresholds of a membrane probability (z, y, x), as in the challenge.

    Each section is scored as its own image: segments are 4-connected components of what lies below the
    threshold, and the truth's labels are those components of its own nonzero voxels if it holds only 0 and 1.
    """
    if membrane.shape != truth.shape:
        raise ValueError(f"the prediction has shape {membrane.shape} and the truth {truth.shape}; they must agree")
    if truth.ndim == 2:
        membrane, truth = membrane[None], truth[None]
    drawn = _components(truth > 0) if truth.max(initial=0) <= 1 else _per_section(truth)
    scores = [isbi_scores(_components(membrane < threshold), drawn) for threshold in thresholds]
    return IsbiScores(max(s.vrand for s in scores), max(s.vinfo for s in scores))


def _components(inside: NDArray) -> NDArray[np.int64]:
    """Labels (z, y, x) of 4-connected components, section by section, no label used twice."""
    out = np.zeros(inside.shape, np.int64)
    last = 0
    for section, target in zip(inside, out, strict=True):
        labels, found = ndimage.label(section)
        target[...] = np.where(labels > 0, labels.astype(np.int64) + last, 0)
        last += found
    return out


def _per_section(labels: NDArray) -> NDArray[np.int64]:
    """The same labels, made different from one section to the next."""
    sections = np.arange(len(labels), dtype=np.int64).reshape(-1, 1, 1)
    return np.where(labels > 0, labels.astype(np.int64) + sections * (int(labels.max()) + 1), 0)

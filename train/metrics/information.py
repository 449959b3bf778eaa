"""Variation of information: how much prediction and truth leave open about each other, in bits."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .contingency import Overlaps
from .rand import adapted_rand_cremi


@dataclass(frozen=True)
class Information:
    """Variation of information in bits and the entropies it is made of."""

    voi_split: float
    voi_merge: float
    segment_entropy: float
    truth_entropy: float

    @property
    def voi(self) -> float:
        return self.voi_split + self.voi_merge

    @property
    def mutual(self) -> float:
        return max(0.0, self.truth_entropy - self.voi_merge)

    @property
    def normalised_distance(self) -> float:
        """Normalised information distance 1 − I/max(H) (Vinh et al. 2010), 0 if each object is a segment."""
        largest = max(self.segment_entropy, self.truth_entropy)
        return 1.0 - self.mutual / largest if largest > 0 else 0.0


def variation_of_information(table: Overlaps) -> Information:
    """Split H(seg|gt) and merge H(gt|seg) in bits (Meilă 2007); the truth's 0 is ignored, a predicted 0 is a
    segment like any other, as in funlib.evaluate and CREMI."""
    drawn = table.drawn
    joint = _entropy(drawn.voxels)
    segment, truth = _entropy(drawn.segment_sizes), _entropy(drawn.truth_sizes)
    # A difference of two sums can come out as -1e-16.
    return Information(max(0.0, joint - truth), max(0.0, joint - segment), segment, truth)


def cremi_score(table: Overlaps) -> float:
    """√(adapted Rand error · variation of information in bits); 0 is perfect. CREMI leaves out voxels near the truth's
    borders, see `borders.away_from_borders`."""
    return float(np.sqrt(max(0.0, adapted_rand_cremi(table).error) * variation_of_information(table).voi))


def _entropy(voxels: NDArray[np.float64]) -> float:
    p = voxels / voxels.sum()
    return float(-(p * np.log2(p)).sum())

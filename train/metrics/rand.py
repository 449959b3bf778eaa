"""Rand scores: pairs of voxels that prediction and truth put together. Three forms, named apart, never to be mixed."""

from __future__ import annotations

from dataclasses import dataclass

from .contingency import Overlaps


@dataclass(frozen=True)
class AdaptedRand:
    error: float
    precision: float
    recall: float


def adapted_rand_cremi(table: Overlaps) -> AdaptedRand:
    """Adapted Rand error as CREMI and SNEMI3D score it: precision Σp²/Σseg², recall Σp²/Σgt².

    Reproduces cremi_python (`cremi.evaluation.rand`): voxels predicted 0 inside the truth belong to no
    segment, and add their number divided by the number of all voxels to Σp² and Σseg², as there.
    Do not mix with `adapted_rand_skimage`: the two differ on the same pair.
    """
    drawn = table.drawn
    found = drawn.without_background
    singletons = drawn.voxels[drawn.segment == 0].sum() / table.voxels.sum()
    both = float((found.voxels**2).sum()) + singletons
    return _adapted_rand(
        both / (float((found.segment_sizes**2).sum()) + singletons) if both else 0.0,
        both / float((drawn.truth_sizes**2).sum()),
    )


def adapted_rand_skimage(table: Overlaps) -> AdaptedRand:
    """Adapted Rand error as scikit-image's `adapted_rand_error(truth, prediction)`: pairs of *distinct*
    voxels, with its names, which are swapped against CREMI's: its "precision" is Σp(p−1)/Σgt(gt−1)."""
    drawn = table.drawn
    pairs = float((drawn.voxels * (drawn.voxels - 1)).sum())
    true_pairs = float((drawn.truth_sizes * (drawn.truth_sizes - 1)).sum())
    segment_pairs = float((drawn.segment_sizes * (drawn.segment_sizes - 1)).sum())
    return _adapted_rand(pairs / true_pairs if true_pairs else 1.0, pairs / segment_pairs if segment_pairs else 1.0)


def _adapted_rand(precision: float, recall: float) -> AdaptedRand:
    total = precision + recall
    return AdaptedRand(1.0 - (2 * precision * recall / total if total else 0.0), precision, recall)


@dataclass(frozen=True)
class RandScores:
    split: float
    merge: float


def rand_scores(table: Overlaps) -> RandScores:
    """funlib.evaluate's `rand_split` Σp²/Σgt² and `rand_merge` Σp²/Σseg²; larger is better."""
    drawn = table.drawn
    both = float((drawn.voxels**2).sum())
    return RandScores(both / float((drawn.truth_sizes**2).sum()), both / float((drawn.segment_sizes**2).sum()))

"""Scores of a segmentation against the truth, each under the name of the definition it follows.

Masks are boolean arrays; label arrays are integer arrays whose 0 means background in a prediction and
"not drawn, ignored" in a truth. Everything on label arrays is computed from one sparse table of overlaps.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import maximum_bipartite_matching

MSA_THRESHOLDS = tuple(np.round(np.arange(0.5, 0.96, 0.05), 2))


@dataclass(frozen=True)
class Counts:
    """Voxels found rightly, found wrongly and missed; counts of several slices add up with ``+``."""

    true_positive: int = 0
    false_positive: int = 0
    false_negative: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(
            self.true_positive + other.true_positive,
            self.false_positive + other.false_positive,
            self.false_negative + other.false_negative,
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
    _same_shape(predicted, truth)
    p, t = predicted.astype(bool, copy=False), truth.astype(bool, copy=False)
    both = int(np.count_nonzero(p & t))
    return Counts(both, int(np.count_nonzero(p)) - both, int(np.count_nonzero(t)) - both)


def dice(predicted: NDArray, truth: NDArray) -> float:
    """Dice coefficient 2TP/(2TP+FP+FN) of two masks of one shape, NaN if both are empty."""
    return count_voxels(predicted, truth).dice


def intersection_over_union(predicted: NDArray, truth: NDArray) -> float:
    """Jaccard index TP/(TP+FP+FN) of two masks of one shape, NaN if both are empty."""
    return count_voxels(predicted, truth).iou


@dataclass(frozen=True)
class Overlaps:
    """Sparse contingency table: `voxels[k]` voxels lie in predicted segment `segment[k]` and true object
    `truth[k]`. The table leaves out the voxels whose truth is 0; `voxels_total` counts them too."""

    segment: NDArray[np.int64]
    truth: NDArray[np.int64]
    voxels: NDArray[np.float64]
    voxels_total: int

    @property
    def segment_sizes(self) -> NDArray[np.float64]:
        """Voxels per predicted segment within the drawn truth (0, if present, comes first)."""
        return _sums(self.segment, self.voxels)

    @property
    def truth_sizes(self) -> NDArray[np.float64]:
        return _sums(self.truth, self.voxels)

    def without_background(self) -> Overlaps:
        """The table without the voxels predicted 0."""
        keep = self.segment != 0
        return Overlaps(self.segment[keep], self.truth[keep], self.voxels[keep], self.voxels_total)


def overlaps(predicted: NDArray, truth: NDArray) -> Overlaps:
    """Table of overlaps of two label arrays of one shape; voxels whose truth is 0 are left out.

    Raises ValueError if the shapes differ, the arrays are not integers, or the truth is 0 everywhere.
    """
    _same_shape(predicted, truth)
    for name, array in (("prediction", predicted), ("truth", truth)):
        if array.dtype.kind not in "uib":
            raise ValueError(f"the {name} holds {array.dtype} values; label volumes hold integers")
    inside = truth.ravel() != 0
    if not inside.any():
        raise ValueError("the truth is 0 everywhere: there is nothing to score against")
    segment_ids, segment = np.unique(predicted.ravel()[inside], return_inverse=True)
    truth_ids, true = np.unique(truth.ravel()[inside], return_inverse=True)
    pair, voxels = np.unique(segment.astype(np.int64) * len(truth_ids) + true, return_counts=True)
    return Overlaps(
        segment_ids.astype(np.int64)[pair // len(truth_ids)],
        truth_ids.astype(np.int64)[pair % len(truth_ids)],
        voxels.astype(np.float64),
        int(truth.size),
    )


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
    found = table.without_background()
    singletons = table.voxels[table.segment == 0].sum() / table.voxels_total
    both = float((found.voxels**2).sum()) + singletons
    return _adapted_rand(
        both / (float((found.segment_sizes**2).sum()) + singletons) if both else 0.0,
        both / float((table.truth_sizes**2).sum()),
    )


def adapted_rand_skimage(table: Overlaps) -> AdaptedRand:
    """Adapted Rand error as scikit-image's `adapted_rand_error(truth, prediction)`: pairs of *distinct*
    voxels, with its names, which are swapped against CREMI's: its "precision" is Σp(p−1)/Σgt(gt−1)."""
    pairs = float((table.voxels * (table.voxels - 1)).sum())
    true_pairs = float((table.truth_sizes * (table.truth_sizes - 1)).sum())
    segment_pairs = float((table.segment_sizes * (table.segment_sizes - 1)).sum())
    return _adapted_rand(pairs / true_pairs if true_pairs else 1.0, pairs / segment_pairs if segment_pairs else 1.0)


def _adapted_rand(precision: float, recall: float) -> AdaptedRand:
    total = precision + recall
    return AdaptedRand(1.0 - (2 * precision * recall / total if total else 0.0), precision, recall)


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
    joint = _entropy(table.voxels)
    segment, truth = _entropy(table.segment_sizes), _entropy(table.truth_sizes)
    # A difference of two sums can come out as -1e-16.
    return Information(max(0.0, joint - truth), max(0.0, joint - segment), segment, truth)


@dataclass(frozen=True)
class RandScores:
    split: float
    merge: float


def rand_scores(table: Overlaps) -> RandScores:
    """funlib.evaluate's `rand_split` Σp²/Σgt² and `rand_merge` Σp²/Σseg²; larger is better."""
    both = float((table.voxels**2).sum())
    return RandScores(both / float((table.truth_sizes**2).sum()), both / float((table.segment_sizes**2).sum()))


def cremi_score(table: Overlaps) -> float:
    """√(adapted Rand error · variation of information in bits); 0 is perfect."""
    return float(np.sqrt(max(0.0, adapted_rand_cremi(table).error) * variation_of_information(table).voi))


@dataclass(frozen=True)
class IsbiScores:
    vrand: float
    vinfo: float


def isbi_scores(predicted: NDArray, truth: NDArray, thin_borders: bool = True) -> IsbiScores:
    """Foreground-restricted Vrand and Vinfo of ISBI 2012 (Arganda-Carreras et al. 2015, α = 0.5), best 1.

    `predicted` and `truth` are label arrays (z, y, x) or (y, x), 0 the membrane. With `thin_borders` the
    prediction's membranes are thinned to nothing in each section first, each border voxel going to the
    nearest segment, so that a thick membrane is not an error. Voxels where the truth is 0 are ignored.
    """
    _same_shape(predicted, truth)
    table = overlaps(_without_borders(predicted) if thin_borders else predicted, truth)
    both = float((table.voxels**2).sum())
    halves = 0.5 * float((table.segment_sizes**2).sum()) + 0.5 * float((table.truth_sizes**2).sum())
    information = variation_of_information(table)
    entropies = 0.5 * information.segment_entropy + 0.5 * information.truth_entropy
    return IsbiScores(both / halves, information.mutual / entropies if entropies > 0 else 1.0)


def isbi_scores_of_membrane(
    membrane: NDArray, truth: NDArray, thresholds: Sequence[float] = tuple(np.linspace(0.1, 0.9, 9))
) -> IsbiScores:
    """Best Vrand and best Vinfo over thresholds of a membrane probability (z, y, x), as in the challenge.

    Each section is scored as its own image: segments are 4-connected components of what lies below the
    threshold, and the truth's labels are those components of its own nonzero voxels if it holds only 0 and 1.
    """
    _same_shape(membrane, truth)
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


def _without_borders(labels: NDArray) -> NDArray:
    """Labels with each 0 replaced by the nearest label in its section."""
    sections = labels[None] if labels.ndim == 2 else labels
    out = sections.copy()
    for section in out:
        if section.any() and not section.all():
            nearest = ndimage.distance_transform_edt(section == 0, return_distances=False, return_indices=True)
            section[...] = section[tuple(nearest)]
    return out.reshape(labels.shape)


def matched_objects(predicted: NDArray, truth: NDArray, threshold: float) -> Counts:
    """Objects found (matched one to one at IoU ≥ threshold), false and missed.

    The matching is the largest possible one (Hungarian, as elf does it). Unlike in the table of `overlaps`,
    voxels where the truth is 0 count into a segment's size, since a segment may lie outside every object.
    """
    _same_shape(predicted, truth)
    segment_ids, segment = np.unique(predicted.ravel(), return_inverse=True)
    truth_ids, true = np.unique(truth.ravel(), return_inverse=True)
    segment_sizes, truth_sizes = np.bincount(segment.ravel()), np.bincount(true.ravel())
    pair, voxels = np.unique(segment.ravel().astype(np.int64) * len(truth_ids) + true.ravel(), return_counts=True)
    row, column = pair // len(truth_ids), pair % len(truth_ids)
    iou = voxels / (segment_sizes[row] + truth_sizes[column] - voxels)
    good = (iou >= threshold) & (segment_ids[row] != 0) & (truth_ids[column] != 0)
    graph = coo_matrix(
        (np.ones(good.sum()), (row[good], column[good])), shape=(len(segment_ids), len(truth_ids))
    ).tocsr()
    found = int((maximum_bipartite_matching(graph, perm_type="column") >= 0).sum())
    segments, objects = int((segment_ids != 0).sum()), int((truth_ids != 0).sum())
    return Counts(found, segments - found, objects - found)


def ap75(predicted: NDArray, truth: NDArray) -> float:
    """TP/(TP+FP+FN) over objects matched at IoU ≥ 0.75."""
    return matched_objects(predicted, truth, 0.75).iou


def mean_segmentation_accuracy(predicted: NDArray, truth: NDArray) -> float:
    """mSA: mean of TP/(TP+FP+FN) over the IoU thresholds 0.50, 0.55, …, 0.95."""
    return float(np.mean([matched_objects(predicted, truth, t).iou for t in MSA_THRESHOLDS]))


def expected_run_length(
    length_um: Mapping[int, float], lengths_in_segments_um: Mapping[int, Mapping[int, float]]
) -> float:
    """Expected run length in µm (Januszewski et al. 2018), weighted by skeleton length.

    `length_um[s]` is the whole length of skeleton s, `lengths_in_segments_um[s][k]` what of it runs inside
    predicted segment k > 0. Segments that touch more than one skeleton are mergers and contribute nothing.
    """
    touched: dict[int, set[int]] = {}
    for skeleton, parts in lengths_in_segments_um.items():
        for segment in parts:
            touched.setdefault(segment, set()).add(skeleton)
    total = sum(length_um.values())
    if total <= 0:
        raise ValueError("the skeletons have no length: an expected run length needs some")
    runs = sum(
        part**2
        for parts in lengths_in_segments_um.values()
        for segment, part in parts.items()
        if segment != 0 and len(touched[segment]) == 1
    )
    # Σ_s (L_s / total) · Σ_k part · (part / L_s): the skeleton's own length cancels.
    return runs / total


def _sums(ids: NDArray[np.int64], voxels: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.bincount(np.unique(ids, return_inverse=True)[1], weights=voxels).astype(np.float64)


def _entropy(voxels: NDArray[np.float64]) -> float:
    p = voxels / voxels.sum()
    return float(-(p * np.log2(p)).sum())


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else float("nan")


def _same_shape(predicted: NDArray, truth: NDArray) -> None:
    if predicted.shape != truth.shape:
        raise ValueError(f"the prediction has shape {predicted.shape} and the truth {truth.shape}; they must agree")

"""What a segmentation is worth against the truth, as a dictionary that JSON can hold."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuropil.voxelize.volume import Volume

from .classes import CLASS_NAMES, masks_from_bits
from .metrics.borders import away_from_borders, without_borders
from .metrics.contingency import Overlaps, overlaps_of_slabs
from .metrics.information import cremi_score, variation_of_information
from .metrics.isbi import isbi_scores_of_table
from .metrics.masks import Counts, count_voxels
from .metrics.matching import ap75, mean_segmentation_accuracy
from .metrics.rand import adapted_rand_cremi, adapted_rand_skimage, rand_scores
from .metrics.run_length import run_length, segments_at, skeleton_pieces

# Volumes whose voxel sizes differ by more than this fraction do not show the same voxels.
SAME_SIZE = 0.02
# Voxels of prediction and truth that are in memory at a time.
SLAB_VOXELS = 2**24


def evaluate(predicted: Volume, truth: Volume, border_nm: float = 0.0) -> dict[str, Any]:
    """Scores of `predicted`: per class for masks (c, z, y, x), of instances for label volumes (z, y, x).

    Both are read some sections at a time, so volumes on disk may be larger than memory. Where the prediction holds
    masks, the truth may be a bit field uint8 (z, y, x) too. `border_nm` leaves voxels so near to a border between
    true objects unscored (CREMI: 25). Raises ValueError where the two do not fit, or the truth is empty.
    """
    if predicted.shape_zyx != truth.shape_zyx:
        raise ValueError(
            f"the prediction has {predicted.shape_zyx} voxels (z, y, x) and the truth {truth.shape_zyx}; "
            "they must agree"
        )
    pairs = zip(predicted.voxel_size_nm, truth.voxel_size_nm, strict=True)
    if any(abs(a / b - 1) > SAME_SIZE for a, b in pairs):
        raise ValueError(
            f"the prediction's voxels measure {predicted.voxel_size_nm} nm (z, y, x) "
            f"and the truth's {truth.voxel_size_nm}; they must agree"
        )
    if predicted.axes == "czyx":
        if border_nm:
            raise ValueError(f"the border to leave out is {border_nm:g} nm, but masks of classes have no such border")
        return _evaluate_masks(predicted, truth)
    if truth.axes == "czyx":
        raise ValueError("the truth holds masks per class, the prediction one volume of labels; they must agree")
    return _evaluate_instances(predicted, truth, border_nm)


def evaluate_on_skeletons(predicted: Volume, edges_nm: Sequence[NDArray]) -> dict[str, Any]:
    """Expected run length of a label volume on skeletons, each an array of edges (n, 2, 3) in nm, z, y, x.

    Raises ValueError for labels that are not integers, or skeletons that have no part inside the volume.
    """
    if predicted.axes != "zyx" or predicted.data.dtype.kind not in "ui":
        raise ValueError(
            f"run lengths are of ids of objects (z, y, x), but the prediction has axes {predicted.axes!r} "
            f"and holds {predicted.data.dtype}"
        )
    pieces = skeleton_pieces(edges_nm, min(predicted.voxel_size_nm))
    places = pieces.ends_nm.reshape(-1, 3) - np.asarray(predicted.origin_nm)
    voxel = np.floor(places / np.asarray(predicted.voxel_size_nm)).astype(np.int64)
    segments = segments_at(voxel, predicted.slabs(_slab_sections(predicted)), predicted.shape_zyx)
    found = run_length(pieces, segments.reshape(-1, 2))
    return {
        "erl_um": found.erl_um,
        "largest_erl_um": found.largest_um,
        "nerl": found.normalised,
        "mergers": found.mergers,
        "skeletons": len(edges_nm),
    }


def pooled_counts(
    sections: Iterable[tuple[dict[str, NDArray], dict[str, NDArray]]],
) -> dict[str, Counts]:
    """Counts per class summed over (prediction, truth) pairs of masks by class name."""
    total: dict[str, Counts] = {}
    for predicted, truth in sections:
        for name, mask in truth.items():
            total[name] = total.get(name, Counts()) + count_voxels(predicted[name], mask)
    return total


def _evaluate_masks(predicted: Volume, truth: Volume) -> dict[str, Any]:
    """Counts pooled over all sections.

    The answer's `dice`, `iou`, `mean_iou_with_background`, `precision` and `recall` map class names to numbers;
    `mean_dice` and `mean_iou` are means over the classes that occur in prediction or truth. A class that occurs in
    neither gets None. Channels are matched by name.
    """
    true_names = truth.channels if truth.axes == "czyx" else CLASS_NAMES
    if set(predicted.channels) != set(true_names):
        raise ValueError(
            f"the prediction's classes are {', '.join(predicted.channels)} and the truth's "
            f"{', '.join(true_names)}; they must be the same"
        )
    counts = pooled_counts(_masks_by_name(predicted, truth, true_names))
    if not any(c.true_positive + c.false_negative for c in counts.values()):
        raise ValueError("the truth's masks are empty: there is nothing to score against")
    scores: dict[str, Any] = {
        key: {name: _number(getattr(c, key)) for name, c in counts.items()}
        for key in ("dice", "iou", "precision", "recall")
    }
    for key in ("dice", "iou"):
        known = [value for value in scores[key].values() if value is not None]
        scores[f"mean_{key}"] = float(np.mean(known))
    # The form of PyTorch Connectomics: of each class, the mean of its own IoU and of the rest's.
    scores["iou_with_background"] = {name: _number(c.mean_iou) for name, c in counts.items()}
    return scores


def _masks_by_name(
    predicted: Volume, truth: Volume, names: Sequence[str]
) -> Iterator[tuple[dict[str, NDArray], dict[str, NDArray]]]:
    """Prediction and truth of a slab, by class name, slab by slab."""
    sections = max(1, _slab_sections(predicted) // len(names))
    for found, true in zip(predicted.slabs(sections), truth.slabs(sections), strict=True):
        masks = true if truth.axes == "czyx" else masks_from_bits(true.astype(np.uint8))
        yield (
            {name: found[predicted.channels.index(name)] for name in names},
            {name: masks[k] for k, name in enumerate(names)},
        )


def _evaluate_instances(predicted: Volume, truth: Volume, border_nm: float) -> dict[str, Any]:
    """Scores of label volumes (z, y, x); the truth's 0 is not scored.

    `adapted_rand_error` and its precision and recall are in CREMI's form; scikit-image's number has its own
    name. Entropies are in bits. Raises ValueError for labels that are not integers or an empty truth.
    """
    plain, thinned = _tables(predicted, truth, border_nm)
    cremi, information = adapted_rand_cremi(plain), variation_of_information(plain)
    rand, isbi = rand_scores(plain), isbi_scores_of_table(thinned)
    return {
        "adapted_rand_error": cremi.error,
        "adapted_rand_precision": cremi.precision,
        "adapted_rand_recall": cremi.recall,
        "adapted_rand_error_skimage": adapted_rand_skimage(plain).error,
        "rand_split": rand.split,
        "rand_merge": rand.merge,
        "voi_split": information.voi_split,
        "voi_merge": information.voi_merge,
        "voi": information.voi,
        "normalised_information_distance": information.normalised_distance,
        "cremi_score": cremi_score(plain),
        "vrand": isbi.vrand,
        "vinfo": isbi.vinfo,
        "ap75": _number(ap75(plain)),
        "msa": _number(mean_segmentation_accuracy(plain)),
        "segments": int(np.count_nonzero(np.unique(plain.segment))),
        "objects": int(np.count_nonzero(np.unique(plain.truth))),
    }


def _tables(predicted: Volume, truth: Volume, border_nm: float) -> tuple[Overlaps, Overlaps]:
    """Overlaps as they are, and with the prediction's borders thinned to nothing (for ISBI's scores)."""
    sections = _slab_sections(predicted)

    def parts(thin: bool) -> Iterator[tuple[NDArray, NDArray]]:
        for found, true in zip(predicted.slabs(sections), truth.slabs(sections), strict=True):
            # A slab is as deep as a chunk on disk; what is worked out from it need not be.
            some = max(1, SLAB_VOXELS // found[0].size)
            for z in range(0, len(found), some):
                scored = true[z : z + some]
                scored = away_from_borders(scored, border_nm, truth.voxel_size_nm) if border_nm else scored
                yield without_borders(found[z : z + some]) if thin else found[z : z + some], scored

    return overlaps_of_slabs(parts(False)), overlaps_of_slabs(parts(True))


def _slab_sections(volume: Volume) -> int:
    """Sections to read at a time: whole chunks of a volume on disk, as far as that is bounded."""
    _, height, width = volume.shape_zyx
    sections = max(1, SLAB_VOXELS // (height * width))
    chunk = int(getattr(volume.data, "chunks", (1,) * volume.data.ndim)[-3])
    return max(chunk, sections // chunk * chunk)


def _number(value: float) -> float | None:
    return None if math.isnan(value) else float(value)

"""Objects matched one to one: AP75 and mean segmentation accuracy."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import maximum_bipartite_matching

from .contingency import Overlaps
from .masks import Counts

MSA_THRESHOLDS = tuple(np.round(np.arange(0.5, 0.96, 0.05), 2))


def matched_objects(table: Overlaps, threshold: float) -> Counts:
    """Objects found (matched one to one at IoU ≥ threshold), false and missed.

    The matching is the largest possible one, as many pairs as elf's Hungarian matching finds, from the sparse table.
    Voxels where the truth is 0 count into a segment's size, since a segment may lie outside every object.
    """
    segment_ids, row = np.unique(table.segment, return_inverse=True)
    truth_ids, column = np.unique(table.truth, return_inverse=True)
    union = table.segment_sizes[row] + table.truth_sizes[column] - table.voxels
    good: NDArray[np.bool_] = (table.voxels / union >= threshold) & (table.segment != 0) & (table.truth != 0)
    graph = coo_matrix(
        (np.ones(good.sum()), (row[good], column[good])), shape=(len(segment_ids), len(truth_ids))
    ).tocsr()
    found = int((maximum_bipartite_matching(graph, perm_type="column") >= 0).sum())
    segments, objects = int((segment_ids != 0).sum()), int((truth_ids != 0).sum())
    return Counts(found, segments - found, objects - found)


def ap75(table: Overlaps) -> float:
    """TP/(TP+FP+FN) over objects matched at IoU ≥ 0.75, as MitoEM calls AP75."""
    return matched_objects(table, 0.75).iou


def mean_segmentation_accuracy(table: Overlaps) -> float:
    """mSA: mean of TP/(TP+FP+FN) over the IoU thresholds 0.50, 0.55, …, 0.95."""
    return float(np.mean([matched_objects(table, t).iou for t in MSA_THRESHOLDS]))

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment

from neuropil.train.metrics.contingency import overlaps
from neuropil.train.metrics.masks import Counts
from neuropil.train.metrics.matching import ap75, matched_objects, mean_segmentation_accuracy


def test_object_matching() -> None:
    truth = np.zeros(100, int)
    truth[:40], truth[50:60] = 1, 2
    found = np.zeros(100, int)
    found[4:40], found[50:56], found[80:90] = 5, 6, 7  # IoU 0.9, 0.6, nothing
    assert matched_objects(overlaps(found, truth), 0.5) == Counts(2, 1, 0)
    assert matched_objects(overlaps(found, truth), 0.75) == Counts(1, 2, 1)
    assert ap75(overlaps(found, truth)) == pytest.approx(1 / 4)
    # 0.50, 0.55, 0.60: two of three; 0.65 … 0.90: one, two false, one missed; 0.95: none.
    assert mean_segmentation_accuracy(overlaps(found, truth)) == pytest.approx((3 * 2 / 3 + 6 * 1 / 4) / 10)


@pytest.mark.parametrize("threshold", [0.05, 0.15, 0.5])
@pytest.mark.parametrize("seed", range(4))
def test_as_many_pairs_as_the_hungarian_method_finds(seed: int, threshold: float) -> None:
    rng = np.random.default_rng(seed)
    truth, found = rng.integers(0, 7, 300), rng.integers(0, 7, 300)
    found[:150] = (truth[:150] * 3) % 7
    iou = np.array(
        [
            [((found == a) & (truth == b)).sum() / ((found == a) | (truth == b)).sum() for b in range(1, 7)]
            for a in range(1, 7)
        ]
    )
    rows, columns = linear_sum_assignment((iou >= threshold).astype(float), maximize=True)
    expected = int((iou[rows, columns] >= threshold).sum())
    assert matched_objects(overlaps(found, truth), threshold).true_positive == expected

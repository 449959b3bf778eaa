import numpy as np
import pytest

from neuropil.train.metrics.masks import Counts, count_voxels, dice, intersection_over_union


def test_dice_and_iou() -> None:
    found, truth = np.array([1, 1, 1, 0, 0, 0], bool), np.array([0, 1, 1, 1, 1, 0], bool)
    assert dice(found, truth) == pytest.approx(4 / 7)
    assert intersection_over_union(found, truth) == pytest.approx(2 / 5)
    counts = count_voxels(found, truth)
    assert (counts.precision, counts.recall) == pytest.approx((2 / 3, 1 / 2))
    assert np.isnan(dice(np.zeros(3), np.zeros(3)))
    pooled = counts + Counts(3, 0, 1)
    assert pooled.dice == pytest.approx(10 / 14)


def test_iou_with_the_background_as_connectomics_prints_it() -> None:
    found, truth = np.array([1, 1, 1, 0, 0, 0], bool), np.array([0, 1, 1, 1, 1, 0], bool)
    counts = count_voxels(found, truth)  # TP 2, FP 1, FN 2, TN 1
    assert counts.background_iou == pytest.approx(1 / 4)
    assert counts.mean_iou == pytest.approx((2 / 5 + 1 / 4) / 2)


def test_dice_and_iou_say_the_same() -> None:
    rng = np.random.default_rng(0)
    counts = count_voxels(rng.random(500) < 0.3, rng.random(500) < 0.4)
    assert counts.dice == pytest.approx(2 * counts.iou / (1 + counts.iou))

import numpy as np
import pytest

from neuropil.train.metrics.contingency import overlaps
from neuropil.train.metrics.isbi import isbi_scores, isbi_scores_of_membrane
from neuropil.train.metrics.rand import rand_scores


def test_membrane_thickness_is_no_isbi_error_but_a_hole_is() -> None:
    truth = np.zeros((1, 40, 40), int)
    truth[0, :, :19], truth[0, :, 21:] = 1, 2
    thick = truth.copy()
    thick[0, :, 14:26] = 0
    assert isbi_scores(thick, truth).vrand == pytest.approx(1)
    assert isbi_scores(thick, truth, thin_borders=False).vrand < 0.9
    membrane = np.zeros((1, 40, 40))
    membrane[0, :, 18:22] = 1
    assert isbi_scores_of_membrane(membrane, truth).vrand == pytest.approx(1)
    membrane[0, 20:22] = 0
    assert isbi_scores_of_membrane(membrane, truth).vrand < 0.7


def test_vrand_is_the_harmonic_mean_of_split_and_merge() -> None:
    rng = np.random.default_rng(1)
    found, truth = rng.integers(1, 5, (2, 30, 30)), rng.integers(1, 6, (2, 30, 30))
    rand = rand_scores(overlaps(found, truth))
    expected = 2 * rand.split * rand.merge / (rand.split + rand.merge)
    assert isbi_scores(found, truth).vrand == pytest.approx(expected)

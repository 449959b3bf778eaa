import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from skimage.metrics import adapted_rand_error
from skimage.metrics import variation_of_information as skimage_voi

from neuropil.train.metrics.contingency import Overlaps, overlaps, overlaps_of_slabs
from neuropil.train.metrics.information import cremi_score, variation_of_information
from neuropil.train.metrics.isbi import isbi_scores
from neuropil.train.metrics.matching import mean_segmentation_accuracy
from neuropil.train.metrics.rand import adapted_rand_cremi, adapted_rand_skimage, rand_scores

# funlib.evaluate's own example (test_rand_voi.py): truth A, prediction B.
TRUTH = np.array([1, 1, 2, 2, 2, 3, 3, 3, 3, 4, 4])
FOUND = np.array([3, 3, 3, 3, 4, 5, 6, 6, 5, 5, 5])


def random_labels(seed: int, shape: tuple[int, ...] = (6, 20, 20), ids: int = 9) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, ids, shape)


def test_funlib_oracle() -> None:
    table = overlaps(FOUND, TRUTH)
    rand, voi = rand_scores(table), variation_of_information(table)
    assert rand.split == pytest.approx(0.63636, abs=5e-6)
    assert rand.merge == pytest.approx(0.56757, abs=5e-6)
    assert voi.voi_split == pytest.approx(0.61408, abs=5e-6)
    assert voi.voi_merge == pytest.approx(0.72727, abs=5e-6)
    assert voi.normalised_distance == pytest.approx(0.37561, abs=5e-6)
    assert adapted_rand_cremi(table).error == pytest.approx(0.4, abs=1e-9)
    assert cremi_score(table) == pytest.approx(np.sqrt(0.4 * (0.61408 + 0.72727)), abs=1e-5)


def test_scikit_image_oracle() -> None:
    ours = adapted_rand_skimage(overlaps(FOUND, TRUTH))
    assert (ours.error, ours.precision, ours.recall) == pytest.approx((0.5833, 0.4545, 0.3846), abs=5e-5)


@pytest.mark.parametrize("seed", range(5))
def test_scikit_image_agrees(seed: int) -> None:
    truth, found = random_labels(seed), random_labels(seed + 100)
    table = overlaps(found, truth)
    ours = adapted_rand_skimage(table)
    assert (ours.error, ours.precision, ours.recall) == pytest.approx(adapted_rand_error(truth, found))
    voi = variation_of_information(table)
    theirs = skimage_voi(truth, found, ignore_labels=(0,))
    assert (voi.voi_split, voi.voi_merge) == pytest.approx(tuple(theirs))


def cremi_python(seg: np.ndarray, gt: np.ndarray) -> float:
    """The definition, dense and slow, with the background's term as cremi_python has it."""
    p = np.zeros((gt.max() + 1, seg.max() + 1))
    np.add.at(p, (gt.ravel(), seg.ravel()), 1)
    rest = p[1:, 0].sum() / gt.size
    both = (p[1:, 1:] ** 2).sum() + rest
    precision, recall = both / ((p[1:, 1:].sum(0) ** 2).sum() + rest), both / (p[1:].sum(1) ** 2).sum()
    return 1 - 2 * precision * recall / (precision + recall)


@pytest.mark.parametrize("seed", range(5))
def test_cremi_form_with_background(seed: int) -> None:
    truth, found = random_labels(seed, ids=4), random_labels(seed + 7, ids=5)
    found[truth == 2] = 3
    assert adapted_rand_cremi(overlaps(found, truth)).error == pytest.approx(cremi_python(found, truth))


def test_perfect_and_relabelled_prediction_scores_perfectly() -> None:
    truth = random_labels(3)
    found = np.where(truth > 0, (truth * 7919) % 100003 + 2**33, 0)  # ids beyond 32 bits
    table = overlaps(found, truth)
    assert adapted_rand_cremi(table).error == pytest.approx(0)
    assert variation_of_information(table).voi == pytest.approx(0)
    assert mean_segmentation_accuracy(overlaps(found, truth)) == 1
    scores = isbi_scores(found, truth, thin_borders=False)
    assert (scores.vrand, scores.vinfo) == pytest.approx((1, 1))


@pytest.mark.parametrize(
    ("found", "truth", "says"),
    [
        (np.zeros(3, int), np.ones(4, int), "shape"),
        (np.zeros(3, int), np.zeros(3, int), "nothing to score"),
        (np.zeros(3), np.ones(3, int), "integers"),
    ],
)
def test_bad_input_is_refused(found: np.ndarray, truth: np.ndarray, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        overlaps(found, truth).drawn  # noqa: B018


def scores(table: Overlaps) -> list[float]:
    information = variation_of_information(table)
    return [
        adapted_rand_cremi(table).error,
        adapted_rand_skimage(table).error,
        information.voi_split,
        information.voi_merge,
        information.normalised_distance,
        cremi_score(table),
    ]


LABELS = arrays(np.uint16, (4, 5, 6), elements=st.integers(1, 6))


@settings(max_examples=40, deadline=None)
@given(found=LABELS, truth=LABELS, numbers=st.permutations(range(1, 7)), more=st.integers(0, 2**40))
def test_names_of_labels_do_not_matter(found: np.ndarray, truth: np.ndarray, numbers: list[int], more: int) -> None:
    other = np.array([0, *numbers], np.uint64) + np.uint64(more)
    assert scores(overlaps(other[found], other[truth])) == pytest.approx(scores(overlaps(found, truth)))


@settings(max_examples=40, deadline=None)
@given(found=LABELS, truth=LABELS)
def test_split_and_merge_change_places_with_prediction_and_truth(found: np.ndarray, truth: np.ndarray) -> None:
    one, other = overlaps(found, truth), overlaps(truth, found)
    a, b = variation_of_information(one), variation_of_information(other)
    assert (a.voi_split, a.voi_merge) == pytest.approx((b.voi_merge, b.voi_split))
    assert adapted_rand_cremi(one).error == pytest.approx(adapted_rand_cremi(other).error)
    assert (rand_scores(one).split, rand_scores(one).merge) == pytest.approx(
        (rand_scores(other).merge, rand_scores(other).split)
    )


@settings(max_examples=40, deadline=None)
@given(found=arrays(np.uint8, (5, 4, 3), elements=st.integers(0, 4)), depth=st.integers(1, 5))
def test_slabs_add_up_to_the_whole(found: np.ndarray, depth: int) -> None:
    truth = (found.astype(np.uint64)[::-1] * np.uint64(3) + np.uint64(1)) % np.uint64(5)
    slabs = [(found[z : z + depth], truth[z : z + depth]) for z in range(0, 5, depth)]
    summed, whole = overlaps_of_slabs(slabs), overlaps(found, truth)
    for name in ("segment", "truth", "voxels"):
        np.testing.assert_array_equal(getattr(summed, name), getattr(whole, name))
    pairs = {(s, t): n for s, t, n in zip(whole.segment, whole.truth, whole.voxels, strict=True)}
    assert sum(pairs.values()) == found.size
    assert all(((found == s) & (truth == t)).sum() == n for (s, t), n in pairs.items())


def test_negative_labels_are_refused() -> None:
    with pytest.raises(ValueError, match="-3"):
        overlaps(np.array([1, -3]), np.array([1, 1]))

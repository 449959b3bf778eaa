import numpy as np
import pytest
from skimage.metrics import adapted_rand_error
from skimage.metrics import variation_of_information as skimage_voi

from neuropil.train import metrics

# funlib.evaluate's own example (test_rand_voi.py): truth A, prediction B.
TRUTH = np.array([1, 1, 2, 2, 2, 3, 3, 3, 3, 4, 4])
FOUND = np.array([3, 3, 3, 3, 4, 5, 6, 6, 5, 5, 5])


def random_labels(seed: int, shape: tuple[int, ...] = (6, 20, 20), ids: int = 9) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, ids, shape)


def test_funlib_oracle() -> None:
    table = metrics.overlaps(FOUND, TRUTH)
    rand, voi = metrics.rand_scores(table), metrics.variation_of_information(table)
    assert rand.split == pytest.approx(0.63636, abs=5e-6)
    assert rand.merge == pytest.approx(0.56757, abs=5e-6)
    assert voi.voi_split == pytest.approx(0.61408, abs=5e-6)
    assert voi.voi_merge == pytest.approx(0.72727, abs=5e-6)
    assert voi.normalised_distance == pytest.approx(0.37561, abs=5e-6)
    assert metrics.adapted_rand_cremi(table).error == pytest.approx(0.4, abs=1e-9)
    assert metrics.cremi_score(table) == pytest.approx(np.sqrt(0.4 * (0.61408 + 0.72727)), abs=1e-5)


def test_scikit_image_oracle() -> None:
    ours = metrics.adapted_rand_skimage(metrics.overlaps(FOUND, TRUTH))
    assert (ours.error, ours.precision, ours.recall) == pytest.approx((0.5833, 0.4545, 0.3846), abs=5e-5)


@pytest.mark.parametrize("seed", range(5))
def test_scikit_image_agrees(seed: int) -> None:
    truth, found = random_labels(seed), random_labels(seed + 100)
    table = metrics.overlaps(found, truth)
    ours = metrics.adapted_rand_skimage(table)
    assert (ours.error, ours.precision, ours.recall) == pytest.approx(adapted_rand_error(truth, found))
    voi = metrics.variation_of_information(table)
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
    assert metrics.adapted_rand_cremi(metrics.overlaps(found, truth)).error == pytest.approx(cremi_python(found, truth))


def test_perfect_and_relabelled_prediction_scores_perfectly() -> None:
    truth = random_labels(3)
    found = np.where(truth > 0, (truth * 7919) % 100003 + 2**33, 0)  # ids beyond 32 bits
    table = metrics.overlaps(found, truth)
    assert metrics.adapted_rand_cremi(table).error == pytest.approx(0)
    assert metrics.variation_of_information(table).voi == pytest.approx(0)
    assert metrics.mean_segmentation_accuracy(found, truth) == 1
    scores = metrics.isbi_scores(found, truth, thin_borders=False)
    assert (scores.vrand, scores.vinfo) == pytest.approx((1, 1))


def test_dice_and_iou() -> None:
    found, truth = np.array([1, 1, 1, 0, 0, 0], bool), np.array([0, 1, 1, 1, 1, 0], bool)
    assert metrics.dice(found, truth) == pytest.approx(4 / 7)
    assert metrics.intersection_over_union(found, truth) == pytest.approx(2 / 5)
    counts = metrics.count_voxels(found, truth)
    assert (counts.precision, counts.recall) == pytest.approx((2 / 3, 1 / 2))
    assert np.isnan(metrics.dice(np.zeros(3), np.zeros(3)))
    pooled = counts + metrics.Counts(3, 0, 1)
    assert pooled.dice == pytest.approx(10 / 14)


def test_membrane_thickness_is_no_isbi_error_but_a_hole_is() -> None:
    truth = np.zeros((1, 40, 40), int)
    truth[0, :, :19], truth[0, :, 21:] = 1, 2
    thick = truth.copy()
    thick[0, :, 14:26] = 0
    assert metrics.isbi_scores(thick, truth).vrand == pytest.approx(1)
    assert metrics.isbi_scores(thick, truth, thin_borders=False).vrand < 0.9
    membrane = np.zeros((1, 40, 40))
    membrane[0, :, 18:22] = 1
    assert metrics.isbi_scores_of_membrane(membrane, truth).vrand == pytest.approx(1)
    membrane[0, 20:22] = 0
    assert metrics.isbi_scores_of_membrane(membrane, truth).vrand < 0.7


def test_object_matching() -> None:
    truth = np.zeros(100, int)
    truth[:40], truth[50:60] = 1, 2
    found = np.zeros(100, int)
    found[4:40], found[50:56], found[80:90] = 5, 6, 7  # IoU 0.9, 0.6, nothing
    assert metrics.matched_objects(found, truth, 0.5) == metrics.Counts(2, 1, 0)
    assert metrics.matched_objects(found, truth, 0.75) == metrics.Counts(1, 2, 1)
    assert metrics.ap75(found, truth) == pytest.approx(1 / 4)
    # 0.50, 0.55, 0.60: two of three; 0.65 … 0.90: one, two false, one missed; 0.95: none.
    assert metrics.mean_segmentation_accuracy(found, truth) == pytest.approx((3 * 2 / 3 + 6 * 1 / 4) / 10)


def test_expected_run_length() -> None:
    # Skeleton 1 (10 µm) cut into 6 + 4; skeleton 2 (30 µm) has 20 of its own, 10 merged with skeleton 3.
    erl = metrics.expected_run_length(
        {1: 10.0, 2: 30.0, 3: 10.0}, {1: {1: 6.0, 2: 4.0}, 2: {3: 20.0, 4: 10.0}, 3: {4: 10.0}}
    )
    assert erl == pytest.approx((36 + 16 + 400) / 50)


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
        metrics.overlaps(found, truth)

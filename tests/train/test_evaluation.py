import json
from pathlib import Path

import numpy as np
import pytest

from neuropil.train import evaluation
from neuropil.train.classes import CLASS_NAMES, masks_from_bits
from neuropil.train.evaluation import evaluate, evaluate_on_skeletons
from neuropil.voxelize.volume import Volume
from neuropil.voxelize.volume_files import open_volume, write_volume

NM5 = (5.0, 5.0, 5.0)


def masks(data: np.ndarray, channels: tuple[str, ...] = CLASS_NAMES) -> Volume:
    return Volume(data.astype(np.uint8), NM5, axes="czyx", channels=channels)


def test_dice_per_class_is_pooled_over_sections() -> None:
    truth, found = np.zeros((6, 2, 10, 10)), np.zeros((6, 2, 10, 10))
    truth[0, 0, :5], found[0, 0, :5] = 1, 1  # 50 right in one section,
    truth[0, 1, :1] = 1  # 10 missed in the other
    truth[1, 0, :2], found[1, 0, 1:3] = 1, 1
    found[2, 0, 0] = 1  # in the prediction only
    scores = evaluate(masks(found), masks(truth))
    assert scores["dice"]["mitochondrion"] == pytest.approx(100 / 110)
    assert scores["dice"]["mitochondrial_boundary"] == pytest.approx(0.5)
    assert scores["iou"]["mitochondrial_boundary"] == pytest.approx(1 / 3)
    assert scores["recall"]["mitochondrion"] == pytest.approx(50 / 60)
    assert scores["dice"]["membrane"] == 0 and scores["dice"]["psd"] is None
    assert set(scores["dice"]) == set(CLASS_NAMES)
    assert scores["mean_dice"] == pytest.approx((100 / 110 + 0.5 + 0) / 3)
    assert json.loads(json.dumps(scores, allow_nan=False)) == scores


def test_channels_are_matched_by_name_and_a_bit_field_is_a_truth() -> None:
    bits = np.random.default_rng(0).integers(0, 64, (2, 8, 8)).astype(np.uint8)
    found = masks_from_bits(bits)[::-1]
    scores = evaluate(masks(found, CLASS_NAMES[::-1]), Volume(bits, NM5))
    assert scores["mean_dice"] == 1


def test_instances() -> None:
    truth = np.zeros((2, 12, 12), np.uint32)
    truth[:, :6], truth[:, 6:, :4] = 1, 2
    found = truth.copy() * 7
    found[:, :3][truth[:, :3] == 1] = 9  # object 1 split in two
    scores = evaluate(Volume(found, NM5), Volume(truth, NM5))
    assert scores["voi_merge"] == pytest.approx(0) and scores["voi_split"] > 0.5
    assert scores["adapted_rand_precision"] == pytest.approx(1) and scores["adapted_rand_error"] > 0.1
    assert (scores["segments"], scores["objects"]) == (3, 2)
    assert scores["ap75"] == pytest.approx(1 / 4)
    json.dumps(scores, allow_nan=False)


def test_what_cannot_be_compared_is_refused() -> None:
    full, empty = np.ones((6, 1, 4, 4)), np.zeros((6, 1, 4, 4))
    with pytest.raises(ValueError, match="empty: there is nothing to score"):
        evaluate(masks(full), masks(empty))
    with pytest.raises(ValueError, match="they must agree"):
        evaluate(masks(full), masks(full[:, :, :3]))
    with pytest.raises(ValueError, match="voxels measure"):
        evaluate(masks(full), Volume(full[0].astype(np.uint8), (10.0, 10.0, 10.0)))
    with pytest.raises(ValueError, match="must be the same"):
        evaluate(masks(full[:2], ("a", "b")), masks(full))
    with pytest.raises(ValueError, match="masks per class"):
        evaluate(Volume(full[0].astype(np.uint32), NM5), masks(full))
    with pytest.raises(ValueError, match="integers"):
        evaluate(Volume(full[0].astype(np.float32), NM5), Volume(full[0].astype(np.uint32), NM5))


def test_a_volume_on_disk_is_scored_slab_by_slab_alike(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    truth = np.repeat(rng.integers(0, 5, (70, 6, 8)).astype(np.uint32), 3, axis=2)
    found = np.where(rng.random(truth.shape) < 0.1, 0, truth * 3)
    whole = evaluate(Volume(found, NM5), Volume(truth, NM5), border_nm=3.0)
    for name, array in (("found", found), ("truth", truth)):
        write_volume(Volume(array, NM5), tmp_path / f"{name}.zarr")
    monkeypatch.setattr(evaluation, "SLAB_VOXELS", 1)
    opened = [open_volume(tmp_path / f"{name}.zarr") for name in ("found", "truth")]
    assert evaluate(opened[0], opened[1], border_nm=3.0) == whole
    assert evaluate(Volume(found, NM5), Volume(truth, NM5)) != whole
    bits = rng.integers(0, 64, (3, 8, 8)).astype(np.uint8)
    assert evaluate(masks(masks_from_bits(bits)), Volume(bits, NM5))["mean_iou"] == 1


def test_run_lengths_in_the_frame_of_the_volume() -> None:
    labels = np.ones((1, 1, 100), np.uint16)
    labels[..., 60:] = 2
    volume = Volume(labels, (10.0, 10.0, 10.0), (1000.0, 2000.0, 3000.0))
    edge = np.array([[[1005.0, 2005.0, 3005.0], [1005.0, 2005.0, 3995.0]]])
    scores = evaluate_on_skeletons(volume, [edge])
    assert scores["erl_um"] == pytest.approx((0.59**2 + 0.39**2) / 0.99)
    assert scores["nerl"] == pytest.approx(scores["erl_um"] / 0.99)
    with pytest.raises(ValueError, match="inside the volume"):
        evaluate_on_skeletons(volume, [edge * 1e3])
    with pytest.raises(ValueError, match="float32"):
        evaluate_on_skeletons(Volume(labels.astype(np.float32), NM5), [edge])

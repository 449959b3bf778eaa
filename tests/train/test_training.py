import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from pydantic import ValidationError

from neuropil.train.augmentation import NO_AUGMENTATION
from neuropil.train.bundle import read_bundle
from neuropil.train.curve import read_curve
from neuropil.train.dataset import SegmentationDataset
from neuropil.train.labelled_volume import LabelledVolume
from neuropil.train.settings import NetworkConfig, SemanticTask, TrainingConfig
from neuropil.train.training import train_network

FEW = {"batch": 2, "checkpoint_steps": 4, "validations": 2, "validation_sections": 2}


class Killed(Exception):
    pass


def killed_at(step: int) -> object:
    def progress(fraction: float, text: str) -> None:
        if f"step {step}/" in text:
            raise Killed

    return progress


def weights(folder: Path) -> dict[str, np.ndarray]:
    return safetensors.numpy.load_file(folder / "models" / "model.safetensors")


def same(a: dict[str, np.ndarray], b: dict[str, np.ndarray]) -> bool:
    return a.keys() == b.keys() and all(np.array_equal(a[key], b[key]) for key in a)


def test_learns_a_learnable_task(toy: LabelledVolume, other_toy: LabelledVolume, tmp_path: Path) -> None:
    network = NetworkConfig(kind="basic_unet", features=(8, 8, 8, 8, 8, 8))
    config = TrainingConfig(network=network, steps=100, batch=4, learning_rate=1e-2, validations=2, ema_decay=0.9)
    seen: list[float] = []
    dataset = SegmentationDataset([[toy]], 64, augmentation=NO_AUGMENTATION)
    train_network(config, dataset, [other_toy], tmp_path, lambda part, text: seen.append(part))
    rows = read_curve(tmp_path)
    last = rows[-1]
    assert all(last[f"dice_{name}"] > 0.95 for name in ("mitochondrion", "mitochondrial_boundary", "membrane"))
    assert last["loss"] < 0.6 * rows[0]["loss"]
    assert rows[-1]["step"] == 100 and sum("dice_mean" in row for row in rows) == 2
    assert seen == sorted(seen) and seen[-1] == 1.0
    # All that a training leaves, and nothing else.
    assert {p.name for p in tmp_path.iterdir()} == {"configs", "curve.csv", "docs", "events", "models", "training.json"}
    assert list((tmp_path / "events").glob("events.out.tfevents.*"))
    record = json.loads((tmp_path / "training.json").read_text())
    assert record["steps"] == 100 and record["validation"]["dice_mean"] == pytest.approx(last["dice_mean"])
    assert read_bundle(tmp_path).voxel_size_nm == (5.0, 5.0, 5.0)


def test_one_seed_one_result_and_a_kill_changes_nothing(
    toy: LabelledVolume, small_network: NetworkConfig, tmp_path: Path
) -> None:
    config = TrainingConfig(network=small_network, steps=10, **FEW)  # type: ignore[arg-type]
    dataset = SegmentationDataset([[toy]], 32)
    whole = train_network(config, dataset, [toy], tmp_path / "whole")
    again = tmp_path / "again"
    for step in (2, 7):  # before the first checkpoint, and between two
        with pytest.raises(Killed):
            train_network(config, dataset, [toy], again, killed_at(step))  # type: ignore[arg-type]
        assert not (again / "configs").exists()
    train_network(config, dataset, [toy], again)
    assert same(weights(whole), weights(again))
    drop = ("seconds", "validation_seconds")
    curves = [[{k: v for k, v in row.items() if k not in drop} for row in read_curve(f)] for f in (whole, again)]
    assert curves[0] == curves[1]
    other = config.model_copy(update={"seed": 1})
    assert not same(weights(whole), weights(train_network(other, dataset, [toy], tmp_path / "other")))


SCRIPT = """
import sys, torch
from pathlib import Path
from tests_conftest import toy_volume, SMALL
from neuropil.train.dataset import SegmentationDataset
from neuropil.train.training import TrainingConfig, train_network
torch.set_num_threads(1)
config = TrainingConfig(network=SMALL, steps=int(sys.argv[2]), batch=2, checkpoint_steps=3, validations=1)
train_network(config, SegmentationDataset([[toy_volume(0)]], 32), [], Path(sys.argv[1]))
"""


def test_kill_minus_9_leaves_a_training_that_goes_on(
    toy: LabelledVolume, small_network: NetworkConfig, tmp_path: Path
) -> None:
    """A process killed at a moment nobody chose, then finished here, equals an undisturbed training."""
    steps = 80
    (tmp_path / "tests_conftest.py").write_text((Path(__file__).parent / "conftest.py").read_text())
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    folder = tmp_path / "killed"
    process = subprocess.Popen([sys.executable, "-c", SCRIPT, str(folder), str(steps)], env=environment)
    try:
        deadline = time.monotonic() + 60
        while not list(folder.glob("checkpoints/step-*")) and time.monotonic() < deadline:
            time.sleep(0.01)
            assert process.poll() is None, "the training ended before it could be killed"
        process.send_signal(signal.SIGKILL)
    finally:
        process.kill()
        process.wait()
    assert not (folder / "training.json").exists()
    config = TrainingConfig(network=small_network, steps=steps, batch=2, checkpoint_steps=3, validations=1)
    dataset = SegmentationDataset([[toy]], 32)
    train_network(config, dataset, [], folder)
    assert same(weights(folder), weights(train_network(config, dataset, [], tmp_path / "whole")))


def test_budget_is_kept(toy: LabelledVolume, small_network: NetworkConfig, tmp_path: Path) -> None:
    config = TrainingConfig(network=small_network, budget_seconds=4.0, batch=2, validations=2)
    begin = time.monotonic()
    train_network(config, SegmentationDataset([[toy]], 32), [toy], tmp_path)
    assert 2.0 < time.monotonic() - begin < 8.0
    record = json.loads((tmp_path / "training.json").read_text())
    assert record["steps"] > 5 and record["schedule"][-1] == [record["steps"], 1.0]
    # The learning rate came down: the training was finished, not cut off.
    assert read_curve(tmp_path)[-1]["learning_rate"] < 1e-4


def test_finished_training_is_not_repeated_and_another_one_is_not_overwritten(
    toy: LabelledVolume, small_network: NetworkConfig, tmp_path: Path
) -> None:
    config = TrainingConfig(network=small_network, steps=3, **FEW)  # type: ignore[arg-type]
    dataset = SegmentationDataset([[toy]], 32)
    train_network(config, dataset, [], tmp_path)
    stamp = (tmp_path / "models" / "model.safetensors").stat().st_mtime_ns
    train_network(config, dataset, [], tmp_path)
    assert (tmp_path / "models" / "model.safetensors").stat().st_mtime_ns == stamp
    longer = config.model_copy(update={"steps": 4})
    with pytest.raises(ValueError, match="other settings or data"):
        train_network(longer, dataset, [], tmp_path)
    train_network(longer, dataset, [], tmp_path, resume=False)
    assert json.loads((tmp_path / "training.json").read_text())["steps"] == 4


def test_checkpoint_of_other_data_or_damaged_is_refused(
    toy: LabelledVolume, other_toy: LabelledVolume, small_network: NetworkConfig, tmp_path: Path
) -> None:
    config = TrainingConfig(network=small_network, steps=10, **FEW)  # type: ignore[arg-type]
    with pytest.raises(Killed):
        train_network(config, SegmentationDataset([[toy]], 32), [], tmp_path, killed_at(5))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="other settings or data"):
        train_network(config, SegmentationDataset([[other_toy]], 32), [], tmp_path)
    (file,) = tmp_path.glob("checkpoints/step-*/weights.safetensors")
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(ValueError, match="is damaged"):
        train_network(config, SegmentationDataset([[toy]], 32), [], tmp_path)


def test_bad_settings_are_refused(toy: LabelledVolume, small_network: NetworkConfig, tmp_path: Path) -> None:
    for bad in ({}, {"steps": 1, "budget_seconds": 1.0}, {"steps": 1, "network": "resnet"}, {"steps": 1, "epochs": 3}):
        with pytest.raises(ValidationError):
            TrainingConfig(**bad)  # type: ignore[arg-type]
    config = TrainingConfig(network="tiny_unet_v2", steps=1)  # type: ignore[arg-type]
    assert config.network.features == (32, 32, 64, 128, 256, 32)
    small = config.model_copy(update={"network": small_network})
    with pytest.raises(ValueError, match="multiple of 32"):
        train_network(small, SegmentationDataset([[toy]], 48), [], tmp_path)
    with pytest.raises(ValueError, match="2D and the patches are 3D"):
        train_network(small, SegmentationDataset([[toy]], 32, spatial_dims=3), [], tmp_path)


def test_stops_early_with_the_best_average(toy: LabelledVolume, small_network: NetworkConfig, tmp_path: Path) -> None:
    """With a rate at which it gets worse again and again, it ends, and what it keeps was the best."""
    config = TrainingConfig(
        network=small_network, steps=60, batch=2, validations=20, learning_rate=0.5, patience=2, ema_decay=0.0
    )
    dataset = SegmentationDataset([[toy]], 32)
    train_network(config, dataset, [toy], tmp_path / "a")
    scores = [row["dice_mean"] for row in read_curve(tmp_path / "a") if "dice_mean" in row]
    record = json.loads((tmp_path / "a" / "training.json").read_text())
    assert record["steps"] < 60 and len(scores) < 20
    assert max(scores[-2:]) <= max(scores[:-2])
    assert record["validation"]["dice_mean"] == max(scores)
    # Killed between the best one and the end, it ends in the same place.
    best_step = 3 * (int(np.argmax(scores)) + 1)
    checked = config.model_copy(update={"checkpoint_steps": 1})
    with pytest.raises(Killed):
        train_network(checked, dataset, [toy], tmp_path / "b", killed_at(best_step + 1))  # type: ignore[arg-type]
    train_network(checked, dataset, [toy], tmp_path / "b")
    assert same(weights(tmp_path / "a"), weights(tmp_path / "b"))
    with pytest.raises(ValueError, match="nothing to validate on"):
        train_network(config, dataset, [], tmp_path / "c")


def test_processes_that_cut_patches_change_nothing(
    toy: LabelledVolume, small_network: NetworkConfig, tmp_path: Path
) -> None:
    config = TrainingConfig(network=small_network, steps=5, **FEW)  # type: ignore[arg-type]
    dataset = SegmentationDataset([[toy]], 32)
    here = train_network(config, dataset, [], tmp_path / "here")
    elsewhere = train_network(config.model_copy(update={"workers": 2}), dataset, [], tmp_path / "elsewhere")
    assert same(weights(here), weights(elsewhere))


def test_a_network_of_five_classes_knows_their_names(
    toy: LabelledVolume, small_network: NetworkConfig, tmp_path: Path
) -> None:
    task = SemanticTask(classes=5)  # type: ignore[arg-type]
    config = TrainingConfig(network=small_network, task=task, steps=2, **FEW)  # type: ignore[arg-type]
    train_network(config, SegmentationDataset([[toy]], 32, task=task), [toy], tmp_path)
    model = read_bundle(tmp_path)
    assert model.task == task and model.classes == task.channels
    assert "dice_mitochondrial_boundary" not in read_curve(tmp_path)[-1]
    with pytest.raises(ValueError, match="patches are for the task"):
        train_network(config, SegmentationDataset([[toy]], 32), [], tmp_path / "other")


TWO = """
import sys, torch
from pathlib import Path
from tests_conftest import toy_volume, SMALL
from neuropil.train.dataset import SegmentationDataset
from neuropil.train.settings import SemanticTask
from neuropil.train.training import TrainingConfig, train_network
torch.set_num_threads(1)
network = SMALL.model_copy(update={"norm": "instance"})
config = TrainingConfig(network=network, steps=4, batch=4, validations=1, bf16=False, task=SemanticTask(loss="bce"))
dataset = SegmentationDataset([[toy_volume(0)]], 64, task=config.task)
train_network(config, dataset, [toy_volume(1)], Path(sys.argv[1]))
"""


def test_two_processes_under_torchrun_learn_what_one_learns(
    toy: LabelledVolume, other_toy: LabelledVolume, small_network: NetworkConfig, tmp_path: Path
) -> None:
    """Each takes half of the batch; the gradients' mean is that of the whole, so weights agree but for rounding."""
    (tmp_path / "tests_conftest.py").write_text((Path(__file__).parent / "conftest.py").read_text())
    (tmp_path / "script.py").write_text(TWO)
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "OMP_NUM_THREADS": "1"}
    start = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command = [*start, str(tmp_path / "script.py"), str(tmp_path / "two")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
    task, network = SemanticTask(loss="bce"), small_network.model_copy(update={"norm": "instance"})
    config = TrainingConfig(network=network, steps=4, batch=4, validations=1, bf16=False, task=task)
    train_network(config, SegmentationDataset([[toy]], 64, task=task), [other_toy], tmp_path / "one")
    one, two = weights(tmp_path / "one"), weights(tmp_path / "two")
    assert one.keys() == two.keys()
    assert all(np.allclose(one[key], two[key], atol=2e-3) for key in one)
    assert (tmp_path / "two" / "training.json").exists()

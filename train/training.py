"""Training a network on labelled patches: for so many steps or seconds, and on from where it was killed."""

from __future__ import annotations

import copy
import csv
import io
import json
import shutil
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.tensorboard import SummaryWriter

from .bundle import METADATA, Model, write_atomically, write_bundle
from .checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from .classes import CLASS_NAMES, masks_from_bits
from .dataset import Batch, SegmentationDataset
from .inference import InferenceSettings, Segmenter
from .labelled_volume import LabelledVolume
from .metrics import Counts, count_voxels
from .networks import best_device, build_network, in_fast_layout
from .schedule import Schedule, crossed, one_cycle
from .settings import TrainingConfig

Progress = Callable[[float, str], None]
CHECKPOINTS = "checkpoints"
EVENTS = "events"
CURVE = "curve.csv"
RECORD = "training.json"
# Rows of the training curve.
CURVE_POINTS = 50
# Steps that are timed before a training with a time budget, after as many that warm up.
TRIAL_STEPS = 3
# Part of the time budget after which trials end, however few they were.
TRIAL_SHARE = 0.1
# Fraction of the time budget kept for writing the model.
RESERVE = 0.03
# How often, in parts of the whole, a training with a time budget looks at the clock and plans anew.
REPLANS = 20


@dataclass
class Trainer:
    """A training under way."""

    config: TrainingConfig
    dataset: SegmentationDataset
    validation: Sequence[LabelledVolume]
    folder: Path
    network: torch.nn.Module
    average: torch.nn.Module
    optimizer: torch.optim.Adam
    schedule: Schedule
    step: int = 0
    seconds: float = 0.0
    curve: list[dict[str, float]] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)

    @property
    def segmenter(self) -> Segmenter:
        """The running average as it would answer now."""
        network = self.config.network
        settings = InferenceSettings(bf16=self.config.bf16)
        return Segmenter(self.average, network.spatial_dims, network.multiple, len(CLASS_NAMES), settings)


def train_network(
    config: TrainingConfig,
    dataset: SegmentationDataset,
    validation: Sequence[LabelledVolume],
    folder: Path,
    progress: Progress | None = None,
    resume: bool = True,
) -> Path:
    """Train, and leave in `folder` a MONAI bundle, curve.csv, training.json and TensorBoard events.

    Goes on from the last checkpoint in `folder` if there is one of the same settings and data, and does
    nothing if the training there is finished. `progress` hears (fraction, text). Returns `folder`.
    Raises ValueError if `folder` holds a training with other settings or data, or dataset and network differ
    in dimension.
    """
    if dataset.spatial_dims != config.network.spatial_dims:
        raise ValueError(f"the network is {config.network.spatial_dims}D and the patches are {dataset.spatial_dims}D")
    if dataset.patch_px % config.network.multiple:
        raise ValueError(f"patch_px is {dataset.patch_px}; this network needs a multiple of {config.network.multiple}")
    begun = time.monotonic()
    mark = _fingerprint(config, dataset)
    if not resume:
        _clear(folder)
    if _is_finished(folder, mark):
        return folder
    checkpoint = read_checkpoint(folder / CHECKPOINTS)
    if checkpoint and checkpoint.state["fingerprint"] != mark:
        raise ValueError(f"{folder} holds a training with other settings or data; choose another folder or start anew")
    with _threads(config.threads):
        trainer = _trainer(config, dataset, validation, folder)
        if checkpoint:
            _restore(trainer, checkpoint)
        _train(trainer, mark, begun, progress)
    _finish(trainer, mark)
    if progress:
        progress(1.0, f"trained {trainer.step} steps")
    return folder


def read_curve(folder: Path) -> list[dict[str, float]]:
    """Rows of a training's curve: step, seconds, learning_rate, loss, and at validations dice_CLASS and
    dice_mean (other rows lack these)."""
    with open(folder / CURVE, newline="") as file:
        return [{key: float(v) for key, v in row.items() if v} for row in csv.DictReader(file)]


def segmentation_loss(logits: torch.Tensor, masks: torch.Tensor, kind: str = "bce_dice") -> torch.Tensor:
    """Binary cross-entropy plus (1 − Dice) averaged over classes; Dice is pooled over the batch, smooth 1.

    `logits` and `masks` are (n, c, …). `kind` picks the sum or one of the two.
    """
    total = torch.zeros((), device=logits.device)
    if kind != "dice":
        total = total + torch.nn.functional.binary_cross_entropy_with_logits(logits, masks)
    if kind != "bce":
        axes = (0, *range(2, logits.ndim))
        found = logits.sigmoid()
        both, all_ = (found * masks).sum(axes), found.sum(axes) + masks.sum(axes)
        total = total + (1 - (2 * both + 1) / (all_ + 1)).mean()
    return total


def _trainer(
    config: TrainingConfig,
    dataset: SegmentationDataset,
    validation: Sequence[LabelledVolume],
    folder: Path,
) -> Trainer:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        network = build_network(config.network, len(CLASS_NAMES))
    network = network.to(best_device())
    optimizer = torch.optim.Adam(network.parameters(), config.learning_rate)
    average = copy.deepcopy(network).requires_grad_(False)
    schedule = Schedule.of_steps(config.steps) if config.steps else Schedule()
    return Trainer(config, dataset, validation, folder, network, average, optimizer, schedule)


def _train(trainer: Trainer, mark: str, begun: float, progress: Progress | None) -> None:
    """All steps that are still to do; `begun` is when this process set to work."""
    config = trainer.config
    started = begun - trainer.seconds
    if not trainer.schedule.knots:
        trainer.schedule = Schedule.of_steps(_affordable_steps(trainer, started))
    writer = SummaryWriter(str(trainer.folder / EVENTS), purge_step=trainer.step or None)
    times: list[float] = []
    batches = trainer.dataset.batches(config.seed, config.batch, trainer.step)
    try:
        while trainer.step < trainer.schedule.steps:
            begin = time.monotonic()
            before = trainer.schedule.progress(trainer.step)
            rate = _step(trainer, next(batches), before)
            after = trainer.schedule.progress(trainer.step)
            times.append(time.monotonic() - begin)
            trainer.seconds = time.monotonic() - started
            validate = crossed(before, after, config.validations)
            if validate or crossed(before, after, CURVE_POINTS):
                _record(trainer, writer, rate, validate)
            trainer.seconds = time.monotonic() - started
            if config.budget_seconds:
                _keep_to_time(trainer, float(np.mean(times[-20:])), crossed(before, after, REPLANS))
            if trainer.step % config.checkpoint_steps == 0 and trainer.step < trainer.schedule.steps:
                write_checkpoint(_checkpoint(trainer, mark), trainer.folder / CHECKPOINTS)
            if progress:
                progress(after, f"step {trainer.step}/{trainer.schedule.steps}, loss {trainer.losses[-1]:.3f}")
    finally:
        writer.close()


def _step(trainer: Trainer, batch: Batch, progress: float) -> float:
    """One step of Adam at the learning rate of `progress`, which it returns."""
    config, device = trainer.config, next(trainer.network.parameters()).device
    rate, momentum = one_cycle(progress, config.learning_rate)
    for group in trainer.optimizer.param_groups:
        group["lr"], group["betas"] = rate, (momentum, group["betas"][1])
    trainer.network.train()
    with torch.autocast(device.type, torch.bfloat16, enabled=config.bf16):
        logits = trainer.network(in_fast_layout(batch.images.to(device)))
    loss = segmentation_loss(logits.float(), batch.masks.to(device), config.loss)
    trainer.optimizer.zero_grad(set_to_none=True)
    loss.backward()
    trainer.optimizer.step()
    trainer.step += 1
    # The average starts short, so that it does not remember the untrained network.
    _average(trainer.average, trainer.network, min(config.ema_decay, trainer.step / (trainer.step + 10)))
    trainer.losses = [*trainer.losses[-99:], float(loss.detach())]
    return rate


def _average(average: torch.nn.Module, network: torch.nn.Module, decay: float) -> None:
    with torch.no_grad():
        for mine, new in zip(average.state_dict().values(), network.state_dict().values(), strict=True):
            if mine.is_floating_point():
                mine.lerp_(new, 1 - decay)
            else:
                mine.copy_(new)


def _affordable_steps(trainer: Trainer, started: float) -> int:
    """Steps that fit into what is left of the time budget, from trial steps on a copy and one validation."""
    budget = trainer.config.budget_seconds or 0.0
    trial = _trainer(trainer.config, trainer.dataset, [], trainer.folder)
    times = []
    # Trials draw from generators of their own: training is not to see them again.
    for batch, _ in zip(
        trainer.dataset.batches(trainer.config.seed + 2**32, trainer.config.batch),
        range(2 * TRIAL_STEPS),
        strict=False,
    ):
        begin = time.monotonic()
        _step(trial, batch, 0.0)
        times.append(time.monotonic() - begin)
        if sum(times) > TRIAL_SHARE * budget:
            break
    begin = time.monotonic()
    _validate(trainer)
    validations = (time.monotonic() - begin) * trainer.config.validations
    left = budget * (1 - RESERVE) - (time.monotonic() - started) - validations
    return max(1, int(left / float(np.median(times[-TRIAL_STEPS:]))))


def _keep_to_time(trainer: Trainer, step_seconds: float, regular: bool) -> None:
    """Change the number of steps where the machine has become slower or faster than it was: at `regular`
    times, and at once where time is up."""
    budget = trainer.config.budget_seconds or 0.0
    due = [row["validation_seconds"] for row in trainer.curve if "validation_seconds" in row]
    missing = (trainer.config.validations - len(due)) * (max(due) if due else 0.0)
    remaining = int((budget * (1 - RESERVE) - trainer.seconds - missing) / step_seconds)
    planned = trainer.schedule.steps - trainer.step
    if (regular and planned and abs(remaining - planned) > 0.02 * planned) or remaining < 1 < planned:
        trainer.schedule.replan(trainer.step, remaining)


def _validate(trainer: Trainer) -> dict[str, float]:
    """Dice per class pooled over the validation sections, and their mean over the classes that occur."""
    pooled = [Counts()] * len(CLASS_NAMES)
    for image, bits in _validation_images(trainer):
        truth = masks_from_bits(bits)
        for slab in trainer.segmenter.slabs(image):
            end = slab.start + slab.probabilities.shape[1]
            for k in range(len(CLASS_NAMES)):
                pooled[k] += count_voxels(slab.probabilities[k] >= 128, truth[k, slab.start : end])
    if not any(trainer.validation):
        return {}
    scores = {f"dice_{name}": counts.dice for name, counts in zip(CLASS_NAMES, pooled, strict=True)}
    known = [score for score in scores.values() if not np.isnan(score)]
    scores["dice_mean"] = float(np.mean(known or [0.0]))
    return {key: score for key, score in scores.items() if not np.isnan(score)}


def _validation_images(trainer: Trainer) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Evenly spread sections (1, y, x) in 2D; the middle of each volume, two patches wide at most, in 3D."""
    if trainer.config.network.spatial_dims == 3:
        for volume in trainer.validation:
            middle = tuple(_middle(length, 2 * trainer.dataset.patch_px) for length in volume.image.shape)
            yield volume.image[middle], volume.bits[middle]
        return
    sections = [(v, z) for v in trainer.validation for z in range(len(v.image))]
    wanted = min(trainer.config.validation_sections, len(sections))
    for k in np.linspace(0, len(sections) - 1, wanted).round().astype(int):
        volume, z = sections[k]
        yield volume.image[z : z + 1], volume.bits[z : z + 1]


def _middle(length: int, most: int) -> slice:
    start = max(0, (length - most) // 2)
    return slice(start, start + most)


def _record(trainer: Trainer, writer: SummaryWriter, rate: float, validate: bool) -> None:
    row = {
        "step": trainer.step,
        "seconds": round(trainer.seconds, 3),
        "learning_rate": rate,
        "loss": float(np.mean(trainer.losses[-20:])),
    }
    if validate and trainer.validation:
        begin = time.monotonic()
        row |= _validate(trainer)
        row["validation_seconds"] = time.monotonic() - begin
    trainer.curve.append(row)
    for key, value in row.items():
        if key not in ("step", "validation_seconds"):
            writer.add_scalar(key.replace("dice_", "dice/"), value, trainer.step)
    write_atomically(trainer.folder / CURVE, _curve_csv(trainer.curve))


def _curve_csv(curve: Sequence[dict[str, float]]) -> bytes:
    columns = ["step", "seconds", "learning_rate", "loss"]
    columns += [f"dice_{name}" for name in CLASS_NAMES] + ["dice_mean", "validation_seconds"]
    text = io.StringIO()
    table = csv.DictWriter(text, columns)
    table.writeheader()
    table.writerows(curve)
    return text.getvalue().encode()


def _checkpoint(trainer: Trainer, mark: str) -> Checkpoint:
    state = {
        "fingerprint": mark,
        "seconds": trainer.seconds,
        "knots": trainer.schedule.knots,
        "curve": trainer.curve,
        "losses": trainer.losses,
    }
    return Checkpoint(
        trainer.step,
        trainer.network.state_dict(),
        trainer.average.state_dict(),
        trainer.optimizer.state_dict(),
        state,
    )


def _restore(trainer: Trainer, checkpoint: Checkpoint) -> None:
    trainer.network.load_state_dict(checkpoint.network)
    trainer.average.load_state_dict(checkpoint.average)
    trainer.optimizer.load_state_dict(checkpoint.optimizer)
    trainer.step, trainer.seconds = checkpoint.step, checkpoint.state["seconds"]
    trainer.schedule = Schedule([(int(step), float(p)) for step, p in checkpoint.state["knots"]])
    trainer.curve, trainer.losses = checkpoint.state["curve"], checkpoint.state["losses"]


def _finish(trainer: Trainer, mark: str) -> None:
    """The bundle, then the record, whose presence says that the training is finished; then no checkpoints."""
    config = trainer.config
    validated = [row for row in trainer.curve if "dice_mean" in row]
    record: dict[str, Any] = {
        "fingerprint": mark,
        "config": config.model_dump(mode="json"),
        "steps": trainer.step,
        "seconds": round(trainer.seconds, 3),
        "patches_per_second": round(trainer.step * config.batch / max(trainer.seconds, 1e-9), 3),
        "schedule": trainer.schedule.knots,
        "training_volumes": [volume.name for volume in trainer.dataset.volumes],
        "class_fractions": trainer.dataset.class_fractions(),
        "validation": {k: v for k, v in (validated[-1] if validated else {}).items() if k.startswith("dice")},
    }
    model = Model(
        trainer.average.eval(),
        config.network,
        CLASS_NAMES,
        trainer.dataset.voxel_size_nm,
        config.name,
        trainer.dataset.patch_px,
        {key: record[key] for key in ("config", "steps", "validation")},
    )
    write_bundle(model, trainer.folder)
    write_atomically(trainer.folder / RECORD, (json.dumps(record, indent=2) + "\n").encode())
    shutil.rmtree(trainer.folder / CHECKPOINTS, ignore_errors=True)


def _is_finished(folder: Path, mark: str) -> bool:
    """Whether `folder` holds this very training, finished. ValueError if it is another one."""
    if not (folder / RECORD).is_file() or not (folder / METADATA).is_file():
        return False
    if json.loads((folder / RECORD).read_text()).get("fingerprint") != mark:
        raise ValueError(f"{folder} holds a training with other settings or data; choose another folder or start anew")
    return True


def _clear(folder: Path) -> None:
    """Forget an earlier training in `folder`; its bundle stays until a new one takes its place."""
    for name in (CHECKPOINTS, EVENTS):
        shutil.rmtree(folder / name, ignore_errors=True)
    for name in (RECORD, CURVE):
        (folder / name).unlink(missing_ok=True)


def _fingerprint(config: TrainingConfig, dataset: SegmentationDataset) -> str:
    return f"{zlib.crc32(config.model_dump_json().encode()):08x}-{dataset.checksum:08x}"


@contextmanager
def _threads(count: int | None) -> Iterator[None]:
    before = torch.get_num_threads()
    if count:
        torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)

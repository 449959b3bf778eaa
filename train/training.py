"""Training a network on labelled patches: for so many steps or seconds, and on from where it was killed."""

from __future__ import annotations

import copy
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
from .card import Card, card_text
from .checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from .curve import CURVE, write_curve
from .dataset import Batch, PatchSource
from .inference import InferenceSettings, Segmenter
from .labelled_volume import LabelledVolume
from .loading import load_batches
from .networks import best_device, build_network, in_fast_layout
from .pacing import affordable_steps, keep_to_time
from .processes import Process, joined
from .schedule import Schedule, crossed, one_cycle
from .settings import TrainingConfig
from .tasks import task_loss
from .validation import validate

Progress = Callable[[float, str], None]
CHECKPOINTS = "checkpoints"
EVENTS = "events"
RECORD = "training.json"
# Rows of the training curve.
CURVE_POINTS = 50
# Steps that are timed before a training with a time budget, after as many that warm up.
TRIAL_STEPS = 3
# Part of the time budget after which trials end, however few they were.
TRIAL_SHARE = 0.1
# Volumes that a model's card names.
CARD_VOLUMES = 8
# How often, in parts of the whole, a training with a time budget looks at the clock and plans anew.
REPLANS = 20


@dataclass
class Trainer:
    """A training under way. `parallel` is the network as this process of several calls it; `best` are the average's
    weights where it was validated best, which only a training that may stop early keeps."""

    config: TrainingConfig
    dataset: PatchSource
    validation: Sequence[LabelledVolume]
    folder: Path
    process: Process
    network: torch.nn.Module
    parallel: torch.nn.Module
    average: torch.nn.Module
    optimizer: torch.optim.Adam
    schedule: Schedule
    step: int = 0
    seconds: float = 0.0
    curve: list[dict[str, float]] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    best: dict[str, torch.Tensor] = field(default_factory=dict)

    @property
    def segmenter(self) -> Segmenter:
        """The running average as it would answer now."""
        network, settings = self.config.network, InferenceSettings(bf16=self.config.bf16)
        channels = len(self.config.task.channels)
        return Segmenter(self.average, network.spatial_dims, network.multiples, channels, settings)


def train_network(
    config: TrainingConfig,
    dataset: PatchSource,
    validation: Sequence[LabelledVolume],
    folder: Path,
    progress: Progress | None = None,
    resume: bool = True,
) -> Path:
    """Train, and leave in `folder` a MONAI bundle, curve.csv, training.json and TensorBoard events.

    Goes on from the last checkpoint in `folder` if there is one of the same settings and data, and does
    nothing if the training there is finished. `progress` hears (fraction, text). Returns `folder`. Processes that
    torchrun started share each batch. Raises ValueError if `folder` holds a training with other settings or data, or
    dataset and network do not fit, or an early stop is asked for with nothing to validate on.
    """
    _check(config, dataset, validation)
    begun = time.monotonic()
    mark = _fingerprint(config, dataset)
    with joined() as process, _threads(config.threads):
        if not resume and process.leads:
            _clear(folder)
        # Nobody looks into the folder before it is cleared.
        process.agreed(None)
        if _is_finished(folder, mark):
            return folder
        checkpoint = read_checkpoint(folder / CHECKPOINTS)
        if checkpoint and checkpoint.state["fingerprint"] != mark:
            raise ValueError(
                f"{folder} holds a training with other settings or data; choose another folder or start anew"
            )
        trainer = _trainer(config, dataset, validation, folder, process)
        if checkpoint:
            _restore(trainer, checkpoint)
        _train(trainer, mark, begun, progress)
        if process.leads:
            _finish(trainer, mark)
        process.agreed(None)
    if progress:
        progress(1.0, f"trained {trainer.step} steps")
    return folder


def _check(config: TrainingConfig, dataset: PatchSource, validation: Sequence[LabelledVolume]) -> None:
    network = config.network
    if dataset.spatial_dims != network.spatial_dims:
        raise ValueError(f"the network is {network.spatial_dims}D and the patches are {dataset.spatial_dims}D")
    multiples = network.multiples[-network.spatial_dims :]
    if any(side % multiple for side, multiple in zip(dataset.patch_shape, multiples, strict=True)):
        sides = " × ".join(map(str, dataset.patch_shape))
        wanted = str(multiples[-1]) if len(set(multiples)) == 1 else " × ".join(map(str, multiples))
        raise ValueError(f"patch_px is {sides}; this network needs a multiple of {wanted}")
    if dataset.task != config.task:
        raise ValueError(f"the patches are for the task {dataset.task!r}, the network is to learn {config.task!r}")
    if config.patience and not validation:
        raise ValueError("patience is set, but there is nothing to validate on, so nothing says when to stop")


def _trainer(
    config: TrainingConfig,
    dataset: PatchSource,
    validation: Sequence[LabelledVolume],
    folder: Path,
    process: Process,
) -> Trainer:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        network = build_network(config.network, len(config.task.channels))
    network = network.to(best_device())
    average = copy.deepcopy(network).requires_grad_(False)
    optimizer = torch.optim.Adam(network.parameters(), config.learning_rate)
    schedule = Schedule.of_steps(config.steps) if config.steps else Schedule()
    parallel = process.parallel(network)
    return Trainer(config, dataset, validation, folder, process, network, parallel, average, optimizer, schedule)


def _train(trainer: Trainer, mark: str, begun: float, progress: Progress | None) -> None:
    """All steps that are still to do; `begun` is when this process set to work."""
    config, leads = trainer.config, trainer.process.leads
    started = begun - trainer.seconds
    if not trainer.schedule.knots:
        steps = trainer.process.agreed(_steps_in_time(trainer, started))
        trainer.schedule = Schedule.of_steps(steps)
    writer = SummaryWriter(str(trainer.folder / EVENTS), purge_step=trainer.step or None) if leads else None
    times: list[float] = []
    part = (trainer.process.rank, trainer.process.count)
    batches = load_batches(trainer.dataset, config, trainer.step, part)
    try:
        while trainer.step < trainer.schedule.steps:
            begin = time.monotonic()
            before = trainer.schedule.progress(trainer.step)
            rate = _step(trainer, next(batches), before)
            after = trainer.schedule.progress(trainer.step)
            times.append(time.monotonic() - begin)
            trainer.seconds = time.monotonic() - started
            due = crossed(before, after, config.validations)
            if writer and (due or crossed(before, after, CURVE_POINTS)):
                _record(trainer, writer, rate, due)
            trainer.seconds = time.monotonic() - started
            _replan(trainer, float(np.mean(times[-20:])), due, crossed(before, after, REPLANS))
            if leads and trainer.step % config.checkpoint_steps == 0 and trainer.step < trainer.schedule.steps:
                write_checkpoint(_checkpoint(trainer, mark), trainer.folder / CHECKPOINTS)
            if progress:
                progress(after, f"step {trainer.step}/{trainer.schedule.steps}, loss {trainer.losses[-1]:.3f}")
    finally:
        if writer:
            writer.close()


def _step(trainer: Trainer, batch: Batch, progress: float) -> float:
    """One step of Adam at the learning rate of `progress`, which it returns."""
    config, device = trainer.config, next(trainer.network.parameters()).device
    rate, momentum = one_cycle(progress, config.learning_rate)
    for group in trainer.optimizer.param_groups:
        group["lr"], group["betas"] = rate, (momentum, group["betas"][1])
    trainer.parallel.train()
    with torch.autocast(device.type, torch.bfloat16, enabled=config.bf16):
        logits = trainer.parallel(in_fast_layout(batch.images.to(device, non_blocking=True)))
    loss = task_loss(config.task, logits.float(), batch.masks.to(device, non_blocking=True))
    trainer.optimizer.zero_grad(set_to_none=True)
    loss.backward()
    trainer.optimizer.step()
    trainer.step += 1
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


def _steps_in_time(trainer: Trainer, started: float) -> int:
    """Steps that fit into what is left of the time budget, from trial steps on a copy and one validation."""
    config = trainer.config
    budget = config.budget_seconds or 0.0
    trial = _trainer(config, trainer.dataset, [], trainer.folder, trainer.process)
    # Trials draw from generators of their own: training is not to see them again.
    part = (trainer.process.rank, trainer.process.count)
    batches = trainer.dataset.batches(config.seed + 2**32, config.batch, 0, part)
    times: list[float] = []
    while len(times) < 2 * TRIAL_STEPS:
        batch = next(batches)
        begin = time.monotonic()
        _step(trial, batch, 0.0)
        times.append(time.monotonic() - begin)
        # Processes that share a step have to make equally many.
        if trainer.process.count == 1 and sum(times) > TRIAL_SHARE * budget:
            break
    begin = time.monotonic()
    _validate(trainer)
    validations = (time.monotonic() - begin) * config.validations
    return affordable_steps(budget, time.monotonic() - started, float(np.median(times[-TRIAL_STEPS:])), validations)


def _replan(trainer: Trainer, step_seconds: float, validated: bool, regular: bool) -> None:
    """End sooner or later where time or the validations ask for it; all processes do as the leader does."""
    config = trainer.config
    if trainer.process.leads and config.budget_seconds:
        keep_to_time(
            trainer.schedule,
            trainer.step,
            config.budget_seconds,
            trainer.seconds,
            step_seconds,
            trainer.curve,
            config.validations,
            regular,
        )
    if trainer.process.leads and validated and _is_stale(trainer):
        trainer.schedule.end(trainer.step)
    if config.budget_seconds or (validated and config.patience):
        trainer.schedule.knots = trainer.process.agreed(trainer.schedule.knots)


def _is_stale(trainer: Trainer) -> bool:
    """Whether the last `patience` validations were no better than the best one before them."""
    scores = [row["dice_mean"] for row in trainer.curve if "dice_mean" in row]
    patience = trainer.config.patience or len(scores)
    return len(scores) > patience and max(scores[-patience:]) <= max(scores[:-patience])


def _validate(trainer: Trainer) -> dict[str, float]:
    config = trainer.config
    return validate(
        trainer.segmenter, config.task, trainer.validation, config.validation_sections, trainer.dataset.patch_shape
    )


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
        earlier = [r["dice_mean"] for r in trainer.curve if "dice_mean" in r]
        if trainer.config.patience and row["dice_mean"] > max(earlier, default=-1.0):
            trainer.best = {key: value.clone() for key, value in trainer.average.state_dict().items()}
    trainer.curve.append(row)
    for key, value in row.items():
        if key not in ("step", "validation_seconds"):
            writer.add_scalar(key.replace("dice_", "dice/"), value, trainer.step)
    write_curve(trainer.folder, trainer.curve, trainer.config.task.channels)


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
        trainer.best,
    )


def _restore(trainer: Trainer, checkpoint: Checkpoint) -> None:
    trainer.network.load_state_dict(checkpoint.network)
    trainer.average.load_state_dict(checkpoint.average)
    trainer.best = checkpoint.best
    trainer.optimizer.load_state_dict(checkpoint.optimizer)
    trainer.step, trainer.seconds = checkpoint.step, checkpoint.state["seconds"]
    trainer.schedule = Schedule([(int(step), float(p)) for step, p in checkpoint.state["knots"]])
    trainer.curve, trainer.losses = checkpoint.state["curve"], checkpoint.state["losses"]


def _finish(trainer: Trainer, mark: str) -> None:
    """The bundle, then the record, whose presence says that the training is finished; then no checkpoints."""
    config = trainer.config
    validated = [row for row in trainer.curve if "dice_mean" in row]
    # What is kept was validated last, or best where the training could stop early.
    kept = (max(validated, key=lambda row: row["dice_mean"]) if trainer.best else validated[-1]) if validated else {}
    record: dict[str, Any] = {
        "fingerprint": mark,
        "config": config.model_dump(mode="json"),
        "steps": trainer.step,
        "seconds": round(trainer.seconds, 3),
        "patches_per_second": round(trainer.step * config.batch / max(trainer.seconds, 1e-9), 3),
        "schedule": trainer.schedule.knots,
        **trainer.dataset.record(),
        "validation": {k: v for k, v in kept.items() if k.startswith("dice")},
    }
    if trainer.best:
        trainer.average.load_state_dict(trainer.best)
    model = Model(
        trainer.average.eval(),
        config.network,
        config.task.channels,
        trainer.dataset.voxel_size_nm,
        config.name,
        trainer.dataset.patch_shape[-1],
        {key: record[key] for key in ("config", "steps", "validation")},
        config.task,
    )
    volumes = record.get("training_volumes", [])
    learnt_from = record.get("fresh_blocks") or ", ".join(volumes[:CARD_VOLUMES])
    more = f" and {len(volumes) - CARD_VOLUMES} more" if len(volumes) > CARD_VOLUMES else ""
    about = f"{learnt_from}{more}; {trainer.step} steps of {config.batch} patches, seed {config.seed}."
    dice = {key.removeprefix("dice_"): value for key, value in record["validation"].items()}
    card = Card(about, {"validation during training": dice} if dice else {})
    write_bundle(model, trainer.folder, card_text(model, card))
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


def _fingerprint(config: TrainingConfig, dataset: PatchSource) -> str:
    """Tells trainings apart whose results differ; who cuts the patches does not matter to them."""
    settings = config.model_copy(update={"workers": 0})
    return f"{zlib.crc32(settings.model_dump_json().encode()):08x}-{dataset.checksum:08x}"


@contextmanager
def _threads(count: int | None) -> Iterator[None]:
    before = torch.get_num_threads()
    if count:
        torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)

"""Batches cut by this process or by others, which changes no bit of them."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import torch
from torch.utils.data import DataLoader, IterableDataset

from .dataset import Batch, PatchSource
from .settings import TrainingConfig


def load_batches(source: PatchSource, config: TrainingConfig, start: int, part: tuple[int, int]) -> Iterator[Batch]:
    """A training's batches from step `start` on, `part` as `PatchSource` has it, cut by the workers that it has."""
    if not config.workers:
        return source.batches(config.seed, config.batch, start, part)
    steps = _Steps(source, config.seed, config.batch, start, part)
    return iter(DataLoader(steps, batch_size=None, num_workers=config.workers, pin_memory=torch.cuda.is_available()))


class _Steps(IterableDataset):
    """Batches of a source for the worker processes of a loader: worker i of n makes steps i, i + n, … of them."""

    def __init__(self, source: PatchSource, seed: int, size: int, start: int, part: tuple[int, int]) -> None:
        self.arguments = source, seed, size, start, part

    def __iter__(self) -> Iterator[Batch]:
        source, seed, size, start, part = self.arguments
        worker = torch.utils.data.get_worker_info()
        assert worker is not None
        for step in itertools.count(start + worker.id, worker.num_workers):
            yield next(source.batches(seed, size, step, part))

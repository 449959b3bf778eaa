"""Training on fresh blocks: worker processes make them while the network learns from those before."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass

import torch

from .augmentation import Augmentation
from .dataset import Batch, SegmentationDataset
from .labelled_volume import LabelledVolume
from .settings import Task

# Blocks under way or finished beyond the window, per worker process.
AHEAD = 2


@dataclass(frozen=True)
class Freshness:
    """How blocks come and go: patches of a step come from `window` blocks, the oldest of which leaves for a new one
    every `steps_per_block` steps; `first` is the index of the very first. `workers` processes make them."""

    window: int = 4
    steps_per_block: int = 50
    first: int = 0
    workers: int = 1

    def __post_init__(self) -> None:
        for name in ("window", "steps_per_block", "workers"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be at least 1")


class EndlessDataset:
    """Patches of fresh blocks, and of groups of `fixed` volumes beside them (real ones, for instance).

    No block comes back, and the patches of a step are a pure function of seed and step: where a block is not finished
    in time, the step waits for it. A block that cannot be made (ValueError) is left out. To be used as a context, at
    whose end the processes end.
    """

    def __init__(
        self,
        make: Callable[[int], LabelledVolume],
        identity: str,
        freshness: Freshness,
        task: Task,
        voxel_size_nm: tuple[float, float, float],
        patch_px: int = 256,
        spatial_dims: int = 2,
        balanced: float = 0.5,
        augmentation: Augmentation | None = None,
        depth_px: int | None = None,
        fixed: Sequence[Sequence[LabelledVolume]] = (),
        weights: Sequence[float] | None = None,
    ) -> None:
        """`make` maps an index to a block; it is called in other processes, so it can be pickled, and is a pure
        function of the index. `identity` names what it makes, since that cannot be looked at in advance. `weights` are
        the shares of the fresh blocks and of each fixed group. The rest is as `SegmentationDataset` has it."""
        self.task, self.spatial_dims, self.voxel_size_nm = task, spatial_dims, voxel_size_nm
        self.patch_shape: tuple[int, ...] = (patch_px,) * 2
        if spatial_dims == 3:
            self.patch_shape = (depth_px or patch_px, *self.patch_shape)
        self.failures: dict[int, str] = {}
        self._identity, self._freshness = identity, freshness
        self._make, self._fixed, self._weights = make, [list(group) for group in fixed], weights
        self._settings = (balanced, augmentation or Augmentation())
        # Forked processes would inherit this one's threads and whatever they hold.
        context = multiprocessing.get_context("spawn")
        self._workers = ProcessPoolExecutor(freshness.workers, context, initializer=_one_thread)
        self._blocks: dict[int, Future[LabelledVolume]] = {}
        self._of_window: tuple[int, SegmentationDataset] | None = None

    def __enter__(self) -> EndlessDataset:
        return self

    def __exit__(self, *error: object) -> None:
        # A block takes minutes, and nobody waits for those under way any more.
        for process in list((self._workers._processes or {}).values()):
            process.terminate()
        self._workers.shutdown(wait=False, cancel_futures=True)

    @property
    def checksum(self) -> int:
        """One number that changes with what makes the blocks, with any fixed voxel and any setting."""
        fixed = [[v.checksum for v in group] for group in self._fixed]
        balanced, augmentation = self._settings
        window = (self._freshness.window, self._freshness.steps_per_block, self._freshness.first)
        settings = (self.task, self.voxel_size_nm, self.patch_shape, balanced, augmentation, self._weights)
        return zlib.crc32(repr((self._identity, window, settings, fixed)).encode())

    def record(self) -> dict[str, object]:
        """What makes the blocks, those that could not be made, and the names of the fixed volumes."""
        names = [v.name for group in self._fixed for v in group]
        return {"fresh_blocks": self._identity, "blocks_not_made": self.failures, "training_volumes": names}

    def batches(self, seed: int, size: int, start: int = 0, part: tuple[int, int] = (0, 1)) -> Iterator[Batch]:
        """Endless batches from step `start` on; batch k is a pure function of (seed, k)."""
        for step in itertools.count(start):
            first = self._freshness.first + step // self._freshness.steps_per_block
            yield self._window(first).batch(size, (seed, step), part)

    def block(self, index: int) -> LabelledVolume:
        """One block, in the turn of the others; waits for it. Raises ValueError where it cannot be made."""
        if index not in self._blocks:
            self._blocks[index] = self._workers.submit(self._make, index)
        try:
            return self._blocks[index].result()
        except BrokenProcessPool as error:
            raise ChildProcessError(
                "A process that makes blocks died, for instance for want of memory; the same command goes on."
            ) from error

    def _window(self, first: int) -> SegmentationDataset:
        """The dataset of the blocks from `first` on; waits for those that are not finished."""
        if self._of_window is not None and self._of_window[0] == first:
            return self._of_window[1]
        wanted = range(first, first + self._freshness.window)
        for index in range(first, wanted.stop + AHEAD * self._freshness.workers):
            if index not in self._blocks:
                self._blocks[index] = self._workers.submit(self._make, index)
        for index in [k for k in self._blocks if k < first]:
            self._blocks.pop(index).cancel()
        fresh = []
        for index in wanted:
            try:
                fresh.append(self.block(index))
            except ValueError as error:
                self.failures[index] = str(error)
        if not fresh:
            raise ValueError(f"none of the blocks {first} to {wanted[-1]} can be made: {self.failures[wanted[-1]]}")
        balanced, augmentation = self._settings
        depth_px, patch_px = (self.patch_shape[0] if self.spatial_dims == 3 else None), self.patch_shape[-1]
        dataset = SegmentationDataset(
            [fresh, *self._fixed],
            patch_px,
            self._weights,
            self.spatial_dims,
            balanced,
            augmentation,
            self.task,
            depth_px,
            self.voxel_size_nm,
        )
        self._of_window = first, dataset
        return dataset


def _one_thread() -> None:
    # Libraries that start a thread per processor in every worker would only wait for each other.
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
        os.environ[name] = "1"
    torch.set_num_threads(1)

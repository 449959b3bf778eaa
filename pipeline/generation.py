"""Many blocks of one recipe, on several processes, each block at the same bytes whoever makes it."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import dask
from dask.distributed import Client, Future, LocalCluster, as_completed

from .block_job import make_block
from .recipe import Recipe
from .user_error import USER_ERRORS, sentence

# A block that fails is tried once more: a machine may have run out of memory or of disk for a moment.
ATTEMPTS = 2
# Libraries that start a thread per processor in every worker would only wait for each other.
_ONE_THREAD = {
    name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
}


@dataclass(frozen=True)
class FailedBlock:
    """A block that could not be made: why, and the command that tries it alone."""

    index: int
    reason: str
    command: str


@dataclass(frozen=True)
class Generation:
    """What came of the blocks that were asked for, by index."""

    blocks: dict[int, Path]
    failed: list[FailedBlock]


def generate(
    recipe: Recipe,
    recipe_name: str,
    seed: int,
    indices: Sequence[int],
    folder: Path,
    workers: int,
    done: Callable[[int], None] = lambda index: None,
) -> Generation:
    """Make the blocks `indices` in `folder`; those that are there already stay. A failure stops no other block.

    `recipe_name` is how the user named the recipe, for the commands of failed blocks. `done` hears of each
    block that is finished or given up. The blocks do not depend on `workers`.
    """
    blocks: dict[int, Path] = {}
    errors: dict[int, BaseException] = {}

    def heed(index: int, outcome: Path | BaseException) -> None:
        if isinstance(outcome, Path):
            blocks[index] = outcome
        else:
            errors[index] = outcome
        done(index)

    workers = min(workers, len(indices))
    if workers <= 1:
        for index in indices:
            heed(index, _attempt(recipe, seed, index, folder))
    else:
        _distribute(recipe, seed, indices, folder, workers, heed)
    failed = [
        FailedBlock(index, _reason(error), _command(recipe_name, seed, index, folder))
        for index, error in sorted(errors.items())
    ]
    return Generation(dict(sorted(blocks.items())), failed)


def _attempt(recipe: Recipe, seed: int, index: int, folder: Path) -> Path | BaseException:
    error: Exception | None = None
    for _ in range(ATTEMPTS):
        try:
            return make_block(recipe, seed, index, folder)
        except Exception as raised:
            error = raised
    assert error is not None
    return error


def _distribute(
    recipe: Recipe,
    seed: int,
    indices: Sequence[int],
    folder: Path,
    workers: int,
    heed: Callable[[int, Path | BaseException], None],
) -> None:
    with (
        dask.config.set(
            {"distributed.nanny.pre-spawn-environ": _ONE_THREAD, "distributed.scheduler.allowed-failures": 1}
        ),
        LocalCluster(
            n_workers=workers, threads_per_worker=1, processes=True, dashboard_address=":0", memory_limit=0,
            silence_logs=50,
        ) as cluster,
        Client(cluster) as client,
    ):  # fmt: skip
        index_of: dict[Future, int] = {}
        for index in indices:
            future = client.submit(_attempt, recipe, seed, index, folder, key=f"block-{index}", pure=False)
            index_of[future] = index
        for future in as_completed(list(index_of)):
            # A worker that dies (killed for memory) fails the future itself.
            outcome = future.result() if future.status == "finished" else future.exception()
            heed(index_of[future], outcome)
            future.release()


def _reason(error: BaseException) -> str:
    return sentence(error) if isinstance(error, USER_ERRORS) else f"{type(error).__name__}: {sentence(error)}"


def _command(recipe_name: str, seed: int, index: int, folder: Path) -> str:
    words = ["neuropil", "generate", "--recipe", recipe_name, "--seed", str(seed), "--index", str(index)]
    return shlex.join([*words, "--workers", "1", "-o", str(folder)])

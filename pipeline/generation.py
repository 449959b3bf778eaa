"""Many blocks of one recipe, on this machine or a cluster, each block at the same bytes whoever makes it."""

from __future__ import annotations

import shlex
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from .block_job import block_folder, inputs_of_blocks, is_block_of, is_finished, make_block
from .block_workers import OwnProcess, cluster_workers, local_workers
from .recipe import Recipe
from .user_error import USER_ERRORS, sentence

# A machine may have run out of memory or of disk for a moment, or its job's time was over.
ATTEMPTS = 3


@dataclass(frozen=True)
class BlockOutcome:
    """What came of one block: made now, there already (`found`), or given up for a reason.

    command: tries the block alone.
    """

    index: int
    folder: Path
    command: str
    found: bool = False
    failure: str | None = None


def block_range(text: str) -> range:
    """Indices of blocks: `A:B` for A to B - 1, `N` for the first N. Raises ValueError for anything else."""
    first, colon, last = text.partition(":")
    ends = [first, last] if colon else ["0", first]
    if not all(end.isascii() and end.isdigit() for end in ends):
        raise ValueError(f"--blocks is {text!r}, but it has to be A:B (blocks A to B - 1) or a number of blocks.")
    indices = range(*(int(end) for end in ends))
    if not indices:
        raise ValueError(f"--blocks is {text!r}, which is no block at all; A:B goes from A to B - 1.")
    return indices


def generate(
    recipe: Recipe,
    recipe_name: str,
    seed: int,
    indices: Sequence[int],
    folder: Path,
    workers: int,
    scheduler: str | None = None,
) -> Iterator[BlockOutcome]:
    """Make the blocks `indices` in `folder`, and tell of each as it is finished or given up, in any order.

    Blocks that are there already stay. A block that fails is tried again after all others, unless its recipe is
    wrong; a failure stops no other block. They are made by `workers` processes, one being this one, or by the
    workers of the dask scheduler at the address `scheduler`, on whose machines `folder` has to be the same folder;
    the blocks depend on neither. Few blocks are under way at a time, however many are asked for.

    `recipe_name` is how the user named the recipe, for the command that tries a block alone. Raises ValueError
    where no scheduler answers, ConnectionError where it goes away.
    """
    made_from = inputs_of_blocks(recipe)
    attempts: Counter[int] = Counter()
    first_time, again = iter(indices), deque[int]()

    def outcome(index: int, found: bool = False, failure: str | None = None) -> BlockOutcome:
        return BlockOutcome(
            index, block_folder(folder, index), _command(recipe_name, seed, index, folder), found, failure
        )

    with ExitStack() as stack:
        pool = None
        under_way = 0
        while True:
            while pool is None or under_way < pool.capacity():
                index = next(first_time, None)
                if index is None and again:
                    index = again.popleft()
                elif index is None:
                    break
                elif is_finished(block_folder(folder, index)):
                    if is_block_of(block_folder(folder, index), made_from, seed):
                        yield outcome(index, found=True)
                    else:
                        yield outcome(index, failure="A block of another recipe or seed is in its place.")
                    continue
                if pool is None:
                    work = (_make, recipe, seed, folder.absolute())
                    if scheduler is not None:
                        pool = stack.enter_context(cluster_workers(scheduler, *work))
                    elif min(workers, len(indices)) > 1:
                        pool = stack.enter_context(local_workers(min(workers, len(indices)), *work))
                    else:
                        pool = OwnProcess(*work)
                pool.submit(index)
                under_way += 1
            if pool is None or under_way == 0:
                return
            index, error = pool.next_finished()
            under_way -= 1
            attempts[index] += 1
            if error is None:
                yield outcome(index)
            elif attempts[index] < ATTEMPTS and not isinstance(error, ValueError):
                again.append(index)
            else:
                yield outcome(index, failure=_reason(error))


def _make(recipe: Recipe, seed: int, folder: Path, index: int) -> None:
    make_block(recipe, seed, index, folder)


def _reason(error: BaseException) -> str:
    return sentence(error) if isinstance(error, USER_ERRORS) else f"{type(error).__name__}: {sentence(error)}"


def _command(recipe_name: str, seed: int, index: int, folder: Path) -> str:
    words = ["neuropil", "generate", recipe_name, "--blocks", f"{index}:{index + 1}", "--seed", str(seed)]
    return shlex.join([*words, "--workers", "1", "-o", str(folder)])

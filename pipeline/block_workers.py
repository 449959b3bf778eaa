"""Who makes blocks: this process, processes on this machine, or the workers of a dask cluster."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import dask
from dask.distributed import Client, Future, KilledWorker, LocalCluster, as_completed
from distributed.utils import silence_logging_cmgr

# Blocks handed out per thread of a cluster: one in work and one that waits, so that nobody idles.
BLOCKS_PER_THREAD = 2
# While a cluster has no workers yet, so many blocks wait for them.
FEWEST_BLOCKS = 4
SECONDS_TO_ANSWER = 10
# Libraries that start a thread per processor in every worker would only wait for each other.
_ONE_THREAD = {
    name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
}

Work = Callable[..., None]


class BlockWorkers(Protocol):
    """What takes indices and works on them, some at a time."""

    def capacity(self) -> int:
        """How many indices may be under way now."""

    def submit(self, index: int) -> None:
        """Have an index worked on."""

    def next_finished(self) -> tuple[int, BaseException | None]:
        """The next index whose work has ended, and the error it ended with; waits for it."""


class OwnProcess:
    """This process does `work(*arguments, index)` itself, when it is asked for what is finished."""

    def __init__(self, work: Work, *arguments: Any) -> None:
        self._work, self._arguments = work, arguments
        self._waiting: list[int] = []

    def capacity(self) -> int:
        return 1

    def submit(self, index: int) -> None:
        self._waiting.append(index)

    def next_finished(self) -> tuple[int, BaseException | None]:
        index = self._waiting.pop()
        try:
            self._work(*self._arguments, index)
        except Exception as error:
            return index, error
        return index, None


class DaskWorkers:
    """The workers that `client`'s scheduler has do `work(*arguments, index)`."""

    def __init__(self, client: Client, work: Work, *arguments: Any) -> None:
        self._client, self._work, self._arguments = client, work, arguments
        self._index_of: dict[Future, int] = {}
        self._ended = as_completed(loop=client.loop)

    def capacity(self) -> int:
        return max(FEWEST_BLOCKS, BLOCKS_PER_THREAD * sum(self._client.nthreads().values()))

    def submit(self, index: int) -> None:
        # Not pure: another client's block of this index, of another recipe, is another task.
        future = self._client.submit(self._work, *self._arguments, index, pure=False)
        self._index_of[future] = index
        self._ended.add(future)

    def next_finished(self) -> tuple[int, BaseException | None]:
        future = next(self._ended)
        index = self._index_of.pop(future)
        if future.status in ("cancelled", "lost"):
            raise ConnectionError(
                "The scheduler is gone. Blocks that are finished stay, and the same command makes the others."
            )
        error = future.exception() if future.status == "error" else None
        if isinstance(error, KilledWorker):
            error = ChildProcessError("The process that made it died, for instance for want of memory.")
        return index, error


@contextmanager
def local_workers(processes: int, work: Work, *arguments: Any) -> Iterator[BlockWorkers]:
    """Processes on this machine, of one thread each; one that dies is replaced."""
    settings = {"distributed.nanny.pre-spawn-environ": _ONE_THREAD, "distributed.scheduler.allowed-failures": 0}
    with (
        dask.config.set(settings),
        LocalCluster(
            n_workers=processes, threads_per_worker=1, processes=True, dashboard_address=":0", memory_limit=0,
            silence_logs=logging.CRITICAL,
        ) as cluster,
        Client(cluster) as client,
    ):  # fmt: skip
        yield DaskWorkers(client, work, *arguments)


@contextmanager
def cluster_workers(address: str, work: Work, *arguments: Any) -> Iterator[BlockWorkers]:
    """The workers of the dask scheduler at `address`, now and as they come. Raises ValueError where none answers."""
    # What goes wrong is said in one sentence instead.
    with silence_logging_cmgr(logging.CRITICAL):
        try:
            client = Client(address, timeout=SECONDS_TO_ANSWER, set_as_default=False)
        except (OSError, ValueError) as error:
            raise ValueError(
                f"--scheduler is {address}, but no dask scheduler has answered there within {SECONDS_TO_ANSWER} s."
            ) from error
        with client:
            yield DaskWorkers(client, work, *arguments)

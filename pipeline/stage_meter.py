"""Seconds and peak memory of a stage of work, the processes it starts included."""

from __future__ import annotations

import threading
import time
from types import TracebackType
from typing import Self

import psutil

_INTERVAL_S = 0.1


class StageMeter:
    """Context manager; afterwards `seconds` and `peak_memory_mb` hold what the stage took.

    Memory is the resident set of this process and its descendants, sampled ten times a second; pages that
    processes share count once for each, so the figure errs upwards.
    """

    def __init__(self) -> None:
        self.seconds = 0.0
        self.peak_memory_mb = 0.0
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._start = time.perf_counter()
        self._sample()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._done.set()
        self._thread.join()
        self._sample()
        self.seconds = time.perf_counter() - self._start

    def _watch(self) -> None:
        while not self._done.wait(_INTERVAL_S):
            self._sample()

    def _sample(self) -> None:
        total = 0
        own = psutil.Process()
        for process in [own, *own.children(recursive=True)]:
            try:
                total += process.memory_info().rss
            except psutil.NoSuchProcess:
                continue
        self.peak_memory_mb = max(self.peak_memory_mb, total / 2**20)

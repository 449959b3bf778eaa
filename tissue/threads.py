"""Sharing work among this machine's processors. What comes out does not depend on how many there are."""

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np

Item = TypeVar("Item")
Found = TypeVar("Found")


def processors() -> int:
    """How many threads the kernels of this folder use: one in a worker that is told to keep to one."""
    asked = int(os.environ.get("NUMBA_NUM_THREADS", "0") or 0)
    return asked or (len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)


def in_slabs(work: Callable[[int, int], object], length: int, slabs_per_thread: int = 8) -> None:
    """Call work(first, stop) for consecutive ranges that together are range(length), on all processors."""
    threads = processors()
    cuts = np.unique(np.linspace(0, length, threads * slabs_per_thread + 1).astype(int)).tolist()
    if threads == 1:
        work(0, length)
        return
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(work, cuts[:-1], cuts[1:]))


def each(work: Callable[[Item], Found], items: Iterable[Item]) -> list[Found]:
    """What work makes of every item, in the order of the items, worked on by all processors."""
    threads = processors()
    if threads == 1:
        return [work(item) for item in items]
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(work, items))

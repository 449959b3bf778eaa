"""Slices of an array one by one, also of one that lies on disk in chunks."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import numpy.typing as npt


class Slices:
    """Slices (y, x) of an array (z, y, x), in memory or as Zarr opens it; threads may ask at the same time.

    Of an array on disk the slices that share a chunk are read together, and those of the last two chunks are kept.
    """

    def __init__(self, data: Any) -> None:
        self._data = data
        self._depth = data.chunks[0] if hasattr(data, "chunks") else 0
        self._kept: dict[int, npt.NDArray[Any]] = {}
        self._lock = threading.Lock()

    def __getitem__(self, index: int) -> npt.NDArray[Any]:
        if self._depth == 0:
            return np.ascontiguousarray(self._data[index])
        chunk = index // self._depth
        with self._lock:
            if chunk not in self._kept:
                for old in sorted(self._kept)[:-1]:
                    del self._kept[old]
                self._kept[chunk] = np.asarray(self._data[chunk * self._depth : (chunk + 1) * self._depth])
            return self._kept[chunk][index - chunk * self._depth]

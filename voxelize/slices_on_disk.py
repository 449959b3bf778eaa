"""A stack on disk that is indexed as an array and read section by section, for forms that are no Zarr."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np


class SlicesOnDisk:
    """An array (z, y, x) of which only the sections last asked for are in memory.

    chunks: what is read at a time (z, y, x); by having it a `Volume` knows that the array lies on disk.
    """

    def __init__(
        self, shape: tuple[int, int, int], dtype: np.dtype, read: Callable[[int, int], np.ndarray], step: int = 1
    ) -> None:
        """`read(first, stop)` gives sections (stop - first, y, x); `step` of them are best read together."""
        self.shape, self.dtype, self.ndim = shape, np.dtype(dtype).newbyteorder("="), 3
        self.chunks = (step, *shape[1:])
        self._read, self._step = read, step
        self._held: dict[int, np.ndarray] = {}

    def __getitem__(self, key: Any) -> np.ndarray:
        """Sections, or a box of them, in memory. Raises what reading raises."""
        parts: list[Any] = list(key) if isinstance(key, tuple) else [key]
        if Ellipsis in parts:
            at = parts.index(Ellipsis)
            parts[at : at + 1] = [slice(None)] * (4 - len(parts))
        parts += [slice(None)] * (3 - len(parts))
        sections, rest = parts[0], parts[1:]
        if isinstance(sections, int | np.integer):
            inside = range(self.shape[0])[sections]
            return self._sections(inside, inside + 1)[(0, *rest)]
        first, stop, stride = sections.indices(self.shape[0])
        if stride != 1:
            raise ValueError(f"sections of a stack on disk are read one after the other, not every {stride}th")
        if stop <= first:
            return np.empty((0, *self.shape[1:]), self.dtype)[(slice(None), *rest)]
        return self._sections(first, stop)[(slice(None), *rest)]

    def __array__(self, dtype: np.dtype | None = None, copy: bool | None = None) -> np.ndarray:
        return self._read(0, self.shape[0]).astype(dtype or self.dtype, copy=False)

    def _sections(self, first: int, stop: int) -> np.ndarray:
        units = range(first // self._step, -(-stop // self._step))
        self._held = {unit: data for unit, data in self._held.items() if unit in units}
        for unit in units:
            if unit not in self._held:
                low = unit * self._step
                sections = self._read(low, min(low + self._step, self.shape[0]))
                self._held[unit] = sections.astype(self.dtype, copy=False)
        start = first - units[0] * self._step
        held = [self._held[unit] for unit in units]
        whole = held[0] if len(held) == 1 else np.concatenate(held)
        return whole[start : start + stop - first]

"""Cutting a volume of any size into overlapping tiles, and blending what a network says about them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

Shape = tuple[int, int, int]
# Blending weights are whole numbers up to this per axis: sums of whole numbers do not depend on their order,
# and 255 · 64² for all overlapping tiles of a layer still fits into 32 bits.
WEIGHT_LEVELS = 64
# Width of the Gaussian window against the tile, as MONAI's sliding window has it.
SIGMA_SCALE = 0.125


@dataclass(frozen=True)
class Slab:
    """Probabilities uint8 (c, z, y, x), 255 for certain, of the sections from `start` on."""

    start: int
    probabilities: NDArray[np.uint8]


@dataclass(frozen=True)
class Tiling:
    """Tiles of shape `tile` that cover `shape` with at least `overlap` voxels in common, all (z, y, x).

    Every tile has the same shape: where the volume is smaller than a tile, it is mirrored at its far end.
    """

    shape: Shape
    tile: Shape
    overlap: Shape

    def starts(self, axis: int) -> list[int]:
        """First voxels of the tiles along an axis, evenly spread."""
        length, size, common = self.shape[axis], self.tile[axis], self.overlap[axis]
        if length <= size:
            return [0]
        count = -(-(length - common) // (size - common))
        return [int(s) for s in np.round(np.linspace(0, length - size, count))]

    def ends(self, axis: int) -> list[int]:
        """For each tile along an axis the first voxel of the next one, or the end of the volume."""
        return [*self.starts(axis)[1:], self.shape[axis]]

    @property
    def layers(self) -> list[list[Shape]]:
        """Tiles' first voxels, grouped by z, which is the order that bounds the memory."""
        columns = list(product(self.starts(1), self.starts(2)))
        return [[(z, y, x) for y, x in columns] for z in self.starts(0)]

    @property
    def window(self) -> NDArray[np.int32]:
        """Blending weight of each voxel of a tile: a Gaussian, in whole numbers from 1 on."""
        z, y, x = (_window(size) for size in self.tile)
        return z[:, None, None] * y[None, :, None] * x[None, None, :]

    @property
    def shared(self) -> int:
        """Most sections of a layer that later layers see too."""
        depth = min(self.tile[0], self.shape[0])
        return max(start + depth - end for start, end in zip(self.starts(0), self.ends(0), strict=True))

    def blending_bytes(self, channels: int) -> int:
        """Most memory that `blend` takes, however many layers there are: a slab, what two layers share (2 bytes
        each), and a row of tiles as sums (4 bytes) and probabilities, with the row before and one channel in work."""
        depth, height, width = (min(size, length) for size, length in zip(self.tile, self.shape, strict=True))
        ready = max(end - start for start, end in zip(self.starts(0), self.ends(0), strict=True))
        plane, row = self.shape[1] * self.shape[2], depth * height * self.shape[2]
        per_channel = ready * plane + 2 * self.shared * plane + 6 * row
        return channels * per_channel + 3 * 4 * row + 8 * channels * depth * height * width

    def weights(self, axis: int) -> NDArray[np.int64]:
        """Sum of all tiles' weights at each voxel of an axis: of the whole, it is the product over the axes."""
        total = np.zeros(self.shape[axis], np.int64)
        for start in self.starts(axis):
            part = total[start : start + self.tile[axis]]
            part += _window(self.tile[axis])[: len(part)]
        return total


def blend(
    image: NDArray,
    tiling: Tiling,
    channels: int,
    predict: Callable[[NDArray], NDArray[np.uint8]],
    rng: np.random.Generator | None = None,
    done: Callable[[int], None] | None = None,
    first: int = 0,
) -> Iterator[Slab]:
    """Blended probabilities of `image` (z, y, x), slab by slab from section `first` on, where a slab must start.

    `predict` maps a tile (z, y, x) to uint8 (channels, z, y, x). `image` may be anything that slices like an
    array; only the tile in work is read. With `rng` a row's tiles are taken in a random order, which
    changes nothing; `done` hears the number of finished tiles.

    Tiles of a layer are blended row by row, layers where they overlap. So there are in memory: one slab, two bytes for
    each voxel and channel that two layers share, and four for those of one row of tiles. Raises ValueError where no
    slab starts at `first`.
    """
    starts, ends = tiling.starts(0), tiling.ends(0)
    if first not in starts:
        raise ValueError(f"no slab starts at section {first}; they start at {starts}")
    depth = min(tiling.tile[0], tiling.shape[0])
    _, height, width = tiling.shape
    shared = tiling.shared
    window_z, weights_z = _window(tiling.tile[0])[:depth], tiling.weights(0)
    # Sums of what earlier layers say about the sections that later ones see too.
    carry = np.zeros((channels, shared, height, width), np.uint16 if weights_z.max() * 255 < 2**16 else np.uint32)
    per_layer, finished = len(tiling.starts(1)) * len(tiling.starts(2)), 0
    for start, end in zip(starts, ends, strict=True):
        if start + depth <= first:
            finished += per_layer
            continue
        ready = end - start
        slab = np.empty((channels, ready, height, width), np.uint8)
        for y, rows in _layer(image, tiling, channels, start, predict, rng):
            place, weight = slice(y, y + rows.shape[2]), weights_z[start:end, None, None].astype(np.uint32)
            # One channel at a time, since such sums take four times a row's memory.
            for row, held, out in zip(rows, carry[:, :, place], slab[:, :, place], strict=True):
                sums = row * window_z[:, None, None].astype(np.uint32)
                sums[:shared] += held
                held[:] = 0
                held[: depth - ready] = sums[ready:]
                out[:] = (sums[:ready] + weight // 2) // weight
            if done:
                done(finished + per_layer * (y + rows.shape[2]) // height)
        finished += per_layer
        if start >= first:
            yield Slab(start, slab)
        # Two slabs of a large volume are not to be in memory at a time; those who are given one drop theirs, too.
        del slab


def _layer(
    image: NDArray,
    tiling: Tiling,
    channels: int,
    z: int,
    predict: Callable[[NDArray], NDArray[np.uint8]],
    rng: np.random.Generator | None,
) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    """(first row, blended probabilities uint8 (c, z, y, x)) of the layer of tiles from section `z` on, in rows."""
    depth, height, width = (min(size, length) for size, length in zip(tiling.tile, tiling.shape, strict=True))
    window = (_window(tiling.tile[1])[:, None] * _window(tiling.tile[2]))[:height, :width]
    weights_y, weights_x = tiling.weights(1).astype(np.int32), tiling.weights(2).astype(np.int32)
    sums = np.zeros((channels, depth, height, tiling.shape[2]), np.int32)
    for y, end in zip(tiling.starts(1), tiling.ends(1), strict=True):
        columns = tiling.starts(2)
        for x in columns if rng is None else [columns[i] for i in rng.permutation(len(columns))]:
            found = predict(_tile(image, tiling, (z, y, x)))[:, :depth, :height, :width]
            sums[..., x : x + width] += found * window
        weight = weights_y[y:end, None] * weights_x
        ready = end - y
        rows = np.empty((channels, depth, ready, tiling.shape[2]), np.uint8)
        for channel, out in zip(sums, rows, strict=True):
            out[:] = (channel[:, :ready] + weight // 2) // weight
            channel[:, : height - ready] = channel[:, ready:].copy()
            channel[:, height - ready :] = 0
        yield y, rows


def _tile(image: NDArray, tiling: Tiling, start: Sequence[int]) -> NDArray:
    box = tuple(slice(s, s + size) for s, size in zip(start, tiling.tile, strict=True))
    tile = np.asarray(image[box])
    missing = [(0, size - have) for size, have in zip(tiling.tile, tile.shape, strict=True)]
    return np.pad(tile, missing, mode="symmetric") if any(after for _, after in missing) else tile


def _window(size: int) -> NDArray[np.int32]:
    distance = (np.arange(size) - (size - 1) / 2) / (SIGMA_SCALE * size)
    return np.maximum(1, np.round(WEIGHT_LEVELS * np.exp(-0.5 * distance**2))).astype(np.int32)

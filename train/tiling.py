"""Cutting a volume of any size into overlapping tiles, and blending what a network says about them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

Shape = tuple[int, int, int]
# Blending weights are whole numbers up to this per axis: sums of whole numbers do not depend on their order,
# and 255 · 64³ for eight overlapping tiles still fits into 32 bits.
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


def blend(
    image: NDArray,
    tiling: Tiling,
    classes: int,
    predict: Callable[[NDArray], NDArray[np.uint8]],
    rng: np.random.Generator | None = None,
    done: Callable[[int], None] | None = None,
) -> Iterator[Slab]:
    """Blended probabilities of `image` (z, y, x), slab by slab from the first section on.

    `predict` maps a tile (z, y, x) to uint8 (classes, z, y, x). `image` may be anything that slices like an
    array; only the tile in work is read. With `rng` a layer's tiles are taken in a random order, which
    changes nothing; `done` hears the number of finished tiles.
    """
    window = tiling.window
    layers = tiling.layers
    _, height, width = tiling.shape
    depth = min(tiling.tile[0], tiling.shape[0])
    sums = np.zeros((classes, depth, height, width), np.int32)
    weights = np.zeros((depth, height, width), np.int32)
    finished = 0
    for number, layer in enumerate(layers):
        start = layer[0][0]
        for z, y, x in layer if rng is None else [layer[i] for i in rng.permutation(len(layer))]:
            found = predict(_tile(image, tiling, (z, y, x)))
            inside = tuple(slice(0, min(size, length)) for size, length in zip(tiling.tile, tiling.shape, strict=True))
            place = (slice(None), slice(y, y + tiling.tile[1]), slice(x, x + tiling.tile[2]))
            sums[(slice(None), *place)] += found[(slice(None), *inside)] * window[inside]
            weights[place] += window[inside]
            finished += 1
            if done:
                done(finished)
        ready = (layers[number + 1][0][0] if number + 1 < len(layers) else tiling.shape[0]) - start
        yield Slab(start, _rounded(sums[:, :ready], weights[:ready]))
        _shift(sums, ready, axis=1)
        _shift(weights, ready, axis=0)


def _tile(image: NDArray, tiling: Tiling, start: Sequence[int]) -> NDArray:
    box = tuple(slice(s, s + size) for s, size in zip(start, tiling.tile, strict=True))
    tile = np.asarray(image[box])
    missing = [(0, size - have) for size, have in zip(tiling.tile, tile.shape, strict=True)]
    return np.pad(tile, missing, mode="symmetric") if any(after for _, after in missing) else tile


def _rounded(sums: NDArray[np.int32], weights: NDArray[np.int32]) -> NDArray[np.uint8]:
    return ((sums + weights // 2) // weights).astype(np.uint8)


def _shift(array: NDArray, sections: int, axis: int) -> None:
    """Drop the first sections of an accumulator and clear as many at its end, in place."""
    moved = np.moveaxis(array, axis, 0)
    keep = len(moved) - sections
    for k in range(max(0, keep)):
        moved[k] = moved[k + sections]
    moved[max(0, keep) :] = 0


def _window(size: int) -> NDArray[np.int32]:
    distance = (np.arange(size) - (size - 1) / 2) / (SIGMA_SCALE * size)
    return np.maximum(1, np.round(WEIGHT_LEVELS * np.exp(-0.5 * distance**2))).astype(np.int32)

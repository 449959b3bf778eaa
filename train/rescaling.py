"""Images brought to a model's voxels, and answers back to the image's, a box or a section at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from .tiling import Slab

Shape = tuple[int, int, int]
# Beyond this factor between the voxel sizes of model and image, nothing looks as it did in training.
LARGEST_RESCALE = 2.0
# Within this fraction two voxel sizes are the same.
SAME_SIZE = 0.02


class RescaledImage:
    """An image (z, y, x) on other voxels, linearly interpolated (with a wider triangle where it shrinks, so that
    nothing is left out); only the box that is asked for is read and computed."""

    def __init__(self, image: NDArray, scale: Sequence[float]) -> None:
        """`scale` (z, y, x) are the factors from the image's number of voxels to the new one."""
        self.image = image
        z, y, x = (max(1, round(n * f)) for n, f in zip(image.shape, scale, strict=True))
        self.shape: Shape = (z, y, x)
        self.dtype, self.ndim = image.dtype, 3

    def __getitem__(self, box: tuple[slice, ...]) -> NDArray:
        spans = [b.indices(n)[:2] for b, n in zip(box, self.shape, strict=True)]
        weights = [
            _weights(old, new, start, stop)
            for old, new, (start, stop) in zip(self.image.shape, self.shape, spans, strict=True)
        ]
        inside = tuple(slice(first, first + matrix.shape[1]) for first, matrix in weights)
        out = np.asarray(self.image[inside]).astype(np.float32)
        for axis, (_, matrix) in enumerate(weights):
            out = np.moveaxis(np.tensordot(matrix, out, axes=(1, axis)), 0, axis)
        return out.round().astype(self.dtype)


def rescaled_slabs(slabs: Iterable[Slab], shape: Shape, wanted: Shape) -> Iterator[Slab]:
    """Slabs of a volume of `shape` (z, y, x), in order, brought to the `wanted` shape, one section at a time.

    Begins with the first section that the first slab suffices for.
    """
    (_, rows), (_, columns) = (_weights(shape[axis], wanted[axis], 0, wanted[axis]) for axis in (1, 2))
    held: dict[int, NDArray[np.float32]] = {}
    section = None
    for slab in slabs:
        for k in range(slab.probabilities.shape[1]):
            flat = slab.probabilities[:, k].astype(np.float32)
            held[slab.start + k] = np.einsum("oy,cyx,px->cop", rows, flat, columns, optimize=True)
        if section is None:
            section = next(z for z in range(wanted[0]) if first_needed(z, wanted[0], shape[0]) >= slab.start)
        while section < wanted[0]:
            first, weights = _weights(shape[0], wanted[0], section, section + 1)
            if first + weights.shape[1] - 1 not in held:
                break
            mixed = sum(w * held[first + k] for k, w in enumerate(weights[0]))
            yield Slab(section, np.asarray(mixed).round().astype(np.uint8)[:, None])
            section += 1
        needed = first_needed(min(section, wanted[0] - 1), wanted[0], shape[0])
        held = {z: plane for z, plane in held.items() if z >= needed}


def first_needed(section: int, sections: int, given: int) -> int:
    """The first of the `given` sections that section number `section` of `sections` is interpolated from."""
    return section if sections == given else _weights(given, sections, section, section + 1)[0]


def _weights(old: int, new: int, start: int, stop: int) -> tuple[int, NDArray[np.float32]]:
    """How new voxels `start` to `stop` - 1 of an axis are made of old ones: the first of those, and a matrix
    (new, old). Voxels are compared by their centres; an axis that keeps its length keeps its voxels."""
    step = old / new
    centres = (np.arange(start, stop) + 0.5) * step - 0.5
    reach = max(1.0, step)
    low = max(0, int(np.floor(centres[0] - reach)) + 1)
    high = min(old - 1, int(np.ceil(centres[-1] + reach)) - 1)
    distance = np.abs(np.arange(low, high + 1)[None] - centres[:, None]) / reach
    matrix = np.maximum(0, 1 - distance)
    return low, (matrix / matrix.sum(axis=1, keepdims=True)).astype(np.float32)

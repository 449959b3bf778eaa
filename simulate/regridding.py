"""From a block's voxels to those of a microscope that samples more coarsely, and labels along with them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from neuropil.voxelize.volume import Triple, Volume

Plane = npt.NDArray[np.float32]


def overlaps(count: int, size: float, first: int, number: int, step: float, origin: float) -> npt.NDArray[np.float32]:
    """Lengths (number, count) that `number` voxels of length `step` share with `count` of `size` from `origin` on.

    The first of the new voxels lies `first` steps from 0.
    """
    edges = origin + size * np.arange(count + 1)
    new = step * (first + np.arange(number + 1))
    low = np.maximum(edges[None, :-1], new[:-1, None])
    high = np.minimum(edges[None, 1:], new[1:, None])
    return np.maximum(high - low, 0.0).astype(np.float32)


@dataclass(frozen=True)
class SampleGrid:
    """The whole voxels of a microscope that lie in a block: absolute index of the first, number, size (z, y, x)."""

    first: tuple[int, int, int]
    shape: tuple[int, int, int]
    voxel_size_nm: Triple

    @classmethod
    def within(cls, volume: Volume, voxel_size_nm: Sequence[float]) -> SampleGrid:
        """The voxels of this size that lie wholly in a volume. Raises ValueError where there is none along an axis."""
        ranges = [
            range(math.ceil(low / size - 1e-6), math.floor((low + extent) / size + 1e-6))
            for low, extent, size in zip(volume.origin_nm, volume.extent_nm, voxel_size_nm, strict=True)
        ]
        if not all(ranges):
            axis = next(axis for axis, voxels in enumerate(ranges) if not voxels)
            raise ValueError(
                f"the block is {volume.extent_nm[axis]:g} nm long in {'zyx'[axis]}, from {volume.origin_nm[axis]:g} nm "
                f"on, which holds no whole voxel of the microscope's {voxel_size_nm[axis]:g} nm"
            )
        (z, y, x), (depth, height, width) = (voxels.start for voxels in ranges), (len(voxels) for voxels in ranges)
        size_z, size_y, size_x = (float(size) for size in voxel_size_nm)
        return cls((z, y, x), (depth, height, width), (size_z, size_y, size_x))

    @property
    def origin_nm(self) -> Triple:
        """Place of the lower corner of the first voxel."""
        z, y, x = (index * size for index, size in zip(self.first, self.voxel_size_nm, strict=True))
        return z, y, x

    def finer(self, parts: Sequence[int]) -> SampleGrid:
        """The same box in voxels that are each of these parts (z, y, x) of one."""
        first, shape = (
            tuple(n * part for n, part in zip(numbers, parts, strict=True)) for numbers in (self.first, self.shape)
        )
        sizes = tuple(size / part for size, part in zip(self.voxel_size_nm, parts, strict=True))
        return SampleGrid(
            (first[0], first[1], first[2]), (shape[0], shape[1], shape[2]), (sizes[0], sizes[1], sizes[2])
        )

    def averaged(self, planes: Iterable[Plane], volume: Volume) -> npt.NDArray[np.float32]:
        """Mean of a quantity over each of the grid's voxels; `planes` are (y, x), on the volume's slices in order."""
        along = [
            overlaps(count, size, first, number, step, origin) / np.float32(step)
            for count, size, first, number, step, origin in zip(
                volume.shape_zyx,
                volume.voxel_size_nm,
                self.first,
                self.shape,
                self.voxel_size_nm,
                volume.origin_nm,
                strict=True,
            )
        ]
        mean = np.zeros(self.shape, np.float32)
        for shares, plane in zip(along[0].T, planes, strict=True):
            slices = np.flatnonzero(shares)
            if slices.size:
                mean[slices] += shares[slices, None, None] * (along[1] @ plane @ along[2].T)
        return mean

    def labels(self, labels: Volume) -> Volume:
        """The label (z, y, x) at the middle of each of the grid's voxels."""
        picks = [
            np.clip(np.floor((step * (first + np.arange(number) + 0.5) - origin) / size), 0, count - 1).astype(np.intp)
            for count, size, first, number, step, origin in zip(
                labels.shape_zyx,
                labels.voxel_size_nm,
                self.first,
                self.shape,
                self.voxel_size_nm,
                labels.origin_nm,
                strict=True,
            )
        ]
        return Volume(np.asarray(labels.data)[np.ix_(*picks)], self.voxel_size_nm, self.origin_nm)

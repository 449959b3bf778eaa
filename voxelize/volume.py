"""An array that knows its voxel size, its place and its axes: the one form in which arrays travel."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

Triple = tuple[float, float, float]


def checked_voxel_size(voxel_size_nm: Sequence[float]) -> Triple:
    """`voxel_size_nm` as three floats (z, y, x).

    Raises ValueError unless there are three of them, finite and positive.
    """
    size = tuple(float(value) for value in voxel_size_nm)
    if len(size) != 3 or not all(math.isfinite(value) and value > 0 for value in size):
        raise ValueError(f"voxel_size_nm is {size}, but it has to be three positive numbers in nm (z, y, x).")
    return size


@dataclass(frozen=True, eq=False)
class Volume:
    """A 3D array, or several channels of one.

    data: (z, y, x) with axes "zyx", or (c, z, y, x) with axes "czyx"; numbers or booleans. An array on disk, as Zarr
        opens it, stays there and is read where it is indexed.
    voxel_size_nm: edge lengths of a voxel in nm, in z, y, x order.
    origin_nm: place of the lower corner of voxel (0, 0, 0) in nm, in z, y, x order; voxel k of an axis covers
        [origin + k·size, origin + (k + 1)·size).
    channels: one name per channel where the axes are "czyx", else empty.

    Raises ValueError, in one sentence, when these do not fit together.
    """

    data: np.ndarray
    voxel_size_nm: Triple
    origin_nm: Triple = (0.0, 0.0, 0.0)
    axes: str = "zyx"
    channels: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        data = self.data if hasattr(self.data, "chunks") else np.asarray(self.data)
        if data.dtype.kind not in "buif":
            raise ValueError(f"data has type {data.dtype}, but a volume holds integers, floats or booleans.")
        if self.axes not in ("zyx", "czyx"):
            raise ValueError(f"axes is '{self.axes}', but it has to be 'zyx' or 'czyx'.")
        if data.ndim != len(self.axes):
            raise ValueError(
                f"data has the shape {data.shape}, but axes '{self.axes}' ask for {len(self.axes)} of them."
            )
        if min(data.shape) < 1:
            raise ValueError(f"data has the shape {data.shape}, but every axis needs at least one voxel.")
        origin = tuple(float(value) for value in self.origin_nm)
        if len(origin) != 3 or not all(math.isfinite(value) for value in origin):
            raise ValueError(f"origin_nm is {origin}, but it has to be three finite numbers in nm (z, y, x).")
        channels = tuple(str(name) for name in self.channels)
        if self.axes == "czyx" and len(channels) != data.shape[0]:
            raise ValueError(f"channels names {len(channels)} channels, but the data has {data.shape[0]} of them.")
        if self.axes == "zyx" and channels:
            raise ValueError(f"channels is {channels}, but axes 'zyx' have none.")
        object.__setattr__(self, "data", data)
        object.__setattr__(self, "voxel_size_nm", checked_voxel_size(self.voxel_size_nm))
        object.__setattr__(self, "origin_nm", origin)
        object.__setattr__(self, "channels", channels)

    @property
    def shape_zyx(self) -> tuple[int, int, int]:
        """Number of voxels along z, y and x, whatever the channels."""
        z, y, x = self.data.shape[-3:]
        return z, y, x

    @property
    def extent_nm(self) -> Triple:
        """Edge lengths of the whole volume in nm (z, y, x)."""
        z, y, x = (count * size for count, size in zip(self.shape_zyx, self.voxel_size_nm, strict=True))
        return z, y, x

    def slabs(self, slices: int, channel: int | None = None) -> Iterator[np.ndarray]:
        """All slices in memory, so many at a time, in order: (n, y, x) of one channel, or with all the channels."""
        channels = () if channel is None else (channel,)
        for first in range(0, self.shape_zyx[0], slices):
            yield np.asarray(self.data[(*channels, ..., slice(first, first + slices), slice(None), slice(None))])

    def with_data(self, data: np.ndarray, axes: str = "zyx", channels: tuple[str, ...] = ()) -> Volume:
        """Another array on the same voxels. Raises ValueError when its number of voxels differs."""
        if tuple(np.shape(data)[-3:]) != self.shape_zyx:
            raise ValueError(f"data has the shape {np.shape(data)}, but the volume it goes with has {self.shape_zyx}.")
        return replace(self, data=data, axes=axes, channels=channels)

    def crop(self, start: Sequence[int], shape: Sequence[int]) -> Volume:
        """The box of `shape` voxels (z, y, x) from voxel `start` on, as a view with its origin moved along.

        Raises ValueError when the box does not lie inside the volume.
        """
        inside = all(
            low >= 0 and count >= 1 and low + count <= whole
            for low, count, whole in zip(start, shape, self.shape_zyx, strict=True)
        )
        if not inside:
            raise ValueError(f"a box of {tuple(shape)} voxels at {tuple(start)} leaves the volume of {self.shape_zyx}.")
        box_z, box_y, box_x = (slice(low, low + count) for low, count in zip(start, shape, strict=True))
        z, y, x = (
            corner + low * size for corner, low, size in zip(self.origin_nm, start, self.voxel_size_nm, strict=True)
        )
        return replace(self, data=self.data[..., box_z, box_y, box_x], origin_nm=(z, y, x))

"""Multiscale OME-Zarr groups (OME-NGFF 0.5 on Zarr 3 is written, 0.4 on Zarr 2 is read too).

Source: the OME-NGFF specification, https://ngff.openmicroscopy.org/0.5/. Scales and translations are in
micrometres. The bytes depend on the arrays alone: no time, no random name and no machine enters them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from zarr.codecs import ZstdCodec

from .volume import Triple

CHUNK_ZYX = (64, 256, 256)
# Coarser levels follow until no axis has more voxels than this.
SMALL_ENOUGH = 256
FEWEST_LEVELS = 2
NM_PER_UNIT = {
    "angstrom": 0.1,
    "nanometer": 1.0,
    "micrometer": 1e3,
    "millimeter": 1e6,
    "centimeter": 1e7,
    "meter": 1e9,
}


def tidy(value: float, digits: int = 9) -> float:
    """`value` without the last bits that a change of unit leaves, so that 0.005 µm is read as 5 nm."""
    return float(f"{value:.{digits}g}")


def halved_axes(voxel_size_nm: Sequence[float], shape_zyx: Sequence[int]) -> tuple[int, int, int]:
    """Factors (z, y, x) to the next level: 2 along the fine axes, 1 along an axis already twice as coarse."""
    finest = min(voxel_size_nm)
    z, y, x = (
        2 if size < 2 * finest and count > 1 else 1 for size, count in zip(voxel_size_nm, shape_zyx, strict=True)
    )
    return z, y, x


def downsampled(data: np.ndarray, factors: tuple[int, int, int], labels: bool) -> np.ndarray:
    """The next level of a pyramid: the first voxel of each group for labels, the rounded mean for images.

    data: (..., z, y, x); a last group that is not full is averaged over what it has.
    """
    if labels or factors == (1, 1, 1):
        z, y, x = factors
        return data[..., ::z, ::y, ::x]
    total = data.astype(np.float32)
    for axis, factor in zip((-3, -2, -1), factors, strict=True):
        starts = np.arange(0, total.shape[axis], factor)
        sizes = np.minimum(starts + factor, total.shape[axis]) - starts
        trailing = sizes.reshape((-1,) + (1,) * (-axis - 1))
        total = np.add.reduceat(total, starts, axis=axis) / trailing.astype(np.float32)
    return np.rint(total).astype(data.dtype) if data.dtype.kind in "bui" else total.astype(data.dtype)


@dataclass(frozen=True)
class Level:
    """One array of a pyramid: its path in the group, and its scale and translation in nm (z, y, x)."""

    path: str
    factors: tuple[int, int, int]
    voxel_size_nm: Triple
    translation_nm: Triple


def pyramid_levels(voxel_size_nm: Triple, origin_nm: Triple, shape_zyx: Sequence[int]) -> list[Level]:
    """The levels "0", "1" and so on until one is small enough to be loaded at a glance.

    A coarse voxel's place is the middle of the fine ones it stands for.
    """
    levels = [Level("0", (1, 1, 1), voxel_size_nm, origin_nm)]
    shape = tuple(shape_zyx)
    while True:
        last = levels[-1]
        factors = halved_axes(last.voxel_size_nm, shape)
        if len(levels) >= FEWEST_LEVELS and (max(shape) <= SMALL_ENOUGH or factors == (1, 1, 1)):
            return levels
        coarse_z, coarse_y, coarse_x = (s * f for s, f in zip(last.voxel_size_nm, factors, strict=True))
        z, y, x = (
            t + (f - 1) / 2 * s for t, f, s in zip(last.translation_nm, factors, last.voxel_size_nm, strict=True)
        )
        levels.append(Level(str(len(levels)), factors, (coarse_z, coarse_y, coarse_x), (z, y, x)))
        shape = _coarser(shape, factors)


def _coarser(shape: Sequence[int], factors: Sequence[int]) -> tuple[int, ...]:
    """The shape after each of the last three axes was divided by its factor, rounded up."""
    lead = tuple(shape[:-3])
    return lead + tuple(math.ceil(n / f) for n, f in zip(shape[-3:], factors, strict=True))


def multiscale_attributes(
    name: str, levels: Sequence[Level], channels: Sequence[str] = (), prefix: str = ""
) -> dict[str, Any]:
    """The `multiscales` entry of OME-NGFF 0.5 for these levels; `prefix` goes before each level's path."""
    lead = [1.0] if channels else []
    axes: list[dict[str, str]] = [{"name": "c", "type": "channel"}] if channels else []
    axes += [{"name": axis, "type": "space", "unit": "micrometer"} for axis in "zyx"]
    datasets = [
        {
            "path": prefix + level.path,
            "coordinateTransformations": [
                {"type": "scale", "scale": lead + [tidy(s / 1e3) for s in level.voxel_size_nm]},
                {
                    "type": "translation",
                    "translation": [0.0] * len(lead) + [tidy(t / 1e3) for t in level.translation_nm],
                },
            ],
        }
        for level in levels
    ]
    return {"name": name, "axes": axes, "datasets": datasets}


def create_level(
    folder: Path, level: Level, shape: Sequence[int], dtype: np.dtype, channels: Sequence[str]
) -> zarr.Array:
    """An empty array for one level, in chunks of (64, 256, 256) voxels compressed with zstd."""
    chunks = tuple(min(size, chunk) for size, chunk in zip(shape[-3:], CHUNK_ZYX, strict=True))
    return zarr.create_array(
        store=str(folder / level.path),
        shape=tuple(shape),
        chunks=((1, *chunks) if channels else chunks),
        dtype=dtype,
        compressors=ZstdCodec(level=1),
        fill_value=0,
        dimension_names=(("c",) if channels else ()) + ("z", "y", "x"),
    )


class MultiscaleWriter:
    """A multiscale group that is written region by region, in the memory of one region.

    The bytes do not depend on how the array is cut into regions. Regions of whole chunks are written at once,
    others read and write their chunks again.
    """

    def __init__(
        self,
        folder: Path,
        shape: Sequence[int],
        dtype: np.dtype | type,
        voxel_size_nm: Triple,
        origin_nm: Triple = (0.0, 0.0, 0.0),
        *,
        name: str,
        channels: Sequence[str] = (),
        label: dict[str, Any] | None = None,
    ) -> None:
        """Make the group `folder` for an array of `shape`, (z, y, x) or (c, z, y, x) with `channels`.

        label: the `image-label` entry when the voxels are labels (levels then take voxels instead of averaging).
        """
        stored = np.dtype(np.uint8 if dtype == np.bool_ else dtype)
        self.levels = pyramid_levels(voxel_size_nm, origin_nm, shape[-3:])
        self._labels = label is not None
        ome: dict[str, Any] = {"version": "0.5", "multiscales": [multiscale_attributes(name, self.levels, channels)]}
        if label is not None:
            ome["image-label"] = label
        elif channels:
            ome["omero"] = {"channels": [{"label": name, "color": "FFFFFF", "active": True} for name in channels]}
        zarr.create_group(store=str(folder), attributes={"ome": ome}, zarr_format=3)
        self._arrays = []
        for level in self.levels:
            shape = _coarser(shape, level.factors)
            self._arrays.append(create_level(folder, level, shape, stored, channels))
        z, y, x = (math.prod(level.factors[axis] for level in self.levels) for axis in range(3))
        #: Voxels (z, y, x) of the finest level that one of the coarsest stands for.
        self.step: tuple[int, int, int] = (z, y, x)

    @property
    def array(self) -> zarr.Array:
        """The finest level, with what has been written so far."""
        return self._arrays[0]

    def write(self, data: np.ndarray, start_zyx: Sequence[int] = (0, 0, 0)) -> None:
        """Write `data` at voxel `start_zyx` of the finest level, and what follows from it in the coarser ones.

        Raises ValueError where the region leaves the array, or cuts through a voxel of the coarsest level.
        """
        whole = self.array.shape[-3:]
        stop = tuple(low + count for low, count in zip(start_zyx, data.shape[-3:], strict=True))
        if any(
            low < 0 or low % step or high > size or (high % step and high < size)
            for low, high, step, size in zip(start_zyx, stop, self.step, whole, strict=True)
        ):
            raise ValueError(
                f"the region from {tuple(start_zyx)} to {stop} has to lie inside the array of {whole} and to begin "
                f"and end on multiples of {self.step} or at the array's end."
            )
        part = data.astype(np.uint8) if data.dtype == np.bool_ else data
        corner = tuple(start_zyx)
        for level, array in zip(self.levels, self._arrays, strict=True):
            part = downsampled(part, level.factors, self._labels)
            corner = tuple(low // factor for low, factor in zip(corner, level.factors, strict=True))
            z, y, x = (slice(low, low + count) for low, count in zip(corner, part.shape[-3:], strict=True))
            array[..., z, y, x] = part


@dataclass(frozen=True)
class MultiscaleImage:
    """A pyramid that was found on disk: its finest array (lazy) and what is known of its place.

    voxel_size_nm is None where the file states no unit; axes are those of `array`, one letter each.
    """

    array: zarr.Array
    axes: str
    voxel_size_nm: Triple | None
    origin_nm: Triple
    channels: tuple[str, ...]


def ome_attributes(node: zarr.Group) -> dict[str, Any]:
    """The OME-NGFF attributes of a group, whether of version 0.5 (under "ome") or 0.4."""
    attributes = node.attrs.asdict()
    ome = attributes.get("ome", attributes)
    return dict(ome) if isinstance(ome, dict) else {}


def open_multiscale(group: zarr.Group) -> MultiscaleImage:
    """The finest level of the multiscale image in `group`. Raises ValueError where there is none."""
    ome = ome_attributes(group)
    if not ome.get("multiscales"):
        raise ValueError(f"{group.store_path} holds no multiscale image.")
    multiscale = ome["multiscales"][0]
    dataset = multiscale["datasets"][0]
    array = group[dataset["path"]]
    if not isinstance(array, zarr.Array):
        raise ValueError(f"{group.store_path} names '{dataset['path']}' as its image, but that is no array.")
    described = multiscale.get("axes") or [{"name": name} for name in "tczyx"[-array.ndim :]]
    named = [axis if isinstance(axis, dict) else {"name": axis} for axis in described]
    axes = "".join(axis["name"] for axis in named)
    scale, translation = [1.0] * array.ndim, [0.0] * array.ndim
    # A pyramid's own transformations come on top of those of its levels.
    steps = list(dataset.get("coordinateTransformations", [])) + list(multiscale.get("coordinateTransformations", []))
    for step in steps:
        if step.get("type") == "scale":
            scale = [a * b for a, b in zip(scale, step["scale"], strict=True)]
            translation = [a * b for a, b in zip(translation, step["scale"], strict=True)]
        elif step.get("type") == "translation":
            translation = [a + b for a, b in zip(translation, step["translation"], strict=True)]
    units = {axis["name"]: NM_PER_UNIT.get(axis.get("unit", "")) for axis in named}
    known = [(axis, units[axis]) for axis in axes if axis in "zyx"]
    size: Triple | None = None
    origin: Triple = (0.0, 0.0, 0.0)
    if all(unit for _, unit in known) and "y" in axes and "x" in axes:
        nm = {
            axis: (
                tidy(scale[axes.index(axis)] * (unit or 1.0)),
                tidy(translation[axes.index(axis)] * (unit or 1.0)),
            )
            for axis, unit in known
        }
        # A single plane has no depth of its own: its pixel's height stands in.
        nm.setdefault("z", (nm["y"][0], 0.0))
        size = (nm["z"][0], nm["y"][0], nm["x"][0])
        origin = (nm["z"][1], nm["y"][1], nm["x"][1])
    channels = tuple(str(channel.get("label", "")) for channel in ome.get("omero", {}).get("channels", []))
    return MultiscaleImage(array, axes, size, origin, channels)

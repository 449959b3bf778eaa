"""A real stack to calibrate by: read, checked, brought to 8 bits, and cut into runs of neighbouring slices."""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib import resources
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuropil.simulate.annotator import CLASS_NAMES
from neuropil.simulate.appearance import Run
from neuropil.voxelize.volume import Triple
from neuropil.voxelize.volume_files import PLANE_SUFFIXES, read_volume

from .progress import say
from .real_images import data_folders, find_real_images

# A mask of one class, as membranes are mostly drawn, is taken for this one.
_MASK_CLASS = "membrane"
# Percentiles of grey that 16 bits and real numbers are stretched between: to 8 bits, 2 levels from either end.
_STRETCHED = (0.05, 99.95)


@dataclass(frozen=True)
class RealStack:
    """Slices uint8 (n, y, x), the number of each, what was drawn on them (a bit field, annotator.py) or None."""

    source: str
    images: NDArray[np.uint8]
    labels: NDArray[np.uint8] | None
    numbers: tuple[int, ...]
    voxel_size_nm: Triple

    def runs(self, numbers: range) -> list[Run]:
        """The slices of these numbers, neighbours together; a gap in the numbers ends a run."""
        chosen = [k for k, number in enumerate(self.numbers) if number in numbers]
        steps = enumerate(pairwise(chosen), 1)
        ends = [i for i, (before, after) in steps if self.numbers[after] != self.numbers[before] + 1]
        parts = np.split(np.array(chosen, np.int64), ends) if chosen else []
        return [Run(self.images[p], None if self.labels is None else self.labels[p]) for p in parts]


def read_real_stack(real: str, labels: str | None, voxel_size_nm: Triple | None) -> RealStack:
    """The stack that `real` names: a volume, a folder with images/ and labels/, or a data set by its name.

    Files of a folder are numbered by the first number in their names. Labels are a bit field of the six classes, or
    a mask of two values, which is taken for membranes. Raises ValueError in one sentence for what is none.
    """
    path, drawn = _located(real, labels)
    volume = read_volume(path, voxel_size_nm)
    if volume.axes != "zyx":
        raise ValueError(f"{path} holds {len(volume.channels)} channels, but a micrograph has one")
    data = np.asarray(volume.data)
    images = _eight_bits(path, data)
    numbers = _numbers(path, len(images))
    field = None
    if drawn is not None:
        field = _bit_field(drawn, np.asarray(read_volume(drawn, volume.voxel_size_nm).data))
        if field.shape != images.shape:
            raise ValueError(f"{drawn} has the shape {field.shape}, but {path} has {images.shape}; they must agree")
    return RealStack(real, images, field, numbers, volume.voxel_size_nm)


def _located(real: str, labels: str | None) -> tuple[str, str | None]:
    """Where images and labels lie."""
    for folder in (Path(real), *(d / real for d in data_folders())):
        if (folder / "images").is_dir():
            there = folder / "labels"
            return str(folder / "images"), labels or (str(there) if there.is_dir() else None)
    if not Path(real).exists() and (resources.files("neuropil.assets") / "real" / f"{real}.csv").is_file():
        found = find_real_images(real, "", say)
        if found is None:
            raise ValueError(f"{real} cannot be had; give the path of images instead")
        return str(found.folder / "images"), labels or str(found.folder / "labels")
    return real, labels


def _eight_bits(path: str, data: NDArray[Any]) -> NDArray[np.uint8]:
    """Grey levels as uint8; values beyond 8 bits are stretched evenly. One sentence where they hold no picture."""
    if data.dtype.kind == "f":
        wrong = np.flatnonzero(~np.isfinite(data).all(axis=(1, 2)))
        if wrong.size:
            raise ValueError(
                f"{path} holds values that are no numbers (NaN or infinite), first in slice {wrong[0]} of "
                f"{len(data)}; a micrograph has a finite grey in every pixel"
            )
    flat = np.flatnonzero(data.min(axis=(1, 2)) == data.max(axis=(1, 2)))
    if flat.size:
        raise ValueError(
            f"{path} is constant ({data[flat[0], 0, 0]}) throughout slice {flat[0]} of {len(data)}; leave such "
            f"slices out ({flat.size} in all)"
        )
    if data.dtype == np.uint8:
        return data
    if data.dtype.kind in "ui" and data.min() >= 0 and data.max() <= 255:
        return data.astype(np.uint8)
    low, high = np.percentile(data, _STRETCHED)
    if high <= low:
        raise ValueError(f"{path} has next to no contrast: grey is {low:g} nearly everywhere")
    grey = 2.0 + (data.astype(np.float32) - low) * (251.0 / (high - low))
    return np.rint(np.clip(grey, 0.0, 255.0)).astype(np.uint8)


def _bit_field(path: str, data: NDArray[Any]) -> NDArray[np.uint8]:
    values = np.unique(data)
    if data.dtype.kind == "f" and not np.array_equal(values, np.rint(values)):
        raise ValueError(f"{path} holds the value {values[np.rint(values) != values][0]}, but labels are whole numbers")
    if values.size <= 2 and values[0] == 0 and values[-1] in (1, 255):
        return (data > 0).astype(np.uint8) << np.uint8(CLASS_NAMES.index(_MASK_CLASS))
    if values[0] < 0 or values[-1] >= 1 << len(CLASS_NAMES):
        raise ValueError(
            f"{path} holds the value {values[-1] if values[0] >= 0 else values[0]}, but labels are bits of "
            f"{', '.join(CLASS_NAMES)} (0 to 63) or a mask of 0 and 255"
        )
    return data.astype(np.uint8)


def _numbers(path: str, count: int) -> tuple[int, ...]:
    """The slices' numbers: of a folder those in its files' names where each has one of its own, else 0, 1, 2 …"""
    if Path(path).is_dir():
        names = [f.name for f in Path(path).iterdir() if f.name.lower().endswith((*PLANE_SUFFIXES, ".tif", ".tiff"))]
        found = sorted(int(match[0]) for match in map(re.compile(r"\d+").search, names) if match)
        if len(found) == count == len(set(found)):
            return tuple(found)
    return tuple(range(count))

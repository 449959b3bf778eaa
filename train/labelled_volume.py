"""Images with the classes drawn on them, read from blocks, from folders of slices and from NPZ files."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field

from .classes import CLASS_NAMES, bits_from_masks

Plane = Literal["z", "y", "x"]
# Voxel sizes that differ by less than this fraction along the axes count as isotropic.
ISOTROPY = 0.1


@dataclass(frozen=True)
class LabelledVolume:
    """A grey image and a bit field of classes, both uint8 (z, y, x).

    `contiguous` says that neighbouring sections are neighbours in the tissue; slices picked from a stack
    are not, and are only ever cut along z. Raises ValueError if the arrays do not fit each other.
    """

    name: str
    image: NDArray[np.uint8]
    bits: NDArray[np.uint8]
    voxel_size_nm: tuple[float, float, float]
    contiguous: bool = True

    def __post_init__(self) -> None:
        if self.image.ndim != 3 or self.image.shape != self.bits.shape:
            raise ValueError(
                f"{self.name}: image {self.image.shape} and labels {self.bits.shape} "
                "must be two arrays (z, y, x) of one shape"
            )
        if self.image.dtype != np.uint8 or self.bits.dtype != np.uint8:
            raise ValueError(f"{self.name}: image {self.image.dtype} and labels {self.bits.dtype} must both be uint8")
        if min(self.image.shape) == 0:
            raise ValueError(f"{self.name}: the image is empty, its shape is {self.image.shape}")
        if not all(size > 0 for size in self.voxel_size_nm):
            raise ValueError(f"{self.name}: voxel size {self.voxel_size_nm} nm must be positive")

    @property
    def isotropic(self) -> bool:
        return max(self.voxel_size_nm) <= min(self.voxel_size_nm) * (1 + ISOTROPY)

    @property
    def planes(self) -> tuple[Plane, ...]:
        """Axes across which it may be cut into sections."""
        return ("z", "y", "x") if self.contiguous and self.isotropic else ("z",)

    @property
    def checksum(self) -> int:
        """CRC-32 of image and labels: tells whether a resumed training still sees the same data."""
        return zlib.crc32(np.ascontiguousarray(self.bits).data, zlib.crc32(np.ascontiguousarray(self.image).data))


class Source(BaseModel):
    """Where labelled images come from.

    `block`: a block's folder with an image and an annotation; `bits`: a folder with images/NNNN.png and
    labels/NNNN.png (bit field), slices named from `first` to `last` inclusive; `npz`: a file with `image`
    uint8 (n, y, x) and `masks` bool (n, 6, y, x). `voxel_size_nm` (z, y, x) is for the two forms that do not
    carry one; `weight` is the source's share of the patches in a mixture.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["block", "bits", "npz"]
    path: Path
    first: str = ""
    last: str = "\uffff"
    voxel_size_nm: tuple[float, float, float] = (5.0, 5.0, 5.0)
    weight: float = Field(default=1.0, gt=0)

    @classmethod
    def parse(cls, text: str) -> Source:
        """From `block:DIR`, `bits:DIR`, `bits:DIR:FIRST-LAST` or `npz:FILE`."""
        kind, colon, rest = text.partition(":")
        if not colon or kind not in ("block", "bits", "npz") or not rest:
            raise ValueError(f"source {text!r} is not block:DIR, bits:DIR[:FIRST-LAST] or npz:FILE")
        folder, _, span = rest.partition(":") if kind == "bits" else (rest, "", "")
        if not span:
            return cls(kind=kind, path=Path(folder))
        first, dash, last = span.partition("-")
        if not dash or not first or not last:
            raise ValueError(f"source {text!r}: the range {span!r} is not FIRST-LAST")
        return cls(kind="bits", path=Path(folder), first=first, last=last)

    def load(self) -> list[LabelledVolume]:
        """The labelled volumes, in memory. Raises FileNotFoundError or ValueError in one sentence."""
        if not self.path.exists():
            raise FileNotFoundError(f"{self.path} does not exist")
        if self.kind == "block":
            return [load_block(self.path)]
        if self.kind == "npz":
            return [load_npz(self.path, self.voxel_size_nm)]
        return load_slices(self.path, self.first, self.last, self.voxel_size_nm)


def load_block(path: Path) -> LabelledVolume:
    """A block's image with its annotation; ValueError if the block has no image or no annotation."""
    # Zarr is slow to import, and a training set of slices does not need it.
    from neuropil.voxelize.block_files import read_block

    block = read_block(path)
    if block.image is None or "annotation" not in block.labels:
        missing = "image" if block.image is None else "annotation"
        raise ValueError(f"block {path} has no {missing}, so nothing can be learnt from it")
    image, annotation = block.volume("image"), block.volume("annotation")
    # Blocks' groups all have the same name; the folder they lie in tells them apart.
    name = f"{path.absolute().parent.name}/{path.name}"
    return LabelledVolume(name, image.data, annotation.data, image.voxel_size_nm)


def load_slices(folder: Path, first: str, last: str, voxel_size_nm: tuple[float, float, float]) -> list[LabelledVolume]:
    """One volume of one section for each images/NNNN.png whose name lies in [first, last]."""
    files = [f for f in sorted((folder / "images").glob("*.png")) if first <= f.stem <= last]
    if not files:
        raise ValueError(f"{folder / 'images'} holds no PNG named from {first!r} to {last!r}")
    out = []
    for file in files:
        labels = folder / "labels" / file.name
        if not labels.exists():
            raise FileNotFoundError(f"{labels} does not exist, but the image {file.name} does")
        image, bits = _read_picture(file, convert=True)[None], _read_picture(labels, convert=False)[None]
        out.append(LabelledVolume(file.stem, image, bits, voxel_size_nm, contiguous=False))
    return out


def load_npz(path: Path, voxel_size_nm: tuple[float, float, float]) -> LabelledVolume:
    """Sections from `image` (n, y, x) and `masks` (n, 6, y, x) of an NPZ file; never unpickles."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in ("image", "masks") if name in archive}
    except (OSError, EOFError, ValueError, zlib.error, BadZipFile) as error:
        raise ValueError(f"{path} cannot be read as NPZ: {error}") from error
    missing = {"image", "masks"} - set(arrays)
    if missing:
        raise ValueError(f"{path} has no array called {' and '.join(sorted(missing))}")
    image, masks = arrays["image"], arrays["masks"]
    if image.ndim != 3 or masks.shape != (len(image), len(CLASS_NAMES), *image.shape[1:]):
        raise ValueError(f"{path}: image {image.shape} and masks {masks.shape} must be (n, y, x) and (n, 6, y, x)")
    return LabelledVolume(path.stem, image, bits_from_masks(masks.transpose(1, 0, 2, 3)), voxel_size_nm, False)


def _read_picture(path: Path, convert: bool) -> NDArray[np.uint8]:
    """An 8-bit picture (y, x); with `convert` colours become grey, else they are refused (a bit field)."""
    try:
        with Image.open(path) as picture:
            allowed = ("L", "LA", "RGB", "RGBA") if convert else ("L", "P")
            if picture.mode not in allowed:
                raise ValueError(f"{path} is a picture of mode {picture.mode}, not 8-bit ({', '.join(allowed)})")
            return np.array(picture.convert("L") if convert else picture)
    except OSError as error:
        raise ValueError(f"{path} cannot be read as a picture: {error}") from error

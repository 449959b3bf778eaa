"""Images with what is drawn on them, read from blocks, volumes of any form, folders of slices and NPZ files."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field

from neuropil.voxelize.volume import Volume

from .classes import CLASS_NAMES, bits_from_masks
from .settings import ClassName

Plane = Literal["z", "y", "x"]
# Voxel sizes that differ by less than this fraction along the axes count as isotropic.
ISOTROPY = 0.1


@dataclass(frozen=True)
class LabelledVolume:
    """A grey image and a bit field of classes, both uint8 (z, y, x), and ids of cells, uint32, where they are known.

    `contiguous` says that neighbouring sections are neighbours in the tissue; slices picked from a stack
    are not, and are only ever cut along z. `drawn` are the classes that the bits tell about: of the others nobody
    knows where they are. Raises ValueError if the arrays do not fit each other.
    """

    name: str
    image: NDArray[np.uint8]
    bits: NDArray[np.uint8]
    voxel_size_nm: tuple[float, float, float]
    contiguous: bool = True
    instances: NDArray[np.uint32] | None = None
    drawn: tuple[str, ...] = CLASS_NAMES

    def __post_init__(self) -> None:
        if self.image.ndim != 3 or self.image.shape != self.bits.shape:
            raise ValueError(
                f"{self.name}: image {self.image.shape} and labels {self.bits.shape} "
                "must be two arrays (z, y, x) of one shape"
            )
        if self.image.dtype != np.uint8 or self.bits.dtype != np.uint8:
            raise ValueError(f"{self.name}: image {self.image.dtype} and labels {self.bits.dtype} must both be uint8")
        if self.instances is not None and (self.instances.shape, self.instances.dtype) != (self.image.shape, np.uint32):
            raise ValueError(
                f"{self.name}: instances are {self.instances.dtype} {self.instances.shape}, but must be uint32 "
                f"{self.image.shape} as the image"
            )
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
        total = zlib.crc32(repr((self.voxel_size_nm, self.drawn)).encode())
        for array in (self.image, self.bits, self.instances):
            total = total if array is None else zlib.crc32(np.ascontiguousarray(array).data, total)
        return total


class Source(BaseModel):
    """Where labelled images come from.

    `block`: a block's folder with an image and an annotation; `volume`: any volume (a folder of PNGs, a TIFF, a NIfTI,
    file.h5:dataset, a Zarr) with `labels`, another one on the same voxels, which `meaning` explains: a bit field of
    classes (or masks c, z, y, x named as classes), ids of cells, or one class that is everything but 0; `bits`: a
    folder with images/NNNN.png and labels/NNNN.png (bit field), slices named from `first` to `last` inclusive; `npz`: a
    file with `image` uint8 (n, y, x) and `masks` bool (n, 6, y, x). `voxel_size_nm` (z, y, x) is for forms that state
    none; `weight` is the source's share of the patches in a mixture.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["block", "volume", "bits", "npz"]
    path: Path
    labels: str = ""
    meaning: Literal["bits", "instances"] | ClassName = "bits"
    first: str = ""
    last: str = "\uffff"
    voxel_size_nm: tuple[float, float, float] = (5.0, 5.0, 5.0)
    weight: float = Field(default=1.0, gt=0)

    @classmethod
    def parse(cls, text: str) -> Source:
        """From `block:DIR`, `volume:IMAGE,LABELS[,MEANING]`, `bits:DIR`, `bits:DIR:FIRST-LAST` or `npz:FILE`."""
        kind, colon, rest = text.partition(":")
        if not colon or kind not in ("block", "volume", "bits", "npz") or not rest:
            raise ValueError(
                f"source {text!r} is not block:DIR, bits:DIR[:FIRST-LAST] or npz:FILE, or volume:IMAGE,LABELS[,MEANING]"
            )
        if kind == "volume":
            return cls._parse_volume(text, rest)
        folder, _, span = rest.partition(":") if kind == "bits" else (rest, "", "")
        if not span:
            return cls(kind=kind, path=Path(folder))
        first, dash, last = span.partition("-")
        if not dash or not first or not last:
            raise ValueError(f"source {text!r}: the range {span!r} is not FIRST-LAST")
        return cls(kind="bits", path=Path(folder), first=first, last=last)

    @classmethod
    def _parse_volume(cls, text: str, rest: str) -> Source:
        image, *others = rest.split(",")
        meanings = ("bits", "instances", *get_args(ClassName))
        if len(others) not in (1, 2) or not all(others):
            raise ValueError(f"source {text!r} is not volume:IMAGE,LABELS or volume:IMAGE,LABELS,MEANING")
        meaning = others[1] if len(others) == 2 else "bits"
        if meaning not in meanings:
            raise ValueError(f"source {text!r}: the meaning {meaning!r} is none of {', '.join(meanings)}")
        return cls(kind="volume", path=Path(image), labels=others[0], meaning=meaning)

    def load(self, instances: bool = False) -> list[LabelledVolume]:
        """The labelled volumes, in memory; with `instances` a block's cells too.

        Raises FileNotFoundError or ValueError in one sentence.
        """
        if self.kind == "volume":
            return [load_volume(str(self.path), self.labels, self.meaning, self.voxel_size_nm)]
        if not self.path.exists():
            raise FileNotFoundError(f"{self.path} does not exist")
        if self.kind == "block":
            return [load_block(self.path, instances)]
        if self.kind == "npz":
            return [load_npz(self.path, self.voxel_size_nm)]
        return load_slices(self.path, self.first, self.last, self.voxel_size_nm)


def load_block(path: Path, instances: bool = False) -> LabelledVolume:
    """A block's image with its annotation, and with `instances` its cells; ValueError where it has not got them."""
    # As in `_sized`.
    from neuropil.voxelize.block_files import read_block

    block = read_block(path)
    wanted = ["annotation", *(["instances"] if instances else [])]
    missing = [*(["image"] if block.image is None else []), *(name for name in wanted if name not in block.labels)]
    if missing:
        raise ValueError(f"block {path} has no {missing[0]}, so nothing can be learnt from it")
    image, annotation = block.volume("image"), block.volume("annotation")
    cells = block.volume("instances").data if instances else None
    # Blocks' groups all have the same name; the folder they lie in tells them apart.
    name = f"{path.absolute().parent.name}/{path.name}"
    return LabelledVolume(name, image.data, annotation.data, image.voxel_size_nm, instances=cells)


def load_volume(image: str, labels: str, meaning: str, voxel_size_nm: tuple[float, float, float]) -> LabelledVolume:
    """A volume of any form with the labels in another one, as `Source` explains; `voxel_size_nm` where none is stated.

    Raises FileNotFoundError, or ValueError where the two do not fit each other or hold something else.
    """
    grey, drawn = _sized(image, voxel_size_nm), _sized(labels, voxel_size_nm)
    if grey.axes != "zyx":
        raise ValueError(f"{image} has channels, but an image to learn from is one grey volume z, y, x")
    if drawn.shape_zyx != grey.shape_zyx:
        raise ValueError(f"{labels} has {drawn.shape_zyx} voxels (z, y, x), but {image} has {grey.shape_zyx}")
    data = grey.data if grey.data.dtype == np.uint8 else _eight_bits(image, grey.data)
    names: tuple[str, ...] = CLASS_NAMES
    nothing, cells = np.zeros(grey.shape_zyx, np.uint8), None
    if drawn.axes == "czyx":
        names = tuple(name for name in drawn.channels if name in CLASS_NAMES)
        if not names:
            raise ValueError(f"{labels} has the channels {', '.join(drawn.channels)}, none of which is a class here")
        masks = [drawn.data[drawn.channels.index(n)] if n in names else nothing for n in CLASS_NAMES]
        bits = bits_from_masks(np.stack(masks))
    elif drawn.data.dtype.kind not in "bui":
        raise ValueError(f"{labels} holds {drawn.data.dtype} values, but labels are whole numbers")
    elif meaning == "instances":
        bits, cells, names = nothing, drawn.data.astype(np.uint32), ()
    elif meaning == "bits":
        if drawn.data.max() >= 2 ** len(CLASS_NAMES):
            raise ValueError(
                f"{labels} holds {drawn.data.max()}, but a bit field of {len(CLASS_NAMES)} classes ends at 63"
            )
        bits = drawn.data.astype(np.uint8)
    else:
        bits, names = (drawn.data != 0).astype(np.uint8) << np.uint8(CLASS_NAMES.index(meaning)), (meaning,)
    if cells is None and not bits.any():
        raise ValueError(f"{labels} is empty: nothing is drawn in it, so nothing can be learnt from it")
    return LabelledVolume(Path(image).name, data, bits, grey.voxel_size_nm, instances=cells, drawn=names)


def _sized(spec: str, voxel_size_nm: tuple[float, float, float]) -> Volume:
    # Zarr is slow to import, and a training set of slices does not need it.
    from neuropil.voxelize.volume_files import VoxelSizeUnknown, read_volume

    try:
        return read_volume(spec)
    except VoxelSizeUnknown:
        return read_volume(spec, voxel_size_nm)


def _eight_bits(name: str, image: NDArray) -> NDArray[np.uint8]:
    if image.dtype != np.uint16:
        raise ValueError(f"{name} holds {image.dtype} values, but an image to learn from is uint8 or uint16")
    return (image >> np.uint16(8)).astype(np.uint8)


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

"""Volumes in the files that people have: PNG folders, TIFF, NIfTI, HDF5 in the CREMI layout, (OME-)Zarr.

A file is named by a path; an HDF5 dataset by `file.h5:dataset`, a Zarr node by `file.zarr/inner/path`. The
suffix picks the format; a name without one is a folder of PNG slices. What a user gets wrong is told in one
sentence as a ValueError, or FileNotFoundError where nothing is there.
"""

from __future__ import annotations

import json
import math
import re
import shutil
import struct
import xml.etree.ElementTree as ElementTree
import zlib
from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import Any, cast

import h5py
import nibabel
import numpy as np
import tifffile
import zarr
from nibabel.openers import ImageOpener
from PIL import Image, UnidentifiedImageError

from .multiscale import CHUNK_ZYX, MultiscaleImage, MultiscaleWriter, ome_attributes, open_multiscale, tidy
from .replacement import replacing
from .slices_on_disk import SlicesOnDisk
from .volume import Triple, Volume, checked_voxel_size

PLANE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp")
TIFF_SUFFIXES = (".tif", ".tiff")
HDF5_NAME = re.compile(r"^(?P<file>.*\.(?:h5|hdf5|hdf))(?::(?P<dataset>.*))?$")
SIDECAR = "volume.json"
# Of a volume on disk so many slices are in memory at a time: as many as in a chunk of ours.
SLAB_SLICES = CHUNK_ZYX[0]
FORMS = "a PNG folder, .png, .tif, .nii, .nii.gz, file.h5:dataset or .zarr"
NM_PER_TIFF_UNIT = {
    "nm": 1.0,
    "nanometer": 1.0,
    "um": 1e3,
    "µm": 1e3,
    "μm": 1e3,
    "\\u00b5m": 1e3,
    "micron": 1e3,
    "microns": 1e3,
    "micrometer": 1e3,
    "mm": 1e6,
    "cm": 1e7,
    "m": 1e9,
    "inch": 2.54e7,
}


class VoxelSizeUnknown(ValueError):
    """A volume that states no voxel size, and none was given."""


def read_volume(spec: str | Path, voxel_size_nm: Sequence[float] | None = None) -> Volume:
    """The volume that `spec` names, as the type that it is stored in.

    voxel_size_nm: (z, y, x) in nm, in place of what the file states; needed where it states none.

    Raises FileNotFoundError where there is no such file; VoxelSizeUnknown (a ValueError) where the voxel size
    is neither stated nor given; ValueError where the file is damaged or of another form or dimension.
    """
    return _read(spec, voxel_size_nm, whole=True)


def _read(spec: str | Path, voxel_size_nm: Sequence[float] | None, whole: bool) -> Volume:
    size = None if voxel_size_nm is None else checked_voxel_size(voxel_size_nm)
    hdf5 = HDF5_NAME.match(str(spec))
    if hdf5:
        return _read_hdf5(Path(hdf5["file"]), hdf5["dataset"], size, whole)
    path = Path(spec)
    if _zarr_root(path) is not None:
        return _read_zarr(path, size, whole)
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist.")
    if path.is_dir():
        return _read_folder(path, size, whole)
    name = path.name.lower()
    if name.endswith(TIFF_SUFFIXES):
        return _read_tiff(path, size, whole)
    if name.endswith((".nii", ".nii.gz")):
        return _read_nifti(path, size, whole)
    if name.endswith(PLANE_SUFFIXES):
        return _volume(path, _read_plane(path)[np.newaxis], "zyx", size, None)
    raise ValueError(f"{path} is of no form that can be read here; a volume is {FORMS}.")


def open_volume(spec: str | Path, voxel_size_nm: Sequence[float] | None = None) -> Volume:
    """As `read_volume`, but what can be read in parts stays on disk, however large it is.

    These are Zarr arrays with axes z, y, x or c, z, y, x, and stacks (z, y, x) as folders of slices, TIFF, HDF5, or
    NIfTI that is not compressed. Where a part turns out to be damaged, reading it raises ValueError.
    """
    return _read(spec, voxel_size_nm, whole=False)


def write_volume(volume: Volume, path: str | Path) -> None:
    """Write `volume` where `path` names, in the form of its suffix, with its voxel size and origin.

    What is on disk is read and written some slices at a time.

    An HDF5 file keeps its other datasets, a Zarr hierarchy its other nodes. Raises ValueError where the form
    cannot hold such a volume, OSError where nothing can be written.
    """
    check_target(path, volume.axes)
    hdf5 = HDF5_NAME.match(str(path))
    if hdf5:
        _write_hdf5(volume, Path(hdf5["file"]), hdf5["dataset"])
        return
    target = Path(path)
    name = target.name.lower()
    if _zarr_root(target) is not None:
        _write_zarr(volume, target)
    elif name.endswith(TIFF_SUFFIXES):
        _write_tiff(volume, target)
    elif name.endswith((".nii", ".nii.gz")):
        _write_nifti(volume, target)
    elif name.endswith(".png"):
        _write_plane(volume, target)
    else:
        _write_folder(volume, target)


def check_target(path: str | Path, axes: str) -> None:
    """Raises ValueError where `path` names no form in which a volume with `axes` can be written.

    For work whose result is written in the end.
    """
    hdf5 = HDF5_NAME.match(str(path))
    if hdf5:
        _require_dataset(Path(hdf5["file"]), hdf5["dataset"])
        return
    target = Path(path)
    name = target.name.lower()
    if name.endswith(".png") and axes == "czyx":
        raise ValueError(f"{target} is one image, but the volume has channels; name a folder instead.")
    known = (*TIFF_SUFFIXES, ".nii", ".nii.gz", ".png")
    if _zarr_root(target) is None and not name.endswith(known) and "." in name.lstrip("."):
        raise ValueError(f"{target} is of no form that can be written here; a volume is {FORMS}.")
    if target.is_file() and not name.endswith(known):
        raise ValueError(f"{target} is a file, but the slices of a volume go into a folder.")


def _volume(
    path: object,
    data: np.ndarray,
    axes: str,
    given: Triple | None,
    stated: Triple | None,
    origin_nm: Triple = (0.0, 0.0, 0.0),
    channels: Sequence[str] = (),
) -> Volume:
    """A Volume of (z, y, x) or (c, z, y, x) data, or the reason why `path` holds none."""
    size = given or stated
    if size is None:
        raise VoxelSizeUnknown(f"{path} does not state its voxel size, so it has to be given in nm (z, y, x).")
    if data.dtype.kind not in "buif":
        raise ValueError(f"{path} holds values of type {data.dtype}, but a volume holds numbers.")
    if axes == "czyx" and len(channels) != data.shape[0]:
        channels = [f"channel_{index}" for index in range(data.shape[0])]
    if isinstance(data, SlicesOnDisk):
        return Volume(cast(np.ndarray, data), size, origin_nm)
    native = data.astype(data.dtype.newbyteorder("="), copy=False)
    return Volume(np.ascontiguousarray(native), size, origin_nm, axes, tuple(channels) if axes == "czyx" else ())


def _spatial(path: object, data: np.ndarray, axes: str) -> tuple[np.ndarray, str]:
    """`data`, whose axes are named by one letter each, as (z, y, x) or (c, z, y, x)."""
    for axis in [axis for axis in axes if axis not in "czyx"]:
        if data.shape[axes.index(axis)] == 1:
            data, axes = data.squeeze(axes.index(axis)), axes.replace(axis, "", 1)
    # One axis that no one named is depth.
    unnamed = [axis for axis in axes if axis not in "czyx"]
    if len(unnamed) == 1 and "z" not in axes:
        axes = axes.replace(unnamed[0], "z")
    if not set("yx") <= set(axes) <= set("czyx") or len(set(axes)) != len(axes):
        raise ValueError(
            f"{path} has the shape {data.shape} with axes '{axes}', but a volume has z, y, x and perhaps c."
        )
    wanted = "czyx" if "c" in axes else "zyx"
    data = data.transpose([axes.index(axis) for axis in wanted if axis in axes])
    if "z" not in axes:
        data = data[:, np.newaxis] if "c" in axes else data[np.newaxis]
    return data, wanted


def _grey(path: Path, image: np.ndarray) -> np.ndarray:
    """One plane of a grey image, which some programs store as equal colour channels."""
    if image.ndim == 2:
        return image
    colours = image[..., :3] if image.shape[-1] >= 3 else image[..., :1]
    if np.any(colours != colours[..., :1]):
        raise ValueError(f"{path} is a colour image, but a micrograph or label image has one grey channel.")
    return colours[..., 0]


def _read_plane(path: Path) -> np.ndarray:
    """A single image (y, x), uint8 or uint16 (float32 from a TIFF)."""
    if path.name.lower().endswith(TIFF_SUFFIXES):
        data = _read_tiff(path, (1.0, 1.0, 1.0)).data
        if data.shape[0] != 1:
            raise ValueError(f"{path} holds {data.shape[0]} planes, but in a folder of slices each file is one.")
        return data[0]
    try:
        with Image.open(path) as image:
            conversion = {"1": "L", "P": "RGB"}.get(image.mode)
            pixels = np.asarray(image.convert(conversion) if conversion else image)
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        raise ValueError(f"{path} cannot be read as an image: it is damaged or not what its name says.") from error
    plane = _grey(path, pixels)
    if plane.dtype == np.int32:
        if plane.min() < 0 or plane.max() > 65535:
            raise ValueError(f"{path} holds values outside 0 to 65535, which a 16-bit image cannot have.")
        plane = plane.astype(np.uint16)
    return plane


def _natural_key(path: Path) -> list[tuple[int, int | str]]:
    """Slice 10 comes after slice 9, whether or not the numbers are padded."""
    return [(0, int(part)) if part.isdigit() else (1, part) for part in re.split(r"(\d+)", path.name) if part]


def _read_folder(path: Path, given: Triple | None, whole: bool) -> Volume:
    stated, origin, channels = _read_sidecar(path / SIDECAR)
    if channels:
        data = np.stack([_read_slices(path / channel) for channel in channels])
        return _volume(path, data, "czyx", given, stated, origin, channels)
    return _volume(path, _read_slices(path, whole), "zyx", given, stated, origin)


def _read_slices(path: Path, whole: bool = True) -> np.ndarray:
    """The pictures of a folder as one array (z, y, x), which stays on disk if not read as a whole."""
    if not path.is_dir():
        raise FileNotFoundError(f"{path} does not exist, but {SIDECAR} beside it names it as a channel.")
    files = sorted(
        (file for file in path.iterdir() if file.name.lower().endswith(PLANE_SUFFIXES + TIFF_SUFFIXES)),
        key=_natural_key,
    )
    if not files:
        raise ValueError(
            f"{path} is a folder without images, but a volume's slices are .png, .tif, .jpg or .bmp files."
        )
    first = _read_plane(files[0])

    def read(start: int, stop: int) -> np.ndarray:
        data = np.empty((stop - start, *first.shape), first.dtype)
        for index, file in enumerate(files[start:stop]):
            plane = _read_plane(file)
            if plane.shape != first.shape or plane.dtype != first.dtype:
                raise ValueError(
                    f"{file} is {plane.shape} of {plane.dtype}, but the first slice, {files[0].name}, "
                    f"is {first.shape} of {first.dtype}."
                )
            data[index] = plane
        return data

    stack = SlicesOnDisk((len(files), first.shape[0], first.shape[1]), first.dtype, read)
    return np.asarray(stack) if whole else cast(np.ndarray, stack)


def _read_sidecar(path: Path) -> tuple[Triple | None, Triple, tuple[str, ...]]:
    """Voxel size, origin and channels (folders) of the slices beside it, since PNG has no place for them."""
    if not path.exists():
        return None, (0.0, 0.0, 0.0), ()
    try:
        stated = json.loads(path.read_text())
        z, y, x = (float(value) for value in stated.get("origin_nm", (0.0, 0.0, 0.0)))
        channels = tuple(str(name) for name in stated.get("channels", ()))
        return checked_voxel_size(stated["voxel_size_nm"]), (z, y, x), channels
    except (json.JSONDecodeError, KeyError, TypeError, AttributeError, ValueError) as error:
        raise ValueError(f"{path} has to be JSON with voxel_size_nm as three positive numbers (z, y, x).") from error


def _stored_type(volume: Volume) -> np.dtype:
    """The type of a volume's numbers in a file: truth values are 0 and 1."""
    return np.dtype(np.uint8) if volume.data.dtype == np.bool_ else volume.data.dtype


def _check_png(volume: Volume, target: Path) -> None:
    if _stored_type(volume) not in (np.uint8, np.uint16):
        raise ValueError(f"{target} would be PNG, which holds uint8 or uint16, but the volume is {volume.data.dtype}.")


def _write_folder(volume: Volume, target: Path) -> None:
    """Slices as PNGs; of a volume with channels a folder per channel."""
    _check_png(volume, target)
    stated: dict[str, Any] = {"voxel_size_nm": volume.voxel_size_nm, "origin_nm": volume.origin_nm}
    with replacing(target) as folder:
        folder.mkdir()
        if volume.axes == "czyx":
            stated["channels"] = volume.channels
            for number, channel in enumerate(volume.channels):
                (folder / channel).mkdir()
                _write_slices(volume, number, folder / channel)
        else:
            _write_slices(volume, None, folder)
        (folder / SIDECAR).write_text(json.dumps(stated) + "\n")


def _write_slices(volume: Volume, channel: int | None, folder: Path) -> None:
    digits = max(4, len(str(volume.shape_zyx[0] - 1)))
    planes = (plane for slab in volume.slabs(SLAB_SLICES, channel) for plane in slab)
    for index, plane in enumerate(planes):
        Image.fromarray(plane.astype(_stored_type(volume), copy=False)).save(folder / f"{index:0{digits}d}.png")


def _write_plane(volume: Volume, target: Path) -> None:
    _check_png(volume, target)
    if volume.shape_zyx[0] != 1:
        planes = volume.shape_zyx[0]
        raise ValueError(f"{target} is one image, but the volume has {planes} planes; name a folder instead.")
    with replacing(target) as file:
        Image.fromarray(np.asarray(volume.data[0]).astype(_stored_type(volume), copy=False)).save(file)


def _read_tiff(path: Path, given: Triple | None, whole: bool = True) -> Volume:
    try:
        with tifffile.TiffFile(path) as file:
            series = file.series[0]
            axes = series.axes.lower()
            by_page = not whole and len(series.shape) == 3 and axes.endswith("yx") and len(series.pages) > 1
            data = _tiff_pages(path, series) if by_page else series.asarray()
            stated, origin, channels = _tiff_place(file)
            if _next_directory(file) != 0:
                raise ValueError("the chain of directories is cut")
    except (
        tifffile.TiffFileError,
        OSError,
        ValueError,
        IndexError,
        KeyError,
        struct.error,
        zlib.error,
    ) as error:
        raise ValueError(f"{path} cannot be read as TIFF: it is cut short, damaged or no TIFF at all.") from error
    if by_page:
        return _volume(path, data, "zyx", given, stated, origin)
    if axes.endswith("s"):
        data, axes = _grey(path, data), axes[:-1]
    data, axes = _spatial(path, data, axes)
    return _volume(path, data, axes, given, stated, origin, channels)


def _tiff_pages(path: Path, series: tifffile.TiffPageSeries) -> np.ndarray:
    """The planes of a TIFF (z, y, x), which stay on disk."""

    def read(start: int, stop: int) -> np.ndarray:
        try:
            planes = tifffile.imread(path, series=0, key=range(start, stop))
        except (tifffile.TiffFileError, OSError, ValueError, IndexError, struct.error, zlib.error) as error:
            raise ValueError(f"{path} cannot be read as TIFF: it is cut short or damaged.") from error
        return planes.reshape(stop - start, *series.shape[1:])

    z, y, x = series.shape
    return cast(np.ndarray, SlicesOnDisk((z, y, x), series.dtype, read))


def _next_directory(file: tifffile.TiffFile) -> int:
    """What follows the last page that could be read: 0 in a whole file, else the place of a lost page."""
    tiff, handle = file.tiff, file.filehandle
    handle.seek(file.pages[len(file.pages) - 1].offset)
    tags = struct.unpack(tiff.tagnoformat, handle.read(tiff.tagnosize))[0]
    handle.seek(tags * tiff.tagsize, 1)
    return int(struct.unpack(tiff.offsetformat, handle.read(tiff.offsetsize))[0])


def _tiff_place(file: tifffile.TiffFile) -> tuple[Triple | None, Triple, list[str]]:
    """Voxel size (or None), origin and channel names as our own, ImageJ's or OME's metadata state them."""
    own = (file.shaped_metadata or ({},))[0]
    if "voxel_size_nm" in own:
        z, y, x = own["origin_nm"]
        return checked_voxel_size(own["voxel_size_nm"]), (z, y, x), list(own.get("channels", []))
    if file.is_ome and file.ome_metadata:
        return _ome_tiff_voxel_size(file.ome_metadata), (0.0, 0.0, 0.0), []
    imagej: dict[str, Any] = file.imagej_metadata or {}
    unit = NM_PER_TIFF_UNIT.get(str(imagej.get("unit", "")).strip().lower())
    page = file.pages.first
    if unit is None or "XResolution" not in page.tags or "YResolution" not in page.tags:
        return None, (0.0, 0.0, 0.0), []
    per_x, per_y = (page.tags[name].value for name in ("XResolution", "YResolution"))
    if per_x[0] == 0 or per_y[0] == 0:
        return None, (0.0, 0.0, 0.0), []
    size_y, size_x = (tidy(unit * per[1] / per[0], 7) for per in (per_y, per_x))
    spacing = float(imagej.get("spacing", 0.0))
    size_z = tidy(unit * spacing) if spacing > 0 else size_y
    origin = [float(value) for value in str(imagej.get("origin_nm", "0 0 0")).split()]
    channels = [name for name in str(imagej.get("channel_names", "")).split("|") if name]
    return (size_z, size_y, size_x), (origin[0], origin[1], origin[2]), channels


def _ome_tiff_voxel_size(xml: str) -> Triple | None:
    pixels = next((node for node in ElementTree.fromstring(xml).iter() if node.tag.endswith("}Pixels")), None)
    if pixels is None or "PhysicalSizeX" not in pixels.attrib or "PhysicalSizeY" not in pixels.attrib:
        return None
    size = []
    for axis in "ZYX":
        name = axis if f"PhysicalSize{axis}" in pixels.attrib else "Y"
        unit = NM_PER_TIFF_UNIT.get(pixels.attrib.get(f"PhysicalSize{name}Unit", "µm").lower())
        if unit is None:
            return None
        size.append(tidy(float(pixels.attrib[f"PhysicalSize{name}"]) * unit))
    return checked_voxel_size(size)


def _write_tiff(volume: Volume, target: Path) -> None:
    dtype, shape = _stored_type(volume), volume.data.shape
    size_z, size_y, size_x = volume.voxel_size_nm
    per_um = (1e3 / size_x, 1e3 / size_y)
    big = math.prod(shape) * dtype.itemsize > 4e9
    slabs: Iterator[np.ndarray]
    with replacing(target) as file:
        if dtype in (np.uint8, np.uint16, np.float32) and not big:
            # ImageJ's dialect: Fiji and napari show it with its scale. It has channels after z.
            metadata: dict[str, Any] = {
                "axes": "ZYX" if volume.axes == "zyx" else "ZCYX",
                "spacing": size_z / 1e3,
                "unit": "um",
                "origin_nm": " ".join(repr(value) for value in volume.origin_nm),
            }
            if volume.channels:
                metadata["channel_names"] = "|".join(volume.channels)
                shape = (shape[1], shape[0], *shape[2:])
                slabs = (slab.swapaxes(0, 1).reshape(-1, *shape[2:]) for slab in volume.slabs(SLAB_SLICES))
            else:
                slabs = volume.slabs(SLAB_SLICES)
            form: dict[str, Any] = {"imagej": True, "resolution": per_um}
        else:
            metadata = {
                "axes": volume.axes.upper(),
                "voxel_size_nm": volume.voxel_size_nm,
                "origin_nm": volume.origin_nm,
                "channels": volume.channels,
            }
            slabs = _in_order(volume)
            per_cm = (per_um[0] * 1e4, per_um[1] * 1e4)
            form = {"bigtiff": big, "resolution": per_cm, "resolutionunit": "CENTIMETER"}
        pages = (page.astype(dtype, copy=False) for slab in slabs for page in slab)
        tifffile.imwrite(file, pages, shape=shape, dtype=dtype, metadata=metadata, **form)


def _in_order(volume: Volume) -> Iterator[np.ndarray]:
    """Slabs (n, y, x) of a volume, one channel after the other."""
    for channel in range(len(volume.channels)) if volume.channels else [None]:
        yield from volume.slabs(SLAB_SLICES, channel)


def _read_nifti(path: Path, given: Triple | None, whole: bool) -> Volume:
    try:
        image = nibabel.load(path)
        # Axes in the order x, y, z and pointing along them, whatever order the file has them in.
        image = nibabel.as_closest_canonical(image)
        proxy = image.dataobj
        # What is compressed has no places to jump to, and what was turned is in memory already.
        in_parts = not whole and proxy.ndim == 3 and nibabel.is_proxy(proxy) and path.name.lower().endswith(".nii")
        data = proxy if in_parts else np.asanyarray(proxy)
    except (nibabel.filebasedimages.ImageFileError, OSError, ValueError, EOFError, zlib.error) as error:
        raise ValueError(f"{path} cannot be read as NIfTI: it is cut short, damaged or no NIfTI at all.") from error
    while data.ndim > 4 and data.shape[-1] == 1:
        data = data[..., 0]
    if data.ndim not in (3, 4):
        raise ValueError(f"{path} has the shape {data.shape}, but a volume has x, y, z and at most channels.")
    unit = image.header.get_xyzt_units()[0]
    # NIfTI means millimetres where it states no unit.
    nm = {"micron": 1e3, "mm": 1e6, "meter": 1e9}.get(unit, 1e6)
    affine = image.affine
    edges = [math.sqrt(float(np.sum(np.square(affine[:3, axis])))) for axis in range(3)]
    # The header keeps single precision, hence six digits.
    size_x, size_y, size_z = (tidy(edge * nm, 6) for edge in edges)
    x, y, z = (tidy(float(value) * nm, 6) for value in affine[:3, 3])
    channels = _header_text(image.header).split("|") if data.ndim == 4 else []
    if data.ndim == 4 and data.shape[3] == 1:
        data, channels = data[..., 0], []
    return _volume(
        path,
        _nifti_sections(path, data) if in_parts else data.T,
        "zyx" if data.ndim == 3 else "czyx",
        given,
        (size_z, size_y, size_x),
        (z, y, x),
        channels,
    )


def _nifti_sections(path: Path, proxy: nibabel.arrayproxy.ArrayProxy) -> np.ndarray:
    """The sections (z, y, x) of a NIfTI image, which stay on disk."""

    def read(start: int, stop: int) -> np.ndarray:
        try:
            return np.asarray(proxy[..., start:stop]).T
        except (OSError, ValueError, EOFError) as error:
            raise ValueError(f"{path} cannot be read as NIfTI: it is cut short or damaged.") from error

    x, y, z = proxy.shape
    return cast(np.ndarray, SlicesOnDisk((z, y, x), np.asarray(proxy[:1, :1, :1]).dtype, read))


def _header_text(header: nibabel.Nifti1Header) -> str:
    """The free text of a NIfTI header, where the channels are named."""
    return bytes(header["descrip"].tobytes()).rstrip(b"\0").decode("utf-8", "replace")


def _write_nifti(volume: Volume, target: Path) -> None:
    dtype = np.dtype(np.float32) if volume.data.dtype == np.float16 else _stored_type(volume)
    affine = np.diag([*(size / 1e3 for size in volume.voxel_size_nm[::-1]), 1.0])
    affine[:3, 3] = [value / 1e3 for value in volume.origin_nm[::-1]]
    # An array without memory of its own, for the header alone.
    shape_only = np.broadcast_to(np.zeros((), dtype), volume.data.shape[::-1])
    header = nibabel.Nifti1Image(shape_only, affine, dtype=dtype).header
    header.set_xyzt_units("micron")
    header.set_slope_inter(1, 0)
    header["descrip"] = "|".join(volume.channels).encode()[:79]
    # x is fastest there and z slower than y, so slices follow each other as they do here.
    with replacing(target) as path, ImageOpener(str(path), "wb") as file:
        header.write_to(file)
        for slab in _in_order(volume):
            file.write(np.ascontiguousarray(slab, dtype).tobytes())


def _dataset_names(file: h5py.File) -> list[str]:
    names: list[str] = []
    file.visititems(lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None)
    return sorted(names)


def _read_hdf5(path: Path, dataset: str | None, given: Triple | None, whole: bool) -> Volume:
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist.")
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise ValueError(f"{path} cannot be read as HDF5: it is cut short, damaged or no HDF5 at all.") from error
    with file:
        names = _dataset_names(file)
        wanted = (dataset or "").strip("/")
        if not wanted and len(names) == 1:
            wanted = names[0]
        if wanted not in names:
            there = ", ".join(names) or "nothing"
            missing = f"has no dataset '{wanted}'" if wanted else "needs a dataset after a colon"
            raise ValueError(f"{path} {missing}; there is {there}.")
        item = file[wanted]
        name = f"{path}:{wanted}"
        if item.ndim not in (2, 3, 4):
            raise ValueError(f"{name} has the shape {item.shape}, but a volume has z, y, x and at most channels.")
        try:
            data = item[()] if whole or item.ndim != 3 else _hdf5_sections(path, item)
        except OSError as error:
            raise ValueError(f"{name} cannot be read: the file is cut short or damaged.") from error
        stated = _hdf5_triple(name, item, "resolution")
        if stated is None:
            # ilastik and PlantSeg state micrometres.
            um = _hdf5_triple(name, item, "element_size_um")
            stated = (um[0] * 1e3, um[1] * 1e3, um[2] * 1e3) if um else None
        origin = _hdf5_triple(name, item, "offset") or (0.0, 0.0, 0.0)
        channels = [value if isinstance(value, str) else value.decode() for value in item.attrs.get("channels", [])]
    axes = {2: "yx", 3: "zyx", 4: "czyx"}[data.ndim]
    if axes == "yx":
        data, axes = _spatial(name, data, axes)
    return _volume(name, data, axes, given, checked_voxel_size(stated) if stated else None, origin, channels)


def _hdf5_sections(path: Path, item: h5py.Dataset) -> np.ndarray:
    """The sections of a dataset (z, y, x), which stay on disk."""
    name = item.name

    def read(start: int, stop: int) -> np.ndarray:
        try:
            with h5py.File(path, "r") as file:
                return file[name][start:stop]
        except OSError as error:
            raise ValueError(f"{path}:{name} cannot be read: the file is cut short or damaged.") from error

    return cast(np.ndarray, SlicesOnDisk(item.shape, item.dtype, read, item.chunks[0] if item.chunks else 1))


def _hdf5_triple(name: str, item: h5py.Dataset, key: str) -> Triple | None:
    if key not in item.attrs:
        return None
    values = np.atleast_1d(item.attrs[key]).astype(float)
    if len(values) != 3:
        raise ValueError(f"{name} states {key} as {values.tolist()}, but it has to be three numbers (z, y, x).")
    return float(values[0]), float(values[1]), float(values[2])


def _require_dataset(target: Path, dataset: str | None) -> str:
    wanted = (dataset or "").strip("/")
    if not wanted:
        raise ValueError(f"{target} needs a dataset to write to, after a colon: for instance {target}:volumes/raw.")
    return wanted


def _write_hdf5(volume: Volume, target: Path, dataset: str | None) -> None:
    wanted = _require_dataset(target, dataset)
    with replacing(target) as copy:
        if target.exists():
            shutil.copyfile(target, copy)
        try:
            file = h5py.File(copy, "a")
        except OSError as error:
            raise ValueError(f"{target} is there but cannot be read as HDF5, so nothing is added to it.") from error
        with file:
            if wanted in file:
                del file[wanted]
            item = file.create_dataset(
                wanted,
                volume.data.shape,
                volume.data.dtype,
                chunks=True,
                compression="gzip",
                compression_opts=4,
                track_times=False,
            )
            for number, slab in enumerate(volume.slabs(SLAB_SLICES)):
                item[..., number * SLAB_SLICES : (number + 1) * SLAB_SLICES, :, :] = slab
            item.attrs["resolution"] = volume.voxel_size_nm
            item.attrs["offset"] = volume.origin_nm
            if volume.channels:
                item.attrs["channels"] = list(volume.channels)


def _zarr_root(path: Path) -> Path | None:
    """The part of `path` up to its last component that ends with .zarr, or None."""
    for part in (path, *path.parents):
        if part.name.lower().endswith(".zarr"):
            return part
    return None


def _arrays_below(group: zarr.Group) -> list[str]:
    return sorted(name for name, node in group.members(max_depth=None) if isinstance(node, zarr.Array))


def _read_zarr(path: Path, given: Triple | None, whole: bool = True) -> Volume:
    root = _zarr_root(path)
    if root is None or not root.exists():
        raise FileNotFoundError(f"{root} does not exist.")
    try:
        top = zarr.open(str(root), mode="r")
    except (OSError, ValueError, KeyError) as error:
        raise ValueError(f"{root} cannot be read as Zarr: it is damaged or no Zarr at all.") from error
    inner = path.relative_to(root).as_posix()
    node: zarr.Array | zarr.Group = top
    if inner != ".":
        if not isinstance(top, zarr.Group) or inner not in top:
            there = ", ".join(_arrays_below(top)) if isinstance(top, zarr.Group) else "a single array"
            raise ValueError(f"{root} has no '{inner}'; there is {there or 'nothing'}.")
        node = top[inner]
    found = _zarr_image(path, node)
    size = given or found.voxel_size_nm
    if not whole and found.axes in ("zyx", "czyx") and size is not None:
        channels = found.channels if found.axes == "czyx" else ()
        # Its type is not numpy's, but it is sliced alike.
        return Volume(cast(np.ndarray, found.array), size, found.origin_nm, found.axes, channels)
    try:
        data, axes = _spatial(path, np.asarray(found.array[...]), found.axes)
    except (OSError, RuntimeError) as error:
        raise ValueError(f"{path} cannot be read as Zarr: a chunk of it is damaged.") from error
    return _volume(path, data, axes, given, found.voxel_size_nm, found.origin_nm, found.channels)


def _zarr_image(path: Path, node: zarr.Array | zarr.Group) -> MultiscaleImage:
    """The array that a Zarr node stands for: itself or its finest level."""
    if isinstance(node, zarr.Group):
        if ome_attributes(node).get("multiscales"):
            return open_multiscale(node)
        raise ValueError(
            f"{path} is a group without a multiscale image; there is {', '.join(_arrays_below(node)) or 'nothing'}."
        )
    parent_path = path.parent
    if _zarr_root(parent_path) is not None:
        parent = zarr.open(str(parent_path), mode="r")
        multiscales = ome_attributes(parent).get("multiscales") if isinstance(parent, zarr.Group) else None
        if isinstance(parent, zarr.Group) and multiscales and multiscales[0]["datasets"][0]["path"] == path.name:
            return open_multiscale(parent)
    attributes = node.attrs.asdict()
    resolution, offset = attributes.get("resolution"), attributes.get("offset", [0.0, 0.0, 0.0])
    if node.ndim not in (2, 3, 4):
        raise ValueError(f"{path} has the shape {node.shape}, but a volume has z, y, x and at most channels.")
    size = checked_voxel_size(resolution) if isinstance(resolution, list) else None
    z, y, x = (float(value) for value in offset) if isinstance(offset, list) else (0.0, 0.0, 0.0)
    return MultiscaleImage(node, "czyx"[-node.ndim :], size, (z, y, x), ())


def _write_zarr(volume: Volume, target: Path) -> None:
    is_label = target.parent.name == "labels"
    if is_label and volume.data.dtype.kind not in "bui":
        raise ValueError(f"{target} would be labels, which are whole numbers, but the volume is {volume.data.dtype}.")
    root = _zarr_root(target)
    for group in [part for part in target.parents if root in (part, *part.parents)]:
        zarr.open_group(str(group), mode="a", zarr_format=3)
    with replacing(target) as folder:
        writer = MultiscaleWriter(
            folder,
            volume.data.shape,
            volume.data.dtype,
            volume.voxel_size_nm,
            volume.origin_nm,
            name=target.name,
            channels=volume.channels,
            label={"source": {"image": "../../"}} if is_label else None,
        )
        # Whole chunks of all channels, and not whole slices: averaging takes ten times the memory of what is averaged.
        slices, rows = (max(chunk, step) for chunk, step in zip(CHUNK_ZYX[:2], writer.step[:2], strict=True))
        depth, height, _ = volume.shape_zyx
        for z, y in product(range(0, depth, slices), range(0, height, rows)):
            writer.write(np.asarray(volume.data[..., z : z + slices, y : y + rows, :]), (z, y, 0))
    if is_label:
        _list_label(target.parent, target.name)


def _list_label(labels: Path, name: str) -> None:
    """Name a label in its group's list, by which viewers find it."""
    group = zarr.open_group(str(labels), mode="a", zarr_format=3)
    ome = ome_attributes(group)
    group.attrs["ome"] = {**ome, "version": "0.5", "labels": sorted({*ome.get("labels", []), name})}

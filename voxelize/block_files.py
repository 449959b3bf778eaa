"""A block on disk: a micrograph, its labels and a manifest, as one OME-Zarr group that viewers open as it is.

    NAME.zarr/                 the image group: napari, ome-zarr and Fiji's readers start here
      image/0, image/1         the micrograph, full and halved resolution
      labels/NAME/0, /1        instances, classes, materials, membrane, annotation …
      manifest.json            what made it

The same arrays and the same manifest give the same bytes.
"""

from __future__ import annotations

import colorsys
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from .multiscale import MultiscaleWriter, multiscale_attributes, ome_attributes, open_multiscale
from .replacement import replacing
from .volume import Triple, Volume

IMAGE = "image"
MANIFEST = "manifest.json"


def label_colour(value: int) -> list[int]:
    """A colour (red, green, blue, alpha) of its own for every label value; 0 is transparent."""
    if value == 0:
        return [0, 0, 0, 0]
    # Steps of the golden ratio around the circle of hues keep neighbouring values apart.
    hue, ring = (value * 0.6180339887498949) % 1.0, value % 3
    red, green, blue = colorsys.hsv_to_rgb(hue, 0.9 - 0.2 * ring, 1.0 - 0.15 * ring)
    return [round(255 * red), round(255 * green), round(255 * blue), 255]


def _plain(value: object) -> object:
    """Numpy's numbers and arrays, and paths, in a manifest."""
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    if isinstance(value, Path):
        return value.as_posix()
    raise ValueError(f"the manifest holds a {type(value).__name__}, but it has to be JSON.")


def _same_place(name: str, volume: Volume, first: Volume) -> None:
    if (volume.shape_zyx, volume.voxel_size_nm, volume.origin_nm) != (
        first.shape_zyx,
        first.voxel_size_nm,
        first.origin_nm,
    ):
        raise ValueError(
            f"{name} has {volume.shape_zyx} voxels of {volume.voxel_size_nm} nm from {volume.origin_nm}, but the "
            f"rest of the block has {first.shape_zyx} of {first.voxel_size_nm} nm from {first.origin_nm}."
        )


class BlockWriter:
    """A block that is written region by region, in the memory of one region, and is none before `finish`.

    The bytes do not depend on how the block is cut into regions.
    """

    def __init__(
        self,
        folder: Path,
        shape_zyx: Sequence[int],
        voxel_size_nm: Triple,
        origin_nm: Triple = (0.0, 0.0, 0.0),
        *,
        image: np.dtype | type | None,
        labels: Mapping[str, np.dtype | type],
        channels: Sequence[str] = (),
        names: Mapping[str, Mapping[int, str]] | None = None,
    ) -> None:
        """Make the group `folder`, which must not exist.

        image: the micrograph's type, or None where there is none yet. labels: name → type, whole numbers.
        names: for a label, what its values are called (shown by viewers, given back by `read_block`).
        """
        self.folder = folder
        self._writers: dict[str, MultiscaleWriter] = {}
        ome: dict[str, Any] = {"version": "0.5"}
        if image is not None:
            shape = (len(channels), *shape_zyx) if channels else shape_zyx
            writer = MultiscaleWriter(
                folder / IMAGE, shape, image, voxel_size_nm, origin_nm, name=IMAGE, channels=channels
            )
            self._writers[IMAGE] = writer
            ome["multiscales"] = [multiscale_attributes(IMAGE, writer.levels, channels, prefix=f"{IMAGE}/")]
        zarr.create_group(store=str(folder), attributes={"ome": ome}, zarr_format=3)
        listed = {"ome": {"version": "0.5", "labels": sorted(labels)}}
        zarr.create_group(store=str(folder / "labels"), attributes=listed, zarr_format=3)
        for name, dtype in labels.items():
            self._writers[name] = MultiscaleWriter(
                folder / "labels" / name,
                shape_zyx,
                dtype,
                voxel_size_nm,
                origin_nm,
                name=name,
                label=_image_label((names or {}).get(name), image is not None),
            )

    def write(self, arrays: Mapping[str, np.ndarray], start_zyx: Sequence[int] = (0, 0, 0)) -> None:
        """Write a region of each array, named `image` or as the label; see `MultiscaleWriter.write`."""
        for name, data in arrays.items():
            self._writers[name].write(data, start_zyx)

    def array(self, name: str) -> zarr.Array:
        """`image` or a label at full resolution, with what has been written so far."""
        return self._writers[name].array

    def finish(self, manifest: Mapping[str, Any]) -> None:
        """Write the manifest, with which the folder is a block. Raises ValueError where it cannot be JSON."""
        text = json.dumps(manifest, indent=1, sort_keys=True, default=_plain, allow_nan=False)
        (self.folder / MANIFEST).write_text(text + "\n")


def write_block(
    path: str | Path,
    image: Volume | None,
    labels: Mapping[str, Volume],
    manifest: Mapping[str, Any],
    *,
    names: Mapping[str, Mapping[int, str]] | None = None,
) -> None:
    """Write a block whose arrays are in memory; until it is whole there is only a temporary neighbour.

    image: the micrograph, or None where there is none yet. labels: name → whole numbers on the same voxels.
    names: as `BlockWriter` takes them.

    Raises ValueError where the volumes do not cover the same voxels or a label holds no whole numbers.
    """
    volumes = {**({IMAGE: image} if image is not None else {}), **labels}
    if not volumes:
        raise ValueError("a block needs an image or a label.")
    first = next(iter(volumes.values()))
    for name, volume in volumes.items():
        _same_place(name, volume, first)
        if name in labels and (volume.data.dtype.kind not in "bui" or volume.axes != "zyx"):
            raise ValueError(f"label {name} is {volume.axes} of {volume.data.dtype}, but labels are whole numbers.")
    with replacing(Path(path)) as folder:
        writer = BlockWriter(
            folder,
            first.shape_zyx,
            first.voxel_size_nm,
            first.origin_nm,
            image=image.data.dtype if image is not None else None,
            labels={name: volume.data.dtype for name, volume in labels.items()},
            channels=image.channels if image is not None else (),
            names=names,
        )
        writer.write({name: volume.data for name, volume in volumes.items()})
        writer.finish(manifest)


def _image_label(names: Mapping[int, str] | None, has_image: bool) -> dict[str, Any]:
    """The `image-label` metadata: colours and names of the values, where these are named."""
    entry: dict[str, Any] = {"version": "0.5"}
    if has_image:
        entry["source"] = {"image": "../../"}
    if names:
        entry["colors"] = [{"label-value": int(value), "rgba": label_colour(value)} for value in sorted(names)]
        entry["properties"] = [{"label-value": int(value), "name": names[value]} for value in sorted(names)]
    return entry


@dataclass(frozen=True, eq=False)
class BlockFiles:
    """A block found on disk; its arrays are read when they are indexed.

    image: (z, y, x) or (c, z, y, x), or None; labels: name → (z, y, x); names: label → value → name.
    """

    path: Path
    voxel_size_nm: Triple
    origin_nm: Triple
    image: zarr.Array | None
    channels: tuple[str, ...]
    labels: dict[str, zarr.Array]
    names: dict[str, dict[int, str]]
    manifest: dict[str, Any]

    @property
    def shape_zyx(self) -> tuple[int, int, int]:
        """Number of voxels along z, y and x."""
        array = self.image if self.image is not None else next(iter(self.labels.values()))
        z, y, x = array.shape[-3:]
        return z, y, x

    def volume(self, name: str, start: Sequence[int] = (0, 0, 0), shape: Sequence[int] | None = None) -> Volume:
        """`image` or a label in memory, whole or the box of `shape` voxels from `start` on (z, y, x).

        Raises ValueError for a name that the block does not hold, or a box that leaves it.
        """
        there = {**({IMAGE: self.image} if self.image is not None else {}), **self.labels}
        array = there.get(name)
        if array is None:
            raise ValueError(f"{self.path} has no '{name}'; there is {', '.join(sorted(there))}.")
        stops = self.shape_zyx if shape is None else tuple(a + b for a, b in zip(start, shape, strict=True))
        if min(start) < 0 or any(
            low >= stop or stop > whole for low, stop, whole in zip(start, stops, self.shape_zyx, strict=True)
        ):
            raise ValueError(f"voxels {tuple(start)} to {stops} leave the block of {self.shape_zyx} in {self.path}.")
        z, y, x = (slice(low, stop) for low, stop in zip(start, stops, strict=True))
        origin_z, origin_y, origin_x = (
            corner + low * size for corner, low, size in zip(self.origin_nm, start, self.voxel_size_nm, strict=True)
        )
        axes = "czyx" if array.ndim == 4 else "zyx"
        return Volume(
            np.asarray(array[..., z, y, x]),
            self.voxel_size_nm,
            (origin_z, origin_y, origin_x),
            axes,
            self.channels if axes == "czyx" else (),
        )


def read_block(path: str | Path) -> BlockFiles:
    """The block in the OME-Zarr group `path`.

    Raises FileNotFoundError where nothing is there, ValueError where it is no block.
    """
    folder = Path(path)
    if not folder.exists():
        raise FileNotFoundError(f"{folder} does not exist.")
    try:
        group = zarr.open_group(str(folder), mode="r")
        manifest = json.loads((folder / MANIFEST).read_text())
    except (OSError, ValueError, KeyError) as error:
        raise ValueError(f"{folder} is no block: a block is an OME-Zarr group with a {MANIFEST}.") from error
    found = open_multiscale(group) if ome_attributes(group).get("multiscales") else None
    names: dict[str, dict[int, str]] = {}
    labels: dict[str, zarr.Array] = {}
    place = found
    for name in ome_attributes(zarr.open_group(str(folder / "labels"), mode="r")).get("labels", []):
        label_group = zarr.open_group(str(folder / "labels" / name), mode="r")
        label = open_multiscale(label_group)
        place = place or label
        labels[name] = label.array
        properties = ome_attributes(label_group).get("image-label", {}).get("properties", [])
        if properties:
            names[name] = {int(entry["label-value"]): str(entry["name"]) for entry in properties}
    if place is None or place.voxel_size_nm is None:
        raise ValueError(f"{folder} is no block: it holds neither an image nor a label with a voxel size.")
    return BlockFiles(
        folder,
        place.voxel_size_nm,
        place.origin_nm,
        found.array if found else None,
        found.channels if found else (),
        labels,
        names,
        manifest,
    )

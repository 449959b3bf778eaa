"""Pictures of a circuit block: projections along its axes, and its cells in 3D."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from neuropil.tissue.circuit import VESSEL_KIND
from neuropil.voxelize.cones import FULL
from neuropil.voxelize.volume import Triple

from .cell_view import ViewedMesh
from .pictures import Rgb, colours_of, side_by_side

# What is not stained is drawn in this grey, so that vessels show where nothing lies before them.
UNSTAINED = 0.05
# Thin neurites fill little of a voxel: brightness is drawn to this power.
GAMMA = 0.45


class Projections:
    """Maximum-intensity projections along z, y and x, gathered tile by tile: a cell's colour at the brightest voxel."""

    def __init__(self, shape_zyx: Sequence[int], voxel_size_nm: Triple) -> None:
        self._size_nm = voxel_size_nm
        flat = [[n for k, n in enumerate(shape_zyx) if k != axis] for axis in range(3)]
        self._brightest = [np.zeros(shape, np.float32) for shape in flat]
        self._ids = [np.zeros(shape, np.uint32) for shape in flat]

    def add(self, instances: NDArray[np.uint32], fraction: NDArray[np.uint16], start_zyx: Sequence[int]) -> None:
        """Take in a tile (z, y, x) that starts at a voxel of the block."""
        stained = fraction > 0
        bright = np.where(stained, fraction / np.float32(FULL), np.where(instances > 0, np.float32(UNSTAINED), 0))
        instances = np.where(stained, instances, 0)
        for axis in range(3):
            place = tuple(slice(start_zyx[k], start_zyx[k] + bright.shape[k]) for k in range(3) if k != axis)
            at = bright.argmax(axis)[(slice(None),) * axis + (None,)]
            most = np.take_along_axis(bright, at, axis).squeeze(axis)
            ids = np.take_along_axis(instances, at, axis).squeeze(axis)
            brighter = most > self._brightest[axis][place]
            self._brightest[axis][place][brighter] = most[brighter]
            self._ids[axis][place][brighter] = ids[brighter]

    def picture(self) -> Rgb:
        """The three projections at one scale: along z, beside it along x, below it along y; 0 is at the top left."""
        finest = min(self._size_nm)
        pictures = []
        for axis in range(3):
            colours = np.where(self._ids[axis][..., None] > 0, colours_of(self._ids[axis]), 200)
            picture = (self._brightest[axis][..., None] ** GAMMA * colours).astype(np.uint8)
            sizes = [s for k, s in enumerate(self._size_nm) if k != axis]
            height, width = (max(1, round(n * s / finest)) for n, s in zip(picture.shape[:2], sizes, strict=True))
            pictures.append(np.array(Image.fromarray(picture).resize((width, height), Image.Resampling.BILINEAR)))
        along_z, along_y, along_x = pictures
        above = side_by_side([along_z, np.ascontiguousarray(along_x.transpose(1, 0, 2))])
        below = np.full((len(along_y), above.shape[1], 3), 255, np.uint8)
        below[:, : along_y.shape[1]] = along_y
        return np.concatenate([above, np.full((8, above.shape[1], 3), 255, np.uint8), below])


def cell_colours(ids: NDArray[np.uint32], kinds: Sequence[str]) -> list[str]:
    """#rrggbb of each cell, as in its projections; vessels grey."""
    rgb = colours_of(ids).astype(int).tolist()
    return [
        "#9a8f8f" if kind == VESSEL_KIND else "#" + "".join(f"{part:02x}" for part in own)
        for kind, own in zip(kinds, rgb, strict=True)
    ]


def circuit_meshes(block: Path) -> list[ViewedMesh]:
    """The cells of a circuit block on disk, each in its colour."""
    files = sorted((block / "meshes").glob("*.ply"))
    names = [file.stem.split("_", 1) for file in files]
    colours = cell_colours(np.array([int(number) for number, _ in names], np.uint32), [kind for _, kind in names])
    return [ViewedMesh(file, colour) for file, colour in zip(files, colours, strict=True)]

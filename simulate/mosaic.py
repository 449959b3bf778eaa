"""Seams of an image that was put together from tiles."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from .hash_noise import LARGEST_BELL, bell_line, sub_key, uniform_line

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Tiling:
    """The tiles that a box shows in one slice.

    row: index (lines,) of each line's tile row in the tables below. edges: x indices of the box where tiles begin, and
    its width, (columns + 1,). seam: whether a tile really begins there, (columns,). gain, offset_grey (rows, columns)
    and shift_nm (rows, columns, 2) are what each tile has of its own.
    """

    row: npt.NDArray[np.int64]
    edges: npt.NDArray[np.int64]
    seam: npt.NDArray[np.bool_]
    gain: Floats
    offset_grey: Floats
    shift_nm: Floats


class Mosaic(BaseModel):
    """Square tiles of `tile_um`, scanned one by one and set side by side; 0 is off, one scan for all.

    gain_sd, offset_grey, shift_nm: standard deviations of a tile's relative gain, its offset, and its shift along
    y and along x, in each slice anew. Where the first seam lies follows from the key.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    tile_um: Annotated[float, Field(ge=0.0)] = 0.0
    gain_sd: Annotated[float, Field(ge=0.0, le=0.3)] = 0.0
    offset_grey: Annotated[float, Field(ge=0.0, le=64.0)] = 0.0
    shift_nm: Annotated[float, Field(ge=0.0, le=500.0)] = 0.0

    @property
    def largest_nm(self) -> float:
        """No tile is shifted by more than this along y or x."""
        return LARGEST_BELL * self.shift_nm if self.tile_um > 0.0 else 0.0

    def first_seams_nm(self, key: int) -> tuple[float, float]:
        """Places y and x of one seam each; the others follow every `tile_um`."""
        y, x = 1e3 * self.tile_um * uniform_line(sub_key(key, "seams"), 0, 2)
        return float(y), float(x)

    def tiling(
        self, key: int, z: int, first_yx: tuple[int, int], shape_yx: tuple[int, int], size_yx_nm: tuple[float, float]
    ) -> Tiling:
        """Tiles of a box (absolute first voxel, shape) in slice z."""
        indices = [self._tiles(key, *along) for along in zip((0, 1), first_yx, shape_yx, size_yx_nm, strict=True)]
        rows, columns = (np.arange(index[0], index[-1] + 1) for index in indices)
        edges = np.searchsorted(indices[1], np.append(columns, columns[-1] + 1))
        values = np.empty((4, rows.size, columns.size))
        for r, row in enumerate(rows):
            for v, name in enumerate(("gain", "offset", "shift y", "shift x")):
                values[v, r] = bell_line(sub_key(key, f"tile {name} {z} {row}"), int(columns[0]), columns.size)
        seam = np.ones(columns.size, np.bool_)
        before = self._tiles(key, 1, first_yx[1] - 1, 1, size_yx_nm[1])[0]
        seam[0] = bool(before != columns[0])
        return Tiling(
            row=indices[0] - rows[0],
            edges=edges.astype(np.int64),
            seam=seam,
            gain=1.0 + self.gain_sd * values[0],
            offset_grey=self.offset_grey * values[1],
            shift_nm=self.shift_nm * np.moveaxis(values[2:], 0, -1),
        )

    def _tiles(self, key: int, axis: int, first: int, count: int, size_nm: float) -> npt.NDArray[np.int64]:
        """Which tile each voxel's centre is in along an axis; 0 for all where there are no tiles."""
        if self.tile_um == 0.0:
            return np.zeros(count, np.int64)
        centres_nm = (first + np.arange(count) + 0.5) * size_nm
        return np.floor((centres_nm - self.first_seams_nm(key)[axis]) / (1e3 * self.tile_um)).astype(np.int64)

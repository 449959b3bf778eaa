"""Curtains: streaks down a face milled by ions."""

from __future__ import annotations

from typing import Annotated

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from .hash_noise import SmoothNoise, sub_key


class Curtaining(BaseModel):
    """Streaks along the ion beam (y) below what it mills more slowly, so tilting the face; 0 is off.

    contrast: relative standard deviation of the signal. width_nm, length_um, length_slices: full widths at half
    maximum of a streak across, down the face, and over slices.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    contrast: Annotated[float, Field(ge=0.0, le=0.3)] = 0.0
    width_nm: Annotated[float, Field(gt=0.0)] = 60.0
    length_um: Annotated[float, Field(gt=0.0)] = 4.0
    length_slices: Annotated[float, Field(ge=1.0)] = 20.0

    def noise(
        self,
        key: int,
        voxel_size_nm: tuple[float, float, float],
        first: tuple[int, int, int],
        shape_yx: tuple[int, int],
    ) -> SmoothNoise:
        """The streaks of unit variance over a block whose first voxel is `first`."""
        # SmoothNoise has one width for all axes, so lengths are counted in widths.
        size_nm = (
            self.width_nm / self.length_slices,
            voxel_size_nm[1] * self.width_nm / (1e3 * self.length_um),
            voxel_size_nm[2],
        )
        return SmoothNoise(sub_key(key, "curtains"), self.width_nm, size_nm, first, shape_yx)

    def relief(self, noise: SmoothNoise, index: int, shape_yx: tuple[int, int]) -> npt.NDArray[np.float32]:
        """Factor on the signal of slice `index`, (y, x)."""
        out = np.empty(shape_yx, np.float32)
        noise.slice_at(index, out)
        out *= np.float32(self.contrast)
        out += np.float32(1.0)
        return out

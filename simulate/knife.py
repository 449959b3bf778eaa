"""What a diamond knife does to the face that it cuts: chatter, and debris that stays behind."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Annotated, Any, Self

import numba
import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, model_validator

from .hash_noise import bell_line, mix, smooth_line, sub_key, uniform, uniform_line

Plane = npt.NDArray[np.float32]
Floats = npt.NDArray[np.float64]

# Chatter loses step with itself over this many of its periods. Debris: radii are spread evenly within these shares
# of their mean, and the outline wavers by at most this share about its radius.
_PERIODS_IN_STEP = 4.0
_RADII = (0.5, 1.5)
_WAVER = 0.375


@dataclass(frozen=True)
class Debris:
    """One piece on the face: place of its middle and mean radius in nm, and the key of its outline."""

    y_nm: float
    x_nm: float
    radius_nm: float
    key: int

    def as_dict(self) -> dict[str, Any]:
        """Plain mapping for JSON."""
        return asdict(self)


class Knife(BaseModel):
    """The knife's edge lies along x and cuts along y; 0 is off.

    chatter, chatter_period_nm: relative amplitude of the signal's bands, a half-normal number in each slice whose
        root mean square this is, and their period along y.
    debris_per_um2: mean number of pieces on a face. debris_radius_um: their mean radius. debris_backscatter: the
        coefficient of what they are made of. debris_edge: share of the radius over which they fade, being out of focus.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    chatter: Annotated[float, Field(ge=0.0, le=0.3)] = 0.0
    chatter_period_nm: Annotated[float, Field(gt=0.0)] = 250.0
    debris_per_um2: Annotated[float, Field(ge=0.0)] = 0.0
    debris_radius_um: Annotated[float, Field(gt=0.0, le=50.0)] = 0.3
    debris_backscatter: Annotated[float, Field(ge=0.0, le=0.6)] = 0.09
    debris_edge: Annotated[float, Field(gt=0.0, le=1.0)] = 0.3

    @model_validator(mode="after")
    def _debris_leaves_room(self) -> Self:
        covered = self.debris_per_um2 * self._cell_um**2
        if covered > 1.0:
            raise ValueError(
                f"debris_per_um2 is {self.debris_per_um2:g} with debris_radius_um {self.debris_radius_um:g}; pieces of "
                f"that size have room for at most {self._cell_um**-2:.3g} per µm²"
            )
        return self

    @property
    def _cell_um(self) -> float:
        """The face is divided into squares of this edge, each with one piece or none, which no piece is wider than."""
        return 2.0 * _RADII[1] * (1.0 + _WAVER) * self.debris_radius_um

    def chatter_amplitudes(self, key: int, first: int, count: int) -> Floats:
        """Relative amplitude (count,) of the bands in the slices first … first + count - 1."""
        return self.chatter * np.abs(bell_line(sub_key(key, "chatter"), first, count))

    def chatter_phases(self, key: int, first: int, count: int) -> Floats:
        """Phase (count,), in radians at y = 0."""
        return 2.0 * math.pi * uniform_line(sub_key(key, "phase of chatter"), first, count)

    def relief(self, key: int, z: int, first_y: int, height: int, voxel_nm: float) -> Plane:
        """Factor on the signal of each line of slice z, (y,)."""
        waves = (first_y + np.arange(height) + 0.5) * voxel_nm / self.chatter_period_nm
        spacing = _PERIODS_IN_STEP * self.chatter_period_nm / voxel_nm
        out_of_step = smooth_line(sub_key(key, f"step of chatter {z}"), first_y, height, spacing)
        phase = 2.0 * math.pi * waves + out_of_step + self.chatter_phases(key, z, 1)[0]
        return np.asarray(1.0 + self.chatter_amplitudes(key, z, 1)[0] * np.sin(phase), np.float32)

    def debris(self, key: int, z: int, low_yx_nm: tuple[float, float], high_yx_nm: tuple[float, float]) -> list[Debris]:
        """All pieces that reach into a box of slice z."""
        if self.debris_per_um2 == 0.0:
            return []
        cell_nm = 1e3 * self._cell_um
        rows, columns = (
            range(math.floor(low / cell_nm) - 1, math.floor(high / cell_nm) + 2)
            for low, high in zip(low_yx_nm, high_yx_nm, strict=True)
        )
        found = []
        for row in rows:
            numbers = [
                uniform_line(sub_key(key, f"debris {name} {z} {row}"), columns[0], len(columns))
                for name in ("there", "y", "x", "radius", "outline")
            ]
            for column, (there, y, x, radius, outline) in zip(columns, np.stack(numbers, axis=1), strict=True):
                if there >= self.debris_per_um2 * self._cell_um**2:
                    continue
                radius_nm = 1e3 * self.debris_radius_um * (_RADII[0] + (_RADII[1] - _RADII[0]) * radius)
                piece = Debris((row + y) * cell_nm, (column + x) * cell_nm, radius_nm, int(outline * 2.0**53))
                reach = radius_nm * (1.0 + _WAVER)
                ends = zip((piece.y_nm, piece.x_nm), low_yx_nm, high_yx_nm, strict=True)
                if all(low - reach < place < high + reach for place, low, high in ends):
                    found.append(piece)
        return found

    def cover(
        self,
        face: Plane,
        signal: float,
        pieces: list[Debris],
        first_yx: tuple[int, int],
        size_yx_nm: tuple[float, float],
    ) -> None:
        """Draws the pieces, which send this signal, over a face (y, x) whose first voxel is `first_yx`."""
        for piece in pieces:
            _cover(
                face, *first_yx, *size_yx_nm, piece.y_nm, piece.x_nm, piece.radius_nm, np.uint64(piece.key),
                signal, self.debris_edge,
            )  # fmt: skip


@numba.njit(nogil=True, cache=True)
def _cover(
    face: Plane,
    first_y: int,
    first_x: int,
    size_y_nm: float,
    size_x_nm: float,
    middle_y_nm: float,
    middle_x_nm: float,
    radius_nm: float,
    key: np.uint64,
    backscatter: float,
    edge: float,
) -> None:
    """A blob whose outline wavers with the second to fifth harmonic of the angle, fading over `edge` of its radius."""
    height, width = np.empty(4), np.empty(4)
    for n in range(4):
        angle = 2.0 * math.pi * uniform(mix(key + np.uint64(n)))
        height[n], width[n] = 0.18 / (n + 1) * math.sin(angle), 0.18 / (n + 1) * math.cos(angle)
    reach = radius_nm * (1.0 + _WAVER)
    low_y = max(math.floor((middle_y_nm - reach) / size_y_nm) - first_y, 0)
    high_y = min(math.ceil((middle_y_nm + reach) / size_y_nm) - first_y, face.shape[0])
    low_x = max(math.floor((middle_x_nm - reach) / size_x_nm) - first_x, 0)
    high_x = min(math.ceil((middle_x_nm + reach) / size_x_nm) - first_x, face.shape[1])
    for j in range(low_y, high_y):
        y = ((first_y + j + 0.5) * size_y_nm - middle_y_nm) / radius_nm
        for i in range(low_x, high_x):
            x = ((first_x + i + 0.5) * size_x_nm - middle_x_nm) / radius_nm
            angle = math.atan2(y, x)
            outline = 1.0
            for n in range(4):
                outline += height[n] * math.sin((n + 2) * angle) + width[n] * math.cos((n + 2) * angle)
            inside = (outline - math.sqrt(y * y + x * x)) / edge
            if inside > 0.0:
                share = min(inside, 1.0)
                share = share * share * (3.0 - 2.0 * share)
                face[j, i] += np.float32(share) * (np.float32(backscatter) - face[j, i])

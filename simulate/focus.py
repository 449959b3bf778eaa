"""Defocus and astigmatism of the beam, drifting over slices, and the spot that they make."""

from __future__ import annotations

from typing import Annotated

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from .hash_noise import LARGEST_SMOOTH, smooth_line, sub_key

Floats = npt.NDArray[np.float64]
_ERRORS = ("defocus", "astigmatism along the axes", "astigmatism between the axes")


class Focus(BaseModel):
    """How far the beam is out of focus; 0 µm is off.

    A ray at angle θ meets the face D θ away from the beam's axis, D = [[f + a, b], [b, f - a]] with defocus f and
    astigmatism a along and b between the axes y and x. With the rays spread evenly within the angle `convergence_mrad`
    α, the spot's covariance grows by α²/4 · D Dᵀ (geometric optics; Reimer 1998, section 2.2).

    defocus_um, astigmatism_um: standard deviations of f and of each of a and b over slices.
    length_slices: slices over which they change.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    convergence_mrad: Annotated[float, Field(gt=0.0, le=100.0)] = 8.0
    defocus_um: Annotated[float, Field(ge=0.0, le=50.0)] = 0.0
    astigmatism_um: Annotated[float, Field(ge=0.0, le=50.0)] = 0.0
    length_slices: Annotated[float, Field(ge=1.0)] = 50.0

    @property
    def _spreads_um(self) -> tuple[float, float, float]:
        return self.defocus_um, self.astigmatism_um, self.astigmatism_um

    @property
    def largest_variance_nm2(self) -> float:
        """No defocus adds more variance than this along any axis."""
        worst_um = LARGEST_SMOOTH * (self.defocus_um + 2.0**0.5 * self.astigmatism_um)
        return 0.25 * (self.convergence_mrad * worst_um) ** 2

    def errors_um(self, key: int, first: int, count: int) -> Floats:
        """f, a and b, (count, 3), of the slices first … first + count - 1."""
        lines = [
            spread * smooth_line(sub_key(key, name), first, count, self.length_slices).astype(np.float64)
            for name, spread in zip(_ERRORS, self._spreads_um, strict=True)
        ]
        return np.stack(lines, axis=1)

    def covariance_nm2(self, errors_um: Floats) -> Floats:
        """What f, a and b (3,) add to the spot's covariance, (2, 2) over y and x. 1 mrad · 1 µm is 1 nm."""
        f, a, b = errors_um
        bend = np.array([[f + a, b], [b, f - a]])
        return np.asarray(0.25 * self.convergence_mrad**2 * bend @ bend.T)

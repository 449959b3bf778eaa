"""Where the beam really is: displacement of each scanned line, as a function of key, slice and line alone."""

from __future__ import annotations

import math
from typing import Annotated

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from .hash_noise import LARGEST_BELL, LARGEST_SMOOTH, bell_line, smooth_line, sub_key, uniform_line

Nanometres = Annotated[float, Field(ge=0.0, le=500.0)]
Floats = npt.NDArray[np.float64]


class Scan(BaseModel):
    """How far the beam misses the pixel it is meant for. Lines run along x, one each `line_time_ms`; 0 nm is off.

    misalignment_nm: standard deviation of a slice's offset along y and along x, from slice to slice anew.
    wander_nm, wander_length_slices: the same of the stage's slow drift, and the slices over which it changes.
    drift_nm, drift_time_ms: the same of the beam within a slice, and the time in which it changes.
    vibration_nm, vibration_hz: amplitude along y and along x of a swing that begins each slice at any phase.
    jitter_nm: standard deviation of where each line starts, along x.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    line_time_ms: Annotated[float, Field(gt=0.0, le=1e5)] = 4.0
    misalignment_nm: Nanometres = 0.0
    wander_nm: Nanometres = 0.0
    wander_length_slices: Annotated[float, Field(ge=1.0)] = 30.0
    drift_nm: Nanometres = 0.0
    drift_time_ms: Annotated[float, Field(gt=0.0)] = 1000.0
    vibration_nm: tuple[Nanometres, Nanometres] = (0.0, 0.0)
    vibration_hz: Annotated[float, Field(gt=0.0, le=1e4)] = 50.0
    jitter_nm: Nanometres = 0.0

    @property
    def largest_nm(self) -> tuple[float, float]:
        """No line is displaced by more than this along y and x."""
        both = LARGEST_BELL * self.misalignment_nm + LARGEST_SMOOTH * (self.wander_nm + self.drift_nm)
        return both + self.vibration_nm[0], both + self.vibration_nm[1] + LARGEST_BELL * self.jitter_nm

    def slice_offsets_nm(self, key: int, first: int, count: int) -> Floats:
        """Offset (count, 2) of the slices first … first + count - 1, along y and x."""
        offsets = np.zeros((count, 2))
        for axis, name in enumerate("yx"):
            offsets[:, axis] += self.misalignment_nm * bell_line(sub_key(key, f"misalignment {name}"), first, count)
            wander = smooth_line(sub_key(key, f"wander {name}"), first, count, self.wander_length_slices)
            offsets[:, axis] += self.wander_nm * wander
        return offsets

    def vibration_phases(self, key: int, first: int, count: int) -> Floats:
        """Phase (count,), in radians at line 0, of the vibration in each slice."""
        return 2.0 * math.pi * uniform_line(sub_key(key, "vibration"), first, count)

    def displacement_nm(self, key: int, z: int, first_line: int, lines: int) -> Floats:
        """How far beyond its place each line (absolute index) of slice z was scanned, (lines, 2), along y and x.

        The pixel shows what the truth holds at its own place plus this. key: `scan_key` of a micrograph's parameters.
        """
        moved = np.repeat(self.slice_offsets_nm(key, z, 1), lines, axis=0)
        if self.drift_nm > 0.0:
            spacing = self.drift_time_ms / self.line_time_ms
            for axis, name in enumerate("yx"):
                moved[:, axis] += self.drift_nm * smooth_line(
                    sub_key(key, f"drift {name} {z}"), first_line, lines, spacing
                )
        if max(self.vibration_nm) > 0.0:
            seconds = 1e-3 * self.line_time_ms * (first_line + np.arange(lines))
            swing = np.sin(2.0 * math.pi * self.vibration_hz * seconds + self.vibration_phases(key, z, 1)[0])
            moved += swing[:, None] * self.vibration_nm
        if self.jitter_nm > 0.0:
            moved[:, 1] += self.jitter_nm * bell_line(sub_key(key, f"jitter {z}"), first_line, lines)
        return moved

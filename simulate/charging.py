"""Charge that the beam leaves on the pixels it has just scanned, and what it does to the next ones."""

from __future__ import annotations

import math
from typing import Annotated

import numba
import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

Lines = npt.NDArray[np.float32]

# An exponential memory forgets what is left of it when it has fallen to this.
_FORGOTTEN = 1e-3

_LANES = 16


class Charging(BaseModel):
    """Poorly stained material conducts badly and keeps the electrons that it does not send back.

    A pixel of backscatter coefficient η is left with the charge 1 - η/`neutral_backscatter` (none where the stain is
    just enough). It leaks away exponentially over `length_nm` of the scan line, and the mean over what is left of it
    times `strength` is the share by which the signal falls; a negative strength lets it grow. 0 is off. A line, and
    each tile of a mosaic, starts uncharged.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    strength: Annotated[float, Field(ge=-10.0, le=10.0)] = 0.0
    length_nm: Annotated[float, Field(gt=0.0, le=20000.0)] = 300.0
    neutral_backscatter: Annotated[float, Field(gt=0.0, le=0.5)] = 0.12

    def decay(self, voxel_nm: float) -> float:
        """Share of the charge that is left one pixel on; 0 where charging is off."""
        return math.exp(-voxel_nm / self.length_nm) if self.strength != 0.0 else 0.0


def memory_length(decay: float) -> int:
    """Pixels whose exponential memory is kept, the present one among them."""
    return 1 if decay <= 0.0 else 1 + math.ceil(math.log(_FORGOTTEN) / math.log(decay))


@numba.njit(nogil=True, cache=True)
def remember(lines: Lines, decay: float, count: int, x0: int, before: npt.NDArray[np.float32], out: Lines) -> None:
    """Mean of each pixel of lines (y, x) and the count - 1 before it, weighted by decay to their distance's power.

    before: (y,), what stands for pixels before each line's first, whose absolute index is x0. The window is cut at the
    multiples of `count` in absolute x (van Herk 1992): what lies before the cut is summed backwards from it, what
    lies behind it forwards. So a pixel costs two products however long the memory is, and has the same bytes wherever
    the line starts.
    """
    height, width = lines.shape
    fade = np.float32(decay)
    norm = np.float32((1.0 - decay) / (1.0 - decay**count))
    # Lines go through side by side, as lanes of one vector. older[r]: what pixels r … count - 1 of the stretch
    # before the cut add up to, as its last pixel sees it.
    across = np.empty((width, _LANES), np.float32)
    older = np.zeros((count + 1, _LANES), np.float32)
    total, at_start = np.empty(_LANES, np.float32), np.empty(_LANES, np.float32)
    for top in range(0, height, _LANES):
        lanes = min(_LANES, height - top)
        at_start[:] = np.float32(0.0)
        across[:] = np.float32(0.0)
        for r in range(lanes):
            at_start[r] = before[top + r]
            for i in range(width):
                across[i, r] = lines[top + r, i]
        place = x0 % count
        reached = np.float32(1.0)
        for i in range(width):
            if i == 0 or place == 0:
                cut = i - place
                power = np.float32(1.0)
                for k in range(count - 1, -1, -1):
                    source = across[cut - count + k] if cut - count + k >= 0 else at_start
                    for r in range(_LANES):
                        older[k, r] = older[k + 1, r] + power * source[r]
                    power *= fade
                total[:] = np.float32(0.0)
                reached = np.float32(1.0)
                for _ in range(place):  # where the line starts behind a cut
                    for r in range(_LANES):
                        total[r] = fade * total[r] + at_start[r]
                    reached *= fade
            reached *= fade
            for r in range(_LANES):
                total[r] = fade * total[r] + across[i, r]
            for r in range(lanes):
                out[top + r, i] = norm * (total[r] + reached * older[place + 1, r])
            place = place + 1 if place + 1 < count else 0

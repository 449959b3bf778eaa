"""Counted quanta: Poisson numbers and read noise by absolute pixel, and their way into whole grey levels."""

from __future__ import annotations

import math

import numba
import numpy as np
import numpy.typing as npt

from .hash_noise import bits_at, normal, row_key, uniform

Plane = npt.NDArray[np.float32]

# Poisson numbers of a smaller mean than this are drawn exactly, larger ones as rounded normal numbers.
_EXACT_BELOW = 40.0


@numba.njit(cache=True, nogil=True)
def poisson(mean: float, bits: np.uint64) -> float:
    """A Poisson number of this mean from 64 random bits."""
    if mean < _EXACT_BELOW:
        target = uniform(bits)
        probability = math.exp(-mean)
        cumulated = probability
        count = 0
        while cumulated < target and count < 200:
            count += 1
            probability *= mean / count
            cumulated += probability
        return float(count)
    return max(math.floor(mean + math.sqrt(mean) * normal(bits) + 0.5), 0.0)


@numba.njit(cache=True, nogil=True)
def count_plane(mean: Plane, key: np.uint64, z: int, y0: int, x0: int) -> Plane:
    """Poisson numbers (y, x) of the means given; (z, y0, x0) is the absolute index of the first pixel."""
    out = np.empty(mean.shape, np.float32)
    for j in range(out.shape[0]):
        row = row_key(key, z, y0 + j)
        for i in range(out.shape[1]):
            out[j, i] = poisson(mean[j, i], bits_at(row, x0 + i))
    return out


@numba.njit(cache=True, nogil=True)
def _digitize(
    grey: Plane, read_noise: float, key: np.uint64, z: int, y0: int, x0: int, out: npt.NDArray[np.generic]
) -> None:
    """Rounds grey levels with their read noise into the unsigned integers of `out`, cut at their ends."""
    most = 255.0 if out.itemsize == 1 else 65535.0
    for j in range(out.shape[0]):
        row = row_key(key, z, y0 + j)
        for i in range(out.shape[1]):
            value = float(grey[j, i])
            if read_noise > 0.0:
                value += read_noise * normal(bits_at(row, x0 + i))
            out[j, i] = min(max(math.floor(value + 0.5), 0.0), most)


def digitized(
    grey: Plane, read_noise: float, key: int, first: tuple[int, int, int], kind: npt.DTypeLike
) -> npt.NDArray[np.unsignedinteger]:
    """Grey levels (y, x) with read noise of this standard deviation, as uint8 or uint16.

    first: absolute index (z, y, x) of the first pixel, by which the noise goes.
    """
    out: npt.NDArray[np.unsignedinteger] = np.empty(grey.shape, kind)
    _digitize(grey, read_noise, np.uint64(key), *first, out)
    return out

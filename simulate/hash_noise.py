"""Random numbers that depend on nothing but a key and a position, so any tiling draws the same ones.

A 64-bit key and integer coordinates go through the finaliser of splitmix64 (Steele, Lea and Flood 2014).
Smooth noise is white noise on a lattice, spread with cubic B-splines.
"""

from __future__ import annotations

import math
import threading

import numba
import numpy as np
import numpy.typing as npt
from scipy.special import ndtri

WEYL = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)

# Full width at half maximum of the cubic B-spline, and the mean of Σ B² over positions, both at unit spacing.
B_SPLINE_FWHM = 1.4453
B_SPLINE_POWER = 151.0 / 315.0

# A cubic B-spline is a weighted mean of the lattice's `bell`s, so smooth noise never leaves ± this.
LARGEST_BELL = 3.465
LARGEST_SMOOTH = LARGEST_BELL / math.sqrt(B_SPLINE_POWER)

# One hash of 64 bits serves a voxel's shot noise and its read noise: these are the first of 24 bits for each.
SHOT_SHIFT, READ_SHIFT = 40, 16

# Quantiles of the normal distribution at 4097 places from 0 to 1. The two outermost stand for infinity: drawn on
# a straight line to ±3.99, the outermost 1/4096 has the mean of the normal distribution's own.
NORMAL_QUANTILES = ndtri(np.linspace(0.0, 1.0, 4097)).astype(np.float32)
NORMAL_QUANTILES[[0, -1]] = (-3.99, 3.99)


@numba.njit(inline="always")
def mix(value: np.uint64) -> np.uint64:
    """Finaliser of splitmix64: 64 bits in, 64 well-mixed bits out."""
    value = (value ^ (value >> np.uint64(30))) * _MIX_1
    value = (value ^ (value >> np.uint64(27))) * _MIX_2
    return value ^ (value >> np.uint64(31))


@numba.njit(inline="always")
def row_key(key: np.uint64, z: int, y: int) -> np.uint64:
    """Key of an image row; element x of the row is `mix(row_key + x · Weyl)`."""
    return mix(mix(key + np.uint64(z) * WEYL) + np.uint64(y) * WEYL)


@numba.njit(inline="always")
def bits_at(row: np.uint64, x: int) -> np.uint64:
    """Random bits at position x of a row."""
    return mix(row + np.uint64(x) * WEYL)


@numba.njit(inline="always")
def bell(bits: np.uint64) -> float:
    """Nearly normal number (sum of four uniforms, unit variance, |value| < 3.47) from 64 bits: cheap."""
    mask = np.uint64(0xFFFF)
    total = (
        (bits & mask) + ((bits >> np.uint64(16)) & mask) + ((bits >> np.uint64(32)) & mask) + (bits >> np.uint64(48))
    )
    return float((np.float64(total) / 65536.0 - 1.99996948) * 1.7320508)


@numba.njit(inline="always")
def normal(bits: np.uint64) -> float:
    """Normal number (Box and Muller) from 64 bits."""
    first = (np.float64(bits >> np.uint64(32)) + 1.0) * (1.0 / 4294967296.0)
    second = np.float64(bits & np.uint64(0xFFFFFFFF)) * (1.0 / 4294967296.0)
    return math.sqrt(-2.0 * math.log(first)) * math.cos(2.0 * math.pi * second)


@numba.njit(inline="always")
def quick_normal(bits: np.uint64) -> np.float32:
    """Normal number from the lower 24 bits, by interpolated quantiles, |value| < 3.99; 20 times as fast as `normal`."""
    place = np.int32(bits & np.uint64(0xFFFFFF))
    cell = place >> 12
    share = np.float32(place & 0xFFF) * np.float32(1.0 / 4096.0)
    return NORMAL_QUANTILES[cell] + (NORMAL_QUANTILES[cell + 1] - NORMAL_QUANTILES[cell]) * share


@numba.njit(inline="always")
def uniform(bits: np.uint64) -> float:
    """Number in [0, 1) from 64 bits."""
    return float(np.float64(bits >> np.uint64(11)) * (1.0 / 9007199254740992.0))


@numba.njit(cache=True, nogil=True)
def white_lattice(key: np.uint64, z: int, y0: int, x0: int, out: npt.NDArray[np.float32]) -> None:
    for j in range(out.shape[0]):
        row = row_key(key, z, y0 + j)
        for i in range(out.shape[1]):
            out[j, i] = bell(bits_at(row, x0 + i))


@numba.njit(cache=True, nogil=True)
def _spread_y_then_x(
    lattice: npt.NDArray[np.float32],
    y_cells: npt.NDArray[np.int64],
    y_weights: npt.NDArray[np.float32],
    x_cells: npt.NDArray[np.int64],
    x_weights: npt.NDArray[np.float32],
    out: npt.NDArray[np.float32],
) -> None:
    width = lattice.shape[1]
    row = np.empty(width, np.float32)
    for j in range(out.shape[0]):
        c = y_cells[j]
        w0, w1, w2, w3 = y_weights[j, 0], y_weights[j, 1], y_weights[j, 2], y_weights[j, 3]
        for i in range(width):
            row[i] = w0 * lattice[c, i] + w1 * lattice[c + 1, i] + w2 * lattice[c + 2, i] + w3 * lattice[c + 3, i]
        for i in range(out.shape[1]):
            d = x_cells[i]
            out[j, i] = (
                x_weights[i, 0] * row[d]
                + x_weights[i, 1] * row[d + 1]
                + x_weights[i, 2] * row[d + 2]
                + x_weights[i, 3] * row[d + 3]
            )


def _b_spline(positions: npt.NDArray[np.float64]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
    """First of the four lattice cells that reach each position, shape (n,), and their weights, (n, 4)."""
    cells = np.floor(positions).astype(np.int64)
    t = positions - cells
    weights = np.stack(((1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3), axis=1)
    return cells - 1, (weights / 6.0).astype(np.float32)


class SmoothNoise:
    """Smooth Gaussian-like noise of zero mean and unit variance over (z, y, x), slice after slice.

    The value at a voxel depends on the key, `fwhm_nm` (width of a grain) and the voxel's absolute position
    alone. A grain narrower than a voxel becomes white noise. The variance wavers by ±12 % over the lattice.
    Threads may ask for slices at the same time.
    """

    def __init__(
        self,
        key: int,
        fwhm_nm: float,
        voxel_size_nm: tuple[float, float, float],
        first_voxel: tuple[int, int, int],
        shape_yx: tuple[int, int],
    ) -> None:
        self._key = np.uint64(key)
        self._first_z = first_voxel[0]
        # A lattice finer than the voxels would look like white noise too, and cost more.
        spacing = [max(fwhm_nm / B_SPLINE_FWHM / size, 1.0) for size in voxel_size_nm]
        self._spacing_z = spacing[0]
        cells_y, self._weights_y = _b_spline((first_voxel[1] + np.arange(shape_yx[0]) + 0.5) / spacing[1])
        cells_x, self._weights_x = _b_spline((first_voxel[2] + np.arange(shape_yx[1]) + 0.5) / spacing[2])
        self._y0, self._x0 = int(cells_y[0]), int(cells_x[0])
        self._cells_y, self._cells_x = cells_y - self._y0, cells_x - self._x0
        self._lattice_shape = (int(self._cells_y[-1]) + 4, int(self._cells_x[-1]) + 4)
        self._planes: dict[int, npt.NDArray[np.float32]] = {}
        self._lock = threading.Lock()
        self._scale = np.float32(B_SPLINE_POWER**-1.5)

    def _plane(self, z: int) -> npt.NDArray[np.float32]:
        with self._lock:
            if z not in self._planes:
                plane = np.empty(self._lattice_shape, np.float32)
                white_lattice(self._key, z, self._y0, self._x0, plane)
                self._planes[z] = plane
                for old in [k for k in self._planes if abs(k - z) > 32]:
                    del self._planes[old]
            return self._planes[z]

    def slice_at(self, index: int, out: npt.NDArray[np.float32]) -> None:
        """Writes the noise of slice `index`, counted from the first voxel, into `out`, (y, x) float32."""
        cells, weights = _b_spline(np.array([(self._first_z + index + 0.5) / self._spacing_z]))
        mixed = np.zeros(self._lattice_shape, np.float32)
        for k in range(4):
            mixed += weights[0, k] * self._scale * self._plane(int(cells[0]) + k)
        _spread_y_then_x(mixed, self._cells_y, self._weights_y, self._cells_x, self._weights_x, out)


def smooth_line(key: int, first: int, count: int, spacing: float) -> npt.NDArray[np.float32]:
    """Smooth noise of unit variance along one axis, shape (count,), first … first + count - 1."""
    cells, weights = _b_spline((first + np.arange(count) + 0.5) / max(spacing, 1.0))
    lattice = np.empty((1, int(cells[-1] - cells[0]) + 4), np.float32)
    white_lattice(np.uint64(key), 0, 0, int(cells[0]), lattice)
    near = lattice[0, (cells - cells[0])[:, None] + np.arange(4)]
    return np.asarray((near * weights).sum(axis=1) / math.sqrt(B_SPLINE_POWER), dtype=np.float32)


@numba.njit(cache=True)
def normal_line(key: int, first: int, count: int) -> npt.NDArray[np.float64]:
    """Independent normal numbers, shape (count,), for positions first … first + count - 1."""
    values = np.empty(count)
    row = row_key(np.uint64(key), 0, 0)
    for i in range(count):
        values[i] = normal(bits_at(row, first + i))
    return values


@numba.njit(cache=True)
def _hash_line(key: np.uint64, first: int, count: int) -> npt.NDArray[np.uint64]:
    values = np.empty(count, np.uint64)
    row = row_key(key, 0, 0)
    for i in range(count):
        values[i] = bits_at(row, first + i)
    return values


def uniform_line(key: int, first: int, count: int) -> npt.NDArray[np.float64]:
    """Independent numbers in [0, 1), shape (count,), for positions first … first + count - 1."""
    return (_hash_line(np.uint64(key), first, count) >> np.uint64(11)) / 2.0**53


def bell_line(key: int, first: int, count: int) -> npt.NDArray[np.float64]:
    """Independent `bell` numbers, shape (count,), for positions first … first + count - 1: within ±LARGEST_BELL."""
    lattice = np.empty((1, count), np.float32)
    white_lattice(np.uint64(key), 0, 0, first, lattice)
    return lattice[0].astype(np.float64)


def key_from(rng: np.random.Generator) -> int:
    """A 64-bit key drawn from a generator."""
    return int(rng.integers(0, 2**63, dtype=np.int64))


def sub_key(key: int, name: str) -> int:
    """A key for one purpose, derived from the whole image's key and the purpose's name."""
    digest = key
    for byte in name.encode():
        digest = (digest * 0x100000001B3 ^ byte) & 0xFFFFFFFFFFFFFFFF
    return digest

"""What the beam gathers from a face: depths mixed, spread within the material, and the displaced, defocused spot."""

from __future__ import annotations

import math

import numba
import numpy as np
import numpy.typing as npt

Plane = npt.NDArray[np.float32]

# A Gaussian is cut at this many standard deviations, as `point_spread.gaussian_kernel` cuts it.
SPOT_CUT = 3.5


@numba.njit(cache=True, nogil=True)
def mix_depths(
    ring: npt.NDArray[np.float32], places: npt.NDArray[np.int64], weights: Plane, margin: int, face: Plane
) -> None:
    """Sum over slices, ring (n, y, x) at `places`, of what each adds to the face's signal, between its margins."""
    width = ring.shape[2]
    for j in range(ring.shape[1]):
        # Views of lines: without offsets in their indices, the loops are vectorised.
        line = face[j, margin : margin + width]
        line[:] = np.float32(0.0)
        for t in range(weights.shape[0]):
            weight, source = weights[t], ring[places[t], j]
            for i in range(width):
                line[i] += weight * source[i]


@numba.njit(cache=True, nogil=True)
def spread_beam(face: Plane, margin: int, kernel_y: Plane, kernel_x: Plane, out: Plane) -> None:
    """Adds to `out` what a beam without width gathers from a face between its margins, the kernels being centred."""
    height, width = face.shape[0], face.shape[1] - 2 * margin
    reach_y, reach_x = kernel_y.shape[0] // 2, kernel_x.shape[0] // 2
    gathered = np.empty(face.shape[1], np.float32)
    for j in range(height):
        gathered[:] = np.float32(0.0)
        for k in range(kernel_y.shape[0]):
            weight, source = kernel_y[k], face[min(max(j + k - reach_y, 0), height - 1)]
            for i in range(face.shape[1]):
                gathered[i] += weight * source[i]
        line = out[j, margin : margin + width]
        for k in range(kernel_x.shape[0]):
            weight, shifted = kernel_x[k], gathered[margin - reach_x + k : margin - reach_x + k + width]
            for i in range(width):
                line[i] += weight * shifted[i]


@numba.njit(cache=True, nogil=True)
def extend_lines(face: Plane, margin: int) -> None:
    """Lets the first and last of each line's values stand for what lies beyond."""
    end = face.shape[1] - margin
    for j in range(face.shape[0]):
        for i in range(margin):
            face[j, i] = face[j, margin]
            face[j, end + i] = face[j, end - 1]


@numba.njit(cache=True, nogil=True)
def _spot_weights(centre: float, sigma: float, out: Plane) -> tuple[int, int]:
    """Gaussian about `centre` integrated over pixels, its cut moving along: first pixel's offset, and how many."""
    if sigma < 1e-6:
        out[0] = np.float32(1.0)
        return math.floor(centre + 0.5), 1
    reach = math.ceil(SPOT_CUT * sigma) + 0.5
    first = math.floor(centre - reach + 0.5)
    count = math.ceil(centre + reach - 0.5) - first + 1
    scale = 1.0 / (sigma * math.sqrt(2.0))
    low = math.erf(-reach * scale)
    whole = -2.0 * low
    below = low
    for k in range(count):
        above = math.erf(min(max(first + k + 0.5 - centre, -reach), reach) * scale)
        out[k] = np.float32((above - below) / whole)
        below = above
    return first, count


@numba.njit(cache=True, nogil=True)
def scan_lines(
    face: Plane,
    margin: int,
    variance_y: float,
    shear: float,
    variance_x: float,
    row: npt.NDArray[np.int64],
    edges: npt.NDArray[np.int64],
    shift_px: npt.NDArray[np.float64],
    line_shift_px: npt.NDArray[np.float64],
    out: Plane,
) -> None:
    """What the spot gathers at each pixel, out (y, x), from a face with `margin` columns more on each side.

    The spot's covariance is that of a blur along y by variance_y whose lines lean by `shear`, and one along x by
    variance_x (px²). It stands line_shift_px (y, 2) and the tile's shift_px (rows, columns, 2) beyond the pixel.
    """
    height = out.shape[0]
    sigma_y = math.sqrt(variance_y)
    taps = 2 * math.ceil(SPOT_CUT * max(sigma_y, math.sqrt(variance_x))) + 3
    weights_y, weights_x = np.empty(taps, np.float32), np.empty(taps, np.float32)
    gathered = np.empty(face.shape[1], np.float32)
    last_y = last_x = math.inf
    first_y = count_y = first_x = count_x = 0
    for j in range(height):
        for s in range(edges.shape[0] - 1):
            centre_y = line_shift_px[j, 0] + shift_px[row[j], s, 0]
            centre_x = line_shift_px[j, 1] + shift_px[row[j], s, 1]
            start, end = edges[s], edges[s + 1]
            if centre_y != last_y or (centre_x != last_x and shear != 0.0):
                first_y, count_y = _spot_weights(centre_y, sigma_y, weights_y)
            if centre_x != last_x or (centre_y != last_y and shear != 0.0):
                left = variance_x
                if shear != 0.0:
                    for k in range(count_y):
                        lean = shear * (first_y + k - centre_y)
                        part = lean - math.floor(lean)
                        # Values between two pixels are drawn on a straight line, which blurs as well.
                        left -= weights_y[k] * part * (1.0 - part)
                first_x, count_x = _spot_weights(centre_x, math.sqrt(max(left, 0.0)), weights_x)
            last_y, last_x = centre_y, centre_x
            length = end - start + count_x - 1
            from_x = margin + start + first_x
            gathered[:length] = np.float32(0.0)
            for k in range(count_y):
                weight, source = weights_y[k], face[min(max(j + first_y + k, 0), height - 1)]
                lean = shear * (first_y + k - centre_y)
                whole = math.floor(lean)
                after = np.float32(weight * (lean - whole))
                here, before = weight - after, source[from_x + whole : from_x + whole + length]
                if after == 0.0:
                    for i in range(length):
                        gathered[i] += weight * before[i]
                else:
                    beyond = source[from_x + whole + 1 : from_x + whole + 1 + length]
                    for i in range(length):
                        gathered[i] += here * before[i] + after * beyond[i]
            line = out[j, start:end]
            line[:] = np.float32(0.0)
            for k in range(count_x):
                weight, shifted = weights_x[k], gathered[k : k + end - start]
                for i in range(end - start):
                    line[i] += weight * shifted[i]

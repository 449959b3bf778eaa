"""How near the next different label is, exact up to a depth and not computed beyond it."""

from __future__ import annotations

import math
from typing import Any

import numba
import numpy as np
import numpy.typing as npt

Labels = npt.NDArray[Any]
Squares = npt.NDArray[np.float32]
_FAR = np.float32(np.inf)


@numba.njit(cache=True, nogil=True)
def _along_rows(labels: Labels, size: float, farthest: float, out: Squares, even: npt.NDArray[np.bool_]) -> None:
    """Squared distance along x to the next other label; `even` tells the rows of one label alone."""
    depth, height, width = labels.shape
    for z in range(depth):
        for y in range(height):
            out[z, y, :] = _FAR
            begin = 0
            while begin < width:
                end = begin + 1
                while end < width and labels[z, y, end] == labels[z, y, begin]:
                    end += 1
                reach = min(int(farthest / size), end - begin)
                for step in range(reach, 0, -1):
                    square = np.float32((step * size) * (step * size))
                    if begin > 0:
                        out[z, y, begin + step - 1] = min(square, out[z, y, begin + step - 1])
                    if end < width:
                        out[z, y, end - step] = min(square, out[z, y, end - step])
                even[z, y] = begin == 0 and end == width
                begin = end


@numba.njit(cache=True, nogil=True)
def _nearer(here: Labels, there: Labels, beyond: Squares, square: np.float32, out: Squares) -> None:
    """Take what is nearer through a neighbouring row, whose own distances are `beyond`."""
    for x in range(out.shape[0]):
        found = square + (np.float32(0.0) if there[x] != here[x] else beyond[x])
        out[x] = found if found < out[x] else out[x]


@numba.njit(cache=True, nogil=True)
def _across_rows(
    labels: Labels,
    before: Squares,
    even: npt.NDArray[np.bool_],
    size: float,
    farthest: float,
    along_z: bool,
    out: Squares,
    even_after: npt.NDArray[np.bool_],
) -> None:
    """The squared distances once the rows up to `farthest` above and below (along y or z) are looked at too."""
    depth, height, _ = labels.shape
    reach = int(farthest / size)
    for z in range(depth):
        for y in range(height):
            out[z, y] = before[z, y]
            even_after[z, y] = even[z, y]
            for step in range(-reach, reach + 1):
                other_z, other_y = (z + step, y) if along_z else (z, y + step)
                if step == 0 or not (0 <= other_z < depth and 0 <= other_y < height):
                    continue
                # Between rows of one and the same label there is nothing to be found.
                if even[z, y] and even[other_z, other_y] and labels[z, y, 0] == labels[other_z, other_y, 0]:
                    continue
                even_after[z, y] = False
                square = np.float32((step * size) * (step * size))
                _nearer(labels[z, y], labels[other_z, other_y], before[other_z, other_y], square, out[z, y])


def near_distance_nm(
    labels: Labels, size_nm: tuple[float, float, float], farthest_nm: float, in_plane: bool = False
) -> Squares:
    """Distance in nm, (z, y, x), between each voxel's centre and that of the nearest voxel with another label.

    Infinite where there is none within farthest_nm; the faces of the block are no other label. `in_plane` looks
    within each slice alone. Separable as in Felzenszwalb and Huttenlocher (2012), with the lower envelope replaced by
    the few rows within reach.
    """
    labels = np.ascontiguousarray(labels)
    if labels.dtype == np.bool_:
        labels = labels.view(np.uint8)
    size_z, size_y, size_x = (float(size) for size in size_nm)
    first, second = np.empty(labels.shape, np.float32), np.empty(labels.shape, np.float32)
    even, even_after = np.empty(labels.shape[:2], np.bool_), np.empty(labels.shape[:2], np.bool_)
    # A hair more, so that what lies exactly there is found.
    farthest = farthest_nm * (1 + 1e-6)
    _along_rows(labels, size_x, farthest, first, even)
    _across_rows(labels, first, even, size_y, farthest, False, second, even_after)
    if not in_plane:
        _across_rows(labels, second, even_after, size_z, farthest, True, first, even)
    found = second if in_plane else first
    found[found > np.float32(math.pow(farthest, 2))] = np.inf
    return np.sqrt(found, out=found)

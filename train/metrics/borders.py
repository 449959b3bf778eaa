"""Where labels meet: leaving out what lies near a border, and making borders infinitely thin."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage


def away_from_borders(truth: NDArray, distance_nm: float, voxel_size_nm: tuple[float, float, float]) -> NDArray:
    """The truth (z, y, x) with 0 (ignored) where a border lies within `distance_nm` in the same section.

    CREMI's border mask: a voxel is a border if one of its four neighbours in the section has another label. CREMI
    counts the distance in voxels; here it is in nm, which is the same where voxels are square.
    """
    out = truth.copy()
    for section in out:
        same = _like_neighbours(section)
        if not same.all():
            section[ndimage.distance_transform_edt(same, sampling=voxel_size_nm[1:]) <= distance_nm] = 0
    return out


def without_borders(labels: NDArray) -> NDArray:
    """Labels (z, y, x) or (y, x) with each 0 replaced by the nearest label in its section."""
    out = labels[None].copy() if labels.ndim == 2 else labels.copy()
    for section in out:
        if section.any() and not section.all():
            nearest = ndimage.distance_transform_edt(section == 0, return_distances=False, return_indices=True)
            section[...] = section[tuple(nearest)]
    return out.reshape(labels.shape)


def _like_neighbours(section: NDArray) -> NDArray[np.bool_]:
    """Whether a voxel of the section (y, x) has the label of its four neighbours; there are none beyond the edge."""
    same = np.ones(section.shape, bool)
    down, right = section[1:] == section[:-1], section[:, 1:] == section[:, :-1]
    same[1:] &= down
    same[:-1] &= down
    same[:, 1:] &= right
    same[:, :-1] &= right
    return same

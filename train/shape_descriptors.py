"""Local shape descriptors: what the piece of a cell around a voxel looks like (Sheridan et al. 2023, Nat Methods)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import find_objects, gaussian_filter

Triple = tuple[float, float, float]
# The Gaussian window ends here, in widths; as in the authors' code.
TRUNCATE = 3.0
# Variances in nm² are not taken to be smaller than this, as in the authors' code.
SMALLEST_VARIANCE = 1e-3


def shape_descriptors(
    instances: NDArray, sigma_nm: float, voxel_size_nm: Triple, planar: bool = False
) -> NDArray[np.float32]:
    """Descriptors (10, z, y, x) from 0 to 1 of the ids (z, y, x), 0 outside of cells; if planar, 6 of each section.

    Within a Gaussian window: offset of the cell's centre of mass from the voxel (per axis, ½ where there is none),
    variances of its coordinates, their correlations (½ where there is none), and its share of the window. The window
    ends at the array's edges. Agrees with `lsd.train.local_shape_descriptor` in its Gaussian mode.
    """
    if planar:
        sections = [_of_box(section, sigma_nm, voxel_size_nm[1:]) for section in instances]
        return np.stack(sections, axis=1)
    return _of_box(instances, sigma_nm, voxel_size_nm)


def _of_box(instances: NDArray, sigma_nm: float, size_nm: tuple[float, ...]) -> NDArray[np.float32]:
    dims = instances.ndim
    out = np.zeros((1 + 2 * dims + dims * (dims - 1) // 2, *instances.shape), np.float32)
    ids, dense = np.unique(instances, return_inverse=True)
    numbers = dense.reshape(instances.shape) + (1 if ids[0] != 0 else 0)
    for number, box in enumerate(find_objects(numbers), 1):
        if box is not None:
            mask = numbers[box] == number
            out[(slice(None), *box)][:, mask] = _of_cell(mask, sigma_nm, size_nm)[:, mask]
    return np.clip(out, 0, 1)


def _of_cell(mask: NDArray[np.bool_], sigma_nm: float, size_nm: tuple[float, ...]) -> NDArray[np.float64]:
    """Descriptors everywhere in a cell's box. Outside the box the cell has no mass, so the box suffices."""
    sigma = [sigma_nm / size for size in size_nm]

    def mean_of(values: NDArray) -> NDArray[np.float64]:
        return gaussian_filter(values * mask, sigma, mode="constant", truncate=TRUNCATE)

    share = mean_of(np.ones(mask.shape))
    mass = np.where(share > 0, share, 1)
    shape = (-1, *(1,) * (mask.ndim - 1))
    axes = [
        np.moveaxis((np.arange(n) * size).reshape(shape), 0, k)
        for k, (n, size) in enumerate(zip(mask.shape, size_nm, strict=True))
    ]
    places = [np.broadcast_to(axis, mask.shape) for axis in axes]
    means = [mean_of(place) / mass for place in places]
    variances = [
        np.maximum(mean_of(place**2) / mass - mean**2, SMALLEST_VARIANCE)
        for place, mean in zip(places, means, strict=True)
    ]
    correlations = [
        (mean_of(places[a] * places[b]) / mass - means[a] * means[b]) / np.sqrt(variances[a] * variances[b])
        for a in range(mask.ndim)
        for b in range(a + 1, mask.ndim)
    ]
    offsets = [(mean - place) / sigma_nm * 0.5 + 0.5 for mean, place in zip(means, places, strict=True)]
    return np.stack([*offsets, *(v / sigma_nm**2 for v in variances), *(c * 0.5 + 0.5 for c in correlations), share])

"""Where the electrons of one pixel come from: separable blur kernels in the plane and down the depth."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

FWHM_PER_SIGMA = 2.0 * math.sqrt(2.0 * math.log(2.0))


def gaussian_kernel(fwhm_nm: float, voxel_nm: float) -> npt.NDArray[np.float32]:
    """Gaussian integrated over voxels, shape (2r + 1,), sum 1, cut at 3.5 standard deviations."""
    sigma = fwhm_nm / FWHM_PER_SIGMA / voxel_nm
    radius = math.ceil(3.5 * sigma)
    if radius == 0:
        return np.ones(1, np.float32)
    edges = (np.arange(2 * radius + 2) - radius - 0.5) / (sigma * math.sqrt(2.0))
    below = np.array([math.erf(edge) for edge in edges])
    weights = np.diff(below)
    return np.asarray(weights / weights.sum(), dtype=np.float32)


def depth_kernel(depth_nm: float, voxel_nm: float) -> tuple[npt.NDArray[np.float32], int]:
    """Exponential escape probability over slices, and the offset of the first of them from the slice imaged.

    A slice is registered to the mean depth of its electrons, so its surface lies `depth_nm` above the centre
    of its voxels and the kernel has no mean shift: what a slice shows is what its labels say. Cut where 1 %
    of the signal is left.
    """
    if depth_nm <= 1e-3 * voxel_nm:
        return np.ones(1, np.float32), 0
    first = math.floor(0.5 - depth_nm / voxel_nm)
    last = math.ceil(depth_nm * (math.log(100.0) - 1.0) / voxel_nm - 0.5)
    edges_nm = (np.arange(first, last + 2) - 0.5) * voxel_nm + depth_nm
    left = np.exp(-np.maximum(edges_nm, 0.0) / depth_nm)
    weights = left[:-1] - left[1:]
    return np.asarray(weights / weights.sum(), dtype=np.float32), first

"""Blur kernels: mass, width and place."""

from __future__ import annotations

import math

import numpy as np
import pytest

from neuropil.simulate.point_spread import depth_kernel, gaussian_kernel


@pytest.mark.parametrize(("fwhm_nm", "voxel_nm"), [(16.0, 5.0), (40.0, 5.0), (16.0, 2.0)])
def test_gaussian_has_its_width(fwhm_nm: float, voxel_nm: float) -> None:
    kernel = gaussian_kernel(fwhm_nm, voxel_nm).astype(np.float64)
    place = (np.arange(kernel.size) - kernel.size // 2) * voxel_nm
    sigma = fwhm_nm / (2 * math.sqrt(2 * math.log(2)))
    assert kernel.sum() == pytest.approx(1.0, abs=1e-6)
    # Integration over the voxel adds a twelfth of its square to the variance.
    assert (kernel * place**2).sum() == pytest.approx(sigma**2 + voxel_nm**2 / 12, rel=0.02)


def test_no_blur_is_one_tap() -> None:
    assert gaussian_kernel(0.0, 5.0).tolist() == [1.0]
    assert depth_kernel(0.0, 5.0)[0].tolist() == [1.0]


@pytest.mark.parametrize("depth_nm", [3.0, 8.0, 25.0])
def test_depth_kernel_has_its_mean_at_the_slice(depth_nm: float) -> None:
    kernel, first = depth_kernel(depth_nm, 5.0)
    place = (np.arange(kernel.size) + first) * 5.0
    assert kernel.sum() == pytest.approx(1.0, abs=1e-6)
    assert (kernel * place).sum() == pytest.approx(0.0, abs=0.12 * depth_nm + 0.3)
    assert (kernel >= 0).all()
    # An exponential has a standard deviation equal to its mean, here cut at 1 %.
    spread = math.sqrt(float((kernel * place**2).sum()))
    assert spread == pytest.approx(math.hypot(depth_nm, 5.0 / math.sqrt(12)), rel=0.2)

"""Where the light of a fluorescent point goes: Gaussian, scalar and vectorial point spreads of light microscopes.

Wavelengths are nm in vacuum, widths full widths at half maximum in nm. A point spread is (z, y, x), odd along each
axis, its middle plane in focus and of sum 1; the sums of the others tell how much of a point out of focus is recorded.
"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy.ndimage import uniform_filter
from scipy.signal import fftconvolve

Spread = npt.NDArray[np.float64]
Kind = Literal["gaussian", "gibson_lanni", "vectorial"]


def _cone(numerical_aperture: float, index: float) -> float:
    """n − √(n² − NA²), which the axial widths go by."""
    return index - math.sqrt(index**2 - numerical_aperture**2)


def widefield_fwhm_nm(wavelength_nm: float, numerical_aperture: float, index: float) -> tuple[float, float]:
    """Lateral 0.51 λ/NA and axial 0.88 λ/(n − √(n² − NA²)) width of a focused spot (Wilhelm et al., Zeiss 2003)."""
    lateral = 0.51 * wavelength_nm / numerical_aperture
    return lateral, 0.88 * wavelength_nm / _cone(numerical_aperture, index)


def airy_radius_nm(wavelength_nm: float, numerical_aperture: float) -> float:
    """Radius 0.61 λ/NA of the first dark ring."""
    return 0.61 * wavelength_nm / numerical_aperture


def two_photon_fwhm_nm(wavelength_nm: float, numerical_aperture: float, index: float) -> tuple[float, float]:
    """Lateral and axial width of two-photon excitation (Zipfel, Williams and Webb 2003), the squared focus of λ.

    1/e radii 0.320 λ/(√2 NA), above NA 0.7 0.325 λ/(√2 NA^0.91), and axially 0.532 λ/(√2 (n − √(n² − NA²))).
    """
    if numerical_aperture <= 0.7:
        lateral = 0.320 * wavelength_nm / (math.sqrt(2.0) * numerical_aperture)
    else:
        lateral = 0.325 * wavelength_nm / (math.sqrt(2.0) * numerical_aperture**0.91)
    axial = 0.532 * wavelength_nm / (math.sqrt(2.0) * _cone(numerical_aperture, index))
    to_fwhm = 2.0 * math.sqrt(math.log(2.0))
    return to_fwhm * lateral, to_fwhm * axial


def confocal_fwhm_nm(
    excitation_nm: float, emission_nm: float, numerical_aperture: float, index: float, pinhole_airy: float
) -> tuple[float, float]:
    """Lateral and axial width of a confocal spot: the product of the Gaussians of excitation and of detection.

    The pinhole, `pinhole_airy` Airy discs in diameter, adds its diameter to the width of detection, as widths add in
    a convolution, and in the same ratio axially. A closed pinhole leaves 0.36 λ/NA and an open one 0.51 λ/NA, as
    Wilhelm et al. (Zeiss 2003) say; the numerical point spreads of one Airy disc are met to 10 %.
    """
    widths = []
    diameter = 2.0 * pinhole_airy * airy_radius_nm(emission_nm, numerical_aperture)
    of_emission = widefield_fwhm_nm(emission_nm, numerical_aperture, index)
    wider = math.hypot(of_emission[0], diameter) / of_emission[0]
    excited = widefield_fwhm_nm(excitation_nm, numerical_aperture, index)
    for excitation, emission in zip(excited, of_emission, strict=True):
        widths.append((excitation**-2 + (wider * emission) ** -2) ** -0.5)
    return widths[0], widths[1]


def gaussian_spread(fwhm_nm: tuple[float, float], voxel_nm: tuple[float, float], radius: tuple[int, int]) -> Spread:
    """A Gaussian of lateral and axial width, in voxels of (z, xy) nm, reaching `radius` voxels (z, xy)."""
    (z, r), (step_z, step_r) = radius, voxel_nm
    axial = np.exp(-4.0 * math.log(2.0) * (step_z * np.arange(-z, z + 1) / fwhm_nm[1]) ** 2)
    lateral = np.exp(-4.0 * math.log(2.0) * (step_r * np.arange(-r, r + 1) / fwhm_nm[0]) ** 2)
    return in_focus_to_one(axial[:, None, None] * lateral[None, :, None] * lateral)


def optical_spread(
    kind: Literal["gibson_lanni", "vectorial"],
    wavelength_nm: float,
    numerical_aperture: float,
    immersion_index: float,
    sample_index: float,
    depth_um: float,
    voxel_nm: tuple[float, float],
    radius: tuple[int, int],
) -> Spread:
    """Intensity about a focus `depth_um` below the coverslip: Gibson and Lanni (1992), or vectorial (Aguet 2009).

    Computed by the package psfmodels. A sample index that is not the immersion's brings spherical aberration. Raises
    ValueError where that package is not installed.
    """
    try:
        # Python 3.12 and later have no wheel of it, so it may be missing.
        import psfmodels
    except ImportError as error:
        raise ValueError(
            f"psf is {kind}, for which the package psfmodels is missing; install neuropil[optics] with a C++ compiler "
            "at hand, or set psf to gaussian"
        ) from error
    (z, r), (step_z, step_r) = radius, voxel_nm
    spread = psfmodels.make_psf(
        2 * z + 1,
        2 * r + 1,
        dxy=1e-3 * step_r,
        dz=1e-3 * step_z,
        pz=depth_um,
        NA=numerical_aperture,
        wvl=1e-3 * wavelength_nm,
        ns=sample_index,
        ni=immersion_index,
        ni0=immersion_index,
        model="scalar" if kind == "gibson_lanni" else "vectorial",
    )
    return in_focus_to_one(np.asarray(spread))


def through_pinhole(excitation: Spread, emission: Spread, pinhole_radius_nm: float, voxel_nm: float) -> Spread:
    """A confocal point spread: where light excites, times the share of its emission that passes the pinhole."""
    reach = emission.shape[1] // 2
    places = voxel_nm * np.arange(-reach, reach + 1)
    # A disc whose rim is as soft as a voxel, so that one narrower than a voxel is still a disc.
    inside = np.clip((pinhole_radius_nm - np.hypot(places[:, None], places)) / voxel_nm + 0.5, 0.0, 1.0)
    detected = fftconvolve(emission, inside[None], mode="same", axes=(1, 2))
    return in_focus_to_one(excitation * np.maximum(detected, 0.0))


def on_larger_voxels(spread: Spread, parts: tuple[int, int]) -> Spread:
    """The same spread in voxels `parts` (z, xy; odd) times as large: of a source that fills its voxel evenly.

    Along z the image plane lies in the middle of its voxel; in the plane light is summed over the voxel it falls in.
    """
    z, r = parts
    radii = [n // 2 for n in spread.shape]
    # A coarse voxel k covers k parts and half of one; a source's own width adds half a part in the plane.
    reach = [math.ceil((radii[0] - z // 2) / z), math.ceil(radii[1] / r), math.ceil(radii[2] / r)]
    around = [count * part + part // 2 - radius for count, part, radius in zip(reach, (z, r, r), radii, strict=True)]
    padded = np.pad(spread, [(n, n) for n in around])
    filled = uniform_filter(padded, (1, r, r), mode="constant")
    counts = [2 * n + 1 for n in reach]
    return np.asarray(filled.reshape(counts[0], z, counts[1], r, counts[2], r).sum(axis=(3, 5)).mean(axis=1))


def in_focus_to_one(spread: Spread) -> Spread:
    """The same spread with its middle plane's sum brought to 1."""
    return spread / spread[spread.shape[0] // 2].sum()


def measured_fwhm(profile: npt.NDArray[np.float64]) -> float:
    """Full width at half maximum of a sampled peak, in samples, interpolated; inf where it leaves the frame."""
    half = 0.5 * profile.max()
    above = np.flatnonzero(profile >= half)
    low, high = above[0], above[-1]
    if low == 0 or high == profile.size - 1:
        return math.inf
    left = low - (profile[low] - half) / (profile[low] - profile[low - 1])
    right = high + (profile[high] - half) / (profile[high] - profile[high + 1])
    return float(right - left)

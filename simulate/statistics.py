"""Image statistics to compare micrographs by: moments, texture, noise, correlation, spectrum, blur.

Definitions are those of reference/metrics.md 2c and 6, so the numbers can stand beside the published ones.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.fft
from scipy import ndimage
from skimage.feature import graycomatrix, graycoprops

from .annotator import CLASS_NAMES

Image = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float64]

LAGS = tuple(range(1, 9))

_IMMERKAER_MASK = np.array([[1.0, -2.0, 1.0], [-2.0, 4.0, -2.0], [1.0, -2.0, 1.0]])


@dataclass(frozen=True)
class Texture:
    """Properties of the grey-level co-occurrence matrix (256 levels, distance 1), averaged over 4 angles."""

    contrast: float
    homogeneity: float
    energy: float
    correlation: float
    entropy: float


@dataclass(frozen=True)
class ClassGrey:
    """Grey mean and standard deviation in a class's mask, and the mask's share of the area."""

    mean: float
    sd: float
    share: float


def _checked_image(image: npt.NDArray[Any]) -> None:
    if image.ndim != 2:
        raise ValueError(f"an image of 2 dimensions is needed, this one has shape {image.shape}")
    if image.dtype != np.uint8:
        raise ValueError(f"grey levels must be uint8, these are {image.dtype}")


def immerkaer_sigma(image: npt.NDArray[Any]) -> float:
    """Noise standard deviation by Immerkær's (1996) Laplacian difference, image (y, x) of at least 3 × 3."""
    if image.ndim != 2 or min(image.shape) < 3:
        raise ValueError(f"Immerkær's noise needs an image of at least 3 × 3, this one has shape {image.shape}")
    response = ndimage.convolve(image.astype(np.float64), _IMMERKAER_MASK)[1:-1, 1:-1]
    return float(math.sqrt(math.pi / 2.0) * np.abs(response).mean() / 6.0)


def autocorrelation(image: npt.NDArray[Any], axis: int, lags: Sequence[int] = LAGS) -> tuple[float, ...]:
    """Correlation coefficient of an image with itself shifted by each lag along an axis; nan if it is flat."""
    values = np.moveaxis(image.astype(np.float64), axis, -1)
    if max(lags) >= values.shape[-1]:
        raise ValueError(f"a lag of {max(lags)} does not fit an image of {values.shape[-1]} pixels")
    return tuple(correlation(values[..., :-lag], values[..., lag:]) for lag in lags)


def correlation(first: Floats, second: Floats) -> float:
    """Correlation coefficient of two arrays of one shape; nan if either is flat."""
    a, b = first - first.mean(), second - second.mean()
    scale = math.sqrt(float((a * a).sum()) * float((b * b).sum()))
    return float((a * b).sum() / scale) if scale > 0.0 else math.nan


def texture(image: Image) -> Texture:
    """Texture of a uint8 image (y, x) from its co-occurrence matrix; entropy in bits."""
    _checked_image(image)
    angles = (0.0, math.pi / 4, math.pi / 2, 3 * math.pi / 4)
    matrix = graycomatrix(image, (1,), angles, levels=256, symmetric=True, normed=True)
    properties = [float(graycoprops(matrix, p).mean()) for p in ("contrast", "homogeneity", "energy", "correlation")]
    filled = np.where(matrix > 0.0, matrix, 1.0)
    entropy = float(-(matrix * np.log2(filled)).sum(axis=(0, 1)).mean())
    contrast, homogeneity, energy, correlation = properties
    return Texture(contrast, homogeneity, energy, correlation, entropy)


def radial_power_spectrum(image: npt.NDArray[Any], bins: int = 32) -> tuple[Floats, Floats]:
    """Frequencies (bins,) in cycles per pixel up to 0.5 and the mean power (bins,) of an image (y, x).

    The mean is taken off and a Hann window laid on; white noise of variance v has power v at every frequency.
    """
    height, width = image.shape
    window = np.hanning(height)[:, None] * np.hanning(width)[None, :]
    window /= math.sqrt(float((window**2).mean()))
    spectrum = np.fft.rfft2((image - image.mean()) * window)
    power = np.abs(spectrum) ** 2 / (height * width)
    radius = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None, :])
    edges = np.linspace(0.0, 0.5, bins + 1)
    which = np.digitize(radius.ravel(), edges) - 1
    inside = which < bins
    total = np.bincount(which[inside], power.ravel()[inside], minlength=bins)
    count = np.bincount(which[inside], minlength=bins)
    return 0.5 * (edges[1:] + edges[:-1]), total / np.maximum(count, 1)


def line_spectrum(image: npt.NDArray[Any], axis: int, bands: Sequence[float]) -> Floats:
    """Mean power (len(bands) - 1,) between the frequencies `bands` (cycles per pixel) of lines along an axis.

    A Hann window is laid on each line, its mean taken off; white noise of variance v has power v. nan in a band that
    holds no frequency of lines so short.
    """
    lines = np.moveaxis(image, axis, -1).astype(np.float32)
    length = lines.shape[-1]
    window = np.hanning(length).astype(np.float32)
    window /= np.sqrt((window**2).mean())
    power = np.abs(scipy.fft.rfft((lines - lines.mean(axis=-1, keepdims=True)) * window)) ** 2 / length
    mean = power.reshape(-1, power.shape[-1]).mean(axis=0)
    frequency = np.fft.rfftfreq(length)
    inside = [(frequency >= low) & (frequency < high) for low, high in pairwise(bands)]
    return np.array([mean[band].mean() if band.any() else np.nan for band in inside])


def noise_by_grey(images: Image, parts: int = 3) -> Floats:
    """Noise variance (grey²) in the darkest … brightest part of the pixels of slices (n, y, x), shape (parts,).

    Noise is told by fourth differences along both axes, which see next to nothing of structure that a spot of 2 px
    or more has blurred. Pixels are sorted by their smoothed grey, so as not to sort them by their noise.
    """
    residual, local = noise_residual(images)
    edges = np.quantile(local, np.linspace(0.0, 1.0, parts + 1))
    which = np.clip(np.searchsorted(edges, local.ravel(), side="right") - 1, 0, parts - 1)
    total, count = (np.bincount(which, weights, minlength=parts) for weights in (residual.ravel(), None))
    return np.asarray(total / np.maximum(count, 1))


def noise_residual(images: Image) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Squared fourth differences, scaled to the variance of white noise, and smoothed grey; both (n, y, x)."""
    planes = images.astype(np.float32)
    fourth = np.array([1.0, -4.0, 6.0, -4.0, 1.0], np.float32) / np.sqrt(np.float32(70.0))
    rest = ndimage.convolve1d(ndimage.convolve1d(planes, fourth, axis=1), fourth, axis=2)
    return rest**2, ndimage.gaussian_filter(planes, (0, 3, 3), truncate=2.5)


def gaussian_spot_px(runs: Sequence[Image]) -> tuple[float, float]:
    """Full widths at half maximum (y, x), in px, of the Gaussian blur in runs of neighbouring slices (n, y, x).

    Sharp interfaces scatter as k⁻³ in a plane (Porod's law), so ln(k³ S) falls as -(2πσk)². S is the
    cross-spectrum of neighbours, which holds no shot noise, in a sector of ±14° about each axis, between 0.12
    and 0.22 cycles per pixel. Raises ValueError without neighbours or where nothing is left at those scales.
    """
    pairs = [(run[i], run[i + 1]) for run in runs for i in range(len(run) - 1)]
    if not pairs:
        raise ValueError("the blur is measured between neighbouring slices, and there are none")
    height, width = pairs[0][0].shape
    window = np.hanning(height)[:, None] * np.hanning(width)[None, :]
    cross = np.zeros((height, width // 2 + 1))
    for first, second in pairs:
        one, two = (np.fft.rfft2((plane - plane.mean()) * window) for plane in (first, second))
        cross += (one * two.conj()).real
    ky, kx = np.abs(np.fft.fftfreq(height))[:, None], np.fft.rfftfreq(width)[None, :]
    radius = np.hypot(ky, kx)
    widths = []
    for along, across in ((ky, kx), (kx, ky)):
        sector = across < 0.25 * along
        edges = np.linspace(0.12, 0.22, 6).tolist()
        rings = [sector & (radius >= low) & (radius < high) for low, high in pairwise(edges)]
        k = np.array([radius[ring].mean() for ring in rings])
        power = np.array([cross[ring].mean() for ring in rings])
        left = power > 0.0
        if left.sum() < 3:
            raise ValueError("nothing is left of the slices' structure at 5 to 8 px, so their blur cannot be measured")
        slope = np.polyfit(k[left] ** 2, np.log(k[left] ** 3 * power[left]), 1)[0]
        widths.append(2.0 * math.sqrt(2.0 * math.log(2.0)) * math.sqrt(max(-slope, 0.0)) / (2.0 * math.pi))
    return widths[0], widths[1]


def class_greys(images: npt.NDArray[Any], annotation: Image) -> dict[str, ClassGrey]:
    """Grey per class of a bit field of the images' shape, and of "background", where no bit is set.

    A class with no voxel is left out.
    """
    if images.shape != annotation.shape:
        raise ValueError(f"labels have shape {annotation.shape}, images {images.shape}; they must agree")
    masks = {name: (annotation >> bit) & 1 > 0 for bit, name in enumerate(CLASS_NAMES)}
    masks["background"] = annotation == 0
    return {
        name: ClassGrey(float(images[mask].mean()), float(images[mask].std()), float(mask.mean()))
        for name, mask in masks.items()
        if mask.any()
    }

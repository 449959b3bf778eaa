"""What an annotated stack looks like, in the few numbers that a calibration compares."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import reduce
from typing import Any

import edt
import numpy as np
import numpy.typing as npt
from scipy import ndimage
from skimage.measure import label, regionprops
from skimage.morphology import skeletonize

from .statistics import gaussian_spot_px

Image = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]

PLANE_LAGS = (1, 2, 3, 4, 6, 8)
SLICE_LAGS = (1, 2, 3)

# Cytoplasm counts as deep this many pixels inside what nobody annotated; texture is what is left of it once
# a Gaussian of TEXTURE_SCALE_PX is taken off.
DEEP_PX = 10
TEXTURE_SCALE_PX = 8


@dataclass(frozen=True)
class Appearance:
    """Numbers of one or more annotated runs of slices; None where the runs have nothing of the kind.

    Greys: means of the mitochondrion without its boundary, of the boundary, membrane, PSD, vesicle and myelin,
    and the median of deep cytoplasm; cytoplasm_spread is the robust standard
    deviation of its mean from profile to profile.
    Spot: full widths at half maximum of the Gaussian blur by Porod's law, biased alike in real and simulated.
    Texture: autocovariance (grey²) of deep cytoplasm along x, y and over slices. Widths in px: median drawn
    width of membrane and boundary, median diameter of a vesicle, median minor axis of a PSD, and how deep below a
    mitochondrion's drawn outline it is darkest.
    """

    mitochondrion: float | None
    mitochondrial_boundary: float | None
    membrane: float | None
    psd: float | None
    vesicle: float | None
    myelin_sheath: float | None
    cytoplasm: float | None
    cytoplasm_spread: float | None
    brightest: float
    spot_y_px: float | None
    spot_x_px: float | None
    texture_x: tuple[float, ...] | None
    texture_y: tuple[float, ...] | None
    texture_z: tuple[float, ...] | None
    membrane_width_px: float | None
    boundary_width_px: float | None
    vesicle_diameter_px: float | None
    psd_width_px: float | None
    mitochondrial_edge_px: float | None

    def as_dict(self) -> dict[str, Any]:
        """Plain mapping for YAML and JSON."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}


def depth_px(mask: Mask) -> npt.NDArray[np.float32]:
    """Distance in px to the mask's edge within each slice of (n, y, x); the image's frame is no edge."""
    return np.stack([edt.edt(np.ascontiguousarray(m).view(np.uint8), black_border=False) for m in mask])


def drawn_widths_px(mask: Mask) -> Floats:
    """Width of what is drawn at each pixel of its midline (twice the distance to the edge), mask (y, x)."""
    ridge = skeletonize(mask)
    return np.asarray(2.0 * ndimage.distance_transform_edt(mask)[ridge])


def darkest_depth_px(parts: Sequence[tuple[Image, Mask]]) -> float | None:
    """Depth below the masks' outline at which the mean grey is least, to a fraction of a pixel; None if unclear."""
    grey = np.concatenate([images[mask] for images, mask in parts])
    depth = np.concatenate([depth_px(mask)[mask] for _, mask in parts])
    centres = np.arange(1.0, 12.0)
    means = []
    for centre in centres:
        here = np.abs(depth - centre) <= 0.5
        if here.sum() < 100:
            return None
        means.append(float(grey[here].mean()))
    least = int(np.argmin(means))
    if not 0 < least < len(means) - 1:
        return None
    before, at, after = means[least - 1 : least + 2]
    return float(centres[least] + 0.5 * (before - after) / (before - 2.0 * at + after))


def _blob_sizes(mask: Mask) -> tuple[list[float], list[float]]:
    regions = [region for region in regionprops(label(mask)) if region.area >= 12]
    return [r.equivalent_diameter_area for r in regions], [r.axis_minor_length for r in regions]


def profile_greys(image: npt.NDArray[Any], inside: Mask) -> Floats:
    """Mean grey of each connected piece of `inside` (y, x) of at least 150 px, the profiles of cells."""
    pieces = label(inside, connectivity=1)
    area = np.bincount(pieces.ravel())
    total = np.bincount(pieces.ravel(), image.ravel())
    large = area >= 150
    large[0] = False
    return np.asarray(total[large] / area[large])


@dataclass(frozen=True)
class TextureSums:
    """Sums (lags,) of products of high-passed grey over pairs of deep pixels, and the pairs' number, per axis."""

    sums: dict[str, Floats]
    counts: dict[str, Floats]

    def __add__(self, other: TextureSums) -> TextureSums:
        return TextureSums(
            {axis: self.sums[axis] + other.sums[axis] for axis in "xyz"},
            {axis: self.counts[axis] + other.counts[axis] for axis in "xyz"},
        )

    def autocovariance(self, axis: str) -> Floats:
        """Mean product at each lag, shape (lags,); 0 where there was no pair."""
        return np.asarray(self.sums[axis] / np.maximum(self.counts[axis], 1.0))


def texture_sums(images: Image, deep: Mask) -> TextureSums:
    """Texture of the pixels `deep` in a run of neighbouring slices, both (n, y, x)."""
    # Smoothed inside the mask alone: a membrane beyond its edge would leak in otherwise.
    sigma = (0, TEXTURE_SCALE_PX, TEXTURE_SCALE_PX)
    weight = ndimage.gaussian_filter(deep.astype(np.float32), sigma, truncate=3.0)
    smooth = ndimage.gaussian_filter(np.where(deep, images, 0).astype(np.float32), sigma, truncate=3.0)
    rest = np.where(deep, images - smooth / np.maximum(weight, 1e-6), 0).astype(np.float32)
    sums, counts = {}, {}
    for axis, name, lags in ((2, "x", PLANE_LAGS), (1, "y", PLANE_LAGS), (0, "z", SLICE_LAGS)):
        moved, where = np.moveaxis(rest, axis, 0), np.moveaxis(deep, axis, 0)
        sums[name] = np.array([float((moved[:-lag] * moved[lag:]).sum(dtype=np.float64)) for lag in lags])
        counts[name] = np.array([float((where[:-lag] & where[lag:]).sum()) for lag in lags])
    return TextureSums(sums, counts)


def measure_appearance(runs: Sequence[tuple[Image, Image]]) -> Appearance:
    """Appearance of runs of neighbouring slices: pairs of images and bit fields, uint8 (n, y, x).

    Raises ValueError when a pair's shapes differ or there is no run.
    """
    if not runs:
        raise ValueError("there are no slices to measure")
    for images, field in runs:
        if images.shape != field.shape or images.ndim != 3:
            raise ValueError(f"images have shape {images.shape}, labels {field.shape}; both must be n, y, x")
        if images.dtype != np.uint8:
            raise ValueError(f"grey levels must be uint8, these are {images.dtype}")

    greys = np.concatenate([images.ravel() for images, _ in runs])
    bits = np.concatenate([field.ravel() for _, field in runs])

    def mean_where(mask: Mask) -> float | None:
        return float(greys[mask].mean()) if mask.sum() >= 50 else None

    unlabelled_depth = [depth_px(field == 0) for _, field in runs]
    deep = [(images, depth > DEEP_PX) for (images, _), depth in zip(runs, unlabelled_depth, strict=True)]
    below_edge = np.concatenate([images[depth > 5] for (images, _), depth in zip(runs, unlabelled_depth, strict=True)])
    smooth = [ndimage.gaussian_filter(images.astype(np.float32), (0, 4, 4)) for images, _ in runs]
    profiles = np.concatenate(
        [
            profile_greys(image, depth > DEEP_PX / 2)
            for (images, _), depths in zip(runs, unlabelled_depth, strict=True)
            for image, depth in zip(images[::4], depths[::4], strict=True)
        ]
    )
    quartiles = np.percentile(profiles, (25, 75)) if profiles.size >= 20 else None

    slices = [plane for _, field in runs for plane in field[:: max(1, len(field) // 5)]]

    def median_width(bit: int) -> float | None:
        widths = np.concatenate([drawn_widths_px((plane >> bit) & 1 > 0) for plane in slices])
        return float(np.median(widths)) if widths.size >= 50 else None

    def median_blob(bit: int, which: int) -> float | None:
        sizes = [size for plane in slices for size in _blob_sizes((plane >> bit) & 1 > 0)[which]]
        return float(np.median(sizes)) if len(sizes) >= 5 else None

    texture = reduce(operator.add, (texture_sums(images, inside) for images, inside in deep))

    def texture_along(axis: str) -> tuple[float, ...] | None:
        enough = (texture.counts[axis] >= 1000).all()
        return tuple(texture.autocovariance(axis).tolist()) if enough else None

    neighbours = [images for images, _ in runs if len(images) > 1]
    try:
        spot = gaussian_spot_px(neighbours)
    except ValueError:  # single slices, or too small or too blurred ones: the rest can still be measured
        spot = None

    return Appearance(
        mitochondrion=mean_where((bits & 3) == 1),
        mitochondrial_boundary=mean_where((bits & 2) > 0),
        membrane=mean_where((bits & 4) > 0),
        psd=mean_where((bits & 8) > 0),
        vesicle=mean_where((bits & 16) > 0),
        myelin_sheath=mean_where((bits & 32) > 0),
        cytoplasm=float(np.median(below_edge)) if below_edge.size >= 50 else None,
        cytoplasm_spread=float(quartiles[1] - quartiles[0]) / 1.349 if quartiles is not None else None,
        brightest=float(np.percentile(np.concatenate([s.ravel() for s in smooth]), 99.9)),
        spot_y_px=spot[0] if spot else None,
        spot_x_px=spot[1] if spot else None,
        texture_x=texture_along("x"),
        texture_y=texture_along("y"),
        texture_z=texture_along("z"),
        membrane_width_px=median_width(2),
        boundary_width_px=median_width(1),
        vesicle_diameter_px=median_blob(4, 0),
        psd_width_px=median_blob(3, 1),
        mitochondrial_edge_px=darkest_depth_px([(images[::4], (field[::4] & 1) > 0) for images, field in runs]),
    )

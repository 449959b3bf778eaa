"""What a stack of slices looks like, in the named numbers that a calibration compares.

Every number has a name ("autocorrelation x 8"), and its first word tells the group it belongs to. Numbers that a
stack is too small for, or that need labels it has not, are left out.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass

import edt
import numpy as np
import numpy.typing as npt
from skimage.measure import label, regionprops
from skimage.morphology import skeletonize

from .annotator import CLASS_NAMES
from .statistics import (
    LAGS,
    autocorrelation,
    class_greys,
    correlation,
    gaussian_spot_px,
    immerkaer_sigma,
    line_spectrum,
    noise_by_grey,
    texture,
)

Image = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]

PERCENTILES = (1, 5, 25, 50, 75, 95, 99)
SLICE_LAGS = (1, 2, 3, 4)
# Frequencies, in cycles per pixel, between which the power along an axis is averaged.
BANDS = (0.01, 0.03, 0.06, 0.1, 0.15, 0.22, 0.32, 0.501)
# Slices that a spectrum over slices takes at least.
SPECTRUM_SLICES = 16
# Cytoplasm counts as deep this many pixels inside what nobody annotated.
DEEP_PX = 5
# A class of fewer pixels than this has no grey.
LEAST_PIXELS = 200
# Classes whose greys are measured across the outline that was drawn, at depths in px, outside negative; and how far the
# outline's surroundings reach.
OUTLINED = ("mitochondrion", "membrane", "psd", "vesicle")
OUTLINE_DEPTHS = (-6, -3, 0, 2, 4, 8)
_OUTLINE_REACH = 10
# Class of the pixels where no bit is set.
BACKGROUND = "background"


@dataclass(frozen=True)
class Run:
    """Neighbouring slices, uint8 (n, y, x), and what was drawn on them: a bit field (annotator.py) or None.

    Raises ValueError where these are of another kind or shape.
    """

    images: Image
    labels: Image | None = None

    def __post_init__(self) -> None:
        if self.images.ndim != 3 or self.images.dtype != np.uint8:
            raise ValueError(f"slices must be uint8 (n, y, x), these are {self.images.dtype} {self.images.shape}")
        if self.labels is not None and self.labels.shape != self.images.shape:
            raise ValueError(f"images have the shape {self.images.shape}, labels {self.labels.shape}; they must agree")

    def thinned(self, step: int) -> Run:
        """Every step-th slice, which are neighbours no more."""
        return Run(self.images[::step], None if self.labels is None else self.labels[::step])


def drawn_bits(runs: Sequence[Run]) -> int:
    """The bits that are set anywhere in the labels: which classes somebody drew; 0 without labels."""
    fields = [run.labels for run in runs if run.labels is not None]
    return int(np.bitwise_or.reduce([np.bitwise_or.reduce(field, axis=None) for field in fields])) if fields else 0


def measure_appearance(runs: Sequence[Run], slices: int, drawings: bool = True) -> dict[str, float]:
    """The numbers of runs of slices; those within slices are means over about so many `slices`, evenly chosen.

    Shares and sizes of what is drawn, which the image does not change, are left out without `drawings`. Raises
    ValueError when there is no slice.
    """
    if not any(len(run.images) for run in runs):
        raise ValueError("there are no slices to measure")
    step = max(1, sum(len(run.images) for run in runs) // slices)
    chosen = [run.thinned(step) for run in runs]
    planes = np.concatenate([run.images for run in chosen])
    found = _within_slices(planes) | _over_slices(runs, step)
    # Sections have little in common with their neighbours, so the noise that pairs of them leave out rules the rest.
    if found.get("autocorrelation z 1", 0.0) > 0.5:
        found |= _blur(runs, step)
    if all(run.labels is not None for run in chosen):
        fields = np.concatenate([run.labels for run in chosen if run.labels is not None])
        found |= class_numbers(planes, fields) | (drawn_numbers(fields) if drawings else {})
    return {name: value for name, value in found.items() if np.isfinite(value)}


def _within_slices(planes: Image) -> dict[str, float]:
    found = {
        "grey mean": float(planes.mean()),
        "grey sd": float(np.mean([plane.std() for plane in planes])),
        "noise sigma": float(np.mean([immerkaer_sigma(plane) for plane in planes])),
    }
    histogram = np.bincount(planes.ravel(), minlength=256).cumsum()
    for percent in PERCENTILES:
        found[f"grey {percent} %"] = _percentile(histogram, percent)
    for part, variance in zip(("dark", "middle", "bright"), noise_by_grey(planes), strict=True):
        found[f"noise variance {part}"] = float(variance)
    for name, axis in (("x", 1), ("y", 0)):
        rows = np.mean([autocorrelation(plane, axis) for plane in planes], axis=0)
        found |= {f"autocorrelation {name} {lag}": float(r) for lag, r in zip(LAGS, rows, strict=True)}
        found |= _spectrum(f"spectrum {name}", line_spectrum(planes, axis + 1, BANDS))
    glcm = [asdict(texture(plane)) for plane in planes]
    return found | {f"texture {key}": float(np.mean([one[key] for one in glcm])) for key in glcm[0]}


@functools.lru_cache(maxsize=8)
def _shells(packed: bytes, shape: tuple[int, int, int]) -> tuple[Mask, npt.NDArray[np.int64]]:
    """Where a mask, given as bits, has its outline near, and there the number of the shell from the outermost on.

    Kept, since a calibration looks at one drawing under many settings of the image.
    """
    mask = np.unpackbits(np.frombuffer(packed, np.uint8), count=int(np.prod(shape))).reshape(shape).view(np.bool_)
    depth = np.where(mask, depth_px(mask) - 0.5, 0.5 - depth_px(~mask))
    near = np.abs(depth) < _OUTLINE_REACH
    # From one pixel's breadth to the next; distances of half a pixel and a half must not be rounded to even ones.
    return near, np.floor(depth[near]).astype(np.int64) + _OUTLINE_REACH


def _percentile(cumulated: npt.NDArray[np.int64], percent: float) -> float:
    """Percentile of a histogram's cumulated counts (256,), to a fraction of a grey level."""
    rank = percent / 100.0 * cumulated[-1]
    level = int(np.searchsorted(cumulated, rank))
    below = float(cumulated[level - 1]) if level else 0.0
    return level - 0.5 + (rank - below) / max(float(cumulated[level]) - below, 1.0)


def _spectrum(name: str, power: Floats) -> dict[str, float]:
    """Natural logarithms of the power by the band's lower frequency."""
    return {f"{name} {low:g}": float(np.log(max(p, 1e-6))) for low, p in zip(BANDS, power, strict=False)}


def _over_slices(runs: Sequence[Run], step: int) -> dict[str, float]:
    """Correlations and steps in grey between neighbouring slices, and the spectrum across them."""
    found = {}
    for lag in SLICE_LAGS:
        pairs = [
            correlation(first.astype(np.float32), second.astype(np.float32))
            for run in runs
            for first, second in zip(run.images[:-lag:step], run.images[lag::step], strict=False)
        ]
        if pairs:
            found[f"autocorrelation z {lag}"] = float(np.mean(pairs))
    steps = [np.diff(run.images.mean(axis=(1, 2))) for run in runs]
    jumps = np.concatenate(steps)
    if jumps.size >= 3:
        found["sections grey step"] = float(np.sqrt((jumps**2).mean()))
    long = [run.images for run in runs if len(run.images) >= SPECTRUM_SLICES]
    if long:
        power = np.mean([line_spectrum(images[:, ::4, ::4], 0, BANDS) for images in long], axis=0)
        found |= _spectrum("spectrum z", power)
    return found


def _blur(runs: Sequence[Run], step: int) -> dict[str, float]:
    """Widths of the spot by Porod's law, where neighbours hold enough structure for it."""
    pairs = [run.images[i : i + 2] for run in runs for i in range(0, len(run.images) - 1, step)]
    try:
        spot_y, spot_x = gaussian_spot_px(pairs)
    except ValueError:
        return {}
    return {"blur y": spot_y, "blur x": spot_x}


def class_numbers(images: Image, labels: Image) -> dict[str, float]:
    """Grey of each drawn class and of what is left, how it differs between profiles, where mitochondria are darkest.

    images, labels: (n, y, x), a bit field.
    """
    found = {}
    for name, grey in class_greys(images, labels).items():
        if grey.share * labels.size >= LEAST_PIXELS:
            found[f"class {name}: grey"] = grey.mean
            found[f"class {name}: sd"] = grey.sd
    depth = depth_px(labels == 0)
    deep = images[depth > DEEP_PX]
    if deep.size >= LEAST_PIXELS:
        found["class cytoplasm: grey"] = float(np.median(deep))
    profiles = np.concatenate([profile_greys(image, d > DEEP_PX) for image, d in zip(images, depth, strict=True)])
    if profiles.size >= 20:
        low, high = np.percentile(profiles, (25, 75))
        found["class cytoplasm: spread between profiles"] = float(high - low) / 1.349
    edge = darkest_depth_px(images, (labels & 1) > 0)
    if edge is not None:
        found["class mitochondrion: darkest depth"] = edge
    for name in OUTLINED:
        found |= _across_outline(name, images, (labels >> CLASS_NAMES.index(name)) & 1 > 0)
    return found


def _across_outline(name: str, images: Image, mask: Mask) -> dict[str, float]:
    """Mean greys at OUTLINE_DEPTHS of a class's drawn outline, and the depth at which it turns dark on the way in."""
    if mask.sum() < LEAST_PIXELS:
        return {}
    near, shell = _shells(np.packbits(mask).tobytes(), mask.shape)
    grey = images[near]
    count = np.bincount(shell, minlength=2 * _OUTLINE_REACH)
    mean = np.bincount(shell, grey, minlength=count.size) / np.maximum(count, 1)
    found = {
        f"outline {name}: {d:+d}": float(mean[d + _OUTLINE_REACH])
        for d in OUTLINE_DEPTHS
        if count[d + _OUTLINE_REACH] >= 100
    }
    if (count[: _OUTLINE_REACH + 4] < 100).any():
        return found
    outside, inside = mean[2:_OUTLINE_REACH].max(), mean[_OUTLINE_REACH : _OUTLINE_REACH + 4].min()
    middle = 0.5 * (outside + inside)
    for k in range(_OUTLINE_REACH + 3, 0, -1):
        if mean[k - 1] >= middle > mean[k]:
            found[f"edge {name}"] = float(k - 0.5 - _OUTLINE_REACH + (mean[k - 1] - middle) / (mean[k - 1] - mean[k]))
            break
    return found


def drawn_numbers(labels: Image) -> dict[str, float]:
    """Shares of the area and sizes (px) of what is drawn, a bit field (n, y, x)."""
    found = {}
    for bit, name in enumerate(CLASS_NAMES):
        mask = (labels >> bit) & 1 > 0
        if mask.sum() >= LEAST_PIXELS:
            found[f"share {name}"] = float(mask.mean())
            found |= dict(_sizes(name, mask))
    found[f"share {BACKGROUND}"] = float((labels == 0).mean())
    return found


def _sizes(name: str, mask: Mask) -> Iterator[tuple[str, float]]:
    if name in ("membrane", "mitochondrial_boundary"):
        widths = np.concatenate([drawn_widths_px(plane) for plane in mask])
        yield f"size {name}: width", float(widths.mean())
    if name == "membrane":
        areas = np.concatenate([_areas(~plane) for plane in mask])
        if areas.size >= 20:
            yield "size profile: diameter", float(np.median(np.sqrt(4.0 / np.pi * areas)))
    if name in ("vesicle", "mitochondrion", "psd"):
        regions = [region for plane in mask for region in regionprops(label(plane)) if region.area >= 12]
        if len(regions) >= 5:
            kind = "diameter" if name == "vesicle" else "minor axis"
            sizes = [r.equivalent_diameter_area if name == "vesicle" else r.axis_minor_length for r in regions]
            yield f"size {name}: {kind}", float(np.median(sizes))


def _areas(inside: Mask) -> Floats:
    """Areas (px) of the connected pieces of at least 12 px of a mask (y, x)."""
    areas = np.bincount(label(inside, connectivity=1).ravel())[1:]
    return areas[areas >= 12].astype(np.float64)


def depth_px(mask: Mask) -> npt.NDArray[np.float32]:
    """Distance in px to the mask's edge within each slice of (n, y, x); the image's frame is no edge."""
    return np.stack([edt.edt(np.ascontiguousarray(m).view(np.uint8), black_border=False) for m in mask])


def drawn_widths_px(mask: Mask) -> Floats:
    """Width of what is drawn at each pixel of its midline (twice the distance to the edge), mask (y, x)."""
    ridge = skeletonize(mask)
    distance = edt.edt(np.ascontiguousarray(mask).view(np.uint8), black_border=False)
    return np.asarray(2.0 * distance[ridge], np.float64)


def darkest_depth_px(images: Image, mask: Mask) -> float | None:
    """Depth below the mask's outline at which the mean grey is least, to a fraction of a pixel; None if unclear."""
    grey, depth = images[mask], depth_px(mask)[mask]
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


def profile_greys(image: npt.NDArray[np.uint8], inside: Mask) -> Floats:
    """Mean grey of each connected piece of `inside` (y, x) of at least 150 px, the profiles of cells."""
    pieces = label(inside, connectivity=1)
    area = np.bincount(pieces.ravel())
    total = np.bincount(pieces.ravel(), image.ravel())
    large = area >= 150
    large[0] = False
    return np.asarray(total[large] / area[large])


# How far a number may be off, by the first words of its name: a share of the real value and a least amount. Greys
# are met within levels, correlations within hundredths, logarithms of power within a tenth.
_TOLERANCES: Mapping[str, tuple[float, float]] = {
    "grey sd": (0.03, 0.5),
    "grey": (0.0, 3.0),
    "noise": (0.05, 0.2),
    "autocorrelation z": (0.05, 0.03),
    "autocorrelation": (0.025, 0.01),
    "spectrum": (0.0, 0.1),
    "texture": (0.05, 0.002),
    "sections": (0.3, 0.3),
    "blur": (0.03, 0.05),
    "class cytoplasm: spread": (0.1, 0.5),
    "class": (0.0, 3.0),
    "outline": (0.0, 3.0),
    "edge": (0.0, 0.2),
    "share": (0.05, 0.002),
    "size": (0.05, 0.2),
}


def tolerance(name: str, real: float) -> float:
    """How far a simulated number of this name may be from a real one before it counts as a miss of 1."""
    relative, least = next(pair for start, pair in _TOLERANCES.items() if name.startswith(start))
    return max(relative * abs(real), least)


def misses(real: Mapping[str, float], simulated: Mapping[str, float]) -> dict[str, float]:
    """Simulated minus real in units of the tolerance, for the names that both have, in the order of `real`."""
    return {n: (simulated[n] - value) / tolerance(n, value) for n, value in real.items() if n in simulated}


def softened(miss: Floats) -> Floats:
    """A miss in tolerances, large ones counted by their root: what no setting can mend must not rule the rest."""
    return np.asarray(np.sign(miss) * np.sqrt(2.0 * (np.sqrt(1.0 + miss**2) - 1.0)))


def weighted_misses(real: Mapping[str, float], simulated: Mapping[str, float]) -> Floats:
    """Softened misses, one for each number of `real`, so weighted that each group counts once in their squares.

    A number that the simulated lack (no vesicle) is five tolerances off.
    """
    counts: dict[str, int] = {}
    for name in real:
        counts[group_of(name)] = counts.get(group_of(name), 0) + 1
    found = misses(real, simulated)
    weight = np.array([1.0 / np.sqrt(counts[group_of(name)] * len(counts)) for name in real])
    return softened(np.array([found.get(name, 5.0) for name in real])) * weight


def loss(real: Mapping[str, float], simulated: Mapping[str, float]) -> float:
    """Root of the mean over groups of the mean squared softened miss: how many tolerances off a number is."""
    return float(np.linalg.norm(weighted_misses(real, simulated)))


def group_of(name: str) -> str:
    """The group a number is weighed in: the first word of its name, and the axis of what is measured along axes."""
    words = name.split()
    return " ".join(words[:2]) if words[0] in ("autocorrelation", "spectrum", "blur") else words[0]

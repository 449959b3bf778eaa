"""The report of a calibration: before and after beside slices kept aside, in pictures, curves and figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from numpy.typing import NDArray

from neuropil.simulate.appearance import BANDS, Run, misses
from neuropil.voxelize.replacement import replacing

from .page import Figure, plot_figure, render
from .pictures import class_overlay, data_uri, grey_rgb, jpeg_bytes, side_by_side, write_png

REPORT = "report.html"
PICTURE = "beside.png"
REAL_COLOUR, BEFORE_COLOUR, AFTER_COLOUR = "#1b6ca8", "#b8b8b8", "#c8553d"
_SETS = (
    ("real", "real, kept aside", REAL_COLOUR),
    ("before", "start", BEFORE_COLOUR),
    ("after", "calibrated", AFTER_COLOUR),
)


@dataclass(frozen=True)
class Comparison:
    """Start and end beside real slices kept aside.

    numbers: appearances of `real` (kept aside), `real_fit` (fitted to), `before` and `after`. auc: of the two-sample
    test of the slices kept aside against `before`, `after` and `real_fit`. real, before, after: the slices.
    """

    numbers: Mapping[str, Mapping[str, float]]
    auc: Mapping[str, float]
    real: Sequence[Run]
    before: Sequence[Run]
    after: Sequence[Run]


@dataclass(frozen=True)
class Row:
    """One number: as in slices kept aside, in those fitted to, and simulated; how far off in tolerances."""

    name: str
    real: float
    real_fit: float | None
    before: float | None
    after: float | None
    off: float | None

    @property
    def percent(self) -> float | None:
        """Difference of the calibrated number from the one kept aside, in per cent of it; None for logarithms."""
        if self.after is None or self.real == 0.0 or self.name.startswith("spectrum"):
            return None
        return 100.0 * (self.after / self.real - 1.0)


def rows_of(numbers: Mapping[str, Mapping[str, float]]) -> list[Row]:
    """A row for each number that the slices kept aside have."""
    off = misses(numbers["real"], numbers["after"])
    fit, before, after = (numbers[which] for which in ("real_fit", "before", "after"))
    return [
        Row(name, value, fit.get(name), before.get(name), after.get(name), off.get(name))
        for name, value in numbers["real"].items()
    ]


def write_calibration_report(name: str, comparison: Comparison, metrics: Mapping[str, Any], folder: Path) -> Path:
    """Write report.html, and simulated beside real as a picture of its own, to `folder`; the report's path."""
    matplotlib.use("Agg")
    pair = [_square(comparison.after[0].images), _square(comparison.real[0].images)]
    write_png(side_by_side([grey_rgb(square) for square in pair]), folder / PICTURE)
    page = render(
        "calibration_report.html.j2",
        name=name,
        metrics=metrics,
        pictures=_pictures(comparison),
        drawings=_drawings(comparison),
        curves=[_histograms(comparison), _correlations(comparison.numbers), _spectra(comparison.numbers)],
        rows=rows_of(comparison.numbers),
        auc=comparison.auc,
    )
    with replacing(folder / REPORT) as file:
        file.write_text(page, encoding="utf-8")
    return folder / REPORT


def _square(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The middle of the middle slice, at most 460 px wide."""
    plane = images[len(images) // 2]
    side = min(*plane.shape, 460)
    y, x = ((length - side) // 2 for length in plane.shape)
    return np.ascontiguousarray(plane[y : y + side, x : x + side])


def _pictures(comparison: Comparison) -> list[list[Figure]]:
    """Two rows of start, calibrated and real slices at one scale."""
    rows = []
    for k in range(2):
        sets = ((comparison.before, "start"), (comparison.after, "calibrated"), (comparison.real, "real, kept aside"))
        rows.append(
            [
                Figure(data_uri(jpeg_bytes(grey_rgb(_square(runs[-k % len(runs)].images))), "jpeg"), caption)
                for runs, caption in sets
            ]
        )
    return rows


def _drawings(comparison: Comparison) -> list[Figure]:
    """What is drawn on a calibrated slice by the fitted style, and on a real one; empty without labels."""
    figures = []
    for runs, caption in ((comparison.after, "drawn by the fitted style"), (comparison.real, "drawn by annotators")):
        run = runs[0]
        if run.labels is not None:
            picture = class_overlay(_square(run.images), _square(run.labels))
            figures.append(Figure(data_uri(jpeg_bytes(picture), "jpeg"), caption))
    return figures


def _histograms(comparison: Comparison) -> Figure:
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 2.8), layout="constrained")
    for which, label, colour in _SETS:
        runs: Sequence[Run] = getattr(comparison, which)
        counts = np.sum([np.bincount(run.images.ravel(), minlength=256) for run in runs], axis=0)
        axes.plot(counts / counts.sum(), color=colour, label=label)
    axes.set(xlabel="grey", ylabel="share of pixels", xlim=(0, 255), ylim=(0, None))
    axes.legend(frameon=False, fontsize=8)
    return plot_figure(figure, "grey")


def _correlations(numbers: Mapping[str, Mapping[str, float]]) -> Figure:
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(1, 3, figsize=(9, 2.8), sharey=True, layout="constrained")
    for axes, axis in zip(panels, "xyz", strict=True):
        for which, label, colour in _SETS:
            found = [
                (int(name.split()[2]), value)
                for name, value in numbers[which].items()
                if name.startswith(f"autocorrelation {axis} ")
            ]
            axes.plot(*zip(*found, strict=True), "o-", ms=3, color=colour, label=label)
        axes.set(xlabel=f"lag along {axis}, " + ("slices" if axis == "z" else "px"), ylim=(None, 1))
    panels[0].set_ylabel("autocorrelation")
    panels[0].legend(frameon=False, fontsize=8)
    return plot_figure(figure, "autocorrelation")


def _spectra(numbers: Mapping[str, Mapping[str, float]]) -> Figure:
    from matplotlib import pyplot

    middles = {f"{low:g}": (low * high) ** 0.5 for low, high in pairwise(BANDS)}
    figure, panels = pyplot.subplots(1, 3, figsize=(9, 2.8), sharey=True, layout="constrained")
    for axes, axis in zip(panels, "xyz", strict=True):
        for which, label, colour in _SETS:
            start = f"spectrum {axis} "
            found = [(middles[n.split()[2]], v) for n, v in numbers[which].items() if n.startswith(start)]
            if found:
                axes.plot(*zip(*found, strict=True), "o-", ms=3, color=colour, label=label)
        axes.set(xlabel=f"cycles per pixel along {axis}", xscale="log")
    panels[0].set_ylabel("ln power, grey²")
    panels[0].legend(frameon=False, fontsize=8)
    return plot_figure(figure, "power spectrum")

"""The report of a run: one HTML page with its pictures inside, pictures first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from numpy.typing import NDArray

from neuropil.train.classes import CLASS_NAMES
from neuropil.train.curve import read_curve
from neuropil.voxelize.block_files import read_block

from .page import Figure, Picture, compared_figures, plot_figure, render, tissue_figures
from .pictures import (
    CLASS_COLOURS,
    class_overlay,
    data_uri,
    grey_rgb,
    instance_overlay,
    jpeg_bytes,
)
from .realism import compare

CLASS_TITLES = {
    "mitochondrion": "mitochondrion",
    "mitochondrial_boundary": "mitochondrial boundary",
    "membrane": "membrane",
    "psd": "PSD",
    "vesicle": "vesicle",
    "myelin_sheath": "myelin sheath",
}


@dataclass(frozen=True)
class ScoredSlice:
    """A slice (y, x) that was segmented: image, found and true bit fields, pixel size (y, x)."""

    name: str
    image: NDArray[np.uint8]
    found: NDArray[np.uint8]
    truth: NDArray[np.uint8]
    pixel_nm: tuple[float, float]


def report_html(metrics: Mapping[str, Any], neurons: Path, block: Path, model: Path, shown: ScoredSlice) -> str:
    """The page for a run: its metrics, its folder of neurons, one of its blocks, its model, a scored slice."""
    files = read_block(block)
    depth, height, width = files.shape_zyx
    grey, ids, drawn = (
        files.volume(name, (depth // 2, 0, 0), (1, height, width)).data[0]
        for name in ("image", "instances", "annotation")
    )
    return render(
        "report.html.j2",
        metrics=metrics,
        scores=metrics["real"] or metrics["held_out_block"],
        classes=[(name, CLASS_TITLES[name], "rgb({}, {}, {})".format(*CLASS_COLOURS[name])) for name in CLASS_NAMES],
        pair=compared_figures(
            Picture("neuropil", grey, files.voxel_size_nm[1:]),
            Picture(_shown_name(shown, metrics["real"] is not None), shown.image, shown.pixel_nm),
        ),
        neurons=[
            Figure(data_uri(file.read_bytes(), "png"), file.stem.replace("_", " "))
            for file in sorted(neurons.glob("*.png"))
        ],
        tissue=tissue_figures(block, [n * nm for n, nm in zip(files.shape_zyx, files.voxel_size_nm, strict=True)]),
        overlays=[
            Figure(data_uri(jpeg_bytes(grey_rgb(grey)), "jpeg"), "what the microscope sees"),
            Figure(data_uri(jpeg_bytes(instance_overlay(grey, ids)), "jpeg"), "every cell, exactly"),
            Figure(data_uri(jpeg_bytes(class_overlay(grey, drawn)), "jpeg"), "as an annotator would draw it"),
        ],
        answers=[
            Figure(data_uri(jpeg_bytes(grey_rgb(shown.image)), "jpeg"), f"slice {shown.name}"),
            Figure(data_uri(jpeg_bytes(class_overlay(shown.image, shown.found)), "jpeg"), "found"),
            Figure(data_uri(jpeg_bytes(class_overlay(shown.image, shown.truth)), "jpeg"), "truth"),
        ],
        curve=curve_figure(model),
        comparisons=compare(metrics["preset"], metrics["block"]),
        stages=[(name, seconds, metrics["peak_memory_mb"][name]) for name, seconds in metrics["seconds"].items()],
    )


def _shown_name(shown: ScoredSlice, real: bool) -> str:
    return f"real (slice {shown.name})" if real else "neuropil, held-out block"


def curve_figure(model: Path) -> Figure:
    """Loss of the training and Dice on held-out slices of the last block, over steps."""
    matplotlib.use("Agg")
    from matplotlib import pyplot

    rows = read_curve(model)
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(9, 3), layout="constrained")
    left.plot([r["step"] for r in rows], [r["loss"] for r in rows], color="#444444")
    left.set(xlabel="step", ylabel="loss", ylim=(0, None))
    for name, colour in CLASS_COLOURS.items():
        known = [r for r in rows if f"dice_{name}" in r]
        steps, dice = [r["step"] for r in known], [r[f"dice_{name}"] for r in known]
        right.plot(steps, dice, "o-", ms=3, color=[part / 255 for part in colour], label=CLASS_TITLES[name])
    right.set(xlabel="step", ylabel="Dice on held-out synthetic slices", ylim=(0, 1))
    figure.legend(loc="outside right center", fontsize=8, frameon=False)
    return plot_figure(figure)

"""The report of a fitted class: how far grown cells are from held-out real ones, in figures and pictures."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import jinja2
import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from neuropil.morphology.tree import APICAL_DENDRITE, AXON, DENDRITE, Tree

from .pictures import data_uri

REAL_COLOUR, GROWN_COLOUR = "#1b6ca8", "#c8553d"
COLOUR_OF_TYPE = {AXON: "#c8553d", DENDRITE: "#1b6ca8", APICAL_DENDRITE: "#3c8d53"}


@dataclass(frozen=True)
class Row:
    """Distance of one quantity of one domain, of grown and of real samples from held-out real ones."""

    domain: str
    quantity: str
    grown: float
    real: float


@dataclass(frozen=True)
class Curve:
    """Samples of one quantity: of the last split's grown and held-out cells."""

    title: str
    grown: Sequence[float]
    real: Sequence[float]


@dataclass(frozen=True)
class Picture:
    """A figure with its caption, as the page template takes it."""

    picture: str
    caption: str


def fit_report_html(
    name: str,
    summary: str,
    rows: Sequence[Row],
    medians: tuple[float, float],
    curves: Mapping[str, Sequence[Curve]],
    pictures: Sequence[Picture],
    notes: Sequence[str],
) -> str:
    """The page of one class; `curves` holds the panels of each domain."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("neuropil.pipeline", "."),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    panels = [Picture(_panels(group), f"{domain}: last split") for domain, group in curves.items()]
    return environment.get_template("fit_report.html.j2").render(
        name=name, summary=summary, rows=rows, medians=medians, panels=panels, pictures=pictures, notes=notes
    )


def tree_picture(trees: Sequence[Tree], caption: str) -> Picture:
    """Cells side by side at one scale, seen along y (their thinnest direction, where they are aligned)."""
    matplotlib.use("Agg")
    figure = Figure(figsize=(7.5, 5), dpi=110)
    axes = figure.add_axes((0, 0, 1, 1))
    left = 0.0
    for tree in trees:
        left = _draw(axes, tree, left)
    axes.set_aspect("equal")
    axes.axis("off")
    length = _round_length(left / 5)
    low = axes.get_ylim()[0]
    axes.plot([0, length], [low, low], color="#1c1c1c", linewidth=2)
    axes.text(0, low, f" {length:g} µm", va="bottom", fontsize=9)
    return Picture(_png(figure), caption)


def _draw(axes: Axes, tree: Tree, left: float) -> float:
    """Draw one cell with its left edge at a place; returns where the next one may start."""
    flat = tree.points_um[:, [0, 2]]
    flat = flat - flat.min(axis=0) + [left, 0]
    child = np.flatnonzero(tree.parents >= 0)
    for swc_type in np.unique(tree.types[child]):
        own = child[tree.types[child] == swc_type]
        pairs = np.stack([flat[own], flat[tree.parents[own]], np.full((len(own), 2), np.nan)], axis=1).reshape(-1, 2)
        axes.plot(pairs[:, 0], pairs[:, 1], color=COLOUR_OF_TYPE.get(int(swc_type), "#555555"), linewidth=0.7)
    width = float(np.ptp(flat[:, 0]))
    return left + width * 1.1 + 1e-6


def _panels(curves: Sequence[Curve]) -> str:
    """Cumulated shares of real and grown samples, a panel for each quantity."""
    matplotlib.use("Agg")
    columns = 4
    rows = -(-len(curves) // columns)
    figure = Figure(figsize=(11, 2.5 * rows), dpi=100, layout="constrained")
    for place, curve in enumerate(curves):
        axes = figure.add_subplot(rows, columns, place + 1)
        for sample, colour, label in ((curve.real, REAL_COLOUR, "real"), (curve.grown, GROWN_COLOUR, "grown")):
            values = np.sort(np.asarray(sample, dtype=float))
            if len(values):
                axes.step(values, np.arange(1, len(values) + 1) / len(values), color=colour, label=label, where="post")
        axes.set_title(curve.title, fontsize=9)
        axes.tick_params(labelsize=7)
        if place == 0:
            axes.legend(fontsize=7, frameon=False)
    return _png(figure)


def _round_length(length: float) -> float:
    """The nearest 1, 2 or 5 times a power of ten that is not above."""
    power = 10.0 ** np.floor(np.log10(max(length, 1e-6)))
    return float(power * max(step for step in (1, 2, 5) if step * power <= max(length, 1e-6) * 1.0001))


def _png(figure: Figure) -> str:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return data_uri(buffer.getvalue(), "png")

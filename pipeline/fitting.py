"""`neuropil fit`: a class fitted to a folder of SWC files, with its validation report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from neuropil.morphology.calibration import calibrated
from neuropil.morphology.class_file import class_yaml
from neuropil.morphology.class_fit import domain_kinds, fit_class
from neuropil.morphology.frame import aligned
from neuropil.morphology.growth import grow_neuron
from neuropil.morphology.neuron_class import CLASS_NAME, NeuronClass
from neuropil.morphology.swc import open_swc
from neuropil.morphology.tree import SOMA, UNDEFINED, Tree
from neuropil.morphology.validation import QUANTITIES, Validation, validate
from neuropil.voxelize.replacement import replacing

from .fit_report import Curve, Row, fit_report_html, tree_picture
from .progress import Report, say

SHOWN_CELLS = 3


@dataclass(frozen=True)
class Fit:
    """A fitted class with what its report says: as a page, and as numbers for JSON."""

    neuron_class: NeuronClass
    page: str
    figures: dict[str, Any]

    @property
    def summary(self) -> str:
        """The outcome in a line."""
        return (
            "median Kolmogorov-Smirnov distance from held-out real samples: "
            "{median_grown:.3f} grown, {median_real:.3f} real".format(**self.figures)
        )


def class_name(output: Path) -> str:
    """Name of the class that a file holds: the file's own.

    Raises:
        ValueError: not a .yaml file, or a name no class can have.
    """
    if output.suffix != ".yaml" or not CLASS_NAME.fullmatch(output.stem):
        raise ValueError(
            f"{output}: a class is written to NAME.yaml, but allowed in a name are lower-case letters, digits and _, "
            "after a letter"
        )
    return output.stem


def report_path(output: Path) -> Path:
    """Where the report of a class file lies."""
    return output.with_name(f"{output.stem}.report.html")


def read_cells(folder: Path, unit_um: float) -> dict[str, Tree]:
    """The cells of all SWC files of a folder, by the files' names; coordinates are multiplied by `unit_um`.

    Raises:
        OSError: no such folder.
        ValueError: no SWC file, or one that is broken or holds several trees or nothing but a soma.
    """
    if not folder.is_dir():
        raise NotADirectoryError(f"{folder}: no such folder")
    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() == ".swc")
    if not paths:
        raise ValueError(f"{folder}: the folder holds no .swc file")
    cells = {}
    for path in paths:
        found = open_swc(path)
        tree = found.tree
        if len(tree.roots) != 1:
            raise ValueError(f"{path}: the file holds {len(tree.roots)} trees, but a neuron is one")
        if (tree.types == SOMA).all():
            raise ValueError(f"{path}: the file holds a soma and no neurite")
        for repair in found.repairs:
            say(f"{path}: {repair}")
        cells[path.name.removesuffix(path.suffix).removesuffix(".CNG")] = Tree(
            tree.points_um * unit_um, tree.radii_um * unit_um, tree.parents, tree.types
        )
    return cells


def untyped(cells: Mapping[str, Tree]) -> dict[str, Tree]:
    """The cells with all points but the soma's of undefined type, for files whose types say nothing."""
    return {
        name: Tree(
            tree.points_um, tree.radii_um, tree.parents, np.where(tree.types == SOMA, SOMA, UNDEFINED).astype(np.int16)
        )
        for name, tree in cells.items()
    }


def fit_cells(
    name: str, cells: Mapping[str, Tree], source: str, held_out: float, splits: int, seed: int, report: Report
) -> Fit:
    """Fit a class to all cells, and compare cells grown from fits to a part of them with the others.

    Args:
        source: where the cells come from, for the sources of the distributions.
        held_out: share of the cells that are held out in each split.

    Raises:
        ValueError: too few cells.
    """
    found = validate(cells, held_out, splits, seed, lambda share, note: report(0.8 * share, note))
    report(0.8, "class")
    kinds = domain_kinds(list(cells.values()))
    fitted = calibrated(fit_class(name, cells, kinds, source), cells, kinds, seed)
    report(0.95, "report")
    rows = _rows(found)
    grown = [grow_neuron(fitted, np.random.default_rng((seed, place))) for place in range(SHOWN_CELLS)]
    real = [aligned(tree) for tree in list(cells.values())[:SHOWN_CELLS]]
    page = fit_report_html(
        name,
        f"Fitted to {len(cells)} files of {source}.",
        rows,
        found.medians(),
        {domain: _curves(found, domain) for domain in found.grown},
        [
            tree_picture(real, "real: " + ", ".join(list(cells)[:SHOWN_CELLS])),
            tree_picture(grown, f"grown from the class, seeds {seed}.0 to {seed}.{SHOWN_CELLS - 1}"),
        ],
        _notes(found, held_out, splits, seed),
    )
    return Fit(fitted, page, _figures(name, found, held_out, splits, seed, len(cells)))


def write_fit(fit: Fit, output: Path) -> Path:
    """Write the class and, beside it, its report; returns the report's path."""
    page = report_path(output)
    with replacing(page) as unfinished_page, replacing(output) as unfinished:
        unfinished.write_text(class_yaml(fit.neuron_class), encoding="utf-8")
        unfinished_page.write_text(fit.page, encoding="utf-8")
    return page


def _rows(found: Validation) -> list[Row]:
    return [
        Row(domain, title, float(np.mean(values[key])), float(np.mean(found.real[domain][key])))
        for domain, values in found.generated.items()
        for key, title in QUANTITIES.items()
    ]


def _curves(found: Validation, domain: str) -> list[Curve]:
    names = {
        "sholl_um": "distance of Sholl crossings (µm)",
        "length_um": "total length (µm)",
        "section_length_um": "section length (µm)",
        "branch_order": "branch order",
        "branch_angle_deg": "branch angle (°)",
        "tortuosity": "tortuosity",
        "radius_um": "radius (µm)",
        "asymmetry": "partition asymmetry",
    }
    grown, real = found.grown[domain], found.held_out[domain]
    return [Curve(title, getattr(grown, key), getattr(real, key)) for key, title in names.items()]


def _notes(found: Validation, held_out: float, splits: int, seed: int) -> list[str]:
    return [
        f"{splits} random splits (seed {seed}), {held_out:.0%} of the cells held out in each; the class in the file is "
        "fitted to all cells.",
        "As many cells are grown as the fitted part has. Samples are pooled over the cells of a part, so that large "
        "cells count more; total length has one sample per cell.",
        "Sholl profile: the radii of all crossings with spheres 1 µm apart. Branch angle: between the points 5 µm "
        "along both daughters, or their ends. Tortuosity: path over chord of a section. Radius against path distance: "
        "mean over fifths of the path distance. Tree asymmetry: |a − b| / (a + b − 2) of the tips of both daughters.",
        "Files with the domain: " + ", ".join(f"{domain} {count}" for domain, count in found.cells.items()) + ".",
    ]


def _figures(name: str, found: Validation, held_out: float, splits: int, seed: int, cells: int) -> dict[str, Any]:
    grown, real = found.medians()
    return {
        "class": name,
        "cells": cells,
        "domain_cells": found.cells,
        "held_out": held_out,
        "splits": splits,
        "seed": seed,
        "median_grown": grown,
        "median_real": real,
        "excess": grown - real,
        "grown": found.table("generated"),
        "real": found.table("real"),
        "domains": {
            domain: {
                key: {"grown": float(np.mean(values[key])), "real": float(np.mean(found.real[domain][key]))}
                for key in QUANTITIES
            }
            for domain, values in found.generated.items()
        },
    }

#!/usr/bin/env python3
"""Fit the shipped classes of whole cells to the real morphologies, and write the table of docs/results/classes.md.

    python scripts/fit_classes.py [CLASS …] [-o FOLDER]

Without CLASS all are fitted (minutes each). Classes go to assets/classes, reports to FOLDER (default out/classes); the
table holds the classes whose reports' figures lie in FOLDER.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path

from neuropil.morphology.class_file import class_yaml
from neuropil.morphology.validation import QUANTITIES
from neuropil.pipeline.fitting import fit_cells, read_cells, untyped, write_fit
from neuropil.pipeline.progress import bar
from neuropil.pipeline.real_images import data_folders

ROOT = Path(__file__).resolve().parent.parent
SPLITS = 4


@dataclass(frozen=True)
class Source:
    """A folder of real cells and what is known of it; `unit_um` is the length of the files' unit."""

    folder: str
    reference: str
    unit_um: float = 1.0
    typed: bool = True


SOURCES = {
    "cortical_pyramidal": Source("cortex_principal", "rat neocortex, NeuroMorpho.Org, Markram 2015"),
    "cortical_interneuron": Source("cortex_interneuron", "rat neocortex, NeuroMorpho.Org, Markram 2015"),
    "purkinje": Source("purkinje", "NeuroMorpho.Org, Rapp 1994, Vetter 2001, Chen 2013, Martone 2003; no axons"),
    "hippocampal_interneuron": Source("hippocampal_interneuron", "rat CA1, NeuroMorpho.Org, Ascoli 2009"),
    "motoneuron": Source("motoneuron", "NeuroMorpho.Org, Li 2005"),
    "olivocerebellar_axon": Source("olivocerebellar_axon", "mouse, NeuroMorpho.Org, Brown 2012; no soma"),
    # The unit is stated nowhere; docs/morphology.md says why it is taken for 40 nm.
    "fly_medulla_neuron": Source("fly_medulla", "Takemura 2013; unit taken for 40 nm", unit_um=0.04, typed=False),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("classes", nargs="*", choices=[*SOURCES, []], metavar="CLASS")
    parser.add_argument("-o", "--output", type=Path, default=ROOT / "out" / "classes")
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    morphologies = next(folder for folder in data_folders() if folder.is_dir()) / "morphologies"
    for name in arguments.classes or SOURCES:
        source = SOURCES[name]
        cells = read_cells(morphologies / source.folder, source.unit_um)
        if not source.typed:
            cells = untyped(cells)
        with bar(name) as report:
            found = fit_cells(name, cells, f"{source.folder} ({source.reference})", 0.5, SPLITS, 0, report)
        write_fit(found, arguments.output / f"{name}.yaml")
        (arguments.output / f"{name}.json").write_text(json.dumps(found.figures, indent=1))
        (ROOT / "assets" / "classes" / f"{name}.yaml").write_text(class_yaml(found.neuron_class), encoding="utf-8")
        print(f"{name}: {found.summary}", flush=True)
    (ROOT / "docs" / "results" / "classes.md").write_text(table(arguments.output), encoding="utf-8")


def table(folder: Path) -> str:
    """The results as Markdown."""
    lines = [
        "# Classes of whole cells beside real ones",
        "",
        "Made by `python scripts/fit_classes.py`. Two-sample Kolmogorov–Smirnov distances from held-out real cells: of",
        "cells grown from a class that was fitted to the other half / of that half itself (split-half, real against",
        "real). Mean over random splits and over the domains of a class. As",
        "many cells are grown as the fitted half has; samples are pooled over cells, total length has one per cell.",
        "`docs/morphology.md` says what each quantity is.",
        "",
        "| class | cells | splits | " + " | ".join(QUANTITIES.values()) + " | median | excess |",
        "|---|---|---|" + "---|" * (len(QUANTITIES) + 2),
    ]
    details = ["", "By domain:", "", "| class | domain | cells | " + " | ".join(QUANTITIES.values()) + " |"]
    details.append("|---|---|---|" + "---|" * len(QUANTITIES))
    for name in SOURCES:
        path = folder / f"{name}.json"
        if not path.is_file():
            continue
        found = json.loads(path.read_text())
        pairs = [f"{found['grown'][key]:.2f} / {found['real'][key]:.2f}" for key in QUANTITIES]
        medians = f"{found['median_grown']:.3f} / {found['median_real']:.3f}"
        counts = f"{found['cells']} | {found['splits']}"
        lines.append(f"| {name} | {counts} | {' | '.join(pairs)} | {medians} | {found['excess']:+.3f} |")
        for domain, values in found["domains"].items():
            pairs = [f"{values[key]['grown']:.2f} / {values[key]['real']:.2f}" for key in QUANTITIES]
            details.append(f"| {name} | {domain} | {found['domain_cells'][domain]} | {' | '.join(pairs)} |")
    return "\n".join([*lines, *details, ""])


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""The tables of Sokolov et al. 2023 (Computer Optics 47(5)) with our blocks in place of their drawings.

Networks U-Net and tiny-unet-v2, 1, 5 and 6 classes, trained on the real slices (ORG), on virtual blocks alone (SYN) or
on both (MIX), at equal steps, with several seeds; scored on slices of epfl_ca1 from 0089 on, of which nothing was used
for any setting. Cells that are finished in `--folder` are not done again, so a stopped run goes on; a table of those
that there are is written to docs/results/semantic.md, with figures.

`python scripts/experiments/semantic.py --steps 800 --seeds 3 --blocks 16`
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import torch
from _semantic_data import held_out, real_training, scores, synthetic
from matplotlib.patches import Patch

from neuropil.pipeline.torch_threads import use_fastest_threads
from neuropil.train.bundle import read_bundle, write_atomically
from neuropil.train.classes import CLASS_NAMES, masks_from_bits
from neuropil.train.dataset import SegmentationDataset
from neuropil.train.inference import segment
from neuropil.train.labelled_volume import LabelledVolume
from neuropil.train.settings import NETWORKS, SemanticTask, TrainingConfig
from neuropil.train.training import train_network
from neuropil.voxelize.volume import Volume

ROOT = Path(__file__).resolve().parent.parent.parent
DATA = ("ORG", "SYN", "MIX")
# Sokolov et al. mixed 1161 real patches with 2000 drawn ones.
REAL_SHARE = 1161 / (1161 + 2000)
# Their Dice on their own test slices, mean over classes and mitochondria alone: U-Net, then tiny-unet-v2 (means).
PUBLISHED = {
    ("unet", 6): {"ORG": (0.741, 0.936), "SYN": (0.743, 0.873), "MIX": (0.833, 0.938)},
    ("unet", 5): {"ORG": (0.747, 0.934), "SYN": (0.743, 0.893), "MIX": (0.855, 0.946)},
    ("unet", 1): {"ORG": (0.930, 0.930), "SYN": (0.888, 0.888), "MIX": (0.930, 0.930)},
    ("tiny_unet_v2", 6): {"ORG": (0.761, None), "SYN": (0.713, None), "MIX": (0.838, None)},
    ("tiny_unet_v2", 5): {"ORG": (0.752, None), "SYN": (0.745, None), "MIX": (0.834, None)},
    ("tiny_unet_v2", 1): {"ORG": (0.931, 0.931), "SYN": (0.890, 0.890), "MIX": (0.938, 0.938)},
}
HEAD = """# Networks trained on real slices, on virtual blocks, on both

Dice pooled over {slices} real slices of `epfl_ca1` from 0089 on; mean ± standard deviation over seeds. {steps} steps of
{batch} patches of 256² for every contender, on {device}. ORG: {real} real slices up to 0063. SYN: {blocks} virtual
blocks, a quarter with a myelinated axon. MIX: both, {share:.0%} of the patches real, as theirs. Classes that are not
drawn in the held-out slices (myelin) have no Dice and are not in the mean. Sokolov's figures are on their own test
slices, which show myelin, after their full training: not the same test. Drawings of this volume's mitochondria disagree
with each other by .09 to .21 (their table).

`python scripts/experiments/semantic.py --steps {steps} --batch {batch} --seeds {seeds} --blocks {blocks}`

![mean Dice](semantic.png)

![a held-out slice](semantic_pictures.png)
"""
COLOURS = ("#1f77b4", "#17becf", "#2ca02c", "#d62728", "#9467bd", "#ff7f0e")


@dataclass(frozen=True)
class Cell:
    """One training: what on, how many classes, which network, which seed."""

    data: str
    classes: int
    network: str
    seed: int

    def folder(self, root: Path) -> Path:
        return root / f"{self.data}-{self.classes}-{self.network}-{self.seed}"


def groups_of(data: str, real: list[LabelledVolume], blocks: list[LabelledVolume]) -> dict[str, Any]:
    """Groups of volumes and their weights, as `SegmentationDataset` takes them."""
    if data == "MIX":
        return {"groups": [real, blocks], "weights": [REAL_SHARE, 1 - REAL_SHARE]}
    return {"groups": [real if data == "ORG" else blocks]}


def run_cell(
    cell: Cell, steps: int, batch: int, groups: dict[str, Any], tests: Sequence[LabelledVolume], root: Path
) -> None:
    """Train and score one cell; what is there is not done again. Raises ValueError where it is another training's."""
    folder = cell.folder(root)
    task = SemanticTask(classes=cell.classes)
    config = TrainingConfig(
        network=NETWORKS[cell.network], task=task, steps=steps, batch=batch, learning_rate=2e-3, seed=cell.seed
    )
    dataset = SegmentationDataset(**groups, task=task)
    train_network(config, dataset, [], folder)
    if not (folder / "scores.json").exists():
        found = scores(read_bundle(folder), tests)
        write_atomically(folder / "scores.json", (json.dumps(found, indent=1) + "\n").encode())


def finished(cells: Sequence[Cell], root: Path) -> dict[Cell, dict[str, Any]]:
    """Scores of the cells that have them."""
    files = {cell: cell.folder(root) / "scores.json" for cell in cells}
    return {cell: json.loads(file.read_text()) for cell, file in files.items() if file.exists()}


def table(done: dict[Cell, dict[str, Any]]) -> Iterator[str]:
    """Markdown lines: per network and number of classes, mean ± standard deviation over seeds."""
    for (network, classes), published in PUBLISHED.items():
        if not any((cell.network, cell.classes) == (network, classes) for cell in done):
            continue
        names = SemanticTask(classes=classes).channels
        yield f"\n## {network}, {classes} {'class' if classes == 1 else 'classes'}\n"
        yield f"| | seeds | {' | '.join(names)} | mean | Sokolov: mean | mitochondrion |"
        yield "|---" * (len(names) + 5) + "|"
        for data in DATA:
            rows = [s for c, s in done.items() if (c.data, c.classes, c.network) == (data, classes, network)]
            cells = [_spread([row[name] for row in rows]) for name in (*names, "mean")]
            theirs = ["–" if v is None else f"{v:.3f}" for v in published[data]]
            yield f"| {data} | {len(rows)} | {' | '.join(cells)} | {' | '.join(theirs)} |"


def _spread(values: Sequence[float | None]) -> str:
    known = [v for v in values if v is not None]
    if not known:
        return "–"
    return f"{np.mean(known):.3f}" + (f" ± {np.std(known, ddof=1):.3f}" if len(known) > 1 else "")


def bars(done: dict[Cell, dict[str, Any]], file: Path) -> None:
    """Mean Dice over the classes, a group of bars per network and number of classes."""
    places = list(PUBLISHED)
    figure, axes = plt.subplots(figsize=(9, 3.6))
    for shift, data in enumerate(DATA):
        for place, (network, classes) in enumerate(places):
            rows = [s["mean"] for c, s in done.items() if (c.data, c.classes, c.network) == (data, classes, network)]
            x = place + 0.27 * (shift - 1)
            if rows:
                axes.bar(x, np.mean(rows), 0.25, color=COLOURS[shift])
                axes.plot([x] * len(rows), rows, "k.", ms=3)
            axes.plot([x - 0.12, x + 0.12], [PUBLISHED[network, classes][data][0]] * 2, "k-", lw=1)
    axes.set_xticks(range(len(places)), [f"{network}\n{classes}" for network, classes in places])
    axes.set(ylabel="mean Dice", ylim=(0, 1), title="dots: seeds; lines: Sokolov et al. on their own test slices")
    axes.legend(
        handles=[Patch(color=c, label=d) for c, d in zip(COLOURS, DATA, strict=False)], ncols=3, loc="lower left"
    )
    figure.savefig(file, dpi=120, bbox_inches="tight")
    plt.close(figure)


def pictures(cells: Sequence[Cell], tests: Sequence[LabelledVolume], root: Path, file: Path) -> None:
    """A held-out slice, what is drawn on it, and what networks trained on each kind of data find there."""
    middle = tests[len(tests) // 2]
    image, bits = middle.image[:1, 128:640, 256:768], middle.bits[0, 128:640, 256:768]
    panels = [("real, held out", masks_from_bits(0 * bits)), ("drawn", masks_from_bits(bits))]
    for cell in cells:
        found = segment(read_bundle(cell.folder(root)), Volume(image, (5.0, 5.0, 5.0)))
        masks = np.zeros((len(CLASS_NAMES), *bits.shape), np.uint8)
        for name, mask in zip(found.channels, found.data[:, 0], strict=True):
            masks[CLASS_NAMES.index(name)] = mask
        panels.append((f"{cell.data}, {cell.network}", masks))
    figure, axes = plt.subplots(1, len(panels), figsize=(4 * len(panels), 4.2), layout="constrained")
    for axis, (title, masks) in zip(axes, panels, strict=True):
        axis.imshow(image[0], cmap="gray", vmin=0, vmax=255)
        for mask, colour in zip(masks, COLOURS, strict=True):
            axis.imshow(mask[..., None] * np.array([*matplotlib.colors.to_rgb(colour), 0.45]))
        axis.set_title(title)
        axis.axis("off")
    handles = [Patch(color=c, label=n) for c, n in zip(COLOURS, CLASS_NAMES, strict=True)]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(CLASS_NAMES))
    figure.savefig(file, dpi=90)
    plt.close(figure)


def main() -> None:
    """Run what is missing and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=800, help="of every training")
    parser.add_argument("--batch", type=int, default=7, help="patches of 256 × 256 in a step")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--blocks", type=int, default=16, help="virtual blocks, a quarter of them with myelin")
    parser.add_argument("--workers", type=int, default=1, help="processes that make blocks")
    parser.add_argument("--networks", nargs="+", default=["tiny_unet_v2", "unet"])
    parser.add_argument("--classes", nargs="+", type=int, default=[6, 5, 1])
    parser.add_argument("--folder", type=Path, default=ROOT / "out" / "semantic")
    parser.add_argument("--results", type=Path, default=ROOT / "docs" / "results")
    arguments = parser.parse_args()
    settings = product(arguments.networks, arguments.classes, range(arguments.seeds), DATA)
    cells = [Cell(data, classes, network, seed) for network, classes, seed, data in settings]
    real, tests = real_training(), held_out()
    blocks = synthetic(arguments.folder / "blocks", arguments.blocks, arguments.workers)
    use_fastest_threads()
    begun = time.monotonic()
    for number, cell in enumerate(cells, start=1):
        groups = groups_of(cell.data, real, blocks)
        run_cell(cell, arguments.steps, arguments.batch, groups, tests, arguments.folder)
        print(f"{time.monotonic() - begun:7.0f} s  {number}/{len(cells)}  {cell}", flush=True)
    done = finished(cells, arguments.folder)
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else f"{os.cpu_count()} processor cores"
    arguments.results.mkdir(parents=True, exist_ok=True)
    bars(done, arguments.results / "semantic.png")
    shown = [Cell(data, max(arguments.classes), arguments.networks[0], 0) for data in DATA]
    pictures(shown, tests, arguments.folder, arguments.results / "semantic_pictures.png")
    about = {
        "slices": sum(len(v.image) for v in tests),
        "steps": arguments.steps,
        "batch": arguments.batch,
        "device": device,
        "real": len(real),
        "blocks": len(blocks),
        "share": REAL_SHARE,
        "seeds": arguments.seeds,
    }
    text = "\n".join([HEAD.format(**about), *table(done)])
    write_atomically(arguments.results / "semantic.md", (text + "\n").encode())
    print(arguments.results / "semantic.md")


if __name__ == "__main__":
    main()

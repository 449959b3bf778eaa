#!/usr/bin/env python3
"""One block of each tissue, swollen from 20 % of extracellular space to 5 %: what is met, and what stays the same.

Writes docs/results/extracellular_space.md and its figure. `python scripts/experiments/extracellular_space.py`
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib
import numpy as np

from neuropil.tissue.block import TissueBlock, build_block
from neuropil.tissue.block_statistics import sheets_and_tunnels
from neuropil.tissue.parameters import TissueParameters, tissue_presets

ROOT = Path(__file__).resolve().parent.parent.parent
TARGETS = (0.20, 0.15, 0.10, 0.05)
SIZE_UM = (2.0, 2.0, 2.0)
GRID_NM = 20
HEAD = """# Extracellular space

One block of {size} µm of each tissue (seed {seed}), laid out once and swollen: organelles are placed at 20 %, and
only the membranes move. Surfaces are found on a grid of {grid} nm. Widths are distances on the meshes from 1200 random
places of the membranes to the nearest other cell; a place is in a tunnel where a third cell is within 60 nm.
The least gap is looked for up to 6 nm, so 6.0 stands for 6 or more. Made by
`python scripts/experiments/extracellular_space.py`.

| tissue | asked | reached | sheets, nm (10, 50, 90 %) | tunnels, nm (10, 50, 90 %) | least gap, nm \
| membrane, µm²/µm³ | same cells and synapses | certificates |
|---|---|---|---|---|---|---|---|---|
"""


def same_tissue(one: TissueBlock, other: TissueBlock) -> bool:
    """Whether two blocks have the same cells and the same connections."""
    return [(c.id, c.kind) for c in one.cells] == [(c.id, c.kind) for c in other.cells] and [
        (s.id, s.pre_id, s.post_id) for s in one.synapses
    ] == [(s.id, s.pre_id, s.post_id) for s in other.synapses]


def row(preset: str, target: float, block: TissueBlock, loosest: TissueBlock) -> str:
    """One line of the table."""
    widths = [
        " / ".join(f"{nm:.0f}" for nm in np.percentile(found, [10, 50, 90])) if len(found) else "–"
        for found in sheets_and_tunnels(block.membrane_gaps_nm)
    ]
    held = all(block.certificates.values())
    failed = "all hold" if held else ", ".join(k for k, v in block.certificates.items() if not v) + " fails"
    figures = block.statistics
    return (
        f"| {preset} | {target:.2f} | {figures['extracellular_fraction']:.3f} | {widths[0]} | {widths[1]} | "
        f"{figures['least_gap_nm']:.1f} | {figures['membrane_area_um2_per_um3']:.1f} | "
        f"{'yes' if same_tissue(block, loosest) else 'no'} | {failed} |\n"
    )


def main() -> None:
    """Build the blocks and write table and figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    matplotlib.use("Agg")
    from matplotlib import pyplot

    presets = tissue_presets()
    figure, axes = pyplot.subplots(1, len(presets), figsize=(11, 3), sharey=True, layout="constrained")
    text = HEAD.format(size=" × ".join(f"{um:g}" for um in SIZE_UM), seed=arguments.seed, grid=GRID_NM)
    for preset, plot in zip(presets, axes, strict=True):
        loosest = None
        for target in TARGETS:
            parameters = TissueParameters(
                preset=preset,
                size_um=SIZE_UM,
                grid_spacing_nm=GRID_NM,
                extracellular_fraction=target,
                filled_at_extracellular_fraction=TARGETS[0],
            )
            try:
                block = build_block(parameters, np.random.default_rng(arguments.seed))
            except ValueError as refused:
                text += f"| {preset} | {target:.2f} | refused: {refused} | | | | | | |\n"
                continue
            loosest = loosest or block
            text += row(preset, target, block, loosest)
            print(text.splitlines()[-1], flush=True)
            if target in (TARGETS[0], TARGETS[-1]):
                bins = np.arange(0, 102, 3)
                sheets, tunnels = sheets_and_tunnels(block.membrane_gaps_nm)
                weight = 1 / len(block.membrane_gaps_nm)
                colour = "#4a86c8" if target == TARGETS[0] else "#d9a441"
                for found, style in ((sheets, "-"), (tunnels, ":")):
                    counts, _ = np.histogram(found, bins)
                    name = f"{target:.0%}, {'sheets' if style == '-' else 'tunnels'}"
                    plot.plot(bins[:-1] + 1.5, counts * weight, style, color=colour, label=name)
        plot.set(title=preset, xlabel="width, nm", xlim=(0, 100))
    axes[0].set_ylabel("share of the membranes")
    axes[-1].legend(frameon=False, fontsize=8)
    folder = ROOT / "docs" / "results"
    figure.savefig(folder / "extracellular_space.png", dpi=110)
    (folder / "extracellular_space.md").write_text(text + "\n![widths](extracellular_space.png)\n", encoding="utf-8")


if __name__ == "__main__":
    main()

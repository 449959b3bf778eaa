#!/usr/bin/env python3
"""Blocks of every tissue preset, measured row by row beside the real tissue.

Makes `--blocks` blocks of each preset's recipe in out/tissue, with their reports, and writes docs/results/tissue.md.
`python scripts/experiments/realism.py`
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from neuropil.pipeline.block_job import block_folder, read_manifest
from neuropil.pipeline.block_report import write_block_report
from neuropil.pipeline.generation import generate
from neuropil.pipeline.realism import TOLERANCE, targets
from neuropil.pipeline.recipe import load_recipe
from neuropil.tissue.parameters import tissue_preset, tissue_presets

ROOT = Path(__file__).resolve().parent.parent.parent
HEAD = """# Tissues beside real ones

{blocks} blocks of each of the recipes `rodent_ca1`, `mouse_cortex` and `fly` (seed {seed}); mean and range over the
blocks. A row is met within {percent:.0%} of the real value, or inside its range. Made by
`python scripts/experiments/realism.py`.
"""


def table(preset: str, blocks: list[dict[str, float]]) -> str:
    """The rows of one tissue; statistics of each block in `blocks`."""
    lines, met, rows = "", 0, 0
    for target in targets(preset):
        found = np.array([b[target.statistic] for b in blocks if target.statistic in b])
        if len(found) == 0:
            lines += f"| {target.quantity} | – | {target.text} | {target.unit} | – | not met: none in the blocks |\n"
            rows += 1
            continue
        mean = float(found.mean())
        holds = target.holds(mean)
        met, rows = met + holds, rows + 1
        lines += (
            f"| {target.quantity} | {mean:.3g} ({found.min():.3g} – {found.max():.3g}) | {target.text} | {target.unit} "
            f"| {target.ratio(mean):.2f} | {'met' if holds else '**not met**'} | {target.source} |\n"
        )
    head = "| quantity | here | real | unit | ratio | | measured by |\n|---|---|---|---|---|---|---|\n"
    source = tissue_preset(preset)["source"].capitalize()
    return f"\n## {preset}: {met} of {rows} rows met\n\n{source}.\n\n{head}{lines}"


def main() -> None:
    """Make the blocks and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--blocks", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workers", type=int, default=1)
    arguments = parser.parse_args()
    text = HEAD.format(blocks=arguments.blocks, seed=arguments.seed, percent=TOLERANCE)
    for preset in tissue_presets():
        recipe, folder = load_recipe(preset), ROOT / "out" / "tissue" / preset
        for made in generate(recipe, preset, arguments.seed, range(arguments.blocks), folder, arguments.workers):
            if made.failure is not None:
                raise SystemExit(f"block {made.index} of {preset}: {made.failure}")
        blocks = [block_folder(folder, index) for index in range(arguments.blocks)]
        manifests = [read_manifest(block) for block in blocks]
        failed = {name for m in manifests for name, holds in m["certificates"].items() if not holds}
        text += table(preset, [m["statistics"] for m in manifests])
        text += f"\nCertificates: {'all hold' if not failed else ', '.join(sorted(failed)) + ' fail'}.\n"
        print(write_block_report(recipe, arguments.seed, blocks, folder), flush=True)
    (ROOT / "docs" / "results" / "tissue.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""Monte Carlo of stained resin → assets/point_spreads/stained_resin.npz, which simulate/point_spread.py reads.

`python scripts/tabulate_point_spreads.py` (five minutes on one core; --electrons scales it)
"""

from __future__ import annotations

import argparse
from itertools import pairwise
from pathlib import Path

import numpy as np

from neuropil.simulate.backscatter import stained_resin
from neuropil.simulate.monte_carlo import Medium
from neuropil.simulate.monte_carlo_origin import SignalOrigin, signal_origin
from neuropil.simulate.point_spread import LAYERS

ROOT = Path(__file__).resolve().parent.parent
ENERGIES_KEV = (0.5, 0.7, 1.0, 1.5, 2.0, 3.0, 5.0, 7.0, 10.0, 15.0, 20.0, 30.0)
# Electrons that a filter stops are followed no further, so each group of filters gets as many more as that saves.
GROUPS = ((1, (0.0, 0.2, 0.4, 0.5, 0.6)), (3, (0.7, 0.75, 0.8, 0.85)), (10, (0.9, 0.925, 0.95)), (40, (0.98,)))
STAIN_FRACTION = 0.04


def medium(stain: float) -> Medium:
    """Resin of this stain fraction."""
    material = stained_resin(stain)
    return Medium(material.mass_fractions, material.density_g_cm3)


def origins(energy_kev: float, electrons: int) -> list[SignalOrigin]:
    """One energy's groups of filters; above 2 keV fewer electrons, as each takes longer."""
    count = int(electrons * min(1.0, 2.0 / energy_kev))
    return [
        signal_origin(medium, STAIN_FRACTION, energy_kev, shares, more * count, key=round(1e3 * energy_kev))
        for more, shares in GROUPS
    ]


def cumulative(histogram: np.ndarray) -> np.ndarray:
    """Running share of a histogram (…, n) → (…, n + 1) from 0 to 1, never falling."""
    running = np.cumsum(histogram, axis=-1) / histogram.sum(axis=-1, keepdims=True)
    running = np.concatenate((np.zeros_like(running[..., :1]), running), axis=-1)
    return np.maximum.accumulate(np.clip(running, 0.0, 1.0), axis=-1)


def by_depth(contrast: np.ndarray) -> np.ndarray:
    """Running shares over distance (filters, layers, n + 1) of each of LAYERS, from histograms (filters, depths, n)."""
    running = cumulative(contrast.sum(axis=2))
    layers = []
    for low, high in pairwise(LAYERS):
        inside = np.diff(np.clip(running, low, high), axis=1)
        share = inside / np.maximum(np.diff(running, axis=1), 1e-9)
        layers.append(cumulative((share[..., None] * contrast).sum(axis=1)))
    return np.stack(layers, axis=1)


def row(energy_kev: float, electrons: int) -> dict[str, np.ndarray]:
    """One energy's columns, filters first."""
    found = origins(energy_kev, electrons)
    columns = {
        "reach_nm": [o.reach_nm for o in found],
        "detected": [o.detected for o in found],
        "contrast": [o.contrast.sum(axis=(1, 2)) for o in found],
        "depth": [cumulative(o.contrast.sum(axis=2)) for o in found],
        "distance": [by_depth(o.contrast) for o in found],
        "deepest": [cumulative(o.deepest) for o in found],
    }
    return {name: np.concatenate(parts) for name, parts in columns.items()}


def write(output: Path, electrons: int, rows: list[dict[str, np.ndarray]]) -> None:
    """The table, and the command that makes it."""
    output.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(
        output,
        source=np.array(f"python scripts/tabulate_point_spreads.py --electrons {electrons}"),
        stain_fraction=np.array(STAIN_FRACTION),
        landing_kev=np.array(ENERGIES_KEV),
        filter_share=np.concatenate([shares for _, shares in GROUPS]),
        **{name: np.array([r[name] for r in rows], dtype=np.float32) for name in rows[0]},
    )


def main() -> None:
    """Run and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--electrons", type=int, default=800_000, help="of each energy up to 2 keV, without a filter")
    parser.add_argument("--output", type=Path, default=ROOT / "assets" / "point_spreads" / "stained_resin.npz")
    arguments = parser.parse_args()
    rows = []
    for energy in ENERGIES_KEV:
        rows.append(row(energy, arguments.electrons))
        print(f"{energy:g} keV: backscattered {rows[-1]['detected'][0]:.4f}", flush=True)
    write(arguments.output, arguments.electrons, rows)
    print(f"{arguments.output}: {arguments.output.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""Monte Carlo against published tables, the point spread it gives, and where the linear image model fails.

`python scripts/experiments/monte_carlo.py` measures everything (half an hour on one core), keeps the numbers in
docs/results/monte_carlo.json and draws docs/pictures/monte_carlo_*.png; naming parts (elements ranges spread linear)
measures those alone, `fast` only sets the fast model beside what `linear` measured, `draw` measures nothing.
"""

from __future__ import annotations

import argparse
import json
import math
from itertools import pairwise
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib import pyplot
from matplotlib.colors import LogNorm

from neuropil.simulate import electrons
from neuropil.simulate.backscatter import response, stained_resin
from neuropil.simulate.electrons import ELEMENTS
from neuropil.simulate.monte_carlo import Medium, Sample, trace
from neuropil.simulate.monte_carlo_origin import signal_origin
from neuropil.simulate.point_spread import LAYERS, Spread, spread_table

ROOT = Path(__file__).resolve().parent.parent.parent
RESULTS = ROOT / "docs" / "results" / "monte_carlo.json"
PICTURES = ROOT / "docs" / "pictures"
SYMBOLS = ("B", "C", "N", "O", "Mg", "Al", "Si", "Fe", "Cu", "Ag", "Os", "Au", "Pb", "U")
# Joy's collection, about 10 keV, means over authors where there are several (tests/oracles/test_electrons.py).
MEASURED = {"B": 0.056, "Mg": 0.152, "Si": 0.187, "Fe": 0.287, "Cu": 0.340, "Ag": 0.394, "Au": 0.498, "U": 0.5005}
PUBLISHED = {
    "Reuter": electrons.reuter_backscatter,
    "Heinrich": electrons.heinrich_backscatter,
    "Pouchou–Pichoir": electrons.pap_backscatter,
    "Love–Scott": electrons.love_scott_backscatter,
}
# Another Monte Carlo (drix00/MonteCarlo-BSE): keV and η
INDEPENDENT = {
    "C": [(1, 0.0989), (2, 0.0836), (3, 0.0755), (5, 0.0692), (10, 0.0622), (20, 0.0575)],
    "Al": [(1, 0.2259), (2, 0.2006), (3, 0.1889), (5, 0.1780), (10, 0.1673), (20, 0.1595)],
}
RANGED = ("C", "Al", "Si", "Cu", "Ag", "Os", "Au", "Pb", "U")

# Cytoplasm with membranes or a grain of more stain, as osmium, uranium and lead 2 : 1 : 1.
CYTOPLASM, STAINS = 0.02, (0.1, 0.2, 0.3)
EVEN_STAINS = (0.0, 0.02, 0.04, 0.06, 0.1, 0.15, 0.2, 0.3)
LANDING_KEV = (1.0, 2.0, 3.0, 5.0)
FILTERS = (0.0, 0.75)
MEMBRANE_NM, PERIOD_NM, VOXEL_NM = 8, 48, 2
ELECTRONS = 120_000  # of each place


def centre(count: int) -> np.ndarray:
    """Landing places of so many electrons at one point."""
    return np.zeros((count, 2))


def pure(symbol: str) -> Sample:
    """A bulk element."""
    return Sample.uniform(Medium({symbol: 1.0}, ELEMENTS[symbol].density_g_cm3))


def stained(stain: float) -> Medium:
    """Stained resin."""
    material = stained_resin(stain)
    return Medium(material.mass_fractions, material.density_g_cm3)


def elements() -> dict[str, Any]:
    """Backscatter coefficients of pure elements at 10 and 20 keV, and of some from 1 keV on."""
    found: dict[str, Any] = {"20 keV": {}, "10 keV": {}, "by energy": {}}
    for symbol in SYMBOLS:
        found["20 keV"][symbol] = trace(pure(symbol), 20.0, centre(60_000), key=1).backscattered()
        found["10 keV"][symbol] = trace(pure(symbol), 10.0, centre(40_000), key=2).backscattered()
    for symbol in ("C", "Al", "Cu", "Au"):
        found["by energy"][symbol] = [
            (kev, trace(pure(symbol), kev, centre(40_000), key=3).backscattered()) for kev in (0.5, 1.0, 2.0, 3.0, 5.0)
        ]
    return found


def ranges() -> list[dict[str, Any]]:
    """How far electrons get, over Kanaya and Okayama's range: the deepest of all, and by their law of transmission."""
    rows = []
    for kev, count in ((10.0, 100_000), (20.0, 100_000)):
        for symbol in RANGED:
            element = ELEMENTS[symbol]
            published = 1e3 * electrons.kanaya_okayama_range_um(
                element.atomic_number, element.atomic_weight, element.density_g_cm3, kev
            )
            depths = trace(pure(symbol), kev, centre(count), key=4, to_rest=True).depth_nm
            law = math.log(100.0) / (0.187 * element.atomic_number ** (2.0 / 3.0))
            at_one_percent = float(np.percentile(depths, 99.0)) * (1.0 + law) / law
            rows.append(
                {
                    "symbol": symbol,
                    "kev": kev,
                    "deepest": float(depths.max() / published),
                    "law": at_one_percent / float(published),
                }
            )
            print(rows[-1], flush=True)
    return rows


def spread() -> dict[str, Any]:
    """Where contrast at 2 keV comes from, over depth and distance, without and with a filter."""
    found = signal_origin(stained, 0.04, 2.0, (0.0, 0.8), 1_000_000, key=5, bins=(40, 40))
    return {"reach_nm": found.reach_nm.tolist(), "contrast": found.contrast.tolist()}


class Phantom:
    """One sample and landing point of a phantom, and how much stain the linear model sees there above cytoplasm."""

    def __init__(self, voxels: np.ndarray, place_nm: tuple[float, float]) -> None:
        self.voxels, self.place_nm = voxels.astype(np.uint8), place_nm

    def sample(self, stain: float) -> Sample:
        """Medium 1 has this much stain."""
        return Sample(self.voxels, (VOXEL_NM,) * 3, (stained(CYTOPLASM), stained(stain)))

    def seen(self, spread: Spread) -> float:
        """Share of the contrast that comes from medium 1, by the fast model's layers."""

        def bounds(axis: int) -> np.ndarray:
            """Of the voxels, the outermost ones reaching to infinity as in the Monte Carlo."""
            edges = np.arange(self.voxels.shape[axis] + 1) * float(VOXEL_NM)
            edges[-1] = 1e9
            if axis > 0:
                edges[0] = -1e9
            return edges

        above = np.interp(bounds(0), spread.depths_nm, spread.depth)
        seen = 0.0
        for (low, high), distance in zip(pairwise(LAYERS), spread.distance, strict=True):
            weights = [np.diff(np.clip(above, low, high))]
            for axis in (1, 2):
                apart = bounds(axis) - self.place_nm[axis - 1]
                within = np.interp(np.abs(apart), spread.distances_nm, distance)
                weights.append(np.diff(0.5 * np.sign(apart) * within))
            seen += float(np.einsum("zyx,z,y,x->", self.voxels, *weights))
        return seen


def membranes(reach_nm: float, _: float) -> list[Phantom]:
    """Membranes at right angles to the face, every 48 nm, scanned across one."""
    period = np.arange(PERIOD_NM // VOXEL_NM) * VOXEL_NM < MEMBRANE_NM
    repeats = 2 * math.ceil(reach_nm / PERIOD_NM) + 1
    middle = repeats // 2 * PERIOD_NM + 0.5 * MEMBRANE_NM
    return [Phantom(np.tile(period, repeats)[None, None], (0.0, middle + x)) for x in np.arange(0.0, 25.5, 1.5)]


def layers(_: float, mean_depth_nm: float) -> list[Phantom]:
    """One membrane parallel to the face, at ever greater depth."""
    phantoms = []
    for depth in np.linspace(0.0, 2.5 * mean_depth_nm, 14):
        top = round(depth / VOXEL_NM)
        voxels = np.zeros((top + MEMBRANE_NM // VOXEL_NM + 1, 1, 1))
        voxels[top : top + MEMBRANE_NM // VOXEL_NM] = 1
        phantoms.append(Phantom(voxels, (0.0, 0.0)))
    return phantoms


def grain(_: float, __: float) -> list[Phantom]:
    """One ball of 24 nm whose top lies 4 nm below the face, scanned across."""
    nm = (np.arange(32) + 0.5) * VOXEL_NM
    z, y, x = np.meshgrid(nm[:16], nm, nm, indexing="ij")
    ball = (z - 16.0) ** 2 + (y - 32.0) ** 2 + (x - 32.0) ** 2 < 12.0**2
    return [Phantom(ball, (32.0, 32.0 + x)) for x in np.arange(0.0, 25.5, 1.5)]


PHANTOMS = {"membranes": membranes, "layers": layers, "grain": grain}


def compared(full: np.ndarray, seen: np.ndarray, count: int) -> tuple[float, float]:
    """Slope of the full signal over the linear one, and what is left over, as a share of the full signal's contrast.

    full: detected shares (places,) of `count` electrons each; their counting noise is taken off both variances.
    """
    slope, offset = np.polyfit(seen, full, 1)
    noise = float(np.mean(full)) / count
    left = float(np.sum((full - slope * seen - offset) ** 2)) / (len(full) - 2) - noise
    contrast = max(float(np.var(full, ddof=1)) - noise, 1e-12)
    return float(slope), math.copysign(math.sqrt(abs(left) / contrast), left)


def phantoms_of(kind: str, kev: float) -> list[Phantom]:
    """The places of a phantom at this landing energy."""
    spread = spread_table().at(kev, 0.0)
    return PHANTOMS[kind](spread.reach_nm, spread.mean_depth_nm())


def linear() -> list[dict[str, Any]]:
    """Detected shares of phantoms by full Monte Carlo, over stain, energy and filter, beside the fast model's."""
    rows = []
    for kev in LANDING_KEV:
        bulk = {s: trace(Sample.uniform(stained(s)), kev, centre(300_000), key=6).exit_kev for s in EVEN_STAINS}
        for share in FILTERS:
            lowest = max(share * kev, 0.05)
            even = {s: float(np.mean(e >= lowest)) for s, e in bulk.items()}
            rows.append({"phantom": "even", "kev": kev, "filter": share, "detected": list(even.items())})
        for kind in PHANTOMS:
            phantoms = phantoms_of(kind, kev)
            for stain in STAINS:
                exits = [
                    trace(p.sample(stain), kev, np.tile(p.place_nm, (ELECTRONS, 1)), key=100 + n).exit_kev
                    for n, p in enumerate(phantoms)
                ]
                for share in FILTERS:
                    full = [float(np.mean(e >= max(share * kev, 0.05))) for e in exits]
                    row = {"phantom": kind, "kev": kev, "filter": share, "stain": stain, "full": full}
                    rows.append(row | beside_fast(row))
                    print(kind, kev, share, stain, f"slope {rows[-1]['slope']:.3f}, left {rows[-1]['left']:.3f}")
    return rows


def beside_fast(row: dict[str, Any]) -> dict[str, Any]:
    """The fast model's contrast at a row's places, slope of the full signal over it, and what a fit leaves over."""
    kev, share, stain = row["kev"], row["filter"], row["stain"]
    answer, spread = response(kev, share), spread_table().at(kev, share)
    contrast = answer.share_of(stained_resin(stain)) - answer.share_of(stained_resin(CYTOPLASM))
    seen = contrast * np.array([p.seen(spread) for p in phantoms_of(row["phantom"], kev)])
    slope, left = compared(np.array(row["full"]), seen, ELECTRONS)
    return {"slope": slope, "left": left, "seen": seen.tolist()}


def fast() -> list[dict[str, Any]]:
    """Rows of `linear` as they were measured, beside the fast model as it is now."""
    rows = json.loads(RESULTS.read_text())["linear"]
    return [row if row["phantom"] == "even" else row | beside_fast(row) for row in rows]


def draw_elements(found: dict[str, Any]) -> None:
    """Backscatter coefficients over atomic number and energy, beside what is published."""
    figure, (by_number, by_energy) = pyplot.subplots(1, 2, figsize=(11, 4.2), layout="constrained")
    numbers = np.linspace(5.0, 92.0, 200)
    for (name, formula), style in zip(PUBLISHED.items(), ("-", "--", "-.", ":"), strict=True):
        by_number.plot(numbers, formula(numbers), style, color="0.45", lw=1.2, label=name)
    measured = [(ELEMENTS[s].atomic_number, eta) for s, eta in MEASURED.items()]
    by_number.plot(*zip(*measured, strict=True), "x", color="#d9a441", label="measured, about 10 keV (Joy)")
    ours = [(ELEMENTS[s].atomic_number, eta) for s, eta in found["20 keV"].items()]
    by_number.plot(*zip(*ours, strict=True), "o", color="#c0392b", ms=4, label="Monte Carlo, 20 keV")
    by_number.set(xlabel="atomic number", ylabel="backscatter coefficient", xlim=(0, 95), ylim=(0, 0.58))
    by_number.legend(frameon=False, fontsize=8)
    colours = dict(zip(("C", "Al", "Cu", "Au"), ("#2c3e50", "#4a86c8", "#d9a441", "#c0392b"), strict=True))
    for symbol, points in found["by energy"].items():
        both = [*points, (10.0, found["10 keV"][symbol]), (20.0, found["20 keV"][symbol])]
        by_energy.plot(*zip(*both, strict=True), "o-", color=colours[symbol], ms=4, label=f"{symbol}, Monte Carlo")
        energies = np.geomspace(1.0, 20.0, 50)
        love = electrons.love_scott_backscatter(float(ELEMENTS[symbol].atomic_number), energies)
        by_energy.plot(energies, love, ":", color=colours[symbol])
    for symbol, points in INDEPENDENT.items():
        label = "another Monte Carlo (screened Rutherford)" if symbol == "C" else None
        by_energy.plot(*zip(*points, strict=True), "+", color=colours[symbol], ms=9, label=label)
    by_energy.plot([], [], ":", color="0.4", label="Love–Scott (made for 5 keV and more)")
    by_energy.set(xlabel="landing energy, keV", xscale="log", ylim=(0, 0.78))
    by_energy.legend(frameon=False, fontsize=8, loc="upper center", ncols=2)
    figure.savefig(PICTURES / "monte_carlo_elements.png", dpi=110)


def draw_spread(found: dict[str, Any]) -> None:
    """The contrast's origin at 2 keV, and its depth over energy and filter."""
    figure, axes = pyplot.subplots(1, 4, figsize=(14, 3.6), layout="constrained")
    for plot, reach, contrast, title in zip(
        axes, found["reach_nm"], found["contrast"], ("all backscattered", "filter 0.8"), strict=False
    ):
        histogram = np.array(contrast)
        depths = reach * np.linspace(0.0, 1.0, histogram.shape[0] + 1)
        distances = 2.0 * reach * np.linspace(0.0, 1.0, histogram.shape[1] + 1) ** 2
        density = 0.5 * histogram / histogram.sum() / np.outer(np.diff(depths), np.diff(distances))
        for side in (-1.0, 1.0):
            image = plot.pcolormesh(
                side * distances, depths, np.maximum(density, 1e-9), cmap="magma", norm=LogNorm(1e-5, 3e-2)
            )
        plot.set(title=f"2 keV, {title}", xlabel="x, nm", ylabel="depth, nm", xlim=(-40, 40), ylim=(60, 0))
        plot.set_facecolor("black")
    figure.colorbar(image, ax=axes[:2], label="share of the contrast per nm²", shrink=0.85)
    table = spread_table()
    colours = pyplot.get_cmap("viridis")(np.linspace(0.0, 0.85, 5))
    for colour, share in zip(colours, (0.0, 0.5, 0.8, 0.9, 0.98), strict=True):
        depth = [table.at(float(kev), share).mean_depth_nm() for kev in table.landing_kev]
        axes[2].plot(table.landing_kev, depth, "o-", ms=3, color=colour, label=f"filter {share:g}")
        spread = table.at(2.0, share)
        edges = np.linspace(0.0, spread.reach_nm, spread.depth.size)
        axes[3].plot(edges, 1.0 - spread.depth, color=colour, label=f"filter {share:g}")
    axes[2].plot(table.landing_kev, 6.5 * table.landing_kev**1.67, ":", color="0.4", label="E^1.67")
    axes[2].set(xscale="log", yscale="log", xlabel="landing energy, keV", ylabel="mean depth of the contrast, nm")
    axes[3].set(xlabel="depth, nm", ylabel="share from deeper", title="2 keV", xlim=(0, 60))
    for plot in axes[2:]:
        plot.legend(frameon=False, fontsize=8)
    figure.savefig(PICTURES / "monte_carlo_spread.png", dpi=110)


def draw_linear(rows: list[dict[str, Any]]) -> None:
    """Full Monte Carlo against the linear model: even material, one profile, what a fit leaves, and its slope."""
    figure, axes = pyplot.subplots(1, 5, figsize=(18, 3.8), layout="constrained")
    colours = dict(zip(LANDING_KEV, pyplot.get_cmap("plasma")(np.linspace(0.0, 0.8, len(LANDING_KEV))), strict=True))
    for row in rows:
        colour = colours[row["kev"]]
        if row["filter"] == 0.0 and row["phantom"] == "even":
            stains, detected = np.array(row["detected"]).T
            axes[0].plot(stains, detected / detected[0], "o", ms=4, color=colour, label=f"{row['kev']:g} keV")
            answer = response(row["kev"], 0.0)
            axes[0].plot(
                stains, [answer.share_of(stained_resin(s)) / detected[0] for s in stains], "-", lw=1, color=colour
            )
        elif row["filter"] == 0.0 and row["phantom"] == "membranes" and row["stain"] == 0.2:
            full, seen = np.array(row["full"]), np.array(row["seen"])
            slope, offset = np.polyfit(seen, full, 1)
            axes[1].plot(np.arange(full.size) * 1.5, full, "o", ms=4, color=colour)
            axes[1].plot(np.arange(full.size) * 1.5, offset + slope * seen, "-", lw=1, color=colour)
    for plot, share, quantity in ((axes[2], 0.0, "left"), (axes[3], 0.0, "slope"), (axes[4], 0.75, "slope")):
        for kind, marker in (("membranes", "o"), ("layers", "s"), ("grain", "^")):
            plot.plot([], [], marker, color="0.4", label=kind)
            for kev, colour in colours.items():
                found = [r for r in rows if (r["phantom"], r["kev"], r["filter"]) == (kind, kev, share)]
                stains = [r["stain"] for r in found]
                values = [r[quantity] for r in found]
                plot.plot(stains, values, marker + "-", ms=4, lw=0.8, color=colour)
        plot.set(xlabel="stain fraction of the structure")
    axes[0].set(title="even material: full, and fast model", xlabel="stain fraction", ylabel="over resin")
    axes[1].set(title="membranes of 20 %: full, and fit", xlabel="from the membrane's middle, nm", ylabel="detected")
    axes[2].set(title="left over after the fit", ylabel="share of the contrast's sd", ylim=(-0.5, 0.5))
    for plot, title in zip(axes[3:], ("contrast, full over fast model", "the same, filter 0.75"), strict=True):
        plot.set(title=title, ylim=(0.5, 2.0))
        plot.axhline(1.0, color="0.7", lw=0.8)
    for plot in (axes[0], axes[2]):
        plot.legend(frameon=False, fontsize=8)
    figure.savefig(PICTURES / "monte_carlo_linear.png", dpi=100)


MEASUREMENTS = {"elements": elements, "ranges": ranges, "spread": spread, "linear": linear, "fast": fast}


def rounded(value: Any) -> Any:
    """Nested lists and mappings with numbers of five digits."""
    if isinstance(value, dict):
        return {key: rounded(v) for key, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [rounded(v) for v in value]
    return float(f"{value:.5g}") if isinstance(value, float) else value


def main() -> None:
    """Measure what was named, keep it, draw everything there is."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", choices=[*MEASUREMENTS, "draw"], default=[*MEASUREMENTS][:-1])
    parts = parser.parse_args().parts
    matplotlib.use("Agg")
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    for part in parts:
        if part != "draw":
            results["linear" if part == "fast" else part] = MEASUREMENTS[part]()
            RESULTS.write_text(json.dumps(rounded(results)) + "\n", encoding="utf-8")
    for part, draw in (("elements", draw_elements), ("spread", draw_spread), ("linear", draw_linear)):
        if part in results:
            draw(results[part])


if __name__ == "__main__":
    main()

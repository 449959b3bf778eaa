"""The report of a data set of tissue blocks: one HTML page with sections, realism, widths and certificates."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from numpy.typing import NDArray

from neuropil.tissue.parameters import tissue_preset
from neuropil.voxelize.block_files import BlockFiles, read_block
from neuropil.voxelize.replacement import replacing
from neuropil.voxelize.volume_files import read_volume

from .block_job import read_manifest
from .page import Figure, plot_figure, render, tissue_figures
from .pictures import data_uri, grey_rgb, instance_overlay, jpeg_bytes
from .real_images import data_folders
from .realism import compare
from .recipe import Recipe

REPORT = "report.html"
PLANES = ("xy", "xz", "yz")
# Side of the squares that real sections are shown in.
SHOWN_UM = 3.0


def write_block_report(recipe: Recipe, seed: int, blocks: Sequence[Path], folder: Path) -> Path:
    """Write report.html for finished blocks of tissue in `folder`; statistics are means over the blocks."""
    manifests = [read_manifest(block) for block in blocks]
    files = read_block(blocks[0])
    preset = tissue_preset(recipe.tissue.preset)
    # A statistic that a block lacks (no vesicle, say) is 0 there.
    names = sorted(set().union(*(m["statistics"] for m in manifests)))
    statistics = {n: float(np.mean([m["statistics"].get(n, 0.0) for m in manifests])) for n in names}
    certificates = manifests[0]["certificates"]
    extent_nm = [n * nm for n, nm in zip(files.shape_zyx, files.voxel_size_nm, strict=True)]
    page = render(
        "block_report.html.j2",
        recipe=recipe.name,
        preset=recipe.tissue.preset,
        source=preset["source"],
        seed=seed,
        blocks=len(blocks),
        size=" × ".join(f"{um:g}" for um in recipe.tissue.size_um),
        sections=_sections(files),
        real=_real_sections(preset.get("real")),
        tissue=tissue_figures(blocks[0], extent_nm),
        comparisons=compare(recipe.tissue.preset, statistics),
        widths=_widths([m["membrane_gaps_nm"] for m in manifests]),
        certificates={n: all(m["certificates"][n] for m in manifests) for n in certificates},
    )
    with replacing(folder / REPORT) as file:
        file.write_text(page, encoding="utf-8")
    return folder / REPORT


def _plane(files: BlockFiles, name: str, plane: str) -> NDArray[Any]:
    """The middle section of an array of a block, across z (xy), y (xz) or x (yz)."""
    start, shape = [0, 0, 0], list(files.shape_zyx)
    axis = {"xy": 0, "xz": 1, "yz": 2}[plane]
    start[axis], shape[axis] = shape[axis] // 2, 1
    return np.squeeze(files.volume(name, start, shape).data, axis)


def _sections(files: BlockFiles) -> list[list[Figure]]:
    """Micrograph, and the cells over it, in each plane."""
    grey = {plane: _plane(files, "image", plane) for plane in PLANES}
    cells = {plane: instance_overlay(grey[plane], _plane(files, "instances", plane)) for plane in PLANES}
    return [
        [Figure(data_uri(jpeg_bytes(grey_rgb(grey[p])), "jpeg"), f"micrograph, {p}") for p in PLANES],
        [Figure(data_uri(jpeg_bytes(cells[p]), "jpeg"), f"every cell, {p}") for p in PLANES],
    ]


def _real_sections(real: dict[str, Any] | None) -> list[Figure]:
    """Squares of SHOWN_UM from the middle of the real images that a preset names; none where there are none."""
    if real is None:
        return []
    for folder in data_folders():
        path = folder / real["path"]
        if path.exists():
            size_nm = tuple(float(nm) for nm in real["voxel_size_nm"])
            volume = read_volume(path, size_nm).data
            planes = PLANES if volume.shape[0] * size_nm[0] > 1000 and real["continuous"] else PLANES[:1]
            return [
                Figure(data_uri(jpeg_bytes(grey_rgb(_square(volume, size_nm, p))), "jpeg"), f"{real['name']}, {p}")
                for p in planes
            ]
    return []


def _square(volume: NDArray[np.uint8], size_nm: Sequence[float], plane: str) -> NDArray[np.uint8]:
    axis = {"xy": 0, "xz": 1, "yz": 2}[plane]
    section = np.take(volume, volume.shape[axis] // 2, axis)
    sizes = [nm for n, nm in enumerate(size_nm) if n != axis]
    cut = []
    for length, nm in zip(section.shape, sizes, strict=True):
        wide = min(length, round(SHOWN_UM * 1000 / nm))
        cut.append(slice((length - wide) // 2, (length + wide) // 2))
    return np.ascontiguousarray(section[tuple(cut)])


def _widths(gaps: Sequence[dict[str, list[float]]]) -> Figure:
    """Histogram of the widths of the extracellular space over all blocks."""
    matplotlib.use("Agg")
    from matplotlib import pyplot

    edges = np.asarray(gaps[0]["edges_nm"])
    counts = {name: np.sum([g[name] for g in gaps], axis=0) for name in ("sheets", "tunnels")}
    figure, axes = pyplot.subplots(figsize=(7, 3), layout="constrained")
    below = np.zeros(len(edges) - 1)
    for name, colour in (("sheets", "#4a86c8"), ("tunnels", "#d9a441")):
        share = counts[name] / max(1, sum(c.sum() for c in counts.values()))
        axes.bar(edges[:-1], share, np.diff(edges), bottom=below, align="edge", color=colour, label=name)
        below = below + share
    axes.set(xlabel="width of the extracellular space, nm", ylabel="share of the membranes", xlim=(0, edges[-1]))
    axes.legend(frameon=False)
    return plot_figure(figure)

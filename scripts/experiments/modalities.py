"""One block of tissue in every modality, side by side, each at its own resolution; and a whole neuron under light.

`neuropil generate rodent_ca1 -o blocks`, then
`python scripts/experiments/modalities.py blocks/00000.zarr -o docs/pictures/modalities.png`
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes

from neuropil.morphology.growth import grow_neuron
from neuropil.morphology.neuron_class import load_class
from neuropil.pipeline.block_job import recorded_stain_scale
from neuropil.pipeline.imaging_job import micrograph_of
from neuropil.pipeline.pictures import instance_overlay
from neuropil.pipeline.recipe import named_appearance
from neuropil.simulate.fibsem import Micrograph
from neuropil.simulate.fluorescence import LightMicroscope, image_filled_cells
from neuropil.simulate.imaging import blur_reach, image_block, load_microscope
from neuropil.tissue.circuit_cones import cones_of
from neuropil.voxelize.block_files import BlockFiles, read_block
from neuropil.voxelize.cones import ConeBody, rasterize_cones
from neuropil.voxelize.solid import Box
from neuropil.voxelize.volume import Volume

SEED = 20
PROFILE = "epfl_ca1"
ELECTRONS = ("fibsem", "sbfsem", "sstem")
OTHERS = ("xray_phase", "xray_absorption", "confocal", "widefield", "two_photon")
LIGHT = ("confocal", "widefield", "two_photon")
# The piece of a grown pyramidal cell that is shown, around its soma: voxels of it, and their number.
NEURON_VOXEL_NM, NEURON_SHAPE = (300.0, 150.0, 150.0), (120, 600, 600)


def electron_slice(block: BlockFiles, name: str, middle: int) -> Volume:
    """The image of the slice or section in which the block's slice `middle` lies; only its surroundings are imaged."""
    microscope, look = load_microscope(name), named_appearance(PROFILE)
    size = block.voxel_size_nm
    around = blur_reach(microscope, size)[0] + round(60 / size[0])
    low, high = max(0, middle - around), min(block.shape_zyx[0], middle + around + 1)
    box = (low, 0, 0), (high - low, *block.shape_zyx[1:])
    volumes = (block.volume(part, *box) for part in ("materials", "membrane", "instances"))
    rng, scale = np.random.default_rng(SEED), recorded_stain_scale(block.manifest)
    return image_block(*volumes, look.materials, microscope, rng, scale).image


def whole(block: BlockFiles, name: str) -> Micrograph:
    """The block's whole image."""
    return micrograph_of(block, named_appearance(PROFILE), load_microscope(name), SEED)


def at_depth(volume: Volume, depth_nm: float) -> np.ndarray:
    """The plane (y, x) that a depth lies in."""
    index = int((depth_nm - volume.origin_nm[0]) / volume.voxel_size_nm[0])
    return np.asarray(volume.data[min(max(index, 0), volume.shape_zyx[0] - 1)])


def brightest(volume: Volume) -> np.ndarray:
    """Maximum along z."""
    return np.asarray(volume.data).max(axis=0)


def show(axes: Axes, plane: np.ndarray, volume: Volume, title: str, bar_um: float) -> None:
    """A plane where it lies in the block, in µm, with its voxel size and a bar."""
    size_y, size_x = (1e-3 * nm for nm in volume.voxel_size_nm[1:])
    y, x = (1e-3 * nm for nm in volume.origin_nm[1:])
    low, high = np.percentile(plane, (0.3, 99.7)) if plane.ndim == 2 else (0, 255)
    extent = (x, x + size_x * plane.shape[1], y + size_y * plane.shape[0], y)
    axes.imshow(plane, cmap="gray", vmin=low, vmax=high, extent=extent, interpolation="nearest")
    voxel = " × ".join(f"{nm:g}" for nm in volume.voxel_size_nm)
    axes.set_title(f"{title}\n{voxel} nm", fontsize=9)
    axes.plot([extent[0] + bar_um * 0.2, extent[0] + bar_um * 1.2], [extent[2] - bar_um * 0.25] * 2, "w", lw=5)
    axes.plot([extent[0] + bar_um * 0.2, extent[0] + bar_um * 1.2], [extent[2] - bar_um * 0.25] * 2, "k", lw=2)
    axes.set_axis_off()


def panels_of_tissue(block: BlockFiles) -> list[tuple[np.ndarray, Volume, str]]:
    """Truth and image of one depth in each modality."""
    middle = block.shape_zyx[0] // 2
    depth_nm = (middle + 0.5) * block.voxel_size_nm[0]
    ids = block.volume("instances", (middle, 0, 0), (1, *block.shape_zyx[1:]))
    flat = np.full(ids.data[0].shape, 128, np.uint8)
    panels = [(instance_overlay(flat, ids.data[0]), ids, "truth: cells")]
    for name in ELECTRONS:
        volume = electron_slice(block, name, middle)
        panels.append((at_depth(volume, depth_nm), volume, name))
    for name in OTHERS:
        made = whole(block, name)
        panels.append((at_depth(made.image, depth_nm), made.image, name))
    # One seed: all the light microscopes are shown the same cells.
    labelled = [int(cell) for cell in made.parameters["brightness"]]
    seen = np.where(np.isin(ids.data[0], labelled), ids.data[0], 0)
    panels.insert(len(ELECTRONS) + 3, (instance_overlay(flat, seen), ids, "truth: labelled cells"))
    return panels


def panels_of_neuron() -> list[tuple[np.ndarray, Volume, str]]:
    """A pyramidal cell grown from its class, filled with fluorophore: how full its voxels are, and its images."""
    tree = grow_neuron(load_class("cortical_pyramidal"), np.random.default_rng(SEED))
    parts = cones_of(tree)
    cones = parts.cones.copy()
    extent_um = [1e-3 * nm * n for nm, n in zip(NEURON_VOXEL_NM[::-1], NEURON_SHAPE[::-1], strict=True)]
    shift = np.array(extent_um) * (0.65, 0.5, 0.5) - tree.points_um[0]
    cones[:, :3] += shift
    cones[:, 3:6] += shift
    body = ConeBody(cones, np.ones(len(cones), np.uint8), 1)
    voxels = rasterize_cones([body], NEURON_VOXEL_NM, Box((0, 0, 0), NEURON_SHAPE))
    held = named_appearance(PROFILE).materials["dendroplasm"].fluorophore_umol_per_l
    panels = [(brightest(voxels.volume_fraction), voxels.volume_fraction, "truth: filled share")]
    for name in LIGHT:
        microscope = load_microscope(name)
        assert isinstance(microscope, LightMicroscope)
        labelled = microscope.model_copy(update={"labelled_share": 1.0})
        cells = (voxels.instances, voxels.volume_fraction, held, frozenset[int]())
        made = image_filled_cells(*cells, labelled, np.random.default_rng(SEED)).image
        panels.append((np.sqrt(brightest(made)), made, f"{name}, root of the brightest along z"))
    return panels


def main() -> None:
    """Read the arguments, make the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("block", type=Path, help="a block of tissue")
    parser.add_argument("-o", "--output", type=Path, required=True)
    arguments = parser.parse_args()
    tissue = panels_of_tissue(read_block(arguments.block))
    rows = [(tissue[:5], 0.5), (tissue[5:], 0.5), (panels_of_neuron(), 20.0)]
    figure, axes = plt.subplots(len(rows), 5, figsize=(15, 3.4 * len(rows)), squeeze=False)
    for line, (panels, bar_um) in zip(axes, rows, strict=True):
        for place in line[len(panels) :]:
            place.set_axis_off()
        for place, (plane, volume, title) in zip(line, panels, strict=False):
            show(place, plane, volume, title.replace("_", " "), bar_um)
    figure.tight_layout()
    figure.savefig(arguments.output, dpi=100)
    print(arguments.output)


if __name__ == "__main__":
    main()

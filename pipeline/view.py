"""One picture of a block, a volume or a neuron."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from neuropil.morphology.swc import read_swc
from neuropil.voxelize.block_files import read_block
from neuropil.voxelize.volume import Triple, Volume
from neuropil.voxelize.volume_files import read_volume

from .block_job import is_finished
from .cell_view import block_meshes, draw_meshes
from .circuit_pictures import circuit_meshes
from .neurons import draw_neuron
from .pictures import Rgb, grey_rgb, instance_overlay, side_by_side, write_png

VIEW_PX = (1200, 900)


def write_view(source: str, path: Path, voxel_size_nm: Triple | None) -> None:
    """Write a PNG: of a block its three middle sections with its cells (of a circuit block its projections), and
    these in 3D; of a volume its middle sections; of an SWC file the neuron's surface.

    Raises ValueError or FileNotFoundError for what cannot be read, or a `path` that is no .png.
    """
    if path.suffix.lower() != ".png":
        raise ValueError(f"{path} has the suffix {path.suffix!r}, but a view is a .png")
    if is_finished(Path(source)):
        write_png(_block_picture(Path(source)), path)
    elif source.lower().endswith(".swc"):
        draw_neuron(read_swc(source), path, VIEW_PX)
    else:
        write_png(sections(read_volume(source, voxel_size_nm)), path)


def _block_picture(block: Path) -> Rgb:
    files = read_block(block)
    z, y, x = (n * nm / 1000 for n, nm in zip(files.shape_zyx, files.voxel_size_nm, strict=True))
    is_circuit = files.image is None
    if is_circuit:
        meshes = circuit_meshes(block)
        with Image.open(block / "preview.png") as projections:
            flat = np.array(projections.convert("RGB"))
    else:
        meshes = block_meshes(block)
        flat = sections(files.volume("image"), files.volume("instances"))
    with tempfile.TemporaryDirectory() as folder:
        solid = Path(folder) / "cells.png"
        if not draw_meshes(meshes, solid, (x, y, z), VIEW_PX):
            return flat
        with Image.open(solid) as picture:
            cells = np.array(picture)
    return side_by_side([flat, _trimmed(cells)]) if is_circuit else _stacked(flat, cells)


def _trimmed(picture: Rgb) -> Rgb:
    """The picture without the white around what it shows."""
    drawn = (picture < 250).any(axis=2)
    rows, columns = np.flatnonzero(drawn.any(axis=1)), np.flatnonzero(drawn.any(axis=0))
    return picture[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] if len(rows) else picture


def sections(volume: Volume, instances: Volume | None = None) -> Rgb:
    """The middle sections across z, y and x in a row, at one scale; instances, where given, in colours.

    Raises ValueError where the volume has channels.
    """
    if volume.axes != "zyx":
        raise ValueError(f"the volume has {len(volume.channels)} channels; a view shows one array (z, y, x)")
    pixel_nm = min(volume.voxel_size_nm)
    pictures = []
    for axis in range(3):
        middle = volume.data.shape[axis] // 2
        plane = np.take(np.asarray(volume.data), middle, axis)
        if instances is not None:
            picture = instance_overlay(plane, np.take(np.asarray(instances.data), middle, axis), 0.35)
        elif plane.dtype.kind in "iu" and plane.dtype != np.uint8:
            picture = instance_overlay(np.full(plane.shape, 255, np.uint8), plane.astype(np.uint32), 1.0)
        else:
            picture = grey_rgb(_grey(plane))
        sizes = [s for k, s in enumerate(volume.voxel_size_nm) if k != axis]
        height, width = (max(1, round(n * s / pixel_nm)) for n, s in zip(plane.shape, sizes, strict=True))
        pictures.append(np.array(Image.fromarray(picture).resize((width, height), Image.Resampling.NEAREST)))
    return side_by_side(pictures)


def _grey(plane: NDArray[Any]) -> NDArray[np.uint8]:
    """Any numbers as grey levels, from the least to the largest; uint8 as it is."""
    if plane.dtype == np.uint8:
        return plane
    low, high = float(plane.min()), float(plane.max())
    scaled = (plane.astype(np.float64) - low) * (255 / (high - low) if high > low else 0.0)
    return scaled.round().astype(np.uint8)


def _stacked(above: Rgb, below: Rgb) -> Rgb:
    """Two pictures one above the other, white beside the narrower one."""
    width = max(above.shape[1], below.shape[1])
    rows = [np.pad(p, ((0, 8), (0, width - p.shape[1]), (0, 0)), constant_values=255) for p in (above, below)]
    return np.concatenate(rows)

"""The report of a run on a real stack: virtual slice beside real ones, what was found in them, what it took."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuropil.train.classes import CLASS_NAMES
from neuropil.voxelize.block_files import read_block
from neuropil.voxelize.volume import Volume
from neuropil.voxelize.volume_files import open_volume

from .page import Figure, Picture, compared_figures, render
from .pictures import CLASS_COLOURS, class_overlay, data_uri, grey_rgb, instance_overlay, jpeg_bytes
from .real_stack import RealStack
from .report import CLASS_TITLES, curve_figure

# Where in the stack the slices lie that are shown, as shares of its depth.
SHOWN = (0.2, 0.5, 0.8)


def real_report_html(
    metrics: Mapping[str, Any], stack: RealStack, segmentation: Path, block: Path | None, model: Path | None
) -> str:
    """The page for a run on a stack; block and model are None where the run was given a model."""
    found = open_volume(str(segmentation))
    shown = [int(share * len(stack.images)) for share in SHOWN]
    pictures = [Picture("real", stack.images[shown[1]], stack.voxel_size_nm[1:])]
    if block is not None:
        files = read_block(block)
        grey = files.volume("image", (files.shape_zyx[0] // 2, 0, 0), (1, *files.shape_zyx[1:])).data[0]
        pictures.insert(0, Picture("neuropil", grey, files.voxel_size_nm[1:]))
    return render(
        "real_report.html.j2",
        metrics=metrics,
        pair=compared_figures(*pictures),
        answers=[_answers(stack, found, z) for z in shown],
        classes=[(CLASS_TITLES[n], "rgb({}, {}, {})".format(*CLASS_COLOURS[n])) for n in found.channels or ()],
        curve=None if model is None or found.axes == "zyx" else curve_figure(model),
    )


def _answers(stack: RealStack, found: Volume, z: int) -> list[Figure]:
    """A slice, and the same with what was found in it."""
    grey = stack.images[z]
    overlay = _overlay(grey, found, z)
    return [
        Figure(data_uri(jpeg_bytes(grey_rgb(grey)), "jpeg"), f"slice {stack.numbers[z]}"),
        Figure(data_uri(jpeg_bytes(overlay), "jpeg"), "found"),
    ]


def _overlay(grey: NDArray[np.uint8], found: Volume, z: int) -> NDArray[np.uint8]:
    if found.axes == "zyx":
        return instance_overlay(grey, np.asarray(found.data[z]))
    bits = np.zeros(grey.shape, np.uint8)
    for channel, name in enumerate(found.channels or ()):
        bits |= np.asarray(found.data[channel, z]).astype(np.uint8) << np.uint8(CLASS_NAMES.index(name))
    return class_overlay(grey, bits)

"""The picture of docs/artefacts.md: one block clean and with each artefact exaggerated.

python scripts/experiments/artefacts.py BLOCK -o docs/artefacts.png    BLOCK as `neuropil generate` makes it
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import numpy.typing as npt
from PIL import Image

from neuropil.simulate.fibsem import image_fibsem
from neuropil.simulate.imaging import load_microscope
from neuropil.simulate.materials import load_materials
from neuropil.simulate.microscope import FibSem, SbfSem
from neuropil.voxelize.block_files import read_block
from neuropil.voxelize.volume import Volume

SHAPE = (64, 380, 420)
# Not shown, because the faces of what is imaged show there once the beam is displaced.
MARGIN = 50
# Title, what is set, and whether the cut that shows it runs through the slices (x, z) and not along one (x, y).
FIB: list[tuple[str, dict[str, Any], bool]] = [
    ("clean", {}, False),
    ("clean, across the slices", {}, True),
    (
        "contrast 15 %, brightness 12, current 3 %",
        {"drift_gain_sd": 0.15, "drift_offset_grey": 12.0, "beam_current_sd": 0.03, "drift_length_slices": 4},
        True,
    ),
    ("misalignment 12 nm, wander 25 nm", {"scan": {"misalignment_nm": 12.0, "wander_nm": 25.0}}, True),
    ("curtaining 8 %", {"curtaining": {"contrast": 0.08, "length_um": 1.5}}, False),
    ("drift of the beam 40 nm", {"scan": {"drift_nm": 40.0, "drift_time_ms": 300.0}}, False),
    ("line jitter 8 nm", {"scan": {"jitter_nm": 8.0}}, False),
    (
        "vibration 15 nm at 55 Hz, 0.7 ms a line",
        {"scan": {"vibration_nm": [4.0, 15.0], "vibration_hz": 55.0, "line_time_ms": 0.7}},
        False,
    ),
    ("defocus 3 µm", {"focus": {"defocus_um": 3.0}}, False),
    ("astigmatism 2 µm", {"focus": {"defocus_um": 1.0, "astigmatism_um": 2.0}}, False),
    (
        "charging, strength 3 over 250 nm",
        {"charging": {"strength": 3.0, "length_nm": 250.0, "neutral_backscatter": 0.118}},
        False,
    ),
    ("a tenth of the dose", {"dose_e_per_px": 2400, "gain_grey_per_electron": -2.33}, False),
    ("dwell correlation 0.7", {"dwell_correlation": 0.7}, False),
    ("read noise 20 grey levels", {"read_noise_grey": 20.0}, False),
    ("tiles of 0.7 µm", {"mosaic": {"tile_um": 0.7, "gain_sd": 0.08, "offset_grey": 8.0, "shift_nm": 30.0}}, False),
]
SBF: list[tuple[str, dict[str, Any], bool]] = [
    ("chatter 10 %", {"knife": {"chatter": 0.1, "chatter_period_nm": 140.0}}, False),
    ("debris", {"knife": {"debris_per_um2": 1.2, "debris_radius_um": 0.16}}, False),
]
ALL: dict[str, Any] = {
    "dwell_correlation": 0.2,
    "read_noise_grey": 2.0,
    "scan": {"drift_nm": 5.0, "vibration_nm": [1.0, 3.0], "vibration_hz": 55.0, "line_time_ms": 0.7, "jitter_nm": 1.5},
    "focus": {"defocus_um": 1.0, "astigmatism_um": 0.5},
    "charging": {"strength": 0.2, "length_nm": 250.0, "neutral_backscatter": 0.118},
    "mosaic": {"tile_um": 0.9, "gain_sd": 0.02, "offset_grey": 2.0, "shift_nm": 5.0},
    "curtaining": {"contrast": 0.02},
}
NOTHING_ELSE = {"drift_gain_sd": 0.0, "drift_offset_grey": 0.0}


def microscopes() -> list[tuple[str, FibSem | SbfSem, bool]]:
    """Title, microscope and cut of each panel."""
    base = load_microscope("fibsem").model_dump() | NOTHING_ELSE
    shared = {k: v for k, v in base.items() if k not in ("modality", "curtaining")}
    of_fib = [(title, FibSem.model_validate(base | changed), across) for title, changed, across in FIB]
    of_fib.append(("FIB-SEM, everything at once, not exaggerated", FibSem.model_validate(base | ALL), False))
    return of_fib + [(title, SbfSem.model_validate(shared | changed), across) for title, changed, across in SBF]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("block", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    block = read_block(arguments.block)
    start = [(whole - part) // 2 for whole, part in zip(block.volume("materials").shape_zyx, SHAPE, strict=True)]
    volumes = []
    for name in ("materials", "membrane", "instances"):
        there = block.volume(name).crop(start, SHAPE)
        volumes.append(Volume(np.asarray(there.data), there.voxel_size_nm, there.origin_nm))
    table, panels = load_materials(), microscopes()
    figure, axes = plt.subplots(3, 6, figsize=(18, 8.4))
    for axis in axes.flat:
        axis.axis("off")
    for axis, (title, microscope, across) in zip(axes.flat, panels, strict=False):
        rng = np.random.default_rng(arguments.seed)
        image: npt.NDArray[np.uint8] = image_fibsem(*volumes, table, microscope, rng).image.data
        inner = image[:, MARGIN:-MARGIN, MARGIN:-MARGIN]
        shown = np.repeat(inner[:, 100], 4, axis=0) if across else inner[SHAPE[0] // 2]
        axis.imshow(shown, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
        axis.set_title(title, fontsize=9)
    figure.tight_layout()
    figure.set_dpi(85)
    figure.canvas.draw()
    drawn = Image.fromarray(np.asarray(figure.canvas.buffer_rgba()))
    drawn.convert("L").save(arguments.output, optimize=True)
    print(arguments.output)


if __name__ == "__main__":
    main()

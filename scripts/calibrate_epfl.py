#!/usr/bin/env python
"""Set the profile assets/profiles/epfl_ca1.yaml: a FIB-SEM, its stains and its annotators' hand.

    python scripts/calibrate_epfl.py [-o PROFILE.yaml] [--tissue-seeds 1 3]

Compares virtual tissue with the annotated EPFL slices 0000–0063 (found through NEUROPIL_DATA, default
../shared/data). Slices from 0089 on are never read: they are kept to test with. Takes some minutes.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

import numpy as np
import numpy.typing as npt
import yaml
from PIL import Image

from neuropil.simulate.annotator import AnnotatorStyle
from neuropil.simulate.calibration import calibrate_fibsem
from neuropil.simulate.materials import load_materials, load_structures
from neuropil.simulate.microscope import load_microscope
from neuropil.simulate.truth import Truth
from neuropil.tissue.block import build_block
from neuropil.tissue.parameters import TissueParameters
from neuropil.voxelize.solid import Box, Part, voxelize

ROOT = Path(__file__).resolve().parent.parent
LAST_SLICE = 63
PIXEL_NM = 5.0
SLICES = 24
PIXELS = 440


def read_runs(folder: Path) -> tuple[list[tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]], list[str]]:
    """Runs of neighbouring annotated slices up to LAST_SLICE, and the names of the slices."""
    names = sorted(p.stem for p in (folder / "images").glob("*.png") if int(p.stem[:4]) <= LAST_SLICE)
    if not names:
        raise FileNotFoundError(f"{folder}/images holds no slice; set NEUROPIL_DATA to where epfl_ca1 lies")
    groups: list[list[str]] = []
    for name in names:
        if groups and int(name[:4]) == int(groups[-1][-1][:4]) + 1:
            groups[-1].append(name)
        else:
            groups.append([name])
    runs = []
    for group in groups:
        images, labels = (
            np.stack([np.array(Image.open(folder / kind / f"{name}.png")) for name in group])
            for kind in ("images", "labels")
        )
        runs.append((images, labels))
    return runs, names


def make_truth(parameters: TissueParameters, seed: int) -> Truth:
    """A block of virtual tissue as the microscope meets it."""
    structures, table = load_structures(), load_materials()
    parts = []
    for solid in build_block(parameters, np.random.default_rng(seed)).solids:
        structure = structures[solid.structure]
        material = table[structure.material].id
        parts.append(
            Part(solid.vertices_um, solid.faces, solid.cell_id, structure.class_id, material, structure.membrane_nm)
        )
    block = voxelize(parts, Box((0, 0, 0), (SLICES, PIXELS, PIXELS)), (PIXEL_NM,) * 3)
    return Truth(block.materials, block.membrane, block.instances, block.classes)


def main() -> None:
    """Read the slices, make the tissue, calibrate, write the profile."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, default=ROOT / "assets/profiles/epfl_ca1.yaml")
    parser.add_argument("--tissue-seeds", type=int, nargs="+", default=[1, 3])
    arguments = parser.parse_args()
    began = time.monotonic()

    def step(message: str) -> None:
        print(f"{time.monotonic() - began:6.0f} s  {message}", flush=True)

    data = Path(os.environ.get("NEUROPIL_DATA", ROOT / "../shared/data"))
    runs, names = read_runs(data / "epfl_ca1")
    extent_um = PIXELS * PIXEL_NM / 1000
    parameters = TissueParameters(size_um=(extent_um, extent_um, 0.25), myelinated_axons=0)
    blocks = [make_truth(parameters, seed) for seed in arguments.tissue_seeds]
    step(f"{len(blocks)} blocks of virtual tissue")
    profile = calibrate_fibsem(
        "epfl_ca1",
        runs,
        blocks,
        load_structures(),
        load_materials(),
        load_microscope("fibsem"),
        AnnotatorStyle(),
        provenance={
            "command": f"python scripts/calibrate_epfl.py --tissue-seeds {' '.join(map(str, arguments.tissue_seeds))}",
            "slices": names,
            "data": "EPFL CA1 hippocampus, labels of github.com/GraphLabEMproj/unet, 5 nm pixels",
            "tissue": parameters.model_dump(mode="json"),
            "start": "assets/microscopes/fibsem.yaml, assets/materials/stained_tissue.yaml",
        },
        step=step,
    )
    unfinished = arguments.output.with_name(f".{arguments.output.name}.unfinished")
    unfinished.write_text(yaml.safe_dump(profile.model_dump(mode="json"), sort_keys=False, width=110))
    os.replace(unfinished, arguments.output)
    step(f"wrote {arguments.output}")


if __name__ == "__main__":
    main()

#!/usr/bin/env python
"""Set the profile assets/profiles/epfl_ca1.yaml: a FIB-SEM, its stains and its annotators' hand.

    python scripts/calibrate_epfl.py [-o PROFILE.yaml] [--tissue-seeds 1 3]
    python scripts/calibrate_epfl.py --check [-o PROFILE.yaml] [--picture PICTURE.png] [--tissue-seeds 11 12 13]

Compares virtual tissue with the annotated EPFL slices 0000–0063 (found through NEUROPIL_DATA, default
../shared/data). Slices from 0089 on are never read for that, they are kept to test with: --check sets nothing,
and prints their statistics beside those of virtual tissue imaged by the profile. Takes some minutes.
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

from neuropil.simulate.annotator import AnnotatorStyle, annotate
from neuropil.simulate.calibration import calibrate_fibsem
from neuropil.simulate.fibsem import image_fibsem
from neuropil.simulate.imaging import load_microscope
from neuropil.simulate.materials import load_materials, load_structures
from neuropil.simulate.profile import Profile, load_profile
from neuropil.simulate.statistics import LAGS, ImageStatistics, class_greys, measure
from neuropil.simulate.truth import Truth
from neuropil.tissue.block import build_block
from neuropil.tissue.parameters import TissueParameters
from neuropil.voxelize.solid import Box, Part, voxelize

ROOT = Path(__file__).resolve().parent.parent
LAST_SLICE_TO_SET_BY = 63
FIRST_SLICE_TO_TEST_WITH = 89
PIXEL_NM = 5.0
SLICES = 24
PIXELS = 440

Run = tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]  # images and annotation of neighbouring slices


def read_runs(folder: Path, first: int, last: int) -> tuple[list[Run], list[str]]:
    """Runs of neighbouring annotated slices numbered first … last, and the names of the slices."""
    names = sorted(p.stem for p in (folder / "images").glob("*.png") if first <= int(p.stem[:4]) <= last)
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


def photograph(block: Truth, profile: Profile, seed: int) -> Run:
    """Image and annotation of a block as the profile's instrument and annotators make them."""
    table, rng = profile.stained(load_materials()), np.random.default_rng(seed)
    shot = image_fibsem(block.materials, block.membrane, block.instances, table, profile.microscope, rng)
    drawn = annotate(block.classes, block.instances, load_structures(), profile.annotator, rng)
    return shot.image.data, drawn.data


def check(profile: Profile, blocks: list[Truth], runs: list[Run], picture: Path | None) -> None:
    """Print statistics of runs and of imaged blocks side by side; lay one slice of each side by side."""
    made = [photograph(block, profile, seed) for seed, block in enumerate(blocks)]
    real, simulated = (measure(np.concatenate([images[::6] for images, _ in side])) for side in (runs, made))
    print(f"{'':26}{'real':>10}{'simulated':>11}{'differs':>9}")
    for name, one, two in zip(STATISTICS, in_a_row(real), in_a_row(simulated), strict=True):
        print(f"{name:26}{one:10.4f}{two:11.4f}{100 * (two / one - 1):+8.1f}%")
    greys = [class_greys(*map(np.concatenate, zip(*cropped(side), strict=True))) for side in (runs, made)]
    print(f"{'grey, sd, share of area':26}{'real':>24}{'simulated':>24}")
    for name in (name for name in greys[0] if name in greys[1]):
        print(f"{name:26}" + "".join(f"{g[name].mean:10.1f}{g[name].sd:6.1f}{g[name].share:8.3f}" for g in greys))
    if picture is not None:
        halves = [side[0][0][SLICES // 2 if side is made else 0][:PIXELS, :PIXELS] for side in (made, runs)]
        Image.fromarray(np.concatenate(halves, axis=1)).save(picture)


STATISTICS = (
    "mean", "standard deviation", "GLCM contrast", "GLCM homogeneity", "GLCM energy", "GLCM correlation",
    "GLCM entropy", "noise (Immerkær)", *(f"autocorrelation {axis}, {lag} px" for axis in "xy" for lag in LAGS),
)  # fmt: skip


def in_a_row(found: ImageStatistics) -> list[float]:
    """The statistics in the order of STATISTICS."""
    glcm = found.texture
    texture = [glcm.contrast, glcm.homogeneity, glcm.energy, glcm.correlation, glcm.entropy]
    return [found.mean, found.sd, *texture, found.noise_sigma, *found.autocorrelation_x, *found.autocorrelation_y]


def cropped(side: list[Run]) -> list[Run]:
    """Runs with every second slice, as they are long."""
    return [(images[::2], field[::2]) for images, field in side]


def main() -> None:
    """Read the slices, make the tissue, and set the profile or check it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, default=ROOT / "assets/profiles/epfl_ca1.yaml")
    parser.add_argument("--tissue-seeds", type=int, nargs="+", default=[1, 2, 3, 4])
    parser.add_argument("--check", action="store_true", help="compare with slices from 0089 on, set nothing")
    parser.add_argument("--picture", type=Path, help="with --check: a simulated slice beside a real one")
    arguments = parser.parse_args()
    began = time.monotonic()

    def step(message: str) -> None:
        print(f"{time.monotonic() - began:6.0f} s  {message}", flush=True)

    data = Path(os.environ.get("NEUROPIL_DATA", ROOT / "../shared/data"))
    first, last = (FIRST_SLICE_TO_TEST_WITH, 9999) if arguments.check else (0, LAST_SLICE_TO_SET_BY)
    runs, names = read_runs(data / "epfl_ca1", first, last)
    extent_um = PIXELS * PIXEL_NM / 1000
    parameters = TissueParameters(preset="rodent_ca1", size_um=(extent_um, extent_um, 0.4))
    blocks = [make_truth(parameters, seed) for seed in arguments.tissue_seeds]
    step(f"{len(blocks)} blocks of virtual tissue")
    if arguments.check:
        check(load_profile(arguments.output), blocks, runs, arguments.picture)
        return
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

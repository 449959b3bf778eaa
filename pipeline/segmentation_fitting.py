"""`neuropil fit --segmentation`: a class of neurites from the objects of a segmented volume."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import trimesh
from skimage import measure

from neuropil.morphology.growth import grow_neurite
from neuropil.morphology.neurite_shape import (
    NeuriteShape,
    fit_neurites,
    measure_neurites,
    neurite_distances,
    stretch_for,
)
from neuropil.morphology.neuron_class import NeuronClass
from neuropil.morphology.segmented import WINDOW, SegmentedObject, choose_objects, skeletons
from neuropil.morphology.swc import write_swc
from neuropil.morphology.tree import Tree
from neuropil.voxelize.replacement import replacing
from neuropil.voxelize.volume_files import read_volume

from .fit_report import Curve, Row, fit_report_html, tree_picture
from .fitting import Fit
from .progress import Report

LEAST_OBJECTS = 4
SHOWN = 12
TITLES = {
    "shaft_radius_um": "shaft radius",
    "tortuosity": "tortuosity",
    "varicosity_spacing_um": "varicosity spacing",
    "varicosity_radius_um": "varicosity radius",
    "varicosity_length_um": "varicosity length",
    "twig_density_per_um": "twig density",
    "twig_length_um": "twig length",
    "twig_neck_um": "twig neck radius",
    "twig_head_um": "twig head radius",
}


def fit_segmentation(
    name: str,
    volume: str,
    voxel_size_nm: tuple[float, float, float] | None,
    objects: int,
    shapes: Path | None,
    held_out: float,
    splits: int,
    seed: int,
    report: Report,
) -> Fit:
    """Skeletons of a random sample of objects, their shapes, and a class of neurites.

    Args:
        volume: a volume of object ids, as `read_volume` takes it.
        objects: how many objects are measured at most.
        shapes: folder for ID.swc and ID.ply of each of them; None for none.

    Raises:
        ValueError: no voxel size, no objects, or too few that can be measured.
    """
    read = read_volume(volume, voxel_size_nm)
    if read.axes != "zyx":
        raise ValueError(f"{volume}: the volume has {read.data.shape[0]} channels, but object ids are one")
    report(0.05, "objects")
    try:
        choice = choose_objects(read.data, read.voxel_size_nm)
    except ValueError as error:
        raise ValueError(f"{volume}: {error}") from None
    wanted = min(objects, len(choice.boxes))
    found: list[SegmentedObject] = []
    for one in skeletons(choice, read.voxel_size_nm, np.random.default_rng((seed, 0))):
        found.append(one)
        report(0.1 + 0.6 * len(found) / wanted, f"skeleton {len(found)} of {wanted}")
        if len(found) == wanted:
            break
    trees = [one.tree for one in found if measure_neurites([one.tree]).length_um]
    if len(trees) < LEAST_OBJECTS:
        raise ValueError(f"{volume}: {len(trees)} object(s) can be measured, but {LEAST_OBJECTS} are needed")
    if shapes is not None:
        for one in found:
            _write_shape(one, read.voxel_size_nm, shapes)
    source = f"fitted to {len(trees)} objects of {Path(volume.rsplit(':', 1)[0]).name}, seed {seed}"
    stretch = stretch_for(measure_neurites(trees))
    shape = measure_neurites(trees, stretch)
    fitted = fit_neurites(name, shape, source)
    report(0.8, "validation")
    rows, last = _validate(trees, stretch, held_out, splits, seed)
    grown = _grow(fitted, [min(tree.length_um, 20.0) for tree in trees[:SHOWN]], np.random.default_rng((seed, 1)))
    medians = float(np.median([row.grown for row in rows])), float(np.median([row.real for row in rows]))
    notes = [
        f"{len(choice.boxes)} objects can be measured, {len(trees)} of them are (at random, seed {seed}). Left out: "
        f"{choice.large} too large for a neurite (somata, mergers), {choice.short} too short. Of objects longer than "
        f"{WINDOW} voxels a window of that size is measured.",
        "Skeletons by kimimaro (TEASAR), averaged along the path against the steps of the voxels; radii are distances "
        "to the surface, so that a flat neurite counts with half its least width.",
        "Samples are pooled over objects; twig density has one per object. Twigs are terminal branches up to 3 µm: "
        "spines, and errors of the segmentation. Section lengths are cut by the faces of the volume. Tortuosity is "
        f"taken over stretches of {stretch:g} µm.",
        f"{splits} random splits (seed {seed}), {held_out:.0%} of the objects held out in each; the class in the file "
        "is fitted to all objects.",
    ]
    page = fit_report_html(
        name,
        f"{source[0].upper()}{source[1:]}, voxels of {' × '.join(f'{size:g}' for size in read.voxel_size_nm)} nm.",
        rows,
        medians,
        {"neurites": _curves(*last)},
        [
            tree_picture(trees[:SHOWN], "skeletons of objects"),
            tree_picture(grown, "grown from the class, as long as those (at most 20 µm)"),
        ],
        notes,
    )
    figures: dict[str, Any] = {
        "class": name,
        "objects": len(trees),
        "voxel_size_nm": list(read.voxel_size_nm),
        "left_out": {"large": choice.large, "short": choice.short},
        "length_um": sum(shape.length_um),
        "median_grown": medians[0],
        "median_real": medians[1],
        "excess": medians[0] - medians[1],
        "grown": {row.quantity: row.grown for row in rows},
        "real": {row.quantity: row.real for row in rows},
    }
    return Fit(fitted, page, figures)


def _validate(
    trees: Sequence[Tree], stretch_um: float, held_out: float, splits: int, seed: int
) -> tuple[list[Row], tuple[NeuriteShape, NeuriteShape]]:
    """Distances of grown and real neurites from held-out ones, means over splits; and the last split's shapes."""
    grown: dict[str, list[float]] = {}
    real: dict[str, list[float]] = {}
    for number in range(splits):
        rng = np.random.default_rng((seed, 2, number))
        order = rng.permutation(len(trees))
        cut = int(np.clip(round(len(trees) * held_out), 1, len(trees) - 1))
        halves = order[:cut], order[cut:]
        other, part = (measure_neurites([trees[place] for place in half], stretch_um) for half in halves)
        new = measure_neurites(_grow(fit_neurites("trial", part, "trial"), part.length_um, rng), stretch_um)
        both = neurite_distances(new, other), neurite_distances(part, other)
        for key in both[0].keys() & both[1].keys():
            grown.setdefault(key, []).append(both[0][key])
            real.setdefault(key, []).append(both[1][key])
    rows = [
        Row("neurites", title, float(np.mean(grown[key])), float(np.mean(real[key])))
        for key, title in TITLES.items()
        if key in grown
    ]
    return rows, (new, other)


def _grow(neuron_class: NeuronClass, lengths_um: Sequence[float], rng: np.random.Generator) -> list[Tree]:
    return [grow_neurite(neuron_class, (0, 0, 0), (0, 0, 1), length, rng) for length in lengths_um]


def _curves(grown: NeuriteShape, real: NeuriteShape) -> list[Curve]:
    curves = []
    for key, title in TITLES.items():
        samples = [getattr(shape, key) for shape in (grown, real)]
        if key == "shaft_radius_um":
            samples = [np.concatenate(sample) for sample in samples]
        curves.append(Curve(title, *samples))
    return curves


def _write_shape(one: SegmentedObject, voxel_size_nm: tuple[float, float, float], folder: Path) -> None:
    """ID.swc, and ID.ply: the surface by marching cubes, closed at the faces of the volume, in µm."""
    folder.mkdir(parents=True, exist_ok=True)
    corners, faces, _, _ = measure.marching_cubes(np.pad(one.mask, 1).astype(np.float32), 0.5)
    # The centre of voxel 0 lies half a voxel inside the box; padding moved it to place 1.
    places = (corners - 0.5) * np.asarray(voxel_size_nm) + np.asarray(one.origin_nm)
    surface = trimesh.Trimesh(places[:, ::-1] * 1e-3, faces, process=False)
    surface.fix_normals()
    content = surface.export(file_type="ply")
    assert isinstance(content, bytes)
    with replacing(folder / f"{one.label}.ply") as unfinished:
        unfinished.write_bytes(content)
    write_swc(one.tree, folder / f"{one.label}.swc")

"""Scores of one volume against another, or against skeletons, each named by a path."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuropil.morphology.swc import read_swc
from neuropil.train.classes import CLASS_NAMES, masks_from_bits
from neuropil.train.evaluation import evaluate, evaluate_on_skeletons
from neuropil.voxelize.volume import Volume
from neuropil.voxelize.volume_files import VoxelSizeUnknown, open_volume


def evaluate_files(predicted: str, truth: str, objects: bool, border_nm: float = 0.0) -> dict[str, Any]:
    """Scores of classes; of objects, with `objects` or where both volumes hold wider numbers than uint8; of run
    lengths where `truth` is a folder of SWC files, in µm in the volume's frame.

    Classes come as masks (c, z, y, x) or as a bit field (z, y, x) of the six. Raises ValueError, in one sentence,
    where the two do not fit each other or hold something else.
    """
    if _holds_skeletons(truth):
        return evaluate_on_skeletons(open_volume(predicted), read_skeletons(Path(truth)))
    found, true = _open_both(predicted, truth)
    if objects or (_holds_ids(found) and _holds_ids(true)):
        for name, volume in ((predicted, found), (truth, true)):
            if volume.axes != "zyx":
                raise ValueError(f"{name} has channels, but ids of objects are one volume z, y, x")
        return evaluate(found, true, border_nm)
    return evaluate(_as_masks(predicted, found), _as_masks(truth, true), border_nm)


def read_skeletons(folder: Path) -> list[NDArray[np.float64]]:
    """The edges (n, 2, 3) in nm, z, y, x of each SWC file in the folder. Raises what reading SWC files raises."""
    skeletons = []
    for file in sorted(folder.glob("*.swc")):
        tree = read_swc(file)
        child = np.flatnonzero(tree.parents >= 0)
        ends = np.stack([tree.points_um[tree.parents[child]], tree.points_um[child]], axis=1)
        skeletons.append(ends[..., ::-1] * 1e3)
    return skeletons


def table_of(scores: Mapping[str, Any]) -> str:
    """Scores as lines of text, one number each."""
    lines: list[tuple[str, Any]] = []
    for name, value in scores.items():
        if isinstance(value, Mapping):
            lines += [(f"{name} {key}", inner) for key, inner in value.items()]
        else:
            lines.append((name, value))
    width = max(len(name) for name, _ in lines)
    return "\n".join(f"{name:{width}}  {'–' if value is None else f'{value:.4f}'}" for name, value in lines)


def _holds_skeletons(truth: str) -> bool:
    folder = Path(truth)
    return folder.is_dir() and any(folder.glob("*.swc"))


def _holds_ids(volume: Volume) -> bool:
    return volume.axes == "zyx" and volume.data.dtype.kind in "ui" and volume.data.dtype.itemsize > 1


def _open_both(predicted: str, truth: str) -> tuple[Volume, Volume]:
    """Both volumes; one that does not state its voxel size is taken to have the other's (scores count voxels)."""
    volumes: list[Volume | None] = []
    for spec in (predicted, truth):
        try:
            volumes.append(open_volume(spec))
        except VoxelSizeUnknown:
            volumes.append(None)
    found, true = volumes
    size = next((v.voxel_size_nm for v in volumes if v is not None), (1.0, 1.0, 1.0))
    return found or open_volume(predicted, size), true or open_volume(truth, size)


def _as_masks(name: str, volume: Volume) -> Volume:
    if volume.axes == "czyx":
        return volume
    if volume.data.dtype != np.uint8:
        raise ValueError(
            f"{name} holds {volume.data.dtype} values, but classes are masks or a bit field of uint8; "
            "ids of objects need --objects"
        )
    return Volume(masks_from_bits(np.asarray(volume.data)), volume.voxel_size_nm, volume.origin_nm, "czyx", CLASS_NAMES)

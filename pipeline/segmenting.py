"""Segmenting a volume of any size to a file: in bounded memory, and on from where it was killed."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import zarr
from numpy.typing import NDArray

from neuropil.train.bundle import METADATA, Model, read_bundle, write_atomically
from neuropil.train.inference import InferenceSettings, check_fits, probability_slabs, segment_slabs
from neuropil.train.settings import AffinityTask
from neuropil.train.shipped import model_folder
from neuropil.voxelize.volume import Volume
from neuropil.voxelize.volume_files import HDF5_NAME, check_target, open_volume, write_volume

from .progress import Report
from .torch_threads import use_fastest_threads

STATE = "state.json"
CHANNELS = "channels.zarr"
# Sections that are written at once. Chunks are as deep, so none is ever written twice, whenever the work is killed.
SECTIONS = 8
CHUNK_PX = 512


def segment_file(
    model_name: str,
    source: str,
    output: str,
    voxel_size_nm: tuple[float, float, float] | None,
    settings: InferenceSettings,
    report: Report,
) -> None:
    """Segment the volume `source` with a model, a shipped one or a folder, and write what it finds to `output`.

    A semantic model's masks are uint8 of 0 and 1 (c, z, y, x), named as its classes; a model of affinities gives ids
    of cells, uint32 (z, y, x). Until all is done the work lies in a hidden folder beside `output`; the same command
    goes on with it after a kill, to the same result. Raises ValueError or OSError in one sentence, before any work is
    done where the model, the volume and the output do not fit.
    """
    folder = model_folder(model_name)
    model, volume = read_bundle(folder), open_volume(source, voxel_size_nm)
    check_fits(model, volume)
    instances = isinstance(model.task, AffinityTask)
    check_target(output, "zyx" if instances else "czyx")
    head = None
    if isinstance(model.task, AffinityTask) and model.task.planar:
        from neuropil.train.linking import check_linkable, link_sections, read_head

        head = read_head(folder)
        check_linkable(model, volume)
    weights = json.loads((folder / METADATA).read_text(encoding="utf-8"))["neuropil"]["weights_sha256"]
    mark = {
        "weights": weights,
        "source": [str(source), volume.shape_zyx, str(volume.data.dtype), volume.voxel_size_nm, _changed(source)],
        "settings": settings.model_dump(),
    }
    work = _work_folder(output)
    channels = _channels(model, volume, settings, work, json.loads(json.dumps(mark)), report)
    if isinstance(model.task, AffinityTask):
        from neuropil.train.instances import instances_from_affinities

        found = instances_from_affinities(channels, model.task, scratch=work, progress=report)
        if head is not None:
            found = link_sections(model, head, volume, found, work, report)
    else:
        found = channels
    write_volume(found, output)
    shutil.rmtree(work)


def _channels(
    model: Model, volume: Volume, settings: InferenceSettings, work: Path, mark: dict[str, Any], report: Report
) -> Volume:
    """The model's channels on disk: masks of classes, probabilities of affinities."""
    state = _read_state(work)
    if state is None or state["mark"] != mark:
        shutil.rmtree(work, ignore_errors=True)
        # Threads decide the last bits, so work that is taken up again keeps them.
        state = {"mark": mark, "threads": use_fastest_threads(), "sections": 0}
    torch.set_num_threads(state["threads"])
    count, (depth, height, width) = len(model.classes), volume.shape_zyx
    work.mkdir(parents=True, exist_ok=True)
    array: Any = zarr.open_array(
        str(work / CHANNELS),
        mode="a",
        shape=(count, depth, height, width),
        chunks=(1, SECTIONS, min(CHUNK_PX, height), min(CHUNK_PX, width)),
        dtype=np.uint8,
        zarr_format=3,
    )
    first = state["sections"]
    write_atomically(work / STATE, json.dumps(state).encode())
    for stop, sections in _batches(
        _slabs(model, volume, settings, first, report) if first < depth else iter(()), first
    ):
        array[:, stop - sections.shape[1] : stop] = sections
        write_atomically(work / STATE, json.dumps(state | {"sections": stop}).encode())
    return Volume(array, volume.voxel_size_nm, volume.origin_nm, "czyx", model.classes)


def _slabs(
    model: Model, volume: Volume, settings: InferenceSettings, first: int, report: Report
) -> Iterator[NDArray[np.uint8]]:
    if isinstance(model.task, AffinityTask):
        for slab in probability_slabs(model, volume, settings, report, first=first):
            yield slab.probabilities
            del slab
    else:
        for _, masks in segment_slabs(model, volume, settings, report, first=first):
            yield masks
            del masks


def _batches(slabs: Iterator[NDArray[np.uint8]], first: int) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    """(end, sections (c, n, y, x)) from section `first` on, ending at multiples of `SECTIONS`, then what is left."""
    held: list[NDArray[np.uint8]] = []
    stop = first
    for slab in slabs:
        begin = 0
        while begin < slab.shape[1]:
            count = min(SECTIONS - stop % SECTIONS, slab.shape[1] - begin)
            held.append(slab[:, begin : begin + count])
            begin, stop = begin + count, stop + count
            if stop % SECTIONS == 0:
                yield stop, np.concatenate(held, axis=1)
                held = []
        # The slab itself must not stay in memory for a few sections of it.
        held = [part.copy() for part in held]
        del slab
    if held:
        yield stop, np.concatenate(held, axis=1)


def _work_folder(output: str) -> Path:
    """Where the unfinished work for `output` lies: hidden, beside the file or folder."""
    hdf5 = HDF5_NAME.match(output)
    place = Path(hdf5["file"] if hdf5 else output)
    place = next((part for part in (place, *place.parents) if part.suffix.lower() == ".zarr"), place)
    name = re.sub(r"[^\w.-]+", "_", output.removeprefix(str(place.parent)).strip("/"))
    return place.parent / f".{name}.segmenting"


def _read_state(work: Path) -> dict[str, Any] | None:
    try:
        state: dict[str, Any] = json.loads((work / STATE).read_text())
    except (OSError, ValueError):
        return None
    return state


def _changed(source: str) -> float:
    """When the file or folder was last changed, by which another one of the same name is told apart."""
    hdf5 = HDF5_NAME.match(source)
    path = Path(hdf5["file"] if hdf5 else source)
    return path.stat().st_mtime if path.exists() else 0.0

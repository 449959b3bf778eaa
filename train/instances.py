"""From affinities to instances: a mutex watershed in blocks, whose pieces are joined over the whole volume."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise, product
from pathlib import Path

import fastremap
import mwatershed
import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from skimage.segmentation import expand_labels

from neuropil.voxelize.volume import Triple, Volume

from .affinities import Offset, voxel_offsets
from .region_graph import Contacts, clusters, contacts
from .settings import AffinityTask

Progress = Callable[[float, str], None]
Box = tuple[slice, slice, slice]


class InstanceSettings(BaseModel):
    """How affinities are turned into instances.

    Affinities above `threshold` join, those below keep apart. Fragments smaller than `smallest_um3` are given up to
    their neighbours; segments then grow by up to `grow_nm` into what belongs to nobody, to make up for the boundaries
    that the network keeps free. `doubt_nm2` of contact must speak for a pair of fragments before it is half
    believed. A block of `block_px` voxels along each axis is worked on at a time, with `halo_nm` of what is around.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    threshold: float = Field(default=0.5, gt=0, lt=1)
    smallest_um3: float = Field(default=1e-4, ge=0)
    grow_nm: float = Field(default=30.0, ge=0)
    doubt_nm2: float = Field(default=2500.0, ge=0)
    block_px: int = Field(default=160, ge=16)
    halo_nm: float = Field(default=120.0, ge=0)


@dataclass(frozen=True)
class _Block:
    """A part of the volume in voxels: its core, the box with halo that its fragments are made in, and the core with
    what lies `ahead`, into which offsets reach."""

    core: Box
    box: Box
    ahead: Box

    @property
    def core_in_box(self) -> Box:
        z, y, x = (slice(c.start - b.start, c.stop - b.start) for c, b in zip(self.core, self.box, strict=True))
        return z, y, x

    @property
    def core_shape(self) -> tuple[int, int, int]:
        z, y, x = (c.stop - c.start for c in self.core)
        return z, y, x


def instances_from_affinities(
    probabilities: Volume,
    task: AffinityTask,
    settings: InstanceSettings | None = None,
    scratch: Path | None = None,
    progress: Progress | None = None,
    rng: np.random.Generator | None = None,
) -> Volume:
    """Instances uint32 (z, y, x), 0 for what belongs to no cell, from affinities uint8 (c, z, y, x), 255 for certain.

    Those of a planar task know nothing of other sections: its instances are regions of single sections.
    `probabilities` may lie on disk; only a block of it is read at a time. The result lies in memory, or in the file
    instances.npy of the folder `scratch`. Blocks are pure functions of what is around them and sums are of whole
    numbers, so their order, which `rng` shuffles, changes nothing.
    Raises ValueError where the volume has not the task's channels.
    """
    settings = settings or InstanceSettings()
    if probabilities.channels[: len(task.affinities)] != task.affinities or probabilities.data.dtype != np.uint8:
        raise ValueError(
            f"the volume's channels are {', '.join(probabilities.channels) or 'none'} ({probabilities.data.dtype}), "
            f"but instances are made from {', '.join(task.affinities)} (uint8)"
        )
    size_nm = probabilities.voxel_size_nm
    offsets = voxel_offsets(task, size_nm)
    blocks = list(_blocks(probabilities.shape_zyx, settings, size_nm, offsets))
    order = [int(k) for k in (rng.permutation(len(blocks)) if rng else range(len(blocks)))]
    ids = _array(probabilities.shape_zyx, scratch, "fragments")

    def affinities_of(box: Box) -> NDArray[np.uint8]:
        return np.asarray(probabilities.data[(slice(0, len(offsets)), *box)])

    found = np.zeros(len(blocks), np.int64)
    for done, k in enumerate(order):
        local = fragments_of_block(affinities_of(blocks[k].box), offsets, settings, size_nm)[blocks[k].core_in_box]
        ids[blocks[k].core], found[k] = _consecutive(local)
        _tell(progress, 0.6 * (done + 1) / len(blocks), "fragments")
    # Fragments are numbered through in the order of blocks, whichever was worked on first.
    before = np.cumsum(found) - found
    for k, block in enumerate(blocks):
        part = ids[block.core]
        ids[block.core] = np.where(part > 0, part + np.uint32(before[k]), 0)
    parts = []
    for done, k in enumerate(order):
        parts.append(contacts(ids[blocks[k].ahead], affinities_of(blocks[k].ahead), offsets, blocks[k].core_shape))
        _tell(progress, 0.6 + 0.2 * (done + 1) / len(blocks), "contacts")
    graph = Contacts.joined(parts)
    segment = clusters(int(found.sum()), graph, settings.threshold, settings.doubt_nm2 / (size_nm[1] * size_nm[2]))
    grown = _array(probabilities.shape_zyx, scratch, "instances")
    for done, k in enumerate(order):
        box = _grown(segment[ids[blocks[k].box]], settings.grow_nm, size_nm, task.planar)
        grown[blocks[k].core] = box[blocks[k].core_in_box]
        _tell(progress, 0.8 + 0.2 * (done + 1) / len(blocks), "instances")
    return Volume(grown, size_nm, probabilities.origin_nm)


def fragments_of_block(
    affinities: NDArray[np.uint8], offsets: Sequence[Offset], settings: InstanceSettings, voxel_size_nm: Triple
) -> NDArray[np.uint32]:
    """Fragments of a box of affinities (k, z, y, x): a mutex watershed (Wolf et al. 2018), without what is too small.

    0 stands where nothing was joined.
    """
    fits = [all(step < n for step, n in zip(o, affinities.shape[1:], strict=True)) for o in offsets]
    offsets = [offset for offset, fit in zip(offsets, fits, strict=True) if fit]
    if not offsets:
        return np.zeros(affinities.shape[1:], np.uint32)
    weights = affinities[fits] / 255.0 - settings.threshold
    for channel, offset in zip(weights, offsets, strict=True):
        # The far end lies outside the box: no evidence.
        for axis, step in enumerate(offset):
            if step:
                np.moveaxis(channel, axis, 0)[-step:] = 0
    # Far affinities overlap so much that every second along each axis says the same in an eighth of the time.
    planar = not any(offset[0] for offset in offsets)
    far = (1, 2, 2) if planar else (2, 2, 2)
    strides = [(1, 1, 1) if sum(offset) == 1 else far for offset in offsets]
    labels = mwatershed.agglom(weights, offsets, strides=strides)
    ids, number, sizes = fastremap.unique(labels, return_inverse=True, return_counts=True)
    large = sizes >= _smallest_voxels(settings.smallest_um3, voxel_size_nm, planar)
    # Voxels that nothing was joined to have the label 0.
    kept = np.where(large & (ids > 0), np.arange(1, len(ids) + 1), 0).astype(np.uint32)
    return kept[number.reshape(labels.shape)]


def _blocks(
    shape: Sequence[int], settings: InstanceSettings, voxel_size_nm: Triple, offsets: Sequence[Offset]
) -> Iterator[_Block]:
    """Blocks of about `block_px`, evenly spread."""
    axes = []
    for axis, length in enumerate(shape):
        reach = max(offset[axis] for offset in offsets)
        # Sections that no offset leaves know nothing of each other.
        halo = math.ceil(max(settings.halo_nm, settings.grow_nm) / voxel_size_nm[axis]) if reach else 0
        edges = np.linspace(0, length, -(-length // settings.block_px) + 1).round().astype(int).tolist()
        axes.append(
            [
                (slice(a, b), slice(max(0, a - halo), min(length, b + halo)), slice(a, min(length, b + reach)))
                for a, b in pairwise(edges)
            ]
        )
    for parts in product(*axes):
        core, box, ahead = zip(*parts, strict=True)
        yield _Block(core, box, ahead)


def _smallest_voxels(smallest_um3: float, size_nm: Triple, planar: bool) -> float:
    """A volume in voxels; in sections, the area of a cube of that volume."""
    if planar:
        return smallest_um3 ** (2 / 3) / (size_nm[1] * size_nm[2] * 1e-6)
    return smallest_um3 / float(np.prod(size_nm) * 1e-9)


def _array(shape: tuple[int, int, int], scratch: Path | None, name: str) -> NDArray[np.uint32]:
    if scratch is None:
        return np.zeros(shape, np.uint32)
    scratch.mkdir(parents=True, exist_ok=True)
    return np.lib.format.open_memmap(scratch / f"{name}.npy", mode="w+", dtype=np.uint32, shape=shape)


def _grown(labels: NDArray[np.uint32], distance_nm: float, size_nm: Triple, planar: bool) -> NDArray[np.uint32]:
    """Labels (z, y, x) grown into 0 by up to a distance, in their own section if `planar`."""
    if not planar:
        return expand_labels(labels, distance_nm, size_nm)
    return np.stack([expand_labels(section, distance_nm, size_nm[1:]) for section in labels])


def _consecutive(labels: NDArray[np.uint32]) -> tuple[NDArray[np.uint32], int]:
    """The labels numbered 1 … n in their order, and n; 0 stays 0."""
    ids, inverse = fastremap.unique(labels, return_inverse=True)
    skip = int(ids[0] != 0)
    return (inverse.reshape(labels.shape) + skip).astype(np.uint32), len(ids) - 1 + skip


def _tell(progress: Progress | None, fraction: float, text: str) -> None:
    if progress:
        progress(fraction, text)

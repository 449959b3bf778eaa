"""Affinities: whether two voxels some way apart belong to the same cell, as targets and as a loss."""

from __future__ import annotations

import edt
import numpy as np
import torch
from numpy.typing import NDArray

from .settings import AffinityTask
from .shape_descriptors import shape_descriptors
from .tasks import semantic_loss

Triple = tuple[float, float, float]
Offset = tuple[int, int, int]


def voxel_offsets(task: AffinityTask, voxel_size_nm: Triple) -> tuple[Offset, ...]:
    """The steps (z, y, x) in voxels of the task's affinities, in the order of their channels."""
    lengths = [0.0] * len(task.axes) + [distance for distance in task.far_nm for _ in task.axes]
    out = []
    for k, length in enumerate(lengths):
        axis = "zyx".index(task.axes[k % len(task.axes)])
        step = [0, 0, 0]
        step[axis] = max(1, round(length / voxel_size_nm[axis]))
        out.append((step[0], step[1], step[2]))
    return tuple(out)


def affinity_targets(instances: NDArray, task: AffinityTask, voxel_size_nm: Triple) -> NDArray[np.float32]:
    """Targets (channels, z, y, x), or (channels, y, x) of a section: 1 where voxel v and v + offset lie in one cell.

    `instances` holds ids, 0 for extracellular space. A voxel within `task.boundary_nm` of another id, in the plane for
    planar tasks, belongs to no cell: affinities to it are 0. NaN stands where v + offset leaves the patch. With
    descriptors those follow, NaN outside of cells. Raises ValueError for a section where the task is not planar.
    """
    if instances.ndim == 2:
        if not task.planar:
            raise ValueError("affinities along z cannot be had from single sections; make the task planar")
        return affinity_targets(instances[None], task, voxel_size_nm)[:, 0]
    cores = cell_cores(instances, task.boundary_nm, voxel_size_nm, task.planar)
    targets = [affinity(cores, offset) for offset in voxel_offsets(task, voxel_size_nm)]
    if task.descriptors_sigma_nm is not None:
        found = shape_descriptors(instances, task.descriptors_sigma_nm, voxel_size_nm, task.planar)
        targets += list(np.where(instances > 0, found, np.float32(np.nan)))
    return np.stack(targets).astype(np.float32)


def cell_cores(instances: NDArray, boundary_nm: float, voxel_size_nm: Triple, planar: bool = False) -> NDArray:
    """The ids (z, y, x) without the voxels whose centre lies within `boundary_nm` of a voxel of another id."""
    if boundary_nm <= 0:
        return instances
    # The distance is to the nearest voxel of another id; a patch's edge is none.
    if planar:
        distance = np.stack([edt.edt(np.ascontiguousarray(s), anisotropy=voxel_size_nm[1:]) for s in instances])
    else:
        distance = edt.edt(np.ascontiguousarray(instances), anisotropy=voxel_size_nm)
    return np.where(distance > boundary_nm * (1 + 1e-6), instances, instances.dtype.type(0))


def affinity(ids: NDArray, offset: Offset) -> NDArray[np.float32]:
    """1 where voxel v and v + offset hold the same id other than 0, else 0; NaN where v + offset is outside."""
    out = np.full(ids.shape, np.nan, np.float32)
    here = tuple(slice(0, n - step if step < n else 0) for n, step in zip(ids.shape, offset, strict=True))
    there = tuple(slice(step, max(n, step)) for n, step in zip(ids.shape, offset, strict=True))
    out[here] = (ids[here] == ids[there]) & (ids[here] > 0)
    return out


def affinity_loss(logits: torch.Tensor, targets: torch.Tensor, task: AffinityTask) -> torch.Tensor:
    """Cross-entropy of all channels, plus (1 − Dice) of what is *not* together, both (n, channels, …); NaN is ignored.

    Dice is taken of the complement (Bailoni et al. 2022), since boundaries are what is rare and matters. Cross-entropy
    with descriptors, which are numbers from 0 to 1, has its smallest value where they are met.
    """
    count = len(task.affinities)
    return semantic_loss(-logits[:, :count], 1 - targets[:, :count], "dice") + semantic_loss(logits, targets, "bce")

"""What every microscope asks of the block it is given."""

from __future__ import annotations

import numba
import numpy as np
import numpy.typing as npt

from neuropil.voxelize.volume import Volume

from .materials import MaterialTable

# So many slices of a block on disk are read together, a chunk's depth.
SLICES_READ = 64


@numba.njit(cache=True, nogil=True)
def _note(ids: npt.NDArray[np.uint8], there: npt.NDArray[np.bool_]) -> None:
    """Marks the ids (z, y, x) that occur: many times as fast as counting them, which takes 64-bit copies."""
    for one in ids.flat:
        there[one] = True


def check_block(materials: Volume, membrane: Volume, instances: Volume, table: MaterialTable) -> None:
    """Raises ValueError where the three volumes disagree or hold a material that the table lacks."""
    for name, volume, kind in (
        ("materials", materials, np.uint8),
        ("membrane", membrane, np.uint8),
        ("instances", instances, np.uint32),
    ):
        if volume.axes != "zyx":
            raise ValueError(f"{name} has the axes {volume.axes}; a microscope takes z, y, x")
        if volume.data.dtype != kind:
            raise ValueError(f"{name} is {volume.data.dtype}; a microscope takes {np.dtype(kind)}")
        if volume.data.shape != materials.data.shape:
            raise ValueError(f"{name} has shape {volume.data.shape}, materials {materials.data.shape}; they must agree")
        if volume.voxel_size_nm != materials.voxel_size_nm or volume.origin_nm != materials.origin_nm:
            raise ValueError(f"{name} and materials differ in voxel size or origin; they must agree")
    known = {material.id for material in table.materials.values()}
    there = np.zeros(256, np.bool_)
    for slab in materials.slabs(SLICES_READ):
        _note(np.ascontiguousarray(slab), there)
    unknown = [int(i) for i in np.flatnonzero(there) if int(i) not in known]
    if unknown:
        raise ValueError(f"the material table has no material with id {unknown[0]}, which the block holds")


def first_voxel(volume: Volume) -> tuple[int, int, int]:
    """Absolute index (z, y, x) of a volume's first voxel, by which random numbers go."""
    z, y, x = (round(origin / size) for origin, size in zip(volume.origin_nm, volume.voxel_size_nm, strict=True))
    return z, y, x

"""What a beam meets in each voxel of a stained block: so much per nm from the tissue, so much from its metals."""

from __future__ import annotations

import numba
import numpy as np
import numpy.typing as npt

from neuropil.voxelize.volume import Volume

from .hash_noise import SmoothNoise, sub_key
from .materials import MaterialTable, cell_deviate

Plane = npt.NDArray[np.float32]

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


@numba.njit(inline="always")
def _taken(x: float, spread: float) -> float:
    """Stain over its mean, (1 + x)²/(1 + v) with x normal of variance v: positive, mean 1, skewed to dark spots."""
    return (1.0 + x) * (1.0 + x) / (1.0 + spread)


@numba.njit(cache=True, nogil=True)
def _per_volume_plane(
    materials: npt.NDArray[np.uint8],
    membrane: npt.NDArray[np.uint8],
    instances: npt.NDArray[np.uint32],
    fine: Plane,
    coarse: Plane,
    cell_key: np.uint64,
    stain_scale: Plane,
    organic: Plane,
    metal: Plane,
    fine_sd: Plane,
    coarse_sd: Plane,
    cell_sd: Plane,
    spread: Plane,
    lining: Plane,
    cytoplasm: Plane,
    b: int,
    out: Plane,
) -> None:
    """Mixture by volume of a voxel's two parts, its material and its bilayer b."""
    last_cell, last_material = np.int64(-1), np.int64(-1)
    scale = deviate = of_bilayer = np.float32(0.0)
    for j in range(out.shape[0]):
        for i in range(out.shape[1]):
            cell, m = np.int64(instances[j, i]), np.int64(materials[j, i])
            if cell != last_cell:
                scale = stain_scale[cell] if cell < stain_scale.shape[0] else np.float32(1.0)
                of_bilayer = np.float32(cell_deviate(cell_key, cell, b))
            if cell != last_cell or m != last_material:
                deviate = np.float32(cell_deviate(cell_key, cell, m))
                last_cell, last_material = cell, m
            local = fine_sd[m] * fine[j, i] + coarse_sd[m] * coarse[j, i] + cell_sd[m] * deviate
            of_cell = 1 + (scale - 1) * cytoplasm[m]
            value = organic[m] + metal[m] * of_cell * _taken(local, spread[m])
            if membrane[j, i] > 0:
                f = np.float32(membrane[j, i]) * lining[m]
                local = fine_sd[b] * fine[j, i] + coarse_sd[b] * coarse[j, i] + cell_sd[b] * of_bilayer
                value = (1 - f) * value + f * (organic[b] + metal[b] * _taken(local, spread[b]))
            out[j, i] = value


class StainedVolume:
    """A block whose slices are asked for a property that is a sum over volume, such as attenuation per nm.

    The metals' part varies with the same grain, and from cell to cell with the same factors, as a FIB-SEM's image
    of an equal key shows them (`materials.cell_stains`).
    """

    def __init__(
        self,
        materials: Volume,
        membrane: Volume,
        instances: Volume,
        table: MaterialTable,
        key: int,
        stain_scale: npt.NDArray[np.floating] | None = None,
    ) -> None:
        """Raises ValueError where the volumes disagree or hold a material that the table lacks."""
        check_block(materials, membrane, instances, table)
        self._volumes = (materials.data, membrane.data, instances.data)
        self.shape = materials.shape_zyx
        self._cell_key = np.uint64(sub_key(key, "cells"))
        self._scales = np.asarray(np.ones(1) if stain_scale is None else stain_scale, np.float32)
        first, shape_yx, size_nm = first_voxel(materials), self.shape[1:], materials.voxel_size_nm
        self._grains = [
            SmoothNoise(sub_key(key, name), length, size_nm, first, shape_yx)
            for name, length in (("fine grain", table.fine_grain_nm), ("coarse grain", table.coarse_grain_nm))
        ]
        normal_sds, spread = table.stain_spread()
        lining, cytoplasm = table.lookup("lining", 1.0) / 255.0, table.lookup("cytoplasm", 0.0)
        self._spread = tuple(np.asarray(column, np.float32) for column in (*normal_sds, spread, lining, cytoplasm))
        self._bilayer = table["membrane"].id
        self._noise = [np.empty(shape_yx, np.float32) for _ in self._grains]
        self._noise_of: int | None = None

    def plane(self, index: int, organic: npt.NDArray[np.float64], metal: npt.NDArray[np.float64]) -> Plane:
        """The property in slice `index`, (y, x), from its two parts by material id, (256,) each."""
        if self._noise_of != index:
            for grain, noise in zip(self._grains, self._noise, strict=True):
                grain.slice_at(index, noise)
            self._noise_of = index
        out = np.empty(self.shape[1:], np.float32)
        slices = (volume[index] for volume in self._volumes)
        columns = (np.asarray(part, np.float32) for part in (organic, metal))
        _per_volume_plane(
            *slices, *self._noise, self._cell_key, self._scales, *columns, *self._spread, self._bilayer, out
        )
        return out

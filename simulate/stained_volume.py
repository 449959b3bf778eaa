"""What a beam meets in each voxel of a stained block: so much per nm from the tissue, so much from its metals."""

from __future__ import annotations

import numba
import numpy as np
import numpy.typing as npt

from neuropil.voxelize.volume import Volume

from .block_input import check_block, first_voxel
from .hash_noise import SmoothNoise, sub_key
from .materials import MaterialTable, cell_deviate
from .slices import Slices

Plane = npt.NDArray[np.float32]


def stain_columns(
    table: MaterialTable, organic: npt.NDArray[np.float64], metal: npt.NDArray[np.float64]
) -> npt.NDArray[np.float32]:
    """What `stained_plane` needs per material id, (256, 8), of a property's two parts, (256,) each.

    They are followed by the standard deviations of the three normal numbers that make the local stain, 1/(1 + their
    variances' sum), bilayer per bilayer fraction (1/255 where all of a structure's lining is bilayer), and 1 for a
    cytoplasm.
    """
    normal_sds, spread = table.stain_spread()
    lining, cytoplasm = table.lookup("lining", 1.0) / 255.0, table.lookup("cytoplasm", 0.0)
    return np.stack((organic, metal, *normal_sds, 1.0 / (1.0 + spread), lining, cytoplasm), axis=1).astype(np.float32)


@numba.njit(cache=True, nogil=True)
def stained_plane(
    materials: npt.NDArray[np.uint8],
    membrane: npt.NDArray[np.uint8],
    instances: npt.NDArray[np.uint32],
    fine: Plane,
    coarse: Plane,
    cell_key: np.uint64,
    stain_scale: Plane,
    columns: Plane,
    bilayer: int,
    out: Plane,
) -> None:
    """Property of each voxel, by volume over its two parts, its material and the bilayer.

    Local stain over its mean is (1 + x)²/(1 + v) with x normal of variance v: positive, mean 1, skewed to dark spots.
    """
    one = np.float32(1.0)
    last_cell, last_material = np.int64(-1), np.int64(-1)
    scale = of_cell = of_bilayer = scaled = np.float32(0.0)
    b0, b1, b2, b3, b4, b5, _, _ = columns[bilayer]
    m0 = m1 = m2 = m3 = m6 = np.float32(0.0)
    for j in range(out.shape[0]):
        for i in range(out.shape[1]):
            cell, m = np.int64(instances[j, i]), np.int64(materials[j, i])
            if cell != last_cell:
                scale = stain_scale[cell] if cell < stain_scale.shape[0] else one
                of_bilayer = one + b4 * np.float32(cell_deviate(cell_key, cell, bilayer))
            if cell != last_cell or m != last_material:
                m0, m1, m2, m3, m4, m5, m6, m7 = columns[m]
                of_cell = one + m4 * np.float32(cell_deviate(cell_key, cell, m))
                scaled = (one + (scale - one) * m7) * m5 * m1
                last_cell, last_material = cell, m
            x = of_cell + m2 * fine[j, i] + m3 * coarse[j, i]
            value = m0 + scaled * x * x
            if membrane[j, i] > 0:
                f = np.float32(membrane[j, i]) * m6
                x = of_bilayer + b2 * fine[j, i] + b3 * coarse[j, i]
                value = (one - f) * value + f * (b0 + b1 * b5 * x * x)
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
        self._volumes = tuple(Slices(volume.data) for volume in (materials, membrane, instances))
        self.shape = materials.shape_zyx
        self._cell_key = np.uint64(sub_key(key, "cells"))
        self._scales = np.asarray(np.ones(1) if stain_scale is None else stain_scale, np.float32)
        first, shape_yx, size_nm = first_voxel(materials), self.shape[1:], materials.voxel_size_nm
        self._grains = [
            SmoothNoise(sub_key(key, name), length, size_nm, first, shape_yx)
            for name, length in (("fine grain", table.fine_grain_nm), ("coarse grain", table.coarse_grain_nm))
        ]
        self._table, self._bilayer = table, table["membrane"].id
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
        columns = stain_columns(self._table, organic, metal)
        stained_plane(*slices, *self._noise, self._cell_key, self._scales, columns, self._bilayer, out)
        return out

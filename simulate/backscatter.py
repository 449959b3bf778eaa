"""Backscatter coefficient of each voxel of stained tissue."""

from __future__ import annotations

import numba
import numpy as np
import numpy.typing as npt

from .electrons import ELEMENTS, love_scott_backscatter
from .materials import STAINS, MaterialTable, cell_deviate

Plane = npt.NDArray[np.float32]


def contrast_of(table: MaterialTable, energy_kev: float) -> Plane:
    """Per material id what `backscatter_plane` needs, (256, 10).

    Density of the organic part in g/cm³ and the same times its η; both of the metals; the standard deviations of the
    three normal numbers that make the local stain, and 1/(1 + their variances' sum); bilayer per bilayer fraction,
    1/255 where all of a structure's lining is bilayer; 1 for a cytoplasm.
    """
    density = table.lookup("density_g_cm3", 0.0)
    stain_share = table.lookup("stain_fraction", 0.0)
    total_signal = np.zeros(256)
    stain_signal = np.zeros(256)
    eta = {s: float(love_scott_backscatter(float(ELEMENTS[s].atomic_number), energy_kev)) for s in STAINS}
    for material in table.materials.values():
        rho = material.density_g_cm3
        total_signal[material.id] = rho * material.backscatter(energy_kev)
        stain_signal[material.id] = rho * sum(getattr(material, s.lower()) * eta[s] for s in STAINS)
    normal_sds, spread = table.stain_spread()
    columns = (
        density * (1.0 - stain_share),
        total_signal - stain_signal,
        density * stain_share,
        stain_signal,
        *normal_sds,
        1.0 / (1.0 + spread),
        table.lookup("lining", 1.0) / 255.0,
        table.lookup("cytoplasm", 0.0),
    )
    return np.stack(columns, axis=1).astype(np.float32)


@numba.njit(cache=True, nogil=True)
def backscatter_plane(
    materials: npt.NDArray[np.uint8],
    membrane: npt.NDArray[np.uint8],
    instances: npt.NDArray[np.uint32],
    fine: Plane,
    coarse: Plane,
    cell_key: np.uint64,
    stain_scale: Plane,
    contrast: Plane,
    bilayer: int,
    out: Plane,
) -> None:
    """η of each voxel by Castaing's rule over the masses of its two parts, the material and the bilayer.

    Local stain over its mean is (1 + x)²/(1 + v) with x normal of variance v: positive, mean 1, skewed to dark spots.
    """
    one = np.float32(1.0)
    height, width = out.shape
    mass, signal = np.empty(width, np.float32), np.empty(width, np.float32)
    last_cell, last_material = np.int64(-1), np.int64(-1)
    scale = of_cell = of_bilayer = scaled = np.float32(0.0)
    b0, b1, b2, b3, b4, b5, b6, b7, _, _ = contrast[bilayer]
    m0 = m1 = m2 = m3 = m4 = m5 = m8 = np.float32(0.0)
    for j in range(height):
        for i in range(width):
            cell, m = np.int64(instances[j, i]), np.int64(materials[j, i])
            if cell != last_cell:
                scale = stain_scale[cell] if cell < stain_scale.shape[0] else one
                of_bilayer = one + b6 * np.float32(cell_deviate(cell_key, cell, bilayer))
            if cell != last_cell or m != last_material:
                m0, m1, m2, m3, m4, m5, m6, m7, m8, m9 = contrast[m]
                of_cell = one + m6 * np.float32(cell_deviate(cell_key, cell, m))
                scaled = (one + (scale - one) * m9) * m7
                last_cell, last_material = cell, m
            x = of_cell + m4 * fine[j, i] + m5 * coarse[j, i]
            taken = scaled * x * x
            mass[i] = m0 + m2 * taken
            signal[i] = m1 + m3 * taken
            if membrane[j, i] > 0:
                f = np.float32(membrane[j, i]) * m8
                x = of_bilayer + b4 * fine[j, i] + b5 * coarse[j, i]
                taken = b7 * x * x
                mass[i] = (one - f) * mass[i] + f * (b0 + b2 * taken)
                signal[i] = (one - f) * signal[i] + f * (b1 + b3 * taken)
        for i in range(width):
            out[j, i] = signal[i] / mass[i]

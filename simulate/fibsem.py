"""FIB-SEM image formation: stain → backscatter coefficient → blur → counted electrons → grey.

Everything random is a hash of a key and the absolute voxel (`hash_noise`), so a voxel's grey depends on the
key and on the materials within `blur_reach` of it, never on how a block was cut into tiles.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
import numpy.typing as npt

from neuropil.voxelize.volume import Volume

from .electrons import ELEMENTS, love_scott_backscatter
from .hash_noise import (
    SmoothNoise,
    bits_at,
    key_from,
    normal,
    row_key,
    smooth_line,
    sub_key,
    uniform,
)
from .materials import STAINS, MaterialTable, cell_deviate
from .microscope import FibSem
from .point_spread import depth_kernel, gaussian_kernel

Plane = npt.NDArray[np.float32]

# Poisson numbers of fewer electrons than this are drawn exactly, larger ones as rounded normal numbers.
_EXACT_POISSON_BELOW = 40.0


@dataclass(frozen=True)
class Micrograph:
    """An image (uint8, zyx) and every parameter that made it."""

    image: Volume
    parameters: dict[str, Any]


@dataclass(frozen=True)
class _Contrast:
    """Per material id (256,): what the backscatter kernel needs, all float32."""

    organic: Plane  # density of the organic part, g/cm³
    organic_signal: Plane  # the same times its η
    stain: Plane  # density of the metals
    stain_signal: Plane
    fine_sd: Plane  # standard deviations of the normal numbers that `_local_stain` squares
    coarse_sd: Plane
    cell_sd: Plane
    spread: Plane  # their variances' sum
    lining: Plane  # bilayer per bilayer fraction, 1/255 where all of a structure's lining is bilayer


def _contrast(table: MaterialTable, energy_kev: float) -> _Contrast:
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
        spread,
        table.lookup("lining", 1.0) / 255.0,
    )
    return _Contrast(*(np.asarray(column, dtype=np.float32) for column in columns))


@numba.njit(inline="always")
def _local_stain(x: float, spread: float) -> float:
    """Stain over its mean, (1 + x)²/(1 + v) with x normal of variance v: positive, mean 1, skewed to dark spots."""
    return (1.0 + x) * (1.0 + x) / (1.0 + spread)


@numba.njit(cache=True, nogil=True)
def _backscatter_plane(
    materials: npt.NDArray[np.uint8],
    membrane: npt.NDArray[np.uint8],
    instances: npt.NDArray[np.uint32],
    fine: Plane,
    coarse: Plane,
    cell_key: np.uint64,
    stain_scale: Plane,
    organic: Plane,
    organic_signal: Plane,
    stain: Plane,
    stain_signal: Plane,
    fine_sd: Plane,
    coarse_sd: Plane,
    cell_sd: Plane,
    spread: Plane,
    lining: Plane,
    bilayer: int,
    out: Plane,
) -> None:
    """η of each voxel by Castaing's rule over the masses of its two parts, the material and the bilayer."""
    last_cell, last_material = np.int64(-1), np.int64(-1)
    scale = deviate = of_bilayer = np.float32(0.0)
    for j in range(out.shape[0]):
        for i in range(out.shape[1]):
            cell, m = np.int64(instances[j, i]), np.int64(materials[j, i])
            if cell != last_cell:
                scale = stain_scale[cell] if cell < stain_scale.shape[0] else np.float32(1.0)
                of_bilayer = np.float32(cell_deviate(cell_key, cell, bilayer))
            if cell != last_cell or m != last_material:
                deviate = np.float32(cell_deviate(cell_key, cell, m))
                last_cell, last_material = cell, m
            taken = scale * _local_stain(
                fine_sd[m] * fine[j, i] + coarse_sd[m] * coarse[j, i] + cell_sd[m] * deviate, spread[m]
            )
            mass = organic[m] + stain[m] * taken
            signal = organic_signal[m] + stain_signal[m] * taken
            if membrane[j, i] > 0:
                f = np.float32(membrane[j, i]) * lining[m]
                b = bilayer
                taken = scale * _local_stain(
                    fine_sd[b] * fine[j, i] + coarse_sd[b] * coarse[j, i] + cell_sd[b] * of_bilayer, spread[b]
                )
                mass = (1 - f) * mass + f * (organic[b] + stain[b] * taken)
                signal = (1 - f) * signal + f * (organic_signal[b] + stain_signal[b] * taken)
            out[j, i] = signal / mass


@numba.njit(cache=True, nogil=True)
def _blur_plane(plane: Plane, kernel_y: Plane, kernel_x: Plane, out: Plane) -> None:
    """Separable blur; the plane's edge values stand for what lies outside."""
    height, width = plane.shape
    ry, rx = kernel_y.shape[0] // 2, kernel_x.shape[0] // 2
    padded = np.empty(width + 2 * rx, np.float32)
    for j in range(height):
        padded[rx : rx + width] = 0.0
        for k in range(kernel_y.shape[0]):
            source = min(max(j + k - ry, 0), height - 1)
            weight = kernel_y[k]
            for i in range(width):
                padded[rx + i] += weight * plane[source, i]
        for i in range(rx):
            padded[i] = padded[rx]
            padded[rx + width + i] = padded[rx + width - 1]
        out[j, :] = 0.0
        for k in range(kernel_x.shape[0]):
            weight = kernel_x[k]
            for i in range(width):
                out[j, i] += weight * padded[i + k]


@numba.njit(cache=True, nogil=True)
def _poisson(mean: float, bits: np.uint64) -> float:
    if mean < _EXACT_POISSON_BELOW:
        target = uniform(bits)
        probability = math.exp(-mean)
        cumulated = probability
        count = 0
        while cumulated < target and count < 200:
            count += 1
            probability *= mean / count
            cumulated += probability
        return float(count)
    return max(math.floor(mean + math.sqrt(mean) * normal(bits) + 0.5), 0.0)


@numba.njit(cache=True, nogil=True)
def _count_electrons(eta: Plane, electrons: float, key: np.uint64, z: int, y0: int, x0: int, out: Plane) -> None:
    for j in range(out.shape[0]):
        row = row_key(key, z, y0 + j)
        for i in range(out.shape[1]):
            out[j, i] = _poisson(electrons * eta[j, i], bits_at(row, x0 + i))


@numba.njit(cache=True, nogil=True)
def _scan_memory(plane: Plane, kernel: Plane, out: Plane) -> None:
    """Causal filter along the scan line (+x); kernel[0] is the pixel itself."""
    for j in range(out.shape[0]):
        for i in range(out.shape[1]):
            total = np.float32(0.0)
            for k in range(kernel.shape[0]):
                total += kernel[k] * plane[j, max(i - k, 0)]
            out[j, i] = total


@numba.njit(cache=True, nogil=True)
def _detect(
    counts: Plane,
    gain: float,
    offset: float,
    read_noise: float,
    columns: Plane,
    key: np.uint64,
    z: int,
    y0: int,
    x0: int,
    out: npt.NDArray[np.uint8],
) -> None:
    for j in range(out.shape[0]):
        row = row_key(key, z, y0 + j)
        for i in range(out.shape[1]):
            grey = offset + gain * counts[j, i] + columns[i]
            if read_noise > 0.0:
                grey += read_noise * normal(bits_at(row, x0 + i))
            out[j, i] = np.uint8(min(max(math.floor(grey + 0.5), 0.0), 255.0))


def _exponential_memory(decay: float) -> Plane:
    """Weights 1, decay, decay² … cut at 0.1 %, sum 1, shape (n,)."""
    count = 1 if decay <= 0.0 else 1 + math.ceil(math.log(1e-3) / math.log(decay))
    weights = decay ** np.arange(count)
    return np.asarray(weights / weights.sum(), dtype=np.float32)


def _charging_decay(microscope: FibSem, voxel_x_nm: float) -> float:
    return math.exp(-voxel_x_nm / microscope.charging_length_nm)


def blur_reach(microscope: FibSem, voxel_size_nm: tuple[float, float, float]) -> tuple[int, int, int]:
    """How many voxels (z, y, x) away materials still change a voxel's grey: the margin a tile needs."""
    kernel, first = depth_kernel(microscope.information_depth_nm, voxel_size_nm[0])
    reach_y, reach_x = (
        gaussian_kernel(fwhm, size).size // 2
        for fwhm, size in zip(microscope.lateral_fwhm_nm, voxel_size_nm[1:], strict=True)
    )
    reach_x += _exponential_memory(microscope.dwell_correlation).size - 1
    if microscope.charging_grey > 0.0:
        reach_x += _exponential_memory(_charging_decay(microscope, voxel_size_nm[2])).size - 1
    return max(-first, kernel.size - 1 + first), reach_y, reach_x


def _checked(materials: Volume, membrane: Volume, instances: Volume, table: MaterialTable) -> None:
    for name, volume, kind in (
        ("materials", materials, np.uint8),
        ("membrane", membrane, np.uint8),
        ("instances", instances, np.uint32),
    ):
        if volume.data.ndim != 3:
            raise ValueError(f"{name} has {volume.data.ndim} dimensions; image_fibsem takes z, y, x")
        if volume.data.dtype != kind:
            raise ValueError(f"{name} is {volume.data.dtype}; image_fibsem takes {np.dtype(kind)}")
        if volume.data.shape != materials.data.shape:
            raise ValueError(f"{name} has shape {volume.data.shape}, materials {materials.data.shape}; they must agree")
        if volume.voxel_size_nm != materials.voxel_size_nm or volume.origin_nm != materials.origin_nm:
            raise ValueError(f"{name} and materials differ in voxel size or origin; they must agree")
    if materials.data.size == 0:
        raise ValueError(f"materials has shape {materials.data.shape}; there is nothing to image")
    known = {material.id for material in table.materials.values()}
    # Slice by slice, because bincount copies its input to 64 bits.
    there = np.flatnonzero(sum(np.bincount(plane.ravel(), minlength=256) for plane in materials.data))
    unknown = [int(i) for i in there if int(i) not in known]
    if unknown:
        raise ValueError(f"the material table has no material with id {unknown[0]}, which the block holds")


def image_fibsem(
    materials: Volume,
    membrane: Volume,
    instances: Volume,
    table: MaterialTable,
    microscope: FibSem,
    rng: np.random.Generator,
    stain_scale: npt.NDArray[np.floating] | None = None,
) -> Micrograph:
    """The micrograph a FIB-SEM takes of a block.

    materials (uint8 ids), membrane (uint8, 255 = all bilayer) and instances (uint32 cell ids, 0 outside
    cells) are z, y, x of one shape, voxel size and origin. Each slice is milled at its z and scanned along x.
    The generator gives one key; from it each voxel's noise follows by its absolute position (origin / voxel
    size), so two tiles of one block imaged with equal keys agree beyond `blur_reach` of their cut faces.

    A cell's materials take up more or less stain than the table says, as `materials.cell_stains` tells from the key
    among the returned parameters. stain_scale: by cell id, a factor on all the stain of that cell; cells beyond its
    end have 1.

    Raises ValueError when the volumes disagree or hold a material the table lacks.
    """
    _checked(materials, membrane, instances, table)
    key = key_from(rng)
    size_nm = materials.voxel_size_nm
    first_z, first_y, first_x = (
        round(origin / size) for origin, size in zip(materials.origin_nm, size_nm, strict=True)
    )
    depth, height, width = materials.data.shape

    contrast = _contrast(table, microscope.landing_energy_kev)
    bilayer = table["membrane"].id
    kernel_y, kernel_x = (
        gaussian_kernel(fwhm, size) for fwhm, size in zip(microscope.lateral_fwhm_nm, size_nm[1:], strict=True)
    )
    kernel_z, first_tap = depth_kernel(microscope.information_depth_nm, size_nm[0])
    dwell = _exponential_memory(microscope.dwell_correlation)
    charging = _exponential_memory(_charging_decay(microscope, size_nm[2]))
    grains = [
        SmoothNoise(sub_key(key, name), length, size_nm, (first_z, first_y, first_x), (height, width))
        for name, length in (("fine grain", table.fine_grain_nm), ("coarse grain", table.coarse_grain_nm))
    ]
    cell_key = np.uint64(sub_key(key, "cells"))
    scales = np.asarray(np.ones(1) if stain_scale is None else stain_scale, np.float32)
    shot_key = np.uint64(sub_key(key, "shot noise"))
    read_key = np.uint64(sub_key(key, "read noise"))
    drift_gain = microscope.drift_gain_sd * smooth_line(
        sub_key(key, "drift of gain"), first_z, depth, microscope.drift_length_slices
    )
    drift_offset = microscope.drift_offset_grey * smooth_line(
        sub_key(key, "drift of offset"), first_z, depth, microscope.drift_length_slices
    )
    # Curtains hang along the milling direction (y): noise over x that changes slowly from slice to slice.
    curtains = SmoothNoise(
        sub_key(key, "curtains"),
        microscope.curtaining_width_nm,
        (microscope.curtaining_width_nm / microscope.curtaining_length_slices, 1.0, size_nm[2]),
        (first_z, 0, first_x),
        (1, width),
    )

    fine, coarse, eta, counts, scratch = (np.empty((height, width), np.float32) for _ in range(5))
    streaks = np.zeros((1, width), np.float32)
    blurred: dict[int, Plane] = {}
    image = np.empty((depth, height, width), np.uint8)

    def blurred_slice(index: int) -> Plane:
        if index not in blurred:
            for noise, plane in zip(grains, (fine, coarse), strict=True):
                noise.slice_at(index, plane)
            _backscatter_plane(
                materials.data[index], membrane.data[index], instances.data[index], fine, coarse, cell_key, scales,
                contrast.organic, contrast.organic_signal, contrast.stain, contrast.stain_signal,
                contrast.fine_sd, contrast.coarse_sd, contrast.cell_sd, contrast.spread, contrast.lining,
                bilayer, scratch,
            )  # fmt: skip
            plane = np.empty((height, width), np.float32)
            _blur_plane(scratch, kernel_y, kernel_x, plane)
            blurred[index] = plane
        return blurred[index]

    electrons = microscope.dose_e_per_px * microscope.collection_efficiency
    # A drift of gain turns the grey scale about its middle, a drift of offset shifts it.
    middle = (128.0 - microscope.offset_grey) / microscope.gain_grey_per_electron
    for index in range(depth):
        eta[:] = 0.0
        for tap, weight in enumerate(kernel_z):
            eta += weight * blurred_slice(min(max(index + first_tap + tap, 0), depth - 1))
        for old in [k for k in blurred if k < index + 1 + first_tap and k < depth - 1]:
            del blurred[old]
        z = first_z + index
        _count_electrons(eta, electrons, shot_key, z, first_y, first_x, counts)
        if dwell.size > 1:
            _scan_memory(counts, dwell, scratch)
            counts, scratch = scratch, counts
        if microscope.curtaining_grey > 0.0:
            curtains.slice_at(index, streaks)
        if microscope.charging_grey > 0.0:
            # The pixels just scanned left charge where they scattered less than average: it shifts the grey.
            _scan_memory(counts, charging, scratch)
            counts += microscope.charging_grey / microscope.gain_grey_per_electron * (1.0 - scratch / middle)
        gain = microscope.gain_grey_per_electron * (1.0 + float(drift_gain[index]))
        offset = microscope.offset_grey + float(
            drift_offset[index] - drift_gain[index] * (128.0 - microscope.offset_grey)
        )
        columns = microscope.curtaining_grey * streaks[0]
        _detect(
            counts,
            gain,
            offset,
            microscope.read_noise_grey,
            columns,
            read_key,
            z,
            first_y,
            first_x,
            image[index],
        )
    parameters = {
        "microscope": microscope.model_dump(),
        "information_depth_nm": microscope.information_depth_nm,
        "key": key,
        "drift_gain": [float(value) for value in drift_gain],
        "drift_offset_grey": [float(value) for value in drift_offset],
    }
    volume = Volume(image, voxel_size_nm=materials.voxel_size_nm, origin_nm=materials.origin_nm)
    return Micrograph(volume, parameters)

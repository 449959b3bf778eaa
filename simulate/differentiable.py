"""The block-face microscope in torch: the noise-free image, its variance and a noisy draw, with gradients.

It is `image_fibsem` without artefacts of milling, scan, focus and charging, of the same grain and cells for the
same key, and differentiable with respect to everything in `ImagingParameters`. Runs on any torch device.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numba
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from neuropil.voxelize.volume import Volume

from .backscatter import Response, part_etas, response
from .block_input import check_block, first_voxel
from .electrons import ELEMENTS
from .hash_noise import (
    B_SPLINE_FWHM,
    B_SPLINE_POWER,
    NORMAL_QUANTILES,
    READ_SHIFT,
    SHOT_SHIFT,
    row_key,
    sub_key,
    white_lattice,
)
from .materials import COMPOUND_DENSITY_G_CM3, COMPOUNDS, STAINS, Material, MaterialTable, cell_deviate
from .microscope import FibSem, SbfSem
from .point_spread import FWHM_PER_SIGMA, LAYERS

Kernel = npt.NDArray[np.float32]

_MATERIAL_FIELDS = ("stain_fraction", "fine_grain_sd", "coarse_grain_sd", "between_cells_cv", "lining")


@dataclass(frozen=True)
class ImagingParameters:
    """What an image follows from, as float32 tensors that may ask for gradients.

    lateral_fwhm_nm is (2,), y and x; energy_filter_share, dose_e_per_px, gain_grey_per_electron, offset_grey,
    read_noise_grey, fine_grain_nm and coarse_grain_nm are scalars; the rest is (256,) by material id, with the
    meaning that `Material` gives them. Use dataclasses.replace to put a tensor of your own in.
    """

    lateral_fwhm_nm: Tensor
    energy_filter_share: Tensor
    dose_e_per_px: Tensor
    gain_grey_per_electron: Tensor
    offset_grey: Tensor
    read_noise_grey: Tensor
    fine_grain_nm: Tensor
    coarse_grain_nm: Tensor
    stain_fraction: Tensor
    fine_grain_sd: Tensor
    coarse_grain_sd: Tensor
    between_cells_cv: Tensor
    lining: Tensor

    @classmethod
    def of(
        cls, table: MaterialTable, microscope: FibSem | SbfSem, device: torch.device | str = "cpu"
    ) -> ImagingParameters:
        """The parameters that a material table and a microscope stand for."""
        values: dict[str, Any] = {name: table.lookup(name, 0.0) for name in _MATERIAL_FIELDS}
        for name in ("fine_grain_nm", "coarse_grain_nm"):
            values[name] = getattr(table, name)
        for name in cls.__dataclass_fields__.keys() - values.keys():
            values[name] = getattr(microscope, name)
        return cls(**{n: torch.as_tensor(np.asarray(v, np.float32), device=device) for n, v in values.items()})

    def applied(self, table: MaterialTable, microscope: FibSem) -> tuple[MaterialTable, FibSem | SbfSem]:
        """Table and microscope with these values; raises ValueError or ValidationError where they are impossible."""
        changed = {}
        for name, material in table.materials.items():
            fields = {f: float(getattr(self, f)[material.id]) for f in _MATERIAL_FIELDS}
            stain = fields.pop("stain_fraction")
            stained = material.with_stain_fraction(stain) if material.stain_fraction > 0.0 else material
            changed[name] = Material(**(stained.model_dump() | fields))
        grains = {n: float(getattr(self, n)) for n in ("fine_grain_nm", "coarse_grain_nm")}
        optics = {
            n: getattr(self, n).tolist()
            for n in self.__dataclass_fields__
            if n not in _MATERIAL_FIELDS and n not in grains
        }
        return (
            MaterialTable.model_validate(table.with_materials(changed).model_dump() | grains),
            type(microscope).model_validate(microscope.model_dump() | optics),
        )


class DifferentiableFibSem:
    """One block before one microscope: the truth is fixed, `ImagingParameters` vary from call to call.

    materials, membrane, instances, stain_scale: as `image_fibsem` takes them. key: the one among the parameters
    of the micrograph to be equal to, or any number. Landing energy, collection and each material's organic parts
    and ratio of metals are those of `table` and `microscope` throughout.
    """

    def __init__(
        self,
        materials: Volume,
        membrane: Volume,
        instances: Volume,
        table: MaterialTable,
        microscope: FibSem | SbfSem,
        key: int,
        stain_scale: npt.NDArray[np.floating] | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        """Raises ValueError where the volumes disagree or hold a material that the table lacks."""
        check_block(materials, membrane, instances, table)
        self._microscope, self._key, self._device = microscope, key, torch.device(device)
        self._size_nm = materials.voxel_size_nm
        self._shape = materials.shape_zyx
        self._first = first_voxel(materials)
        bilayer = table["membrane"].id
        self._material = self._tensor(materials.data).long()
        self._bilayer = torch.full((1,), bilayer, device=self._device)
        self._fraction = self._tensor(membrane.data).float() / 255.0
        scales = np.asarray(np.ones(1) if stain_scale is None else stain_scale, np.float32)
        cell_key = np.uint64(sub_key(key, "cells"))
        of_cells = _of_cells(instances.data, materials.data, cell_key, scales, bilayer)
        self._scale, self._deviate, self._bilayer_deviate = map(self._tensor, of_cells)
        self._volumes = self._tensor(_volumes(table))
        self._cytoplasm = self._tensor(table.lookup("cytoplasm", 0.0).astype(np.float32))
        self._etas = self._tensor(_etas(table, microscope.landing_energy_kev))

    def _tensor(self, array: npt.NDArray[Any]) -> Tensor:
        return torch.as_tensor(np.ascontiguousarray(array), device=self._device)

    def expected_electrons(self, p: ImagingParameters) -> Tensor:
        """Mean number of electrons detected in each voxel, float32 (z, y, x)."""
        share, size_nm = p.energy_filter_share, self._size_nm
        signal = self._signal(p, share)[None, None]
        layers = []
        for layer in range(len(LAYERS) - 1):
            of_depth = partial(_depth, layer=layer, voxel_nm=size_nm[0])
            spread = _blurred(signal, *_filtered(self._microscope, share, of_depth), axis=0)
            for axis in (1, 2):
                beam = _filtered(self._microscope, share, partial(_beam_spread, layer=layer, voxel_nm=size_nm[axis]))
                spread = _blurred(spread, *beam, axis)
            layers.append(spread)
        signal = torch.stack(layers).sum(dim=0)
        for axis in (1, 2):
            spot = _gaussian(p.lateral_fwhm_nm[axis - 1], size_nm[axis])
            signal = _blurred(signal, spot, -(spot.numel() // 2), axis)
        return p.dose_e_per_px * self._microscope.collection_efficiency * signal[0, 0]

    def grey(self, p: ImagingParameters) -> tuple[Tensor, Tensor]:
        """Mean and variance of the grey of each voxel, before it is rounded (adds 1/12) and cut to 0–255."""
        electrons = self.expected_electrons(p)
        mean = p.offset_grey + p.gain_grey_per_electron * electrons
        return mean, p.gain_grey_per_electron**2 * electrons + p.read_noise_grey**2

    def sample(self, p: ImagingParameters) -> Tensor:
        """A noisy image (z, y, x), neither rounded nor cut: mean and standard deviation times fixed normal numbers.

        The numbers are those of `image_fibsem`, where at least 40 electrons are expected, so its grey levels are
        met to rounding.
        """
        electrons = self.expected_electrons(p)
        shot, read = self._normals()
        counted = electrons + torch.sqrt(electrons) * shot
        return p.offset_grey + p.gain_grey_per_electron * counted + p.read_noise_grey * read

    def _signal(self, p: ImagingParameters, share: Tensor) -> Tensor:
        """Share of the landed electrons that leaves each voxel for the detector, (z, y, x)."""
        detected, per_density, eta = self._response(share)
        s = p.stain_fraction
        density = 1.0 / ((1.0 - s) * self._volumes[0] + s * self._volumes[1])
        organic, stain = density * (1.0 - s), density * s
        variance = p.fine_grain_sd**2 + p.coarse_grain_sd**2 + p.between_cells_cv**2
        spread = torch.sqrt(2.0 / (2.0 - variance)) - 1.0
        uneven = variance > 1e-6
        # The ratio's limit for an even stain is 1/4; its own root would have no gradient there.
        narrowing = torch.sqrt(torch.where(uneven, spread / torch.where(uneven, variance, 1.0), 0.25))
        rows = torch.stack(
            (
                detected + per_density * organic * (self._etas[0] - eta),
                per_density * stain * (self._etas[1] - eta),
                narrowing * p.fine_grain_sd,
                narrowing * p.coarse_grain_sd,
                narrowing * p.between_cells_cv,
                1.0 / (1.0 + spread),
                p.lining,
                self._cytoplasm,
            ),
            dim=1,
        )
        fine = self._grain("fine grain", p.fine_grain_nm)
        coarse = self._grain("coarse grain", p.coarse_grain_nm)

        def part(which: Tensor, deviate: Tensor) -> Tensor:
            row = torch.nn.functional.embedding(which, rows)
            x = row[..., 2] * fine + row[..., 3] * coarse + row[..., 4] * deviate
            scale = 1.0 + (self._scale - 1.0) * row[..., 7]
            return row[..., 0] + row[..., 1] * scale * (1.0 + x) ** 2 * row[..., 5]

        f = self._fraction * torch.nn.functional.embedding(self._material, rows[:, 6:7])[..., 0]
        return (1.0 - f) * part(self._material, self._deviate) + f * part(self._bilayer, self._bilayer_deviate)

    def _response(self, share: Tensor) -> tuple[Tensor, Tensor, float]:
        """`Response` with this energy filter: detected share, slope per density, and the η it is 0 at."""
        energy, here = self._microscope.landing_energy_kev, share.item()

        def numbers(of: Response) -> list[float]:
            return [of.detected, of.slope / of.density_g_cm3]

        low, high = max(here - 1e-3, 0.0), min(here + 1e-3, 0.98)
        value, below, above = (response(energy, at) for at in (here, low, high))
        slopes = (torch.tensor(numbers(above)) - torch.tensor(numbers(below))) / (high - low)
        found = torch.tensor(numbers(value)).to(self._device) + slopes.to(self._device) * (share - share.detach())
        return found[0], found[1], value.eta

    def _grain(self, name: str, fwhm_nm: Tensor) -> Tensor:
        """`SmoothNoise` of this width over the block; a change of width stretches it about the origin."""
        weights, corner = [], []
        for axis in range(3):
            spacing = torch.clamp(fwhm_nm / (B_SPLINE_FWHM * self._size_nm[axis]), min=1.0)
            places = torch.arange(self._shape[axis], device=self._device) + (self._first[axis] + 0.5)
            position = places / spacing
            first, last = math.floor(position[0].item()) - 1, math.floor(position[-1].item()) + 2
            cells = torch.arange(first, last + 1, device=self._device)
            weights.append(_b_spline(position[:, None] - cells))
            corner.append(first)
        lattice = np.empty([w.shape[1] for w in weights], np.float32)
        key = np.uint64(sub_key(self._key, name))
        for k, plane in enumerate(lattice):
            white_lattice(key, corner[0] + k, corner[1], corner[2], plane)
        mixed = torch.einsum("zc,cba->zba", weights[0], self._tensor(lattice))
        mixed = torch.einsum("yb,zba->zya", weights[1], mixed)
        return torch.einsum("xa,zya->zyx", weights[2], mixed) * B_SPLINE_POWER**-1.5

    def _normals(self) -> tuple[Tensor, Tensor]:
        """`quick_normal` of the voxels' hashes, for the shot noise and for the read noise, (z, y, x) each."""
        rows = self._tensor(_row_keys(np.uint64(sub_key(self._key, "noise")), *self._first[:2], *self._shape[:2]))
        columns = torch.arange(self._shape[2], device=self._device) + self._first[2]
        bits = _mixed(rows[..., None] + columns * _signed(0x9E3779B97F4A7C15))
        quantiles = self._tensor(NORMAL_QUANTILES)

        def normal(shift: int) -> Tensor:
            place = (bits >> shift) & 0xFFFFFF
            cell = place >> 12
            below = quantiles[cell]
            return below + (quantiles[cell + 1] - below) * ((place & 0xFFF) * (1.0 / 4096.0))

        return normal(SHOT_SHIFT), normal(READ_SHIFT)


def _signed(value: int) -> int:
    """64 bits as torch writes them, which has no unsigned ones."""
    return value - (1 << 64) if value >= 1 << 63 else value


def _mixed(value: Tensor) -> Tensor:
    """`hash_noise.mix` of int64."""
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB), (31, 1)):
        value = value ^ ((value >> shift) & ((1 << (64 - shift)) - 1))
        value = value * _signed(factor)
    return value


@numba.njit(cache=True)
def _row_keys(key: np.uint64, z0: int, y0: int, depth: int, height: int) -> npt.NDArray[np.int64]:
    keys = np.empty((depth, height), np.int64)
    for k in range(depth):
        for j in range(height):
            keys[k, j] = np.int64(row_key(key, z0 + k, y0 + j))
    return keys


@numba.njit(cache=True)
def _of_cells(
    instances: npt.NDArray[np.uint32],
    materials: npt.NDArray[np.uint8],
    cell_key: np.uint64,
    stain_scale: npt.NDArray[np.float32],
    bilayer: int,
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Per voxel the cell's factor on its stain, and its deviates for the voxel's material and for its bilayer."""
    scale, deviate, of_bilayer = (
        np.empty(instances.shape, np.float32),
        np.empty(instances.shape, np.float32),
        np.empty(instances.shape, np.float32),
    )
    for k, j, i in np.ndindex(instances.shape):
        cell = np.int64(instances[k, j, i])
        scale[k, j, i] = stain_scale[cell] if cell < stain_scale.shape[0] else 1.0
        deviate[k, j, i] = cell_deviate(cell_key, cell, np.int64(materials[k, j, i]))
        of_bilayer[k, j, i] = cell_deviate(cell_key, cell, bilayer)
    return scale, deviate, of_bilayer


def _volumes(table: MaterialTable) -> npt.NDArray[np.float32]:
    """cm³ per g of each material's organic part and of its metals, (2, 256); 1 where there is no such part."""
    volumes = np.ones((2, 256), np.float32)
    for material in table.materials.values():
        for row, names, densities in (
            (0, list(COMPOUNDS), [COMPOUND_DENSITY_G_CM3[c] for c in COMPOUNDS]),
            (1, [s.lower() for s in STAINS], [ELEMENTS[s].density_g_cm3 for s in STAINS]),
        ):
            shares = np.array([getattr(material, name) for name in names])
            if shares.sum() > 0.0:
                volumes[row, material.id] = (shares / np.array(densities)).sum() / shares.sum()
    return volumes


def _etas(table: MaterialTable, energy_kev: float) -> npt.NDArray[np.float32]:
    """Backscatter coefficient of each material's organic part and of its metals, (2, 256)."""
    etas = np.zeros((2, 256), np.float32)
    for material in table.materials.values():
        etas[:, material.id] = part_etas(material, energy_kev)
    return etas


def _b_spline(distance: Tensor) -> Tensor:
    """Cubic B-spline of unit spacing at a distance from its centre."""
    t = distance.abs()
    near = (4.0 - 6.0 * t**2 + 3.0 * t**3) / 6.0
    return torch.where(t < 1.0, near, torch.clamp(2.0 - t, min=0.0) ** 3 / 6.0)


def _gaussian(fwhm_nm: Tensor, voxel_nm: float) -> Tensor:
    """`point_spread.gaussian_kernel`, with a gradient."""
    sigma = fwhm_nm / (FWHM_PER_SIGMA * voxel_nm)
    radius = math.ceil(3.5 * sigma.item())
    if radius == 0:
        return torch.ones_like(sigma)[None]
    edges = torch.arange(2 * radius + 2, device=fwhm_nm.device) - (radius + 0.5)
    weights = torch.diff(torch.erf(edges / (sigma * math.sqrt(2.0))))
    return weights / weights.sum()


def _depth(microscope: FibSem | SbfSem, layer: int, voxel_nm: float) -> tuple[Kernel, int]:
    kernels, first = microscope.depth_kernel(voxel_nm)
    return kernels[layer], first


def _beam_spread(microscope: FibSem | SbfSem, layer: int, voxel_nm: float) -> tuple[Kernel, int]:
    kernel = microscope.beam_spread_kernels(voxel_nm)[layer]
    return kernel, -(kernel.size // 2)


def _filtered(
    microscope: FibSem | SbfSem, share: Tensor, kernel_of: Callable[[FibSem | SbfSem], tuple[Kernel, int]]
) -> tuple[Tensor, int]:
    """A kernel of the microscope with this energy_filter_share, its gradient by differences, and its first tap."""

    def at(value: float) -> tuple[Kernel, int]:
        return kernel_of(microscope.model_copy(update={"energy_filter_share": value}))

    here = share.item()
    kernel, first = at(here)
    # Neighbours with other taps are cut elsewhere, which no derivative should see.
    near = [(kernel, here)]
    for value in (max(here - 1e-3, 0.0), min(here + 1e-3, 0.98)):
        other, its_first = at(value)
        if its_first == first and other.size == kernel.size:
            near.append((other, value))
    (low, below), (high, above) = min(near, key=lambda n: n[1]), max(near, key=lambda n: n[1])
    slope = (high.astype(np.float64) - low) / max(above - below, 1e-12)
    weights, slopes = (torch.as_tensor(a.astype(np.float32), device=share.device) for a in (kernel, slope))
    return weights + slopes * (share - share.detach()), first


def _blurred(values: Tensor, kernel: Tensor, first: int, axis: int) -> Tensor:
    """Correlates (1, 1, z, y, x) with a kernel whose tap 0 is `first` voxels on; edges stand for what is beyond."""
    if kernel.numel() == 1 and first == 0:
        return values * kernel
    last = first + kernel.numel() - 1
    pad = [0] * 6
    pad[2 * (2 - axis) : 2 * (2 - axis) + 2] = [max(-first, 0), max(last, 0)]
    shape = [1, 1, 1, 1, 1]
    shape[2 + axis] = kernel.numel()
    padded = torch.nn.functional.pad(values, pad, mode="replicate")
    out = torch.nn.functional.conv3d(padded, kernel.reshape(shape))
    return out.narrow(2 + axis, max(first, 0), values.shape[2 + axis])

"""Fluorescence: labelled cells → molecules → point spread → counted photons → grey, on the microscope's own voxels.

Unlike an electron microscope's, a light microscope's voxels are much larger than the block's, and a stack is imaged
whole: out-of-focus light reaches far, and light-microscope stacks are small.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from typing import Annotated, Any, Literal, Self

import fastremap
import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, model_validator
from scipy.signal import fftconvolve

from neuropil.voxelize.volume import Volume

from .block_input import check_block
from .counting import count_plane, digitized
from .fibsem import Micrograph
from .hash_noise import key_from, sub_key
from .light_spread import (
    Kind,
    Spread,
    airy_radius_nm,
    confocal_fwhm_nm,
    gaussian_spread,
    in_focus_to_one,
    on_larger_voxels,
    optical_spread,
    through_pinhole,
    two_photon_fwhm_nm,
    widefield_fwhm_nm,
)
from .materials import MaterialTable
from .regridding import Plane, SampleGrid
from .section_artefacts import generator

NotNegative = Annotated[float, Field(ge=0.0)]
Wavelength = Annotated[float, Field(ge=300.0, le=2000.0)]

# Molecules in a µm³ at 1 µmol/L.
_PER_UM3 = 602.214
# Working voxels per width of the point spread, at least, and how far it is followed, in its lateral widths.
_FINE, _FAR = 4.0, 3.0


class LightMicroscope(BaseModel, ABC):
    """What all fluorescence microscopes share.

    Voxels are `z_step_nm` × `pixel_nm` × `pixel_nm`, or the block's where those are larger. Of the cells
    `labelled_share` are labelled, with a brightness whose relative standard deviation is `brightness_cv` (log-normal);
    what a labelled cell holds is the materials' `fluorophore_umol_per_l`. `photons_per_molecule` are detected of one
    molecule in focus, all its pixels together; `background_photons` come on top in each. Each section takes
    `bleached_per_section` of what is left, and light from a depth z below the coverslip arrives, the excitation's loss
    included, as exp(−z/`attenuation_length_um`). `depth_um` is where the block begins. `excess_noise` is the
    detector's variance over Poisson's. Grey = `offset_grey` + `gain_grey_per_photon` · photons + read noise, in `bits`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    source: str
    numerical_aperture: Annotated[float, Field(ge=0.1, le=1.7)]
    immersion_index: Annotated[float, Field(ge=1.0, le=1.8)]
    sample_index: Annotated[float, Field(ge=1.0, le=1.8)]
    psf: Kind = "vectorial"
    psf_depth_um: Annotated[float, Field(gt=0.0, le=50.0)] = 2.0
    pixel_nm: Annotated[float, Field(ge=10.0, le=10_000.0)]
    z_step_nm: Annotated[float, Field(ge=10.0, le=50_000.0)]
    labelled_share: Annotated[float, Field(ge=0.0, le=1.0)] = 1.0
    brightness_cv: Annotated[float, Field(ge=0.0, le=2.0)] = 0.0
    photons_per_molecule: Annotated[float, Field(gt=0.0, le=1e6)]
    background_photons: NotNegative = 0.0
    bleached_per_section: Annotated[float, Field(ge=0.0, le=0.5)] = 0.0
    attenuation_length_um: Annotated[float, Field(gt=0.0)] | None = None
    depth_um: Annotated[float, Field(ge=0.0, le=1000.0)] = 0.0
    excess_noise: Annotated[float, Field(ge=1.0, le=10.0)] = 1.0
    gain_grey_per_photon: Annotated[float, Field(gt=0.0)]
    offset_grey: NotNegative = 0.0
    read_noise_grey: NotNegative = 0.0
    bits: Literal[8, 12, 16] = 16

    @model_validator(mode="after")
    def _light_gets_out(self) -> Self:
        if self.numerical_aperture >= self.immersion_index:
            raise ValueError(
                f"numerical_aperture is {self.numerical_aperture:g}; it has to be below the immersion_index, "
                f"{self.immersion_index:g}"
            )
        return self

    @abstractmethod
    def fwhm_nm(self) -> tuple[float, float]:
        """Lateral and axial width of the point spread by the Gaussian formulas."""

    @abstractmethod
    def _optical(self, voxel_nm: tuple[float, float], radius: tuple[int, int]) -> Spread:
        """The point spread by `psf`, scalar or vectorial."""

    def point_spread(self, voxel_nm: tuple[float, float], most: tuple[int, int]) -> Spread:
        """The point spread (z, y, x) in voxels of (z, xy) nm, of sum 1 in its middle plane, cut at `most` voxels."""
        lateral, axial = self.fwhm_nm()
        if self.psf == "gaussian":
            reach_z, reach_r = 1.5 * axial, 1.5 * lateral
        else:
            reach_z = 1e3 * self.psf_depth_um
            reach_r = _FAR * lateral + reach_z * math.tan(math.asin(self.numerical_aperture / self.immersion_index))
        radius_z, radius_r = (
            min(max(1, math.ceil(reach / size)), limit)
            for reach, size, limit in zip((reach_z, reach_r), voxel_nm, most, strict=True)
        )
        radius = (radius_z, radius_r)
        if self.psf == "gaussian":
            return gaussian_spread((lateral, axial), voxel_nm, radius)
        return self._optical(voxel_nm, radius)

    def _focus(self, wavelength_nm: float, voxel_nm: tuple[float, float], radius: tuple[int, int]) -> Spread:
        assert self.psf != "gaussian"
        optics = (wavelength_nm, self.numerical_aperture, self.immersion_index, self.sample_index, self.depth_um)
        return optical_spread(self.psf, *optics, voxel_nm, radius)


class Widefield(LightMicroscope):
    """The whole field lit at once: nothing but the objective tells what is in focus."""

    modality: Literal["widefield"] = "widefield"
    emission_nm: Wavelength

    def fwhm_nm(self) -> tuple[float, float]:
        """Lateral and axial width of the point spread by the Gaussian formulas."""
        return widefield_fwhm_nm(self.emission_nm, self.numerical_aperture, self.immersion_index)

    def _optical(self, voxel_nm: tuple[float, float], radius: tuple[int, int]) -> Spread:
        return self._focus(self.emission_nm, voxel_nm, radius)


class Confocal(LightMicroscope):
    """A scanned spot, detected through a pinhole `pinhole_airy` Airy discs in diameter."""

    modality: Literal["confocal"] = "confocal"
    excitation_nm: Wavelength
    emission_nm: Wavelength
    pinhole_airy: Annotated[float, Field(gt=0.0, le=20.0)] = 1.0

    def fwhm_nm(self) -> tuple[float, float]:
        """Lateral and axial width of the point spread by the Gaussian formulas."""
        wavelengths = (self.excitation_nm, self.emission_nm)
        return confocal_fwhm_nm(*wavelengths, self.numerical_aperture, self.immersion_index, self.pinhole_airy)

    def _optical(self, voxel_nm: tuple[float, float], radius: tuple[int, int]) -> Spread:
        excitation, emission = (
            self._focus(wavelength, voxel_nm, radius) for wavelength in (self.excitation_nm, self.emission_nm)
        )
        pinhole_nm = self.pinhole_airy * airy_radius_nm(self.emission_nm, self.numerical_aperture)
        return through_pinhole(excitation, emission, pinhole_nm, voxel_nm[1])


class TwoPhoton(LightMicroscope):
    """A scanned spot that excites with two photons at once: the square of the focus, all emission collected."""

    modality: Literal["two_photon"] = "two_photon"
    excitation_nm: Annotated[float, Field(ge=680.0, le=1700.0)]

    def fwhm_nm(self) -> tuple[float, float]:
        """Lateral and axial width of the point spread by the Gaussian formulas."""
        return two_photon_fwhm_nm(self.excitation_nm, self.numerical_aperture, self.immersion_index)

    def _optical(self, voxel_nm: tuple[float, float], radius: tuple[int, int]) -> Spread:
        return in_focus_to_one(self._focus(self.excitation_nm, voxel_nm, radius) ** 2)


def labelled_cells(microscope: LightMicroscope, key: int, cells: npt.NDArray[np.integer]) -> dict[int, float]:
    """Brightness of each labelled one of these cells, by id; a cell's fate follows from key and id alone."""
    spread = math.sqrt(math.log1p(microscope.brightness_cv**2))
    found = {}
    for cell in cells.tolist():
        rng = generator(key, "labelling", cell)
        if cell > 0 and rng.uniform() < microscope.labelled_share:
            # Log-normal of mean 1.
            found[cell] = float(np.exp(spread * rng.normal() - 0.5 * spread**2))
    return found


def _by_id(brightness: dict[int, float], highest: int) -> Plane:
    table = np.zeros(highest + 1, np.float32)
    table[list(brightness)] = list(brightness.values())
    return table


def image_fluorescence(
    materials: Volume,
    membrane: Volume,
    instances: Volume,
    table: MaterialTable,
    microscope: LightMicroscope,
    rng: np.random.Generator,
    stain_scale: npt.NDArray[np.floating] | None = None,
) -> Micrograph:
    """A block of tissue, of which some cells are labelled, through a fluorescence microscope.

    The volumes are as `fibsem.image_fibsem` takes them; `stain_scale` is of no concern to fluorescence. The image is
    uint8 or uint16 by `bits`, on the microscope's voxels. Raises ValueError where the volumes disagree, hold a
    material that the table lacks, or are smaller than a voxel of the microscope.
    """
    check_block(materials, membrane, instances, table)
    key = key_from(rng)
    held = table.lookup("fluorophore_umol_per_l", 0.0).astype(np.float32)
    lining = table.lookup("lining", 1.0).astype(np.float32) / np.float32(255.0)
    cells = fastremap.unique(instances.data)
    brightness = labelled_cells(microscope, key, cells)
    by_id = _by_id(brightness, int(cells.max()))

    def planes() -> Iterator[Plane]:
        for material, bilayer, cell in zip(materials.data, membrane.data, instances.data, strict=True):
            outside = 1.0 - lining[material] * bilayer
            bound = (1.0 - outside) * held[table["membrane"].id]
            yield by_id[cell] * (outside * held[material] + bound)

    return record(planes(), materials, microscope, key, brightness)


def image_filled_cells(
    instances: Volume,
    volume_fraction: Volume,
    umol_per_l: float,
    unlabelled: frozenset[int],
    microscope: LightMicroscope,
    rng: np.random.Generator,
) -> Micrograph:
    """Cells filled with fluorophore, as a circuit block gives them: ids, and the share of each voxel that is cell.

    volume_fraction: unsigned integers, their largest value for a full voxel. unlabelled: ids that never are, such as
    vessels. Raises ValueError where the volumes disagree or are smaller than a voxel of the microscope.
    """
    if (instances.shape_zyx, instances.voxel_size_nm) != (volume_fraction.shape_zyx, volume_fraction.voxel_size_nm):
        raise ValueError(
            f"instances has {instances.shape_zyx} voxels of {instances.voxel_size_nm} nm, volume_fraction "
            f"{volume_fraction.shape_zyx} of {volume_fraction.voxel_size_nm}; they must agree"
        )
    key = key_from(rng)
    cells = fastremap.unique(instances.data)
    brightness = {c: b for c, b in labelled_cells(microscope, key, cells).items() if c not in unlabelled}
    by_id = _by_id(brightness, int(cells.max()))
    full = np.float32(umol_per_l / np.iinfo(volume_fraction.data.dtype).max)
    planes = (by_id[ids] * (full * share) for ids, share in zip(instances.data, volume_fraction.data, strict=True))
    return record(planes, instances, microscope, key, brightness)


def sample_grid(microscope: LightMicroscope, volume: Volume) -> SampleGrid:
    """The microscope's voxels that lie in a volume; where the volume's own are larger, voxels as large as those."""
    size_z, *in_plane = volume.voxel_size_nm
    pixel_nm = max(microscope.pixel_nm, *in_plane)
    return SampleGrid.within(volume, (max(microscope.z_step_nm, size_z), pixel_nm, pixel_nm))


def _odd(number: float) -> int:
    """The next odd number that is not smaller."""
    whole = max(1, math.ceil(number))
    return whole + 1 - whole % 2


def _parts(microscope: LightMicroscope, grid: SampleGrid, volume: Volume) -> tuple[int, int, int]:
    """Into how many working voxels (z, y, x) a voxel is divided; odd along z, so that one lies in its middle.

    They are as fine as the point spread needs, but not finer than the block, which has no more to show.
    """
    size_z, *in_plane = volume.voxel_size_nm
    lateral, axial = microscope.fwhm_nm()
    finest_z, finest = (
        max(1, math.floor(voxel / size + 1e-6))
        for voxel, size in zip(grid.voxel_size_nm, (size_z, max(in_plane)), strict=False)
    )
    along_z = min(_odd(grid.voxel_size_nm[0] * _FINE / axial), finest_z - 1 + finest_z % 2)
    across = min(math.ceil(grid.voxel_size_nm[1] * _FINE / lateral), finest)
    return along_z, across, across


def _spread_on(microscope: LightMicroscope, fine: SampleGrid) -> Spread:
    """The point spread on working voxels, computed on finer ones where these are too coarse for it."""
    (size_z, size_r, _), (lateral, axial) = fine.voxel_size_nm, microscope.fwhm_nm()
    z, r = _odd(size_z * _FINE / axial), _odd(size_r * _FINE / lateral)
    # Light from farther away than the block is long would come from outside it.
    most = (z * fine.shape[0], r * max(fine.shape[1:]))
    return on_larger_voxels(microscope.point_spread((size_z / z, size_r / r), most), (z, r))


def record(
    umol_per_l: Iterable[Plane],
    volume: Volume,
    microscope: LightMicroscope,
    key: int,
    brightness: dict[int, float],
) -> Micrograph:
    """What a microscope records of concentrations of fluorophore.

    umol_per_l: (y, x) for each slice of `volume`, whose voxels they lie on, in order. brightness: of the labelled
    cells, for the parameters. Beyond the block its mirror image is taken to lie.
    """
    grid = sample_grid(microscope, volume)
    parts = _parts(microscope, grid, volume)
    fine = grid.finer(parts)
    size_z, size_y, size_x = fine.voxel_size_nm
    molecules = fine.averaged(umol_per_l, volume)
    molecules *= np.float32(_PER_UM3 * 1e-9 * size_z * size_y * size_x)
    depth_nm = 1e3 * microscope.depth_um + size_z * (fine.first[0] + np.arange(fine.shape[0]) + 0.5)
    if microscope.attenuation_length_um is not None:
        arriving = np.exp(-depth_nm / (1e3 * microscope.attenuation_length_um)).astype(np.float32)
        molecules *= arriving[:, None, None]
    focused = _convolved(molecules, _spread_on(microscope, fine).astype(np.float32))[parts[0] // 2 :: parts[0]]
    depth, height, width = grid.shape
    signal = focused.reshape(depth, height, parts[1], width, parts[2]).sum(axis=(2, 4))
    left = (1.0 - microscope.bleached_per_section) ** (grid.first[0] + np.arange(depth))
    expected = microscope.photons_per_molecule * left[:, None, None] * np.maximum(signal, 0.0)
    expected = (expected + microscope.background_photons).astype(np.float32)
    parameters: dict[str, Any] = {
        "microscope": microscope.model_dump(mode="json"),
        "key": key,
        "brightness": {str(cell): value for cell, value in brightness.items()},
        "fwhm_nm": list(microscope.fwhm_nm()),
        "left_of_fluorophore": left.tolist(),
    }
    image = Volume(_detected(expected, microscope, key, grid), grid.voxel_size_nm, grid.origin_nm)
    return Micrograph(image, parameters)


def _convolved(volume: npt.NDArray[np.float32], spread: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    reach = [n // 2 for n in spread.shape]
    mirrored = np.pad(volume, [(n, n) for n in reach], mode="symmetric")
    return np.asarray(fftconvolve(mirrored, spread, mode="valid"), np.float32)


def _detected(
    expected: npt.NDArray[np.float32], microscope: LightMicroscope, key: int, grid: SampleGrid
) -> npt.NDArray[np.unsignedinteger]:
    kind = np.uint8 if microscope.bits == 8 else np.uint16
    image = np.empty(grid.shape, kind)
    shot_key, read_key = np.uint64(sub_key(key, "shot noise")), sub_key(key, "read noise")
    excess = np.float32(microscope.excess_noise)
    first_z, first_y, first_x = grid.first
    for index, plane in enumerate(expected):
        # As many fewer quanta of as much more each give the detector's larger variance.
        photons = excess * count_plane(plane / excess, shot_key, first_z + index, first_y, first_x)
        grey = np.float32(microscope.offset_grey) + np.float32(microscope.gain_grey_per_photon) * photons
        first = (first_z + index, first_y, first_x)
        image[index] = digitized(grey, microscope.read_noise_grey, read_key, first, kind)
    return np.minimum(image, kind(2**microscope.bits - 1))

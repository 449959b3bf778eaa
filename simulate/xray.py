"""X-ray tomography: attenuation and phase → projections → counted photons → reconstructed slices.

A parallel beam crosses a larger sample that turns about z, in whose middle the block lies. What a distance behind it
adds to the image, the fringes of propagation phase contrast, follows from Fresnel's integral. Artefacts are made where
they happen, in the sinogram: pixels of the detector with a gain of their own become rings, single displaced projections
streaks.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field
from scipy.ndimage import gaussian_filter, shift
from skimage.transform import iradon, rotate

from neuropil.voxelize.volume import Volume

from .counting import count_plane
from .fibsem import Micrograph
from .hash_noise import key_from, sub_key
from .materials import STAINS, MaterialTable
from .regridding import SampleGrid
from .section_artefacts import generator
from .stained_volume import StainedVolume
from .x_ray_constants import attenuation_per_cm, delta_beta

Array = npt.NDArray[np.float32]
Share = Annotated[float, Field(ge=0.0, le=1.0)]
NotNegative = Annotated[float, Field(ge=0.0)]

_FWHM_PER_SIGMA = 2.3548
_PER_NM = 1e-7  # of 1/cm


class XRayTomograph(BaseModel):
    """A parallel beam of `energy_kev`, a turning sample `sample_um` thick, a detector of `pixel_nm` in the sample.

    `photons_per_pixel` meet each pixel in each of the `projections` over half a turn; `detector_fwhm_px` is the
    detector's blur. `ring_sd`: relative standard deviation of the pixels' gains after correction; `bad_projections`:
    share of the projections in which the sample stood aside by `bad_projection_px` (standard deviation). Slices are
    reconstructed by filtered back-projection to attenuation in 1/cm; grey = `offset_grey` + `gain_grey_per_per_cm` ·
    attenuation.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    source: str
    energy_kev: Annotated[float, Field(ge=0.5, le=100.0)]
    pixel_nm: Annotated[float, Field(ge=10.0, le=10_000.0)]
    sample_um: Annotated[float, Field(ge=0.0, le=1e5)] = 0.0
    projections: Annotated[int, Field(ge=8, le=10_000)]
    photons_per_pixel: Annotated[float, Field(gt=0.0, le=1e12)]
    detector_fwhm_px: Annotated[float, Field(ge=0.0, le=10.0)] = 0.0
    ring_sd: Annotated[float, Field(ge=0.0, le=0.5)] = 0.0
    bad_projections: Share = 0.0
    bad_projection_px: Annotated[float, Field(ge=0.0, le=50.0)] = 0.0
    gain_grey_per_per_cm: float
    offset_grey: float = 32768.0

    @property
    def wavelength_nm(self) -> float:
        """hc/E."""
        return 1.2398420 / self.energy_kev


class XRayAbsorption(XRayTomograph):
    """The detector stands right behind the sample: nothing but attenuation is seen."""

    modality: Literal["xray_absorption"] = "xray_absorption"


class XRayPhase(XRayTomograph):
    """The detector stands `propagation_mm` behind the sample, and edges of phase turn into fringes.

    With `delta_over_beta` each projection is filtered as Paganin et al. (2002) do for a sample of one such ratio,
    which trades fringes for contrast; else slices show the fringes. A demagnified cone beam is described by its
    effective propagation and pixel.
    """

    modality: Literal["xray_phase"] = "xray_phase"
    propagation_mm: Annotated[float, Field(gt=0.0, le=1e5)]
    delta_over_beta: Annotated[float, Field(gt=0.0, le=1e6)] | None = None


def propagated(wave: npt.NDArray[np.complex64], pixel_nm: float, wavelength_nm: float, distance_nm: float) -> Array:
    """Intensity of a wave (…, y, x) after a distance, by Fresnel's transfer function exp(−iπλz f²).

    Goodman, Introduction to Fourier Optics, eq. 4-21. The wave goes on, mirrored, beyond its frame.
    """
    # Fringes reach as far as the diffraction of a pixel does, λz/2Δ.
    reach = math.ceil(wavelength_nm * distance_nm / (2.0 * pixel_nm**2)) + 8
    around = [(0, 0)] * (wave.ndim - 2) + [(min(reach, 4 * n), min(reach, 4 * n)) for n in wave.shape[-2:]]
    padded = np.pad(wave, around, mode="symmetric")
    f_y, f_x = (np.fft.fftfreq(n, pixel_nm) for n in padded.shape[-2:])
    transfer = np.exp(-1j * math.pi * wavelength_nm * distance_nm * (f_y[:, None] ** 2 + f_x**2))
    behind = np.fft.ifft2(np.fft.fft2(padded) * transfer)
    inner = tuple(slice(low, low + n) for (low, _), n in zip(around, wave.shape, strict=True))
    return np.asarray(np.abs(behind[inner]) ** 2, np.float32)


def paganin_filtered(
    intensity: Array, pixel_nm: float, wavelength_nm: float, distance_nm: float, delta_over_beta: float
) -> Array:
    """The intensity that the sample's attenuation alone would leave, from its fringes (Paganin et al. 2002, eq. 12).

    F⁻¹{F{I} / (1 + (δ/β) λz f² π)}, which is 1 + zδ k²/µ with µ = 4πβ/λ and k = 2πf.
    """
    around = [(0, 0)] * (intensity.ndim - 2) + [(n, n) for n in intensity.shape[-2:]]
    padded = np.pad(intensity, around, mode="symmetric")
    f_y, f_x = (np.fft.fftfreq(n, pixel_nm) for n in padded.shape[-2:])
    damping = 1.0 + math.pi * delta_over_beta * wavelength_nm * distance_nm * (f_y[:, None] ** 2 + f_x**2)
    smooth = np.fft.ifft2(np.fft.fft2(padded) / damping).real
    inner = tuple(slice(low, low + n) for (low, _), n in zip(around, intensity.shape, strict=True))
    return np.asarray(smooth[inner], np.float32)


@lru_cache(maxsize=256)
def _of_element(symbol: str, energy_kev: float) -> tuple[float, float]:
    """Attenuation in 1/nm and δ of an element at 1 g/cm³; both grow with its partial density and simply add up."""
    alone = {symbol: 1.0}
    return _PER_NM * attenuation_per_cm(alone, 1.0, energy_kev), delta_beta(alone, 1.0, energy_kev)[0]


def _parts(table: MaterialTable, energy_kev: float) -> dict[str, tuple[npt.NDArray[np.float64], ...]]:
    """Attenuation in 1/nm and δ by material id, (256,), each as the organic part and the metals'."""
    found: dict[str, tuple[npt.NDArray[np.float64], ...]] = {
        name: (np.zeros(256), np.zeros(256)) for name in ("attenuation", "delta")
    }
    for material in table.materials.values():
        for symbol, fraction in material.mass_fractions.items():
            part = 1 if symbol in STAINS else 0
            for name, value in zip(found, _of_element(symbol, energy_kev), strict=True):
                found[name][part][material.id] += value * fraction * material.density_g_cm3
    return found


def _pillar(values: Array) -> Array:
    """Values (z, y, x) with their mirror image around them, cut to a cylinder along z in which they lie whole."""
    height, width = values.shape[1:]
    side = math.ceil(math.hypot(height, width)) + 4
    around = [(0, 0)]
    for n in (height, width):
        before = side // 2 - n // 2
        around.append((before, side - n - before))
    whole = np.pad(values, around, mode="symmetric")
    place = np.arange(side) - side // 2
    whole[:, np.hypot(place[:, None], place) > side // 2 - 1] = 0.0
    return whole


def projected(pillar: Array, angle_deg: float, size_nm: float) -> Array:
    """Integral of a quantity per nm along the beam, (z, s), with the sample turned by an angle about z."""
    # The direction of turning and the axis, voxel n // 2, are those of scikit-image's radon and iradon.
    middle = pillar.shape[1] // 2
    turned = rotate(np.moveaxis(pillar, 0, -1), -angle_deg, order=1, center=(middle, middle), preserve_range=True)
    return np.asarray(turned.sum(axis=0).T * size_nm, np.float32)


def reconstructed(sinogram: Array, angles_deg: npt.NDArray[np.float64], size_nm: float) -> Array:
    """Slices (z, y, x) per nm by filtered back-projection (ramp) of line integrals (angles, z, s)."""
    slices = [iradon(sinogram[:, z].T, theta=angles_deg, filter_name="ramp") for z in range(sinogram.shape[1])]
    return np.asarray(slices, np.float32) / np.float32(size_nm)


def _quantities(
    block: tuple[Volume, Volume, Volume, MaterialTable],
    stain_scale: npt.NDArray[np.floating] | None,
    microscope: XRayTomograph,
    key: int,
    grid: SampleGrid,
) -> dict[str, Array]:
    """Attenuation in 1/nm and δ on the tomograph's voxels."""
    stained = StainedVolume(*block, key, stain_scale)
    parts = _parts(block[3], microscope.energy_kev)
    return {
        name: grid.averaged((stained.plane(z, *columns) for z in range(stained.shape[0])), block[0])
        for name, columns in parts.items()
        if name == "attenuation" or isinstance(microscope, XRayPhase)
    }


def image_xray(
    materials: Volume,
    membrane: Volume,
    instances: Volume,
    table: MaterialTable,
    microscope: XRayTomograph,
    rng: np.random.Generator,
    stain_scale: npt.NDArray[np.floating] | None = None,
) -> Micrograph:
    """The reconstructed tomogram of a block in the middle of a larger sample.

    The sample is taken to be the block's mirror image near it and as its mean farther away, which takes away photons
    and leaves no edges; it is at least as thick as the block's diagonal. The volumes and `stain_scale` are as
    `fibsem.image_fibsem` takes them. The image is uint16, in cubic voxels of `pixel_nm`. Raises ValueError where the
    volumes disagree, hold a material that the table lacks, or are smaller than a voxel of the tomograph.
    """
    key = key_from(rng)
    grid = sample_grid(microscope, materials)
    block = (materials, membrane, instances, table)
    quantities = _quantities(block, stain_scale, microscope, key, grid)
    mean = float(quantities["attenuation"].mean())
    pillars = {name: _pillar(values - values.mean()) for name, values in quantities.items()}
    thickness_nm = max(1e3 * microscope.sample_um, pillars["attenuation"].shape[1] * microscope.pixel_nm)
    photons = microscope.photons_per_pixel * math.exp(-mean * thickness_nm)
    angles = np.arange(microscope.projections) * (180.0 / microscope.projections)
    shape = pillars["attenuation"].shape
    gains = _gains(microscope, key, (shape[0], shape[2]))
    shifts = _shifts_px(microscope, key)
    sinogram = np.empty((angles.size, shape[0], shape[2]), np.float32)
    for index, angle in enumerate(angles):
        intensity = _arriving(pillars, float(angle), microscope)
        if shifts[index] != 0.0:
            intensity = shift(intensity, (0.0, shifts[index]), order=1, mode="nearest")
        counts = _counted(intensity, photons, microscope, key, index)
        corrected = np.maximum(counts, 0.5) / photons * gains
        sinogram[index] = -np.log(_retrieved(corrected.astype(np.float32), microscope))
    slices = reconstructed(sinogram, angles, microscope.pixel_nm) + mean
    low_y, low_x = (shape[1 + axis] // 2 - grid.shape[1 + axis] // 2 for axis in (0, 1))
    inner = slices[:, low_y : low_y + grid.shape[1], low_x : low_x + grid.shape[2]]
    grey = microscope.offset_grey + microscope.gain_grey_per_per_cm * inner / _PER_NM
    image = np.clip(np.floor(grey + 0.5), 0, 65535).astype(np.uint16)
    parameters: dict[str, Any] = {
        "microscope": microscope.model_dump(mode="json"),
        "key": key,
        "photons_behind_sample": photons,
        "shifted_projections_px": {f"{angles[i]:g}": float(shifts[i]) for i in np.flatnonzero(shifts)},
        "pixel_gains": [[round(float(gain), 6) for gain in row] for row in gains] if microscope.ring_sd else None,
    }
    return Micrograph(Volume(image, grid.voxel_size_nm, grid.origin_nm), parameters)


def sample_grid(microscope: XRayTomograph, volume: Volume) -> SampleGrid:
    """The tomograph's voxels that lie in a volume. Raises ValueError where the volume's own are larger."""
    if max(volume.voxel_size_nm) > microscope.pixel_nm * (1 + 1e-6):
        raise ValueError(
            f"the block's voxels of {volume.voxel_size_nm} nm are larger than the tomograph's of "
            f"{microscope.pixel_nm:g} nm"
        )
    return SampleGrid.within(volume, (microscope.pixel_nm,) * 3)


def _arriving(pillars: dict[str, Array], angle: float, microscope: XRayTomograph) -> Array:
    """Intensity at the detector over that behind the mean of the sample, (z, s)."""
    attenuation = projected(pillars["attenuation"], angle, microscope.pixel_nm)
    if not isinstance(microscope, XRayPhase):
        return np.exp(-attenuation)
    wavelength = microscope.wavelength_nm
    phase = -2.0 * math.pi / wavelength * projected(pillars["delta"], angle, microscope.pixel_nm)
    wave = np.exp(-0.5 * attenuation + 1j * phase).astype(np.complex64)
    return propagated(wave, microscope.pixel_nm, wavelength, 1e6 * microscope.propagation_mm)


def _counted(intensity: Array, photons: float, microscope: XRayTomograph, key: int, index: int) -> Array:
    """Photons in each pixel of a projection, of a mean of `photons`."""
    if microscope.detector_fwhm_px > 0.0:
        intensity = gaussian_filter(intensity, microscope.detector_fwhm_px / _FWHM_PER_SIGMA, mode="nearest")
    mean = (photons * intensity).astype(np.float32)
    return count_plane(mean, np.uint64(sub_key(key, "shot noise")), index, 0, 0)


def _retrieved(intensity: Array, microscope: XRayTomograph) -> Array:
    if not isinstance(microscope, XRayPhase) or microscope.delta_over_beta is None:
        return intensity
    optics = (microscope.pixel_nm, microscope.wavelength_nm, 1e6 * microscope.propagation_mm)
    return np.maximum(paganin_filtered(intensity, *optics, microscope.delta_over_beta), np.float32(1e-6))


def _gains(microscope: XRayTomograph, key: int, shape: tuple[int, int]) -> Array:
    """Gain of each pixel of the detector (z, s) that the correction has left."""
    deviation = np.clip(generator(key, "pixel gains").normal(size=shape), -3.0, 3.0)
    return np.asarray(1.0 + microscope.ring_sd * deviation, np.float32)


def _shifts_px(microscope: XRayTomograph, key: int) -> npt.NDArray[np.float64]:
    """How far aside the sample stood in each projection; 0 where nothing went wrong."""
    rng = generator(key, "bad projections")
    bad = rng.uniform(size=microscope.projections) < microscope.bad_projections
    return np.where(bad, microscope.bad_projection_px * rng.normal(size=microscope.projections), 0.0)

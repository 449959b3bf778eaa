"""The imaging of SWC2IMG (E. Meijering), with its three knobs, on any clean stack.

Formulas as its source has them (swc2img/SWC2IMG.java): SNR = (S − B)/√S with S the peak and B the background;
Poisson numbers; then a Gaussian of σ = correlation. Stacks of it train and test the tracer SPE-DNR.
"""

from __future__ import annotations

import math
from typing import Annotated, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field
from scipy.ndimage import gaussian_filter

from neuropil.voxelize.volume import Triple, Volume

from .block_input import first_voxel
from .counting import count_plane
from .fibsem import Micrograph
from .hash_noise import key_from, sub_key

_TWO_ROOT_PI = 2.0 * math.sqrt(math.pi)


class Swc2Img(BaseModel):
    """`snr` of the peak, mean `background` in photons, `correlation_um` of the noise (0: none); its defaults.

    rescaled: grey levels 0 to 255 up to the peak's three standard deviations, as its option of that name.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    modality: Literal["swc2img"] = "swc2img"
    name: str
    source: str
    snr: Annotated[float, Field(gt=0.0, le=1000.0)] = 10.0
    background: Annotated[float, Field(ge=0.0, le=1000.0)] = 10.0
    correlation_um: Annotated[float, Field(ge=0.0, le=100.0)] = 1.0
    rescaled: bool = True


def compensated_snr(settings: Swc2Img, voxel_size_nm: Triple) -> float:
    """The SNR to draw photons at, so that it is the one asked for once the Gaussian has smoothed the noise."""
    if settings.correlation_um == 0.0:
        return settings.snr
    axial_um, lateral_um = 1e-3 * voxel_size_nm[0], 1e-3 * voxel_size_nm[2]
    in_plane = _TWO_ROOT_PI * settings.correlation_um / lateral_um
    return settings.snr / (in_plane * math.sqrt(_TWO_ROOT_PI * settings.correlation_um / axial_um))


def peak_photons(snr: float, background: float) -> float:
    """S of SNR = (S − B)/√S: ¼ (SNR + √(SNR² + 4 B))²."""
    return 0.25 * (snr + math.sqrt(snr**2 + 4.0 * background)) ** 2


def image_swc2img(clean: Volume, settings: Swc2Img, rng: np.random.Generator) -> Micrograph:
    """A noisy stack of a clean one, whose largest value becomes the peak.

    clean: (z, y, x), not negative, such as the share of each voxel that lies in a neuron; lateral voxels square. The
    image is uint8, or uint16 photons where it is not `rescaled`. Raises ValueError for negative, empty or
    not finite stacks, and for voxels that are not square.
    """
    if not math.isclose(clean.voxel_size_nm[1], clean.voxel_size_nm[2]):
        raise ValueError(f"voxel_size_nm is {clean.voxel_size_nm}; y and x must agree, SWC2IMG knows one lateral size")
    most, least = float(clean.data.max()), float(clean.data.min())
    if not (math.isfinite(most) and math.isfinite(least)) or least < 0.0 or most <= 0.0:
        raise ValueError(
            f"the clean stack reaches from {least:g} to {most:g}; allowed are finite values from 0 on, one above 0"
        )
    key = key_from(rng)
    snr = compensated_snr(settings, clean.voxel_size_nm)
    peak = peak_photons(snr, settings.background)
    per_value = (peak - settings.background) / most
    shot_key, (first_z, first_y, first_x) = np.uint64(sub_key(key, "shot noise")), first_voxel(clean)
    stack = np.empty(clean.shape_zyx, np.float32)
    for index, plane in enumerate(clean.data):
        mean = (per_value * plane + settings.background).astype(np.float32)
        stack[index] = count_plane(mean, shot_key, first_z + index, first_y, first_x)
    if settings.correlation_um > 0.0:
        sigma = [1e3 * settings.correlation_um / size for size in clean.voxel_size_nm]
        stack = gaussian_filter(stack, sigma, mode="mirror")
    ceiling = peak + 3.0 * math.sqrt(peak)
    np.clip(stack, 0.0, ceiling, out=stack)
    grey = np.floor(stack * (255.0 / ceiling) + 0.5) if settings.rescaled else np.floor(stack + 0.5)
    parameters = {
        "microscope": settings.model_dump(mode="json"),
        "key": key,
        "compensated_snr": snr,
        "peak_photons": peak,
    }
    image = grey.astype(np.uint8 if settings.rescaled else np.uint16)
    return Micrograph(Volume(image, clean.voxel_size_nm, clean.origin_nm), parameters)

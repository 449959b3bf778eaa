"""What noise and grey alone tell of a detector, and of how much stain shows which grey."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy import optimize

from .appearance import Image
from .backscatter import resin_share, response
from .materials import Material
from .microscope import FibSem, SbfSem
from .statistics import noise_residual


@dataclass(frozen=True)
class NoiseFunction:
    """Noise variance against grey, var = slope · (blank - grey): Poisson counts shown with a negative gain."""

    slope_grey: float
    blank_grey: float


def measure_noise_function(images: Image) -> NoiseFunction:
    """Noise function of uint8 slices (n, y, x), from fourth differences in bins of local mean grey.

    The darkest and brightest bins are left out (they are selected for their own noise). Raises ValueError when
    the noise does not grow with the signal, that is, when dark is not heavily stained.
    """
    residual, local = noise_residual(images)
    low, high = np.percentile(local, (10, 95))
    grey, variance, weight = [], [], []
    for bottom in np.arange(low, high, 5.0):
        here = (local >= bottom) & (local < bottom + 5.0)
        if here.sum() > 500:
            grey.append(float(images[here].mean()))
            variance.append(float(residual[here].mean()))
            weight.append(math.sqrt(float(here.sum())))
    if len(grey) < 3:
        raise ValueError("the slices hold fewer than three grey levels, so their noise function cannot be fitted")
    slope, intercept = np.polyfit(grey, variance, 1, w=weight)
    if slope >= 0.0:
        raise ValueError("noise grows with grey in these slices; this model needs heavy stain shown dark")
    return NoiseFunction(-float(slope), float(-intercept / slope))


def resin_electrons(microscope: FibSem | SbfSem) -> float:
    """Electrons that a pixel of resin without stain sends to the detector."""
    share = resin_share(response(microscope.landing_energy_kev, microscope.energy_filter_share))
    return microscope.dose_e_per_px * microscope.collection_efficiency * share


def grey_of(material: Material, microscope: FibSem | SbfSem) -> float:
    """Grey of a large piece of a material."""
    share = response(microscope.landing_energy_kev, microscope.energy_filter_share).share_of(material)
    electrons = microscope.dose_e_per_px * microscope.collection_efficiency * share
    return microscope.offset_grey + microscope.gain_grey_per_electron * electrons


def stain_for_grey(material: Material, grey: float, microscope: FibSem | SbfSem) -> float:
    """Mass fraction of metal at which a large piece of the material shows this grey, within 0.001–0.45."""

    def miss(stain: float) -> float:
        return grey_of(material.with_stain_fraction(stain), microscope) - grey

    if miss(1e-3) * miss(0.45) > 0.0:
        return 1e-3 if abs(miss(1e-3)) < abs(miss(0.45)) else 0.45
    return float(optimize.brentq(miss, 1e-3, 0.45))


def set_detector(microscope: FibSem | SbfSem, noise: NoiseFunction, resin_grey: float) -> FibSem | SbfSem:
    """Gain and offset from the noise function, dose so that resin without stain shows `resin_grey`."""
    electrons = (noise.blank_grey - resin_grey) / noise.slope_grey
    return microscope.model_copy(
        update={
            "gain_grey_per_electron": -noise.slope_grey,
            "offset_grey": noise.blank_grey,
            "dose_e_per_px": microscope.dose_e_per_px * electrons / resin_electrons(microscope),
        }
    )


def noise_function_or_level(images: Image, resin_grey: float, microscope: FibSem | SbfSem) -> NoiseFunction:
    """The slices' noise function; where it cannot be told, the microscope's blank with as much noise as there is."""
    try:
        noise = measure_noise_function(images)
    except ValueError:
        noise = None
    # Slices whose grey was stretched or clipped tell a blank so near or far that stains could not be.
    above = microscope.offset_grey - resin_grey_of(microscope)
    if noise is not None and 0.5 * above < noise.blank_grey - resin_grey < 2.0 * above:
        return noise
    blank = resin_grey + above
    residual, local = noise_residual(images)
    return NoiseFunction(float(residual.mean() / (blank - local.mean())), blank)


def resin_grey_of(microscope: FibSem | SbfSem) -> float:
    """Grey of resin without stain."""
    return microscope.offset_grey + microscope.gain_grey_per_electron * resin_electrons(microscope)

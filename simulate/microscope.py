"""Scanning electron microscopes of a block's face, which is cut off slice by slice: numbers from assets/microscopes."""

from __future__ import annotations

from typing import Annotated, Literal, Self

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, model_validator

from .charging import Charging
from .curtaining import Curtaining
from .focus import Focus
from .knife import Knife
from .mosaic import Mosaic
from .point_spread import beam_spread_kernels, escape_depth_kernel, spread_table
from .scan import Scan

NotNegative = Annotated[float, Field(ge=0.0)]


class BlockFaceSem(BaseModel):
    """Block-face imaging with backscattered electrons; the slice plane is (y, x), cutting goes down z.

    The beam meets the face at `landing_energy_kev` and leaves `dose_e_per_px` electrons in each pixel. What comes back
    with `energy_filter_share` of its energy or more is the Monte Carlo's share of them (`backscatter.Response`), of
    which `collection_efficiency` is counted. Blur: a Gaussian spot in the plane
    (`lateral_fwhm_nm`, y and x), and the depth and width from which the electrons that pass the filter
    come, as the Monte Carlo's tables say (`point_spread`).
    Grey = `offset_grey` + `gain_grey_per_electron` · detected electrons + read noise; a negative gain shows heavy
    stain dark.

    What goes wrong, in its order; 0 is off everywhere:
    `beam_current_sd`: relative standard deviation of the dose from slice to slice. `scan`, `focus`, `charging`: see
    there. `dwell_correlation`: share of a pixel's signal that the detector still holds one pixel on, exp(-dwell time /
    time constant). `drift_gain_sd`, `drift_offset_grey`: standard deviations over slices of contrast (relative, about
    the middle of the grey scale) and brightness. Current, contrast and brightness change over `drift_length_slices`.
    `mosaic`: see there. `resampling_fwhm_px`: blur (y and x) of what was counted, as aligning slices by interpolation
    leaves it; noise of neighbouring pixels is alike then.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    source: str
    landing_energy_kev: float
    dose_e_per_px: Annotated[float, Field(gt=0.0, le=1e9)]
    collection_efficiency: Annotated[float, Field(gt=0.0, le=1.0)]
    lateral_fwhm_nm: tuple[NotNegative, NotNegative]
    energy_filter_share: Annotated[float, Field(ge=0.0, le=0.98)]
    gain_grey_per_electron: float
    offset_grey: float
    read_noise_grey: NotNegative = 0.0
    dwell_correlation: Annotated[float, Field(ge=0.0, le=0.9)] = 0.0
    beam_current_sd: Annotated[float, Field(ge=0.0, le=0.15)] = 0.0
    drift_gain_sd: Annotated[float, Field(ge=0.0, le=0.5)] = 0.0
    drift_offset_grey: Annotated[float, Field(ge=0.0, le=64.0)] = 0.0
    drift_length_slices: Annotated[float, Field(ge=1.0)] = 10.0
    scan: Scan = Scan()
    focus: Focus = Focus()
    charging: Charging = Charging()
    mosaic: Mosaic = Mosaic()
    resampling_fwhm_px: Annotated[float, Field(ge=0.0, le=5.0)] = 0.0

    @model_validator(mode="after")
    def _physics_holds(self) -> Self:
        if not 0.5 <= self.landing_energy_kev <= 30.0:
            raise ValueError(
                f"landing_energy_kev is {self.landing_energy_kev:g}; the backscatter formulas and the Monte "
                "Carlo's tables hold from 0.5 to 30 keV"
            )
        if self.gain_grey_per_electron == 0.0:
            raise ValueError("gain_grey_per_electron is 0, so the image would hold no signal; give it a sign")
        return self

    @property
    def information_depth_nm(self) -> float:
        """Mean depth in nm that the contrast comes from."""
        return spread_table().at(self.landing_energy_kev, self.energy_filter_share).mean_depth_nm()

    def depth_kernel(self, voxel_nm: float) -> tuple[npt.NDArray[np.float32], int]:
        """Shares of the signal over slices of this thickness by layer, and the offset of the first from the imaged."""
        return escape_depth_kernel(self.landing_energy_kev, self.energy_filter_share, voxel_nm)

    def beam_spread_kernels(self, voxel_nm: float) -> tuple[npt.NDArray[np.float32], ...]:
        """Shares of each layer's signal over voxels along y or x that a beam without width gathers from, (2r + 1,)."""
        return beam_spread_kernels(self.landing_energy_kev, self.energy_filter_share, voxel_nm)


class FibSem(BlockFaceSem):
    """A focused ion beam mills the face, along y, and leaves curtains."""

    modality: Literal["fibsem"] = "fibsem"
    curtaining: Curtaining = Curtaining()


class SbfSem(BlockFaceSem):
    """A diamond knife cuts the face, along y, and leaves chatter and debris."""

    modality: Literal["sbfsem"] = "sbfsem"
    knife: Knife = Knife()

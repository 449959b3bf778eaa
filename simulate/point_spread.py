"""Where the electrons of one pixel come from: for each of a few layers, blur kernels in the plane and down the depth.

What the beam itself adds is tabulated by Monte Carlo (`SpreadTable`, assets/point_spreads, made by
scripts/tabulate_point_spreads.py): how the contrast of stain spreads over depth and distance in stained resin.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from importlib import resources
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

FWHM_PER_SIGMA = 2.0 * math.sqrt(2.0 * math.log(2.0))

# Shares of the contrast, from the face down, between which it is taken to spread alike at any depth.
LAYERS = (0.0, 0.05, 0.15, 0.4, 1.0)


def gaussian_kernel(fwhm_nm: float, voxel_nm: float) -> npt.NDArray[np.float32]:
    """Gaussian integrated over voxels, shape (2r + 1,), sum 1, cut at 3.5 standard deviations."""
    sigma = fwhm_nm / FWHM_PER_SIGMA / voxel_nm
    radius = math.ceil(3.5 * sigma)
    if radius == 0:
        return np.ones(1, np.float32)
    edges = (np.arange(2 * radius + 2) - radius - 0.5) / (sigma * math.sqrt(2.0))
    below = np.array([math.erf(edge) for edge in edges])
    weights = np.diff(below)
    return np.asarray(weights / weights.sum(), dtype=np.float32)


@dataclass(frozen=True)
class Spread:
    """Where the contrast of one landing energy and energy filter comes from, in stained resin."""

    reach_nm: float  # no detected electron was deeper, none twice as far from the beam
    detected: float  # share of the landed electrons that leave with the filter's energy or more
    contrast: float  # change of that share per unit of stain fraction
    depth: Floats  # running share of the contrast at even depths from 0 to the reach, (n + 1,)
    # The same at distances 2 reach (k/n)² from the beam along x (or y), both sides together, for each of LAYERS,
    # (layers, n + 1): contrast from near the face comes from near the beam.
    distance: Floats
    deepest: Floats  # running share of the detected electrons by the greatest depth they reached, as `depth`

    @property
    def depths_nm(self) -> Floats:
        """The depths of `depth`."""
        return self.reach_nm * np.linspace(0.0, 1.0, self.depth.size)

    @property
    def distances_nm(self) -> Floats:
        """The distances of `distance`."""
        return 2.0 * self.reach_nm * np.linspace(0.0, 1.0, self.distance.shape[1]) ** 2

    def mean_depth_nm(self) -> float:
        """Mean depth of the contrast."""
        return self.reach_nm * float(np.mean(1.0 - 0.5 * (self.depth[1:] + self.depth[:-1])))

    def depth_within_nm(self, share: float) -> float:
        """Depth above which this share of the contrast comes from."""
        return float(np.interp(share, self.depth, self.depths_nm))

    def distance_within_nm(self, share: float) -> float:
        """Half-width of the strip about the beam that this share of the contrast comes from."""
        together = np.diff(LAYERS) @ self.distance
        return float(np.interp(share, together, self.distances_nm))

    def blended(self, other: Spread, weight: float) -> Spread:
        """This spread (weight 0) and another (1) mixed: their scales by logarithm, their shapes linearly."""

        def mixed(name: str) -> Any:
            a, b = getattr(self, name), getattr(other, name)
            if isinstance(a, float):
                return a ** (1.0 - weight) * b**weight
            return (1.0 - weight) * a + weight * b

        return Spread(**{name: mixed(name) for name in self.__dataclass_fields__})


@dataclass(frozen=True)
class SpreadTable:
    """Spreads by landing energy (ascending, keV) and filter share (ascending): `spreads[energy][filter]`.

    stain_fraction: mass fraction of metal in the resin that they were made in.
    """

    stain_fraction: float
    landing_kev: Floats
    filter_share: Floats
    spreads: tuple[tuple[Spread, ...], ...]

    def at(self, landing_energy_kev: float, energy_filter_share: float) -> Spread:
        """The spread between tabulated ones, by ln E and ln(1 − share); ValueError outside the table."""
        for what, value, range_, unit in (
            ("landing_energy_kev", landing_energy_kev, self.landing_kev, " keV"),
            ("energy_filter_share", energy_filter_share, self.filter_share, ""),
        ):
            if not range_[0] <= value <= range_[-1]:
                raise ValueError(
                    f"{what} is {value:g}; the Monte Carlo table holds {range_[0]:g} to {range_[-1]:g}{unit}"
                )
        row, along = _between(np.log(self.landing_kev), math.log(landing_energy_kev))
        column, across = _between(-np.log1p(-self.filter_share), -math.log1p(-energy_filter_share))
        low, high = (spreads[column].blended(spreads[column + 1], across) for spreads in self.spreads[row : row + 2])
        return low.blended(high, along)


def _between(grid: Floats, value: float) -> tuple[int, float]:
    """Index of the grid point below a value, the last but one at most, and how far it is to the next, 0 to 1."""
    k = min(int(np.searchsorted(grid, value, side="right")) - 1, grid.size - 2)
    return k, float((value - grid[k]) / (grid[k + 1] - grid[k]))


@functools.cache
def spread_table() -> SpreadTable:
    """The shipped Monte Carlo table of stained resin."""
    with (resources.files("neuropil.assets") / "point_spreads" / "stained_resin.npz").open("rb") as file:
        stored = dict(np.load(file, allow_pickle=False))
    names = Spread.__dataclass_fields__
    values = {n: np.asarray(stored[n], dtype=np.float64) for n in names}
    energies, shares = (np.asarray(stored[n], dtype=np.float64) for n in ("landing_kev", "filter_share"))
    spreads = tuple(
        tuple(Spread(**{n: _plain(values[n][i, j]) for n in names}) for j in range(shares.size))
        for i in range(energies.size)
    )
    return SpreadTable(float(stored["stain_fraction"]), energies, shares, spreads)


def _plain(value: Floats) -> Any:
    return float(value) if value.ndim == 0 else value


def escape_depth_kernel(
    landing_energy_kev: float, energy_filter_share: float, voxel_nm: float
) -> tuple[npt.NDArray[np.float32], int]:
    """Shares of the contrast over slices by layer (layers, slices), sum 1, and the first slice from the one imaged.

    energy_filter_share: the lowest energy detected over the landing energy, 0 to 0.98. A slice is registered to the
    mean depth of its contrast: its surface lies that depth above the centre of its voxels, so what a slice shows is
    what its labels say. Cut where 1 % of the signal is left. Raises ValueError outside the table.
    """
    spread = spread_table().at(landing_energy_kev, energy_filter_share)
    mean_nm = spread.mean_depth_nm()
    first = math.floor(0.5 - mean_nm / voxel_nm)
    last = max(first, math.ceil((spread.depth_within_nm(0.99) - mean_nm) / voxel_nm - 0.5))
    edges_nm = (np.arange(first, last + 2) - 0.5) * voxel_nm + mean_nm
    above = np.interp(edges_nm, spread.depths_nm, spread.depth)
    weights = np.stack([np.diff(np.clip(above, low, high)) for low, high in pairwise(LAYERS)])
    return np.asarray(weights / weights.sum(), dtype=np.float32), first


def beam_spread_kernels(
    landing_energy_kev: float, energy_filter_share: float, voxel_nm: float
) -> tuple[npt.NDArray[np.float32], ...]:
    """Shares of a layer's contrast over voxels along x (or y) of a beam without width, (2r + 1,) of sum 1 for each.

    A sharp peak with wide tails, cut where 1 % of the signal is left; the spot's own Gaussian comes on top.
    """
    spread = spread_table().at(landing_energy_kev, energy_filter_share)
    kernels = []
    for distance in spread.distance:
        radius = max(0, math.ceil(float(np.interp(0.99, distance, spread.distances_nm)) / voxel_nm - 0.5))
        within = np.interp((np.arange(radius + 1) + 0.5) * voxel_nm, spread.distances_nm, distance)
        half = 0.5 * np.diff(within)
        weights = np.concatenate((half[::-1], within[:1], half))
        kernels.append(np.asarray(weights / weights.sum(), dtype=np.float32))
    return tuple(kernels)

"""From where in the sample the contrast of detected backscattered electrons comes.

What blurs an image is not how deep electrons went but how the signal answers to stain at a place: the derivative of
the detected share by the stain there. It follows from one run in even material by the score of each detected path
(likelihood-ratio method; Rubinstein 1989). With energy instead of length to count by, a layer's density is only
its thickness and stain only changes the events per energy lost, Σ/S, so a path's score is the sum over its events of
∂ ln(Σ/S)/∂w less the integral of Σ ∂ ln(Σ/S)/∂w over its length, each kept at its depth and distance from the beam.
For layers this is exact; for smaller grains it leaves out that a grain's own density shifts what lies beneath it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numba
import numpy as np

from .hash_noise import bits_at, uniform
from .monte_carlo import (
    DRAWS,
    ESCAPED,
    ISOTROPIC,
    LOWEST_KEV,
    SCREENED,
    Floats,
    Medium,
    ScatteringTable,
    electron_key,
    fly,
    in_chunks,
    interpolated,
    scattering_table,
)

# A path of 10 keV in resin has some 600 events until it is below 50 eV.
_MOST_FLIGHTS = 8192
_STEP = 0.005


@dataclass(frozen=True)
class SignalOrigin:
    """What a beam detects of an even material, and where from, for several energy filters.

    An electron is detected when it leaves with at least `filter_share` of its landing energy; it can then have been no
    deeper than `reach_nm`, half the path on which it loses the rest, and no further from the beam than twice that.
    Histograms over depth are in even bins; those over distance, measured along x or y, in bins that end at
    2 reach (k/n)², as most of the contrast lies close to the beam.
    """

    landing_kev: float
    filter_shares: Floats  # (filters,)
    reach_nm: Floats  # (filters,)
    detected: Floats  # (filters,): share of the landed electrons
    contrast: Floats  # (filters, depths, distances): change of `detected` per unit of stain fraction, summing to dη/dw
    deepest: Floats  # (filters, depths): how deep the detected electrons had been, as a share of the landed


def signal_origin(
    medium_of: Callable[[float], Medium],
    stain_fraction: float,
    landing_kev: float,
    filter_shares: Sequence[float],
    electrons: int,
    key: int,
    bins: tuple[int, int] = (96, 64),
) -> SignalOrigin:
    """Follow electrons through `medium_of(stain_fraction)` and score those that leave.

    `medium_of` gives the medium of a stain fraction; the derivative is taken between fractions 0.005 to either side.
    filter_shares: each from 0 to below 1. bins: of depth and of distance.
    """
    table = scattering_table([medium_of(stain_fraction)], landing_kev)
    less, more = (scattering_table([medium_of(stain_fraction + step)], landing_kev) for step in (-_STEP, _STEP))
    screened, isotropic = (
        (np.log(b / more.loss_kev_per_nm[0]) - np.log(a / less.loss_kev_per_nm[0])) / (2.0 * _STEP)
        for a, b in zip(_kinds(less), _kinds(more), strict=True)
    )
    drift = screened * _kinds(table)[0] + isotropic * _kinds(table)[1]
    shares = np.array(filter_shares, dtype=float)
    lowest = np.maximum(shares * landing_kev, LOWEST_KEV)
    reach = np.array([0.5 * table.paths_nm(energy)[-1] for energy in lowest])

    def score(first: int, last: int) -> tuple[Floats, Floats, Floats]:
        contrast = np.zeros((shares.size, *bins))
        deepest, detected = np.zeros((shares.size, bins[0])), np.zeros(shares.size)
        _score(
            first, last, np.uint64(key), landing_kev, lowest, table.paths_nm(lowest.min()), reach, *table.arrays,
            screened, isotropic, drift, contrast, deepest, detected,
        )  # fmt: skip
        return contrast, deepest, detected

    parts = in_chunks(electrons, score, chunk=-(-electrons // 16))
    contrast, deepest, detected = (sum(arrays) / electrons for arrays in zip(*parts, strict=True))
    return SignalOrigin(landing_kev, shares, reach, detected, contrast, deepest)


def _kinds(table: ScatteringTable) -> tuple[Floats, Floats]:
    """Screened and isotropic events per nm of a table's first medium, each (energies,)."""
    isotropic = table.events_per_nm[0] * table.isotropic_share[0]
    return table.events_per_nm[0] - isotropic, isotropic


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _score(
    first: int, last: int, key: np.uint64, landing_kev: float, lowest_kev: Floats, ways_back: Floats, reach_nm: Floats,
    events_per_nm: Floats, isotropic_share: Floats, loss_kev_per_nm: Floats, largest_per_nm: Floats,
    log_lowest: float, per_log: float, screened: Floats, isotropic: Floats, drift: Floats,
    contrast: Floats, deepest: Floats, detected: Floats,
) -> None:  # fmt: skip
    voxels, voxel_nm = np.zeros((1, 1, 1), np.uint8), np.ones(3)
    trail = np.empty((2 * _MOST_FLIGHTS, 4))  # depth, y, x and score of each event and of each stretch between
    least = lowest_kev.min()
    for electron in range(first, last):
        own = electron_key(key, electron)
        z, y, x, uz, uy, ux = 0.0, 0.0, 0.0, 1.0, 0.0, 0.0
        energy, flight, deep, notes, event = landing_kev, 0, 0.0, 0, SCREENED
        while energy > least and event != ESCAPED and flight < _MOST_FLIGHTS:
            if z > interpolated(ways_back, (math.log(energy) - log_lowest) * per_log):
                break
            from_z, from_y, from_x, from_energy = z, y, x, energy
            z, y, x, uz, uy, ux, energy, event, length = fly(
                z, y, x, uz, uy, ux, energy, own, flight, voxels, voxel_nm,
                events_per_nm, isotropic_share, loss_kev_per_nm, largest_per_nm, log_lowest, per_log,
            )  # fmt: skip
            place = (math.log(from_energy) - log_lowest) * per_log
            along = uniform(bits_at(own, np.uint64(flight) * DRAWS + np.uint64(5)))
            trail[notes, 0] = from_z + along * (z - from_z)
            trail[notes, 1] = from_y + along * (y - from_y)
            trail[notes, 2] = from_x + along * (x - from_x)
            trail[notes, 3] = -length * interpolated(drift, place)
            notes += 1
            if event in (SCREENED, ISOTROPIC):
                trail[notes, 0], trail[notes, 1], trail[notes, 2] = z, y, x
                trail[notes, 3] = interpolated(screened if event == SCREENED else isotropic, place)
                notes += 1
            deep = max(deep, z)
            flight += 1
        if event == ESCAPED:
            for k in range(lowest_kev.size):
                if energy >= lowest_kev[k]:
                    detected[k] += 1.0
                    _lay_down(trail[:notes], deep, reach_nm[k], contrast[k], deepest[k])


@numba.njit(inline="always")
def _lay_down(trail: Floats, deep: float, reach_nm: float, contrast: Floats, deepest: Floats) -> None:
    """Add a detected path's scores to the histogram over depth and, half along y and half along x, distance."""
    depths, distances = contrast.shape
    deepest[min(int(deep / reach_nm * depths), depths - 1)] += 1.0
    for n in range(trail.shape[0]):
        k = min(int(trail[n, 0] / reach_nm * depths), depths - 1)
        for axis in range(1, 3):
            i = min(int(math.sqrt(abs(trail[n, axis]) / (2.0 * reach_nm)) * distances), distances - 1)
            contrast[k, i] += 0.5 * trail[n, 3]

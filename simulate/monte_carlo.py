"""Electrons through a sample, one by one: the reference that the fast image model is held to.

Single scattering with continuous slowing down (Joy 1995, chapter 3): straight flights between elastic events,
energy lost along them. Events follow Browning's fit to Mott's cross-sections, losses Joy and Luo's formula, both
summed over the elements of a mixture. A sample is vacuum above z = 0 and voxels of media below, the outermost
voxels reaching to infinity; a flight crosses media by Woodcock's rejection, so boundaries cost nothing.

Every random number is a hash of (key, electron, number of its draw): results do not depend on threads or order.
Lengths are nm, energies keV, z grows into the sample.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import numba
import numpy as np
import numpy.typing as npt
import scipy.integrate

from .electrons import (
    BROWNING_SCREENING_KEV,
    ELEMENTS,
    browning_elastic_cross_section_a2,
    browning_isotropic_share,
    joy_luo_stopping_power,
)
from .hash_noise import WEYL, bits_at, mix, uniform

Floats = npt.NDArray[np.float64]
T = TypeVar("T")

# Joy and Luo's formula ends at 50 eV, and what leaves with less counts as a secondary electron.
LOWEST_KEV = 0.05
HIGHEST_KEV = 30.0
_ENERGIES = 600
# Draws of one flight: path, medium, kind of event, polar angle, azimuth, and one left to the caller.
DRAWS = np.uint64(6)
# Farther than any electron goes.
_FAR_NM = 1e12
# What ends a flight.
SCREENED, ISOTROPIC, NO_EVENT, ESCAPED = 0, 1, 2, 3


@dataclass(frozen=True)
class Medium:
    """What fills a voxel: mass fractions by element symbol (sum 1) and density."""

    mass_fractions: Mapping[str, float]
    density_g_cm3: float


@dataclass(frozen=True)
class ScatteringTable:
    """Per medium and energy what a flight looks up, each array (media, energies), energies even in their logarithm."""

    events_per_nm: Floats
    isotropic_share: Floats  # of the events; the others are screened Rutherford ones
    loss_kev_per_nm: Floats
    largest_per_nm: Floats  # (energies,), over media: Woodcock's majorant
    log_lowest: float
    per_log: float  # entries per unit of ln E

    @property
    def arrays(self) -> tuple[Any, ...]:
        """The fields in the order in which `fly` takes them."""
        return (
            self.events_per_nm,
            self.isotropic_share,
            self.loss_kev_per_nm,
            self.largest_per_nm,
            self.log_lowest,
            self.per_log,
        )

    def paths_nm(self, lowest_kev: float) -> Floats:
        """Longest path on which an electron slows down to an energy, (energies,): deeper than that none comes back."""
        logs = self.log_lowest + np.arange(self.largest_per_nm.size) / self.per_log
        slowness = np.exp(logs) / self.loss_kev_per_nm.min(axis=0)  # ds/d ln E
        paths = scipy.integrate.cumulative_simpson(slowness, x=logs, initial=0.0)
        return np.maximum(paths - np.interp(math.log(lowest_kev), logs, paths), 0.0)


def scattering_table(media: Sequence[Medium], highest_kev: float) -> ScatteringTable:
    """Tables from 0.05 keV to `highest_kev`; ValueError when that is not above 0.1 and at most 30 keV."""
    if not 2.0 * LOWEST_KEV < highest_kev <= HIGHEST_KEV:
        raise ValueError(
            f"a landing energy of {highest_kev:g} keV is outside {2 * LOWEST_KEV:g} to {HIGHEST_KEV:g} keV, where "
            "Browning's cross-sections hold"
        )
    energies = np.geomspace(LOWEST_KEV, highest_kev, _ENERGIES)
    rows = [_rates(medium, energies) for medium in media]
    screened, isotropic, loss = (np.array(column) for column in zip(*rows, strict=True))
    events = screened + isotropic
    return ScatteringTable(
        events, isotropic / events, loss, events.max(axis=0), math.log(LOWEST_KEV),
        (_ENERGIES - 1) / math.log(highest_kev / LOWEST_KEV),
    )  # fmt: skip


def _rates(medium: Medium, energies: Floats) -> tuple[Floats, Floats, Floats]:
    """Screened and isotropic events per nm and loss in keV/nm of a medium, each (energies,)."""
    screened, isotropic, loss = (np.zeros(energies.size) for _ in range(3))
    for symbol, fraction in medium.mass_fractions.items():
        element = ELEMENTS[symbol]
        z, weight, density = element.atomic_number, element.atomic_weight, fraction * medium.density_g_cm3
        atoms_per_nm_a2 = density / weight * 6.02214  # atoms in 1 nm × 1 Å²
        events = atoms_per_nm_a2 * np.asarray(browning_elastic_cross_section_a2(z, energies))
        share = np.asarray(browning_isotropic_share(z, energies))
        isotropic += events * share
        screened += events * (1.0 - share)
        # eV/Å is 1e-2 keV/nm.
        loss -= 1e-2 * density * np.asarray(joy_luo_stopping_power(z, weight, element.ionisation_ev, energies))
    return screened, isotropic, loss


@numba.njit(inline="always")
def _clipped(index: int, last: int) -> int:
    # Not min and max: numba compiles those for the processor only.
    return 0 if index < 0 else (last if index > last else index)


@numba.njit(inline="always")
def interpolated(row: Floats, place: float) -> float:
    k = _clipped(int(place), row.shape[0] - 2)
    t = place - k
    return row[k] * (1.0 - t) + row[k + 1] * t


@numba.njit(inline="always")
def _medium_at(voxels: npt.NDArray[np.uint8], voxel_nm: Floats, z: float, y: float, x: float) -> int:
    k = _clipped(int(z / voxel_nm[0]), voxels.shape[0] - 1)
    j = _clipped(int(y / voxel_nm[1]), voxels.shape[1] - 1)
    i = _clipped(int(x / voxel_nm[2]), voxels.shape[2] - 1)
    return int(voxels[k, j, i])


@numba.njit(inline="always")
def _turned(uz: float, uy: float, ux: float, cosine: float, azimuth: float) -> tuple[float, float, float]:
    """A unit vector turned by a polar angle, given its cosine, and an azimuth."""
    sine = math.sqrt(1.0 - cosine * cosine) if cosine * cosine < 1.0 else 0.0
    a, b = sine * math.cos(azimuth), sine * math.sin(azimuth)
    across = math.sqrt(ux * ux + uy * uy)
    if across < 1e-9:
        return uz * cosine, b, a
    return (
        uz * cosine - across * a,
        uy * cosine + (uy * uz * a + ux * b) / across,
        ux * cosine + (ux * uz * a - uy * b) / across,
    )


@numba.njit(cache=True, nogil=True, error_model="numpy")
def fly(
    z: float, y: float, x: float, uz: float, uy: float, ux: float, energy: float, key: np.uint64, flight: int,
    voxels: npt.NDArray[np.uint8], voxel_nm: Floats, events_per_nm: Floats, isotropic_share: Floats,
    loss_kev_per_nm: Floats, largest_per_nm: Floats, log_lowest: float, per_log: float,
) -> tuple[float, float, float, float, float, float, float, int, float]:  # fmt: skip
    """One flight and the event that ends it: place, direction, energy, what ended it, length within the sample."""
    draw = np.uint64(flight) * DRAWS
    place = (math.log(energy) - log_lowest) * per_log
    majorant = interpolated(largest_per_nm, place)
    length = -math.log(1.0 - uniform(bits_at(key, draw))) / majorant
    escapes = z + length * uz < 0.0
    if escapes:
        length = z / -uz
    # Losses by the midpoint rule, in the medium there.
    middle = _medium_at(voxels, voxel_nm, z + 0.5 * length * uz, y + 0.5 * length * uy, x + 0.5 * length * ux)
    loss = interpolated(loss_kev_per_nm[middle], place)
    lost = 0.5 * length * loss / energy
    loss = interpolated(loss_kev_per_nm[middle], place - per_log * (lost + 0.5 * lost * lost))  # ln(1 - lost)
    z, y, x, energy = z + length * uz, y + length * uy, x + length * ux, energy - length * loss
    if escapes:
        return 0.0, y, x, uz, uy, ux, energy, ESCAPED, length
    if energy <= LOWEST_KEV:
        return z, y, x, uz, uy, ux, energy, NO_EVENT, length
    medium = _medium_at(voxels, voxel_nm, z, y, x)
    if uniform(bits_at(key, draw + np.uint64(1))) * majorant > interpolated(events_per_nm[medium], place):
        return z, y, x, uz, uy, ux, energy, NO_EVENT, length
    share = interpolated(isotropic_share[medium], place)
    polar = uniform(bits_at(key, draw + np.uint64(3)))
    if uniform(bits_at(key, draw + np.uint64(2))) < share:
        event, cosine = ISOTROPIC, 1.0 - 2.0 * polar
    else:
        screening = BROWNING_SCREENING_KEV / energy
        event, cosine = SCREENED, 1.0 - 2.0 * screening * polar / (1.0 + screening - polar)
    azimuth = 2.0 * math.pi * uniform(bits_at(key, draw + np.uint64(4)))
    uz, uy, ux = _turned(uz, uy, ux, cosine, azimuth)
    return z, y, x, uz, uy, ux, energy, event, length


@dataclass(frozen=True)
class Sample:
    """Voxels of media: `voxels` (uint8, z, y, x) indexes `media`; z = 0 is the surface, x and y begin at 0."""

    voxels: npt.NDArray[np.uint8]
    voxel_nm: tuple[float, float, float]
    media: tuple[Medium, ...]

    def __post_init__(self) -> None:
        if self.voxels.ndim != 3 or self.voxels.dtype != np.uint8 or self.voxels.size == 0:
            raise ValueError(
                f"a sample's voxels are {self.voxels.dtype} of shape {self.voxels.shape}; they must be uint8, z, y, x"
            )
        if int(self.voxels.max()) >= len(self.media):
            raise ValueError(f"a voxel names medium {int(self.voxels.max())}, but there are only {len(self.media)}")

    @classmethod
    def uniform(cls, medium: Medium) -> Sample:
        """One medium everywhere below the surface."""
        return cls(np.zeros((1, 1, 1), np.uint8), (1.0, 1.0, 1.0), (medium,))


@dataclass(frozen=True)
class Fates:
    """What became of each electron, arrays (n,)."""

    exit_kev: Floats  # energy with which it left through the surface; 0 when it did not
    depth_nm: Floats  # the greatest it reached

    def backscattered(self, lowest_kev: float = LOWEST_KEV) -> float:
        """Share that left with at least this energy: the backscatter coefficient."""
        return float(np.mean(self.exit_kev >= lowest_kev))


def in_chunks(count: int, work: Callable[[int, int], T], chunk: int = 4096) -> list[T]:
    """work(first, last) over chunks of a range, on numba's number of threads, in order.

    The chunks do not depend on the number of threads, so neither does any sum over them.
    """
    starts = range(0, count, chunk)
    with ThreadPoolExecutor(numba.config.NUMBA_NUM_THREADS) as pool:
        return list(pool.map(lambda first: work(first, min(first + chunk, count)), starts))


def trace(
    sample: Sample,
    landing_kev: float,
    places_nm: Floats,
    key: int,
    lowest_kev: float = LOWEST_KEV,
    to_rest: bool = False,
) -> Fates:
    """Follow electrons that land at right angles on `places_nm` (n, 2: y, x) until they leave or fall below an energy.

    Unless they are to be followed `to_rest`, an electron is given up, and its depth with it, as soon as it is too deep
    to come back.

    Raises ValueError for a landing energy out of 0.1 to 30 keV or a `lowest_kev` not between 0.05 and that.
    """
    arguments = flight_arguments(sample, landing_kev, lowest_kev, to_rest)
    exits, depths = np.zeros(len(places_nm)), np.zeros(len(places_nm))

    def work(first: int, last: int) -> None:
        _follow_all(first, last, np.uint64(key), places_nm, *arguments, exits, depths)

    in_chunks(len(places_nm), work)
    return Fates(exits, depths)


def flight_arguments(sample: Sample, landing_kev: float, lowest_kev: float, to_rest: bool) -> tuple[Any, ...]:
    """What `follow` takes after an electron's key and landing place; raises as `trace` does."""
    table = scattering_table(sample.media, landing_kev)
    if not LOWEST_KEV <= lowest_kev < landing_kev:
        raise ValueError(
            f"the lowest energy followed is {lowest_kev:g} keV; it must lie in 0.05 to {landing_kev:g} keV"
        )
    ways_back = np.full(table.largest_per_nm.size, _FAR_NM) if to_rest else table.paths_nm(lowest_kev)
    voxels, voxel_nm = np.ascontiguousarray(sample.voxels), np.array(sample.voxel_nm)
    return landing_kev, lowest_kev, ways_back, voxels, voxel_nm, *table.arrays


@numba.njit(inline="always")
def electron_key(key: np.uint64, electron: int) -> np.uint64:
    """Key of one electron's draws."""
    return mix(mix(key) + np.uint64(electron) * WEYL)


@numba.njit(cache=True, nogil=True, error_model="numpy")
def follow(
    own: np.uint64, y: float, x: float, landing_kev: float, lowest_kev: float, ways_back: Floats,
    voxels: npt.NDArray[np.uint8], voxel_nm: Floats, events_per_nm: Floats, isotropic_share: Floats,
    loss_kev_per_nm: Floats, largest_per_nm: Floats, log_lowest: float, per_log: float,
) -> tuple[float, float]:  # fmt: skip
    """Energy with which one electron of this key leaves, 0 if it does not, and the greatest depth it reached."""
    z, uz, uy, ux = 0.0, 1.0, 0.0, 0.0
    energy, flight, deepest = landing_kev, 0, 0.0
    while energy > lowest_kev and z <= interpolated(ways_back, (math.log(energy) - log_lowest) * per_log):
        z, y, x, uz, uy, ux, energy, event, _ = fly(
            z, y, x, uz, uy, ux, energy, own, flight, voxels, voxel_nm,
            events_per_nm, isotropic_share, loss_kev_per_nm, largest_per_nm, log_lowest, per_log,
        )  # fmt: skip
        flight += 1
        if z > deepest:
            deepest = z
        if event == ESCAPED:
            return (energy if energy >= lowest_kev else 0.0), deepest
    return 0.0, deepest


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _follow_all(
    first: int, last: int, key: np.uint64, places_nm: Floats, landing_kev: float, lowest_kev: float, ways_back: Floats,
    voxels: npt.NDArray[np.uint8], voxel_nm: Floats, events_per_nm: Floats, isotropic_share: Floats,
    loss_kev_per_nm: Floats, largest_per_nm: Floats, log_lowest: float, per_log: float,
    exits: Floats, depths: Floats,
) -> None:  # fmt: skip
    for electron in range(first, last):
        exits[electron], depths[electron] = follow(
            electron_key(key, electron), places_nm[electron, 0], places_nm[electron, 1], landing_kev, lowest_kev,
            ways_back, voxels, voxel_nm, events_per_nm, isotropic_share, loss_kev_per_nm, largest_per_nm,
            log_lowest, per_log,
        )  # fmt: skip

"""Electrons in matter: backscattering, range, energy loss and elastic scattering, one function a formula.

Each function names its source and the range it was made for. Energies are landing or instantaneous
electron energies in keV, atomic numbers are dimensionless, densities are in g/cm³, mass fractions sum to 1.
Arguments may be numbers or arrays that broadcast against each other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Numbers = float | npt.NDArray[np.float64]
CoefficientOfElement = Callable[[Numbers], Numbers]


@dataclass(frozen=True)
class Element:
    """A chemical element; `ionisation_ev` is the mean ionisation potential J of Berger and Seltzer (1983)."""

    symbol: str
    atomic_number: int
    atomic_weight: float
    density_g_cm3: float
    ionisation_ev: float


# Densities are those of the pure solid; of the gases, the density they have bound in polymers does not matter
# (organic parts carry their own density), so a nominal 1 g/cm³ stands there.
ELEMENTS: Mapping[str, Element] = {
    element.symbol: element
    for element in (
        Element("H", 1, 1.008, 1.0, 21.8),
        Element("B", 5, 10.81, 2.34, 76.0),
        Element("C", 6, 12.011, 2.0, 78.0),
        Element("N", 7, 14.007, 1.0, 82.0),
        Element("O", 8, 15.999, 1.0, 95.0),
        Element("Mg", 12, 24.305, 1.738, 156.0),
        Element("Al", 13, 26.982, 2.70, 166.0),
        Element("Si", 14, 28.085, 2.33, 173.0),
        Element("P", 15, 30.974, 1.82, 173.0),
        Element("S", 16, 32.06, 2.07, 180.0),
        Element("Mn", 25, 54.938, 7.21, 272.0),
        Element("Fe", 26, 55.845, 7.874, 286.0),
        Element("Cu", 29, 63.546, 8.96, 322.0),
        Element("Ag", 47, 107.868, 10.5, 470.0),
        Element("Os", 76, 190.23, 22.59, 746.0),
        Element("Au", 79, 196.967, 19.32, 790.0),
        Element("Pb", 82, 207.2, 11.35, 823.0),
        Element("U", 92, 238.029, 19.05, 890.0),
    )
}


def reuter_backscatter(atomic_number: Numbers) -> Numbers:
    """Backscatter coefficient η(Z) of Reuter (1972): bulk, normal incidence, about 20 keV, Z 4–92."""
    z = atomic_number
    return -0.0254 + 0.016 * z - 1.86e-4 * z**2 + 8.3e-7 * z**3


def heinrich_backscatter(atomic_number: Numbers) -> Numbers:
    """Backscatter coefficient η(Z) of Heinrich (1981): bulk, normal incidence, 10–30 keV, Z 6–92."""
    below_80 = 80.0 - np.asarray(atomic_number, dtype=float)
    return 0.5 - 0.228e-4 * below_80 * np.abs(below_80) ** 1.3


def pap_backscatter(atomic_number: Numbers) -> Numbers:
    """Backscatter coefficient η(Z) of Pouchou and Pichoir (1991): bulk, 5–30 keV, Z 4–92.

    For a mixture hand in `pap_mean_atomic_number`.
    """
    return 1.75e-3 * atomic_number + 0.37 * (1.0 - np.exp(-0.015 * np.power(atomic_number, 1.3)))


def pap_mean_atomic_number(mass_fractions: Mapping[str, float]) -> float:
    """Mean atomic number (Σ w √Z)² that Pouchou and Pichoir (1991) use for mixtures."""
    return sum(w * np.sqrt(ELEMENTS[symbol].atomic_number) for symbol, w in mass_fractions.items()) ** 2


def love_scott_backscatter(atomic_number: Numbers, energy_kev: Numbers = 20.0) -> Numbers:
    """Backscatter coefficient η(Z, E) of Love and Scott (1978), fitted to 5–30 keV.

    Below 5 keV it is an extrapolation; it keeps the right sign (light elements scatter more, heavy ones
    less as the energy falls) and lies within 20 % of Monte Carlo for carbon down to 2 keV.
    """
    z = atomic_number
    at_20_kev = (-52.3791 + 150.48371 * z - 1.67373 * z**2 + 0.00716 * z**3) * 1e-4
    slope = (-1112.8 + 30.289 * z - 0.15498 * z**2) * 1e-4
    return at_20_kev * (1.0 + slope * np.log(np.asarray(energy_kev) / 20.0))


def castaing_backscatter(mass_fractions: Mapping[str, float], of_element: CoefficientOfElement) -> float:
    """Backscatter coefficient of a mixture, η = Σ w η(Z) (Castaing 1960).

    Howell, Davy and Boyde (1998) judged it the best rule for low mean atomic numbers, that is for resin.
    `mass_fractions` maps element symbols to mass fractions; `of_element` is one of the η(Z) above.
    """
    return float(sum(w * of_element(float(ELEMENTS[symbol].atomic_number)) for symbol, w in mass_fractions.items()))


def kanaya_okayama_range_um(
    atomic_number: Numbers, atomic_weight: Numbers, density_g_cm3: Numbers, energy_kev: Numbers
) -> Numbers:
    """Electron range R = 0.0276 A E^1.67 / (Z^0.89 ρ) in µm (Kanaya and Okayama 1972), 1–100 keV."""
    return (
        0.0276
        * np.asarray(atomic_weight)
        * np.power(energy_kev, 1.67)
        / (np.power(atomic_number, 0.89) * density_g_cm3)
    )


def kanaya_okayama_mixture_range_um(
    mass_fractions: Mapping[str, float], density_g_cm3: float, energy_kev: Numbers
) -> Numbers:
    """Kanaya–Okayama range of a mixture in µm: 1/(ρR) = Σ w/(ρR)ᵢ, ranges taken in mass units."""
    inverse_mass_range = sum(
        w / kanaya_okayama_range_um(ELEMENTS[s].atomic_number, ELEMENTS[s].atomic_weight, 1.0, energy_kev)
        for s, w in mass_fractions.items()
    )
    return 1.0 / (inverse_mass_range * density_g_cm3)


def _joy_luo_k(atomic_number: Numbers) -> Numbers:
    return 0.731 + 0.0688 * np.log10(atomic_number)


def bethe_stopping_power(
    atomic_number: Numbers, atomic_weight: Numbers, ionisation_ev: Numbers, energy_kev: Numbers
) -> Numbers:
    """Energy loss dE/ds in eV/Å per g/cm³ (negative), Bethe (1930); valid for E well above J (≥ 6.3 J)."""
    energy_ev = 1e3 * np.asarray(energy_kev)
    return -785.0 * atomic_number / (atomic_weight * energy_ev) * np.log(1.166 * energy_ev / np.asarray(ionisation_ev))


def joy_luo_stopping_power(
    atomic_number: Numbers, atomic_weight: Numbers, ionisation_ev: Numbers, energy_kev: Numbers
) -> Numbers:
    """Energy loss dE/ds in eV/Å per g/cm³ (negative), Joy and Luo (1989): Bethe with J* = J/(1 + kJ/E).

    k = 0.731 + 0.0688 log₁₀ Z. Meant for 0.05–30 keV.
    """
    energy_ev = 1e3 * np.asarray(energy_kev)
    effective_ev = ionisation_ev / (1.0 + _joy_luo_k(atomic_number) * ionisation_ev / energy_ev)
    return bethe_stopping_power(atomic_number, atomic_weight, effective_ev, energy_kev)


def browning_elastic_cross_section_a2(atomic_number: Numbers, energy_kev: Numbers) -> Numbers:
    """Total elastic cross-section in Å² (Browning 1994, a fit to Mott's), 0.1–30 keV, Z 1–92."""
    root = np.sqrt(energy_kev)
    z17 = np.power(atomic_number, 1.7)
    square_metres = 3e-22 * z17 / (energy_kev + 0.005 * z17 * root + 0.0007 * np.square(atomic_number) / root)
    return 1e20 * square_metres


# Screening of Browning's angular distribution: α = 7e-3/E, the same for all elements.
BROWNING_SCREENING_KEV = 7e-3


def browning_isotropic_share(atomic_number: Numbers, energy_kev: Numbers) -> Numbers:
    """Share of the elastic events that scatter isotropically (Browning 1994), 0.1–30 keV.

    The others are screened Rutherford ones with α = 7e-3/E: their share is r/(1 + r), r = 300 E/Z + Z³/(3e5 E).
    """
    z, energy = np.asarray(atomic_number, dtype=float), np.asarray(energy_kev)
    return 1.0 / (1.0 + 300.0 * energy / z + z**3 / (3e5 * energy))


def elastic_mean_free_path_nm(
    atomic_number: float, atomic_weight: float, density_g_cm3: float, energy_kev: Numbers
) -> Numbers:
    """Mean distance in nm between elastic events in a pure element, from Browning's cross-section."""
    atoms_per_nm3 = density_g_cm3 / atomic_weight * 602.214
    return 1.0 / (atoms_per_nm3 * 1e-2 * browning_elastic_cross_section_a2(atomic_number, energy_kev))


def mixture_elastic_mean_free_path_nm(
    mass_fractions: Mapping[str, float], density_g_cm3: float, energy_kev: float
) -> float:
    """Mean distance in nm between elastic events in a mixture: 1/λ = Σ w/λᵢ, each element at the mixture's density.

    Browning's cross-section up to 30 keV, which is as far as his fit goes, screened Rutherford above.
    """
    cross_section = browning_elastic_cross_section_a2 if energy_kev <= 30.0 else screened_rutherford_cross_section_a2
    per_nm = sum(
        w * density_g_cm3 / ELEMENTS[s].atomic_weight * 6.02214 * cross_section(ELEMENTS[s].atomic_number, energy_kev)
        for s, w in mass_fractions.items()
    )
    return float(1.0 / per_nm)


def _screening(atomic_number: Numbers, energy_kev: Numbers) -> Numbers:
    return 3.4e-3 * np.power(atomic_number, 0.67) / energy_kev


def screened_rutherford_cross_section_a2(atomic_number: Numbers, energy_kev: Numbers) -> Numbers:
    """Total elastic cross-section in Å², screened Rutherford with Bishop's screening (Joy 1995), 10–120 keV.

    Heavy elements come out too large below 20 keV, where Browning's fit to Mott is right. The screening is not
    relativistic, so above 120 keV the cross-section falls too fast.
    """
    screening = _screening(atomic_number, energy_kev)
    relativistic = np.square((energy_kev + 511.0) / (energy_kev + 1024.0))
    square_cm = (
        5.21e-21 * np.square(np.asarray(atomic_number) / energy_kev) * 4.0 * np.pi / (screening * (1.0 + screening))
    )
    return 1e16 * square_cm * relativistic


def share_scattered_beyond(atomic_number: Numbers, energy_kev: Numbers, angle_mrad: Numbers) -> Numbers:
    """Share of the elastic events that turn an electron by more than an angle (screened Rutherford, integrated).

    P(> θ) = 1 − (1 + α)(1 − cos θ)/(1 − cos θ + 2α). What an objective aperture of half-angle θ stops.
    """
    screening = _screening(atomic_number, energy_kev)
    fall = 2.0 * np.square(np.sin(0.5e-3 * np.asarray(angle_mrad)))  # 1 − cos θ without its loss of digits
    return 1.0 - (1.0 + screening) * fall / (fall + 2.0 * screening)


def malis_inelastic_mean_free_path_nm(
    atomic_number: Numbers, energy_kev: Numbers, collection_mrad: Numbers = 10.0
) -> Numbers:
    """Mean distance in nm between inelastic events in a film (Malis, Cheng and Egerton 1988), 80–200 keV, ±20 %.

    λ = 106 F E₀/(Eₘ ln(2 β E₀/Eₘ)), E₀ in keV, Eₘ = 7.6 Z^0.36 eV, β in mrad, F = (1 + E₀/1022)/(1 + E₀/511)².
    Made for solids of ordinary density, which is why no density enters; for a mixture hand in
    `lenz_mean_atomic_number`.
    """
    energy = np.asarray(energy_kev)
    relativistic = (1.0 + energy / 1022.0) / np.square(1.0 + energy / 511.0)
    mean_loss_ev = 7.6 * np.power(atomic_number, 0.36)
    return 106.0 * relativistic * energy / (mean_loss_ev * np.log(2.0 * collection_mrad * energy / mean_loss_ev))


def lenz_mean_atomic_number(mass_fractions: Mapping[str, float]) -> float:
    """Effective atomic number Σ n Z^1.3 / Σ n Z^0.3 of a mixture, n atoms of each element (Egerton 2011, eq. 5.4)."""
    atoms = {ELEMENTS[s].atomic_number: w / ELEMENTS[s].atomic_weight for s, w in mass_fractions.items()}
    return sum(n * z**1.3 for z, n in atoms.items()) / sum(n * z**0.3 for z, n in atoms.items())

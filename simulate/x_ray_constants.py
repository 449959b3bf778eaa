"""What X-rays meet in a mixture of elements: attenuation and refractive index, from the tables of xraydb.

Energies are photon energies in keV, densities in g/cm³, mass fractions by element symbol sum to 1.
"""

from __future__ import annotations

from collections.abc import Mapping

import xraydb

from .electrons import ELEMENTS

# Chantler's tables of f1 and f2, which δ and β come from, reach from some 0.01 to 433 keV; Elam's of attenuation
# begin at 0.1 keV. What tissue is imaged with lies well inside.
LOWEST_KEV, HIGHEST_KEV = 0.2, 200.0


def _checked_ev(energy_kev: float) -> float:
    if not LOWEST_KEV <= energy_kev <= HIGHEST_KEV:
        raise ValueError(
            f"an X-ray energy of {energy_kev:g} keV is outside {LOWEST_KEV:g} to {HIGHEST_KEV:g} keV, where the "
            "tables hold"
        )
    return 1e3 * energy_kev


def mass_attenuation_cm2_per_g(symbol: str, energy_kev: float) -> float:
    """Total mass attenuation µ/ρ of an element in cm²/g: photoelectric, coherent and incoherent (Elam 2002)."""
    return float(xraydb.mu_elam(symbol, _checked_ev(energy_kev)))


def attenuation_per_cm(mass_fractions: Mapping[str, float], density_g_cm3: float, energy_kev: float) -> float:
    """Linear attenuation µ = ρ Σ w µ/ρ of a mixture in 1/cm: a beam's intensity falls as exp(−µ t)."""
    return density_g_cm3 * sum(w * mass_attenuation_cm2_per_g(s, energy_kev) for s, w in mass_fractions.items() if w)


def delta_beta(mass_fractions: Mapping[str, float], density_g_cm3: float, energy_kev: float) -> tuple[float, float]:
    """δ and β of the refractive index n = 1 − δ + iβ (Chantler's f1 and f2).

    β holds absorption alone; the attenuation of `attenuation_per_cm` holds scattering too and is larger than
    4πβ/λ, most so for light elements above 10 keV.
    """
    energy_ev = _checked_ev(energy_kev)
    atoms = {s: 1e3 * w / ELEMENTS[s].atomic_weight for s, w in mass_fractions.items() if w > 0.0}
    formula = "".join(f"{symbol}{count:.9f}" for symbol, count in atoms.items())
    delta, beta, _ = xraydb.xray_delta_beta(formula, density_g_cm3, energy_ev)
    return float(delta), float(beta)

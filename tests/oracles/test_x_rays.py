"""X-ray attenuation and refractive index of elements and stained resin against published tables."""

from __future__ import annotations

import pytest

from neuropil.simulate.materials import Material, load_materials
from neuropil.simulate.x_ray_constants import mass_attenuation_cm2_per_g

# Total µ/ρ in cm²/g (xraydb 4.5.8, Elam's tables)
SYMBOLS = ("C", "H", "N", "O", "Os", "Pb", "U")
ATTENUATION = {
    8.048: (4.495, 0.391, 7.42, 11.42, 180.8, 225.3, 306.1),
    12.0: (1.426, 0.381, 2.283, 3.472, 163.4, 82.5, 113.5),
    17.0: (0.608, 0.374, 0.899, 1.307, 107.0, 130.0, 47.8),
    33.6: (0.233, 0.353, 0.268, 0.319, 18.1, 22.6, 30.9),
}
# µ/ρ of carbon and lead printed by NIST (Hubbell and Seltzer, XCOM), another compilation: at 8, 10 and 20 keV.
NIST = {("C", 8.0): 4.576, ("C", 10.0): 2.373, ("C", 20.0): 0.4420, ("Pb", 10.0): 130.6, ("Pb", 20.0): 86.36}

# Resin + Os, mass fractions of osmium: µ in 1/cm by energy; δ and β at 17 keV
OSMIUM = (0.0, 0.02, 0.05, 0.10)
RESIN_ATTENUATION = {
    8.048: (7.15, 11.6, 18.7, 31.5),
    17.0: (0.928, 3.587, 7.774, 15.34),
    33.6: (0.322, 0.772, 1.482, 2.763),
}
RESIN_DELTA = (9.46e-7, 9.59e-7, 9.80e-7, 1.016e-6)
RESIN_BETA = (3.37e-10, 1.81e-9, 4.13e-9, 8.33e-9)


def half_last_digit(value: float) -> float:
    """Half a unit of the last digit that a table printed, and a hair."""
    digits = len(f"{value:.10f}".rstrip("0").split(".")[1])
    return 0.5000001 * 10.0**-digits


def osmicated_resin(osmium: float) -> Material:
    return Material(id=0, resin=1.0 - osmium, os=osmium)


@pytest.mark.parametrize("energy_kev", ATTENUATION)
def test_mass_attenuation_matches_the_table(energy_kev: float) -> None:
    found = [mass_attenuation_cm2_per_g(symbol, energy_kev) for symbol in SYMBOLS]
    for value, printed in zip(found, ATTENUATION[energy_kev], strict=True):
        assert value == pytest.approx(printed, abs=half_last_digit(printed))


@pytest.mark.parametrize(("symbol", "energy_kev"), NIST)
def test_mass_attenuation_agrees_with_another_compilation(symbol: str, energy_kev: float) -> None:
    assert mass_attenuation_cm2_per_g(symbol, energy_kev) == pytest.approx(NIST[symbol, energy_kev], rel=0.03)


@pytest.mark.parametrize("energy_kev", RESIN_ATTENUATION)
def test_attenuation_of_stained_resin_matches_the_table(energy_kev: float) -> None:
    found = [osmicated_resin(osmium).x_ray_attenuation_per_cm(energy_kev) for osmium in OSMIUM]
    assert found == pytest.approx(RESIN_ATTENUATION[energy_kev], rel=4e-3)


def test_refractive_index_of_stained_resin_matches_the_table() -> None:
    deltas, betas = zip(*(osmicated_resin(osmium).x_ray_delta_beta(17.0) for osmium in OSMIUM), strict=True)
    assert deltas == pytest.approx(RESIN_DELTA, rel=1.5e-3)
    assert betas == pytest.approx(RESIN_BETA, rel=4e-3)


def test_every_material_of_tissue_has_x_ray_contrast_between_resin_and_metal() -> None:
    resin = osmicated_resin(0.0)
    for material in load_materials().materials.values():
        delta, beta = material.x_ray_delta_beta(17.0)
        # A dense protein shifts the phase more than resin, lipid less; both by no more than their densities.
        assert delta == pytest.approx(resin.x_ray_delta_beta(17.0)[0] * material.density_g_cm3 / 1.22, rel=0.06)
        assert beta > resin.x_ray_delta_beta(17.0)[1]


def test_energies_beyond_the_tables_are_refused() -> None:
    with pytest.raises(ValueError, match=r"0\.05 keV is outside 0\.2 to 200 keV"):
        osmicated_resin(0.0).x_ray_delta_beta(0.05)
    with pytest.raises(ValueError, match="500 keV is outside"):
        osmicated_resin(0.0).x_ray_attenuation_per_cm(500.0)

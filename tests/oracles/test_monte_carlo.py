"""The Monte Carlo against published tables: backscatter coefficients, ranges and energy loss.

Few electrons, so tolerances hold what the literature's spread allows and three standard deviations of counting.
"""

from __future__ import annotations

import functools
import math

import numpy as np
import pytest
import scipy.integrate

from neuropil.simulate import electrons
from neuropil.simulate.electrons import ELEMENTS
from neuropil.simulate.monte_carlo import Medium, Sample, interpolated, scattering_table, trace

# The published formulas for bulk samples and normal incidence that meet at 20 keV.
PUBLISHED = (
    electrons.reuter_backscatter,
    electrons.heinrich_backscatter,
    electrons.pap_backscatter,
    electrons.love_scott_backscatter,
)
# Another Monte Carlo (screened Rutherford, Joy–Luo; drix00/MonteCarlo-BSE, 1e6 electrons): keV to η
INDEPENDENT = {
    "C": {1: 0.0989, 2: 0.0836, 3: 0.0755, 5: 0.0692},
    "Al": {1: 0.2259, 2: 0.2006, 3: 0.1889, 5: 0.1780},
    "Si": {1: 0.2411, 2: 0.2163, 3: 0.2037, 5: 0.1925},
}
# The same at 15 keV. Screened Rutherford is too strong in heavy elements, Browning's fit to Mott is not.
INDEPENDENT_15_KEV = {
    "C": 0.0590, "N": 0.0738, "O": 0.0889, "Al": 0.1621, "Si": 0.1765, "Fe": 0.3043, "Cu": 0.3287,
    "Ag": 0.4380, "Os": 0.5427, "Au": 0.5507, "Pb": 0.5584, "U": 0.5814,
}  # fmt: skip


def pure(symbol: str) -> Sample:
    return Sample.uniform(Medium({symbol: 1.0}, ELEMENTS[symbol].density_g_cm3))


@functools.cache
def backscattered(symbol: str, energy_kev: float, count: int) -> float:
    return trace(pure(symbol), energy_kev, np.zeros((count, 2)), key=20).backscattered()


@pytest.mark.parametrize("symbol", ["B", "C", "N", "O", "Mg", "Al", "Si", "Fe", "Cu", "Ag", "Os", "Au", "Pb", "U"])
def test_backscatter_at_20_kev_lies_within_the_published_tables(symbol: str) -> None:
    count = 4000
    found = backscattered(symbol, 20.0, count)
    published = [float(formula(float(ELEMENTS[symbol].atomic_number))) for formula in PUBLISHED]
    noise = 3.0 * math.sqrt(found / count)
    assert 0.95 * min(published) - noise < found < 1.05 * max(published) + noise


@pytest.mark.parametrize("symbol", INDEPENDENT)
def test_backscatter_at_low_energies_agrees_with_another_monte_carlo(symbol: str) -> None:
    count = 20_000
    for energy, theirs in INDEPENDENT[symbol].items():
        found = backscattered(symbol, float(energy), count)
        assert found == pytest.approx(theirs, rel=0.03, abs=2.5 * math.sqrt(found / count)), energy


@pytest.mark.parametrize("symbol", INDEPENDENT_15_KEV)
def test_backscatter_at_15_kev_agrees_in_light_elements_and_is_less_in_heavy_ones(symbol: str) -> None:
    count = 3000
    found, theirs = backscattered(symbol, 15.0, count), INDEPENDENT_15_KEV[symbol]
    noise = 3.0 * math.sqrt(found / count)
    if ELEMENTS[symbol].atomic_number < 30:
        assert found == pytest.approx(theirs, abs=0.07 * theirs + noise)
    else:
        assert 0.82 * theirs - noise < found < theirs - 0.01


def test_light_elements_scatter_back_more_at_low_energy_and_heavy_ones_less() -> None:
    assert backscattered("C", 1.0, 20_000) > 1.2 * backscattered("C", 5.0, 20_000)
    assert backscattered("Au", 1.0, 10_000) < 0.95 * backscattered("Au", 20.0, 4000)


@pytest.mark.parametrize(
    ("symbol", "tolerance"), [("C", 0.05), ("Al", 0.05), ("Cu", 0.05), ("Ag", 0.07), ("Au", 0.20), ("U", 0.25)]
)
def test_electrons_get_as_far_as_kanaya_and_okayama_say(symbol: str, tolerance: float) -> None:
    """The range R in their law of transmission, exp(−γ y/(1 − y)), y = depth/R, γ = 0.187 Z^⅔, where 1 % pass.

    In the heaviest metals the law lets electrons less far than Browning's cross-sections do.
    """
    element = ELEMENTS[symbol]
    depths = trace(pure(symbol), 20.0, np.zeros((4000, 2)), key=3, to_rest=True).depth_nm
    law = math.log(100.0) / (0.187 * element.atomic_number ** (2.0 / 3.0))
    range_nm = float(np.percentile(depths, 99.0)) * (1.0 + law) / law
    published = 1e3 * electrons.kanaya_okayama_range_um(
        element.atomic_number, element.atomic_weight, element.density_g_cm3, 20.0
    )
    assert range_nm == pytest.approx(published, rel=tolerance)


def test_no_loss_formula_lets_electrons_of_10_kev_reach_kanaya_and_okayamas_range_in_carbon() -> None:
    """The whole path is shorter than R there, so the deepest of the Monte Carlo cannot be within 10 % of it."""
    carbon = ELEMENTS["C"]
    for energy, least, most in ((10.0, 0.90, 0.92), (20.0, 0.98, 1.0)):
        path_nm = scattering_table([Medium({"C": 1.0}, carbon.density_g_cm3)], energy).paths_nm(0.05)[-1]
        published = 1e3 * electrons.kanaya_okayama_range_um(6.0, carbon.atomic_weight, carbon.density_g_cm3, energy)
        assert least < path_nm / published < most


@pytest.mark.parametrize(("symbol", "energy_kev", "published"), [("Mn", 10.0, 0.135042498), ("U", 1.0, 0.255337998)])
def test_energy_loss_in_flight_matches_epq(symbol: str, energy_kev: float, published: float) -> None:
    """EPQ's Joy–Luo losses in eV/Å per g/cm³, read as a flight reads them, between entries of the table."""
    table = scattering_table([Medium({symbol: 1.0}, 1.0)], 20.0)
    place = (math.log(energy_kev) - table.log_lowest) * table.per_log
    assert 1e2 * interpolated(table.loss_kev_per_nm[0], place) == pytest.approx(published, rel=1e-4)


def test_path_is_the_integral_of_the_loss() -> None:
    element = ELEMENTS["Cu"]
    table = scattering_table([Medium({"Cu": 1.0}, 8.96)], 10.0)

    def slowness(energy: float) -> float:  # nm/keV
        loss = electrons.joy_luo_stopping_power(29, element.atomic_weight, element.ionisation_ev, energy)
        return float(-100.0 / (8.96 * loss))

    expected = scipy.integrate.quad(slowness, 2.0, 10.0)[0]
    assert table.paths_nm(2.0)[-1] == pytest.approx(expected, rel=1e-4)

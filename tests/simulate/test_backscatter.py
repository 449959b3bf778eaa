"""The fast model's response to stain against the Monte Carlo that it stands for."""

from __future__ import annotations

import math

import numpy as np
import pytest

from neuropil.simulate.backscatter import resin_share, response, shares_of, stained_resin
from neuropil.simulate.electrons import castaing_backscatter, love_scott_backscatter
from neuropil.simulate.materials import Material, load_materials
from neuropil.simulate.monte_carlo import Medium, Sample, trace
from neuropil.simulate.point_spread import spread_table


def medium(material: Material) -> Medium:
    return Medium(material.mass_fractions, material.density_g_cm3)


@pytest.mark.parametrize(("energy", "share"), [(1.0, 0.0), (2.0, 0.0), (2.0, 0.75), (3.0, 0.5), (5.0, 0.9)])
def test_it_is_the_tables_tangent(energy: float, share: float) -> None:
    spread, answer, stain = spread_table().at(energy, share), response(energy, share), spread_table().stain_fraction
    assert answer.share_of(stained_resin(stain)) == pytest.approx(spread.detected)
    step = 1e-4
    ahead, behind = (answer.share_of(stained_resin(stain + s)) for s in (step, -step))
    assert (ahead - behind) / (2.0 * step) == pytest.approx(spread.contrast, rel=1e-3)


@pytest.mark.parametrize(("energy", "share"), [(1.0, 0.0), (2.0, 0.0), (2.0, 0.75), (3.0, 0.0)])
def test_even_material_is_detected_as_the_monte_carlo_says(energy: float, share: float) -> None:
    """Resin without stain and with 10 % of it; by Castaing's rule contrast would be up to 2.7 times too much."""
    count, answer, found = 40_000, response(energy, share), []
    for stain in (0.0, 0.1):
        material = stained_resin(stain)
        exits = trace(Sample.uniform(medium(material)), energy, np.zeros((count, 2)), key=3).exit_kev
        found.append(float(np.mean(exits >= max(share * energy, 0.05))))
        noise = math.sqrt(found[-1] / count)
        assert answer.share_of(material) == pytest.approx(found[-1], rel=0.04, abs=3.0 * noise)
    rise = answer.share_of(stained_resin(0.1)) - resin_share(answer)
    assert rise == pytest.approx(found[1] - found[0], rel=0.12, abs=3.0 * math.sqrt(sum(found) / count))


def test_a_thin_layer_of_much_stain_is_as_strong_as_in_the_monte_carlo() -> None:
    """8 nm of 20 % stain 2 nm below the face, at 2 keV: by its mass, not by its mass fraction alone."""
    count, energy, cytoplasm, layer = 60_000, 2.0, stained_resin(0.02), stained_resin(0.2)
    media, places = (medium(cytoplasm), medium(layer)), np.zeros((count, 2))
    voxels = np.zeros((6, 1, 1), np.uint8)
    plain = trace(Sample(voxels, (2.0, 2.0, 2.0), media), energy, places, key=5).backscattered()
    voxels[1:5] = 1
    layered = trace(Sample(voxels, (2.0, 2.0, 2.0), media), energy, places, key=6).backscattered()
    spread, answer = spread_table().at(energy, 0.0), response(energy, 0.0)
    seen = float(np.diff(np.interp((2.0, 10.0), spread.depths_nm, spread.depth))[0])
    expected = seen * (answer.share_of(layer) - answer.share_of(cytoplasm))
    noise = math.sqrt(2.0 * plain / count)
    assert layered - plain == pytest.approx(expected, rel=0.1, abs=2.0 * noise)


def test_parts_add_up_to_the_material() -> None:
    table, answer = load_materials(), response(2.0, 0.7)
    organic, metal = shares_of(table, answer)
    for material in table.materials.values():
        assert organic[material.id] + metal[material.id] == pytest.approx(answer.share_of(material), rel=1e-9)
    psd = table["psd"]
    eta = castaing_backscatter(psd.mass_fractions, lambda z: love_scott_backscatter(z, 2.0))
    assert answer.share_of(psd) == pytest.approx(
        answer.detected + answer.slope * psd.density_g_cm3 / answer.density_g_cm3 * (eta - answer.eta)
    )


def test_energies_and_filters_outside_the_table_are_refused() -> None:
    with pytest.raises(ValueError, match="landing_energy_kev is 40"):
        response(40.0, 0.0)

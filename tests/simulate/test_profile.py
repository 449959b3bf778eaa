"""A profile sets stains by name, and the shipped one can be read and used."""

from __future__ import annotations

import pytest

from neuropil.simulate.materials import load_materials, load_structures
from neuropil.simulate.profile import Stain, load_profile

SHIPPED = ("epfl_ca1", "flyem_medulla", "isbi2012")


@pytest.mark.parametrize("name", SHIPPED)
def test_the_shipped_profiles_stain_the_shipped_table(name: str) -> None:
    profile = load_profile(name)
    table = profile.stained(load_materials())
    assert profile.name == profile.microscope.name == name
    for material, stain in profile.stains.items():
        assert table[material].stain_fraction == pytest.approx(stain.fraction, abs=1e-9)
        assert table[material].fine_grain_sd == stain.fine_grain_sd
    assert table.fine_grain_nm == profile.fine_grain_nm


@pytest.mark.parametrize("name", SHIPPED)
def test_the_shipped_profiles_were_made_from_slices_that_judge_nothing(name: str) -> None:
    provenance = load_profile(name).provenance
    fitted, aside = (set(provenance[key]) for key in ("slices_fitted_to", "slices_kept_aside"))
    assert len(fitted) >= 9 and len(aside) >= 5 and not fitted & aside
    if name == "epfl_ca1":
        assert max(fitted) <= 63 and min(aside) >= 89
    assert provenance["tolerances_off"][-1] < provenance["tolerances_off"][0]


def test_plasma_membranes_are_as_thick_as_the_profile_shows_them() -> None:
    profile = load_profile("epfl_ca1").model_copy(update={"plasma_membrane_nm": 11.0})
    lined = profile.lined(load_structures())
    assert lined["axon"].membrane_nm == 11.0
    assert lined["mitochondrion"].membrane_nm == load_structures()["mitochondrion"].membrane_nm


def test_a_material_the_table_lacks_is_refused() -> None:
    profile = load_profile("epfl_ca1").model_copy(
        update={"stains": {"gold": Stain(fraction=0.1, fine_grain_sd=0, coarse_grain_sd=0, between_cells_cv=0)}}
    )
    with pytest.raises(ValueError, match="gold"):
        profile.stained(load_materials())

"""A profile sets stains by name, and the shipped one can be read and used."""

from __future__ import annotations

import pytest

from neuropil.simulate.materials import load_materials
from neuropil.simulate.profile import Stain, load_profile


def test_the_shipped_profile_stains_the_shipped_table() -> None:
    profile = load_profile("epfl_ca1")
    table = profile.stained(load_materials())
    for name, stain in profile.stains.items():
        assert table[name].stain_fraction == pytest.approx(stain.fraction, abs=1e-9)
        assert table[name].fine_grain_sd == stain.fine_grain_sd
    assert table.fine_grain_nm == profile.fine_grain_nm


def test_the_shipped_profile_was_made_from_training_slices_alone() -> None:
    slices = load_profile("epfl_ca1").provenance["slices"]
    assert len(slices) > 20
    assert all(int(name[:4]) <= 63 for name in slices)


def test_a_material_the_table_lacks_is_refused() -> None:
    profile = load_profile("epfl_ca1").model_copy(
        update={"stains": {"gold": Stain(fraction=0.1, fine_grain_sd=0, coarse_grain_sd=0, between_cells_cv=0)}}
    )
    with pytest.raises(ValueError, match="gold"):
        profile.stained(load_materials())

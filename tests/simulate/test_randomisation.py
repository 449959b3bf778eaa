"""A randomised profile draws all it names, each time anew, and refuses what could not be drawn."""

from __future__ import annotations

import numpy as np
import pytest

from neuropil.simulate.detector import grey_of, resin_grey_of
from neuropil.simulate.materials import load_materials
from neuropil.simulate.microscope import FibSem
from neuropil.simulate.randomisation import RandomisedProfile, Range, load_any_profile, profile_inputs


@pytest.fixture(scope="module")
def randomised() -> RandomisedProfile:
    profile = load_any_profile("randomised_fibsem")
    assert isinstance(profile, RandomisedProfile)
    return profile


def test_the_shipped_one_draws_within_its_ranges(randomised: RandomisedProfile) -> None:
    drawn = [randomised.drawn(np.random.default_rng(seed)) for seed in range(30)]
    spots = [profile.microscope.lateral_fwhm_nm[0] for profile in drawn if isinstance(profile.microscope, FibSem)]
    assert len(spots) == 30 and 5 <= min(spots) < 10 and 27 < max(spots) <= 32
    for profile in drawn:
        microscope = profile.microscope
        assert isinstance(microscope, FibSem)
        assert 165 <= resin_grey_of(microscope) <= 245
        assert -60.1 <= grey_of(profile.stained(load_materials())["membrane"], microscope) <= 90.1
    fractions = {profile.stains["psd"].fraction / profile.stains["membrane"].fraction for profile in drawn}
    assert len(fractions) == 30


def test_one_generator_gives_one_profile_and_all_that_was_drawn(randomised: RandomisedProfile) -> None:
    one, again = (randomised.drawn(np.random.default_rng(5)) for _ in range(2))
    assert one == again != randomised.middle
    drawn = one.provenance["drawn"]
    assert drawn["microscope.lateral_fwhm_nm.0"] == one.microscope.lateral_fwhm_nm[0]
    assert drawn["stains.membrane.fraction"] == one.stains["membrane"].fraction
    assert profile_inputs(randomised)["base"]["name"] == "epfl_ca1"


def test_what_cannot_be_drawn_is_refused(randomised: RandomisedProfile) -> None:
    content = randomised.model_dump()
    with pytest.raises(ValueError, match="leads nowhere in the profile epfl_ca1"):
        RandomisedProfile.model_validate(content | {"values": {"microscope.wavelength": {"low": 1, "high": 2}}})
    with pytest.raises(ValueError, match="energy_filter_share"):
        wrong = {"microscope.energy_filter_share": {"low": 0.5, "high": 2.0}}
        RandomisedProfile.model_validate(content | {"values": wrong})
    with pytest.raises(ValueError, match="nothing that could be drawn"):
        Range(low=2.0, high=1.0)

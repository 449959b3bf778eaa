"""The microscope's own checks."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from neuropil.simulate.imaging import load_microscope
from neuropil.simulate.microscope import FibSem


def changed(**update: object) -> FibSem:
    return FibSem.model_validate(load_microscope("fibsem").model_dump() | update)


@pytest.mark.parametrize("energy_kev", [0.4, 31.0, -2.0])
def test_a_landing_energy_out_of_range_is_refused_in_a_sentence(energy_kev: float) -> None:
    with pytest.raises(ValidationError, match=r"landing_energy_kev is .*; .* from 0\.5 to 30 keV"):
        changed(landing_energy_kev=energy_kev)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("dose_e_per_px", 0.0),
        ("collection_efficiency", 1.2),
        ("dwell_correlation", 0.95),
        ("gain_grey_per_electron", 0.0),
        ("lateral_fwhm_nm", [16.0, -1.0]),
        ("colour", "red"),
    ],
)
def test_impossible_values_and_unknown_keys_are_refused(key: str, value: object) -> None:
    with pytest.raises(ValidationError, match=key):
        changed(**{key: value})


def test_information_depth_shrinks_with_energy() -> None:
    """About as the electrons' range does, E^1.67 by Kanaya and Okayama, and behind a stricter filter."""
    depths = [changed(landing_energy_kev=e).information_depth_nm for e in (1.0, 2.0, 5.0)]
    assert depths == sorted(depths)
    assert depths[2] / depths[1] == pytest.approx(2.5**1.67, rel=0.15)
    assert changed(energy_filter_share=0.9).information_depth_nm < 0.7 * depths[1]


def test_a_microscope_that_does_not_exist() -> None:
    with pytest.raises(FileNotFoundError, match="fibsem"):
        load_microscope("light")

"""Profiles for whom has no real image: everything that imaging depends on is drawn anew for each block.

A network that has met every appearance treats a real one as one more of them (SynthSeg, Billot et al. 2023).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from .backscatter import resin_share, response
from .materials import load_materials, read_asset
from .microscope import FibSem, SbfSem
from .profile import Profile, load_profile


class Range(BaseModel):
    """Numbers from `low` to `high`, each as likely as any other, or each e-fold where `logarithmic`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    low: float
    high: float
    logarithmic: bool = False

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.low > self.high or (self.logarithmic and self.low <= 0.0):
            raise ValueError(f"a range from {self.low:g} to {self.high:g} holds nothing that could be drawn")
        return self

    def at(self, share: float) -> float:
        """The number that lies this share of the way from low to high."""
        if self.logarithmic:
            return float(self.low * (self.high / self.low) ** share)
        return self.low + share * (self.high - self.low)


class RandomisedProfile(BaseModel):
    """A profile with ranges in place of numbers.

    Keys of `values` and `factors` are paths into the profile `base`, with dots ("microscope.lateral_fwhm_nm.0"); a *
    stands for every key there is, each of which draws for itself. What a path finds is replaced by a number of its
    range, or multiplied by it. The detector follows from three numbers, so that no block is all black or white:
    `bright_grey` is shown by resin, `dark_grey` by thick membrane, and resin sends `electrons` to each pixel.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    form: Literal["randomised"]
    name: str
    source: str
    base: str
    bright_grey: Range
    dark_grey: Range
    electrons: Range
    values: dict[str, Range] = Field(default_factory=dict)
    factors: dict[str, Range] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _can_be_drawn(self) -> Self:
        # The widest and narrowest that can come out have to be allowed too.
        for share in (0.0, 0.5, 1.0):
            self._profile(itertools.repeat(share))
        return self

    def drawn(self, rng: np.random.Generator) -> Profile:
        """A profile drawn from the ranges, with all that was drawn in its provenance."""
        return self._profile(iter(rng.uniform, None))

    @property
    def middle(self) -> Profile:
        """The profile in the middle of all ranges."""
        return self._profile(itertools.repeat(0.5))

    def _profile(self, shares: Iterator[float]) -> Profile:
        """The profile at these shares of the ranges, one for each number that is drawn.

        Raises ValueError where a path leads nowhere in the base or a number is not allowed there.
        """
        base = load_profile(self.base)
        content: dict[str, Any] = base.model_dump(mode="json", exclude={"provenance"})
        found: dict[str, float] = {}
        for paths, multiply in ((self.factors, True), (self.values, False)):
            for path, numbers in paths.items():
                places = list(_places(content, path))
                if not places:
                    raise ValueError(f"{path} leads nowhere in the profile {self.base}")
                for place, holder, key in places:
                    number = numbers.at(next(shares))
                    holder[key] = holder[key] * number if multiply else number
                    found[place] = holder[key]
        greys = {n: getattr(self, n).at(next(shares)) for n in ("bright_grey", "dark_grey", "electrons")}
        provenance = {"randomised": self.name, "base": self.base, "drawn": found | greys}
        profile = Profile.model_validate(content | {"name": self.name, "provenance": provenance})
        return profile.model_copy(update={"microscope": _with_greys(profile, **greys)})


def _places(content: Any, path: str) -> Iterator[tuple[str, Any, Any]]:
    """Each place that a path leads to, none or more: its full path, and what holds it by which key."""
    first, *rest = path.split(".")
    if isinstance(content, list) and first.isdigit() and int(first) < len(content):
        keys: list[Any] = [int(first)]
    elif isinstance(content, dict) and (first == "*" or first in content):
        keys = list(content) if first == "*" else [first]
    else:
        return
    for key in keys:
        if rest:
            for place, holder, last in _places(content[key], ".".join(rest)):
                yield f"{key}.{place}", holder, last
        else:
            yield str(key), content, key


def _with_greys(profile: Profile, bright_grey: float, dark_grey: float, electrons: float) -> FibSem | SbfSem:
    """The profile's microscope with resin and thick membrane at these greys."""
    microscope = profile.microscope
    if not isinstance(microscope, FibSem | SbfSem):
        raise ValueError(f"a microscope of modality {microscope.modality} cannot be randomised; fibsem and sbfsem can")
    table = profile.stained(load_materials())
    answer = response(microscope.landing_energy_kev, microscope.energy_filter_share)
    resin, membrane = resin_share(answer), answer.share_of(table["membrane"])
    steepness = (bright_grey - dark_grey) / (membrane - resin)
    dose = electrons / (microscope.collection_efficiency * resin)
    return microscope.model_copy(
        update={
            "dose_e_per_px": dose,
            "gain_grey_per_electron": -steepness / (dose * microscope.collection_efficiency),
            "offset_grey": bright_grey + steepness * resin,
        }
    )


def load_any_profile(name_or_path: str | Path) -> Profile | RandomisedProfile:
    """A profile or a randomised one, by asset name or YAML path; raises FileNotFoundError or ValidationError."""
    content = read_asset("profiles", name_or_path)[0]
    kind = RandomisedProfile if content.get("form") == "randomised" else Profile
    return kind.model_validate(content)


def profile_inputs(profile: Profile | RandomisedProfile) -> Mapping[str, Any]:
    """All numbers that a profile holds or is drawn from, as JSON keeps them."""
    if isinstance(profile, RandomisedProfile):
        base = load_profile(profile.base).model_dump(mode="json", exclude={"provenance"})
        return profile.model_dump(mode="json") | {"base": base}
    return profile.model_dump(mode="json", exclude={"provenance"})

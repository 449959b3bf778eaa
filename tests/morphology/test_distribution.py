"""Distributions: moments, cut-offs, and contradictions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy import stats

from neuropil.morphology.distribution import Distribution


def made(**values: object) -> Distribution:
    return Distribution.model_validate({"source": "test", **values})


@pytest.mark.parametrize("kind", ["normal", "lognormal", "gamma"])
def test_mean_and_sd_are_those_of_the_quantity(kind: str) -> None:
    sample = made(kind=kind, mean=2.0, sd=0.7).sample(np.random.default_rng(1), 200_000)
    assert sample.mean() == pytest.approx(2.0, rel=0.01)
    assert sample.std() == pytest.approx(0.7, rel=0.02)


def test_cut_distribution_is_scipys() -> None:
    cut = made(kind="normal", mean=1.0, sd=0.5, low=0.4, high=1.2)
    rival = stats.truncnorm((0.4 - 1) / 0.5, (1.2 - 1) / 0.5, loc=1, scale=0.5)
    shares = np.linspace(0, 1, 11)
    np.testing.assert_allclose(cut.quantile(shares), rival.ppf(shares), rtol=1e-9)


@settings(max_examples=50)
@given(
    st.sampled_from(["normal", "lognormal", "gamma"]),
    st.floats(0.1, 10),
    st.floats(0.01, 5),
    st.floats(0.0, 0.99),
    st.floats(1.01, 3),
)
def test_no_sample_leaves_the_bounds(kind: str, mean: float, sd: float, low: float, high: float) -> None:
    cut = made(kind=kind, mean=mean, sd=sd, low=low * mean, high=high * mean)
    sample = cut.sample(np.random.default_rng(0), 1000)
    assert np.isfinite(sample).all()
    assert sample.min() >= low * mean
    assert sample.max() <= high * mean


def test_one_number_or_many() -> None:
    even = made(kind="uniform", low=2, high=3)
    assert isinstance(even.sample(np.random.default_rng(0)), float)
    assert even.sample(np.random.default_rng(0), 5).shape == (5,)
    assert made(kind="constant", mean=4).sample(np.random.default_rng(0), 3).tolist() == [4, 4, 4]


def test_same_generator_same_sample() -> None:
    wide = made(kind="lognormal", mean=1, sd=1)
    first, second = (wide.sample(np.random.default_rng(5), 10) for _ in range(2))
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"kind": "normal", "mean": 1}, "needs mean and sd, but sd is missing"),
        ({"kind": "constant", "mean": 1, "sd": 2}, "uses mean only, but sd is 2"),
        ({"kind": "uniform", "low": 1, "high": 2, "mean": 1.5}, "uses low and high only, but mean is 1.5"),
        ({"kind": "uniform", "low": 2, "high": 1}, "low 2 is not below high 1"),
        ({"kind": "normal", "mean": 5, "sd": 1, "high": 4}, "mean 5 lies outside low -inf to high 4"),
        ({"kind": "normal", "mean": 5, "sd": 0}, "sd is 0, but allowed are numbers above 0"),
        ({"kind": "lognormal", "mean": -1, "sd": 1}, "mean is -1, but a lognormal distribution"),
        ({"kind": "normal", "mean": float("nan"), "sd": 1}, "mean is nan, but allowed are finite numbers"),
        ({"kind": "normal", "mean": 1, "sd": 1, "men": 1}, "men"),
    ],
)
def test_contradictions_are_refused(values: dict[str, object], sentence: str) -> None:
    with pytest.raises(ValidationError, match=sentence):
        made(**values)

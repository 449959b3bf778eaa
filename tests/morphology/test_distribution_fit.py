"""Fits of distributions: what is sampled is fitted again, and what no kind fits becomes a table."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from neuropil.morphology.distribution import TABLE_SHARES, Distribution
from neuropil.morphology.distribution_fit import (
    fit_distribution,
    normal_correlation,
    shared_variance,
    two_sample_distance,
)


@settings(max_examples=25, deadline=None)
@given(st.sampled_from(["normal", "lognormal", "gamma"]), st.floats(1, 50), st.floats(0.05, 0.8), st.integers(0, 99))
def test_sample_of_a_fit_is_like_what_it_was_fitted_to(kind: str, mean: float, spread: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    given_one = Distribution.model_validate({"kind": kind, "mean": mean, "sd": spread * mean, "source": "test"})
    sample = given_one.sample(rng, 400)
    fitted = fit_distribution(sample, "test")
    assert stats.ks_2samp(sample, fitted.sample(rng, 4000)).statistic < 0.1
    assert sample.min() == pytest.approx(fitted.quantile(0.0), rel=1e-3)
    assert sample.max() == pytest.approx(fitted.quantile(1.0), rel=1e-3)


def test_two_peaks_become_a_table() -> None:
    rng = np.random.default_rng(0)
    sample = np.concatenate([rng.normal(1, 0.05, 500), rng.normal(9, 0.05, 500)])
    fitted = fit_distribution(sample, "test")
    assert fitted.kind == "table"
    assert stats.ks_2samp(sample, fitted.sample(rng, 5000)).statistic < 0.1
    np.testing.assert_allclose(fitted.share_below(fitted.quantile(TABLE_SHARES)), TABLE_SHARES, atol=1e-9)


def test_a_long_tail_keeps_its_mean() -> None:
    sample = np.random.default_rng(1).lognormal(0, 1.5, 3000) + np.random.default_rng(2).choice([0, 30], 3000)
    fitted = fit_distribution(sample, "test")
    assert fitted.kind == "table"
    assert fitted.sample(np.random.default_rng(3), 20000).mean() == pytest.approx(sample.mean(), rel=0.05)


def test_one_value_is_constant_and_low_is_kept() -> None:
    assert fit_distribution([3.0], "test").kind == "constant"
    assert fit_distribution([0.2, 0.5, 2.0, 4.0], "test", low=1.0).quantile(0.0) == pytest.approx(1)
    with pytest.raises(ValueError, match="one value at least"):
        fit_distribution([], "test")


@pytest.mark.parametrize("kind", ["normal", "lognormal", "gamma", "uniform"])
def test_share_below_inverts_the_quantile(kind: str) -> None:
    values = {"low": 0.5, "high": 4.0} | ({} if kind == "uniform" else {"mean": 2.0, "sd": 1.0})
    one = Distribution.model_validate({"kind": kind, "source": "test", **values})
    shares = np.linspace(0, 1, 11)
    np.testing.assert_allclose(one.share_below(one.quantile(shares)), shares, atol=1e-9)


@pytest.mark.parametrize("quantiles", [[1.0, 2.0], [2.0] * 20 + [1.0], [float("nan")] * 21])
def test_a_table_needs_rising_quantiles(quantiles: list[float]) -> None:
    with pytest.raises(ValueError, match="quantiles need 21 finite numbers"):
        Distribution(kind="table", quantiles=tuple(quantiles), source="test")


@pytest.mark.parametrize("share", [0.0, 0.3, 0.8])
def test_variance_between_groups_is_found(share: float) -> None:
    rng = np.random.default_rng(0)
    groups = [np.sqrt(share) * rng.normal() + np.sqrt(1 - share) * rng.normal(size=30) for _ in range(200)]
    assert shared_variance(groups) == pytest.approx(share, abs=0.07)
    assert shared_variance(groups[:1]) == 0


def test_correlation_of_normal_scores() -> None:
    first, second = np.random.default_rng(0).multivariate_normal([0, 0], [[1, 0.6], [0.6, 1]], 5000).T
    assert normal_correlation(np.exp(first), second**3) == pytest.approx(0.6, abs=0.03)
    assert normal_correlation([1, 1, 1], [1, 2, 3]) == 0


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(-9, 9), min_size=1, max_size=30), st.lists(st.floats(-9, 9), min_size=1, max_size=30))
def test_two_sample_distance_is_scipys(first: list[float], second: list[float]) -> None:
    assert two_sample_distance(first, second) == pytest.approx(stats.ks_2samp(first, second).statistic)

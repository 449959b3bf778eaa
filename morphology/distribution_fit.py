"""Fitting a distribution to a sample, and what the samples of several cells have in common."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from .distribution import TABLE_SHARES, Distribution

# A named kind is kept unless the Kolmogorov-Smirnov distance exceeds what chance allows at 5 %.
CRITICAL = 1.36


def fit_distribution(sample: ArrayLike, source: str, low: float | None = None) -> Distribution:
    """Distribution of a sample, cut at its least and greatest value.

    Normal, lognormal and gamma are tried and the nearest one (Kolmogorov-Smirnov) is taken; where even that is
    farther from the sample than chance allows (1.36/√n, Smirnov 1948), a table of quantiles takes its place.

    Args:
        sample: any number of finite values.
        low: least value allowed; what lies below is raised to it.

    Raises:
        ValueError: an empty sample.
    """
    values = np.sort(np.asarray(sample, dtype=np.float64).ravel())
    if not values.size:
        raise ValueError("a distribution is fitted to one value at least")
    if low is not None:
        values = np.maximum(values, low)
    least, greatest = significant(values[0]), significant(values[-1])
    if least == greatest:
        return Distribution(kind="constant", mean=least, source=source)
    best, nearest = None, np.inf
    for kind, mean, sd in _moments(values):
        bounds: dict[str, Any] = {"low": least, "high": greatest}
        if not (np.isfinite(mean) and sd > 0 and least <= significant(mean) <= greatest):
            continue
        tried = Distribution(kind=kind, mean=significant(mean), sd=significant(sd), source=source, **bounds)
        distance = _distance(values, tried)
        if distance < nearest:
            best, nearest = tried, distance
    if best is not None and nearest <= CRITICAL / np.sqrt(len(values)):
        return best
    quantiles = np.quantile(values, TABLE_SHARES)
    return Distribution(kind="table", quantiles=tuple(significant(value) for value in quantiles), source=source)


def significant(value: float) -> float:
    """The value to four significant digits."""
    return float(f"{value:.4g}")


def shared_variance(groups: Sequence[ArrayLike]) -> float:
    """Share of the variance that lies between groups (intraclass correlation), 0 to 0.95.

    By ranks, turned into normal scores, with the one-way analysis of variance (Fisher 1925); 0 where no group has
    two members or there is one group only.
    """
    arrays = [np.asarray(group, dtype=np.float64) for group in groups if np.size(group)]
    count = sum(len(array) for array in arrays)
    if len(arrays) < 2 or count <= len(arrays):
        return 0.0
    scores = stats.norm.ppf((stats.rankdata(np.concatenate(arrays)) - 0.5) / count)
    parts = np.split(scores, np.cumsum([len(array) for array in arrays])[:-1])
    within = sum(float(((part - part.mean()) ** 2).sum()) for part in parts) / (count - len(parts))
    between = sum(len(part) * float(part.mean() - scores.mean()) ** 2 for part in parts) / (len(parts) - 1)
    size = (count - sum(len(part) ** 2 for part in parts) / count) / (len(parts) - 1)
    excess = (between - within) / size
    return float(np.clip(excess / (excess + within), 0, 0.95)) if excess > 0 else 0.0


def two_sample_distance(first: ArrayLike, second: ArrayLike) -> float:
    """Two-sample Kolmogorov-Smirnov distance; 1 where one sample is empty, 0 where both are."""
    samples = [np.sort(np.asarray(sample, dtype=np.float64)) for sample in (first, second)]
    if not all(map(len, samples)):
        return float(len(samples[0]) != len(samples[1]))
    every = np.concatenate(samples)
    shares = [np.searchsorted(sample, every, side="right") / len(sample) for sample in samples]
    return float(np.abs(shares[0] - shares[1]).max())


def normal_correlation(first: ArrayLike, second: ArrayLike) -> float:
    """Correlation of the normal scores of two samples with the same rank correlation, within ±0.95."""
    if np.ptp(first) == 0 or np.ptp(second) == 0:
        return 0.0
    ranks = float(stats.spearmanr(first, second).statistic)
    return float(np.clip(2 * np.sin(np.pi / 6 * ranks), -0.95, 0.95))


def _moments(values: NDArray[np.float64]) -> list[tuple[Any, float, float]]:
    """Kind, mean and sd of each candidate: those of the sample, and for the lognormal those its logarithm asks for."""
    mean, sd = float(values.mean()), float(values.std())
    candidates: list[tuple[Any, float, float]] = [("normal", mean, sd)]
    if values[0] > 0:
        logs = np.log(values)
        variance = float(logs.var())
        log_mean = float(np.exp(logs.mean() + variance / 2))
        candidates += [
            ("gamma", mean, sd),
            ("lognormal", mean, sd),
            ("lognormal", log_mean, log_mean * float(np.sqrt(np.expm1(variance)))),
        ]
    return candidates


def _distance(values: NDArray[np.float64], distribution: Distribution) -> float:
    """Kolmogorov-Smirnov distance of a sorted sample from a distribution."""
    shares = distribution.share_below(values)
    steps = np.arange(len(values) + 1) / len(values)
    return float(max(np.max(shares - steps[:-1]), np.max(steps[1:] - shares)))

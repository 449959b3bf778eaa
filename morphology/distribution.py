"""A distribution of one biological quantity, with the source it was taken from."""

from __future__ import annotations

from typing import Literal, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import BaseModel, ConfigDict, model_validator
from scipy import special

# Shares of the samples that lie below a table's quantiles: closer towards the ends, where tails are long.
_LOWER_SHARES = (0.0, 0.005, 0.02, 0.05, 0.1, 0.15, 0.2, 0.275, 0.35, 0.425)
TABLE_SHARES = np.array([*_LOWER_SHARES, 0.5, *(1 - share for share in reversed(_LOWER_SHARES))])

Kind = Literal["constant", "normal", "lognormal", "uniform", "gamma", "table"]


class Distribution(BaseModel):
    """One quantity's distribution, optionally cut off at `low` and `high`.

    `mean` and `sd` are those of the quantity itself (for `lognormal` too, not of its logarithm), before the
    cut; a `table` gives `quantiles` instead: the values below which `TABLE_SHARES` of the samples lie, joined by
    straight lines. Samples come from the inverse of the cut distribution, so that one uniform number gives one sample
    and none lies outside [low, high].

    Raises:
        pydantic.ValidationError: keys that the kind does not use, or values that contradict each other.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Kind
    mean: float | None = None
    sd: float | None = None
    low: float | None = None
    high: float | None = None
    quantiles: tuple[float, ...] | None = None
    source: str

    @model_validator(mode="after")
    def _refuse_contradictions(self) -> Distribution:
        self._refuse_wrong_keys()
        if self.quantiles is not None:
            count = len(TABLE_SHARES)
            if len(self.quantiles) != count or not (np.diff(self.quantiles) >= 0).all():
                raise ValueError(f"quantiles need {count} finite numbers, none below the one before")
        if self.low is not None and self.high is not None and self.low >= self.high:
            raise ValueError(f"low {self.low:g} is not below high {self.high:g}")
        if self.mean is None:
            return self
        lowest = -np.inf if self.low is None else self.low
        highest = np.inf if self.high is None else self.high
        if not lowest <= self.mean <= highest:
            raise ValueError(f"mean {self.mean:g} lies outside low {lowest:g} to high {highest:g}")
        if self.sd is not None and self.sd <= 0:
            raise ValueError(f"sd is {self.sd:g}, but allowed are numbers above 0 (kind constant has none)")
        if self.kind in ("lognormal", "gamma") and self.mean <= 0:
            raise ValueError(f"mean is {self.mean:g}, but a {self.kind} distribution allows numbers above 0")
        return self

    def _refuse_wrong_keys(self) -> None:
        needed = {"constant": ("mean",), "uniform": ("low", "high"), "table": ("quantiles",)}
        needs = needed.get(self.kind, ("mean", "sd"))
        allowed = needs if self.kind in needed else (*needs, "low", "high")
        for key in ("mean", "sd", "low", "high", "quantiles"):
            value = getattr(self, key)
            if key in needs and value is None:
                raise ValueError(f"kind {self.kind} needs {' and '.join(needs)}, but {key} is missing")
            if key not in allowed and value is not None:
                shown = f"{value:g}" if isinstance(value, float) else "given"
                raise ValueError(f"kind {self.kind} uses {' and '.join(needs)} only, but {key} is {shown}")
            if isinstance(value, float) and not np.isfinite(value):
                raise ValueError(f"{key} is {value}, but allowed are finite numbers")

    def quantile(self, probability: ArrayLike) -> NDArray[np.float64]:
        """Value below which the given share of samples lies; probability in [0, 1], any shape."""
        share = np.asarray(probability, dtype=np.float64)
        if self.kind == "uniform":
            assert self.low is not None and self.high is not None
            return self.low + share * (self.high - self.low)
        if self.quantiles is not None:
            return np.interp(share, TABLE_SHARES, self.quantiles)
        assert self.mean is not None
        if self.kind == "constant":
            return np.full(share.shape, self.mean)
        below = 0.0 if self.low is None else float(self._untruncated_share(np.asarray(self.low)))
        until = 1.0 if self.high is None else float(self._untruncated_share(np.asarray(self.high)))
        value = self._untruncated_quantile(below + share * (until - below))
        return np.clip(value, self.low, self.high) if (self.low, self.high) != (None, None) else value

    def share_below(self, value: ArrayLike) -> NDArray[np.float64]:
        """Share of samples below a value, of any shape; of a table, at its first quantile of several equal ones."""
        given = np.asarray(value, dtype=np.float64)
        if self.kind == "uniform":
            assert self.low is not None and self.high is not None
            return np.clip((given - self.low) / (self.high - self.low), 0.0, 1.0)
        if self.quantiles is not None:
            values, first = np.unique(self.quantiles, return_index=True)
            return np.interp(given, values, TABLE_SHARES[first], left=0.0, right=1.0)
        if self.kind == "constant":
            assert self.mean is not None
            return (given > self.mean).astype(np.float64)
        below = 0.0 if self.low is None else float(self._untruncated_share(np.asarray(self.low)))
        until = 1.0 if self.high is None else float(self._untruncated_share(np.asarray(self.high)))
        return np.clip((self._untruncated_share(given) - below) / (until - below), 0.0, 1.0)

    @overload
    def sample(self, rng: np.random.Generator, n: None = None) -> float: ...
    @overload
    def sample(self, rng: np.random.Generator, n: int) -> NDArray[np.float64]: ...
    def sample(self, rng: np.random.Generator, n: int | None = None) -> float | NDArray[np.float64]:
        """One value (n=None) or (n,) values."""
        if n is None:
            return float(self.quantile(rng.random()))
        return self.quantile(rng.random(n))

    def _untruncated_share(self, value: NDArray[np.float64]) -> NDArray[np.float64]:
        first, second = self._shape()
        if self.kind == "normal":
            return special.ndtr((value - first) / second)
        positive = np.maximum(value, np.finfo(float).tiny)
        if self.kind == "lognormal":
            return np.where(value > 0, special.ndtr((np.log(positive) - first) / second), 0.0)
        return np.where(value > 0, special.gammainc(first, positive / second), 0.0)

    def _untruncated_quantile(self, share: NDArray[np.float64]) -> NDArray[np.float64]:
        first, second = self._shape()
        if self.kind == "normal":
            return first + second * special.ndtri(share)
        if self.kind == "lognormal":
            return np.exp(first + second * special.ndtri(share))
        return special.gammaincinv(first, share) * second

    def _shape(self) -> tuple[float, float]:
        """(mean, sd), (mean, sd) of the logarithm, or (shape, scale), as the kind needs."""
        assert self.mean is not None and self.sd is not None
        if self.kind == "normal":
            return self.mean, self.sd
        if self.kind == "lognormal":
            log_variance = float(np.log1p((self.sd / self.mean) ** 2))
            return float(np.log(self.mean)) - log_variance / 2, float(np.sqrt(log_variance))
        return (self.mean / self.sd) ** 2, self.sd**2 / self.mean

"""A distribution of one biological quantity, with the source it was taken from."""

from __future__ import annotations

from typing import Literal, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import BaseModel, ConfigDict, model_validator
from scipy import special

Kind = Literal["constant", "normal", "lognormal", "uniform", "gamma"]


class Distribution(BaseModel):
    """One quantity's distribution, optionally cut off at `low` and `high`.

    `mean` and `sd` are those of the quantity itself (for `lognormal` too, not of its logarithm), before the
    cut. Samples come from the inverse of the cut distribution, so that one uniform number gives one sample
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
    source: str

    @model_validator(mode="after")
    def _refuse_contradictions(self) -> Distribution:
        self._refuse_wrong_keys()
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
        needed = {"constant": ("mean",), "uniform": ("low", "high")}.get(self.kind, ("mean", "sd"))
        unused = {"constant": ("sd", "low", "high"), "uniform": ("mean", "sd")}.get(self.kind, ())
        for key in ("mean", "sd", "low", "high"):
            value = getattr(self, key)
            if key in needed and value is None:
                raise ValueError(f"kind {self.kind} needs {' and '.join(needed)}, but {key} is missing")
            if key in unused and value is not None:
                raise ValueError(f"kind {self.kind} uses {' and '.join(needed)} only, but {key} is {value:g}")
            if value is not None and not np.isfinite(value):
                raise ValueError(f"{key} is {value}, but allowed are finite numbers")

    def quantile(self, probability: ArrayLike) -> NDArray[np.float64]:
        """Value below which the given share of samples lies; probability in [0, 1], any shape."""
        share = np.asarray(probability, dtype=np.float64)
        if self.kind == "uniform":
            assert self.low is not None and self.high is not None
            return self.low + share * (self.high - self.low)
        assert self.mean is not None
        if self.kind == "constant":
            return np.full(share.shape, self.mean)
        below = 0.0 if self.low is None else self._share_below(self.low)
        until = 1.0 if self.high is None else self._share_below(self.high)
        value = self._untruncated_quantile(below + share * (until - below))
        return np.clip(value, self.low, self.high) if (self.low, self.high) != (None, None) else value

    @overload
    def sample(self, rng: np.random.Generator, n: None = None) -> float: ...
    @overload
    def sample(self, rng: np.random.Generator, n: int) -> NDArray[np.float64]: ...
    def sample(self, rng: np.random.Generator, n: int | None = None) -> float | NDArray[np.float64]:
        """One value (n=None) or (n,) values."""
        if n is None:
            return float(self.quantile(rng.random()))
        return self.quantile(rng.random(n))

    def _share_below(self, value: float) -> float:
        first, second = self._shape()
        if self.kind == "normal":
            return float(special.ndtr((value - first) / second))
        if value <= 0:
            return 0.0
        if self.kind == "lognormal":
            return float(special.ndtr((np.log(value) - first) / second))
        return float(special.gammainc(first, value / second))

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

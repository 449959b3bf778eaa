"""How the tips of a neurite share out at its branch points: beta-splitting trees."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, special

LEAST_BALANCE, MOST_BALANCE = -1.98, 20.0


@lru_cache(maxsize=4096)
def split_shares(tips: int, balance: float) -> NDArray[np.float64]:
    """(tips - 1,) probability that one daughter of a branch point leads to 1, 2, … of its tips.

    Aldous' beta-splitting model (Aldous 1996; Blum & François 2006): P(i) ∝ Γ(β+i+1) Γ(β+n-i+1) / (Γ(i+1) Γ(n-i+1)).
    β = 0 is a tree whose tips branch at random (Yule), -1.5 all trees alike, towards -2 a comb; a large β splits
    evenly.

    Raises:
        ValueError: tips below 2, balance not above -2.
    """
    if tips < 2:
        raise ValueError(f"tips is {tips}, but a branch point leads to 2 at least")
    if not balance > -2:
        raise ValueError(f"balance is {balance:g}, but allowed are numbers above -2")
    first = np.arange(1, tips)
    second = tips - first
    weights = (
        special.gammaln(balance + first + 1)
        + special.gammaln(balance + second + 1)
        - special.gammaln(first + 1)
        - special.gammaln(second + 1)
    )
    shares = np.exp(weights - weights.max())
    return shares / shares.sum()


def split(tips: int, balance: float, rng: np.random.Generator) -> tuple[int, int]:
    """Tips of the two daughters of a branch point, the larger number first."""
    first = 1 + int(np.searchsorted(np.cumsum(split_shares(tips, balance)), rng.random()))
    first = min(first, tips - 1)
    return max(first, tips - first), min(first, tips - first)


def fit_balance(pairs: Iterable[tuple[int, int]]) -> float:
    """Most likely balance, from the tips of both daughters of branch points; 0 (Yule) where none tells.

    A branch point of fewer than four tips can split in one way only.
    """
    counts: dict[tuple[int, int], int] = {}
    for first, second in pairs:
        if first + second > 3:
            key = (first + second, min(first, second))
            counts[key] = counts.get(key, 0) + 1
    if not counts:
        return 0.0

    def surprise(balance: float) -> float:
        shares = {tips: split_shares(tips, balance) for tips, _ in counts}
        return -sum(number * np.log(shares[tips][less - 1] + 1e-300) for (tips, less), number in counts.items())

    found = optimize.minimize_scalar(surprise, bounds=(LEAST_BALANCE, MOST_BALANCE), method="bounded")
    return float(found.x)

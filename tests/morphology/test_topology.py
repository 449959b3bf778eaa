"""Beta-splitting trees: known cases, and a fit that finds what was put in."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neuropil.morphology.topology import fit_balance, split, split_shares


def test_yule_trees_split_uniformly() -> None:
    """β = 0: every number of tips for one daughter is as likely (Harding 1971)."""
    np.testing.assert_allclose(split_shares(9, 0.0), np.full(8, 1 / 8))


def test_four_tips_of_a_random_tree() -> None:
    """β = -1.5: of the five shapes of four tips with sides told apart, four are combs (Catalan: 2, 1, 2)."""
    np.testing.assert_allclose(split_shares(4, -1.5), [0.4, 0.2, 0.4])


def test_extremes() -> None:
    assert split_shares(20, -1.99)[0] > 0.45  # a comb
    assert split_shares(20, 200.0)[9] > 0.15  # halves


@settings(max_examples=50, deadline=None)
@given(st.integers(2, 400), st.floats(-1.9, 10), st.integers(0, 1000))
def test_tips_are_kept(tips: int, balance: float, seed: int) -> None:
    shares = split_shares(tips, balance)
    assert shares.sum() == pytest.approx(1)
    np.testing.assert_allclose(shares, shares[::-1])
    more, fewer = split(tips, balance, np.random.default_rng(seed))
    assert more + fewer == tips
    assert more >= fewer >= 1


@settings(max_examples=8, deadline=None)
@given(st.floats(-1.7, 1.0), st.integers(0, 1000))
def test_balance_is_found_again(balance: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    pairs = []
    waiting = [40] * 200
    while waiting:
        tips = waiting.pop()
        if tips > 1:
            pairs.append(split(tips, balance, rng))
            waiting += pairs[-1]
    assert fit_balance(pairs) == pytest.approx(balance, abs=0.35)


def test_no_branch_point_tells_nothing() -> None:
    assert fit_balance([(1, 1), (2, 1)]) == 0


@pytest.mark.parametrize(("tips", "balance", "sentence"), [(1, 0.0, "tips is 1"), (5, -2.0, "balance is -2")])
def test_refused(tips: int, balance: float, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        split_shares(tips, balance)

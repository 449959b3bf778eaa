"""Statistics of arbors, on one small enough to know."""

from __future__ import annotations

import numpy as np
import pytest

from neuropil.morphology.arbor_statistics import measure_arbors
from neuropil.morphology.tree import DENDRITE, SOMA, Tree


def test_one_stem_that_forks_at_a_right_angle() -> None:
    points = [(0, 0, 0), (5, 0, 0), (25, 0, 0), (25, 30, 0), (25, 0, 40)]
    tree = Tree(
        np.array(points),
        np.array([5, 2, 1, 1, 1]),
        np.array([-1, 0, 1, 2, 2]),
        np.array([SOMA, DENDRITE, DENDRITE, DENDRITE, DENDRITE]),
    )
    statistics = measure_arbors([tree], DENDRITE, tortuosity_length_um=10.0)
    assert statistics.stems == [1]
    assert statistics.length_um == [90]
    assert statistics.stem_radius_um == [2]
    assert statistics.section_length_um == [20]
    assert sorted(statistics.terminal_length_um) == [30, 40]
    assert statistics.branching_angle_deg == [pytest.approx(90)]
    assert statistics.branching_probability() == [1, 0]
    np.testing.assert_allclose(statistics.tortuosity, 1)

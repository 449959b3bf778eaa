"""Trees: what is refused, and what they measure."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from neuropil.morphology.tree import Tree, order_from_parents


def y_tree() -> Tree:
    """A stem of 2 µm that forks into branches of 3 and 1 µm."""
    points = [(0, 0, 0), (1, 0, 0), (2, 0, 0), (2, 3, 0), (2, 0, 1)]
    return Tree(np.array(points), np.full(5, 0.5), np.array([-1, 0, 1, 2, 2]), np.full(5, 3))


@st.composite
def parent_lists(draw: st.DrawFn) -> NDArray[np.int64]:
    """Parents of a random forest, in random order."""
    count = draw(st.integers(1, 40))
    sorted_parents = [-1] + [draw(st.integers(-1, index - 1)) for index in range(1, count)]
    shuffle = np.array(draw(st.permutations(range(count))))
    parents = np.empty(count, dtype=np.int64)
    for index, parent in enumerate(sorted_parents):
        parents[shuffle[index]] = shuffle[parent] if parent >= 0 else -1
    return parents


def test_measures_of_a_fork() -> None:
    tree = y_tree()
    assert tree.length_um == pytest.approx(6.0)
    assert tree.roots.tolist() == [0]
    assert tree.tips.tolist() == [3, 4]
    assert tree.branch_points.tolist() == [2]
    assert [run.tolist() for run in tree.sections()] == [[0, 1, 2], [2, 3], [2, 4]]
    assert tree.swept_volume_um3() == pytest.approx(np.pi * 0.25 * 6)


def test_cone_volume() -> None:
    tree = Tree(np.array([[0, 0, 0], [0, 0, 3]]), np.array([2.0, 1.0]), np.array([-1, 0]), np.zeros(2))
    assert tree.swept_volume_um3() == pytest.approx(np.pi * 3 / 3 * (4 + 2 + 1))


def test_arrays_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="read-only"):
        y_tree().points_um[0, 0] = 1


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"radii_um": [1.0, -0.5]}, "radius of point 1 is -0.5 µm, but must be above 0"),
        ({"radii_um": [1.0, np.nan]}, "radius of point 1 is nan"),
        ({"radii_um": [1.0]}, "radii_um has shape"),
        ({"parents": [-1, 7]}, "point 1 has parent 7, but allowed are -1"),
        ({"parents": [1, 0]}, "is its own ancestor"),
        ({"parents": [1, -1]}, "a parent stands before its children"),
        ({"points_um": [[0, 0, 0], [np.inf, 0, 0]]}, "point 1 lies at"),
        ({"points_um": [[0, 0], [1, 0]]}, "needs \\(n, 3\\)"),
    ],
)
def test_refused(change: dict[str, list[float]], sentence: str) -> None:
    fields: dict[str, object] = {
        "points_um": [[0, 0, 0], [1, 0, 0]],
        "radii_um": [1.0, 1.0],
        "parents": [-1, 0],
        "types": [2, 2],
    }
    fields.update(change)
    with pytest.raises(ValueError, match=sentence):
        Tree(**{name: np.asarray(value) for name, value in fields.items()})


@given(parent_lists())
def test_order_puts_parents_first(parents: NDArray[np.int64]) -> None:
    order = order_from_parents(parents)
    assert sorted(order.tolist()) == list(range(len(parents)))
    position = np.argsort(order)
    for child, parent in enumerate(parents.tolist()):
        assert parent < 0 or position[parent] < position[child]


@given(st.integers(1, 30))
def test_cycle_of_any_length_is_refused(length: int) -> None:
    ring = (np.arange(length) + 1) % length
    with pytest.raises(ValueError, match="its own ancestor"):
        order_from_parents(ring)

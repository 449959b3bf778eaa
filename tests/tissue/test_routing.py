"""The cheapest way through a clearance field, held against scipy's shortest paths."""

import itertools

import numpy as np
import pytest
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import dijkstra

from neuropil.tissue.routing import NARROW, STRAIGHT, Router, smoothed

COMFORT, LEAST = 0.2, 0.03
NOBODY = np.empty((0, 3), np.int64)


def way(clearance: np.ndarray, start: tuple[int, int, int], preferred: np.ndarray) -> np.ndarray:
    router = Router(clearance.astype(np.float32))
    # What one search leaves behind must not count in the next.
    router.cheapest_way(np.array(start), -preferred, COMFORT, LEAST, np.argwhere(clearance > 0.35))
    return router.cheapest_way(np.array(start), preferred, COMFORT, LEAST, NOBODY)


def step_cost(clearance: np.ndarray, start: tuple[int, ...], end: tuple[int, ...], preferred: np.ndarray) -> float:
    move = np.subtract(end, start)
    length = float(np.linalg.norm(move))
    narrow = COMFORT / min(clearance[end], COMFORT)
    return length * (1 + NARROW * (narrow**2 - 1) + 0.5 * STRAIGHT * (1 - float(move @ preferred) / length))


def test_the_cost_is_that_of_scipys_shortest_path() -> None:
    rng = np.random.default_rng(3)
    clearance = rng.uniform(0.01, 0.3, (7, 8, 9)).astype(np.float32)
    start, preferred = (3, 4, 4), np.array([0.6, 0.0, 0.8])
    clearance[start] = 0.3
    rows, columns, costs = [], [], []
    for node in np.ndindex(clearance.shape):
        for move in itertools.product((-1, 0, 1), repeat=3):
            end = tuple(np.add(node, move).tolist())
            within = all(0 <= n < size for n, size in zip(end, clearance.shape, strict=True))
            if any(move) and within and clearance[end] >= LEAST:
                rows.append(np.ravel_multi_index(node, clearance.shape))
                columns.append(np.ravel_multi_index(end, clearance.shape))
                costs.append(step_cost(clearance, node, end, preferred))
    graph = coo_matrix((costs, (rows, columns)), shape=(clearance.size,) * 2).tocsr()
    far = dijkstra(graph, indices=np.ravel_multi_index(start, clearance.shape)).reshape(clearance.shape)
    inner = tuple(slice(1, -1) for _ in range(3))
    far[inner] = np.inf
    found = [tuple(node) for node in way(clearance, start, preferred).tolist()]
    cost = sum(step_cost(clearance, a, b, preferred) for a, b in itertools.pairwise(found))
    assert found[0] == start
    assert cost == pytest.approx(float(far.min()), rel=1e-5)


def test_in_the_open_the_way_goes_straight() -> None:
    found = way(np.full((30, 15, 15), 0.4), (20, 7, 7), np.array([1.0, 0.0, 0.0]))
    assert found.tolist() == [[n, 7, 7] for n in range(20, 30)]


def test_the_only_hole_in_a_wall_is_found() -> None:
    clearance = np.full((15, 15, 15), 0.4)
    clearance[(0, -1), :, :] = clearance[:, (0, -1), :] = clearance[:, :, (0, -1)] = 0.0
    clearance[14, 3, 11] = 0.05
    assert way(clearance, (7, 7, 7), np.array([-1.0, 0.0, 0.0]))[-1].tolist() == [14, 3, 11]
    clearance[14, 3, 11] = 0.02
    assert len(way(clearance, (7, 7, 7), np.array([-1.0, 0.0, 0.0]))) == 0


def test_nodes_that_are_taken_are_not_entered() -> None:
    clearance = np.full((15, 9, 9), 0.4, np.float32)
    own = np.zeros(clearance.shape, bool)
    own[9] = True
    start, preferred = np.array([7, 4, 4]), np.array([1.0, 0.0, 0.0])
    found = Router(clearance).cheapest_way(start, preferred, COMFORT, LEAST, np.argwhere(own))
    assert len(found) and not own[tuple(found.T)].any()


def test_the_way_to_a_goal_goes_round_what_is_in_between() -> None:
    clearance = np.full((15, 15, 15), 0.4, np.float32)
    clearance[7, :10] = 0.0
    start, goal = np.array([3, 4, 7]), np.array([11, 4, 7])
    found = Router(clearance).cheapest_way(start, np.array([1.0, 0.0, 0.0]), COMFORT, LEAST, NOBODY, goal)
    assert found[0].tolist() == start.tolist() and found[-1].tolist() == goal.tolist()
    assert clearance[tuple(found.T)].min() >= LEAST
    clearance[7] = 0.0
    assert len(Router(clearance).cheapest_way(start, np.array([1.0, 0.0, 0.0]), COMFORT, LEAST, NOBODY, goal)) == 0


def test_smoothing_keeps_the_ends_and_evens_the_steps() -> None:
    zigzag = np.column_stack([np.arange(21) * 0.04, 0.04 * (np.arange(21) % 2), np.zeros(21)])
    path = smoothed(zigzag, 0.09)
    assert path[[0, -1]] == pytest.approx(zigzag[[0, -1]])
    steps = np.linalg.norm(np.diff(path, axis=0), axis=1)
    assert steps == pytest.approx(np.full(len(steps), 0.085), abs=0.012)
    assert np.ptp(path[2:-2, 1]) < 0.01

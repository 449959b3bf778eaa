"""Distances of triangles and of whole surfaces, against other packages."""

import fcl
import numpy as np
import pytest
import trimesh
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from neuropil.tissue.clearance import clearance, triangle_distance

NUMBER = st.floats(-1, 1, width=32)
TRIANGLE = st.tuples(*[st.tuples(NUMBER, NUMBER, NUMBER)] * 3).map(np.array)


def _least_by_descent(one: np.ndarray, other: np.ndarray) -> float:
    """Distance of two convex sets by a general optimizer over their barycentric coordinates."""

    def apart(w: np.ndarray) -> float:
        p = one[0] + w[0] * (one[1] - one[0]) + w[1] * (one[2] - one[0])
        q = other[0] + w[2] * (other[1] - other[0]) + w[3] * (other[2] - other[0])
        return float(((p - q) ** 2).sum())

    inside = [{"type": "ineq", "fun": lambda w, n=n: 1 - w[n] - w[n + 1]} for n in (0, 2)]
    starts = np.random.default_rng(0).dirichlet(np.ones(3), (6, 2))[:, :, :2].reshape(6, 4)
    found = [minimize(apart, s, bounds=[(0, 1)] * 4, constraints=inside, tol=1e-12) for s in starts]
    return float(np.sqrt(min(max(f.fun, 0) for f in found)))


@settings(max_examples=60, deadline=None)
@given(TRIANGLE, TRIANGLE)
def test_distance_of_two_triangles_is_that_of_an_optimizer(one: np.ndarray, other: np.ndarray) -> None:
    assert triangle_distance(one, other) == pytest.approx(_least_by_descent(one, other), abs=2e-4)


def _together(meshes: list[trimesh.Trimesh]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    offsets = np.cumsum([0, *(len(m.vertices) for m in meshes)])
    faces = np.vstack([m.faces + o for m, o in zip(meshes, offsets, strict=False)]).astype(np.int32)
    owner = np.repeat(np.arange(len(meshes)), [len(m.faces) for m in meshes])
    return np.vstack([m.vertices for m in meshes]), faces, owner


@pytest.mark.parametrize("seed", range(4))
def test_crossing_pairs_and_least_gap_are_those_of_the_flexible_collision_library(seed: int) -> None:
    rng = np.random.default_rng(seed)
    meshes = []
    for _ in range(14):
        mesh = trimesh.creation.icosphere(subdivisions=2, radius=float(rng.uniform(0.04, 0.1)))
        mesh.apply_translation(rng.uniform(-0.25, 0.25, 3))
        meshes.append(mesh)
    surfaces = [fcl.CollisionObject(trimesh.collision.mesh_to_BVH(m)) for m in meshes]
    pairs = [(a, b) for b in range(len(meshes)) for a in range(b)]
    theirs = {
        (a, b) for a, b in pairs if fcl.collide(surfaces[a], surfaces[b], fcl.CollisionRequest(), fcl.CollisionResult())
    }
    ours = clearance(*_together(meshes), 0.05)
    assert {(int(a), int(b)) for a, b in ours.crossing} == theirs and theirs
    # The least gap of those that cross nobody.
    free = [n for n in range(len(meshes)) if not any(n in pair for pair in theirs)]
    apart = [fcl.distance(surfaces[a], surfaces[b]) for a, b in pairs if a in free and b in free]
    found = clearance(*_together([meshes[n] for n in free]), 0.08)
    assert found.least_um == pytest.approx(min([*apart, 0.08]), rel=1e-5)


def test_whole_surfaces_beyond_reach_are_as_far_as_the_reach() -> None:
    ball = trimesh.creation.icosphere(subdivisions=1, radius=0.1)
    far = ball.copy()
    far.apply_translation([0.5, 0, 0])
    found = clearance(*_together([ball, far]), 0.02)
    assert found.least_um == 0.02 and len(found.crossing) == 0

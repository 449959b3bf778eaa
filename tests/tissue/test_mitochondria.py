"""Mitochondria keep inside their cell and out of each other; cristae hang on the inner membrane."""

import numpy as np
import open3d as o3d
import pytest

from neuropil.tissue.arrival import FloatArray
from neuropil.tissue.certificate import crossing_pairs, is_closed, pieces, volume_um3
from neuropil.tissue.interior import CellInterior
from neuropil.tissue.mitochondria import LAMELLA_UM, RIM_UM, Mitochondrion, mitochondrion
from neuropil.tissue.shapes import Shape


def depth_within(surface: Shape, points: FloatArray) -> FloatArray:
    scene = o3d.t.geometry.RaycastingScene()
    vertices, faces = surface
    scene.add_triangles(o3d.core.Tensor(vertices.astype(np.float32)), o3d.core.Tensor(faces.astype(np.uint32)))
    return -scene.compute_signed_distance(o3d.core.Tensor(points.astype(np.float32)), nsamples=3).numpy()


@pytest.fixture
def several(thick: CellInterior, axis: FloatArray) -> list[Mitochondrion]:
    rng = np.random.default_rng(1)
    return [m for m in (mitochondrion(thick, axis[5:25], 0.15, rng) for _ in range(6)) if m is not None]


def test_each_is_one_closed_piece_inside_the_cell(several: list[Mitochondrion], thick: CellInterior) -> None:
    assert len(several) >= 2
    for m in several:
        vertices, faces = m.surface
        assert is_closed(faces) and pieces(len(vertices), faces).max() == 0
        assert thick.depth(vertices).min() > 0
        assert 0.1 < m.length_um < 2.5
    assert crossing_pairs([m.surface for m in several]) == set()


def test_cristae_lie_within_and_reach_the_inner_membrane(several: list[Mitochondrion]) -> None:
    for m in several:
        if m.cristae is None:
            continue
        assert is_closed(m.cristae[1])
        depth = depth_within(m.surface, m.cristae[0])
        assert depth.min() > 0
        attached = (depth < RIM_UM + LAMELLA_UM[1]).mean()
        assert attached > 0.2  # the two membranes are 20 nm deep
        assert 0.02 < volume_um3(m.cristae) / volume_um3(m.surface) < 0.45


def test_no_two_are_alike(thick: CellInterior, axis: FloatArray) -> None:
    fresh = [CellInterior(thick.grid, thick.depth_um) for _ in range(6)]
    grown = [mitochondrion(f, axis[5:25], 0.15, np.random.default_rng(n)) for n, f in enumerate(fresh)]
    volumes = [volume_um3(m.surface) for m in grown if m is not None]
    assert len(volumes) >= 4 and np.std(volumes) > 0.1 * np.mean(volumes)


def test_none_where_there_is_no_room(thin: CellInterior, axis: FloatArray) -> None:
    thin.occupy_balls(axis, np.full(len(axis), 0.1))
    assert mitochondrion(thin, axis, 0.1, np.random.default_rng(0)) is None

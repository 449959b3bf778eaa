"""Round cones in voxels: their volume, and what overlaps counts once."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from neuropil.voxelize.cones import FULL, ConeBody, line_through_cone, rasterize_cones
from neuropil.voxelize.solid import Box

SIZE_NM = (1000.0, 300.0, 300.0)


def _volume_um3(bodies: list[ConeBody], box: Box, size_nm: tuple[float, float, float] = SIZE_NM) -> float:
    voxels = rasterize_cones(bodies, size_nm, box)
    return float(voxels.volume_fraction.data.astype(np.float64).sum() / FULL * np.prod(size_nm) * 1e-9)


def round_cone_volume(length: float, first: float, second: float) -> float:
    """Volume of the convex hull of two balls: a frustum between the touching circles and two caps."""
    sine = (second - first) / length
    cosine = np.sqrt(1 - sine**2)
    r0, r1 = first * cosine, second * cosine
    height = length - (second - first) * sine
    frustum = np.pi / 3 * height * (r0**2 + r0 * r1 + r1**2)

    def cap(radius: float, depth: float) -> float:
        return float(np.pi / 3 * depth**2 * (3 * radius - depth))

    return frustum + cap(first, first * (1 - sine)) + cap(second, second * (1 + sine))


@pytest.mark.parametrize("direction", [(1, 0, 0), (0, 0, 1), (1, 1, 1), (0.3, -1, 0.2)])
@pytest.mark.parametrize(("first", "second", "length"), [(0.1, 0.1, 12.0), (0.1, 0.25, 6.0), (1.5, 0.4, 5.0)])
def test_a_cone_keeps_its_volume(direction: tuple, first: float, second: float, length: float) -> None:
    axis = np.array(direction) / np.linalg.norm(direction)
    start = np.array([7.123, 7.456, 7.789])
    cone = np.concatenate([start - axis * length / 2, start + axis * length / 2, [first, second]])
    body = ConeBody(cone[None], np.array([2], np.uint8), 5)
    assert _volume_um3([body], Box((0, 0, 0), (16, 50, 50))) == pytest.approx(
        round_cone_volume(length, first, second), rel=0.02
    )


def test_thin_neurites_keep_their_amount_within_two_percent() -> None:
    rng = np.random.default_rng(4)
    for radius in (0.075, 0.1, 0.15):
        starts = rng.uniform(3, 17, (30, 3))
        ways = rng.normal(size=(30, 3))
        ways *= 4 / np.linalg.norm(ways, axis=1)[:, None]
        for n, (start, way) in enumerate(zip(starts, ways, strict=True)):
            body = ConeBody(np.concatenate([start, start + way, [radius] * 2])[None], np.ones(1, np.uint8), n + 1)
            box = Box((-2, -5, -5), (24, 80, 80))
            assert _volume_um3([body], box) == pytest.approx(round_cone_volume(4, radius, radius), rel=0.02)


def test_overlapping_cones_of_a_body_count_once() -> None:
    whole = np.array([[1.0, 2, 3, 9, 2, 3, 0.4, 0.4]])
    halves = np.array([[1.0, 2, 3, 6, 2, 3, 0.4, 0.4], [4.0, 2, 3, 9, 2, 3, 0.4, 0.4]])
    box = Box((0, 0, 0), (6, 20, 40))
    one = rasterize_cones([ConeBody(whole, np.array([3], np.uint8), 1)], SIZE_NM, box)
    two = rasterize_cones([ConeBody(halves, np.array([3, 3], np.uint8), 1)], SIZE_NM, box)
    difference = one.volume_fraction.data.astype(int) - two.volume_fraction.data
    assert np.abs(difference).max() <= 1


_place = arrays(np.float64, 6, elements=st.floats(-2, 2, width=32))
_radii = arrays(np.float64, 2, elements=st.floats(0.0625, 2, width=32))


@settings(max_examples=200, deadline=None)
@given(_place, _radii, st.floats(-2, 2), st.floats(-2, 2))
def test_a_line_is_inside_where_its_points_are(place: np.ndarray, radii: np.ndarray, x: float, y: float) -> None:
    cone = np.concatenate([place, radii])
    low, high = line_through_cone(x, y, cone)
    z = np.linspace(-5, 5, 801)
    s = np.linspace(0, 1, 1001)
    centres = place[:3] + s[:, None] * (place[3:] - place[:3])
    sizes = radii[0] + s * (radii[1] - radii[0])
    away = np.sqrt((centres[:, 0] - x) ** 2 + (centres[:, 1] - y) ** 2 + (centres[:, 2] - z[:, None]) ** 2)
    depth = (sizes - away).max(axis=1)
    # Points close to the surface are left out: the centres were sampled.
    assert ((z[depth > 1e-4] > low) & (z[depth > 1e-4] < high)).all()
    assert ((z[depth < -1e-2] < low) | (z[depth < -1e-2] > high)).all()


def test_the_larger_share_names_a_voxel() -> None:
    thin = ConeBody(np.array([[0.0, 0.5, 0.5, 3, 0.5, 0.5, 0.1, 0.1]]), np.array([2], np.uint8), 7)
    thick = ConeBody(np.array([[0.0, 1.1, 0.5, 3, 1.1, 0.5, 0.4, 0.4]]), np.array([3], np.uint8), 9)
    voxels = rasterize_cones([thick, thin], (1000.0, 1000.0, 1000.0), Box((0, 0, 0), (1, 2, 3)))
    assert voxels.instances.data[0].tolist() == [[9, 9, 9], [9, 9, 9]]
    assert voxels.classes.data[0, 0, 1] == 3
    shares = voxels.volume_fraction.data[0, :, 1] / FULL
    assert shares.sum() == pytest.approx(np.pi * (0.1**2 + 0.4**2), rel=0.02)


def test_what_is_not_stained_is_labelled_but_not_counted() -> None:
    vessel = ConeBody(np.array([[0.0, 2, 2, 3, 2, 2, 1.5, 1.5]]), np.array([6], np.uint8), 3, stained=False)
    voxels = rasterize_cones([vessel], SIZE_NM, Box((0, 0, 0), (4, 12, 10)))
    assert voxels.volume_fraction.data.max() == 0 and voxels.classes.data.max() == 6


def test_slabs_fit_together() -> None:
    rng = np.random.default_rng(2)
    starts = rng.uniform(2, 8, (20, 3))
    cones = np.column_stack([starts, starts + rng.normal(0, 2, (20, 3)), rng.uniform(0.1, 0.6, (20, 2))])
    body = ConeBody(cones, np.full(20, 2, np.uint8), 1)
    whole = rasterize_cones([body], SIZE_NM, Box((0, 0, 0), (10, 33, 33)))
    slabs = [rasterize_cones([body], SIZE_NM, Box((z, 0, 0), (5, 33, 33))) for z in (0, 5)]
    for name in ("instances", "classes", "volume_fraction"):
        joined = np.concatenate([getattr(slab, name).data for slab in slabs])
        difference = np.abs(joined.astype(int) - getattr(whole, name).data)
        assert difference.max() <= (1 if name == "volume_fraction" else 0)


def test_class_and_instance_are_above_zero() -> None:
    body = ConeBody(np.array([[0.0, 0, 0, 1, 0, 0, 0.1, 0.1]]), np.array([0], np.uint8), 1)
    with pytest.raises(ValueError, match="above 0"):
        rasterize_cones([body], SIZE_NM, Box((0, 0, 0), (2, 2, 2)))

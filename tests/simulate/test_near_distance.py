"""Distances to the next other label, against the exact transform of the edt package."""

from __future__ import annotations

import edt
import numpy as np
import numpy.typing as npt
import pytest
from scipy import ndimage

from neuropil.simulate.near_distance import near_distance_nm


@pytest.fixture(scope="module")
def cells() -> npt.NDArray[np.uint32]:
    """Blobs of six labels, 0 among them, and single voxels."""
    rng = np.random.default_rng(0)
    field = ndimage.gaussian_filter(rng.normal(size=(24, 40, 50)), 3)
    labels = np.digitize(field, np.quantile(field, [0.2, 0.4, 0.6, 0.8])).astype(np.uint32)
    labels[rng.random(labels.shape) < 1e-3] = 9
    return labels


@pytest.mark.parametrize("size_nm", [(5.0, 5.0, 5.0), (20.0, 4.0, 6.5)])
def test_as_exact_as_edt_within_reach_and_silent_beyond(
    cells: npt.NDArray[np.uint32], size_nm: tuple[float, float, float]
) -> None:
    for labels in (cells, (cells == 0).astype(np.uint32)):
        exact = edt.edt(labels + 1, anisotropy=size_nm, black_border=False)
        near = exact <= 33.0
        found = near_distance_nm(labels, size_nm, 33.0)
        np.testing.assert_allclose(found[near], exact[near], rtol=1e-6)
        assert np.isinf(found[~near]).all()
        assert 0.1 < near.mean() < 1.0


def test_in_the_plane_each_slice_is_alone(cells: npt.NDArray[np.uint32]) -> None:
    size_nm = (5.0, 5.0, 8.0)
    found = near_distance_nm(cells, size_nm, 25.0, in_plane=True)
    for plane, labels in zip(found, cells, strict=True):
        exact = edt.edt(np.ascontiguousarray(labels) + 1, anisotropy=size_nm[1:], black_border=False)
        np.testing.assert_allclose(plane[exact <= 25.0], exact[exact <= 25.0], rtol=1e-6)


def test_one_label_alone_has_no_end() -> None:
    assert np.isinf(near_distance_nm(np.ones((3, 4, 5), np.bool_), (5.0, 5.0, 5.0), 100.0)).all()


def test_a_distance_that_is_just_the_reach_is_found() -> None:
    labels = np.zeros((1, 1, 8), np.uint8)
    labels[..., 7] = 1
    found = near_distance_nm(labels, (5.0, 5.0, 5.0), 15.0)
    np.testing.assert_array_equal(found[0, 0], [np.inf] * 4 + [15.0, 10.0, 5.0, 5.0])

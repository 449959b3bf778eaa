"""Tiles: where their seams lie, and that a box sees the same ones wherever it begins."""

from __future__ import annotations

import numpy as np

from neuropil.simulate.mosaic import Mosaic

MOSAIC = Mosaic(tile_um=0.5, gain_sd=0.1, offset_grey=3.0, shift_nm=8.0)
SIZE_NM = (5.0, 5.0)


def gains(first: tuple[int, int], shape: tuple[int, int]) -> np.ndarray:
    tiling = MOSAIC.tiling(9, 4, first, shape, SIZE_NM)
    return np.repeat(tiling.gain[tiling.row], np.diff(tiling.edges), axis=1)


def test_seams_lie_a_tile_apart_whatever_the_box() -> None:
    whole = gains((-40, -70), (400, 500))
    assert np.array_equal(gains((33, 21), (120, 260)), whole[73:193, 91:351])
    seams = np.flatnonzero(np.diff(whole[0]))
    assert set(np.diff(seams)) == {100}
    assert len(np.unique(whole)) == (1 + np.count_nonzero(np.diff(whole[:, 0]))) * (1 + len(seams))
    place_nm = (seams[0] + 1 - 70) * 5.0
    first_nm = MOSAIC.first_seams_nm(9)[1]
    assert abs((place_nm - first_nm) / 500.0 - round((place_nm - first_nm) / 500.0)) < 0.01


def test_a_box_knows_whether_it_begins_at_a_seam() -> None:
    whole = MOSAIC.tiling(9, 4, (0, 0), (10, 400), SIZE_NM)
    assert not whole.seam[0] and whole.seam[1:].all()
    assert MOSAIC.tiling(9, 4, (0, int(whole.edges[1])), (10, 50), SIZE_NM).seam[0]


def test_slices_and_tiles_differ_within_bounds() -> None:
    shifts = np.stack([MOSAIC.tiling(9, z, (0, 0), (400, 400), SIZE_NM).shift_nm for z in range(40)])
    assert np.abs(shifts).max() <= MOSAIC.largest_nm
    assert abs(shifts.std() - 8.0) < 1.0


def test_without_tiles_there_is_one_without_a_seam() -> None:
    tiling = Mosaic().tiling(9, 4, (5, 5), (10, 20), SIZE_NM)
    assert tiling.edges.tolist() == [0, 20] and not tiling.seam.any()
    assert (tiling.gain, tiling.offset_grey, tiling.shift_nm.any()) == (1.0, 0.0, False)

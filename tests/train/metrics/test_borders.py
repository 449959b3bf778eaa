import numpy as np

from neuropil.train.metrics.borders import away_from_borders, without_borders


def test_only_voxels_near_a_border_in_their_section_are_left_out() -> None:
    truth = np.ones((2, 6, 20), np.uint32)
    truth[0, :, 10:] = 2  # section 1 differs from section 0, but CREMI looks at sections one by one
    left = away_from_borders(truth, 8.0, (40.0, 4.0, 4.0))
    # Border voxels are 9 and 10; within 2 voxels of them lie 7 to 12.
    assert np.flatnonzero(left[0, 3] == 0).tolist() == [7, 8, 9, 10, 11, 12]
    np.testing.assert_array_equal(left[1], truth[1])
    np.testing.assert_array_equal(np.unique(away_from_borders(truth, 0.0, (40.0, 4.0, 4.0))[0, 0]), [0, 1, 2])


def test_thinning_gives_each_border_voxel_to_the_nearest_segment() -> None:
    labels = np.zeros((1, 3, 8), np.uint8)
    labels[..., :2], labels[..., 6:] = 4, 9
    assert without_borders(labels)[0, 0].tolist() == [4, 4, 4, 4, 9, 9, 9, 9]
    np.testing.assert_array_equal(without_borders(np.zeros((1, 2, 2), int)), np.zeros((1, 2, 2), int))

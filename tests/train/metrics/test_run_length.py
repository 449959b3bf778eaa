import numpy as np
import pytest

from neuropil.train.metrics.run_length import expected_run_length, run_length, segments_at, skeleton_pieces

NM10 = 10.0


def test_expected_run_length() -> None:
    # Skeleton 1 (10 µm) cut into 6 + 4; skeleton 2 (30 µm) has 20 of its own, 10 merged with skeleton 3.
    erl = expected_run_length({1: 10.0, 2: 30.0, 3: 10.0}, {1: {1: 6.0, 2: 4.0}, 2: {3: 20.0, 4: 10.0}, 3: {4: 10.0}})
    assert erl == pytest.approx((36 + 16 + 400) / 50)


def line(start: float, end: float, y: float) -> np.ndarray:
    """One edge along x, in nm (z, y, x)."""
    return np.array([[[5.0, y, start], [5.0, y, end]]])


def scored(labels: np.ndarray, *skeletons: np.ndarray):  # type: ignore[no-untyped-def]
    pieces = skeleton_pieces(skeletons, NM10)
    voxel = np.floor(pieces.ends_nm.reshape(-1, 3) / NM10).astype(np.int64)
    slabs = (labels[z : z + 1] for z in range(len(labels)))
    return run_length(pieces, segments_at(voxel, slabs, labels.shape).reshape(-1, 2))


def test_pieces_are_short_and_keep_the_length() -> None:
    edges = np.array([[[0.0, 0, 0], [30, 40, 0]], [[30.0, 40, 0], [30, 40, 7]]])
    pieces = skeleton_pieces([edges, edges[:1]], NM10)
    assert pieces.lengths_um.max() <= 0.01 + 1e-12
    assert pieces.lengths_um.sum() == pytest.approx(0.107)
    assert np.bincount(pieces.skeleton).tolist() == [6, 5]


def test_a_split_a_merger_and_a_way_out_of_the_volume() -> None:
    labels = np.zeros((1, 4, 100), np.uint32)
    labels[0, 0], labels[0, 1, :50], labels[0, 1, 50:], labels[0, 2], labels[0, 3] = 1, 2, 3, 4, 4
    whole = scored(labels, line(5, 995, 5))
    assert (whole.erl_um, whole.normalised, whole.mergers) == (pytest.approx(0.99), pytest.approx(1), 0)
    # Cut in the middle of 0.99 µm: twice 0.49 µm, and the piece across the cut is lost.
    assert scored(labels, line(5, 995, 15)).erl_um == pytest.approx(2 * 0.49**2 / 0.99)
    merged = scored(labels, line(5, 995, 25), line(5, 995, 35))
    assert (merged.erl_um, merged.mergers) == (0, 1)
    # Half of it lies outside and does not count.
    outside = scored(labels, line(505, 2005, 5))
    assert outside.largest_um == pytest.approx(0.49) and outside.normalised == pytest.approx(1)
    with pytest.raises(ValueError, match="inside the volume"):
        scored(labels, line(5000, 6000, 5))


def test_sampling_of_the_skeleton_does_not_matter() -> None:
    labels = np.zeros((1, 1, 100), np.uint32)
    labels[..., :30], labels[..., 30:] = 1, 2
    nodes = np.array([[5.0, 5, x] for x in (5, 10, 300, 310, 995)])
    fine = np.stack([nodes[:-1], nodes[1:]], axis=1)
    assert scored(labels, fine).erl_um == pytest.approx(scored(labels, line(5, 995, 5)).erl_um, abs=0.01)

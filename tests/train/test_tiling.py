import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from neuropil.train.tiling import Tiling, blend

sides = st.tuples(st.integers(1, 20), st.integers(1, 40), st.integers(1, 40))


def two_classes(tile: NDArray) -> NDArray[np.uint8]:
    return np.stack([tile, 255 - tile]).astype(np.uint8)


@settings(max_examples=40, deadline=None)
@given(shape=sides, tile=st.integers(4, 16), overlap=st.integers(0, 3), seed=st.integers(0, 99))
def test_what_each_tile_says_of_itself_comes_back_whole(
    shape: tuple[int, int, int], tile: int, overlap: int, seed: int
) -> None:
    image = np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8)
    tiling = Tiling(shape, (tile, tile, tile), (overlap, overlap, overlap))
    slabs = list(blend(image, tiling, 2, two_classes))
    assert [s.start for s in slabs] == list(np.cumsum([0, *(s.probabilities.shape[1] for s in slabs)])[:-1])
    whole = np.concatenate([s.probabilities for s in slabs], axis=1)
    assert np.array_equal(whole, np.stack([image, 255 - image]))


def test_order_of_tiles_changes_nothing_where_tiles_disagree() -> None:
    shape, rng = (6, 50, 60), np.random.default_rng(0)
    image = rng.integers(0, 256, shape).astype(np.uint8)

    def disagreeing(tile: NDArray) -> NDArray[np.uint8]:
        # Depends on the tile's place, as a network's answer near a tile's edge does.
        return two_classes((tile // 2 + tile.ravel()[:: tile.size // 7].sum() % 100).astype(np.uint8))

    tiling = Tiling(shape, (4, 16, 16), (2, 6, 6))
    answers = [
        np.concatenate([s.probabilities for s in blend(image, tiling, 2, disagreeing, order)], axis=1)
        for order in (None, np.random.default_rng(1), np.random.default_rng(2))
    ]
    assert np.array_equal(answers[0], answers[1]) and np.array_equal(answers[0], answers[2])


def test_centre_of_a_tile_outweighs_its_neighbours_edge() -> None:
    image = np.zeros((1, 1, 28), np.uint8)
    tiling = Tiling((1, 1, 28), (1, 1, 16), (0, 0, 4))
    numbers = iter((0, 200))
    (slab,) = blend(image, tiling, 1, lambda tile: np.full((1, *tile.shape), next(numbers), np.uint8))
    row = slab.probabilities[0, 0, 0].astype(int)
    assert row[0] == 0 and row[-1] == 200
    assert (np.diff(row) >= 0).all() and 80 <= row[13:15].mean() <= 120


def test_tiles_cover_with_the_overlap_asked_for() -> None:
    tiling = Tiling((1, 100, 1000), (1, 128, 256), (0, 32, 32))
    assert tiling.starts(0) == [0] and tiling.starts(1) == [0]
    starts = tiling.starts(2)
    assert starts[0] == 0 and starts[-1] == 1000 - 256 and max(np.diff(starts)) <= 256 - 32
    assert len(starts) == 5
    assert tiling.window.min() >= 1 and tiling.window.shape == (1, 128, 256)


def test_sum_of_weights_cannot_overflow() -> None:
    tiling = Tiling((96, 96, 96), (96, 96, 96), (0, 0, 0))
    assert int(tiling.window.max()) * 255 * 27 < 2**31 or int(tiling.window.max()) * 255 * 8 < 2**31


@pytest.mark.parametrize("kept", [1, 3])
def test_only_the_tile_in_work_is_read(kept: int) -> None:
    class Watched:
        """An image that is no array, as one on disk is not."""

        shape = (kept, 64, 64)
        largest = 0

        def __getitem__(self, box: tuple[slice, ...]) -> NDArray[np.uint8]:
            tile = np.zeros(self.shape, np.uint8)[box]
            self.largest = max(self.largest, tile.size)
            return tile

    image = Watched()
    list(blend(image, Tiling(image.shape, (1, 16, 16), (0, 4, 4)), 2, two_classes))  # type: ignore[arg-type]
    assert image.largest == 256

"""Fresh blocks while training: nothing repeated, one seed one result, and what cannot be made is left out."""

import time
from pathlib import Path

import numpy as np
import pytest

from neuropil.train.augmentation import NO_AUGMENTATION
from neuropil.train.endless import EndlessDataset, Freshness
from neuropil.train.labelled_volume import LabelledVolume
from neuropil.train.settings import SemanticTask

NM5 = (5.0, 5.0, 5.0)


def numbered(index: int) -> LabelledVolume:
    """A block that is as bright as its index; block 3 cannot be made, and every second one takes its time."""
    if index == 3:
        raise ValueError("too narrow")
    if index % 2:
        time.sleep(0.2)
    return LabelledVolume(str(index), np.full((4, 40, 40), index, np.uint8), np.ones((4, 40, 40), np.uint8), NM5)


def endless(**settings: object) -> EndlessDataset:
    freshness = Freshness(window=2, steps_per_block=3, workers=2)
    options = {"patch_px": 16, "augmentation": NO_AUGMENTATION, **settings}
    return EndlessDataset(numbered, "numbered", freshness, SemanticTask(), NM5, **options)  # type: ignore[arg-type]


def seen(dataset: EndlessDataset, steps: int, start: int = 0) -> list[set[int]]:
    """Blocks that each step's patches came from."""
    batches = zip(range(steps), dataset.batches(0, 12, start), strict=False)
    return [{round(float(v) * 255) for v in b.images.amax((1, 2, 3))} for _, b in batches]


def test_blocks_come_and_go_and_steps_do_not_depend_on_those_before() -> None:
    with endless() as dataset:
        steps = seen(dataset, 12)
        assert steps == [{0, 1}] * 3 + [{1, 2}] * 3 + [{2}] * 3 + [{4}] * 3
        assert dataset.failures == {3: "too narrow"}
        assert dataset.patch_shape == (16, 16) and dataset.record()["fresh_blocks"] == "numbered"
        first = next(dataset.batches(5, 4, start=10)).images
    # Begun anew in the middle, as after a kill, with no block of before.
    with endless() as again:
        assert (next(again.batches(5, 4, start=10)).images == first).all()
        assert again.checksum == dataset.checksum
        whole = next(again.batches(5, 4, 10)).images
        parts = [next(again.batches(5, 4, 10, (i, 2))).images for i in range(2)]
        assert (whole[0::2] == parts[0]).all() and (whole[1::2] == parts[1]).all()


def test_real_volumes_are_mixed_in_by_share() -> None:
    real = LabelledVolume("real", np.full((1, 40, 40), 200, np.uint8), np.ones((1, 40, 40), np.uint8), NM5, False)
    with endless(fixed=[[real]], weights=[1.0, 3.0]) as mixed, endless() as plain:
        images = np.concatenate([b.images.numpy() for _, b in zip(range(3), mixed.batches(0, 60), strict=False)])
        assert abs((images.max((1, 2, 3)) > 0.5).mean() - 0.75) < 0.1
        assert mixed.checksum != plain.checksum


def test_where_no_block_can_be_made_it_says_so(tmp_path: Path) -> None:
    freshness = Freshness(window=1, steps_per_block=1, first=3)
    with (
        EndlessDataset(numbered, "numbered", freshness, SemanticTask(), NM5, 16) as dataset,
        pytest.raises(ValueError, match="none of the blocks 3 to 3 can be made: too narrow"),
    ):
        next(dataset.batches(0, 1))
    with pytest.raises(ValueError, match="window is 0"):
        Freshness(window=0)

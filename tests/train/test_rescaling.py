"""Images on other voxels, box by box, held against torch's interpolation."""

import numpy as np
import pytest
import torch

from neuropil.train.rescaling import RescaledImage, rescaled_slabs
from neuropil.train.tiling import Slab


@pytest.mark.parametrize("scale", [(1.0, 0.6, 1.3), (1.0, 2.0, 0.5), (1.0, 1.0, 1.9)])
def test_sections_are_as_torch_makes_them_with_antialiasing(scale: tuple[float, float, float]) -> None:
    image = np.random.default_rng(0).integers(0, 256, (3, 40, 50)).astype(np.uint8)
    rescaled = RescaledImage(image, scale)
    whole = rescaled[:, :, :]
    wanted = torch.nn.functional.interpolate(
        torch.from_numpy(image)[None].float(), rescaled.shape[1:], mode="bilinear", antialias=True, align_corners=False
    )[0].numpy()
    assert whole.dtype == np.uint8 and np.abs(whole - wanted).max() <= 0.51
    # A box is the same box of the whole.
    assert np.array_equal(rescaled[1:2, 3:17, 5:30], whole[1:2, 3:17, 5:30])


def test_depth_is_rescaled_and_the_answer_comes_back_section_by_section() -> None:
    ramp = np.broadcast_to(np.arange(20, dtype=np.uint8)[:, None, None] * 10, (20, 6, 6))
    rescaled = RescaledImage(ramp, (0.6, 1.0, 1.0))
    assert rescaled.shape == (12, 6, 6)
    there = rescaled[:, :, :]
    slabs = [Slab(start, there[None, start : start + 4]) for start in (0, 4, 8)]
    back = list(rescaled_slabs(slabs, (12, 6, 6), (20, 6, 6)))
    assert [s.start for s in back] == list(range(20))
    found = np.concatenate([s.probabilities[0] for s in back]).astype(int)
    assert np.abs(found - ramp)[2:-2].max() <= 3

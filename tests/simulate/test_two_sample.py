"""The two-sample test cannot tell what is alike and tells what is not."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from neuropil.simulate import two_sample
from neuropil.simulate.two_sample import two_sample_auc


def stack(seed: int, blur: float) -> np.ndarray:
    values = ndimage.gaussian_filter(np.random.default_rng(seed).normal(0, 1, (8, 96, 96)), (0, blur, blur))
    return np.clip(128 + 30 * values / values.std(), 0, 255).astype(np.uint8)


def test_alike_and_unlike(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(two_sample, "_PATCHES_PER_FOLD", 30)
    monkeypatch.setattr(two_sample, "_EPOCHS", 6)
    alike = two_sample_auc([stack(0, 2.0)], [stack(1, 2.0)])
    unlike = two_sample_auc([stack(0, 2.0)], [stack(1, 3.5)])
    assert 0.3 < alike < 0.7
    assert unlike > 0.9


def test_too_little_to_tell() -> None:
    with pytest.raises(ValueError, match="4 slices"):
        two_sample_auc([stack(0, 2.0)[:3]], [stack(1, 2.0)])

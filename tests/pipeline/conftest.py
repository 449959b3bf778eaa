from __future__ import annotations

from pathlib import Path

import pytest

# The smallest block that holds neurites, a few slices deep; trained on for a few steps.
TINY = """
name: tiny
seed: 3
blocks: 2
tissue:
  size_um: [0.6, 0.6, 0.4]
  margin_um: 0.05
voxel_size_nm: [10, 10, 10]
patches: {patch_px: 32}
training:
  network: {kind: shuffled_unet, features: [4, 4, 4, 4, 4, 4]}
  steps: 3
  batch: 2
"""


@pytest.fixture(scope="session")
def tiny_recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recipe") / "tiny.yaml"
    path.write_text(TINY)
    return path

"""What several tests of the microscope share: a small phantom and the real slices, where there are any."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from neuropil.simulate.phantom import make_phantom
from neuropil.simulate.truth import Truth

Slices = tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]


@pytest.fixture(scope="session")
def block() -> Truth:
    """A phantom of 24 × 200 × 220 voxels of 5 nm."""
    return make_phantom(np.random.default_rng(3), (24, 200, 220))


@pytest.fixture(scope="session")
def read_slices() -> Callable[[list[str]], Slices]:
    """Reads images and labels of named EPFL slices; skips the test where the data are not there."""
    root = Path(os.environ.get("NEUROPIL_DATA", Path(__file__).resolve().parents[2] / "../shared/data"))
    folder = root / "epfl_ca1"
    if not (folder / "images").is_dir():
        pytest.skip(f"no real slices: NEUROPIL_DATA or {root} holds no epfl_ca1")

    def read(names: list[str]) -> Slices:
        images, labels = (
            np.stack([np.array(Image.open(folder / kind / f"{name}.png")) for name in names])
            for kind in ("images", "labels")
        )
        return images, labels

    return read

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import ndimage

from neuropil.train.classes import bits_from_masks
from neuropil.train.labelled_volume import LabelledVolume
from neuropil.train.settings import NetworkConfig
from neuropil.voxelize.volume_files import read_volume

SMALL = NetworkConfig(features=(8, 8, 8, 16, 16, 8))


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def small_network() -> NetworkConfig:
    return SMALL


def toy_volume(seed: int, shape: tuple[int, int, int] = (8, 96, 96), name: str = "toy") -> LabelledVolume:
    """Grey noise with dark balls (mitochondria) in a darker rim, bright walls (membrane), and one small black
    spot in a corner (psd): each class can be told from the grey levels alone."""
    rng = np.random.default_rng(seed)
    noise = ndimage.gaussian_filter(rng.standard_normal(shape), 4)
    inside = noise > np.quantile(noise, 0.8)
    rim = ndimage.binary_dilation(inside, iterations=2) & ~inside
    wall = ndimage.gaussian_filter(rng.standard_normal(shape), 4)
    wall = (np.abs(wall) < np.quantile(np.abs(wall), 0.1)) & ~inside & ~rim
    spot = np.zeros(shape, bool)
    spot[2:4, 10:14, 12:15] = True
    masks = np.stack([inside & ~spot, rim & ~spot, wall & ~spot, spot, spot & False, spot & False])
    grey = np.full(shape, 140.0)
    for mask, level in zip(masks[:4], (90, 50, 220, 5), strict=True):
        grey[mask] = level
    image = np.clip(grey + rng.normal(0, 8, shape), 0, 255).astype(np.uint8)
    return LabelledVolume(name, image, bits_from_masks(masks), (5.0, 5.0, 5.0))


@pytest.fixture
def toy() -> LabelledVolume:
    return toy_volume(0)


@pytest.fixture
def other_toy() -> LabelledVolume:
    return toy_volume(1)


def masks_of(volume: LabelledVolume) -> NDArray[np.uint8]:
    from neuropil.train.classes import masks_from_bits

    return masks_from_bits(volume.bits)


@pytest.fixture(scope="session")
def gala_instances() -> np.ndarray:
    """Ids (50, 100, 200) of a real crop of 10 nm voxels, 0 on boundaries."""
    root = Path(os.environ.get("NEUROPIL_DATA", Path(__file__).resolve().parents[2] / "../shared/data"))
    path = root / "gala_crops" / "train.h5"
    if not path.exists():
        pytest.skip(f"no real instances: {path} does not exist")
    return np.asarray(read_volume(f"{path}:volumes/labels/neuron_ids", (10, 10, 10)).data)

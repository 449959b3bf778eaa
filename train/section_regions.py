"""Regions of single sections, described by where they lie and by what the sections' network sees in them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import fastremap
import numpy as np
import torch
from monai.networks.nets import BasicUNet, DynUNet
from monai.networks.utils import pixelunshuffle
from numpy.typing import NDArray
from torch import nn

from neuropil.voxelize.volume import Volume

from .bundle import Model
from .inference import unit_grey
from .networks import ShuffledUNet, in_fast_layout

# The encoder is read out where a voxel stands for so many along each axis of the section.
READ_OUT = 4
# Sections go through the encoder in windows of this core with a margin that is thrown away, their sides multiples of
# what any of our encoders needs.
CORE_PX = 384
MARGIN_PX = 64
SIDE_PX = 32


@dataclass(frozen=True, eq=False)
class SectionRegions:
    """Regions of a section: `labels` (y, x), `ids` (n,) ascending without 0, and of each its `area_px`, the `centre`
    (n, 2; y, x) and the mean `features` (n, c) of the encoder within it."""

    labels: NDArray[np.uint32]
    ids: NDArray[np.uint32]
    area_px: NDArray[np.float64]
    centre: NDArray[np.float64]
    features: NDArray[np.float32]


def regions_of_sections(model: Model, volume: Volume, regions: Volume) -> Iterator[SectionRegions]:
    """What describes the regions of each section of an image, both volumes (z, y, x), one section after the other."""
    for z in range(volume.shape_zyx[0]):
        yield regions_of_section(model, np.asarray(volume.data[z]), np.asarray(regions.data[z]))


def regions_of_section(model: Model, image: NDArray, labels: NDArray[np.uint32]) -> SectionRegions:
    """What describes the regions `labels` of an image, both (y, x); 0 is no region."""
    ids, inverse, area = fastremap.unique(labels, return_inverse=True, return_counts=True)
    number = inverse.reshape(labels.shape).astype(np.int64)
    y, x = np.indices(labels.shape)
    centre = np.stack([np.bincount(number.ravel(), places.ravel()) / area for places in (y, x)], axis=1)
    features = _mean_features(model, image, number, len(ids))
    keep = ids > 0
    return SectionRegions(labels, ids[keep], area[keep].astype(np.float64), centre[keep], features[keep])


def _mean_features(model: Model, image: NDArray, number: NDArray[np.int64], count: int) -> NDArray[np.float32]:
    """Mean of the encoder's features (count, c) over the voxels of each number (y, x)."""
    height, width = image.shape
    core_y, core_x = (min(CORE_PX, -(-n // SIDE_PX) * SIDE_PX) for n in (height, width))
    fill = [(MARGIN_PX, MARGIN_PX + -n % core) for n, core in ((height, core_y), (width, core_x))]
    padded = unit_grey(np.pad(image, fill, mode="symmetric"))
    total: torch.Tensor | None = None
    voxels = torch.zeros(count)
    cut, half = MARGIN_PX // READ_OUT, READ_OUT // 2
    for y in range(0, height, core_y):
        for x in range(0, width, core_x):
            window = padded[y : y + core_y + 2 * MARGIN_PX, x : x + core_x + 2 * MARGIN_PX]
            inner = _encoded(model.network, window)[:, cut:-cut, cut:-cut]
            under = torch.from_numpy(number[y : y + core_y, x : x + core_x][half::READ_OUT, half::READ_OUT].copy())
            inner = inner[:, : under.shape[0], : under.shape[1]].reshape(len(inner), -1).T.cpu()
            total = torch.zeros(count, inner.shape[1]) if total is None else total
            total.index_add_(0, under.ravel(), inner)
            voxels.index_add_(0, under.ravel(), torch.ones(under.numel()))
    assert total is not None
    # A region smaller than the read-out's grid may be missed; its features are 0.
    return (total / voxels.clamp(min=1)[:, None]).numpy()


def _encoded(network: nn.Module, window: NDArray[np.float32]) -> torch.Tensor:
    """The encoder's features (c, y / READ_OUT, x / READ_OUT) of a window (y, x)."""
    device = next(network.parameters()).device
    with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16):
        found = in_fast_layout(torch.from_numpy(window).to(device)[None, None])
        for layer in _encoder(network):
            found = layer(found)
    return found[0].float()


def _encoder(network: nn.Module) -> list[Callable[[torch.Tensor], torch.Tensor]]:
    """The layers down to a quarter of the resolution. Raises ValueError for a network without such."""
    if isinstance(network, ShuffledUNet):
        return [lambda image: pixelunshuffle(image, 2, 2), network.unet.conv_0, network.unet.down_1]
    if isinstance(network, BasicUNet):
        return [network.conv_0, network.down_1, network.down_2]
    if isinstance(network, DynUNet):
        return [network.input_block, network.downsamples[0], network.downsamples[1]]
    raise ValueError(f"a {type(network).__name__} has no encoder that regions can be linked by")

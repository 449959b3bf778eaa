"""Segmentation networks by configuration: MONAI's U-Net, whole or working on shuffled pixels for speed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from monai.networks.nets import BasicUNet, DynUNet
from monai.networks.utils import pixelshuffle, pixelunshuffle
from torch import nn

from .settings import NetworkConfig


class ShuffledUNet(nn.Module):
    """A U-Net that sees each 2×2 (2×2×2) neighbourhood of voxels as channels of one voxel.

    It computes at half the resolution and shuffles its output back to full resolution (Shi et al. 2016), so
    it is several times faster than the same U-Net on the voxels themselves, and places edges to the voxel.
    Image sides must be multiples of 2.
    """

    def __init__(
        self, spatial_dims: int, in_channels: int, out_channels: int, features: Sequence[int], norm: str
    ) -> None:
        super().__init__()
        self.spatial_dims = spatial_dims
        per_voxel = 2**spatial_dims
        self.unet = BasicUNet(
            spatial_dims, in_channels * per_voxel, out_channels * per_voxel, tuple(features), norm=norm
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits (n, out_channels, …) of images (n, in_channels, …)."""
        # A MONAI image tensor carries metadata that a changed channel count would contradict.
        x = x.as_tensor() if hasattr(x, "as_tensor") else x
        return pixelshuffle(self.unet(pixelunshuffle(x, self.spatial_dims, 2)), self.spatial_dims, 2)


# What a bundle may ask for: nothing else is built from a bundle's files.
NETWORK_CLASSES: Mapping[str, type[nn.Module]] = {
    "monai.networks.nets.BasicUNet": BasicUNet,
    "monai.networks.nets.DynUNet": DynUNet,
    "neuropil.train.networks.ShuffledUNet": ShuffledUNet,
}


def build_network(config: NetworkConfig, channels: int) -> nn.Module:
    """The network with fresh weights, drawn from torch's generator; one logit per channel and voxel."""
    arguments = config.definition(channels)
    network = NETWORK_CLASSES[arguments.pop("_target_")](**arguments)
    return network.to(memory_format=_memory_format(config.spatial_dims))  # type: ignore[call-overload]


def best_device() -> torch.device:
    """The graphics card if there is one, else the processor."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def in_fast_layout(images: torch.Tensor) -> torch.Tensor:
    """The images with channels innermost in memory, which convolutions on the CPU run twice as fast on."""
    return images.contiguous(memory_format=_memory_format(images.ndim - 2))


def _memory_format(spatial_dims: int) -> torch.memory_format:
    return torch.channels_last if spatial_dims == 2 else torch.channels_last_3d

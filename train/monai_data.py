"""Our volumes in MONAI's own pipelines: a reader for `LoadImaged`, and a transform for the annotators' bit field."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection, PathLike
from monai.data import ImageReader
from monai.data.meta_tensor import MetaTensor
from monai.transforms import MapTransform
from numpy.typing import NDArray

from neuropil.voxelize.volume import Triple, Volume
from neuropil.voxelize.volume_files import read_volume

from .classes import CLASS_NAMES, masks_from_bits


class VolumeReader(ImageReader):
    """Reads a PNG folder, TIFF, NIfTI, file.h5:dataset or Zarr, blocks' arrays included, for `LoadImage(reader=…)`.

    Arrays come as z, y, x (or c, z, y, x); the affine goes with those axes and is in µm, so that `Spacing` and its like
    know how thick sections are.
    """

    def __init__(self, voxel_size_nm: Sequence[float] | None = None) -> None:
        """`voxel_size_nm` (z, y, x) is for volumes that state none."""
        super().__init__()
        self.voxel_size_nm = voxel_size_nm

    def verify_suffix(self, filename: Sequence[PathLike] | PathLike) -> bool:
        """All names are tried: a folder has no suffix."""
        return True

    def read(self, data: Sequence[PathLike] | PathLike, **kwargs: Any) -> list[Volume]:
        """The volumes named. Raises FileNotFoundError or ValueError in one sentence."""
        names = [data] if isinstance(data, str) or not isinstance(data, Sequence) else data
        return [read_volume(str(name), self.voxel_size_nm) for name in names]

    def get_data(self, img: Sequence[Volume]) -> tuple[NDArray, dict[str, Any]]:
        """The array of one volume, or of several stacked as channels, and MONAI's metadata."""
        first = img[0]
        data = np.stack([v.data for v in img]) if len(img) > 1 else first.data
        sizes: Triple = first.voxel_size_nm
        affine = np.diag([*(size / 1e3 for size in sizes), 1.0])
        affine[:3, 3] = [value / 1e3 for value in first.origin_nm]
        channels = "no_channel" if data.ndim == 3 else 0
        meta = {"affine": affine, "original_affine": affine.copy(), "spatial_shape": np.array(first.shape_zyx)}
        return data, {**meta, "original_channel_dim": channels, "channels": first.channels}


class MasksFromBitsd(MapTransform):
    """The bit field (1, …) of a block's annotation as masks (6, …) of 0 and 1, in the order of `CLASS_NAMES`."""

    def __init__(self, keys: KeysCollection, allow_missing_keys: bool = False) -> None:
        super().__init__(keys, allow_missing_keys)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Raises ValueError where there is more than one channel."""
        out = dict(data)
        for key in self.key_iterator(out):
            bits = out[key]
            if bits.shape[0] != 1:
                raise ValueError(
                    f"{key} has {bits.shape[0]} channels, but a bit field of {len(CLASS_NAMES)} classes is 1"
                )
            masks = torch.from_numpy(masks_from_bits(np.asarray(bits[0]).astype(np.uint8)))
            out[key] = MetaTensor(masks, meta=bits.meta) if isinstance(bits, MetaTensor) else masks
        return out

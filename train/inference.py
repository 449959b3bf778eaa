"""A network's answer on a volume of any size, tile by tile, the same for any order of the tiles."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from neuropil.voxelize.volume import Volume

from .bundle import Model
from .networks import in_fast_layout
from .rescaling import LARGEST_RESCALE, SAME_SIZE, RescaledImage, first_needed, rescaled_slabs
from .tiling import Slab, Tiling, blend

Progress = Callable[[float, str], None]


class InferenceSettings(BaseModel):
    """How a volume is cut and answered. `flips` averages over all mirror images: 4 times the work in 2D,
    8 times in 3D. `tile_px` and `overlap_px` are in voxels of the model."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    tile_px: int | None = Field(default=None, ge=16)
    overlap_px: int | None = Field(default=None, ge=0)
    flips: bool = False
    threshold: float = Field(default=0.5, gt=0, lt=1)
    bf16: bool = True

    def tiling(self, shape: tuple[int, int, int], spatial_dims: int, multiple: int | Sequence[int]) -> Tiling:
        """Tiles for a volume (z, y, x), their sides multiples of what the network needs, on all axes or on each.

        Raises ValueError if the overlap leaves no new voxels.
        """
        # Flat cubes, since the memory for blending goes with their depth.
        default, share = ((512, 512, 512), 8) if spatial_dims == 2 else ((64, 96, 96), 4)
        tile = (self.tile_px,) * 3 if self.tile_px else default
        overlap = tuple(side // share if self.overlap_px is None else self.overlap_px for side in tile)
        if overlap[0] >= tile[0]:
            raise ValueError(f"overlap_px is {overlap[0]}; it must be less than the tile's {tile[0]} voxels")
        multiples = (multiple,) * 3 if isinstance(multiple, int) else multiple
        z, y, x = (_side(*axis) for axis in zip(shape, tile, overlap, multiples, strict=True))
        if spatial_dims == 2:
            return Tiling(shape, (1, y, x), (0, overlap[1], overlap[2]))
        return Tiling(shape, (z, y, x), (overlap[0], overlap[1], overlap[2]))


@dataclass(frozen=True)
class Segmenter:
    """A network ready to answer tiles; used on finished models and, while they train, for validation."""

    network: torch.nn.Module
    spatial_dims: int
    multiples: tuple[int, int, int]
    channels: int
    settings: InferenceSettings

    def tiling(self, shape: tuple[int, int, int]) -> Tiling:
        """How a volume of that shape (z, y, x) is cut."""
        return self.settings.tiling(shape, self.spatial_dims, self.multiples)

    def slabs(
        self,
        image: NDArray,
        rng: np.random.Generator | None = None,
        done: Callable[[int], None] | None = None,
        first: int = 0,
    ) -> Iterator[Slab]:
        """Probabilities of a grey image (z, y, x), in slabs of sections from `first` on, in bounded memory."""
        was_training = self.network.training
        self.network.eval()
        try:
            yield from blend(image, self.tiling(_shape3(image)), self.channels, self._predict, rng, done, first)
        finally:
            self.network.train(was_training)

    def whole(self, image: NDArray) -> NDArray[np.uint8]:
        """Probabilities (c, z, y, x) of a grey image (z, y, x), all in memory."""
        return np.concatenate([slab.probabilities for slab in self.slabs(image)], axis=1)

    def _predict(self, tile: NDArray) -> NDArray[np.uint8]:
        """Probabilities uint8 (c, z, y, x) of a grey tile (z, y, x).

        Tiles go through the network one at a time: in a larger batch the same tile can come out otherwise in
        its last bits, and the result would depend on its neighbours in the batch.
        """
        device = next(self.network.parameters()).device
        image = torch.from_numpy(unit_grey(tile)).to(device)[None, None]
        if self.spatial_dims == 2:
            image = image[:, :, 0]
        axes = range(2, image.ndim)
        turns = [t for n in range(image.ndim - 1) for t in combinations(axes, n)] if self.settings.flips else [()]
        total = torch.zeros(())
        with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=self.settings.bf16):
            for turn in turns:
                logits = self.network(in_fast_layout(image.flip(turn) if turn else image)).float()
                total = total + (logits.sigmoid().flip(turn) if turn else logits.sigmoid()).cpu()
        mean = (total[0] * (255 / len(turns))).round().to(torch.uint8).numpy()
        return mean[:, None] if self.spatial_dims == 2 else mean


def segment(
    model: Model,
    volume: Volume,
    settings: InferenceSettings | None = None,
    progress: Progress | None = None,
    rng: np.random.Generator | None = None,
) -> Volume:
    """Masks of `volume` (z, y, x): uint8 (c, z, y, x) of 0 and 1, channels named as the model's classes.

    A 2D model answers section by section. An image whose voxels differ from the model's is brought to its
    scale and the answer back, up to a factor of 2. With `rng` tiles are taken in random order, which changes
    nothing. Raises ValueError for an image of other dimension, type or scale.
    """
    masks = np.empty((len(model.classes), *volume.data.shape[-3:]), np.uint8)
    for start, slab in segment_slabs(model, volume, settings, progress, rng):
        masks[:, start : start + slab.shape[1]] = slab
    return Volume(masks, volume.voxel_size_nm, volume.origin_nm, axes="czyx", channels=model.classes)


def segment_slabs(
    model: Model,
    volume: Volume,
    settings: InferenceSettings | None = None,
    progress: Progress | None = None,
    rng: np.random.Generator | None = None,
    first: int = 0,
) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    """As `segment`, but gives (first section, masks (c, z, y, x)) as they come, to be written at once.

    They begin with section `first`, as they would have come after the others.
    """
    settings = settings or InferenceSettings()
    threshold = np.ceil(settings.threshold * 255)
    for slab in probability_slabs(model, volume, settings, progress, rng, first):
        # In place, since a slab of a large volume takes gigabytes.
        for section in slab.probabilities.swapaxes(0, 1):
            section[:] = section >= threshold
        yield slab.start, slab.probabilities
        del slab, section


def probability_slabs(
    model: Model,
    volume: Volume,
    settings: InferenceSettings | None = None,
    progress: Progress | None = None,
    rng: np.random.Generator | None = None,
    first: int = 0,
) -> Iterator[Slab]:
    """As `segment_slabs`, but the probabilities themselves, uint8 with 255 for certain."""
    settings = settings or InferenceSettings()
    check_fits(model, volume)
    segmenter = Segmenter(model.network, model.spatial_dims, model.config.multiples, len(model.classes), settings)
    shape, scale = volume.shape_zyx, _scale(model, volume)
    # A rescaled image is no array, but it is sliced as one.
    image = volume.data if scale is None else cast(NDArray, RescaledImage(volume.data, scale))
    tiling = segmenter.tiling(_shape3(image))
    total = len(tiling.starts(0)) * len(tiling.starts(1)) * len(tiling.starts(2))
    needed = first_needed(first, shape[0], image.shape[0])
    begin = max(start for start in tiling.starts(0) if start <= needed)
    report = None if progress is None else lambda finished: progress(finished / total, "segmenting")
    slabs = segmenter.slabs(image, rng, report, begin)
    for slab in slabs if scale is None else rescaled_slabs(slabs, _shape3(image), shape):
        skipped = max(0, first - slab.start)
        if skipped < slab.probabilities.shape[1]:
            yield Slab(slab.start + skipped, slab.probabilities[:, skipped:])
        del slab
    if progress:
        progress(1.0, "segmented")


def check_fits(model: Model, volume: Volume) -> None:
    """Raises ValueError, in one sentence, where the model cannot answer this volume."""
    if volume.axes != "zyx":
        raise ValueError(
            f"the model {model.name} reads one grey image (z, y, x), but the volume has axes {volume.axes!r}"
        )
    unit_grey(np.empty(0, volume.data.dtype))
    if model.spatial_dims == 3 and volume.data.shape[0] == 1:
        raise ValueError(f"the model {model.name} is 3D, but the image is a single section")
    for axis, mine, theirs in list(zip("zyx", model.voxel_size_nm, volume.voxel_size_nm, strict=True))[
        -model.spatial_dims :
    ]:
        # Powers of ten nanometres come out of files with rounding errors: 10.0000001 is still twice 5.
        if max(mine / theirs, theirs / mine) > LARGEST_RESCALE * (1 + 1e-6):
            raise ValueError(
                f"the model {model.name} was trained on voxels of {mine:g} nm along {axis}, the image has "
                f"{theirs:g} nm, and more than a factor of {LARGEST_RESCALE:g} apart it cannot be used"
            )


def unit_grey(image: NDArray) -> NDArray[np.float32]:
    """Grey levels from 0 to 1 of a uint8 or uint16 image. Raises ValueError for another type."""
    if image.dtype not in (np.uint8, np.uint16):
        raise ValueError(f"the image holds {image.dtype} values; networks here read uint8 or uint16")
    return image.astype(np.float32) / np.float32(np.iinfo(image.dtype).max)


def _scale(model: Model, volume: Volume) -> tuple[float, float, float] | None:
    """Factors (z, y, x) from the volume's number of voxels to the model's; nothing where they agree."""
    factors = [theirs / mine for mine, theirs in zip(model.voxel_size_nm, volume.voxel_size_nm, strict=True)]
    if model.spatial_dims == 2:
        factors[0] = 1.0
    if all(abs(f - 1) <= SAME_SIZE for f in factors):
        return None
    return factors[0], factors[1], factors[2]


def _shape3(image: NDArray) -> tuple[int, int, int]:
    z, y, x = image.shape
    return z, y, x


def _side(length: int, wanted: int, overlap: int, multiple: int) -> int:
    """Side of the tiles along an axis: as many as tiles of `wanted` voxels would take, but no larger than needed."""
    count = max(1, -(-(length - overlap) // (wanted - overlap)))
    needed = -(-(length + (count - 1) * overlap) // count)
    return -(-needed // multiple) * multiple

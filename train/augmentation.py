"""What a patch may undergo on its way to the network: turns, flips, zoom, grey-level changes, blur, noise."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field
from scipy import ndimage

Range = tuple[float, float]


class Augmentation(BaseModel):
    """Ranges that are drawn from uniformly for each patch.

    Grey levels run from 0 to 1: contrast is a factor about 0.5, brightness is added, gamma is an exponent
    (log-uniform), noise is the standard deviation of white noise, blur the sigma in voxels. `zoom` is the
    scale of the crop against the patch. Zoom, blur and noise come to `share` of the patches each.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    turns: bool = True
    brightness: Range = (-0.1, 0.1)
    contrast: Range = (0.8, 1.25)
    gamma: Range = (0.8, 1.25)
    noise: Range = (0.0, 0.05)
    blur_px: Range = (0.0, 1.0)
    zoom: Range = (0.8, 1.25)
    share: float = Field(default=0.3, ge=0, le=1)

    def scale(self, rng: np.random.Generator) -> float:
        """How much larger than the patch the box to cut out is; `resized` brings it to the patch."""
        if self.zoom == (1.0, 1.0) or rng.random() >= self.share:
            return 1.0
        return float(rng.uniform(*self.zoom))

    def grey(self, image: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
        """The image (any shape, 0 to 1) with other grey levels, of the same shape and type."""
        low, high = np.log(self.gamma)
        image = np.clip(image, 0, 1) ** np.float32(np.exp(rng.uniform(low, high)))
        if rng.random() < self.share and self.blur_px[1] > 0:
            image = ndimage.gaussian_filter(image, rng.uniform(*self.blur_px), truncate=3)
        if rng.random() < self.share and self.noise[1] > 0:
            image = image + rng.standard_normal(image.shape, np.float32) * np.float32(rng.uniform(*self.noise))
        contrast, brightness = rng.uniform(*self.contrast), rng.uniform(*self.brightness)
        return ((image - 0.5) * np.float32(contrast) + np.float32(0.5 + brightness)).astype(np.float32)


NO_AUGMENTATION = Augmentation(
    turns=False, brightness=(0, 0), contrast=(1, 1), gamma=(1, 1), noise=(0, 0), blur_px=(0, 0), zoom=(1, 1)
)


def resized(image: NDArray[np.uint8], labels: NDArray, shape: tuple[int, ...]) -> tuple[NDArray[np.uint8], NDArray]:
    """Image uint8 and labels of whole numbers, both (y, x) or (z, y, x), brought to `shape`: linearly (over areas where
    sections shrink), and by nearest voxel."""
    if image.shape == shape:
        return image, labels
    nearest = [((np.arange(n) + 0.5) * (old / n)).astype(int) for n, old in zip(shape, labels.shape, strict=True)]
    return _linear(image, shape), labels[np.ix_(*nearest)]


def _linear(image: NDArray[np.uint8], shape: tuple[int, ...]) -> NDArray[np.uint8]:
    if image.ndim == 2:
        picture = Image.fromarray(np.ascontiguousarray(image))
        return np.asarray(picture.resize((shape[1], shape[0]), Image.Resampling.BILINEAR))
    grey = torch.from_numpy(np.ascontiguousarray(image, np.float32))[None, None]
    grey = torch.nn.functional.interpolate(grey, shape, mode="trilinear", align_corners=False)
    return grey[0, 0].round().to(torch.uint8).numpy()


def turned(image: NDArray, bits: NDArray, isotropic: bool, rng: np.random.Generator) -> tuple[NDArray, NDArray]:
    """Both arrays under one random symmetry: flips along every axis and exchanges of axes.

    2D squares take all 8 symmetries. 3D cubes take all 48 where voxels are isotropic, else those that keep z.
    """
    axes = list(range(image.ndim))
    if image.ndim == 2 or isotropic:
        order = [int(a) for a in rng.permutation(axes)]
    else:
        order = [0, *(int(a) for a in rng.permutation(axes[1:]))]
    steps = tuple(slice(None, None, -1 if rng.random() < 0.5 else 1) for _ in axes)
    return image.transpose(order)[steps], bits.transpose(order)[steps]

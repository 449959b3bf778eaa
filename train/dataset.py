"""Endless patches for training, drawn from labelled volumes with every class in view."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from .augmentation import Augmentation, resized, turned
from .classes import CLASS_NAMES, masks_from_bits
from .labelled_volume import LabelledVolume, Source

# Voxels remembered per class and volume to aim patches at. More only costs memory.
AIMS = 50_000
# Volumes whose voxel sizes differ by more than this factor are not the same scale of image.
SAME_SCALE = 1.25


@dataclass(frozen=True)
class Batch:
    """Images float32 (n, 1, …) from 0 to 1, before augmentation, and masks float32 (n, 6, …) of 0 and 1."""

    images: torch.Tensor
    masks: torch.Tensor


@dataclass(frozen=True)
class _Aims:
    """Places (k, 3) of one class in one volume, picked evenly among all of its voxels."""

    volume: LabelledVolume
    places: NDArray[np.int32]
    voxels: int


class SegmentationDataset:
    """Patches of a mixture of groups of labelled volumes.

    A patch takes its group by weight. With probability `balanced` it then picks one of the classes present in
    the group, each as often as any other, and one of that class's voxels, which lies anywhere in the patch;
    otherwise it lies anywhere in the group. So a class that fills a thousandth of the tissue is learnt too.
    In 2D a patch is cut across z, or across any axis where the volume allows it.

    Nothing is drawn twice: patch k of step s of a seed comes from a generator of its own, `patch(rng)`.
    """

    def __init__(
        self,
        groups: Sequence[Sequence[LabelledVolume]],
        patch_px: int = 256,
        weights: Sequence[float] | None = None,
        spatial_dims: int = 2,
        balanced: float = 0.5,
        augmentation: Augmentation | None = None,
    ) -> None:
        """Raises ValueError for no volumes, weights that do not fit, volumes of another scale, or 3D patches
        from single slices."""
        self.groups = [list(group) for group in groups]
        self.weights = np.ones(len(self.groups)) if weights is None else np.asarray(weights, float)
        self.patch_px, self.spatial_dims, self.balanced = patch_px, spatial_dims, balanced
        self.augmentation = augmentation or Augmentation()
        self._check()
        self.weights = self.weights / self.weights.sum()
        self._classes = [self._aims(group) for group in self.groups]
        self._sizes = [np.array([v.image.size for v in g], float) for g in self.groups]

    def _check(self) -> None:
        if not self.groups or not all(self.groups):
            raise ValueError("a training set needs at least one labelled volume in each of its groups")
        if self.patch_px < 1:
            raise ValueError(f"patch_px is {self.patch_px}; it must be at least 1")
        if len(self.weights) != len(self.groups) or not (self.weights > 0).all():
            raise ValueError(f"weights {self.weights.tolist()} must be {len(self.groups)} positive numbers")
        sizes = np.array([v.voxel_size_nm for v in self.volumes])
        if (sizes.max(axis=0) > sizes.min(axis=0) * SAME_SCALE)[-self.spatial_dims :].any():
            raise ValueError(
                f"the training volumes' voxel sizes run from {sizes.min(axis=0).tolist()} to "
                f"{sizes.max(axis=0).tolist()} nm (z, y, x); one network needs images of one scale"
            )
        if self.spatial_dims == 3:
            single = [v.name for v in self.volumes if not v.contiguous]
            if single:
                raise ValueError(f"{single[0]} holds single slices, from which no 3D patch can be cut")

    @classmethod
    def from_sources(
        cls,
        sources: Sequence[Source],
        patch_px: int = 256,
        spatial_dims: int = 2,
        balanced: float = 0.5,
        augmentation: Augmentation | None = None,
    ) -> SegmentationDataset:
        """One group per source, mixed by the sources' weights. Raises what loading raises."""
        return cls(
            [source.load() for source in sources],
            patch_px,
            [source.weight for source in sources],
            spatial_dims,
            balanced,
            augmentation,
        )

    @property
    def volumes(self) -> list[LabelledVolume]:
        return [volume for group in self.groups for volume in group]

    @property
    def voxel_size_nm(self) -> tuple[float, float, float]:
        """Voxel size the patches have: the median over volumes, per axis z, y, x."""
        z, y, x = np.median([v.voxel_size_nm for v in self.volumes], axis=0)
        return float(z), float(y), float(x)

    @property
    def checksum(self) -> int:
        """One number that changes with any voxel, weight or setting of the dataset."""
        settings = (self.patch_px, self.spatial_dims, self.balanced, self.weights.tolist())
        text = repr((settings, self.augmentation.model_dump(), [v.checksum for v in self.volumes]))
        return zlib.crc32(text.encode())

    def class_fractions(self) -> dict[str, float]:
        """Fraction of all voxels that each class fills."""
        total = sum(v.bits.size for v in self.volumes)
        found = {name: 0 for name in CLASS_NAMES}
        for aims in self._classes:
            for name, places in aims.items():
                found[name] += sum(a.voxels for a in places)
        return {name: count / total for name, count in found.items()}

    def patch(self, rng: np.random.Generator) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
        """An image (1, …) and its masks (6, …), drawn from `rng`."""
        group = int(rng.choice(len(self.groups), p=self.weights))
        volume, place = self._aim(group, rng) if rng.random() < self.balanced else (None, None)
        if volume is None:
            sizes = self._sizes[group]
            volume = self.groups[group][int(rng.choice(len(sizes), p=sizes / sizes.sum()))]
        image, bits = self._cut(volume, place, rng)
        if self.augmentation.turns:
            image, bits = turned(image, bits, volume.isotropic, rng)
        grey = self.augmentation.grey(image.astype(np.float32) / np.float32(255), rng)
        return np.ascontiguousarray(grey)[None], masks_from_bits(np.ascontiguousarray(bits))

    def batch(self, size: int, rng: np.random.Generator) -> Batch:
        """`size` patches drawn from `rng`."""
        patches = [self.patch(rng) for _ in range(size)]
        images = torch.from_numpy(np.stack([image for image, _ in patches]))
        return Batch(images, torch.from_numpy(np.stack([masks for _, masks in patches])).float())

    def batches(self, seed: int, size: int, start: int = 0) -> Iterator[Batch]:
        """Endless batches from step `start` on; batch k is a pure function of (seed, k)."""
        step = start
        while True:
            yield self.batch(size, np.random.default_rng([seed, step]))
            step += 1

    def _aims(self, group: Sequence[LabelledVolume]) -> dict[str, list[_Aims]]:
        """Places per class present in the group."""
        # Any even pick serves: it is no draw that a seed should change.
        rng = np.random.default_rng(0)
        out: dict[str, list[_Aims]] = {}
        for volume in group:
            for k, name in enumerate(CLASS_NAMES):
                flat = np.flatnonzero(volume.bits & np.uint8(1 << k))
                if len(flat) == 0:
                    continue
                some = flat if len(flat) <= AIMS else rng.choice(flat, AIMS, replace=False, shuffle=False)
                places = np.stack(np.unravel_index(some, volume.bits.shape), axis=1).astype(np.int32)
                out.setdefault(name, []).append(_Aims(volume, places, len(flat)))
        return out

    def _aim(self, group: int, rng: np.random.Generator) -> tuple[LabelledVolume | None, NDArray[np.int32] | None]:
        """A volume and a voxel of a class picked evenly; nothing where the group holds no class at all."""
        classes = self._classes[group]
        if not classes:
            return None, None
        aims = classes[list(classes)[int(rng.integers(len(classes)))]]
        voxels = np.array([a.voxels for a in aims], float)
        aim = aims[int(rng.choice(len(aims), p=voxels / voxels.sum()))]
        return aim.volume, aim.places[rng.integers(len(aim.places))]

    def _planes(self, volume: LabelledVolume) -> list[int]:
        """Axes to cut across: those that leave sections of at least half a patch, else the best one there is.

        A thin block cut across its long axes would give patches that are mostly mirror images.
        """
        axes = ["zyx".index(plane) for plane in volume.planes]
        sides = {axis: min(n for k, n in enumerate(volume.image.shape) if k != axis) for axis in axes}
        wide = [axis for axis in axes if 2 * sides[axis] >= self.patch_px]
        return wide or [max(axes, key=lambda axis: sides[axis])]

    def _cut(
        self, volume: LabelledVolume, place: NDArray[np.int32] | None, rng: np.random.Generator
    ) -> tuple[NDArray, NDArray]:
        """Image and bits of one patch: holding `place` where it is given, else anywhere in the volume."""
        side = self.augmentation.crop_px(self.patch_px, rng) if self.spatial_dims == 2 else self.patch_px
        shape = [side] * 3
        plane = 0
        if self.spatial_dims == 2:
            planes = self._planes(volume)
            plane = planes[int(rng.integers(len(planes)))]
            shape[plane] = 1
        box = tuple(
            _interval(size, length, None if place is None else int(place[axis]), rng)
            for axis, (size, length) in enumerate(zip(shape, volume.image.shape, strict=True))
        )
        image, bits = _filled(volume.image[box], shape), _filled(volume.bits[box], shape)
        if self.spatial_dims == 2:
            image, bits = resized(image.squeeze(plane), bits.squeeze(plane), self.patch_px)
        return image, bits


def _interval(size: int, length: int, inside: int | None, rng: np.random.Generator) -> slice:
    """`size` voxels of an axis with `length`, holding voxel `inside`; the whole axis where it is shorter."""
    if size >= length:
        return slice(0, length)
    low, high = 0, length - size
    if inside is not None:
        low, high = max(low, inside - size + 1), min(high, inside)
    start = int(rng.integers(low, high + 1))
    return slice(start, start + size)


def _filled(array: NDArray, shape: Sequence[int]) -> NDArray:
    """The array mirrored at its far ends up to `shape`."""
    missing = [(0, wanted - have) for wanted, have in zip(shape, array.shape, strict=True)]
    return np.pad(array, missing, mode="symmetric") if any(after for _, after in missing) else array

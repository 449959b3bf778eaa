"""Endless patches for training, drawn from labelled volumes with every class in view."""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from .augmentation import Augmentation, resized, turned
from .classes import CLASS_NAMES
from .labelled_volume import ISOTROPY, LabelledVolume, Source
from .rescaling import LARGEST_RESCALE, SAME_SIZE
from .settings import SemanticTask, Task
from .tasks import targets_of

# Voxels remembered per class and volume to aim patches at. More only costs memory.
AIMS = 50_000
# Volumes whose voxel sizes differ by more than this factor are not the same scale of image.
SAME_SCALE = 1.25


@dataclass(frozen=True)
class Batch:
    """Images float32 (n, 1, …) from 0 to 1, before augmentation, and targets float32 (n, channels, …), NaN where
    nobody knows."""

    images: torch.Tensor
    masks: torch.Tensor


class PatchSource(Protocol):
    """What a training draws its patches from."""

    task: Task
    patch_shape: tuple[int, ...]
    spatial_dims: int

    @property
    def voxel_size_nm(self) -> tuple[float, float, float]:
        """Voxel size of the patches, z, y, x."""

    @property
    def checksum(self) -> int:
        """One number that changes with any voxel, weight or setting."""

    def record(self) -> dict[str, object]:
        """What is to be remembered of the data, as JSON."""

    def batches(self, seed: int, size: int, start: int = 0, part: tuple[int, int] = (0, 1)) -> Iterator[Batch]:
        """Endless batches from step `start` on; batch k is a pure function of (seed, k).

        `part` (i, n) gives only patches i, i + n, i + 2n … of each batch, for one of n processes.
        """


@dataclass(frozen=True)
class _Aims:
    """Places (k, 3) of one class in one volume, picked evenly among all of its voxels."""

    volume: LabelledVolume
    places: NDArray[np.int32]
    voxels: int


class SegmentationDataset:
    """Patches of a mixture of groups of labelled volumes, with the targets of `task`.

    A patch takes its group by weight. With probability `balanced` it then picks one of the classes present in
    the group, each as often as any other, and one of that class's voxels, which lies anywhere in the patch;
    otherwise it lies anywhere in the group. So a class that fills a thousandth of the tissue is learnt too.
    In 2D a patch is cut across z, or across any axis where the volume allows it. A 3D patch has `depth_px` sections
    (None: as many as it is wide).

    With `voxel_size_nm` (z, y, x) patches have that voxel size, and volumes of up to half or twice as large voxels are
    brought to it; without, all volumes must have much the same, whose median it then is.

    Nothing is drawn twice: patch k of step s of a seed comes from a generator of its own.
    """

    def __init__(
        self,
        groups: Sequence[Sequence[LabelledVolume]],
        patch_px: int = 256,
        weights: Sequence[float] | None = None,
        spatial_dims: int = 2,
        balanced: float = 0.5,
        augmentation: Augmentation | None = None,
        task: Task | None = None,
        depth_px: int | None = None,
        voxel_size_nm: tuple[float, float, float] | None = None,
    ) -> None:
        """Raises ValueError for no volumes, weights that do not fit, volumes of another scale or without the labels
        that the task needs, or 3D patches from single slices."""
        self.groups = [list(group) for group in groups]
        self.weights = np.ones(len(self.groups)) if weights is None else np.asarray(weights, float)
        self.spatial_dims, self.balanced, self.task = spatial_dims, balanced, task or SemanticTask()
        self.patch_shape: tuple[int, ...] = (
            (patch_px,) * 2 if spatial_dims == 2 else (depth_px or patch_px, *(patch_px,) * 2)
        )
        self.augmentation = augmentation or Augmentation()
        self._voxel_size_nm = voxel_size_nm
        self._check()
        self.weights = self.weights / self.weights.sum()
        self._classes = [self._aims(group) for group in self.groups]
        self._sizes = [np.array([v.image.size for v in g], float) for g in self.groups]

    def _check(self) -> None:
        if not self.groups or not all(self.groups):
            raise ValueError("a training set needs at least one labelled volume in each of its groups")
        if min(self.patch_shape) < 1:
            raise ValueError(f"patch_px is {self.patch_shape[-1]}; it must be at least 1")
        if len(self.weights) != len(self.groups) or not (self.weights > 0).all():
            raise ValueError(f"weights {self.weights.tolist()} must be {len(self.groups)} positive numbers")
        sizes = np.array([v.voxel_size_nm for v in self.volumes])
        spread = sizes.max(axis=0) / sizes.min(axis=0)
        if self._voxel_size_nm is None and (spread > SAME_SCALE)[-self.spatial_dims :].any():
            raise ValueError(
                f"the training volumes' voxel sizes run from {sizes.min(axis=0).tolist()} to "
                f"{sizes.max(axis=0).tolist()} nm (z, y, x); one network needs images of one scale"
            )
        for volume in self.volumes:
            self._check_volume(volume)

    def _check_volume(self, volume: LabelledVolume) -> None:
        factors = np.array(volume.voxel_size_nm) / np.array(self._voxel_size_nm or volume.voxel_size_nm)
        if (np.maximum(factors, 1 / factors) > LARGEST_RESCALE * (1 + 1e-6))[-self.spatial_dims :].any():
            raise ValueError(
                f"{volume.name} has voxels of {list(volume.voxel_size_nm)} nm (z, y, x), more than a factor of "
                f"{LARGEST_RESCALE:g} from the {list(self.voxel_size_nm)} nm of the patches"
            )
        if self.spatial_dims == 3 and not volume.contiguous:
            raise ValueError(f"{volume.name} holds single slices, from which no 3D patch can be cut")
        if self.task.labels == "instances" and volume.instances is None:
            raise ValueError(f"{volume.name} has no ids of cells, which the task {self.task.kind} is learnt from")

    @classmethod
    def from_sources(
        cls,
        sources: Sequence[Source],
        patch_px: int = 256,
        spatial_dims: int = 2,
        balanced: float = 0.5,
        augmentation: Augmentation | None = None,
        task: Task | None = None,
    ) -> SegmentationDataset:
        """One group per source, mixed by the sources' weights. Raises what loading raises."""
        instances = task is not None and task.labels == "instances"
        return cls(
            [source.load(instances) for source in sources],
            patch_px,
            [source.weight for source in sources],
            spatial_dims,
            balanced,
            augmentation,
            task,
        )

    @property
    def volumes(self) -> list[LabelledVolume]:
        return [volume for group in self.groups for volume in group]

    @property
    def voxel_size_nm(self) -> tuple[float, float, float]:
        """Voxel size the patches have: the one stated, else the median over volumes, per axis z, y, x."""
        z, y, x = self._voxel_size_nm or np.median([v.voxel_size_nm for v in self.volumes], axis=0)
        return float(z), float(y), float(x)

    @property
    def checksum(self) -> int:
        """One number that changes with any voxel, weight or setting of the dataset."""
        settings = (self.patch_shape, self.spatial_dims, self.balanced, self.weights.tolist(), self._voxel_size_nm)
        text = repr((settings, self.augmentation.model_dump(), self.task, [v.checksum for v in self.volumes]))
        return zlib.crc32(text.encode())

    def record(self) -> dict[str, object]:
        """Names of the volumes, and the classes' shares in them."""
        return {"training_volumes": [v.name for v in self.volumes], "class_fractions": self.class_fractions()}

    def class_fractions(self) -> dict[str, float]:
        """Fraction of all voxels that each class that patches are aimed at fills."""
        total = sum(v.bits.size for v in self.volumes)
        found = {name: 0 for name in self._aimed}
        for aims in self._classes:
            for name, places in aims.items():
                found[name] += sum(a.voxels for a in places)
        return {name: count / total for name, count in found.items()}

    def patch(self, rng: np.random.Generator) -> tuple[NDArray[np.float32], NDArray]:
        """An image (1, …) and the task's targets (channels, …), drawn from `rng`."""
        group = int(rng.choice(len(self.groups), p=self.weights))
        volume, place = self._aim(group, rng) if rng.random() < self.balanced else (None, None)
        if volume is None:
            sizes = self._sizes[group]
            volume = self.groups[group][int(rng.choice(len(sizes), p=sizes / sizes.sum()))]
        image, labels = self._cut(volume, place, rng)
        if self.augmentation.turns:
            image, labels = turned(image, labels, len(set(self.patch_shape)) == 1 and self._isotropic, rng)
        grey = self.augmentation.grey(image.astype(np.float32) / np.float32(255), rng)
        targets = targets_of(self.task, np.ascontiguousarray(labels), self.voxel_size_nm)
        if isinstance(self.task, SemanticTask) and not set(self.task.classes) <= set(volume.drawn):
            targets = targets.astype(np.float32)
            targets[[name not in volume.drawn for name in self.task.classes]] = np.nan
        return np.ascontiguousarray(grey)[None], targets

    @property
    def _isotropic(self) -> bool:
        return max(self.voxel_size_nm) <= min(self.voxel_size_nm) * (1 + ISOTROPY)

    def batch(self, size: int, seed: Sequence[int], part: tuple[int, int] = (0, 1)) -> Batch:
        """Patches of a batch of `size`, patch k drawn from the generator of (*seed, k)."""
        first, step = part
        patches = [self.patch(np.random.default_rng([*seed, k])) for k in range(first, size, step)]
        images = torch.from_numpy(np.stack([image for image, _ in patches]))
        return Batch(images, torch.from_numpy(np.stack([masks for _, masks in patches])).float())

    def batches(self, seed: int, size: int, start: int = 0, part: tuple[int, int] = (0, 1)) -> Iterator[Batch]:
        """Endless batches from step `start` on, as `PatchSource` says."""
        for step in itertools.count(start):
            yield self.batch(size, (seed, step), part)

    @property
    def _aimed(self) -> tuple[str, ...]:
        """A network that tells cells apart is shown all organelles, one that finds some classes just those."""
        return self.task.channels if isinstance(self.task, SemanticTask) else CLASS_NAMES

    def _aims(self, group: Sequence[LabelledVolume]) -> dict[str, list[_Aims]]:
        """Places per class present in the group."""
        # Any even pick serves: it is no draw that a seed should change.
        rng = np.random.default_rng(0)
        out: dict[str, list[_Aims]] = {}
        for volume in group:
            for name in self._aimed:
                flat = np.flatnonzero(volume.bits & np.uint8(1 << CLASS_NAMES.index(name)))
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
        wide = [axis for axis in axes if 2 * sides[axis] >= self.patch_shape[-1]]
        return wide or [max(axes, key=lambda axis: sides[axis])]

    def _cut(
        self, volume: LabelledVolume, place: NDArray[np.int32] | None, rng: np.random.Generator
    ) -> tuple[NDArray, NDArray]:
        """Image and labels of one patch: holding `place` where it is given, else anywhere in the volume."""
        zoom = self.augmentation.scale(rng)
        plane = None
        if self.spatial_dims == 2:
            planes = self._planes(volume)
            plane = planes[int(rng.integers(len(planes)))]
        sides = iter(self.patch_shape)
        shape = [
            1 if axis == plane else max(1, round(next(sides) * zoom * self._factor(volume, axis))) for axis in range(3)
        ]
        box = tuple(
            _interval(size, length, None if place is None else int(place[axis]), rng)
            for axis, (size, length) in enumerate(zip(shape, volume.image.shape, strict=True))
        )
        labels = volume.bits if self.task.labels == "bits" else volume.instances
        assert labels is not None
        image, labels = _filled(volume.image[box], shape), _filled(labels[box], shape)
        if plane is not None:
            image, labels = image.squeeze(plane), labels.squeeze(plane)
        return resized(image, labels, self.patch_shape)

    def _factor(self, volume: LabelledVolume, axis: int) -> float:
        """Voxels of the volume per voxel of a patch along an axis."""
        if self._voxel_size_nm is None:
            return 1.0
        factor = self._voxel_size_nm[axis] / volume.voxel_size_nm[axis]
        return 1.0 if abs(factor - 1) <= SAME_SIZE else factor


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

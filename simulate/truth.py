"""A block's exact truth as the microscope and the annotators meet it: four arrays on the same voxels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from neuropil.voxelize.volume import Volume


@dataclass(frozen=True)
class Truth:
    """Material ids (uint8), bilayer fraction (uint8, 255 = full), cell ids (uint32, 0 outside) and class ids
    (uint8), each z, y, x. Raises ValueError when shapes, voxel sizes or origins differ."""

    materials: Volume
    membrane: Volume
    instances: Volume
    classes: Volume

    def __post_init__(self) -> None:
        for name in ("membrane", "instances", "classes"):
            volume: Volume = getattr(self, name)
            for what in ("shape_zyx", "voxel_size_nm", "origin_nm"):
                mine, theirs = getattr(volume, what), getattr(self.materials, what)
                if mine != theirs:
                    raise ValueError(f"{name} has {what} {mine}, materials {theirs}; they must agree")

    def crop(self, start: Sequence[int], shape: Sequence[int]) -> Truth:
        """The box of `shape` voxels (z, y, x) from voxel `start` on, as views."""
        return Truth(*(v.crop(start, shape) for v in (self.materials, self.membrane, self.instances, self.classes)))

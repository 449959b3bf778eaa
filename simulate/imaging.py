"""Every microscope there is, told apart by `modality`, and one call each to image a block and to place its labels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
from pydantic import Discriminator, Tag, TypeAdapter

from neuropil.voxelize.volume import Triple, Volume

from . import fibsem, sstem, xray
from .fibsem import Micrograph, image_fibsem
from .fluorescence import Confocal, LightMicroscope, TwoPhoton, Widefield, image_fluorescence, sample_grid
from .materials import MaterialTable, read_asset
from .microscope import BlockFaceSem, FibSem, SbfSem
from .section_artefacts import reach_nm
from .sstem import SsTem, image_sstem, labels_on_sections
from .swc2img import Swc2Img, image_swc2img
from .xray import XRayAbsorption, XRayPhase, XRayTomograph, image_xray


def _modality(value: Any) -> Any:
    """A microscope's modality; one that states none is a FIB-SEM, as all were at first."""
    stated = value.get("modality", "fibsem") if isinstance(value, dict) else getattr(value, "modality", "fibsem")
    return stated


Microscope = Annotated[
    Annotated[FibSem, Tag("fibsem")]
    | Annotated[SbfSem, Tag("sbfsem")]
    | Annotated[SsTem, Tag("sstem")]
    | Annotated[Widefield, Tag("widefield")]
    | Annotated[Confocal, Tag("confocal")]
    | Annotated[TwoPhoton, Tag("two_photon")]
    | Annotated[XRayAbsorption, Tag("xray_absorption")]
    | Annotated[XRayPhase, Tag("xray_phase")]
    | Annotated[Swc2Img, Tag("swc2img")],
    Discriminator(
        _modality,
        custom_error_type="modality",
        custom_error_message="modality has to be one of fibsem, sbfsem, sstem, widefield, confocal, two_photon, "
        "xray_absorption, xray_phase and swc2img",
    ),
]


def load_microscope(name_or_path: str | Path) -> Microscope:
    """Microscope by asset name or YAML path; raises FileNotFoundError or pydantic's ValidationError."""
    return TypeAdapter(Microscope).validate_python(read_asset("microscopes", name_or_path)[0])


def image_block(
    materials: Volume,
    membrane: Volume,
    instances: Volume,
    table: MaterialTable,
    microscope: Microscope,
    rng: np.random.Generator,
    stain_scale: npt.NDArray[np.floating] | None = None,
    out: npt.NDArray[np.uint8] | None = None,
) -> Micrograph:
    """The micrograph that any of the microscopes takes of a block; see its own function for what comes back.

    out: array of the block's shape for a block-face SEM to write its image to, such as one on disk; no other takes it.
    The image's voxels are the microscope's: those of the block, or sections. `labels_on_image` puts labels on them.
    """
    block = (materials, membrane, instances, table)
    if isinstance(microscope, SsTem):
        return image_sstem(*block, microscope, rng, stain_scale)
    if isinstance(microscope, LightMicroscope):
        return image_fluorescence(*block, microscope, rng, stain_scale)
    if isinstance(microscope, XRayTomograph):
        return image_xray(*block, microscope, rng, stain_scale)
    if isinstance(microscope, Swc2Img):
        return image_swc2img(instances.with_data(np.asarray(instances.data) > 0), microscope, rng)
    return image_fibsem(*block, microscope, rng, stain_scale, out)


def labels_on_image(labels: Volume, micrograph: Micrograph, microscope: Microscope) -> Volume:
    """Labels (z, y, x) of the block that a micrograph shows, on the micrograph's voxels."""
    if isinstance(microscope, SsTem):
        return labels_on_sections(labels, microscope, micrograph.parameters["key"])
    if isinstance(microscope, LightMicroscope):
        return sample_grid(microscope, labels).labels(labels)
    if isinstance(microscope, XRayTomograph):
        return xray.sample_grid(microscope, labels).labels(labels)
    return labels


def blur_reach(microscope: Microscope, voxel_size_nm: Triple) -> tuple[int, int, int]:
    """How many voxels (z, y, x) away materials still change an electron micrograph: the margin a tile needs.

    Raises ValueError for other microscopes, whose blocks are imaged whole.
    """
    if isinstance(microscope, SsTem):
        return sstem.blur_reach(microscope, voxel_size_nm)
    if not isinstance(microscope, BlockFaceSem):
        raise ValueError(f"a microscope of modality {microscope.modality} takes no tiles; it images a block whole")
    return fibsem.blur_reach(microscope, voxel_size_nm)


def label_reach_nm(microscope: Microscope) -> Triple:
    """How far (z, y, x) from its place in the block a label may be found in the image."""
    if isinstance(microscope, SsTem):
        in_plane = reach_nm(microscope.folds, microscope.tears, microscope.misalignment)
        return sstem.cut_reach_nm(microscope), in_plane, in_plane
    return 0.0, 0.0, 0.0


@dataclass(frozen=True)
class ImageGrid:
    """The voxels of the images of a block that begins at 0: their number and their size in nm (z, y, x).

    block_slices: how many of the block's slices one of the image's spans, 1 where they are the same.
    """

    shape: tuple[int, int, int]
    voxel_size_nm: Triple
    block_slices: float

    @classmethod
    def of(cls, microscope: Microscope, shape: Sequence[int], voxel_size_nm: Triple) -> ImageGrid:
        """The grid on which an electron microscope images a block of `shape` voxels.

        Raises ValueError where the block holds no whole section, or the microscope is none for electrons.
        """
        depth, height, width = shape
        if isinstance(microscope, BlockFaceSem):
            return cls((depth, height, width), voxel_size_nm, 1.0)
        if isinstance(microscope, SsTem):
            count = len(sstem.sections_within(microscope, 0.0, depth * voxel_size_nm[0]))
            thickness = microscope.section_thickness_nm
            return cls((count, height, width), (thickness, *voxel_size_nm[1:]), thickness / voxel_size_nm[0])
        raise ValueError(
            f"blocks are written with the micrograph of an electron microscope, not of one of modality "
            f"{microscope.modality}; image them with neuropil image"
        )

    def slices_of_block(self, first: int, count: int) -> tuple[int, int]:
        """First slice of the block, and how many, that these of the image nominally show."""
        low = math.floor(first * self.block_slices + 1e-6)
        return low, math.ceil((first + count) * self.block_slices - 1e-6) - low

"""Every microscope there is, told apart by `modality`, and one call each to image a block and to place its labels."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
from pydantic import Discriminator, Tag, TypeAdapter

from neuropil.voxelize.volume import Triple, Volume

from . import fibsem, sstem
from .fibsem import Micrograph, image_fibsem
from .materials import MaterialTable, read_asset
from .microscope import FibSem
from .sstem import SsTem, image_sstem, labels_on_sections


def _modality(value: Any) -> Any:
    """A microscope's modality; one that states none is a FIB-SEM, as all were at first."""
    stated = value.get("modality", "fibsem") if isinstance(value, dict) else getattr(value, "modality", "fibsem")
    return stated


Microscope = Annotated[
    Annotated[FibSem, Tag("fibsem")] | Annotated[SsTem, Tag("sstem")],
    Discriminator(_modality),
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
) -> Micrograph:
    """The micrograph that any of the microscopes takes of a block; see its own function for what comes back.

    The image's voxels are the microscope's: those of the block, or sections. `labels_on_image` puts labels on them.
    """
    block = (materials, membrane, instances, table)
    if isinstance(microscope, SsTem):
        return image_sstem(*block, microscope, rng, stain_scale)
    return image_fibsem(*block, microscope, rng, stain_scale)


def labels_on_image(labels: Volume, micrograph: Micrograph, microscope: Microscope) -> Volume:
    """Labels (z, y, x) of the block that a micrograph shows, on the micrograph's voxels."""
    if isinstance(microscope, SsTem):
        return labels_on_sections(labels, microscope, micrograph.parameters["key"])
    return labels


def blur_reach(microscope: Microscope, voxel_size_nm: Triple) -> tuple[int, int, int]:
    """How many voxels (z, y, x) away materials still change a voxel's grey: the margin a tile needs."""
    if isinstance(microscope, SsTem):
        return sstem.blur_reach(microscope, voxel_size_nm)
    return fibsem.blur_reach(microscope, voxel_size_nm)

"""What a calibration sets, the tissue it looks at, and how that is shown and drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from neuropil.voxelize.volume import Volume

from .annotator import AnnotatorStyle, annotate
from .appearance import Image, Run
from .fibsem import Micrograph
from .imaging import image_block, labels_on_image
from .materials import PLASMA_MEMBRANE_NM, MaterialTable, StructureTable
from .microscope import FibSem, SbfSem
from .profile import Profile, Stain
from .sstem import SsTem
from .truth import Truth

# How many times thicker the thicker plasma membranes of a specimen are.
THICK = 1.75


@dataclass(frozen=True)
class Specimen:
    """A block of virtual tissue as image and annotators meet it.

    thick_membrane: as truth.membrane, with plasma membranes THICK times as thick; between the two a thickness is
        interpolated. stain_scale: by cell id, as `image_fibsem` takes it.
    """

    truth: Truth
    thick_membrane: Volume
    stain_scale: npt.NDArray[np.float32]


@dataclass(frozen=True)
class Look:
    """All that a calibration sets."""

    microscope: FibSem | SbfSem | SsTem
    table: MaterialTable
    plasma_membrane_nm: float
    style: AnnotatorStyle

    def profile(self, name: str, provenance: Mapping[str, Any]) -> Profile:
        """The look as a profile, numbers rounded to what they mean."""
        stains = {
            key: Stain(
                fraction=round(material.stain_fraction, 5),
                fine_grain_sd=round(material.fine_grain_sd, 4),
                coarse_grain_sd=round(material.coarse_grain_sd, 4),
                between_cells_cv=round(material.between_cells_cv, 4),
                lining=round(material.lining, 3),
            )
            for key, material in self.table.materials.items()
            if material.stain_fraction > 0.0
        }
        return Profile(
            name=name,
            microscope=self.microscope.model_copy(update={"name": name}),
            fine_grain_nm=round(self.table.fine_grain_nm, 2),
            coarse_grain_nm=round(self.table.coarse_grain_nm, 2),
            plasma_membrane_nm=round(self.plasma_membrane_nm, 2),
            stains=stains,
            annotator=self.style,
            provenance=dict(provenance),
        )


def lined_membrane(specimen: Specimen, look: Look) -> Volume:
    """Bilayer fraction with plasma membranes as thick as the look shows them."""
    thin, thick = (v.data.astype(np.float32) for v in (specimen.truth.membrane, specimen.thick_membrane))
    weight = (look.plasma_membrane_nm / PLASMA_MEMBRANE_NM - 1.0) / (THICK - 1.0)
    return specimen.truth.membrane.with_data(np.rint(thin + weight * (thick - thin)).astype(np.uint8))


def photograph(specimen: Specimen, look: Look, seed: int) -> Micrograph:
    """A specimen as the look's instrument shows it."""
    truth, membrane = specimen.truth, lined_membrane(specimen, look)
    rng = np.random.default_rng(seed)
    return image_block(
        truth.materials, membrane, truth.instances, look.table, look.microscope, rng, specimen.stain_scale
    )


def annotation(
    specimen: Specimen, structures: StructureTable, shot: Micrograph, look: Look, seed: int, drawn: int
) -> Image | None:
    """What annotators draw of the classes `drawn` (bits) on a micrograph, (z, y, x); None for no class."""
    if not drawn:
        return None
    rng = np.random.default_rng(seed + 1)
    field = annotate(specimen.truth.classes, specimen.truth.instances, structures, look.style, rng)
    return np.asarray(labels_on_image(field, shot, look.microscope).data & np.uint8(drawn))


def observe(specimens: Sequence[Specimen], structures: StructureTable, look: Look, drawn: int, seed: int) -> list[Run]:
    """The specimens as the look shows them, with labels where `drawn` has any bit."""
    runs = []
    for k, specimen in enumerate(specimens):
        shot = photograph(specimen, look, seed + k)
        runs.append(Run(shot.image.data, annotation(specimen, structures, shot, look, seed + k, drawn)))
    return runs

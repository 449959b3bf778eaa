"""A calibrated profile: one instrument, one staining and one annotators' hand, fitted to real images."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from .annotator import AnnotatorStyle
from .imaging import Microscope
from .materials import PLASMA_MEMBRANE_NM, MaterialTable, StructureTable, read_asset


class Stain(BaseModel):
    """What a profile sets of a material: its mass fraction of metal, how unevenly that is spread, its lining."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    fraction: Annotated[float, Field(ge=0.0, le=0.5)]
    fine_grain_sd: Annotated[float, Field(ge=0.0, le=1.5)]
    coarse_grain_sd: Annotated[float, Field(ge=0.0, le=1.5)]
    between_cells_cv: Annotated[float, Field(ge=0.0, le=1.0)]
    lining: Annotated[float, Field(ge=0.0, le=1.0)] = 1.0


class Profile(BaseModel):
    """Microscope, stains by material name, grain lengths in nm, annotators' style, and where it all comes from.

    plasma_membrane_nm: how thick a cell's membrane looks, with the stained proteins on its faces.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    microscope: Microscope
    fine_grain_nm: Annotated[float, Field(gt=0.0)]
    coarse_grain_nm: Annotated[float, Field(gt=0.0)]
    plasma_membrane_nm: Annotated[float, Field(ge=4.0, le=30.0)] = PLASMA_MEMBRANE_NM
    stains: dict[str, Stain]
    annotator: AnnotatorStyle
    provenance: dict[str, Any]

    def stained(self, table: MaterialTable) -> MaterialTable:
        """The material table with this profile's stains; ValueError for a material that it does not have."""
        changed = {}
        for name, stain in self.stains.items():
            material = table[name].with_stain_fraction(stain.fraction)
            changed[name] = material.model_copy(update=stain.model_dump(exclude={"fraction"}))
        lengths = {"fine_grain_nm": self.fine_grain_nm, "coarse_grain_nm": self.coarse_grain_nm}
        return table.with_materials(changed).model_copy(update=lengths)

    def lined(self, structures: StructureTable) -> StructureTable:
        """The structure table with plasma membranes as thick as this profile shows them."""
        return structures.with_plasma_membranes(self.plasma_membrane_nm)


def load_profile(name_or_path: str | Path) -> Profile:
    """Profile by asset name or YAML path; raises FileNotFoundError or pydantic's ValidationError."""
    return Profile.model_validate(read_asset("profiles", name_or_path)[0])

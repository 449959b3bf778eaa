"""What a user may ask of a block of tissue."""

from __future__ import annotations

from functools import cache
from importlib import resources
from typing import Annotated, Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, model_validator

Fraction = Annotated[float, Field(ge=0, le=0.9)]
Extent = Annotated[float, Field(gt=0.2, le=20)]


class Enrichment(BaseModel):
    """Rare structures over their natural abundance, for training; all 1 is the tissue as it is."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    synapses: float = Field(1.0, ge=0, le=5, description="spines per µm of dendrite, and contacts made synapses")
    mitochondria: float = Field(1.0, ge=0, le=5, description="share of a neurite's length that holds one")
    myelin: float = Field(1.0, ge=0, le=20, description="myelinated axons")
    vesicles: float = Field(1.0, ge=0, le=4, description="vesicles in a bouton")


class TissueParameters(BaseModel):
    """A neuropil block: its size, its packing and its contents. Lengths as the name's unit says.

    `preset` names a tissue of assets/tissues, whose values hold for every key that is not given.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    preset: str = "rodent_ca1"
    size_um: tuple[Extent, Extent, Extent] = Field((3.0, 3.0, 1.5), description="x, y, z")
    margin_um: float = Field(0.12, ge=0, le=1, description="tissue built beyond each face, so that no face shows")
    grid_spacing_nm: float = Field(35, ge=10, le=80, description="of the grid on which surfaces are found")

    extracellular_fraction: float = Field(
        0.08, ge=0.02, le=0.3, description="share of the extracellular space: 0.05 fixed to 0.20 in vivo"
    )
    filled_at_extracellular_fraction: float | None = Field(
        None,
        ge=0.02,
        le=0.3,
        description="organelles are placed in cells this far apart, which then swell or shrink to the share asked for",
    )
    gap_nm: float = Field(2, ge=1, le=60, description="least distance between two cells")
    widest_void_radius_um: float = Field(0.065, ge=0.05, le=0.5, description="voids wider than this get an axon")
    smallest_lobe_um: float = Field(0.085, ge=0.03, le=0.5, description="radius of voids that boutons grow into")
    axon_comfort_um: float = Field(0.2, ge=0.05, le=0.5, description="clearance that a growing axon looks for")
    thinnest_radius_um: float = Field(
        0.05, ge=0.02, le=0.2, description="of any neurite before inflation, but where an axon squeezes through"
    )

    dendrite_class: str = "spiny_dendrite"
    axon_class: str = "unmyelinated_axon"
    myelinated_class: str = "myelinated_axon"
    astrocyte_class: str = "astrocyte_process"
    dendrite_shaft_fraction: Fraction = Field(0.3, description="share of the block that dendrite shafts take")
    bouton_fraction: Fraction = Field(0.26, description="share of the block that boutons look for room for")
    boutons_before_spines: Fraction = Field(
        0.45, description="share of the boutons, the largest ones, that take their room before spines do"
    )
    astrocyte_fraction: Fraction = Field(0.08, description="share of the astrocyte, branches and leaflets")
    myelinated_axons: int = Field(0, ge=0, le=20, description="that cross the block, before enrichment")

    synapse_probability: float = Field(0.95, ge=0, le=1, description="that a spine head facing an axon has a synapse")
    shaft_synapse_probability: float = Field(0.25, ge=0, le=1, description="that a free bouton makes one with a shaft")
    vesicle_density_per_um3: float = Field(
        3000, ge=0, le=9000, description="of a bouton's volume, within reach of the active zone"
    )
    nodes_of_ranvier_per_um: float = Field(0.01, ge=0, le=1, description="along myelinated axons")
    enrichment: Enrichment = Enrichment()

    @model_validator(mode="before")
    @classmethod
    def _from_preset(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        name = given.get("preset", cls.model_fields["preset"].default)
        if name not in tissue_presets():
            raise ValueError(f"preset is {name!r}, but allowed are {', '.join(tissue_presets())}")
        return {**tissue_preset(name)["parameters"], "preset": name, **given}

    @property
    def filling_fraction(self) -> float:
        """The extracellular share at which organelles are placed."""
        at = self.filled_at_extracellular_fraction
        return self.extracellular_fraction if at is None else at

    @property
    def least_sheet_um(self) -> float:
        """The narrowest sheets that are sure to keep gap_nm: linear pieces between the grid's nodes cut corners."""
        return (1.1 * self.gap_nm + 1.5) / 1000


def tissue_presets() -> list[str]:
    """Names of the tissues that come with the project, sorted."""
    names = (entry.name for entry in (resources.files("neuropil.assets") / "tissues").iterdir())
    return sorted(name.removesuffix(".yaml") for name in names if name.endswith(".yaml"))


@cache
def tissue_preset(name: str) -> dict[str, Any]:
    """A shipped tissue: `parameters`, as of TissueParameters, and `targets`, what the real tissue measures."""
    content: dict[str, Any] = yaml.safe_load(
        (resources.files("neuropil.assets") / "tissues" / f"{name}.yaml").read_text(encoding="utf-8")
    )
    return content

"""What a user may ask of a block of tissue."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Fraction = Annotated[float, Field(ge=0, le=0.9)]
Extent = Annotated[float, Field(gt=0.2, le=20)]


class TissueParameters(BaseModel):
    """A neuropil block: its size, its packing and its contents. Lengths as the name's unit says."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    size_um: tuple[Extent, Extent, Extent] = Field((3.0, 3.0, 1.5), description="x, y, z")
    margin_um: float = Field(0.12, ge=0, le=1, description="tissue built beyond each face, so that no face shows")
    grid_spacing_nm: float = Field(35, ge=10, le=80, description="of the grid on which surfaces are found")

    gap_nm: float = Field(5, ge=2, le=60, description="least distance between two cells: the extracellular space")
    growth_limit_nm: float = Field(200, ge=0, le=400, description="how far a neurite may swell into a void")
    widest_void_radius_um: float = Field(0.065, ge=0.05, le=0.5, description="voids wider than this get an axon")
    thinnest_radius_um: float = Field(0.05, ge=0.02, le=0.2, description="of any neurite before inflation")
    shortest_axon_um: float = Field(1.0, ge=0, le=10, description="an axon that ends in the block is at least so long")

    dendrite_class: str = "spiny_dendrite"
    axon_class: str = "unmyelinated_axon"
    myelinated_class: str = "myelinated_axon"
    astrocyte_class: str = "astrocyte_process"
    dendrite_fraction: Fraction = Field(
        0.28, description="share of the block that dendrite shafts take before inflation"
    )
    astrocyte_fraction: Fraction = Field(0.05, description="share that astrocyte branches take before inflation")
    spine_density_scale: float = Field(1.0, ge=0, le=5, description="spines per µm over the class's density")
    myelinated_axons: int = Field(1, ge=0, le=20)

    synapse_probability: float = Field(0.95, ge=0, le=1, description="that a spine head facing an axon has a synapse")
    shaft_synapse_probability: float = Field(0.25, ge=0, le=1, description="that a free bouton makes one with a shaft")
    mitochondria_scale: float = Field(1.0, ge=0, le=5, description="mitochondria over their natural number")
    vesicle_density_per_um3: float = Field(3500, ge=0, le=9000, description="in a bouton, beside the active zone")

    @property
    def flat_gap_um(self) -> float:
        """The gap asked of inflation: linear pieces between the grid's nodes cut corners, so it is 2 nm wider."""
        return (1.1 * self.gap_nm + 2) / 1000

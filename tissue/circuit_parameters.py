"""What a user may ask of a circuit block: whole neurons posed in 50 to 500 µm of space."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from neuropil.morphology.neuron_class import NeuronClass, load_class
from neuropil.morphology.swc import read_swc
from neuropil.morphology.tree import Tree

Extent = Annotated[float, Field(ge=50, le=500)]
Direction = tuple[float, float, float]


class CellGroup(BaseModel):
    """Cells of one class, or copies of one reconstruction, and how they are posed."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    neuron_class: str | None = Field(None, alias="class", description="a shipped class's name, or a class file's path")
    swc: Path | None = Field(None, description="path of a reconstruction in µm")
    count: int | None = Field(None, ge=1, le=100_000, description="somas in the block")
    density_per_mm3: float | None = Field(None, gt=0, le=1e7, description="somas per volume, in place of a count")
    axis: Direction | None = Field(None, description="where `up` is turned to; left out, cells lie in all directions")
    spread_deg: float = Field(15, ge=0, le=180, description="half angle of the cone around `axis` that `up` may lie in")
    up: Direction = Field((0.0, 0.0, 1.0), description="direction, in the cell's own space, of its apical dendrite")

    @model_validator(mode="after")
    def _refuse_contradictions(self) -> Self:
        if (self.neuron_class is None) == (self.swc is None):
            raise ValueError("a group of cells needs either class or swc, one of them")
        if (self.count is None) == (self.density_per_mm3 is None):
            raise ValueError("a group of cells needs either count or density_per_mm3, one of them")
        if not any(self.up) or (self.axis is not None and not any(self.axis)):
            raise ValueError("axis or up is [0, 0, 0], but a direction needs a length")
        return self

    @property
    def name(self) -> str:
        """The class's name or the reconstruction's file name."""
        return Path(self.neuron_class).stem if self.neuron_class is not None else Path(str(self.swc)).stem

    def source(self) -> NeuronClass | Tree:
        """The class or the reconstruction. Raises FileNotFoundError or ValueError, one sentence, where there is none
        or it is no whole cell."""
        if self.neuron_class is not None:
            loaded = load_class(self.neuron_class)
            if loaded.kind != "cell":
                raise ValueError(f"class {loaded.name} is of kind {loaded.kind}, but a circuit is made of kind cell")
            return loaded
        assert self.swc is not None
        tree = read_swc(self.swc)
        if len(tree.roots) != 1:
            raise ValueError(f"{self.swc}: the file holds {len(tree.roots)} trees, but a neuron is one")
        return tree


class Vessels(BaseModel):
    """Capillaries: winding tubes that cross the block."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    volume_share: float = Field(0.012, gt=0, le=0.1, description="of the block; 1/81 by Karbowski 2015")
    radius_um: float = Field(2.5, ge=1, le=10, description="mean over the vessels")


class CircuitParameters(BaseModel):
    """A circuit block: its size, its cells and vessels. Lengths as the name's unit says."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    size_um: tuple[Extent, Extent, Extent] = Field(description="x, y, z")
    cells: tuple[CellGroup, ...] = Field(min_length=1)
    vessels: Vessels | None = None
    min_gap_um: float = Field(0.05, ge=0.01, le=2, description="least distance between two cells")
    neurites_enter: bool = Field(
        True,
        description="a neurite that leaves by a face has a counterpart that enters by the opposite one, of another "
        "neuron, whose soma lies outside: the block is as dense as the middle of a large tissue",
    )
    margin_um: float = Field(5, ge=0, le=50, description="tissue built beyond each face, so that no face shows")

    @model_validator(mode="after")
    def _parts_exist(self) -> Self:
        for group in self.cells:
            try:
                group.source()
            except FileNotFoundError as error:
                # Pydantic gathers ValueErrors only, and adds the place in the file to them.
                raise ValueError(str(error)) from error
        return self

    @property
    def volume_um3(self) -> float:
        """Of the block."""
        x, y, z = self.size_um
        return x * y * z

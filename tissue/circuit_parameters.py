"""What a user may ask of a circuit block: whole neurons posed in 50 to 500 µm of space."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from neuropil.morphology.neuron_class import NeuronClass, load_class
from neuropil.morphology.swc import read_swc
from neuropil.morphology.tree import Tree

# Room between two somas, and between a soma and a vessel, so that neurites can pass.
SOMA_GAP_UM = 1.0
# Balls put down at random, one by one, come to a stop at this share of the volume (Widom 1966, J. Chem. Phys. 44:3888);
# where their sizes differ and the largest come first, at a little more.
JAMMED_SHARE = 0.382
MORE_WITH_SIZES = 1.25

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
    def _somas_exist_and_fit(self) -> Self:
        asked, taken, widest = 0.0, 0.0, 0.0
        for group in self.cells:
            try:
                source = group.source()
            except FileNotFoundError as error:
                # Pydantic gathers ValueErrors only, and adds the place in the file to them.
                raise ValueError(str(error)) from error
            count = group.count or (group.density_per_mm3 or 0) * self.volume_um3 * 1e-9
            radius = _soma_radius_um(source) + SOMA_GAP_UM / 2
            asked, taken, widest = asked + count, taken + count * 4 / 3 * np.pi * radius**3, max(widest, radius)
        # Only their centres have to lie in the block, but where neurites enter, somas come in by the opposite face too.
        beyond = 0 if self.neurites_enter else 2 * widest
        room = MORE_WITH_SIZES * JAMMED_SHARE * float(np.prod([length + beyond for length in self.size_um]))
        if taken > room:
            raise ValueError(self.too_many(round(asked), int(asked * room / taken)))
        return self

    def too_many(self, asked: int, fit: int) -> str:
        """A sentence for somas of which fewer fit than are asked for."""
        x, y, z = self.size_um
        return (
            f"cells asks for {asked} somas within {x:g} x {y:g} x {z:g} µm, but only about {fit} fit without "
            "touching; ask for fewer, or enlarge size_um"
        )

    @property
    def volume_um3(self) -> float:
        """Of the block."""
        x, y, z = self.size_um
        return x * y * z


def _soma_radius_um(source: NeuronClass | Tree) -> float:
    """The typical one of a class, that of the root of a reconstruction."""
    if isinstance(source, Tree):
        return float(source.radii_um[0])
    assert source.arbor is not None
    return float((source.arbor.soma_radius_um or source.shaft_radius_um).quantile(0.5))

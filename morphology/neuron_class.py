"""A class of neurite or neuron: the distributions its members are grown from, as a typed YAML file."""

from __future__ import annotations

import re
from importlib import resources
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from .distribution import Distribution
from .tree import APICAL_DENDRITE, AXON, DENDRITE, GLIA
from .typed_yaml import read_typed_yaml

SWC_TYPE_OF_KIND = {"axon": AXON, "dendrite": DENDRITE, "apical_dendrite": APICAL_DENDRITE, "glia": GLIA}


class _Group(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Varicosity(_Group):
    """Swellings along an axon: ellipsoids of the given length and greatest radius on the shaft."""

    spacing_um: Distribution
    radius_um: Distribution
    length_um: Distribution


class Spine(_Group):
    """Spines of a dendrite: a neck of even radius that ends in a round head.

    `length_um` runs from the shaft's surface to the far end of the head. Neck and head radius are drawn with
    rank correlation `neck_head_correlation` (Gaussian copula): thicker necks carry larger heads.
    """

    density_per_um: Distribution
    length_um: Distribution
    neck_radius_um: Distribution
    head_radius_um: Distribution
    neck_head_correlation: float = Field(default=0.0, gt=-1, lt=1)


class SideBranch(_Group):
    """Short branches that leave a neurite sideways; radius is that of the parent times `radius_ratio`."""

    spacing_um: Distribution
    length_um: Distribution
    radius_ratio: Distribution
    angle_deg: Distribution


class Mitochondria(_Group):
    """Mitochondria of a neurite; `occupancy` is the share of the neurite's length that holds one."""

    length_um: Distribution
    radius_um: Distribution
    occupancy: Distribution


class Myelin(_Group):
    """Sheath; `g_ratio` is the axon's radius over the outer radius of the sheath."""

    g_ratio: Distribution


class Domain(_Group):
    """One kind of neurite of a whole cell: how many stems, and how each branches.

    A section ends by branching in two with probability `branching_probability[order]` (the last one counts
    for all further orders; order 0 is the stem), else by ending. Quantities left out are the class's own.

    Attributes:
        direction: x, y, z of the domain's axis; None for stems in every direction.
        spread_deg: half angle of the cone around the axis in which stems leave.
        pull_per_um: share of the axis mixed into the direction of growth per µm of path.
        pull_outward: pull away from the soma instead of along the axis; so too without an axis.
        thin_share: share of the parent's radius**rall_exponent that the thinner daughter takes, at most 0.5.
        rall_exponent: parent radius**e = sum of the daughters' radius**e (Rall 1959: 1.5).
        taper_per_um: share of its radius that a section loses per µm of path.
        tip_radius_um: no radius falls below this.
    """

    neurite: Literal["axon", "dendrite", "apical_dendrite"]
    stems: Distribution
    stem_radius_um: Distribution | None = None
    section_length_um: Distribution | None = None
    terminal_length_um: Distribution
    tortuosity: Distribution | None = None
    branching_probability: list[float] = Field(min_length=1)
    branching_angle_deg: Distribution
    thin_share: Distribution
    rall_exponent: float = Field(default=1.5, ge=1, le=4)
    taper_per_um: float = Field(default=0.0, ge=0)
    tip_radius_um: float = Field(gt=0)
    direction: tuple[float, float, float] | None = None
    spread_deg: float = Field(default=180.0, ge=0, le=180)
    pull_per_um: float = Field(default=0.0, ge=0, le=1)
    pull_outward: bool = False

    @model_validator(mode="after")
    def _refuse_endless_growth(self) -> Domain:
        for probability in self.branching_probability:
            if not 0 <= probability <= 1:
                raise ValueError(f"branching_probability holds {probability:g}, but allowed is 0 to 1")
        last = self.branching_probability[-1]
        if last >= 0.5:
            raise ValueError(
                f"branching_probability ends with {last:g}, but it must end below 0.5, else growth never ends"
            )
        if not 0 < float(self.thin_share.quantile(0.0)) < float(self.thin_share.quantile(1.0)) <= 0.5:
            raise ValueError("thin_share leaves 0 to 0.5; give a low and a high within")
        if self.direction is not None and not any(self.direction):
            raise ValueError("direction is [0, 0, 0], but a direction needs a length")
        return self


class Arbor(_Group):
    """A whole cell: a soma and the domains that leave it."""

    soma_radius_um: Distribution
    domains: dict[str, Domain] = Field(min_length=1)


class NeuronClass(_Group):
    """Distributions of one class of neurite or neuron.

    Attributes:
        name: lower-case identifier, also the file's name.
        kind: what the members are; `cell` grows whole neurons and needs `arbor`.
        shaft_radius_um: radius of the bare shaft (of stems, for a cell).
        section_length_um: path between branch points.
        tortuosity: path length over chord of a stretch `tortuosity_length_um` long.
        radius_period_um: path from one draw of `shaft_radius_um` to the next; between them it wanders.
        stain_scale: factor of one cell on the heavy-metal mass fractions of its materials.
    """

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    source: str
    kind: Literal["axon", "dendrite", "cell", "glia"]
    shaft_radius_um: Distribution
    section_length_um: Distribution
    tortuosity: Distribution
    tortuosity_length_um: float = Field(default=10.0, gt=0)
    radius_period_um: float = Field(default=2.0, gt=0)
    varicosity: Varicosity | None = None
    spine: Spine | None = None
    side_branch: SideBranch | None = None
    mitochondria: Mitochondria | None = None
    myelin: Myelin | None = None
    microtubule_density_per_um2: Distribution | None = None
    stain_scale: Distribution | None = None
    arbor: Arbor | None = None

    @model_validator(mode="after")
    def _refuse_contradictions(self) -> NeuronClass:
        if (self.kind == "cell") != (self.arbor is not None):
            raise ValueError(f"kind is {self.kind}, but the group arbor belongs to kind cell and to no other")
        for key in ("shaft_radius_um", "section_length_um"):
            if float(getattr(self, key).quantile(0.0)) <= 0:
                raise ValueError(f"{key} reaches down to 0 or below; give a low above 0")
        if self.stain_scale is not None and float(self.stain_scale.quantile(0.0)) < 0:
            raise ValueError("stain_scale reaches below 0, but no mass fraction is negative; give low: 0")
        if float(self.tortuosity.quantile(0.0)) < 1:
            raise ValueError("tortuosity reaches below 1, but no path is shorter than its chord; give low: 1")
        return self


def class_names() -> list[str]:
    """Names of the classes that come with the project, sorted."""
    folder = resources.files("neuropil.assets") / "classes"
    names = (entry.name for entry in folder.iterdir())
    return sorted(name.removesuffix(".yaml") for name in names if name.endswith(".yaml"))


def load_class(name_or_path: str | Path) -> NeuronClass:
    """Load a shipped class by its name, or any class by the path of its YAML file.

    Raises:
        FileNotFoundError: no such class or file; the sentence lists the shipped classes.
        ValueError: the file holds a key or value that is not allowed; one sentence.
    """
    text = str(name_or_path)
    if isinstance(name_or_path, str) and re.fullmatch(r"\w+", text):
        if text not in class_names():
            allowed = ", ".join(class_names())
            raise FileNotFoundError(f"class {text!r} does not exist; allowed are {allowed} or a path")
        with resources.as_file(resources.files("neuropil.assets") / "classes" / f"{text}.yaml") as path:
            return read_typed_yaml(path, NeuronClass)
    return read_typed_yaml(Path(name_or_path), NeuronClass)

"""A class of neurite or neuron: the distributions its members are grown from, as a typed YAML file."""

from __future__ import annotations

import re
from importlib import resources
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator
from scipy import special

from .distribution import Distribution
from .tree import APICAL_DENDRITE, AXON, DENDRITE, GLIA, UNDEFINED
from .typed_yaml import read_typed_yaml

SWC_TYPE_OF_KIND = {
    "axon": AXON,
    "dendrite": DENDRITE,
    "apical_dendrite": APICAL_DENDRITE,
    "neurite": UNDEFINED,
    "glia": GLIA,
}


CLASS_NAME = re.compile(r"[a-z][a-z0-9_]*")


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

    def sample_neck_and_head_um(self, rng: np.random.Generator) -> tuple[float, float]:
        """Radii of one spine's neck and head, correlated as the class says."""
        first, second = rng.normal(size=2)
        second = self.neck_head_correlation * first + np.sqrt(1 - self.neck_head_correlation**2) * second
        neck = float(self.neck_radius_um.quantile(special.ndtr(first)))
        return neck, float(self.head_radius_um.quantile(special.ndtr(second)))


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

    Each stem leads to a number of tips, which share out at its branch points by Aldous' beta-splitting model
    (`topology.split_shares`) until every section leads to one tip.

    Attributes:
        stems: how many leave the soma, at least one.
        tips: to how many tips a stem leads, at least one.
        tips_correlation: share of the variance of `tips` that lies between cells, not between the stems of a cell.
        balance: how evenly tips share out; -1.5 is a tree at random among all, 0 one whose tips branch at random.
        stem_length_um: path of stems that branch; `section_length_um` counts where it is left out.
        section_length_um: path of sections that end in a branch point, at the first one of a stem.
        length_exponent: in this power of their branching order (1 at a stem's first branch point) they get longer.
        terminal_length_um: path of sections that end in a tip, at the start of a stem.
        terminal_decay_per_um: by this share per µm of path from the soma terminal sections get shorter.
        length_correlation: share of the variance of lengths that lies between cells.
        tortuosity: path over chord of a section.
        tortuosity_correlation: rank correlation of a section's tortuosity with its length.
        branching_angle_deg: between the two daughters of a branch point.
        tip_radius_um: radius of a section that ends in a tip, one draw per cell.
        rall_exponent: radius**e of a section is that of its tips added up (Rall 1959: 1.5); large numbers for
            radii that hardly fall, as light microscopy traces thin axons.
        radius_spread: standard deviation of the logarithm of a section's radius around that.
        radius_memory: correlation of that with its parent section's.
        taper_per_um: share of its radius that a section loses per µm of path.
        direction: x, y, z of the domain's axis; None for stems in every direction.
        spread_deg: half angle of the cone around the axis in which stems leave.
        pull_per_um: share of the axis mixed into the direction at a branch point, per µm of the section that ends
            there; below 0 it pushes.
        pull_outward: pull away from the soma instead of along the axis; so too without an axis.
    """

    neurite: Literal["axon", "dendrite", "apical_dendrite", "neurite"]
    stems: Distribution
    tips: Distribution
    tips_correlation: float = Field(default=0.0, ge=0, le=1)
    balance: float = Field(gt=-2)
    stem_length_um: Distribution | None = None
    section_length_um: Distribution
    length_exponent: float = Field(default=0.0, ge=-2, le=2)
    terminal_length_um: Distribution
    terminal_decay_per_um: float = Field(default=0.0, ge=0)
    length_correlation: float = Field(default=0.0, ge=0, le=1)
    tortuosity: Distribution
    tortuosity_correlation: float = Field(default=0.0, gt=-1, lt=1)
    branching_angle_deg: Distribution
    tip_radius_um: Distribution
    rall_exponent: float = Field(default=1.5, ge=1)
    radius_spread: float = Field(default=0.0, ge=0)
    radius_memory: float = Field(default=0.0, ge=0, le=1)
    taper_per_um: float = Field(default=0.0, ge=0)
    direction: tuple[float, float, float] | None = None
    spread_deg: float = Field(default=180.0, ge=0, le=180)
    pull_per_um: float = Field(default=0.0, ge=-1, le=1)
    pull_outward: bool = False

    @model_validator(mode="after")
    def _refuse_contradictions(self) -> Domain:
        lengths = ("stem_length_um", "section_length_um", "terminal_length_um")
        _refuse_down_to_zero(self, (*lengths, "tip_radius_um", "tips"))
        _refuse_shorter_than_chord(self.tortuosity)
        if self.direction is not None and not any(self.direction):
            raise ValueError("direction is [0, 0, 0], but a direction needs a length")
        return self


class Arbor(_Group):
    """A whole cell: a soma and the domains that leave it.

    Attributes:
        soma_radius_um: left out for a neurite without soma; its stems leave a common point.
        flatness: 0 for an arbor as deep (along y) as wide (along x), towards 1 for one in the plane of x and z.
    """

    soma_radius_um: Distribution | None = None
    flatness: float = Field(default=0.0, ge=0, lt=1)
    domains: dict[str, Domain] = Field(min_length=1)

    @model_validator(mode="after")
    def _refuse_no_soma(self) -> Arbor:
        _refuse_down_to_zero(self, ("soma_radius_um",))
        return self


class NeuronClass(_Group):
    """Distributions of one class of neurite or neuron.

    Attributes:
        name: lower-case identifier, also the file's name.
        kind: what the members are; `cell` grows whole neurons and needs `arbor`.
        shaft_radius_um: radius of the bare shaft. This, `section_length_um` and `tortuosity` are, for a cell, those of
            all its sections together; its domains have their own.
        section_length_um: path between branch points.
        tortuosity: path length over chord of a stretch `tortuosity_length_um` long.
        radius_period_um: path from one draw of `shaft_radius_um` to the next; between them it wanders.
        radius_correlation: share of the variance of `shaft_radius_um` that lies between neurites, not along one.
        stain_scale: factor of one cell on the heavy-metal mass fractions of its materials.
    """

    name: str = Field(pattern=f"^{CLASS_NAME.pattern}$")
    source: str
    kind: Literal["axon", "dendrite", "neurite", "cell", "glia"]
    shaft_radius_um: Distribution
    section_length_um: Distribution
    tortuosity: Distribution
    tortuosity_length_um: float = Field(default=10.0, gt=0)
    radius_period_um: float = Field(default=2.0, gt=0)
    radius_correlation: float = Field(default=0.0, ge=0, le=1)
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
        _refuse_down_to_zero(self, ("shaft_radius_um", "section_length_um"))
        if self.stain_scale is not None and float(self.stain_scale.quantile(0.0)) < 0:
            raise ValueError("stain_scale reaches below 0, but no mass fraction is negative; give low: 0")
        _refuse_shorter_than_chord(self.tortuosity)
        return self


def _refuse_down_to_zero(group: BaseModel, keys: tuple[str, ...]) -> None:
    for key in keys:
        distribution = getattr(group, key)
        if distribution is not None and float(distribution.quantile(0.0)) <= 0:
            raise ValueError(f"{key} reaches down to 0 or below; give a low above 0")


def _refuse_shorter_than_chord(tortuosity: Distribution) -> None:
    if float(tortuosity.quantile(0.0)) < 1:
        raise ValueError("tortuosity reaches below 1, but no path is shorter than its chord; give low: 1")


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

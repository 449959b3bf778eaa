"""A recipe: everything that decides what a run makes, as one typed YAML file."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Annotated, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from neuropil.morphology.neuron_class import load_class
from neuropil.morphology.typed_yaml import read_typed_yaml, validation_sentence
from neuropil.simulate.imaging import ImageGrid
from neuropil.simulate.materials import MaterialTable, load_materials
from neuropil.simulate.profile import Profile
from neuropil.simulate.randomisation import RandomisedProfile, load_any_profile
from neuropil.tissue.circuit_parameters import CircuitParameters
from neuropil.tissue.parameters import TissueParameters
from neuropil.train.augmentation import Augmentation
from neuropil.train.settings import TrainingConfig

VoxelSize = Annotated[float, Field(ge=1, le=100)]
CircuitVoxelSize = Annotated[float, Field(ge=1, le=5000)]


class RealSlices(BaseModel):
    """The real slices a trained network is scored on: those of `dataset` named from `first_slice` on."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    dataset: str = "epfl_ca1"
    first_slice: str = "0089"
    voxel_size_nm: tuple[VoxelSize, VoxelSize, VoxelSize] = Field((5.0, 5.0, 5.0), description="z, y, x")


class Patches(BaseModel):
    """What a network sees in training: squares or cubes cut from the blocks, and how they are varied."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    patch_px: int = Field(256, ge=32, le=2048)
    depth_px: int | None = Field(None, ge=1, le=512, description="sections of a 3D patch, if not as many as patch_px")
    balanced: float = Field(0.5, ge=0, le=1, description="share of the patches that are aimed at a class")
    augmentation: Augmentation = Augmentation()


class Recipe(BaseModel):
    """Blocks of tissue, how they look, the training on them, the slices it is scored on.

    `profile` is the name of a shipped file or the path of one's own: microscope, stains, annotators' style.
    That and the neuron classes have to exist: that is checked here, before any work is done.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    seed: int = Field(1, ge=0)
    blocks: int = Field(1, ge=1, le=100_000_000, description="how many are made and trained on")
    neurons: tuple[str, ...] = Field((), description="classes of which one whole neuron each is swept and shown")
    tissue: TissueParameters = TissueParameters()
    circuit: CircuitParameters | None = Field(None, description="whole neurons, in place of tissue")
    voxel_size_nm: tuple[CircuitVoxelSize, CircuitVoxelSize, CircuitVoxelSize] = Field(
        (5.0, 5.0, 5.0), description="z, y, x; of a circuit 100 to 5000, of tissue 1 to 100"
    )
    profile: str = "epfl_ca1"
    patches: Patches = Patches()
    training: TrainingConfig = TrainingConfig(budget_seconds=150)
    real: RealSlices = RealSlices()

    @model_validator(mode="after")
    def _tissue_or_circuit(self) -> Self:
        if self.circuit is not None and "tissue" in self.model_fields_set:
            raise ValueError("a recipe has either tissue or circuit, not both")
        kind, low, high = ("tissue", 1, 100) if self.circuit is None else ("circuit", 100, 5000)
        if not all(low <= size <= high for size in self.voxel_size_nm):
            raise ValueError(
                f"voxel_size_nm is {list(self.voxel_size_nm)}, but allowed for a {kind} is {low} to {high} each"
            )
        return self

    @model_validator(mode="after")
    def _parts_exist(self) -> Self:
        tissue = self.tissue
        try:
            for key in ("dendrite_class", "axon_class", "myelinated_class", "astrocyte_class"):
                load_class(getattr(tissue, key))
            for name in self.neurons:
                if load_class(name).kind != "cell":
                    raise ValueError(f"neurons: class {name} is no whole cell")
            look = self.load_appearance()
            if self.circuit is None:
                ImageGrid.of(look.profile.microscope, self.block_shape, self.voxel_size_nm)
        except FileNotFoundError as error:
            # Pydantic gathers ValueErrors only, and adds the place in the file to them.
            raise ValueError(str(error)) from error
        return self

    @property
    def block_shape(self) -> tuple[int, int, int]:
        """Voxels (z, y, x) of a block of tissue."""
        z, y, x = (
            max(1, round(um * 1000 / nm))
            for um, nm in zip(reversed(self.tissue.size_um), self.voxel_size_nm, strict=True)
        )
        return z, y, x

    def load_appearance(self, rng: np.random.Generator | None = None) -> Appearance:
        """The profile that the recipe names, with its materials, as `named_appearance` gives it."""
        return named_appearance(self.profile, rng)


@dataclass(frozen=True)
class Appearance:
    """A profile (microscope, annotators) and the table of materials that it has stained."""

    profile: Profile
    materials: MaterialTable


def named_profile(name_or_path: str) -> Profile | RandomisedProfile:
    """A shipped profile by name, or one's own by path. Raises FileNotFoundError or ValueError in one sentence."""
    try:
        return load_any_profile(name_or_path)
    except ValidationError as error:
        raise ValueError(f"{name_or_path}: {validation_sentence(error, Profile)}") from error


def named_appearance(name_or_path: str, rng: np.random.Generator | None = None) -> Appearance:
    """How a profile lets tissue look: a randomised one as drawn with `rng`, or in its middle without.

    Raises FileNotFoundError or ValueError in one sentence.
    """
    profile = named_profile(name_or_path)
    if isinstance(profile, RandomisedProfile):
        profile = profile.middle if rng is None else profile.drawn(rng)
    return Appearance(profile, profile.stained(load_materials()))


def shipped_recipes() -> list[str]:
    """Names of the recipes that come with the package."""
    folder = resources.files("neuropil.assets") / "recipes"
    return sorted(entry.name.removesuffix(".yaml") for entry in folder.iterdir() if entry.name.endswith(".yaml"))


def load_recipe(name_or_path: str) -> Recipe:
    """A shipped recipe by its name, or one's own by the path of its YAML file.

    Raises FileNotFoundError, or ValueError naming file, key, value and what is allowed.
    """
    if Path(name_or_path).suffix in (".yaml", ".yml") or Path(name_or_path).is_file():
        return read_typed_yaml(Path(name_or_path), Recipe)
    if name_or_path not in shipped_recipes():
        raise FileNotFoundError(
            f"there is no recipe {name_or_path!r}; shipped are {', '.join(shipped_recipes())}, "
            "any other is given as the path of a .yaml file"
        )
    file = resources.files("neuropil.assets") / "recipes" / f"{name_or_path}.yaml"
    return read_typed_yaml(Path(str(file)), Recipe)


def with_length(recipe: Recipe, steps: int | None, seconds: float | None) -> Recipe:
    """The recipe with its training as long as given; as it is where neither is given.

    Raises ValueError where both are given.
    """
    if steps is None and seconds is None:
        return recipe
    settings = recipe.training.model_dump() | {"steps": steps, "budget_seconds": seconds}
    return recipe.model_copy(update={"training": TrainingConfig.model_validate(settings)})

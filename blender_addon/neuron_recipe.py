"""A recipe of neurons to build, and the files that come of it."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import trimesh
from pydantic import BaseModel, ConfigDict, Field, model_validator

from ..morphology.growth import grow_neurite, grow_neuron
from ..morphology.neuron_class import load_class
from ..morphology.swc import read_swc, write_swc
from ..morphology.tree import Tree
from ..morphology.typed_yaml import read_typed_yaml
from .certificate import Certificate, certify
from .scene import save_blend
from .sweep import SweptMesh, build_mesh


class NeuronEntry(BaseModel):
    """Neurons of one class, or one reconstruction.

    Attributes:
        neuron_class: (`class` in the file) a shipped class's name, or the path of a class file.
        swc: path of an SWC file in µm; relative paths start at the recipe's folder.
        count: how many of the class.
        length_um: path length of each, for classes of neurites.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    neuron_class: str | None = Field(default=None, alias="class")
    swc: Path | None = None
    count: int = Field(default=1, ge=1)
    length_um: float | None = Field(default=None, gt=0)

    @model_validator(mode="after")
    def _refuse_contradictions(self) -> NeuronEntry:
        if (self.neuron_class is None) == (self.swc is None):
            raise ValueError("a neuron needs either class or swc, one of them")
        if self.swc is not None and (self.count != 1 or self.length_um is not None):
            raise ValueError("an swc file is one neuron; count and length_um belong to a class")
        return self


class NeuronRecipe(BaseModel):
    """What to build: the seed, the sides of each tube, and the neurons."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    seed: int = Field(ge=0)
    sides: int = Field(default=16, ge=4, le=256, multiple_of=2)
    neurons: list[NeuronEntry] = Field(min_length=1)


@dataclass(frozen=True)
class BuiltNeuron:
    """One finished neuron: the stem of its files' names, and its certificate."""

    name: str
    certificate: Certificate


def build_neurons(recipe_path: Path, folder: Path) -> Iterator[BuiltNeuron]:
    """Build every neuron of a recipe, in order.

    Writes NAME.swc, NAME.ply, NAME.glb, NAME.blend and, last, NAME.json with the certificate: where the
    JSON file is there, the others are complete. One unit is one µm in all of them.

    Raises:
        FileNotFoundError: recipe, class or SWC file is missing.
        ValueError: the recipe, a class or an SWC file holds what is not allowed.
        OSError: the folder cannot be written.
    """
    recipe = read_typed_yaml(recipe_path, NeuronRecipe)
    # All files are read first, so that mistakes show before any work.
    kinds = [_kind(recipe, recipe_path.parent, place) for place in range(len(recipe.neurons))]
    folder.mkdir(parents=True, exist_ok=True)
    used: Counter[str] = Counter()
    for (stem, grow), entry in zip(kinds, recipe.neurons, strict=True):
        for number in range(entry.count):
            name = stem if entry.swc is not None and not used[stem] else f"{stem}_{used[stem]}"
            used[stem] += 1
            tree = grow(number)
            mesh = build_mesh(tree, recipe.sides)
            certificate = certify(mesh, tree)
            _write_neuron(folder, name, tree, mesh, certificate)
            yield BuiltNeuron(name, certificate)


def _kind(recipe: NeuronRecipe, home: Path, place: int) -> tuple[str, Callable[[int], Tree]]:
    """Stem of the names of an entry's neurons, and what makes the tree of each by its number."""
    entry = recipe.neurons[place]
    if entry.swc is not None:
        tree = read_swc(home / entry.swc)
        if len(tree.roots) != 1:
            raise ValueError(f"{home / entry.swc}: the file holds {len(tree.roots)} trees, but a neuron is one")
        return entry.swc.stem, lambda number: tree
    assert entry.neuron_class is not None
    own = home / entry.neuron_class
    neuron_class = load_class(own if own.suffix in (".yaml", ".yml") else entry.neuron_class)
    length_um = entry.length_um
    if (neuron_class.kind == "cell") != (length_um is None):
        needs = "takes no length_um" if length_um is not None else "needs length_um"
        raise ValueError(f"neurons.{place}: class {neuron_class.name} of kind {neuron_class.kind} {needs}")

    def grow(number: int) -> Tree:
        # Each neuron's own stream: it stays the same when others are added after it.
        rng = np.random.default_rng(np.random.SeedSequence(recipe.seed, spawn_key=(place, number)))
        if length_um is None:
            return grow_neuron(neuron_class, rng)
        return grow_neurite(neuron_class, (0.0, 0.0, 0.0), (1.0, 0.0, 0.0), length_um, rng)

    return neuron_class.name, grow


def _write_neuron(folder: Path, name: str, tree: Tree, mesh: SweptMesh, certificate: Certificate) -> None:
    write_swc(tree, folder / f"{name}.swc")
    surface = trimesh.Trimesh(mesh.vertices_um, mesh.faces, process=False)
    for suffix in (".ply", ".glb"):
        # trimesh writes both alike within every Blender; Blender's own exporters differ from version to
        # version.
        content = surface.export(file_type=suffix[1:])
        assert isinstance(content, bytes)
        _write_bytes(folder / f"{name}{suffix}", content)
    unfinished = folder / f".{name}.{os.getpid()}.part.blend"
    save_blend({name: mesh}, unfinished)
    os.replace(unfinished, folder / f"{name}.blend")
    report = {"name": name, "points": len(tree), "length_um": tree.length_um, "triangles": len(mesh.faces)}
    text = json.dumps({**report, "certificate": certificate.as_dict()}, indent=2)
    _write_bytes(folder / f"{name}.json", text.encode())


def _write_bytes(path: Path, content: bytes) -> None:
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.part")
    unfinished.write_bytes(content)
    os.replace(unfinished, path)

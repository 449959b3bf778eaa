"""Whole cells of a circuit block: grown or copied, turned, and put where their somas keep apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from neuropil.morphology.growth import grow_neuron
from neuropil.morphology.neuron_class import NeuronClass
from neuropil.morphology.tree import SOMA, Tree

from .circuit_cones import cones_of
from .circuit_parameters import SOMA_GAP_UM, CellGroup, CircuitParameters

# A longer segment is divided, so that it can bend round what is in its way.
LONGEST_STEP_UM = 2.0
PLACES_TRIED = 4000


@dataclass(frozen=True, eq=False)
class PosedCell:
    """A cell in the block's space; kind is the name of its class or file."""

    kind: str
    tree: Tree


def pose_cells(parameters: CircuitParameters, vessels: Sequence[Tree], rng: np.random.Generator) -> list[PosedCell]:
    """The cells of all groups, somas apart from each other and from vessels; neurites may still run into each other.

    Raises ValueError, saying how many fit, where there are too many somas.
    """
    counts = [_count(group, parameters.volume_um3, rng) for group in parameters.cells]
    sources = [group.source() for group in parameters.cells]
    period = np.asarray(parameters.size_um) if parameters.neurites_enter else None
    fixed = _Balls([tree.points_um for tree in vessels], [tree.radii_um for tree in vessels], period)
    # Each cell has its own stream: how it grows and lies does not depend on the others.
    streams = rng.spawn(sum(counts))
    numbers = np.repeat(np.arange(len(counts)), counts).tolist()
    trees = [_cell(sources[n], own) for n, own in zip(numbers, streams, strict=True)]
    cells: list[PosedCell | None] = [None] * len(trees)
    # The largest first: among many small ones it would find no room.
    for placed, k in enumerate(sorted(range(len(trees)), key=lambda k: -float(trees[k].radii_um[0]))):
        group, own, tree = parameters.cells[numbers[k]], streams[k], trees[k]
        place = fixed.first_free(own.uniform(0, parameters.size_um, (PLACES_TRIED, 3)), float(tree.radii_um[0]))
        if place is None:
            raise ValueError(f"circuit: {parameters.too_many(len(trees), placed)}")
        fixed.add(place, float(tree.radii_um[0]))
        points = tree.points_um @ _rotation(group, own).T + place
        cells[k] = PosedCell(group.name, Tree(points, tree.radii_um, tree.parents, tree.types))
    return [cell for cell in cells if cell is not None]


def _cell(source: NeuronClass | Tree, rng: np.random.Generator) -> Tree:
    return prepared(source if isinstance(source, Tree) else grow_neuron(source, rng))


def prepared(tree: Tree) -> Tree:
    """The cell around its root, its soma one point where satellites stand for it, its segments short."""
    satellite = (tree.types == SOMA) & (tree.child_counts == 0) & (tree.parents >= 0)
    inner_soma = tree.parents[(tree.types == SOMA) & (tree.parents >= 0) & (tree.child_counts > 0)]
    satellite &= (tree.types[np.maximum(tree.parents, 0)] == SOMA) & ~np.isin(tree.parents, inner_soma)
    number = np.cumsum(~satellite) - 1
    parents = np.where(tree.parents >= 0, number[np.maximum(tree.parents, 0)], -1)[~satellite]
    points = tree.points_um[~satellite] - tree.points_um[0]
    return divided(Tree(points, tree.radii_um[~satellite], parents, tree.types[~satellite]), LONGEST_STEP_UM)


def divided(tree: Tree, longest_um: float) -> Tree:
    """The same tree with points added, evenly, on segments longer than `longest_um`."""
    pieces = np.maximum(1, np.ceil(tree.segment_lengths_um / longest_um)).astype(np.int64)
    last = np.cumsum(pieces) - 1
    own = np.repeat(np.arange(len(tree)), pieces)
    place = np.arange(len(own)) - (last - pieces + 1)[own]
    share = (place + 1) / pieces[own]
    parent = np.maximum(tree.parents, 0)[own]
    # What is added on a stem within its soma, or on a thin branch within its trunk, stays a thin neurite.
    parts = cones_of(tree)
    start_radii = tree.radii_um.copy()
    start_radii[parts.ends] = parts.cones[:, 6]
    start_radii = start_radii[own]
    points = (1 - share)[:, None] * tree.points_um[parent] + share[:, None] * tree.points_um[own]
    radii = (1 - share) * start_radii + share * tree.radii_um[own]
    above = np.where(tree.parents >= 0, last[np.maximum(tree.parents, 0)], -1)[own]
    return Tree(points, radii, np.where(place > 0, np.arange(len(own)) - 1, above), tree.types[own])


class _Balls:
    """Balls that take room, in arrays that double when full; with a period, all their images too."""

    def __init__(
        self, centres: list[NDArray[np.float64]], radii: list[NDArray[np.float64]], period: NDArray[np.float64] | None
    ) -> None:
        self._period = period
        self._centres = np.concatenate([*centres, np.empty((0, 3))])
        self._radii = np.concatenate([*radii, np.empty(0)])
        self._count = len(self._radii)

    def add(self, centre: NDArray[np.float64], radius: float) -> None:
        if self._count == len(self._radii):
            self._centres = np.concatenate([self._centres, np.empty((self._count + 64, 3))])
            self._radii = np.concatenate([self._radii, np.empty(self._count + 64)])
        self._centres[self._count], self._radii[self._count] = centre, radius
        self._count += 1

    def first_free(self, places: NDArray[np.float64], radius: float) -> NDArray[np.float64] | None:
        """The first of the places (n, 3) at which a ball keeps apart from all others."""
        centres, radii = self._centres[: self._count], self._radii[: self._count]
        for place in places:
            away = centres - place
            if self._period is not None:
                away -= self._period * np.round(away / self._period)
            if (np.einsum("ij,ij->i", away, away) > (radii + radius + SOMA_GAP_UM) ** 2).all():
                return np.asarray(place)
        return None


def _count(group: CellGroup, volume_um3: float, rng: np.random.Generator) -> int:
    if group.count is not None:
        return group.count
    assert group.density_per_mm3 is not None
    # Rounded up or down by chance, so that the mean over blocks is the density.
    return int(group.density_per_mm3 * volume_um3 * 1e-9 + rng.random())


def _rotation(group: CellGroup, rng: np.random.Generator) -> NDArray[np.float64]:
    """A rotation that turns the group's `up` into a direction drawn around its axis, and spins about it at random."""
    if group.axis is None:
        cosine, axis = rng.uniform(-1, 1), np.array([0.0, 0.0, 1.0])
    else:
        cosine, axis = rng.uniform(np.cos(np.radians(group.spread_deg)), 1), np.asarray(group.axis)
    tilt = np.array([np.sqrt(1 - cosine**2), 0.0, cosine])
    drawn = _frame(axis) @ _spin(rng) @ tilt
    return np.asarray(_frame(drawn) @ _spin(rng) @ _frame(np.asarray(group.up)).T)


def _spin(rng: np.random.Generator) -> NDArray[np.float64]:
    angle = rng.uniform(0, 2 * np.pi)
    sine, cosine = np.sin(angle), np.cos(angle)
    return np.array([[cosine, -sine, 0.0], [sine, cosine, 0.0], [0.0, 0.0, 1.0]])


def _frame(axis: NDArray[np.float64]) -> NDArray[np.float64]:
    """A rotation whose third column is along `axis`."""
    third = axis / np.linalg.norm(axis)
    first = np.cross(np.eye(3)[np.argmin(np.abs(third))], third)
    first /= np.linalg.norm(first)
    return np.stack([first, np.cross(third, first), third], axis=1)

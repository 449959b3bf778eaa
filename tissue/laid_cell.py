"""One cell of a block before inflation: its skeleton with radii, and where its boutons and spine heads are."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from neuropil.morphology.tree import DENDRITE, SPINE_NECK, Tree

from .arrival import FloatArray, RoundCones


@dataclass(frozen=True)
class Bouton:
    """A varicosity: where vesicles gather."""

    centre_um: FloatArray
    radius_um: float


@dataclass(frozen=True)
class SpineHead:
    """Where a spine ends: the place for a postsynaptic density. length_um: of the whole spine, from the shaft on."""

    centre_um: FloatArray
    radius_um: float
    length_um: float


@dataclass(frozen=True)
class LaidOutCell:
    """One cell before inflation."""

    kind: str  # axon, dendrite, astrocyte, myelinated_axon
    skeleton: Tree
    boutons: list[Bouton] = field(default_factory=list)
    spine_heads: list[SpineHead] = field(default_factory=list)
    nodes_of_ranvier: list[tuple[FloatArray, float]] = field(default_factory=list)  # middles, and half the bare length

    def round_cones(self) -> RoundCones:
        """The sweep's exact shape. A spine's first segment keeps the neck's radius, not the shaft's."""
        tree = self.skeleton
        child = np.flatnonzero(tree.parents >= 0)
        parent = tree.parents[child]
        leaves_shaft = (tree.types[child] == SPINE_NECK) & (tree.types[parent] == DENDRITE)
        start_radius = np.where(leaves_shaft, tree.radii_um[child], tree.radii_um[parent])
        return RoundCones(tree.points_um[parent], tree.points_um[child], start_radius, tree.radii_um[child])

    def cone_types(self) -> npt.NDArray[np.int16]:
        """SWC type of each of the round cones, as many."""
        tree = self.skeleton
        return np.asarray(tree.types[tree.parents >= 0])

    def moved(self, move: Callable[[FloatArray], FloatArray]) -> "LaidOutCell":
        """The same cell with every point moved."""
        tree = self.skeleton
        return LaidOutCell(
            self.kind,
            Tree(move(tree.points_um), tree.radii_um, tree.parents, tree.types),
            [Bouton(move(b.centre_um[None])[0], b.radius_um) for b in self.boutons],
            [SpineHead(move(h.centre_um[None])[0], h.radius_um, h.length_um) for h in self.spine_heads],
            [(move(middle[None])[0], half) for middle, half in self.nodes_of_ranvier],
        )

"""What lies in the cells of a block: closed solids in the order in which they are painted, and a table of instances."""

import itertools
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from .arrival import FloatArray
from .interior import CellInterior
from .shapes import FaceArray, Shape

# Later layers are painted over earlier ones. A layer is the structure of the same name, but for those in STRUCTURE_OF.
LAYERS = (
    "cleft",
    "axon",
    "dendrite",
    "astrocyte",
    "soma",
    "myelin_tongue",
    "myelin",
    "inner_tongue",
    "axon_core",
    "paranodal_loop",
    "nuclear_envelope",
    "nucleus",
    "heterochromatin",
    "nucleolus",
    "nuclear_pore",
    "synaptic_web",
    "mitochondrion",
    "crista",
    "endoplasmic_reticulum",
    "lysosome",
    "endosome",
    "multivesicular_body",
    "intraluminal_vesicle",
    "microtubule",
    "psd",
    "active_zone",
    "vesicle",
    "filament",
)
STRUCTURE_OF = {
    "axon_core": "axon",
    "inner_tongue": "myelin_tongue",
    "paranodal_loop": "myelin_tongue",
    "intraluminal_vesicle": "multivesicular_body",
    "synaptic_web": "filament",
}
_RANK = {layer: n for n, layer in enumerate(LAYERS)}


@dataclass(frozen=True)
class Solid:
    """A closed surface that is filled with one structure. Later solids of a block replace earlier ones.

    cell_id: 0 for what lies between cells. organelle_id: which instance it is or belongs to, unique within the block;
    0 for a cell's own body. pieces: the mesh is that many equal meshes one after the other, and each is an instance
    of its own, numbered organelle_id, organelle_id + 1, …
    """

    structure: str
    cell_id: int
    vertices_um: FloatArray
    faces: FaceArray
    organelle_id: int = 0
    pieces: int = 1


@dataclass(frozen=True)
class Organelle:
    """One instance: its id, what it is, the cell it lies in, its volume and the centre of its volume."""

    id: int
    structure: str
    cell_id: int
    volume_um3: float
    centre_um: tuple[float, float, float]


@dataclass
class SynapseParts:
    """The instances that make a synapse; 0 for what there was no room for.

    sides: how many of the two cells reach it, 2 for a synapse that is there; a cell may pass by just outside the block,
    or be cut off from the part that lies in it.
    docked_ids, reserve_ids: the vesicles that touch its active zone, and those that crowd behind it.
    """

    sides: int = 0
    psd_id: int = 0
    active_zone_id: int = 0
    cleft_id: int = 0
    docked_ids: set[int] = field(default_factory=set)
    reserve_ids: set[int] = field(default_factory=set)


@dataclass
class Contents:
    """Solids collected while cells are filled, and what is counted on the way.

    uncontained: the layers of which a vertex did not lie in its cell; outside: the instances, one by one of a crowd.
    """

    layered: list[tuple[str, Solid]] = field(default_factory=list)
    counts: dict[str, float] = field(default_factory=dict)
    uncontained: set[str] = field(default_factory=set)
    outside: set[int] = field(default_factory=set)
    synapses: dict[int, SynapseParts] = field(default_factory=dict)
    last_id: int = 0

    @property
    def solids(self) -> list[Solid]:
        """In the order in which they came."""
        return [solid for _, solid in self.layered]

    def painted(self) -> list[Solid]:
        """In the order in which they are painted."""
        return [solid for _, solid in sorted(self.layered, key=lambda one: _RANK[one[0]])]

    def add(
        self,
        layer: str,
        cell_id: int,
        shape: Shape | None,
        interior: CellInterior | None = None,
        organelle_id: int = 0,
        pieces: int = 1,
    ) -> None:
        """Keep a shape, if there is one; with an interior, note where it does not lie within the cell."""
        if shape is None or len(shape[1]) == 0:
            return
        if interior is not None:
            beyond = np.flatnonzero(interior.depth(shape[0]).reshape(pieces, -1).min(axis=1) <= 0)
            if len(beyond) and organelle_id == 0:
                self.uncontained.add(layer)
            elif len(beyond):
                self.outside |= set((organelle_id + beyond).tolist())
        vertices = np.asarray(shape[0], np.float32)
        solid = Solid(STRUCTURE_OF.get(layer, layer), cell_id, vertices, shape[1], organelle_id, pieces)
        self.layered.append((layer, solid))

    def add_instance(
        self, layer: str, cell_id: int, shape: Shape | None, interior: CellInterior | None = None, pieces: int = 1
    ) -> int:
        """Keep a shape as a new instance, or as `pieces` of them. The first's id, 0 where there is no shape."""
        if shape is None or len(shape[1]) == 0:
            return 0
        first = self.last_id + 1
        self.last_id += pieces
        self.add(layer, cell_id, shape, interior, first, pieces)
        self.count(layer, pieces)
        return first

    def count(self, what: str, amount: float = 1) -> None:
        self.counts[what] = self.counts.get(what, 0) + amount

    def of_synapse(self, synapse_id: int) -> SynapseParts:
        """What is known of a synapse so far; its two cells fill in their parts."""
        return self.synapses.setdefault(synapse_id, SynapseParts())

    def append(self, other: "Contents") -> None:
        """Take over what another collected, its instances numbered on from here."""
        shift = self.last_id
        for layer, solid in other.layered:
            number = solid.organelle_id + shift if solid.organelle_id else 0
            self.layered.append((layer, replace(solid, organelle_id=number)))
        self.last_id += other.last_id
        for what, amount in other.counts.items():
            self.count(what, amount)
        self.uncontained |= other.uncontained
        self.outside |= {one + shift for one in other.outside}
        for number, found in other.synapses.items():
            parts = self.of_synapse(number)
            for name in ("psd_id", "active_zone_id", "cleft_id"):
                if getattr(found, name):
                    setattr(parts, name, getattr(found, name) + shift)
            parts.sides += found.sides
            parts.docked_ids |= {one + shift for one in found.docked_ids}
            parts.reserve_ids |= {one + shift for one in found.reserve_ids}

    def drop(self, ids: set[int]) -> None:
        """Leave out instances and all that belongs to them."""
        if not ids:
            return
        kept: list[tuple[str, Solid]] = []
        for layer, solid in self.layered:
            of_pieces = range(solid.organelle_id, solid.organelle_id + solid.pieces)
            gone = [one - solid.organelle_id for one in of_pieces if one in ids]
            if not gone or solid.organelle_id == 0:
                kept.append((layer, solid))
                continue
            # The pieces between those that go, each stretch a solid of its own, so that all keep their numbers.
            edges = [-1, *gone, solid.pieces]
            kept += [(layer, _stretch(solid, a + 1, b)) for a, b in itertools.pairwise(edges) if b > a + 1]
            if layer in self.counts:
                self.count(layer, -len(gone))
        self.layered = kept
        self.outside -= ids
        for parts in self.synapses.values():
            for name in ("psd_id", "active_zone_id", "cleft_id"):
                if getattr(parts, name) in ids:
                    setattr(parts, name, 0)
            parts.docked_ids -= ids
            parts.reserve_ids -= ids

    def organelles(self) -> list[Organelle]:
        """The table of instances, by their ids. An instance of several solids counts as its first, the outermost."""
        found: dict[int, Organelle] = {}
        for solid in self.solids:
            if solid.organelle_id == 0 or solid.organelle_id in found:
                continue
            volumes, centres = _volumes(solid)
            for n, (volume, centre) in enumerate(zip(volumes.tolist(), centres.tolist(), strict=True)):
                number = solid.organelle_id + n
                found[number] = Organelle(number, solid.structure, solid.cell_id, volume, tuple(centre))
        return [found[number] for number in sorted(found)]

    def drop_half_synapses(self) -> None:
        """Leave out what there is of synapses that only one cell reaches."""
        for number in [number for number, parts in self.synapses.items() if parts.sides < 2]:
            parts = self.synapses.pop(number)
            self.drop({parts.psd_id, parts.active_zone_id, parts.cleft_id} - {0})


def _stretch(solid: Solid, first: int, stop: int) -> Solid:
    """Some of a solid's pieces."""
    vertices = solid.vertices_um.reshape(solid.pieces, -1, 3)
    faces = solid.faces.reshape(solid.pieces, -1, 3)[first:stop] - first * vertices.shape[1]
    return replace(
        solid,
        vertices_um=vertices[first:stop].reshape(-1, 3),
        faces=faces.reshape(-1, 3).astype(np.int32),
        organelle_id=solid.organelle_id + first,
        pieces=stop - first,
    )


def _volumes(solid: Solid) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Volume (n,) and centre of volume (n, 3) of each of a solid's pieces."""
    origin = solid.vertices_um.reshape(solid.pieces, -1, 3)[:, 0].astype(float)
    corners = solid.vertices_um.astype(float)[solid.faces].reshape(solid.pieces, -1, 3, 3) - origin[:, None, None]
    six = np.einsum("nfi,nfi->nf", corners[:, :, 0], np.cross(corners[:, :, 1], corners[:, :, 2]))
    volume = six.sum(1) / 6
    moment = np.einsum("nf,nfi->ni", six, corners.sum(2)) / 24
    return volume, origin + moment / np.where(np.abs(volume) > 1e-15, volume, 1)[:, None]

"""The voxelizer: closed meshes in painter's order become instances, classes, materials and membranes.

A voxel is sampled at its centre on one global lattice, so boxes that meet agree at the seam whatever their
shape.
"""

from __future__ import annotations

import contextlib
import ctypes
import itertools
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields

import numba
import numpy as np

from . import scanline
from .volume import Triple, Volume, checked_voxel_size


@dataclass(frozen=True, eq=False)
class Part:
    """One closed mesh and what is inside it.

    vertices_um: (n, 3) x, y, z in µm; faces: (m, 3) indices into them, each edge shared by two faces. Inside
    is where the winding number is not zero, so overlapping or nested shells of one mesh are allowed; where
    the faces are not consistently oriented, inside is where a line has crossed an odd number of them.
    instance: uint32, 0 stands for extracellular space; class_id, material: uint8.
    membrane_nm: thickness of the bilayer that lines the mesh from its surface inwards; 0 for none.
    organelle: uint32, which instance within the cell it is or belongs to; 0 for none.
    pieces: the mesh is that many meshes end to end, each with as many vertices and faces as the others and closed by
    itself; they are the organelles `organelle`, `organelle` + 1, … Thousands of vesicles make one part this way.

    Raises ValueError, in one sentence, for indices out of range, wrong shapes and values out of range.
    Whether the mesh is closed is checked by `Scene` (or `check_closed`).
    """

    vertices_um: np.ndarray
    faces: np.ndarray
    instance: int
    class_id: int = 0
    material: int = 0
    membrane_nm: float = 0.0
    organelle: int = 0
    pieces: int = 1

    def __post_init__(self) -> None:
        # Single precision is kept, for a large block's vertices fill gigabytes.
        single = getattr(self.vertices_um, "dtype", None) == np.float32
        vertices = np.ascontiguousarray(self.vertices_um, dtype=np.float32 if single else np.float64)
        faces = np.ascontiguousarray(self.faces, dtype=np.int32)
        if vertices.ndim != 2 or vertices.shape[1] != 3 or not np.isfinite(vertices).all():
            raise ValueError(
                f"vertices_um has the shape {vertices.shape}, but it has to be (n, 3) finite numbers in µm."
            )
        if faces.ndim != 2 or faces.shape[1] != 3:
            raise ValueError(f"faces has the shape {faces.shape}, but it has to be (m, 3) vertex indices.")
        if len(faces) and not (faces.min() >= 0 and faces.max() < len(vertices)):
            raise ValueError(
                f"faces names vertices {faces.min()} to {faces.max()}, but the mesh has 0 to {len(vertices) - 1}."
            )
        for name, value, highest in (
            ("instance", self.instance, 2**32 - 1),
            ("class_id", self.class_id, 255),
            ("material", self.material, 255),
            ("organelle", self.organelle, 2**32 - self.pieces),
        ):
            if not 0 <= value <= highest:
                raise ValueError(f"{name} is {value}, but it has to be from 0 to {highest}.")
        if not 0 <= self.membrane_nm < np.inf:
            raise ValueError(f"membrane_nm is {self.membrane_nm}, but a thickness in nm is 0 or more.")
        if self.pieces < 1 or len(vertices) % self.pieces or len(faces) % self.pieces:
            raise ValueError(
                f"pieces is {self.pieces}, but {len(vertices)} vertices and {len(faces)} faces are not that many equal "
                "meshes."
            )
        if self.pieces > 1:
            owner = faces.reshape(self.pieces, -1) // max(1, len(vertices) // self.pieces)
            if (owner != np.arange(self.pieces)[:, None]).any():
                raise ValueError("faces of one piece name vertices of another, but each piece is a mesh by itself.")
        object.__setattr__(self, "vertices_um", vertices)
        object.__setattr__(self, "faces", faces)


@dataclass(frozen=True)
class Box:
    """A box of voxels on the global lattice, whose voxel k of an axis covers [k, k + 1) voxel sizes from 0.

    origin: first voxel (z, y, x), may be negative; shape: number of voxels (z, y, x), each at least 1.
    """

    origin: tuple[int, int, int]
    shape: tuple[int, int, int]

    def __post_init__(self) -> None:
        origin, shape = tuple(int(value) for value in self.origin), tuple(int(value) for value in self.shape)
        if len(origin) != 3 or len(shape) != 3 or min(shape) < 1:
            raise ValueError(f"a box of shape {shape} at {origin} is none: both are z, y, x, and a shape is 1 or more.")
        if max(abs(value) + size for value, size in zip(origin, shape, strict=True)) > FARTHEST_VOXEL:
            raise ValueError(f"the box of {shape} voxels at {origin} leaves the lattice of ±{FARTHEST_VOXEL} voxels.")
        object.__setattr__(self, "origin", origin)
        object.__setattr__(self, "shape", shape)

    def tiles(self, shape: Sequence[int]) -> Iterator[Box]:
        """Boxes of at most `shape` (z, y, x) that together are this one, x fastest."""
        if len(shape) != 3 or min(shape) < 1:
            raise ValueError(f"a tile of shape {tuple(shape)} is none: it is z, y, x, each 1 or more.")
        steps = [range(0, whole, tile) for whole, tile in zip(self.shape, shape, strict=True)]
        for corner in itertools.product(*steps):
            z, y, x = (low + offset for low, offset in zip(self.origin, corner, strict=True))
            nz, ny, nx = (
                min(tile, whole - offset) for tile, whole, offset in zip(shape, self.shape, corner, strict=True)
            )
            yield Box((z, y, x), (nz, ny, nx))


@dataclass(frozen=True, eq=False)
class VoxelBlock:
    """What the voxels of one box hold, each a Volume on the same lattice.

    instances: uint32, 0 extracellular; organelles: uint32, the instance within the cell, 0 for the cell's own body;
    classes, materials: uint8 at the voxel's centre; membrane: uint8, the share of the voxel's volume that is lipid
    bilayer, 255 for all of it.
    """

    instances: Volume
    organelles: Volume
    classes: Volume
    materials: Volume
    membrane: Volume


FARTHEST_VOXEL = scanline.LARGEST_STEP // scanline.STEPS_PER_VOXEL
#: Pencils handed to a thread at a time: few enough to share the work evenly.
PENCILS_PER_JOB = 8
#: Faces that are made ready at a time: what that takes is in memory only for so many.
FACES_PER_BATCH = 1 << 21


class Scene:
    """Parts made ready for any number of boxes at one voxel size.

    Of the parts it keeps nothing: an iterator that gives them away one by one frees their memory meanwhile.
    threads: 0 for as many as numba may use (NUMBA_NUM_THREADS, else the processors that there are).

    Raises ValueError, in one sentence, for a part that is not closed or lies outside the lattice.
    """

    def __init__(self, parts: Iterable[Part], voxel_size_nm: Sequence[float], threads: int = 0) -> None:
        self.voxel_size_nm = checked_voxel_size(voxel_size_nm)
        self.threads = threads or numba.config.NUMBA_NUM_THREADS
        self._mesh = _flat_mesh(parts, self.voxel_size_nm, self.threads)
        self._runs = _bounds_of_runs(self._mesh, self.threads)

    def voxelize(self, box: Box) -> VoxelBlock:
        """The voxels of `box`. Time goes with the faces that touch the box and the voxels in it."""
        mesh = self._mesh
        extent = np.array([*box.origin, *box.shape], np.int64)
        pencils_z, pencils_y = (-(-count // scanline.PENCIL) for count in box.shape[:2])
        pencils = pencils_z * pencils_y
        instances, organelles = (np.empty(box.shape, np.uint32) for _ in range(2))
        classes, materials, membrane = (np.empty(box.shape, np.uint8) for _ in range(3))
        size_nm = np.array(self.voxel_size_nm[::-1])
        with ThreadPoolExecutor(self.threads) as pool:
            entries, entry_start = _entries_by_pencil(mesh, self._runs, extent, pencils, self.threads, pool)

            def paint(first: int) -> None:
                scanline.paint_pencils(
                    mesh.steps,
                    mesh.faces,
                    mesh.spreads,
                    mesh.vertex_start,
                    mesh.face_start,
                    mesh.turns,
                    mesh.membranes_nm,
                    size_nm,
                    extent,
                    entries,
                    entry_start,
                    first,
                    min(first + PENCILS_PER_JOB, pencils),
                    mesh.instances,
                    mesh.organelles,
                    mesh.classes,
                    mesh.materials,
                    instances,
                    organelles,
                    classes,
                    materials,
                    membrane,
                )

            list(pool.map(paint, range(0, pencils, PENCILS_PER_JOB)))
        z, y, x = (start * size for start, size in zip(box.origin, self.voxel_size_nm, strict=True))
        arrays = (instances, organelles, classes, materials, membrane)
        return VoxelBlock(*(Volume(array, self.voxel_size_nm, (z, y, x)) for array in arrays))


def voxelize(parts: Sequence[Part], box: Box, voxel_size_nm: Sequence[float], threads: int = 0) -> VoxelBlock:
    """The voxels of `box` after `parts` were painted in their order, later ones over earlier ones.

    Where no part is, instance, class and material are 0. voxel_size_nm: (z, y, x). threads: 0 for as many as
    there are processors; the bytes do not depend on it. For several boxes make a `Scene` once.

    Raises ValueError for a part that is not closed.
    """
    return Scene(parts, voxel_size_nm, threads).voxelize(box)


def voxelize_tiles(
    parts: Sequence[Part],
    box: Box,
    tile_shape: Sequence[int],
    voxel_size_nm: Sequence[float],
    threads: int = 0,
) -> Iterator[tuple[Box, VoxelBlock]]:
    """Each tile of `box` and its voxels, x fastest, in the memory of one tile; as `voxelize` gives them."""
    scene = Scene(parts, voxel_size_nm, threads)
    for tile in box.tiles(tile_shape):
        yield tile, scene.voxelize(tile)


def check_closed(part: Part) -> None:
    """Raise ValueError, in one sentence, unless every edge of `part` is shared by an even number of faces."""
    _flat_mesh([part], (1.0, 1.0, 1.0), 1)


@dataclass(eq=False)
class _FlatMesh:
    """All parts end to end, and of each its pieces: steps (n, 3) int32 x, y, z; faces (m, 3) int32, each counting
    from its piece's start; spreads (m,) uint8; the starts, one more than there are pieces; all the rest one entry per
    piece.
    """

    steps: np.ndarray
    faces: np.ndarray
    spreads: np.ndarray
    vertex_start: np.ndarray
    face_start: np.ndarray
    bounds: np.ndarray
    turns: np.ndarray
    reaches: np.ndarray
    membranes_nm: np.ndarray
    instances: np.ndarray
    organelles: np.ndarray
    classes: np.ndarray
    materials: np.ndarray

    def append(self, other: _FlatMesh) -> None:
        """Put other parts behind. Each array is enlarged where it is, which large ones are without a copy."""
        other.vertex_start = other.vertex_start[1:] + self.vertex_start[-1]
        other.face_start = other.face_start[1:] + self.face_start[-1]
        for entry in fields(self):
            array, more = getattr(self, entry.name), getattr(other, entry.name)
            before = len(array)
            array.resize((before + len(more), *array.shape[1:]), refcheck=False)
            array[before:] = more


def _each_piece(parts: Sequence[Part], values: Sequence[float]) -> np.ndarray:
    """One value per part, repeated for each of its pieces."""
    return np.repeat(np.asarray(values), np.array([part.pieces for part in parts], np.int64))


def _flat_mesh(parts: Iterable[Part], voxel_size_nm: Triple, threads: int) -> _FlatMesh:
    batches = _batches(parts)
    mesh = _flat_batch(*next(batches), voxel_size_nm, threads)
    for first, batch in batches:
        mesh.append(_flat_batch(first, batch, voxel_size_nm, threads))
        batch.clear()
        _return_freed_memory()
    return mesh


def _return_freed_memory() -> None:
    """Give the system back what was freed in between: glibc keeps it, even gigabytes of parts that were given away."""
    with contextlib.suppress(OSError, AttributeError):  # no glibc, no such need
        ctypes.CDLL("libc.so.6").malloc_trim(0)


def _batches(parts: Iterable[Part]) -> Iterator[tuple[int, list[Part]]]:
    """Lists of parts of FACES_PER_BATCH faces or a little more, each with the number of its first part."""
    batch: list[Part] = []
    first = faces = 0
    for part in parts:
        batch.append(part)
        faces += len(part.faces)
        if faces >= FACES_PER_BATCH:
            count = len(batch)
            yield first, batch
            batch, first, faces = [], first + count, 0
    yield first, batch


def _flat_batch(first_part: int, parts: Sequence[Part], voxel_size_nm: Triple, threads: int) -> _FlatMesh:
    """Some parts, of which the first is number `first_part`."""
    count = sum(part.pieces for part in parts)
    vertices = np.concatenate([np.empty((0, 3)), *(part.vertices_um for part in parts)], dtype=np.float64)
    faces = np.concatenate([np.empty((0, 3), np.int32), *(_piecewise(part) for part in parts)])
    vertices_each = _each_piece(parts, [len(part.vertices_um) // part.pieces for part in parts])
    faces_each = _each_piece(parts, [len(part.faces) // part.pieces for part in parts])
    vertex_start = np.append(0, np.cumsum(vertices_each)).astype(np.int64)
    face_start = np.append(0, np.cumsum(faces_each)).astype(np.int64)
    part_of = _each_piece(parts, range(len(parts))).astype(np.int64)
    size_xyz_nm = np.array(voxel_size_nm[::-1])
    steps_per_um = 1e3 / size_xyz_nm * scanline.STEPS_PER_VOXEL
    steps = np.empty(vertices.shape, np.int32)
    keys = np.empty(len(vertices), np.uint64)
    bounds = np.empty((count, 6), np.int64)
    turns = np.ones(count, np.int8)
    merged, faults = np.zeros(count, np.int8), np.zeros(count, np.int8)
    # Shares of the parts with about as many faces each.
    cuts = np.searchsorted(face_start, np.linspace(0, face_start[-1], 4 * threads + 1)[1:-1]).tolist()
    cuts = [0, *(min(cut, count) for cut in cuts), count]

    def survey(first: int, last: int) -> None:
        scanline.survey(
            vertices,
            faces,
            vertex_start,
            face_start,
            steps_per_um,
            first,
            last,
            steps,
            keys,
            bounds,
            turns,
            merged,
            faults,
        )

    membranes_nm = _each_piece(parts, [part.membrane_nm for part in parts]).astype(np.float64)
    axes, leans = np.empty(vertices.shape), np.empty(len(vertices))
    spreads = np.empty(len(faces), np.uint8)

    def spread(first: int, last: int) -> None:
        scanline.face_spreads(
            steps,
            faces,
            vertex_start,
            face_start,
            turns,
            merged,
            membranes_nm,
            size_xyz_nm / scanline.STEPS_PER_VOXEL,
            first,
            last,
            axes,
            leans,
            spreads,
        )

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(survey, cuts[:-1], cuts[1:]))
        list(pool.map(spread, cuts[:-1], cuts[1:]))
    for piece in np.flatnonzero(faults)[:1]:
        part = int(part_of[piece])
        name = f"part {first_part + part} (instance {parts[part].instance}, class {parts[part].class_id})"
        if faults[piece] == 2:
            raise ValueError(f"{name} lies more than {FARTHEST_VOXEL} voxels away from the lattice's origin.")
        raise ValueError(
            f"{name} is not closed: {_open_edges(parts[part])} of its edges are not shared by exactly two faces."
        )
    diagonal_nm = 0.5 * float(np.linalg.norm(size_xyz_nm))
    reach = np.ceil((membranes_nm + diagonal_nm)[:, None] / size_xyz_nm * scanline.STEPS_PER_VOXEL)
    return _FlatMesh(
        steps,
        faces,
        spreads,
        vertex_start,
        face_start,
        bounds,
        turns,
        np.where(membranes_nm[:, None] > 0, reach, 0).astype(np.int64),
        membranes_nm,
        _each_piece(parts, [part.instance for part in parts]).astype(np.uint32),
        _organelles(parts, part_of),
        _each_piece(parts, [part.class_id for part in parts]).astype(np.uint8),
        _each_piece(parts, [part.material for part in parts]).astype(np.uint8),
    )


def _piecewise(part: Part) -> np.ndarray:
    """The faces of a part, those of each piece counting from its own first vertex."""
    if part.pieces == 1:
        return part.faces
    start = np.arange(part.pieces, dtype=np.int32) * (len(part.vertices_um) // part.pieces)
    return (part.faces.reshape(part.pieces, -1) - start[:, None]).reshape(-1, 3)


def _organelles(parts: Sequence[Part], part_of: np.ndarray) -> np.ndarray:
    """Each piece's organelle: its part's first, and how many pieces of the part came before it."""
    first_piece = np.cumsum([0, *(part.pieces for part in parts)])[part_of]
    before = np.arange(len(part_of)) - first_piece
    first = np.array([part.organelle for part in parts], np.int64)[part_of]
    return np.where(first > 0, first + before, 0).astype(np.uint32)


def _open_edges(part: Part) -> int:
    """Number of edges that an odd number of faces share, vertices at one place being one."""
    _, place = np.unique(part.vertices_um, axis=0, return_inverse=True)
    faces = place.reshape(-1)[part.faces]
    edges = np.sort(np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]), axis=1)
    edges = edges[edges[:, 0] != edges[:, 1]]
    _, counts = np.unique(edges, axis=0, return_counts=True)
    return int(np.count_nonzero(counts % 2))


def _bounds_of_runs(mesh: _FlatMesh, threads: int) -> np.ndarray:
    """Lowest x, y, z and highest y, z of every run of faces, (runs, 5) int32."""
    count = -(-len(mesh.faces) // scanline.RUN)
    runs = np.empty((count, 5), np.int32)
    cuts = np.linspace(0, count, threads + 1).astype(np.int64)

    def bound(first: int, last: int) -> None:
        scanline.bound_runs(mesh.steps, mesh.faces, mesh.vertex_start, mesh.face_start, first, last, runs)

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(bound, cuts[:-1], cuts[1:]))
    return runs


def _entries_by_pencil(
    mesh: _FlatMesh, runs: np.ndarray, extent: np.ndarray, pencils: int, threads: int, pool: ThreadPoolExecutor
) -> tuple[np.ndarray, np.ndarray]:
    """The faces that concern each pencil of the box, in their order, and where each pencil's begin."""
    cuts = np.linspace(0, mesh.face_start[-1], threads + 1).astype(np.int64)
    places = np.zeros((threads, pencils), np.int64)

    def sort(thread: int, entries: np.ndarray, fill: bool) -> None:
        scanline.sort_into_pencils(
            mesh.steps,
            mesh.faces,
            mesh.vertex_start,
            mesh.face_start,
            mesh.bounds,
            mesh.reaches,
            runs,
            extent,
            cuts[thread],
            cuts[thread + 1],
            places[thread],
            entries,
            fill,
        )

    nothing = np.empty(0, np.int32)
    list(pool.map(lambda thread: sort(thread, nothing, False), range(threads)))
    # Each thread's faces come after those of the threads before it, in every pencil.
    ends = np.cumsum(places.T.ravel()).reshape(pencils, threads).T
    places[...] = ends - places
    entry_start = np.append(places[0], ends[-1, -1])
    entries = np.empty(int(ends[-1, -1]), np.int32)
    list(pool.map(lambda thread: sort(thread, entries, True), range(threads)))
    return entries, entry_start

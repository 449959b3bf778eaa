"""A block of analytic shapes that looks enough like neuropil to set a microscope by: no meshes, no growth.

Cells are a Voronoi mosaic bent by sines, with a gap between them; in them lie ellipsoidal mitochondria
with lamellar cristae, vesicles, and densities on a few contacts. For tests; `tissue` makes the real thing.
"""

from __future__ import annotations

import math

import numba
import numpy as np
import numpy.typing as npt

from neuropil.voxelize.volume import Volume

from .materials import StructureTable, load_materials, load_structures
from .truth import Truth

Floats = npt.NDArray[np.float32]
_KINDS = ("axon", "dendrite", "astrocyte")


@numba.njit(cache=True)
def _mosaic(
    seeds: npt.NDArray[np.float64],
    waves: npt.NDArray[np.float64],
    size_nm: npt.NDArray[np.float64],
    cells: npt.NDArray[np.uint32],
    depth_nm: Floats,
) -> None:
    """Nearest seed (cell id - 1) and distance to the bisector with the second nearest, z squeezed by half."""
    squeeze = (0.5, 1.0, 1.0)
    point = np.empty(3)
    for k in range(cells.shape[0]):
        for j in range(cells.shape[1]):
            for i in range(cells.shape[2]):
                place = ((k + 0.5) * size_nm[0], (j + 0.5) * size_nm[1], (i + 0.5) * size_nm[2])
                for a in range(3):
                    moved = place[a]
                    for w in range(waves.shape[0]):
                        phase = waves[w, a, 0]
                        for b in range(3):
                            phase += waves[w, a, 1 + b] * place[b]
                        moved += waves[w, a, 4] * math.sin(phase)
                    point[a] = moved * squeeze[a]
                first, second, best = 1e30, 1e30, 0
                other = 0
                for s in range(seeds.shape[0]):
                    d = 0.0
                    for a in range(3):
                        d += (point[a] - seeds[s, a] * squeeze[a]) ** 2
                    if d < first:
                        second, other = first, best
                        first, best = d, s
                    elif d < second:
                        second, other = d, s
                apart = 0.0
                for a in range(3):
                    apart += (seeds[best, a] * squeeze[a] - seeds[other, a] * squeeze[a]) ** 2
                cells[k, j, i] = best + 1
                depth_nm[k, j, i] = (second - first) / (2.0 * math.sqrt(apart))


def _shell(depth_nm: Floats, thickness_nm: float, voxel_nm: float) -> Floats:
    """Share of a voxel at this depth below a surface that lies in the shell 0 … thickness."""
    low = np.maximum(depth_nm - 0.5 * voxel_nm, 0.0)
    high = np.minimum(depth_nm + 0.5 * voxel_nm, thickness_nm)
    return np.clip((high - low) / voxel_nm, 0.0, 1.0).astype(np.float32)


class _Painter:
    """Paints structures into class, material and bilayer arrays."""

    def __init__(self, shape: tuple[int, int, int], structures: StructureTable) -> None:
        self._structures = structures
        self._material_ids = {name: m.id for name, m in load_materials().materials.items()}
        self.classes = np.zeros(shape, np.uint8)
        self.materials = np.zeros(shape, np.uint8)
        self.membrane = np.zeros(shape, np.float32)

    def paint(
        self, name: str, where: npt.NDArray[np.bool_], box: tuple[slice, ...], bilayer: Floats | None = None
    ) -> None:
        structure = self._structures[name]
        self.classes[box][where] = structure.class_id
        self.materials[box][where] = self._material_ids[structure.material]
        if bilayer is not None:
            self.membrane[box][where] = bilayer[where]


def _around(centre: npt.NDArray[np.int64], radius: int, shape: tuple[int, ...]) -> tuple[slice, ...]:
    return tuple(
        slice(max(0, int(c) - radius), min(n, int(c) + radius + 1)) for c, n in zip(centre, shape, strict=True)
    )


def make_phantom(
    rng: np.random.Generator,
    shape: tuple[int, int, int] = (32, 400, 400),
    voxel_nm: float = 5.0,
    gap_nm: float = 12.0,
    cells_per_um2: float = 9.0,
    mitochondria: int = 10,
    vesicles_per_um3: float = 150.0,
    densities: int = 8,
) -> Truth:
    """A phantom of `shape` voxels (z, y, x), cubic voxels of voxel_nm.

    cells_per_um2 is the density of profiles in a slice, about; counts of mitochondria and densities are those
    tried, a few are left out for want of room.
    """
    extent = np.array(shape) * voxel_nm
    reach = np.maximum(0.15 * extent, 300.0)
    thickness = extent[0] + 2 * reach[0]
    count = max(
        4,
        round(cells_per_um2 * 1e-6 * (extent[1] + 2 * reach[1]) * (extent[2] + 2 * reach[2]) * thickness / 700),
    )
    seeds = rng.uniform(-reach, extent + reach, size=(count, 3))
    waves = np.zeros((6, 3, 5))
    for w, (length, amplitude) in enumerate([(900, 60), (600, 45), (400, 30), (280, 20), (170, 8), (120, 5)]):
        direction = rng.normal(size=(3, 3))
        direction /= np.linalg.norm(direction, axis=1, keepdims=True)
        waves[w, :, 0] = rng.uniform(0, 2 * math.pi, 3)
        waves[w, :, 1:4] = direction * 2 * math.pi / length
        waves[w, :, 4] = amplitude * rng.uniform(0.6, 1.4, 3)
    cells = np.empty(shape, np.uint32)
    bisector = np.empty(shape, np.float32)
    _mosaic(seeds, waves, np.full(3, voxel_nm), cells, bisector)

    depth = bisector - np.float32(gap_nm / 2)
    kinds = rng.choice(3, size=count + 1, p=(0.5, 0.35, 0.15))
    whole = tuple(slice(0, n) for n in shape)
    painter = _Painter(shape, load_structures())
    inside = depth > 0
    plasma = _shell(depth, 8.0, voxel_nm)
    for kind, name in enumerate(_KINDS):
        painter.paint(name, inside & (kinds[cells] == kind), whole, plasma)

    z, y, x = (np.float32(voxel_nm) * axis for axis in np.ogrid[: shape[0], : shape[1], : shape[2]])
    _paint_mitochondria(painter, rng, mitochondria, depth, cells, (z, y, x), voxel_nm)
    boutons = np.flatnonzero((kinds == 0) & (rng.random(count + 1) < 0.5))
    _paint_vesicles(painter, rng, round(vesicles_per_um3 * extent.prod() * 1e-9), depth, cells, boutons, voxel_nm)
    _paint_densities(painter, rng, densities, depth, cells, kinds, voxel_nm)

    cells[~inside] = 0
    size = (voxel_nm, voxel_nm, voxel_nm)
    membrane = np.round(255 * painter.membrane).astype(np.uint8)
    return Truth(*(Volume(a, size) for a in (painter.materials, membrane, cells, painter.classes)))


def _paint_mitochondria(
    painter: _Painter,
    rng: np.random.Generator,
    count: int,
    depth: Floats,
    cells: npt.NDArray[np.uint32],
    axes: tuple[Floats, ...],
    voxel_nm: float,
) -> None:
    deep = np.argwhere(depth[:, ::4, ::4] > 75.0) * (1, 4, 4)
    z, y, x = axes
    for centre in rng.permutation(deep)[:count]:
        turn, radius, ratio = rng.uniform(0, math.pi), rng.uniform(80, 170), rng.uniform(1, 2.5)
        box = _around(centre, round(ratio * radius / voxel_nm) + 2, depth.shape)
        dz, dy, dx = (
            axis[tuple(s if n > 1 else slice(None) for s, n in zip(box, axis.shape, strict=True))] - voxel_nm * c
            for axis, c in zip((z, y, x), centre, strict=True)
        )
        along, across = math.cos(turn) * dx + math.sin(turn) * dy, math.cos(turn) * dy - math.sin(turn) * dx
        below = np.minimum(radius - np.sqrt((along / ratio) ** 2 + across**2 + (dz / 1.5) ** 2), depth[box] - 30.0)
        inside = (below > 0) & (cells[box] == cells[tuple(centre)]) & (painter.classes[box] <= 3)
        painter.paint("mitochondrion", inside, box, _shell(below.astype(np.float32), 20.0, voxel_nm))
        lamella = np.mod(along + 12 * np.sin(across / 40.0) + 8 * np.sin(dz / 30), 42.0) < 11.0
        painter.paint("crista", inside & (below > 24) & lamella & (np.sin(across / 55.0 + dz / 80.0) > -0.5), box)


def _paint_vesicles(
    painter: _Painter,
    rng: np.random.Generator,
    count: int,
    depth: Floats,
    cells: npt.NDArray[np.uint32],
    boutons: npt.NDArray[np.int64],
    voxel_nm: float,
) -> None:
    room = np.argwhere((depth > 30.0) & np.isin(cells, boutons) & (painter.classes == 1))
    vesicle = load_structures()["vesicle"].class_id
    for centre in rng.permutation(room)[:count]:
        radius = float(np.clip(rng.normal(22.0, 2.0), 16.0, 28.0))
        box = _around(centre, math.ceil(radius / voxel_nm), depth.shape)
        grid = np.ogrid[box]
        offset = np.sqrt(sum(((g - c) * voxel_nm) ** 2 for g, c in zip(grid, centre, strict=True)))
        inside = offset < radius
        if (painter.classes[box][inside] != 1).any() or (painter.classes[box][inside] == vesicle).any():
            continue
        painter.paint("vesicle", inside, box, _shell((radius - offset).astype(np.float32), 6.0, voxel_nm))


def _paint_densities(
    painter: _Painter,
    rng: np.random.Generator,
    count: int,
    depth: Floats,
    cells: npt.NDArray[np.uint32],
    kinds: npt.NDArray[np.int64],
    voxel_nm: float,
) -> None:
    spots = np.argwhere((depth > 6) & (depth < 10) & (kinds[cells] == 1))
    for centre in rng.permutation(spots)[:count]:
        radius = rng.uniform(90, 170)
        box = _around(centre, math.ceil(radius / voxel_nm), depth.shape)
        grid = np.ogrid[box]
        near = np.sqrt(sum(((g - c) * voxel_nm) ** 2 for g, c in zip(grid, centre, strict=True))) < radius
        own = cells[box] == cells[tuple(centre)]
        painter.paint("psd", near & own & (depth[box] > 8) & (depth[box] < 40), box)
        painter.paint("cleft", near & (depth[box] <= 0), box)

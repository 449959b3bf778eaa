"""What a finished block measures, in the terms in which real tissue is measured."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numba
import numpy as np
import numpy.typing as npt
from scipy.ndimage import find_objects, label
from scipy.spatial import cKDTree

from neuropil.morphology.tree import SPINE_HEAD, SPINE_NECK, VARICOSITY, Tree

from .arrival import FloatArray
from .certificate import volume_um3
from .clearance import point_triangle_distance2
from .contents import Contents
from .filling import Cell
from .laid_cell import LaidOutCell
from .membranes import Membranes
from .parameters import TissueParameters
from .shapes import FaceArray
from .synapses import Synapse
from .threads import each

KINDS = ("axon", "dendrite", "astrocyte", "myelinated_axon")
WIDEST_GAP_NM = 100.0
NOT_ALONG = (SPINE_NECK, SPINE_HEAD, VARICOSITY)  # what is no length of a neurite: spines and lobes of boutons
TUNNEL_NM = 60.0  # three cells within this of a place make it part of a tunnel
LONGEST_EDGE_UM = 0.08  # of a cell's triangles
PROFILE_PIXEL_UM = 0.01
LEAST_PROFILE_UM2 = 0.0009  # nine pixels of 10 nm: what a segmentation of a real section would keep
# A varicosity is a stretch wider than the axon's median that somewhere is this much wider.
VARICOSITY_OVER_SHAFT = 1.25


@dataclass(frozen=True)
class Calibre:
    """One neurite inside the block: length_um (n,) and diameter_um (n,) of its pieces; spines and lobes are none."""

    length_um: FloatArray
    diameter_um: FloatArray


def measure_block(
    parameters: TissueParameters,
    cells: list[Cell],
    laid: list[LaidOutCell],
    contents: Contents,
    synapses: list[Synapse],
    membranes: Membranes,
    samples_um: FloatArray,
) -> dict[str, float]:
    """Every figure of the block proper, margins left out. samples_um: random points (n, 3) in it."""
    volume = float(np.prod(parameters.size_um))
    owner = membranes.owners(samples_um)
    of_spine = _is_spine(membranes, samples_um)
    kind_of = np.array([KINDS.index(cell.kind) for cell in laid] + [-1])
    kind = kind_of[owner]  # the last entry stands for nobody, -1
    share = {name: float((kind == n).mean()) for n, name in enumerate(KINDS)}
    figures = {f"{name}_fraction": held for name, held in share.items()}
    figures["extracellular_fraction"] = float((owner < 0).mean())
    spines = (kind == KINDS.index("dendrite")) & of_spine
    figures["spine_fraction"] = float(spines.mean())
    figures["dendrite_shaft_fraction"] = share["dendrite"] - figures["spine_fraction"]
    area = membrane_area_um2(cells, parameters.size_um)
    figures["membrane_area_um2_per_um3"] = area / volume
    figures["sheet_width_nm"] = 1000 * membranes.sheet_um
    figures |= _measure_profiles(parameters, membranes)
    per_um3 = volume / len(samples_um)
    figures |= _measure_axons(parameters, laid, owner, samples_um, per_um3)
    figures |= _measure_spines(parameters, laid, float(spines.sum()) * per_um3)
    figures |= _measure_synapses(parameters, laid, synapses, volume)
    box = float(np.prod(np.asarray(parameters.size_um) + 2 * parameters.margin_um))
    mitochondria = [s for s in contents.solids if s.structure == "mitochondrion"]
    figures["mitochondrial_fraction"] = (
        sum(volume_um3((s.vertices_um.astype(float), s.faces)) for s in mitochondria) / box
    )
    figures |= {f"{name}_per_um3": number / box for name, number in contents.counts.items()}
    return figures


def _measure_profiles(parameters: TissueParameters, membranes: Membranes) -> dict[str, float]:
    """How many profiles cells show per area of section, and how large: three sections across each axis."""
    size = np.asarray(parameters.size_um)
    areas: list[float] = []
    seen = 0.0
    for axis in range(3):
        a, b = (d for d in range(3) if d != axis)
        shape = (int(size[a] / PROFILE_PIXEL_UM), int(size[b] / PROFILE_PIXEL_UM))
        plane = np.empty((shape[0] * shape[1], 3))
        plane[:, [a, b]] = (np.indices(shape).reshape(2, -1).T + 0.5) * PROFILE_PIXEL_UM
        for at in (0.2, 0.5, 0.8):
            plane[:, axis] = at * size[axis]
            owner = membranes.owners(plane).reshape(shape)
            seen += size[a] * size[b]
            for cell, box in enumerate(find_objects(owner + 1)):
                if box is not None:
                    pieces, _ = label(owner[box] == cell)
                    areas.extend((np.bincount(pieces.ravel())[1:] * PROFILE_PIXEL_UM**2).tolist())
    whole = np.array([area for area in areas if area >= LEAST_PROFILE_UM2])
    if len(whole) == 0:
        return {}
    diameter = 2 * np.sqrt(whole / np.pi)
    return {"profiles_per_um2": len(whole) / seen, "profile_diameter_um": float(np.median(diameter))}


def _inside(points_um: FloatArray, parameters: TissueParameters) -> npt.NDArray[np.bool_]:
    return np.asarray(((points_um > 0) & (points_um < parameters.size_um)).all(-1))


def _is_spine(membranes: Membranes, points_um: FloatArray) -> npt.NDArray[np.bool_]:
    """Whether the piece of a cell that arrives first near each point is a spine's."""
    grid = membranes.arrivals.grid
    node = np.rint((points_um - grid.origin_um) / grid.spacing_um).astype(int)
    part = membranes.arrivals.part[tuple(node.T)]
    return np.asarray((part == SPINE_NECK) | (part == SPINE_HEAD))


def _segments(tree: Tree, parameters: TissueParameters) -> tuple[FloatArray, FloatArray]:
    """Middles (n, 3) and lengths (n,) of the segments of a tree whose middle lies in the block."""
    child = np.flatnonzero(tree.parents >= 0)
    child = child[~np.isin(tree.types[child], NOT_ALONG)]
    ends = tree.points_um[child], tree.points_um[tree.parents[child]]
    middle, length = 0.5 * (ends[0] + ends[1]), np.linalg.norm(ends[0] - ends[1], axis=1)
    inside = _inside(middle, parameters)
    return middle[inside], length[inside]


def calibre(tree: Tree, parameters: TissueParameters, held_um: FloatArray, volume_um3_each: float) -> Calibre | None:
    """Local diameters of a neurite from the random points (n, 3) that it holds; None if it hardly enters the block.

    Each point counts for the segment that is nearest to it, and areas are averaged over five segments.
    """
    middle, length = _segments(tree, parameters)
    if len(middle) < 5:
        return None
    _, nearest = cKDTree(middle).query(held_um)
    volume = np.bincount(nearest, minlength=len(middle)) * volume_um3_each
    window = np.ones(5)
    area = np.convolve(volume, window, "same") / np.convolve(length, window, "same")
    return Calibre(length, 2 * np.sqrt(area / np.pi))


def _measure_axons(
    parameters: TissueParameters,
    laid: list[LaidOutCell],
    owner: npt.NDArray[np.int32],
    samples_um: FloatArray,
    volume_each: float,
) -> dict[str, float]:
    """Length, diameters and varicosities of the unmyelinated axons, as they are after inflation."""
    by_cell = np.argsort(owner, kind="stable")
    bounds = np.searchsorted(owner[by_cell], np.arange(len(laid) + 1))
    shafts: list[tuple[float, float]] = []
    diameters: list[Calibre] = []
    swellings: list[tuple[float, float]] = []
    for index, cell in enumerate(laid):
        held = samples_um[by_cell[bounds[index] : bounds[index + 1]]]
        if cell.kind == "axon" and len(held) > 0:
            found = calibre(cell.skeleton, parameters, held, volume_each)
            diameters += [] if found is None else [found]
    # Of a short piece most may be varicosity: its own median then says nothing of its shaft.
    of_all = float(np.median(np.concatenate([c.diameter_um for c in diameters]))) if diameters else 0.0
    for found in diameters:
        usual = min(float(np.median(found.diameter_um)), of_all)
        wide = _widened(found.diameter_um > usual, found.diameter_um > VARICOSITY_OVER_SHAFT * usual)
        shafts.append((float(found.length_um[~wide].sum()), float((found.diameter_um * found.length_um)[~wide].sum())))
        for first, stop in _runs(wide):
            piece = slice(first, stop)
            areas = 0.25 * np.pi * found.diameter_um[piece] ** 2
            swellings.append((float(found.length_um[piece].sum()), float((areas * found.length_um[piece]).sum())))
    length = sum(_segments(c.skeleton, parameters)[1].sum() for c in laid if c.kind == "axon")
    figures = {"axon_length_um_per_um3": float(length / np.prod(parameters.size_um))}
    if not diameters:
        return figures
    along = np.concatenate([c.length_um for c in diameters])
    figures["axon_diameter_um"] = float(np.average(np.concatenate([c.diameter_um for c in diameters]), weights=along))
    figures["axon_shaft_diameter_um"] = sum(d for _, d in shafts) / max(sum(x for x, _ in shafts), 1e-9)
    whole = [s for s in swellings if s[0] > 0.25]
    if whole:
        figures["varicosity_length_um"] = float(np.mean([s[0] for s in whole]))
        figures["varicosity_volume_um3"] = float(np.mean([s[1] for s in whole]))
        figures["varicosity_spacing_um"] = float(along.sum() / len(whole))
    return figures


def _widened(ground: npt.NDArray[np.bool_], peaks: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """The stretches of `ground` that hold a peak."""
    wide = np.zeros_like(ground)
    for first, stop in _runs(ground):
        wide[first:stop] = peaks[first:stop].any()
    return wide


def _runs(keep: npt.NDArray[np.bool_]) -> list[tuple[int, int]]:
    """First and one past the last of every stretch of True."""
    edges = np.flatnonzero(np.diff(np.r_[False, keep, False].astype(np.int8)))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))


def _measure_spines(parameters: TissueParameters, laid: list[LaidOutCell], volume_um3: float) -> dict[str, float]:
    """Spines of the dendrites: how many, how long and how large. volume_um3: what all hold together."""
    heads = [h for cell in laid for h in cell.spine_heads if _inside(h.centre_um, parameters)]
    shaft = sum(_segments(c.skeleton, parameters)[1].sum() for c in laid if c.kind == "dendrite")
    if not heads or shaft == 0:
        return {}
    return {
        "spines_per_um3": len(heads) / float(np.prod(parameters.size_um)),
        "spines_per_um_of_dendrite": len(heads) / float(shaft),
        "spine_volume_um3": volume_um3 / len(heads),
        "spine_length_um": float(np.mean([h.length_um for h in heads])),
    }


def _measure_synapses(
    parameters: TissueParameters, laid: list[LaidOutCell], synapses: list[Synapse], volume: float
) -> dict[str, float]:
    """Density, kinds and sizes of the synapses in the block."""
    inside = [s for s in synapses if _inside(s.position_um, parameters)]
    figures = {"synapses_per_um3": len(inside) / volume}
    if not inside:
        return figures
    length = sum(_segments(c.skeleton, parameters)[1].sum() for c in laid if c.kind == "axon")
    kinds = Counter((s.kind, s.head_volume_um3 is not None) for s in inside)
    figures["axon_length_per_synapse_um"] = float(length) / len(inside)
    asymmetric = kinds["asymmetric", True] + kinds["asymmetric", False]
    figures["asymmetric_share"] = asymmetric / len(inside)
    if asymmetric:
        figures["asymmetric_on_spines"] = kinds["asymmetric", True] / asymmetric
    if asymmetric < len(inside):
        figures["symmetric_on_shafts"] = kinds["symmetric", False] / (len(inside) - asymmetric)
    figures["psd_area_um2"] = float(np.mean([s.psd_area_um2 for s in inside]))
    return figures


def membrane_area_um2(cells: list[Cell], size_um: tuple[float, float, float]) -> float:
    """Area of all cells' surfaces inside the block, both sides of every gap."""
    high = np.asarray(size_um, float)
    return sum(each(lambda cell: _area_inside(cell.vertices_um, cell.faces, high), cells))


@numba.njit(cache=True, nogil=True)
def _area_inside(vertices: FloatArray, faces: FaceArray, high: FloatArray) -> float:
    """Area of the triangles whose middle lies in the box from 0 to high."""
    total = 0.0
    for f in range(faces.shape[0]):
        a, b, c = vertices[faces[f, 0]], vertices[faces[f, 1]], vertices[faces[f, 2]]
        inside = True
        for d in range(3):
            middle = (a[d] + b[d] + c[d]) / 3
            inside = inside and 0 < middle < high[d]
        if inside:
            x = (b[1] - a[1]) * (c[2] - a[2]) - (b[2] - a[2]) * (c[1] - a[1])
            y = (b[2] - a[2]) * (c[0] - a[0]) - (b[0] - a[0]) * (c[2] - a[2])
            z = (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])
            total += 0.5 * np.sqrt(x * x + y * y + z * z)
    return total


def membrane_gaps_nm(
    cells: list[Cell],
    size_um: tuple[float, float, float],
    rng: np.random.Generator,
    places: int = 24,
    each_place: int = 50,
) -> FloatArray:
    """At random places of the membranes, (n, 2) in nm: how far the nearest other cell's surface is, and a third cell's.

    The first is the width of the extracellular space there; the second says whether two cells or more meet. Both
    are measured on the meshes; what is farther than WIDEST_GAP_NM counts as that far.
    """
    reach = WIDEST_GAP_NM / 1000
    edge = min(0.25, *size_um)
    lows = np.array([cell.vertices_um.min(0) for cell in cells]) - reach
    highs = np.array([cell.vertices_um.max(0) for cell in cells]) + reach

    def widths(place: tuple[FloatArray, np.random.Generator]) -> FloatArray:
        low, own_rng = place
        near: list[FloatArray] = []
        owner: list[npt.NDArray[np.int64]] = []
        for index in np.flatnonzero(((lows < low + edge) & (highs > low)).all(1)):
            vertices, faces = cells[index].vertices_um, cells[index].faces
            there = ((vertices > low - reach) & (vertices < low + edge + reach)).all(1)[faces[:, 0]]
            near.append(vertices[faces[there]])
            owner.append(np.full(len(near[-1]), index))
        corners, whose = np.concatenate(near), np.concatenate(owner)
        first = corners[:, 0]
        cross = np.cross(corners[:, 1] - first, corners[:, 2] - first)
        weight = np.linalg.norm(cross, axis=1) * ((first > low) & (first < low + edge)).all(1)
        if weight.sum() == 0:
            return np.empty((0, 2))
        chosen = own_rng.choice(len(corners), size=each_place, p=weight / weight.sum())
        return _nearest_foreign(corners, whose, chosen, reach)

    boxes = rng.uniform(0, np.asarray(size_um) - edge + 1e-9, (places, 3))
    return 1000 * np.concatenate(each(widths, list(zip(boxes, rng.spawn(places), strict=True))))


@numba.njit(cache=True, nogil=True)
def _nearest_foreign(
    corners: FloatArray, owner: npt.NDArray[np.int64], chosen: npt.NDArray[np.int64], reach: float
) -> FloatArray:
    out = np.empty((len(chosen), 2))
    for n in range(len(chosen)):
        t = corners[chosen[n]]
        point = (t[0] + t[1] + t[2]) / 3
        nearest, partner, third = reach * reach, -1, reach * reach
        for m in range(corners.shape[0]):
            who = owner[m]
            if who == owner[chosen[n]]:
                continue
            far = corners[m, 0] - point
            bound = nearest if who == partner else third
            if far[0] * far[0] + far[1] * far[1] + far[2] * far[2] > (np.sqrt(bound) + LONGEST_EDGE_UM) ** 2:
                continue
            distance = point_triangle_distance2(point, corners[m])
            if distance < nearest:
                if who != partner:
                    third, partner = nearest, who
                nearest = distance
            elif who != partner:
                third = min(third, distance)
        out[n, 0], out[n, 1] = np.sqrt(nearest), np.sqrt(third)
    return out


def sheets_and_tunnels(gaps_nm: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Widths (n,) where two cells face each other, and (m,) where a third is within TUNNEL_NM; from (n + m, 2)."""
    tunnel = gaps_nm[:, 1] < TUNNEL_NM
    return gaps_nm[~tunnel, 0], gaps_nm[tunnel, 0]

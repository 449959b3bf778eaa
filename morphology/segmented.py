"""Skeletons and radii of the objects of a segmented volume."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import fastremap
import kimimaro
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from .tree import UNDEFINED, Tree

# An object larger than a dendrite that crosses tens of µm is a soma, or a merger of many cells.
LARGEST_UM3 = 50.0
THICKEST_UM = 1.5
# Objects shorter than this, and than this share of the volume's longest side, are crumbs.
SHORTEST_UM, SHORTEST_SHARE = 3.0, 1 / 3
BUMP_NM = 250.0
# Objects that extend farther are measured in a window of this many voxels a side around one of their voxels.
WINDOW = 256
# Skeleton points are averaged over this many neighbours on either side, against the steps of the voxels.
SMOOTHING = 3


@dataclass(frozen=True, eq=False)
class SegmentedObject:
    """One object of a segmentation.

    Attributes:
        label: its id in the volume.
        tree: its skeleton; radii are distances to the surface (Euclidean, in µm).
        mask: (z, y, x) its voxels in its box.
        origin_nm: (z, y, x) lower corner of the box.
    """

    label: int
    tree: Tree
    mask: NDArray[np.bool_]
    origin_nm: tuple[float, float, float]


@dataclass(frozen=True)
class ObjectChoice:
    """The objects that can be measured: index in the renumbered volume and box; and how many were left out."""

    labels: NDArray[np.integer]
    ids: dict[int, int]
    boxes: dict[int, tuple[slice, slice, slice]]
    large: int
    short: int


def choose_objects(labels: NDArray[np.integer], voxel_size_nm: tuple[float, float, float]) -> ObjectChoice:
    """Objects that are neither somata (by volume) nor crumbs.

    Args:
        labels: (z, y, x) ids, 0 for none.

    Raises:
        ValueError: no object at all, or none that is long enough.
    """
    if labels.dtype.kind not in "bui":
        raise ValueError(f"the volume holds {labels.dtype} values, but object ids are whole numbers from 0")
    if labels.dtype.kind == "i" and labels.min() < 0:
        raise ValueError(f"the volume holds {labels.min()}, but object ids are whole numbers from 0")
    compact, names = fastremap.renumber(labels.astype(np.uint8) if labels.dtype == bool else labels)
    if compact.max() == 0:
        raise ValueError(f"the volume holds no object: all {labels.size} voxels are 0")
    counts = np.bincount(compact.ravel())
    boxes = ndimage.find_objects(compact)
    voxel_um3 = float(np.prod(voxel_size_nm)) * 1e-9
    least = min(SHORTEST_UM, SHORTEST_SHARE * max(np.multiply(labels.shape, voxel_size_nm)) * 1e-3)
    kept, large, short = {}, 0, 0
    for index, box in enumerate(boxes, start=1):
        sides = [(part.stop - part.start) * size * 1e-3 for part, size in zip(box, voxel_size_nm, strict=True)]
        if counts[index] * voxel_um3 > LARGEST_UM3:
            large += 1
        elif max(sides) < least:
            short += 1
        else:
            kept[index] = box
    ids = {int(index): int(name) for name, index in names.items()}
    if not kept:
        raise ValueError(
            f"the volume holds {len(boxes)} objects, but none that is {least:.2g} µm long and below {LARGEST_UM3:g} µm³"
        )
    return ObjectChoice(compact, ids, kept, large, short)


def skeletons(
    choice: ObjectChoice, voxel_size_nm: tuple[float, float, float], rng: np.random.Generator
) -> Iterator[SegmentedObject]:
    """Skeletons of the chosen objects (TEASAR: Sato 2000, kimimaro), in random order, somata left out by radius.

    Of an object that extends farther than `WINDOW` voxels, the largest piece in a window of that size is measured.
    """
    for index in rng.permutation(sorted(choice.boxes)).tolist():
        box = choice.boxes[index]
        mask = choice.labels[box] == index
        if max(mask.shape) > WINDOW:
            box = _window(mask, box, rng)
            mask = choice.labels[box] == index
        origin = tuple(part.start * size for part, size in zip(box, voxel_size_nm, strict=True))
        tree = skeleton(mask, voxel_size_nm, origin)
        if tree is not None and tree.radii_um.max() <= THICKEST_UM:
            yield SegmentedObject(choice.ids[index], tree, mask, (origin[0], origin[1], origin[2]))


def _window(
    mask: NDArray[np.bool_], box: tuple[slice, slice, slice], rng: np.random.Generator
) -> tuple[slice, slice, slice]:
    """Part of an object's box, at most `WINDOW` voxels a side, around one of its voxels."""
    voxels = np.flatnonzero(mask)
    middle = np.unravel_index(int(voxels[rng.integers(len(voxels))]), mask.shape)
    starts = [
        part.start + int(np.clip(place - WINDOW // 2, 0, max(0, side - WINDOW)))
        for part, place, side in zip(box, middle, mask.shape, strict=True)
    ]
    parts = [slice(start, min(start + WINDOW, part.stop)) for start, part in zip(starts, box, strict=True)]
    return parts[0], parts[1], parts[2]


def skeleton(
    mask: NDArray[np.bool_], voxel_size_nm: tuple[float, float, float], origin_nm: tuple[float, ...] = (0.0, 0.0, 0.0)
) -> Tree | None:
    """Centre line of the largest piece of a mask (z, y, x), with radii by distance transform; None where too small."""
    size = float(np.prod(voxel_size_nm)) ** (1 / 3)
    found = kimimaro.skeletonize(
        mask.astype(np.uint8),
        # Branches shorter than 1.5 radii and a few voxels are bumps of the surface.
        teasar_params={"scale": 1.5, "const": max(4 * size, BUMP_NM), "pdrf_scale": 100000, "pdrf_exponent": 4},
        anisotropy=voxel_size_nm,
        dust_threshold=20,
        progress=False,
        fix_borders=False,
        parallel=1,
    ).get(1)
    if found is None or len(found.vertices) < 4:
        return None
    points = (found.vertices + np.asarray(origin_nm) + np.asarray(voxel_size_nm) / 2)[:, ::-1] * 1e-3
    return _tree(points.astype(np.float64), found.radii.astype(np.float64) * 1e-3, found.edges)


def _tree(points: NDArray[np.float64], radii: NDArray[np.float64], edges: NDArray[np.integer]) -> Tree | None:
    """Tree of the largest connected piece, rooted at one end of its longest path and smoothed."""
    neighbours: list[list[int]] = [[] for _ in points]
    for first, second in edges.tolist():
        neighbours[first].append(second)
        neighbours[second].append(first)
    seen: set[int] = set()
    pieces = []
    for start in range(len(points)):
        if start not in seen:
            order, _ = _walk(neighbours, points, start)
            seen.update(order)
            pieces.append(order)
    largest = max(pieces, key=len)
    _, paths = _walk(neighbours, points, largest[0])
    order, _ = _walk(neighbours, points, max(paths, key=lambda point: paths[point]))
    if len(order) < 4:
        return None
    place = {point: index for index, point in enumerate(order)}
    parents = np.full(len(order), -1)
    for index, point in enumerate(order[1:], start=1):
        parents[index] = next(place[other] for other in neighbours[point] if place[other] < index)
    chosen = np.array(order)
    least = max(float(radii[radii > 0].min(initial=1e-3)), 1e-3)
    tree = Tree(points[chosen], np.maximum(radii[chosen], least), parents, np.full(len(order), UNDEFINED))
    return smoothed(tree)


def _walk(neighbours: list[list[int]], points: NDArray[np.float64], start: int) -> tuple[list[int], dict[int, float]]:
    """Points in the order they are met from a start, each after the one it is met from; and the path to each."""
    paths = {start: 0.0}
    order, waiting = [], [start]
    while waiting:
        here = waiting.pop()
        order.append(here)
        for there in neighbours[here]:
            if there not in paths:
                paths[there] = paths[here] + float(np.linalg.norm(points[there] - points[here]))
                waiting.append(there)
    return order, paths


def smoothed(tree: Tree) -> Tree:
    """The tree with points and radii averaged along its sections; branch points and tips stay."""
    points, radii = tree.points_um.copy(), tree.radii_um.copy()
    for run in tree.sections():
        for place in range(1, len(run) - 1):
            reach = min(SMOOTHING, place, len(run) - 1 - place)
            near = run[place - reach : place + reach + 1]
            points[run[place]] = tree.points_um[near].mean(axis=0)
            radii[run[place]] = tree.radii_um[near].mean()
    return Tree(points, radii, tree.parents, tree.types)

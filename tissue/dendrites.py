"""Laying out thick processes that cross a block, and the spines of dendrites."""

from collections.abc import Iterator

import numpy as np

from neuropil.morphology.neuron_class import NeuronClass
from neuropil.morphology.tree import DENDRITE, SPINE_HEAD, SPINE_NECK, Tree

from .arrival import FloatArray, RoundCones
from .free_space import (
    REACH_UM,
    SEED_CLEARANCE_UM,
    STEP_UM,
    USUAL_INFLATION_UM,
    FreeSpace,
    across,
    any_direction,
    limited_slope,
    smooth_noise,
    unit,
)
from .laid_cell import LaidOutCell, SpineHead

ATTEMPTS = 30
FAILURES = 12  # thinner and thinner ones that find no room, until no more are tried
THINNEST_NECK_UM = 0.035
SPINE_TRIES = 24


def lay_across(space: FreeSpace, kind: str, radius_um: float, swc_type: int) -> LaidOutCell | None:
    """One thick, nearly straight process from face to face; None if there is no room for it."""
    best: tuple[float, FloatArray] | None = None
    for _ in range(ATTEMPTS):
        start = space.rng.uniform(space.low, space.high)
        if space.room(start)[0] < radius_um * 0.9:
            continue
        path, _, exits = space.walk_both_ways(
            start,
            any_direction(space.rng),
            comfort_um=radius_um + 0.1,
            smallest_um=min(radius_um * 0.7, REACH_UM * 0.95),
            stiffness=6.0,
            purpose=3.0,
            wobble=0.15,
        )
        length = len(path) * STEP_UM
        if exits == 2 and length > 4 * radius_um and (best is None or length > best[0]):
            best = (length, path)
            if length > 0.8 * float(np.min(space.high - space.low)):
                break
    if best is None:
        return None
    path = best[1]
    wave = 1 + 0.18 * smooth_noise(space.rng, len(path), 8)
    room = space.room(path) - SEED_CLEARANCE_UM
    # Beyond the field's reach the room is unknown but at least the reach.
    room = np.where(room >= REACH_UM - 2 * SEED_CLEARANCE_UM, np.inf, room)
    radii = limited_slope(np.minimum(radius_um * wave, room), STEP_UM)
    cell = LaidOutCell(kind, space.tree(path, radii, swc_type))
    space.occupy(cell.round_cones())
    return cell


def lay_dendrites(space: FreeSpace, spiny: NeuronClass, share: float) -> Iterator[LaidOutCell]:
    """Dendrite shafts until they hold their share of the block, as far as they find room."""
    held, failures = 0.0, 0
    while held < share * space.volume_um3 and failures < FAILURES:
        # After a failure a thinner one is tried: the block fills with what still fits.
        radius = (float(spiny.shaft_radius_um.sample(space.rng)) - USUAL_INFLATION_UM) * 0.9**failures
        shaft = lay_across(space, "dendrite", radius, DENDRITE)
        if shaft is None:
            failures += 1
        else:
            held += _inflated_volume_um3(shaft.skeleton)
            yield shaft


def _inflated_volume_um3(tree: Tree) -> float:
    """About how much a neurite will hold once it has met its neighbours."""
    child = np.flatnonzero(tree.parents >= 0)
    radii = 0.5 * (tree.radii_um[child] + tree.radii_um[tree.parents[child]]) + USUAL_INFLATION_UM
    return float((np.pi * radii**2 * tree.segment_lengths_um[child]).sum())


def with_spines(space: FreeSpace, cell: LaidOutCell, spiny: NeuronClass, density_scale: float) -> LaidOutCell:
    """The dendrite with spines on its shaft, where there is room."""
    if spiny.spine is None:
        return cell
    shaft = cell.skeleton
    points, radii = [*shaft.points_um], [*shaft.radii_um]
    parents, types = [*shaft.parents], [*shaft.types]
    heads: list[SpineHead] = []
    density = float(spiny.spine.density_per_um.sample(space.rng)) * density_scale
    along = space.rng.exponential(1 / density)
    for node in range(1, len(shaft.points_um)):
        along -= STEP_UM
        if along > 0:
            continue
        along += space.rng.exponential(1 / density)
        tangent = unit(shaft.points_um[node] - shaft.points_um[node - 1])
        spine = _spine(space, shaft.points_um[node], shaft.radii_um[node], tangent, spiny)
        if spine is None:
            continue
        first = len(points)
        points.extend(spine[0])
        radii.extend(spine[1])
        parents.extend([node, *range(first, first + len(spine[0]) - 1)])
        types.extend([SPINE_NECK] * (len(spine[0]) - 2) + [SPINE_HEAD] * 2)
        length = float(np.linalg.norm(spine[0][-1] - shaft.points_um[node]) + spine[1][-1] - shaft.radii_um[node])
        heads.append(SpineHead(spine[0][-1], float(spine[1][-1]), length))
        space.occupy(RoundCones(spine[0][:-1], spine[0][1:], spine[1][:-1], spine[1][1:]))
    tree = Tree(np.array(points), np.array(radii), np.array(parents, np.int32), np.array(types, np.int16))
    return LaidOutCell(cell.kind, tree, [], heads)


def _spine(
    space: FreeSpace, base: FloatArray, shaft_radius: float, tangent: FloatArray, spiny: NeuronClass
) -> tuple[FloatArray, FloatArray] | None:
    """Points and radii of a spine that finds room, or None."""
    assert spiny.spine is not None
    length = float(spiny.spine.length_um.sample(space.rng))
    neck, head = (radius - USUAL_INFLATION_UM for radius in spiny.spine.sample_neck_and_head_um(space.rng))
    neck, head = max(neck, THINNEST_NECK_UM), max(head, space.parameters.thinnest_radius_um)
    shortest = 2.2 * head + 0.15
    longest = max(length, shortest)
    for shorter in np.linspace(0, 1, SPINE_TRIES) ** 2:  # a spine that finds no room turns, then it is drawn shorter
        length = longest - float(shorter) * (longest - shortest)
        out = unit(across(tangent, space.rng) + 0.3 * space.rng.normal(size=3))
        bend = across(out, space.rng) * space.rng.uniform(0, 0.25)
        reach = np.array([0.0, 0.35, 0.7, 1.0]) * (length - 1.6 * head)
        t = np.array([*reach, length - head * 0.9, length - head * 0.4])
        points = base + (shaft_radius * 0.85 + t)[:, None] * out + ((t / length) ** 2 * length)[:, None] * bend
        radii = np.array([neck * 1.3, neck, neck, neck * 1.2, head * space.rng.uniform(0.85, 1.1), head])
        room = space.room(points)
        from_axis = np.linalg.norm(points - base, axis=1)
        own = 0.8 * from_axis - shaft_radius - 0.03  # at least the clearance to its own dendrite
        crowded = (room < radii + SEED_CLEARANCE_UM) & (room < own)
        inside = ((points > space.low + 0.05) & (points < space.high - 0.05)).all()
        if inside and not crowded.any():
            return points, radii
    return None


def spine_volume_um3(cells: list[LaidOutCell]) -> float:
    """About what the heads of all spines hold once inflated."""
    return sum(4 / 3 * np.pi * (h.radius_um + USUAL_INFLATION_UM) ** 3 for c in cells for h in c.spine_heads)

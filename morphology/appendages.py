"""What stands on a lone neurite: varicosities, spines, side branches."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .growing_tree import GrowingTree
from .neuron_class import SideBranch, Spine, Varicosity
from .path import any_perpendicular, unit, wander
from .tree import SPINE_HEAD, SPINE_NECK, VARICOSITY

# Distance of the points along a neck or a side branch.
POINT_SPACING_UM = 0.1
# How often a spine or side branch that would touch its neurite is drawn again.
TRIES = 20
# Closest approach of a spine or side branch to the rest of its neurite.
SPINE_GAP_UM = 0.04
# Radius of the flat tip of a spine's head over the radius of its neck.
SPINE_TIP = 0.6


def swell(
    varicosity: Varicosity,
    arc: NDArray[np.float64],
    radii: NDArray[np.float64],
    types: NDArray[np.int16],
    rng: np.random.Generator,
) -> None:
    """Raise the radii, in place, to the ellipsoids of varicosities; each stands a drawn spacing after the
    last.
    """
    centre = varicosity.spacing_um.sample(rng) * rng.random()
    while centre < arc[-1]:
        half = varicosity.length_um.sample(rng) / 2
        # Longer than wide: a swelling is no disc.
        widest = min(varicosity.radius_um.sample(rng), half)
        ellipse = widest * np.sqrt(np.maximum(0, 1 - ((arc - centre) / half) ** 2))
        types[ellipse > radii] = VARICOSITY
        np.maximum(radii, ellipse, out=radii)
        centre += varicosity.spacing_um.sample(rng)


def add_spines(
    growing: GrowingTree,
    spine: Spine,
    shaft: NDArray[np.int64],
    arc: NDArray[np.float64],
    rng: np.random.Generator,
) -> None:
    """Spines at random places of the shaft; one that would touch another or the shaft is placed anew."""
    for _ in range(rng.poisson(spine.density_per_um.sample(rng) * arc[-1])):
        along, radii, types = _spine_outline(spine, rng)
        beyond = along > 2 * (radii[0] + SPINE_GAP_UM)  # the foot of the neck touches the shaft
        for _ in range(TRIES):
            base = shaft[int(np.clip(np.searchsorted(arc, rng.uniform(0, arc[-1])), 1, len(shaft) - 2))]
            forward = unit(growing.points[base + 1] - growing.points[base - 1])
            out = unit(any_perpendicular(forward, rng) + rng.normal(0, 0.25) * forward)
            points = growing.points[base] + (growing.radii[base] + along)[:, None] * out
            if growing.is_clear(points[beyond], radii[beyond], SPINE_GAP_UM):
                growing.add_chain(int(base), points, radii, types)
                break


def _spine_outline(
    spine: Spine, rng: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int16]]:
    """Distance from the shaft's surface, radius and type of each point of one spine: neck, then a round
    head.
    """
    neck, head = spine.sample_neck_and_head_um(rng)
    neck = min(neck, 0.8 * head)
    # The neck lasts until the head, or anything else, is clear of the shaft.
    neck_length = max(spine.length_um.sample(rng) - 2 * head, neck + 2 * SPINE_GAP_UM)
    # The head's rings start where the ball is as wide as the neck and end in a small flat tip.
    angles = np.linspace(np.pi - np.arcsin(neck / head), np.arcsin(SPINE_TIP * neck / head), 8)
    count = max(2, round(neck_length / POINT_SPACING_UM))
    neck_along = np.linspace(0, neck_length, count, endpoint=False)
    along = np.concatenate([neck_along, neck_length + head * (1 + np.cos(angles))])
    radii = np.concatenate([np.full(count, neck), head * np.sin(angles)])
    types = np.where(np.arange(len(along)) < count, SPINE_NECK, SPINE_HEAD).astype(np.int16)
    return along, radii, types


def add_side_branches(
    growing: GrowingTree,
    branch: SideBranch,
    shaft: NDArray[np.int64],
    arc: NDArray[np.float64],
    persistence: float,
    thinnest_um: float,
    rng: np.random.Generator,
) -> None:
    place = branch.spacing_um.sample(rng) * rng.random()
    while place < arc[-1]:
        index = int(np.clip(np.searchsorted(arc, place), 1, len(shaft) - 2))
        base = int(shaft[index])
        surface = float(growing.radii[base])
        radius = surface * branch.radius_ratio.sample(rng)
        forward = unit(growing.points[shaft[index + 1]] - growing.points[shaft[index - 1]])
        for _ in range(TRIES):
            angle = np.radians(branch.angle_deg.sample(rng))
            direction = np.cos(angle) * forward + np.sin(angle) * any_perpendicular(forward, rng)
            length = branch.length_um.sample(rng) + surface
            path, steps = wander(growing.points[base], direction, length, POINT_SPACING_UM, persistence, rng)
            # It may touch the shaft only where it leaves it.
            beyond = steps > 2 * surface + radius
            radii = np.maximum(radius * (1 - 0.5 * steps / length), thinnest_um)
            if growing.is_clear(path[beyond], radii[beyond], SPINE_GAP_UM):
                types = np.full(len(steps) - 1, growing.types[base], dtype=np.int16)
                growing.add_chain(base, path[1:], radii[1:], types)
                break
        place += branch.spacing_um.sample(rng)

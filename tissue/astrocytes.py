"""Laying out an astrocyte's branches along the voids that neurites leave; its leaflets come with inflation."""

import numpy as np

from neuropil.morphology.neuron_class import NeuronClass
from neuropil.morphology.tree import GLIA, Tree

from .free_space import SEED_CLEARANCE_UM, STEP_UM, FreeSpace, any_direction, limited_slope, smooth_noise
from .laid_cell import LaidOutCell

BRANCHES = 60


def lay_astrocyte(space: FreeSpace, astrocyte: NeuronClass, volume_um3: float) -> LaidOutCell | None:
    """One astrocyte's branches along the widest voids, until they hold the asked volume; None if none finds room."""
    thinnest = space.parameters.thinnest_radius_um
    node = np.unravel_index(int(np.argmax(space.clearance)), space.grid.shape)
    root = space.grid.origin_um + np.array(node) * space.grid.spacing_um
    points, radii, parents = [root], [min(0.3, float(space.room(root)[0]) - SEED_CLEARANCE_UM)], [-1]
    held = 0.0
    for _ in range(BRANCHES):
        if held >= volume_um3:
            break
        branch_from = int(space.rng.integers(len(points)))
        path, _ = space.walk(
            points[branch_from],
            any_direction(space.rng),
            comfort_um=0.2,
            smallest_um=thinnest + SEED_CLEARANCE_UM,
            stiffness=0.8,
            purpose=0.6,
            wobble=0.6,
        )
        if len(path) < 4:
            continue
        path = np.clip(path, space.low, space.high)
        keep = np.r_[True, np.linalg.norm(np.diff(path, axis=0), axis=1) > 1e-4]
        path = path[keep]
        wish = float(astrocyte.shaft_radius_um.sample(space.rng)) * np.exp(0.6 * smooth_noise(space.rng, len(path), 3))
        branch = np.minimum(wish, np.maximum(space.room(path) - SEED_CLEARANCE_UM, thinnest))
        branch = limited_slope(np.r_[min(radii[branch_from], branch[0]), branch[1:]], STEP_UM)
        first = len(points)
        points.extend(path[1:])
        radii.extend(branch[1:])
        parents.extend([branch_from, *range(first, first + len(path) - 2)])
        held += float((np.pi * branch**2).sum() * STEP_UM)
    if len(points) == 1:
        return None
    types = np.full(len(points), GLIA, np.int16)
    cell = LaidOutCell("astrocyte", Tree(np.array(points), np.array(radii), np.array(parents, np.int32), types))
    space.occupy(cell.round_cones())
    return cell

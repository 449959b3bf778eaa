"""The bodies of the endolysosomal path: endosomes, multivesicular bodies with their vesicles, lysosomes."""

from dataclasses import dataclass

import numpy as np

from .arrival import FloatArray
from .interior import CellInterior
from .placement import free_places
from .shapes import CIRCUMSCRIBED, Shape, lumpy_ball, spheres

SHARES = {"multivesicular_body": 0.35, "lysosome": 0.25, "endosome": 0.4}
# Radii (µm), lowest and highest: MVBs of dendrites are 0.2-0.5 µm wide (Cooney et al. 2002, J Neurosci 22:2215).
RADII_UM = {"multivesicular_body": (0.09, 0.2), "lysosome": (0.07, 0.18), "endosome": (0.035, 0.09)}
VESICLE_RADIUS_UM = 0.02  # of the vesicles within a multivesicular body, 40-50 nm wide
VESICLE_SHARE = 0.18  # of the body's volume
LUMPS = 4
LARGEST_LUMP = 0.12


@dataclass(frozen=True)
class Body:
    """One body: what it is, its surface, and the vesicles within it (None where it has none)."""

    structure: str
    surface: Shape
    inner: Shape | None


def bodies(interior: CellInterior, points_um: FloatArray, count: int, rng: np.random.Generator) -> list[Body]:
    """Up to `count` bodies of all three kinds near given points of a cell, where they fit."""
    kinds = rng.choice(list(SHARES), size=count, p=list(SHARES.values()))
    wishes = np.array([rng.uniform(*RADII_UM[kind]) for kind in kinds])
    found = []
    for kind, wish in zip(kinds, wishes, strict=True):
        # A body that finds no room is tried once more at two thirds of the size.
        for radius in (wish, 0.66 * wish):
            centres, _ = free_places(interior, points_um, np.array([radius]), rng)
            if len(centres):
                found.append(_body(str(kind), centres[0], float(radius), rng))
                break
    return found


def _body(structure: str, centre: FloatArray, room: float, rng: np.random.Generator) -> Body:
    """A lumpy ellipsoid that stays within `room` of its centre."""
    stretch = np.exp(0.15 * rng.normal(size=3))
    turn, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    lumps = np.column_stack([rng.normal(size=(LUMPS, 3)), rng.uniform(-LARGEST_LUMP, LARGEST_LUMP, LUMPS)])
    lumps[:, :3] /= np.linalg.norm(lumps[:, :3], axis=1, keepdims=True)
    axes = turn @ np.diag(stretch)
    vertices, faces = lumpy_ball(np.zeros(3), axes, lumps, level=2)
    size = room / float(np.linalg.norm(vertices, axis=1).max())
    surface = vertices * size + centre, faces
    inner = None
    if structure == "multivesicular_body":
        dented = float(np.linalg.norm(vertices @ np.linalg.inv(axes).T, axis=1).min())
        inner = _vesicles_within(centre, size * dented * axes, rng)
    return Body(structure, surface, inner)


def _vesicles_within(centre: FloatArray, axes: FloatArray, rng: np.random.Generator) -> Shape | None:
    """Vesicles within an ellipsoid, apart from each other and from its membrane."""
    outer = VESICLE_RADIUS_UM * CIRCUMSCRIBED[1]
    least = float(np.linalg.norm(np.linalg.inv(axes), 2)) ** -1  # the shortest semi-axis
    shrink = 0.95 - (outer + 0.004) / least
    if shrink <= 0:
        return None
    volume = 4 / 3 * np.pi * abs(np.linalg.det(axes))
    wanted = rng.poisson(VESICLE_SHARE * volume / (4 / 3 * np.pi * VESICLE_RADIUS_UM**3))
    direction = rng.normal(size=(10 * wanted, 3))
    ball = direction / np.linalg.norm(direction, axis=1, keepdims=True) * np.cbrt(rng.random((10 * wanted, 1)))
    kept: list[FloatArray] = []
    for place in centre + shrink * ball @ axes.T:
        if len(kept) >= wanted:
            break
        if all(((place - other) ** 2).sum() > (2 * outer) ** 2 for other in kept):
            kept.append(place)
    if not kept:
        return None
    return spheres(np.array(kept), rng.uniform(0.8, 1.0, len(kept)) * VESICLE_RADIUS_UM)

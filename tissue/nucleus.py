"""The nucleus of a soma: an envelope of two membranes with pores, chromatin and nucleoli."""

import numpy as np
from scipy import ndimage

from .arrival import FloatArray, Grid, interpolate
from .certificate import largest_piece
from .contents import Contents
from .interior import CellInterior
from .placement import unit
from .polygonize import polygonize
from .reticulum import split
from .shapes import joined, lumpy_ball, tube

SPACING_UM = 0.05
PERINUCLEAR_UM = 0.035  # from the outer face of the outer membrane to that of the inner: 20-40 nm of space between them
CYTOPLASM_UM = 0.15  # the least between nucleus and plasma membrane
UNEVENNESS = 0.06  # of the radius, and over what length the outline varies
OUTLINE_UM = 0.6
PORES_PER_UM2 = 10.0  # 5-15 in neurons
PORE_RADIUS_UM = 0.05
PORES_APART_UM = 0.17
PORE_SIDES, PORE_RINGS = 10, 4
HETEROCHROMATIN = (0.15, 0.3)  # its share of the nucleus: little in neurons, whose chromatin is mostly open
CLUMPS_UM = 0.16  # size of its clumps
RIM_UM = 0.12  # thickness of the layer under the envelope, and how much likelier it is there than inside
RIM_PREFERENCE = 1.6
NUCLEOLUS_SHARE = 0.28  # of the nucleus's radius


def add_nucleus(
    contents: Contents,
    cell_id: int,
    interior: CellInterior,
    centre_um: FloatArray,
    radius_um: float,
    rng: np.random.Generator,
) -> int:
    """Put a nucleus into a soma; envelope, chromatin and nucleoli carry one instance's number, which is returned.

    It is as large as radius_um where the soma leaves CYTOPLASM_UM round it, smaller elsewhere. Each pore is an
    instance of its own. Raises ValueError where no nucleus fits.
    """
    reach = radius_um * (1 + 4 * UNEVENNESS) + 2 * SPACING_UM
    grid = Grid.around(centre_um - reach, centre_um + reach, SPACING_UM)
    nodes = grid.nodes()
    size = radius_um * (1 + UNEVENNESS * _noise(grid, OUTLINE_UM, rng))
    depth = size - np.linalg.norm(nodes - centre_um, axis=-1)
    room = interior.depth(nodes.reshape(-1, 3)).reshape(grid.shape) - CYTOPLASM_UM
    depth = ndimage.gaussian_filter(np.minimum(depth, room), 1.0).astype(np.float32)
    envelope, _ = largest_piece(polygonize(grid, depth))
    inner, _ = largest_piece(polygonize(grid, depth - PERINUCLEAR_UM))
    if len(inner[1]) == 0:
        raise ValueError(f"no nucleus of radius {radius_um:g} µm fits the soma of cell {cell_id}")
    number = contents.add_instance("nuclear_envelope", cell_id, envelope, interior)
    contents.add("nucleus", cell_id, inner, interior, number)
    pores = _pore_places(envelope[0], float(_area(envelope[0], envelope[1])), rng)
    chromatin = _heterochromatin(grid, depth - PERINUCLEAR_UM, pores, rng)
    for piece in split(*polygonize(grid, chromatin)):
        contents.add("heterochromatin", cell_id, piece, interior, number)
    for _ in range(int(rng.integers(1, 3))):
        place = centre_um + 0.35 * radius_um * unit(rng.normal(size=3)) * rng.random()
        lumps = np.column_stack([rng.normal(size=(5, 3)), rng.uniform(-0.2, 0.2, 5)])
        lumps[:, :3] /= np.linalg.norm(lumps[:, :3], axis=1, keepdims=True)
        nucleolus = lumpy_ball(place, NUCLEOLUS_SHARE * radius_um * rng.uniform(0.6, 1.1) * np.eye(3), lumps, level=3)
        if _at(grid, depth, nucleolus[0]).min() > 2 * PERINUCLEAR_UM:
            contents.add("nucleolus", cell_id, nucleolus, interior, number)
    _add_pores(contents, cell_id, interior, grid, depth, pores, rng)
    return number


def _noise(grid: Grid, length_um: float, rng: np.random.Generator) -> FloatArray:
    """Smooth noise of unit variance on a grid."""
    field = ndimage.gaussian_filter(rng.normal(size=grid.shape), length_um / grid.spacing_um / 2, mode="wrap")
    return np.asarray(field / field.std())


def _at(grid: Grid, field: FloatArray, points_um: FloatArray) -> FloatArray:
    points = np.ascontiguousarray(points_um, np.float64)
    return np.asarray(interpolate(field, grid.origin_um, grid.spacing_um, points))


def _area(vertices: FloatArray, faces: np.ndarray) -> FloatArray:
    corners = vertices[faces]
    across = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    return np.asarray(0.5 * np.linalg.norm(across, axis=1).sum())


def _pore_places(vertices_um: FloatArray, area_um2: float, rng: np.random.Generator) -> FloatArray:
    """Places (n, 3) on the envelope, PORES_APART_UM from each other."""
    wanted = int(rng.poisson(PORES_PER_UM2 * area_um2))
    kept = np.empty((wanted, 3))
    count = 0
    for candidate in vertices_um[rng.permutation(len(vertices_um))]:
        if count >= wanted:
            break
        if count == 0 or ((kept[:count] - candidate) ** 2).sum(1).min() > PORES_APART_UM**2:
            kept[count] = candidate
            count += 1
    return kept[:count]


def _heterochromatin(grid: Grid, depth: FloatArray, pores_um: FloatArray, rng: np.random.Generator) -> FloatArray:
    """A field that is positive in the dense chromatin: clumps, most of them under the envelope, none at a pore."""
    tendency = _noise(grid, CLUMPS_UM, rng) + RIM_PREFERENCE * np.exp(-np.maximum(depth, 0) / RIM_UM)
    for pore in pores_um:
        reach = 0.15
        sub, window = grid.sub_grid(pore - reach, pore + reach)
        distance = np.linalg.norm(sub.nodes() - pore, axis=-1)
        tendency[window] -= 4 * np.clip(1 - distance / reach, 0, 1)
    inside = depth > 0
    level = np.quantile(tendency[inside], 1 - rng.uniform(*HETEROCHROMATIN))
    # The tendency's slope is about one over the clumps' size, so that this is roughly a distance.
    return np.asarray(np.minimum((tendency - level) * 0.5 * CLUMPS_UM, depth - 0.012), np.float32)


def _add_pores(
    contents: Contents,
    cell_id: int,
    interior: CellInterior,
    grid: Grid,
    depth: FloatArray,
    places_um: FloatArray,
    rng: np.random.Generator,
) -> None:
    """Channels through the envelope at the places, all as one crowd of equal pieces."""
    step = 0.02
    moved = [
        _at(grid, depth, places_um + step * axis) - _at(grid, depth, places_um - step * axis) for axis in np.eye(3)
    ]
    inward = np.stack(moved, axis=-1)
    inward /= np.linalg.norm(inward, axis=1, keepdims=True)
    along = np.linspace(-0.004, PERINUCLEAR_UM + 0.01, PORE_RINGS)
    channels = [
        tube(place + along[:, None] * way, np.full(PORE_RINGS, PORE_RADIUS_UM), rng.normal(size=3), PORE_SIDES)
        for place, way in zip(places_um, inward, strict=True)
    ]
    if channels:
        contents.add_instance("nuclear_pore", cell_id, joined(channels), interior, pieces=len(channels))

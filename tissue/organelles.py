"""Organelles inside one cell, each kept within it by the cell's depth field."""

from dataclasses import dataclass, field

import numba
import numpy as np

from neuropil.morphology.tree import Tree

from .arrival import FloatArray, Grid, RoundCones, arrival_time, interpolate, round_cone_distance
from .certificate import largest_piece
from .polygonize import polygonize
from .shapes import Shape, joined, sheet, spheres, tube

MITOCHONDRION_SPACING_UM = 0.022
VESICLE_RADIUS_UM = 0.021  # 44 nm mean outer diameter less the stain's halo (JCB 200711021, Fig. 5)
TUBE_STEP_UM = 0.045
TRIES_PER_VESICLE = 6
WALL_UM = 0.016  # organelles keep this from their cell's surface (two leaflets)


@dataclass
class CellInterior:
    """What is free inside a cell. depth_um: distance below the surface on a grid (negative outside)."""

    grid: Grid
    depth_um: FloatArray
    occupied: list[RoundCones] = field(default_factory=list)

    def depth(self, points_um: FloatArray) -> FloatArray:
        """Depth below the cell's surface at points (n, 3)."""
        return interpolate(self.depth_um, self.grid.origin_um, self.grid.spacing_um, np.atleast_2d(points_um))

    def room(self, points_um: FloatArray) -> FloatArray:
        """Free distance at points (n, 3): to the cell's surface and to organelles already placed."""
        points = np.atleast_2d(points_um)
        room = self.depth(points) - WALL_UM
        if self.occupied:
            room = np.minimum(room, distance_to_cones(points, self.occupied))
        return room


@numba.njit(cache=True)
def _distance_to_cones(points: FloatArray, cones: FloatArray) -> FloatArray:
    nearest = np.full(points.shape[0], 1e3)
    for n in range(points.shape[0]):
        for c in range(cones.shape[0]):
            nearest[n] = min(nearest[n], round_cone_distance(points[n, 0], points[n, 1], points[n, 2], cones[c]))
    return nearest


def distance_to_cones(points_um: FloatArray, cones: list[RoundCones]) -> FloatArray:
    """Distance (µm) from points (n, 3) to the surface of a union of round cones."""
    return _distance_to_cones(np.ascontiguousarray(points_um, np.float64), np.vstack([c.packed() for c in cones]))


def chains(tree: Tree, swc_type: int) -> list[FloatArray]:
    """Unbranched runs of one type as point arrays (n, 3)."""
    runs: list[list[int]] = []
    last: dict[int, list[int]] = {}
    for node in range(len(tree.parents)):
        if tree.types[node] != swc_type:
            continue
        parent = int(tree.parents[node])
        run = last.pop(parent, None)
        if run is None:
            run = [parent] if parent >= 0 and tree.types[parent] == swc_type else []
            runs.append(run)
        run.append(node)
        last[node] = run
    return [tree.points_um[run] for run in runs if len(run) > 1]


def _random_across(direction: FloatArray, rng: np.random.Generator) -> FloatArray:
    across = np.cross(direction, rng.normal(size=3))
    return np.asarray(across / np.linalg.norm(across))


def offset_path(
    interior: CellInterior, run_um: FloatArray, rng: np.random.Generator, radius_um: float, tries: int = 6
) -> tuple[FloatArray, FloatArray] | None:
    """A run shifted sideways to where a tube of this radius fits best, and the room along it.

    Returns the longest stretch where the room is at least 60 % of the radius, or None if it is under three points.
    """
    direction = run_um[-1] - run_um[0]
    best: tuple[FloatArray, FloatArray] | None = None
    slack = max(float(np.median(interior.depth(run_um))) - radius_um, 0.0)
    for _ in range(tries):
        path = run_um + _random_across(direction, rng) * rng.uniform(0, 0.95) * slack
        room = interior.room(path)
        stretch = longest_run(room > 0.6 * radius_um)
        if stretch is not None and (best is None or stretch.stop - stretch.start > len(best[0])):
            best = path[stretch], room[stretch]
    return best if best is not None and len(best[0]) >= 3 else None


def longest_run(keep: np.ndarray) -> slice | None:
    """The longest stretch of True."""
    edges = np.flatnonzero(np.diff(np.r_[False, keep, False].astype(np.int8)))
    if len(edges) == 0:
        return None
    starts, stops = edges[::2], edges[1::2]
    n = int(np.argmax(stops - starts))
    return slice(int(starts[n]), int(stops[n]))


@dataclass(frozen=True)
class Mitochondrion:
    """Its outer surface, its cristae (None where there are none) and its axis."""

    surface: Shape
    cristae: Shape | None
    length_um: float


def mitochondrion(
    interior: CellInterior, run_um: FloatArray, radius_um: float, rng: np.random.Generator
) -> Mitochondrion | None:
    """A mitochondrion along a run of the cell's axis, as thick as there is room; None where it does not fit.

    Its section is that of one or two parallel strands (round to flattened), swollen and pinched along its length.
    """
    fitted = offset_path(interior, run_um, rng, radius_um)
    if fitted is None:
        return None
    path, room = fitted
    knots = np.exp(0.13 * rng.normal(size=len(path)))
    radii = np.minimum(radius_um * np.convolve(np.pad(knots, 1, mode="edge"), [0.25, 0.5, 0.25], "valid"), room)
    if radii.max() < 0.06:
        return None
    cones = RoundCones(path[:-1], path[1:], radii[:-1], radii[1:])
    low = (path - radii[:, None]).min(0) - 0.12
    high = (path + radii[:, None]).max(0) + 0.12
    grid = Grid.around(low, high, MITOCHONDRION_SPACING_UM)
    body = -arrival_time(grid, cones, 0.4)
    if rng.random() < 0.5:
        aside = _random_across(path[-1] - path[0], rng) * radius_um * rng.uniform(0.3, 0.8)
        second = RoundCones(path[:-1] + aside, path[1:] + aside, radii[:-1] * 0.85, radii[1:] * 0.85)
        body = np.maximum(body, -arrival_time(grid, second, 0.4))
    nodes = grid.nodes().reshape(-1, 3)
    limit = interior.depth(nodes) - WALL_UM
    if interior.occupied:
        limit = np.minimum(limit, distance_to_cones(nodes, interior.occupied) - 0.01)
    body = np.minimum(body, limit.reshape(grid.shape).astype(np.float32))
    surface, _ = largest_piece(polygonize(grid, body))
    if len(surface[1]) < 20 or interior.depth(surface[0]).min() <= 0:
        return None
    interior.occupied.append(RoundCones(path[:-1], path[1:], radii[:-1] * 1.1, radii[1:] * 1.1))
    length = float(np.linalg.norm(np.diff(path, axis=0), axis=1).sum())
    return Mitochondrion(surface, _cristae(grid, body, path, rng), length)


def _cristae(grid: Grid, body: FloatArray, path: FloatArray, rng: np.random.Generator) -> Shape | None:
    """Parallel plates that span the inside, each cut to the inner membrane's outline."""
    axis = (path[-1] - path[0]) / np.linalg.norm(path[-1] - path[0])
    tilt = rng.uniform(0, np.pi / 2) if rng.random() < 0.6 else rng.uniform(0, 0.4)
    side = _random_across(axis, rng)
    normal = np.cos(tilt) * axis + np.sin(tilt) * side
    spacing = rng.uniform(0.036, 0.06)
    along = path @ normal
    across = np.linspace(-0.3, 0.3, 25)
    plates: list[Shape] = []
    for offset in np.arange(along.min() - 0.25, along.max() + 0.25, spacing):
        # Start each plate at the deepest point of the body in its plane, near the axis.
        near = path[np.argmin(np.abs(path @ normal - offset))]
        u = _random_across(normal, rng)
        v = np.cross(normal, u)
        foot = near + normal * (offset - near @ normal)
        plane = foot + across[:, None, None] * u + across[None, :, None] * v
        depth = interpolate(body, grid.origin_um, grid.spacing_um, plane.reshape(-1, 3))
        if depth.max() < 0.035 or rng.random() < 0.15:
            continue
        centre = plane.reshape(-1, 3)[int(np.argmax(depth))]
        angle = np.arange(20) * 2 * np.pi / 20
        ray = np.cos(angle)[:, None] * u + np.sin(angle)[:, None] * v
        reach = np.arange(0.01, 0.6, 0.012)
        probes = centre + reach[None, :, None] * ray[:, None]
        inside = interpolate(body, grid.origin_um, grid.spacing_um, probes.reshape(-1, 3)).reshape(20, -1) > 0.016
        extent = reach[np.maximum(np.cumprod(inside, axis=1).sum(1) - 1, 0)]
        extent = extent * np.where(rng.random(20) < 0.2, rng.uniform(0.4, 0.9, 20), 1)
        plates.append(sheet(centre, normal, centre + ray * extent[:, None], rng.uniform(0.010, 0.017)))
    return joined(plates) if plates else None


def vesicles(
    interior: CellInterior,
    foci_um: FloatArray,
    reach_um: FloatArray,
    density_per_um3: FloatArray,
    rng: np.random.Generator,
) -> FloatArray:
    """Centres (n, 3) of vesicles that crowd round foci (m, 3), at least a vesicle apart.

    reach_um, density_per_um3: (m,) how far each crowd reaches and how dense it is in the volume open to it.
    Random sequential addition until that density, or nothing more fits.
    """
    clouds = []
    for focus, reach, density in zip(foci_um, reach_um, density_per_um3, strict=True):
        tries = int(TRIES_PER_VESICLE * density * (2 * reach) ** 3)
        cloud = focus + rng.uniform(-reach, reach, size=(tries, 3))
        nearness = 3.3 * (1 - np.linalg.norm(cloud - focus, axis=1) / reach)
        clouds.append(cloud[rng.random(tries) < nearness])
    points = np.vstack(clouds) if clouds else np.empty((0, 3))
    if len(points) == 0:
        return np.empty((0, 3))
    points = rng.permutation(points[interior.room(points) > VESICLE_RADIUS_UM - 0.004])
    wanted = len(points) // TRIES_PER_VESICLE
    kept: list[FloatArray] = []
    cells: dict[tuple[int, ...], list[FloatArray]] = {}
    apart = 2 * VESICLE_RADIUS_UM + 0.001
    for point in points:
        if len(kept) >= wanted:
            break
        i, j, k = (point // apart).astype(int)
        around = (cells.get((i + a, j + b, k + c), []) for a in (-1, 0, 1) for b in (-1, 0, 1) for c in (-1, 0, 1))
        if all(((point - other) ** 2).sum() >= apart**2 for group in around for other in group):
            kept.append(point)
            cells.setdefault((i, j, k), []).append(point)
    return np.array(kept) if kept else np.empty((0, 3))


def fitting_spheres(interior: CellInterior, centres_um: FloatArray, radii_um: FloatArray) -> Shape:
    """Spheres as one shape, without those that would reach through the cell's surface."""
    vertices, _ = spheres(centres_um, radii_um)
    fits = interior.depth(vertices).reshape(len(centres_um), -1).min(1) > 0.002
    return spheres(centres_um[fits], radii_um[fits])


def vesicle_radii_um(count: int, rng: np.random.Generator) -> FloatArray:
    """Radii (count,) of vesicles."""
    return np.asarray(VESICLE_RADIUS_UM * np.clip(rng.normal(1, 0.06, count), 0.85, 1.1))


def tubules(
    interior: CellInterior,
    runs_um: list[FloatArray],
    radius_um: float,
    rng: np.random.Generator,
    *,
    flatness: float = 1.0,
    wander_um: float = 0.0,
) -> list[Shape]:
    """Tubes along the runs, off their axis (microtubules, endoplasmic reticulum); what does not fit is left out."""
    shapes = []
    for run in runs_um:
        path = resampled(run, TUBE_STEP_UM)
        if wander_um > 0:
            walk = np.cumsum(rng.normal(scale=wander_um, size=path.shape), axis=0)
            path = path + walk - np.linspace(0, 1, len(path))[:, None] * walk[-1]
        fitted = offset_path(interior, path, rng, radius_um, tries=3 if wander_um else 1)
        if fitted is None:
            continue
        centre, room = fitted
        thick = radius_um * (1 + 0.25 * rng.normal(size=len(centre))) if wander_um else np.full(len(centre), radius_um)
        thick = np.clip(thick, 0.3 * radius_um, np.maximum(room / flatness, 0.3 * radius_um))
        shape = tube(centre, thick, rng.normal(size=3), flatness=flatness)
        if interior.depth(shape[0]).min() > 0:
            shapes.append(shape)
    return shapes


def resampled(path_um: FloatArray, step_um: float) -> FloatArray:
    """The same path with points about step_um apart."""
    along = np.r_[0, np.cumsum(np.linalg.norm(np.diff(path_um, axis=0), axis=1))]
    positions = np.linspace(0, along[-1], max(3, int(along[-1] / step_um) + 1))
    return np.stack([np.interp(positions, along, path_um[:, d]) for d in range(3)], axis=-1)


def random_places(
    interior: CellInterior, points_um: FloatArray, radius_um: float, count: int, rng: np.random.Generator
) -> FloatArray:
    """Up to `count` places (n, 3) near given points where balls of a radius fit, apart from all that is there."""
    base = points_um[rng.integers(len(points_um), size=count * 4)]
    spread = np.maximum(interior.depth(base), 0.05)
    tries = base + 0.6 * spread[:, None] * rng.normal(size=base.shape)
    tries = tries[interior.room(tries) > radius_um]
    places: list[FloatArray] = []
    for point in tries:
        if len(places) >= count:
            break
        if all(((point - other) ** 2).sum() > (2 * radius_um) ** 2 for other in places):
            places.append(point)
    if not places:
        return np.empty((0, 3))
    kept = np.array(places)
    interior.occupied.append(
        RoundCones(kept, kept + 1e-4, np.full(len(kept), radius_um), np.full(len(kept), radius_um))
    )
    return kept

"""Endoplasmic reticulum: a network of tubes and small cisternae that winds through what the cell leaves free."""

import numba
import numpy as np

from .arrival import FloatArray, RoundCones
from .bricks import swept_surface
from .certificate import pieces
from .interior import CellInterior, IntArray, _room_at
from .shapes import FaceArray, Shape

SPACING_UM = 0.02
STEP_UM = 0.05
CANDIDATES = 8
SMALLEST_PIECE_FACES = 120
TUBE_RADIUS_UM = (0.024, 0.036)  # of dendrites: profiles of 50-70 nm on the EPFL CA1 slices


@numba.njit(cache=True, nogil=True)
def _strand(
    start: FloatArray,
    heading: FloatArray,
    axis: FloatArray,
    stiffness: float,
    purpose: float,
    radius: float,
    noise: FloatArray,
    values: FloatArray,
    origin: FloatArray,
    spacing: float,
    wall: float,
    plates: FloatArray,
    cones: FloatArray,
    low: FloatArray,
    head: IntArray,
    entry: IntArray,
) -> FloatArray:
    """A walk from start through places with room for the radius; noise (steps, candidates, 3)."""
    path = np.empty((noise.shape[0] + 1, 3))
    path[0] = start
    for n in range(noise.shape[0]):
        best = -1e9
        chosen = heading
        for c in range(noise.shape[1]):
            trial = heading + noise[n, c]
            trial = trial / np.sqrt((trial * trial).sum())
            x = path[n] + STEP_UM * trial
            room = _room_at(x[0], x[1], x[2], values, origin, spacing, wall, plates, cones, low, head, entry)
            if room < radius:
                continue
            score = min(room, 0.08) / 0.08 + stiffness * (trial * heading).sum() + purpose * (trial * axis).sum()
            if score > best:
                best = score
                chosen = trial
        if best == -1e9:
            return path[: n + 1]
        heading = chosen
        path[n + 1] = path[n] + STEP_UM * chosen
    return path


class Network:
    """A growing network; each strand begins on an earlier one, or anywhere if it is the first."""

    def __init__(self, interior: CellInterior, rng: np.random.Generator) -> None:
        self.interior = interior
        self.rng = rng
        self.strands: list[tuple[FloatArray, FloatArray]] = []

    def grow(
        self,
        start: FloatArray,
        heading: FloatArray,
        axis: FloatArray,
        steps: int,
        radius_um: float,
        wobble: float = 0.35,
    ) -> FloatArray:
        """Add the strand that a walk of up to `steps` steps finds, and return its path (n, 3)."""
        noise = self.rng.normal(scale=wobble, size=(steps, CANDIDATES, 3))
        path = _strand(
            np.asarray(start, float), np.asarray(heading, float), np.asarray(axis, float), 1.2, 0.5, radius_um, noise,
            *self.interior.lookup(),
        )  # fmt: skip
        if len(path) > 1:
            self.strands.append((path, radius_um * np.exp(0.18 * self.rng.normal(size=len(path)))))
        return path

    def widen(self, path: FloatArray, radius_um: float) -> None:
        """Make a cisterna of a stretch of a strand: parallel tubes side by side, as far as there is room."""
        if len(path) < 5:
            return
        length = int(self.rng.integers(3, 9))
        first = int(self.rng.integers(0, max(1, len(path) - length)))
        stretch = path[first : first + length]
        aside = np.cross(stretch[-1] - stretch[0], self.rng.normal(size=3))
        aside /= np.linalg.norm(aside) + 1e-12
        for n in range(1, int(self.rng.integers(3, 8))):
            beside = stretch + n * 1.4 * radius_um * aside
            fits = self.interior.room(beside) > radius_um
            if not fits.all():
                return
            self.strands.append((beside, np.full(len(beside), radius_um)))

    def cones(self) -> RoundCones | None:
        """All strands as round cones, None if there are none."""
        if not self.strands:
            return None
        return RoundCones(
            np.concatenate([p[:-1] for p, _ in self.strands]),
            np.concatenate([p[1:] for p, _ in self.strands]),
            np.concatenate([r[:-1] for _, r in self.strands]),
            np.concatenate([r[1:] for _, r in self.strands]),
        )

    def surfaces(self) -> list[Shape]:
        """The network's pieces, each one closed surface; later organelles keep out of them."""
        cones = self.cones()
        if cones is None:
            return []
        vertices, faces = swept_surface(cones, SPACING_UM, self.interior)
        self.interior.occupy(cones)
        return split(vertices, faces)


def split(vertices: FloatArray, faces: FaceArray) -> list[Shape]:
    """The pieces of a surface that have more than SMALLEST_PIECE_FACES faces, each with its own vertices."""
    if len(faces) == 0:
        return []
    label = pieces(len(vertices), faces)
    of_face = label[faces[:, 0]]
    counts = np.bincount(of_face)
    found = []
    for piece in np.flatnonzero(counts > SMALLEST_PIECE_FACES):
        own = faces[of_face == piece]
        used, renumbered = np.unique(own, return_inverse=True)
        found.append((vertices[used], renumbered.reshape(-1, 3).astype(np.int32)))
    return found


def reticulum(interior: CellInterior, run_um: FloatArray, tubes: int, rng: np.random.Generator) -> list[Shape]:
    """A network along a run of the cell's axis that has about `tubes` tubes side by side, with links and cisternae."""
    network = Network(interior, rng)
    axis = (run_um[-1] - run_um[0]) / np.linalg.norm(run_um[-1] - run_um[0])
    length = float(np.linalg.norm(np.diff(run_um, axis=0), axis=1).sum())
    steps = int(1.2 * length / STEP_UM) + 2
    nodes: list[FloatArray] = []
    for n in range(tubes):
        radius = float(rng.uniform(*TUBE_RADIUS_UM))
        if n == 0 or not nodes:
            base = run_um[rng.integers(len(run_um), size=20)]
            tries = base + rng.normal(size=base.shape) * 0.5 * np.maximum(interior.depth(base), 0.03)[:, None]
            free = np.flatnonzero(interior.room(tries) > radius)
            if len(free) == 0:
                return []
            start = tries[free[0]]
        else:
            start = nodes[int(rng.integers(len(nodes)))]
        for sense in (1, -1):
            path = network.grow(start, sense * axis + 0.6 * rng.normal(size=3), sense * axis, steps, radius)
            nodes.extend(path)
            if rng.random() < 0.7:
                network.widen(path, radius)
    for _ in range(int(rng.poisson(1.2 * length))):
        across = np.cross(axis, rng.normal(size=3))
        across /= np.linalg.norm(across)
        network.grow(nodes[int(rng.integers(len(nodes)))], across, across, int(rng.integers(3, 9)), 0.02)
    return network.surfaces()


def thin_tube(interior: CellInterior, run_um: FloatArray, rng: np.random.Generator) -> list[Shape]:
    """The one tube that winds along a thin axon."""
    network = Network(interior, rng)
    radius = float(rng.uniform(0.017, 0.025))
    fits = np.flatnonzero(interior.room(run_um) > radius)
    if len(fits) == 0:
        return []
    middle = int(fits[len(fits) // 2])
    for way in (run_um[middle:], run_um[middle::-1]):
        at = run_um[middle]
        # The axon bends, so the walk is led from one stretch of it to the next.
        for n in range(0, len(way) - 1, 4):
            goal = way[min(n + 6, len(way) - 1)]
            toward = goal - at
            reach = float(np.linalg.norm(toward))
            if reach < STEP_UM:
                continue
            steps = max(1, round(min(4 * float(np.linalg.norm(way[1] - way[0])), reach) / STEP_UM))
            path = network.grow(at, toward / reach, toward / reach, steps, radius, wobble=0.25)
            if len(path) <= steps // 2:
                break
            at = path[-1]
    return network.surfaces()


def spine_apparatus(
    interior: CellInterior, head_um: FloatArray, neck: FloatArray, radius_um: float, rng: np.random.Generator
) -> list[Shape]:
    """Two or three flat cisternae stacked in a spine head, across the direction of its neck; empty without room."""
    network = Network(interior, rng)
    u = np.cross(neck, rng.normal(size=3))
    u /= np.linalg.norm(u)
    v = np.cross(neck, u)
    tube = 0.018
    half = 0.55 * radius_um
    for layer in range(int(rng.integers(2, 4))):
        for row in np.arange(-half, half, 1.3 * tube):
            t = np.linspace(-half, half, 7)
            line = head_um + (layer - 0.8) * 0.055 * neck + row * v + t[:, None] * u
            room = interior.room(line) > tube
            if room.sum() >= 3 and room[room.argmax() : len(room) - room[::-1].argmax()].all():
                keep = line[room]
                network.strands.append((keep, np.full(len(keep), tube)))
    return network.surfaces()

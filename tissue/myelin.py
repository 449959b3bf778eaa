"""Myelinated axons: a sheath of lamellae with its two tongues, interrupted at nodes of Ranvier, and the axon inside."""

from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from neuropil.morphology.neuron_class import NeuronClass
from neuropil.morphology.tree import Tree

from .arrival import FloatArray
from .certificate import largest_piece
from .contents import Contents
from .interior import CellInterior, IntArray
from .laid_cell import LaidOutCell
from .polygonize import polygonize
from .reticulum import split
from .shapes import Shape, ring_tube

PERIOD_UM = 0.0135  # of the lamellae in embedded tissue, 10-17 nm
TONGUE_UM = 0.05  # thickness of the pocket of cytoplasm at either end of the spiral
TONGUE_WIDTH_RAD = 0.5
THINNEST_SHEATH_UM = 0.02
ROUNDER_THAN = 1.1  # how much wider than its narrowest half a sheath may be
LEAST_UM = 1e-3  # a sheath thinner than this is none
NODE_GAP_UM = (
    0.8,
    1.5,
)  # length of the bare axon: about 1 µm in the CNS (Arancibia-Carcamo et al. 2017, eLife 6:e23329)
PARANODE_UM = 0.9
LOOP_RADIUS_UM = 0.016
LOOP_EVERY = 3  # loops are drawn for every third lamella, as wide as three
RING_POINTS = 20


@dataclass(frozen=True)
class _Course:
    """The axon's axis as sheaths see it: points (n, 3), unit vectors across (n, 2, 3), and where along it they lie."""

    points_um: FloatArray
    across: FloatArray
    along_um: FloatArray

    @classmethod
    def of(cls, tree: Tree) -> "_Course":
        points = tree.points_um
        tangent = np.gradient(points, axis=0)
        tangent /= np.linalg.norm(tangent, axis=1, keepdims=True)
        # One direction for all keeps the angle round the axon continuous; these axons are nearly straight.
        fixed = np.eye(3)[np.argmin(np.abs(tangent.mean(0)))]
        first = fixed - (tangent @ fixed)[:, None] * tangent
        first /= np.linalg.norm(first, axis=1, keepdims=True)
        along = np.r_[0, np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1))]
        return cls(points, np.stack([first, np.cross(tangent, first)], axis=1), along)

    def place(self, points_um: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Position along the axis (µm) and angle round it of points (n, 3)."""
        _, nearest = cKDTree(self.points_um).query(points_um)
        offset = points_um - self.points_um[nearest]
        x, y = np.einsum("nd,nkd->kn", offset, self.across[nearest])
        return self.along_um[nearest], np.arctan2(y, x)


def sheath_share(along_um: FloatArray, nodes: list[tuple[float, float]]) -> FloatArray:
    """How much of the sheath's thickness there is at positions along the axon; nodes: (position, half gap), in µm.

    0 in the gap of a node, rising to 1 over the paranode on either side.
    """
    share = np.ones(np.shape(along_um))
    for position, half in nodes:
        share = np.minimum(share, np.clip((np.abs(along_um - position) - half) / PARANODE_UM, 0, 1))
    return share


def add_myelinated(
    contents: Contents,
    cell_id: int,
    surface: Shape,
    laid: LaidOutCell,
    interior: CellInterior,
    neuron_class: NeuronClass,
    rng: np.random.Generator,
) -> CellInterior | None:
    """The sheath and its axon. Returns the axon's inside, None where only sheath lies in the built box.

    The cell's surface is that of the oligodendrocyte's outermost layer, whose cytoplasm is the outer tongue; compact
    lamellae lie one period apart below it; the inner tongue lies between the last of them and the axon.
    """
    assert neuron_class.myelin is not None
    course = _Course.of(laid.skeleton)
    nodes = [(float(course.place(centre[None])[0][0]), half) for centre, half in laid.nodes_of_ranvier]
    depth_on_axis = interior.depth(course.points_um)
    share_on_axis = sheath_share(course.along_um, nodes)
    whole = depth_on_axis[(depth_on_axis > 0.05) & (share_on_axis >= 1)]
    g_ratio = float(neuron_class.myelin.g_ratio.sample(rng))
    outer = float(np.median(whole)) if len(whole) else float(depth_on_axis.max())
    sheath = outer * (1 - g_ratio)
    if outer < 0.05 or sheath < THINNEST_SHEATH_UM:  # it only grazes the built box: all sheath
        everywhere = np.full(interior.grid.shape, float(interior.depth_um.max()))
        _add_lamellae(contents, cell_id, interior, interior.depth_um, everywhere)
        return None
    nodes_um = interior.grid.nodes().reshape(-1, 3)
    near = np.flatnonzero(interior.depth_um.ravel() > -2 * interior.grid.spacing_um)
    along, angle = course.place(nodes_um[near])
    share = np.ones(len(nodes_um))
    share[near] = sheath_share(along, nodes)
    share = share.reshape(interior.grid.shape)
    pockets = [np.zeros(len(nodes_um)) for _ in range(2)]
    for pocket in pockets:
        # Each tongue runs along the axon, winding slowly round it.
        middle = rng.uniform(-np.pi, np.pi) + rng.normal(scale=0.15) * along
        turn = np.abs((angle - middle + np.pi) % (2 * np.pi) - np.pi)
        pocket[near] = TONGUE_UM * np.clip(1.5 - turn / TONGUE_WIDTH_RAD, 0, 1)
    outer_tongue, inner_tongue = (p.reshape(interior.grid.shape) * (share > 0.3) for p in pockets)
    thickness = sheath * share
    round_depth = _round_depth(interior, course, near, outer)
    compact = round_depth - outer_tongue
    # The inner tongue takes its room from the lamellae, so that the axon stays round.
    axon = round_depth - thickness - 1e-4
    contents.add("myelin_tongue", cell_id, surface)
    _add_lamellae(contents, cell_id, interior, compact, thickness - inner_tongue)
    for piece in split(*polygonize(interior.grid, axon + np.minimum(inner_tongue, 0.6 * thickness))):
        contents.add("inner_tongue", cell_id, piece, interior, contents.last_id)
    core, _ = largest_piece(polygonize(interior.grid, axon))
    contents.add("axon_core", cell_id, core, interior)
    _add_loops(contents, cell_id, interior, course, nodes, sheath)
    return interior.below(interior.depth_um - axon)


def _round_depth(interior: CellInterior, course: _Course, near: IntArray, outer_um: float) -> FloatArray:
    """Depth (nx, ny, nz) below the cell's surface or below a tube round its axis, whichever is less.

    Lamellae wind round the axon: where the cell bulges into a gap between its neighbours, the bulge is cytoplasm of
    the outer tongue. near: flat indices of the grid's nodes that may lie in the cell; outer_um: the sheath's radius.
    """
    distance, nearest = cKDTree(course.points_um).query(interior.grid.nodes().reshape(-1, 3)[near])
    radius = ROUNDER_THAN * np.maximum(interior.depth(course.points_um), outer_um)
    depth = interior.depth_um.copy()
    depth.ravel()[near] = np.minimum(depth.ravel()[near], radius[nearest] - distance)
    return depth


def _add_lamellae(
    contents: Contents, cell_id: int, interior: CellInterior, depth: FloatArray, thickness: FloatArray
) -> None:
    """Nested shells one period apart, all one instance; each is lined by the membrane that makes it visible.

    depth: below the outermost one, thickness: of the sheath at each node of the grid; where that is too little for a
    lamella, at a node of Ranvier, it ends.
    """
    number = 0
    for below in np.arange(0.0, max(float(thickness.max()), PERIOD_UM), PERIOD_UM):
        field = np.minimum(depth - below, thickness - below) if below else np.minimum(depth, thickness - LEAST_UM)
        shell = polygonize(interior.grid, field.astype(np.float32))
        if len(shell[1]) == 0:
            continue
        if number:
            contents.add("myelin", cell_id, shell, interior, number)
        else:
            number = contents.add_instance("myelin", cell_id, shell)


def _add_loops(
    contents: Contents,
    cell_id: int,
    interior: CellInterior,
    course: _Course,
    nodes: list[tuple[float, float]],
    sheath: float,
) -> None:
    """Paranodal loops: where lamellae end beside a node, rings of cytoplasm lie on the axon."""
    share = sheath_share(course.along_um, nodes)
    levels = np.arange(LOOP_EVERY * PERIOD_UM, sheath, LOOP_EVERY * PERIOD_UM) / sheath
    crossings = [n for level in levels for n in np.flatnonzero((share[:-1] - level) * (share[1:] - level) < 0).tolist()]
    turn = np.arange(RING_POINTS) * 2 * np.pi / RING_POINTS
    reach = np.arange(0.02, 1.0, 0.006)
    for n in crossings:
        fan = np.column_stack([np.cos(turn), np.sin(turn)]) @ course.across[n]
        probes = course.points_um[n] + reach[None, :, None] * fan[:, None]
        depth = interior.depth(probes.reshape(-1, 3)).reshape(RING_POINTS, -1)
        on_axon = depth < share[n] * sheath - LOOP_RADIUS_UM
        where = np.argmax(on_axon, axis=1)
        if not on_axon.any(axis=1).all() or depth[np.arange(RING_POINTS), where].min() < LOOP_RADIUS_UM + 0.006:
            continue
        ring = probes[np.arange(RING_POINTS), where]
        tangent = np.cross(course.across[n, 0], course.across[n, 1])
        loop = ring_tube(ring, LOOP_RADIUS_UM, tangent)
        if interior.depth(loop[0]).min() > 0:
            contents.add("paranodal_loop", cell_id, loop, interior, contents.last_id)


def with_nodes(cell: LaidOutCell, neuron_class: NeuronClass, per_um: float, rng: np.random.Generator) -> LaidOutCell:
    """A myelinated axon as laid out, thinned to the bare axon at nodes of Ranvier that come per_um of its length."""
    tree = cell.skeleton
    assert neuron_class.myelin is not None
    along = np.r_[0, np.cumsum(np.linalg.norm(np.diff(tree.points_um, axis=0), axis=1))]
    nodes: list[tuple[float, float]] = []
    position = float(rng.exponential(1 / per_um)) if per_um > 0 else np.inf
    while position < along[-1]:
        nodes.append((position, 0.5 * float(rng.uniform(*NODE_GAP_UM))))
        position += 4 * PARANODE_UM + float(rng.exponential(1 / per_um))
    g_ratio = float(np.mean(neuron_class.myelin.g_ratio.quantile(np.linspace(0.05, 0.95, 19))))
    radii = tree.radii_um * (g_ratio + (1 - g_ratio) * sheath_share(along, nodes))
    places = [(tree.points_um[int(np.argmin(np.abs(along - p)))], half) for p, half in nodes]
    return LaidOutCell(cell.kind, Tree(tree.points_um, radii, tree.parents, tree.types), [], [], places)

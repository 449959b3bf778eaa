"""Swept meshes: volumes and radii against the circle, welds in one piece, real cells."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from neuropil.blender_addon.certificate import certify
from neuropil.blender_addon.surface import signed_volumes_um3, surface_pieces
from neuropil.blender_addon.sweep import SweptMesh, build_mesh
from neuropil.morphology.growth import grow_neurite, grow_neuron
from neuropil.morphology.neuron_class import load_class
from neuropil.morphology.swc import read_swc
from neuropil.morphology.tree import SOMA, Tree


def chain(points: np.ndarray, radii: np.ndarray | float) -> Tree:
    count = len(points)
    return Tree(points, np.broadcast_to(radii, count), np.arange(count) - 1, np.full(count, 2))


def fork(radius: float, half_angle_deg: float) -> Tree:
    angle = np.radians(half_angle_deg)
    ways = [(np.cos(angle), np.sin(angle), 0), (np.cos(angle), -np.sin(angle), 0)]
    points = np.array([(-10, 0, 0), (0, 0, 0), *(10 * np.array(way) for way in ways)])
    return Tree(points, np.full(4, radius), np.array([-1, 0, 1, 1]), np.full(4, 3))


def volume_um3(mesh: SweptMesh) -> float:
    return float(signed_volumes_um3(mesh.vertices_um - mesh.vertices_um.mean(axis=0), mesh.faces).sum())


def piece_count(mesh: SweptMesh) -> int:
    return int(surface_pieces(mesh.faces, len(mesh.vertices_um)).max()) + 1


@pytest.mark.parametrize("sides", [4, 8, 16, 64])
def test_straight_tube_has_the_cylinders_volume(sides: int) -> None:
    mesh = build_mesh(chain(np.array([[0, 0, 0], [3, 4, 0]]), 0.5), sides)
    assert volume_um3(mesh) == pytest.approx(np.pi * 0.25 * 5, rel=1e-5)


@pytest.mark.parametrize("offset_um", [0.0, 2000.0])
def test_radius_of_50_nm_is_kept_far_from_the_origin(offset_um: float) -> None:
    mesh = build_mesh(chain(np.linspace([0, 0, 0], [5, 0, 0], 40) + offset_um, 0.05))
    away = np.linalg.norm(mesh.vertices_um[:, 1:] - offset_um, axis=1)
    # Corners stand 1.3 % outside the circle, the middles of the sides 0.65 % inside.
    assert away.max() / 0.05 == pytest.approx(1.0130, abs=0.002)
    assert volume_um3(mesh) == pytest.approx(np.pi * 0.05**2 * 5, rel=1e-3)


def test_cone_follows_the_radii() -> None:
    mesh = build_mesh(chain(np.array([[0, 0, 0], [0, 0, 6]]), np.array([1.0, 0.25])))
    assert volume_um3(mesh) == pytest.approx(np.pi / 3 * 6 * (1 + 0.25 + 0.0625), rel=1e-5)


def test_smooth_bend_keeps_the_volume() -> None:
    angle = np.linspace(0, np.pi, 60)
    mesh = build_mesh(chain(3 * np.stack([np.cos(angle), np.sin(angle), 0 * angle], axis=1), 0.5))
    # Pappus: the volume of a bent tube is its section times the path of its centre.
    assert volume_um3(mesh) == pytest.approx(np.pi * 0.25 * 3 * np.pi, rel=0.01)


def test_zigzag_finer_than_its_radius_stays_closed() -> None:
    steps = np.arange(60)
    points = np.stack([0.2 * steps, 0.3 * (steps % 2), 0.1 * (steps % 3)], axis=1)
    tree = chain(points, 0.6)
    certificate = certify(build_mesh(tree), tree)
    assert certificate.closed
    assert certificate.components == 1
    assert certificate.euler_number == 2
    assert certificate.outward


def test_fork_has_the_volume_of_the_union() -> None:
    # Two equal cylinders with axes at an angle share 8 r³ / (3 sin) as whole bars: 16 r³ / 3 at a right
    # angle. Here half of each bar meets half of the other; at 90° between the branches the shared part of
    # the two is a quarter of that, plus what each shares with the stem. Counted by points on a grid
    # instead:
    tree = fork(1.0, 45.0)
    axis = np.linspace(-2.0, 3.0, 161)
    grid = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1).reshape(-1, 3)
    held = np.linalg.norm(grid, axis=1) <= 1
    for start, end in ((0, 1), (1, 2), (1, 3)):
        way = (tree.points_um[end] - tree.points_um[start]) / 10
        along = (grid - tree.points_um[start]) @ way
        off = np.linalg.norm(grid - tree.points_um[start] - along[:, None] * way, axis=1)
        held |= (off <= 1) & (along >= 0) & (along <= 10)
    cell = (axis[1] - axis[0]) ** 3
    inside = (np.abs(grid[held]) <= np.array([2, 3, 3])).all(axis=1).sum() * cell
    mesh = build_mesh(tree)
    # The same box, cut out of the mesh.
    import manifold3d

    solid = manifold3d.Manifold(manifold3d.Mesh64(mesh.vertices_um, mesh.faces.astype(np.uint64)))
    box = manifold3d.Manifold.cube([4, 5, 5]).translate([-2, -2, -2])
    assert (solid ^ box).volume() == pytest.approx(inside, rel=0.01)
    assert piece_count(mesh) == 1


def test_two_crossing_bars_share_a_steinmetz_solid() -> None:
    points = np.array([(-5, 0, 0), (0, 0, 0), (5, 0, 0), (0, 5, 0), (0, -5, 0)])
    cross = Tree(points, np.ones(5), np.array([-1, 0, 1, 1, 1]), np.full(5, 3))
    mesh = build_mesh(cross, sides=64)
    assert volume_um3(mesh) == pytest.approx(2 * np.pi * 10 - 16 / 3, rel=0.002)


def test_spine_keeps_its_neck_beside_a_thick_shaft() -> None:
    points = np.array([(-2, 0, 0), (0, 0, 0), (2, 0, 0), (0, 0.6, 0), (0, 1.2, 0)])
    radii = np.array([0.5, 0.5, 0.5, 0.05, 0.05])
    tree = Tree(points, radii, np.array([-1, 0, 1, 1, 3]), np.array([3, 3, 3, 10, 10]))
    mesh = build_mesh(tree)
    neck = mesh.vertices_um[mesh.vertices_um[:, 1] > 0.55]
    assert np.linalg.norm(neck[:, [0, 2]], axis=1).max() < 0.052
    assert certify(mesh, tree).holds


@pytest.mark.parametrize("satellites", [True, False])
def test_soma_is_a_ball_however_it_is_written(satellites: bool) -> None:
    points = [(0, 0, 0), (0, 8, 0), (0, -8, 0), (9, 0, 0), (30, 0, 0)]
    parents = [-1, 0, 0, 0, 3]
    types = [SOMA, SOMA, SOMA, 3, 3]
    keep = [0, 1, 2, 3, 4] if satellites else [0, 3, 4]
    tree = Tree(
        np.array(points)[keep],
        np.array([8, 8, 8, 0.5, 0.5])[keep],
        np.array(parents)[keep] if satellites else np.array([-1, 0, 1]),
        np.array(types)[keep],
    )
    # Ball, and the part of the dendrite outside it.
    outside = np.pi * 0.25 * (30 - np.sqrt(64 - 0.25))
    assert volume_um3(build_mesh(tree)) == pytest.approx(4 / 3 * np.pi * 512 + outside, rel=1e-3)


def test_lone_point_is_a_ball() -> None:
    tree = Tree(np.zeros((1, 3)), np.array([2.0]), np.array([-1]), np.array([SOMA]))
    assert volume_um3(build_mesh(tree)) == pytest.approx(4 / 3 * np.pi * 8, rel=1e-6)


def test_forest_gives_a_piece_per_tree() -> None:
    points = np.array([(0, 0, 0), (5, 0, 0), (0, 9, 0), (5, 9, 0)])
    tree = Tree(points, np.ones(4), np.array([-1, 0, -1, 2]), np.full(4, 2))
    assert piece_count(build_mesh(tree)) == 2


def test_mesh_is_a_function_of_the_tree() -> None:
    tree = grow_neurite(load_class("spiny_dendrite"), (0, 0, 0), (1, 0, 0), 5.0, np.random.default_rng(0))
    first, second = build_mesh(tree), build_mesh(tree)
    np.testing.assert_array_equal(first.vertices_um, second.vertices_um)
    np.testing.assert_array_equal(first.faces, second.faces)


@pytest.mark.parametrize("sides", [3, 7, 2, 0])
def test_odd_sides_are_refused(sides: int) -> None:
    with pytest.raises(ValueError, match=f"sides is {sides}, but allowed are even numbers from 4"):
        build_mesh(chain(np.array([[0, 0, 0], [1, 0, 0]]), 1.0), sides)


@pytest.mark.parametrize("name", ["unmyelinated_axon", "myelinated_axon", "spiny_dendrite", "astrocyte_process"])
def test_grown_neurites_are_certified(name: str) -> None:
    for seed in range(5):
        tree = grow_neurite(load_class(name), (0, 0, 0), (1, 1, 0), 12.0, np.random.default_rng(seed))
        assert certify(build_mesh(tree), tree).failures == ()


@pytest.mark.parametrize("name", ["cortical_pyramidal", "cortical_interneuron"])
def test_grown_neurons_are_certified(name: str) -> None:
    tree = grow_neuron(load_class(name), np.random.default_rng(3))
    assert certify(build_mesh(tree), tree).failures == ()


@pytest.mark.parametrize(
    "name",
    [
        "cortex_principal/C170797A-P1",
        "cortex_layer1/SM090312A1-5-IDB",
        "cortex_layer1/SM090312A1-5-IDC",
        "cortex_layer5/RP090908-C4",
        "cortex_layer5/OG061108A1-3-IDD",
    ],
)
def test_real_cells_weld_to_one_closed_piece(real_data: Path, name: str) -> None:
    tree = read_swc(real_data / "morphologies" / f"{name}.CNG.swc")
    certificate = certify(build_mesh(tree), tree)
    assert certificate.failures == ()
    assert certificate.euler_number == 2


def test_arbor_whose_branches_touch_is_closed_but_not_certified(real_data: Path) -> None:
    tree = read_swc(real_data / "morphologies" / "motoneuron" / "ok_m85mod.CNG.swc")
    certificate = certify(build_mesh(tree), tree)
    assert certificate.closed
    assert certificate.components == 1
    assert abs(certificate.volume_error) < 0.01
    assert certificate.smallest_radius_error is not None
    assert certificate.smallest_radius_error < 0.05
    assert certificate.failures == ("its Euler number is 0 instead of 2, as where branches touch",)

"""The voxelizer against volumes that are known, against winding numbers, and against itself tile by tile."""

import gc
import weakref
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import open3d
import pytest
import trimesh
from hypothesis import given, settings
from hypothesis import strategies as st

from neuropil.voxelize import solid
from neuropil.voxelize.solid import Box, Part, Scene, VoxelBlock, check_closed, voxelize, voxelize_tiles

ISOTROPIC = (5.0, 5.0, 5.0)
ARRAYS = ("instances", "organelles", "classes", "materials", "membrane")


def part(mesh: trimesh.Trimesh, instance: int = 1, membrane_nm: float = 0.0) -> Part:
    return Part(mesh.vertices, mesh.faces, instance, instance % 200 + 1, instance % 100 + 2, membrane_nm)


def moved(mesh: trimesh.Trimesh, place: tuple[float, float, float], seed: int = 0) -> trimesh.Trimesh:
    mesh = mesh.copy()
    mesh.apply_transform(trimesh.transformations.random_rotation_matrix(np.random.default_rng(seed).random(3)))
    mesh.apply_translation(place)
    return mesh


def around(mesh: trimesh.Trimesh, voxel_size_nm: tuple[float, float, float]) -> Box:
    """The voxels of a mesh with three to spare on every side."""
    size = np.array(voxel_size_nm[::-1]) / 1e3
    low = np.floor(mesh.bounds[0] / size).astype(int) - 3
    high = np.ceil(mesh.bounds[1] / size).astype(int) + 3
    return Box(tuple(low[::-1]), tuple((high - low)[::-1]))


def volume_um3(block: VoxelBlock, instance: int = 1) -> float:
    return float((block.instances.data == instance).sum() * np.prod(block.instances.voxel_size_nm) / 1e9)


def membrane_um3(block: VoxelBlock) -> float:
    return float(block.membrane.data.sum(dtype=np.float64) / 255 * np.prod(block.membrane.voxel_size_nm) / 1e9)


def tube(turns: float = 1.0, radius: float = 0.1, rings: int = 200, sides: int = 32) -> trimesh.Trimesh:
    """A closed helix of 0.4 µm radius."""
    along = np.linspace(0, 2 * np.pi * turns, rings)
    centres = np.stack([0.4 * np.cos(along), 0.4 * np.sin(along), 0.1 * along], axis=1)
    inward = -np.stack([np.cos(along), np.sin(along), 0 * along], axis=1)
    tangent = np.gradient(centres, axis=0)
    across = np.cross(tangent / np.linalg.norm(tangent, axis=1, keepdims=True), inward)
    angle = np.arange(sides) * 2 * np.pi / sides
    ring = np.cos(angle)[:, None] * inward[:, None] + np.sin(angle)[:, None] * across[:, None]
    vertices = np.vstack([(centres[:, None] + radius * ring).reshape(-1, 3), centres[[0, -1]]])
    s = np.arange(sides)
    t = (s + 1) % sides
    faces = [[k * sides + s, k * sides + t, (k + 1) * sides + s] for k in range(rings - 1)]
    faces += [[k * sides + t, (k + 1) * sides + t, (k + 1) * sides + s] for k in range(rings - 1)]
    faces += [
        [0 * s + rings * sides, t, s],
        [0 * s + rings * sides + 1, (rings - 1) * sides + s, (rings - 1) * sides + t],
    ]
    return trimesh.Trimesh(vertices, np.concatenate([np.stack(f, axis=1) for f in faces]), process=False)


SOLIDS: dict[str, Callable[[], trimesh.Trimesh]] = {
    "sphere": lambda: moved(trimesh.creation.icosphere(subdivisions=4, radius=0.4), (0.31, -0.22, 0.17)),
    "box": lambda: moved(trimesh.creation.box((0.5, 0.7, 0.6)), (0.1, 0.2, -0.3), 3),
    "torus": lambda: moved(trimesh.creation.torus(0.4, 0.15), (0.0, 0.3, 0.1), 5),
    "tube": lambda: moved(tube(), (0.013, 0.2, -0.1), 7),
}


@pytest.mark.parametrize("size", [ISOTROPIC, (6.0, 3.0, 4.0), (9.0, 3.0, 3.0)])
@pytest.mark.parametrize("name", SOLIDS)
def test_volume_to_a_thousandth(name: str, size: tuple[float, float, float]) -> None:
    mesh = SOLIDS[name]()
    assert mesh.is_watertight
    block = voxelize([part(mesh)], around(mesh, size), size)
    assert volume_um3(block) == pytest.approx(abs(mesh.volume), rel=1e-3)
    # Where it is, too: the centre of mass to a tenth of a voxel.
    centre = np.argwhere(block.instances.data).mean(axis=0) + 0.5 + around(mesh, size).origin
    np.testing.assert_allclose(centre * size / 1e3, mesh.center_mass[::-1], atol=0.1 * min(size) / 1e3)


@pytest.mark.parametrize("offset", [0.0, 0.5, 0.25])
def test_a_cube_on_the_lattice(offset: float) -> None:
    # 20 voxels wide: with offset 0.5 every face goes through voxel centres, and edges and corners hit them too.
    mesh = trimesh.creation.box((0.1, 0.1, 0.1))
    mesh.apply_translation([0.05 + offset * 0.005] * 3)
    block = voxelize([part(mesh)], Box((-2, -2, -2), (25, 25, 25)), ISOTROPIC)
    assert (block.instances.data > 0).sum() == 20**3


def test_cubes_that_share_a_face_through_voxel_centres_share_no_voxel() -> None:
    cubes = []
    for corner in np.ndindex(2, 2, 2):
        mesh = trimesh.creation.box((0.05, 0.05, 0.05))
        mesh.apply_translation(np.array(corner) * 0.05 + 0.0275)
        cubes.append(part(mesh, 1 + len(cubes)))
    block = voxelize(cubes, Box((-2, -2, -2), (26, 26, 26)), ISOTROPIC)
    assert np.unique(block.instances.data, return_counts=True)[1].tolist() == [26**3 - 20**3] + [1000] * 8
    backwards = voxelize(cubes[::-1], Box((-2, -2, -2), (26, 26, 26)), ISOTROPIC)
    np.testing.assert_array_equal(block.instances.data, backwards.instances.data)


def winding_number(mesh: trimesh.Trimesh, points: np.ndarray) -> np.ndarray:
    """Van Oosterom and Strackee, "The solid angle of a plane triangle" (1983), summed over the faces."""
    a, b, c = (mesh.triangles[None, :, corner] - points[:, None] for corner in range(3))
    la, lb, lc = (np.linalg.norm(v, axis=-1) for v in (a, b, c))
    numerator = np.einsum("ijk,ijk->ij", a, np.cross(b, c))
    dots = (np.einsum("ijk,ijk->ij", u, v) for u, v in ((a, b), (b, c), (c, a)))
    ab, bc, ca = dots
    denominator = la * lb * lc + ab * lc + bc * la + ca * lb
    return np.arctan2(numerator, denominator).sum(axis=1) / (2 * np.pi)


SHAPES = st.sampled_from(
    [
        trimesh.creation.box((0.06, 0.04, 0.05)),
        trimesh.creation.icosphere(subdivisions=1, radius=0.03),
        trimesh.creation.cylinder(0.02, 0.07, sections=9),
        trimesh.creation.capsule(0.05, 0.015, count=[6, 6]),
        trimesh.creation.torus(0.03, 0.012, major_sections=9, minor_sections=5),
        trimesh.creation.cone(0.03, 0.06, sections=7),
    ]
)
COORDINATES = st.floats(-0.05, 0.05)


@settings(max_examples=40, deadline=None)
@given(
    SHAPES,
    st.integers(0, 2**32 - 1),
    st.tuples(COORDINATES, COORDINATES, COORDINATES),
    st.sampled_from([ISOTROPIC, (9.0, 4.0, 5.0), (3.0, 7.0, 11.0)]),
)
def test_every_voxel_centre_against_winding_numbers(
    shape: trimesh.Trimesh, seed: int, place: tuple[float, float, float], size: tuple[float, float, float]
) -> None:
    mesh = moved(shape, place, seed)
    box = around(mesh, size)
    inside = voxelize([part(mesh)], box, size).instances.data.ravel() > 0
    centres = (np.indices(box.shape).reshape(3, -1).T + box.origin + 0.5) * size / 1e3
    expected = winding_number(mesh, centres[:, ::-1])
    # Vertices are rounded to 1/4096 voxel: a centre as near to the surface may be on either side.
    sure = np.abs(expected - np.rint(expected)) < 1e-6
    wrong = centres[:, ::-1][sure & (inside != (np.rint(expected) != 0))]
    if len(wrong):
        scene = open3d.t.geometry.RaycastingScene()
        scene.add_triangles(mesh.vertices.astype(np.float32), mesh.faces.astype(np.uint32))
        assert scene.compute_distance(wrong.astype(np.float32)).numpy().max() < max(size) / 1e3 / 2000


def scene_of_everything() -> list[Part]:
    rng = np.random.default_rng(11)
    parts = [part(moved(tube(radius=0.08, rings=60, sides=12), (0.4, 0.4, 0.1), 2), 7, 8.0)]
    for index in range(12):
        ball = trimesh.creation.icosphere(subdivisions=1, radius=rng.uniform(0.02, 0.1))
        parts.append(part(moved(ball, tuple(rng.uniform(0, 0.8, 3)), index), 20 + index, [0.0, 6.0, 14.0][index % 3]))
    parts.append(part(moved(trimesh.creation.box((0.3, 0.2, 0.1)), (0.5, 0.5, 0.5), 4), 40, 7.0))
    return parts


def same(block: VoxelBlock, whole: VoxelBlock, box: Box, outer: Box) -> None:
    start = np.array(box.origin) - outer.origin
    z, y, x = (slice(low, low + count) for low, count in zip(start, box.shape, strict=True))
    for name in ARRAYS:
        np.testing.assert_array_equal(getattr(block, name).data, getattr(whole, name).data[z, y, x], err_msg=name)


@pytest.mark.parametrize("tile", [(1, 200, 200), (37, 23, 200), (17, 41, 13), (200, 200, 5)])
def test_any_tiling_gives_the_same_voxels(tile: tuple[int, int, int]) -> None:
    parts, size, outer = scene_of_everything(), (8.0, 6.0, 5.0), Box((-10, -7, -3), (75, 90, 100))
    whole = voxelize(parts, outer, size)
    assert len(np.unique(whole.instances.data)) > 8
    assert 0.02 < whole.membrane.data.mean() / 255 < 0.5
    seen = 0
    if tile[0] == 1:
        outer = Box((20, -7, -3), (6, 90, 100))
    for box, block in voxelize_tiles(parts, outer, tile, size):
        same(block, whole, box, Box((-10, -7, -3), (75, 90, 100)))
        np.testing.assert_allclose(block.classes.origin_nm, np.array(box.origin) * size)
        seen += int(np.prod(box.shape))
    assert seen == np.prod(outer.shape)


def test_threads_and_repetition_do_not_matter() -> None:
    parts, box = scene_of_everything(), Box((0, 0, 0), (80, 120, 90))
    one = voxelize(parts, box, ISOTROPIC, threads=1)
    for threads in (2, 3):
        same(voxelize(parts, box, ISOTROPIC, threads=threads), one, box, box)


def test_batches_and_runs_of_faces_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    parts, size, outer = scene_of_everything(), (8.0, 6.0, 5.0), Box((-10, -7, -3), (75, 90, 100))
    whole = voxelize(parts, outer, size)
    monkeypatch.setattr(solid, "FACES_PER_BATCH", 300)
    scene = Scene(iter(parts), size)
    for box in outer.tiles((20, 30, 100)):
        same(scene.voxelize(box), whole, box, outer)
    opened = Part(parts[9].vertices_um, parts[9].faces[1:], 5)
    with pytest.raises(ValueError, match=r"part 14 \(instance 5, class 0\) is not closed"):
        Scene([*parts, opened], size)


def test_a_scene_holds_on_to_no_part() -> None:
    left = scene_of_everything()
    arrays = [weakref.ref(one.vertices_um) for one in left]
    scene = Scene((left.pop(0) for _ in range(len(left))), ISOTROPIC)
    gc.collect()
    assert [array() for array in arrays] == [None] * 14
    assert scene.voxelize(Box((0, 0, 0), (80, 120, 90))).instances.data.any()


def test_single_precision_is_enough_and_kept() -> None:
    parts, box = scene_of_everything(), Box((0, 0, 0), (80, 120, 90))
    single = [replace(one, vertices_um=one.vertices_um.astype(np.float32)) for one in parts]
    assert all(one.vertices_um.dtype == np.float32 for one in single)
    double = [replace(one, vertices_um=one.vertices_um.astype(np.float64)) for one in single]
    same(voxelize(single, box, ISOTROPIC), voxelize(double, box, ISOTROPIC), box, box)


def test_later_parts_overwrite() -> None:
    large = part(moved(trimesh.creation.icosphere(subdivisions=3, radius=0.1), (0.2, 0.2, 0.2)), 3, 8.0)
    small = part(moved(trimesh.creation.icosphere(subdivisions=2, radius=0.04), (0.2, 0.2, 0.2)), 4, 7.0)
    box = Box((0, 0, 0), (80, 80, 80))
    block = voxelize([large, small], box, ISOTROPIC)
    assert (block.instances.data[40, 40, 40], block.classes.data[40, 40, 40], block.materials.data[40, 40, 40]) == (
        4,
        5,
        6,
    )
    assert (block.instances.data[40, 40, 26], block.classes.data[40, 40, 26]) == (3, 4)
    assert block.instances.data[0, 0, 0] == block.classes.data[0, 0, 0] == block.materials.data[0, 0, 0] == 0
    hidden = voxelize([small, large], box, ISOTROPIC)
    assert set(np.unique(hidden.instances.data)) == {0, 3}
    # And the hidden one's membrane is gone too.
    np.testing.assert_array_equal(hidden.membrane.data, voxelize([large], box, ISOTROPIC).membrane.data)


def test_how_a_mesh_is_turned_does_not_matter() -> None:
    mesh = moved(trimesh.creation.icosphere(subdivisions=3, radius=0.1), (0.13, 0.14, 0.15))
    box = around(mesh, ISOTROPIC)
    expected = voxelize([part(mesh, 1, 8.0)], box, ISOTROPIC)
    inward = Part(mesh.vertices, mesh.faces[:, ::-1], 1, 0, 0, 8.0)
    mixed_faces = mesh.faces.copy()
    mixed_faces[::3] = mixed_faces[::3, ::-1]
    mixed = Part(mesh.vertices, mixed_faces, 1, 0, 0, 8.0)
    soup = Part(mesh.triangles.reshape(-1, 3), np.arange(3 * len(mesh.faces)).reshape(-1, 3), 1, 0, 0, 8.0)
    for other in (inward, mixed, soup):
        block = voxelize([other], box, ISOTROPIC)
        np.testing.assert_array_equal(block.instances.data, expected.instances.data)
        assert membrane_um3(block) == pytest.approx(membrane_um3(expected), rel=1e-3)
        # Where two faces are equally near, either's normal may be taken.
        difference = block.membrane.data.astype(int) - expected.membrane.data
        assert np.abs(difference).max() < 25


def test_shells_of_one_mesh() -> None:
    outer = moved(trimesh.creation.icosphere(subdivisions=4, radius=0.2), (0, 0, 0))
    hole = trimesh.creation.icosphere(subdivisions=3, radius=0.1)
    hole.invert()
    hollow = trimesh.util.concatenate([outer, hole])
    assert volume_um3(voxelize([part(hollow)], around(hollow, ISOTROPIC), ISOTROPIC)) == pytest.approx(
        outer.volume - abs(hole.volume), rel=1e-3
    )
    boxes = [trimesh.creation.box((0.2, 0.1, 0.1)), trimesh.creation.box((0.1, 0.2, 0.1))]
    crossed = trimesh.util.concatenate(boxes)
    crossed.apply_translation((0.0025, 0.0025, 0.0025))
    # The overlap belongs to the solid, it is no hole.
    block = voxelize([part(crossed)], around(crossed, ISOTROPIC), ISOTROPIC)
    assert volume_um3(block) == pytest.approx(0.003, rel=1e-9)


def test_nothing_leaks_out_of_slivers() -> None:
    # Needles, and vertices that fall together when rounded: the lines beyond must stay empty.
    rng = np.random.default_rng(5)
    for seed in range(20):
        hull = trimesh.convex.convex_hull(rng.normal(0, (1e-5, 0.02, 0.02), (30, 3)))
        mesh = moved(hull, (0.05, 0.05, 0.05), seed)
        block = voxelize([part(mesh, 1, 8.0)], Box((-20, -20, -20), (60, 60, 60)), ISOTROPIC)
        filled = np.argwhere(block.instances.data)
        low, high = mesh.bounds[0][::-1] / 0.005, mesh.bounds[1][::-1] / 0.005
        assert np.all(filled - 20 + 0.5 >= low - 1e-3) and np.all(filled - 20 + 0.5 <= high + 1e-3)
        assert np.isfinite(block.membrane.data).all()


# --- membranes ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [ISOTROPIC, (8.0, 4.0, 4.0), (3.0, 3.0, 3.0)])
@pytest.mark.parametrize("seed", [None, 1, 2])
def test_membrane_of_a_flat_slab(seed: int | None, size: tuple[float, float, float]) -> None:
    mesh = trimesh.creation.box((0.4, 0.4, 0.1))
    if seed is not None:
        mesh = moved(mesh, (0.011, 0.017, 0.003), seed)
    block = voxelize([part(mesh, 1, 8.0)], around(mesh, size), size)
    exact = 0.4 * 0.4 * 0.1 - 0.384 * 0.384 * 0.084
    assert membrane_um3(block) == pytest.approx(exact, rel=0.03)


@pytest.mark.parametrize("size", [ISOTROPIC, (8.0, 4.0, 4.0), (3.0, 3.0, 3.0)])
@pytest.mark.parametrize(("radius", "thickness"), [(0.3, 8.0), (0.06, 8.0), (0.02, 6.0), (0.1, 14.0)])
def test_membrane_of_a_sphere(radius: float, thickness: float, size: tuple[float, float, float]) -> None:
    mesh = moved(trimesh.creation.icosphere(subdivisions=4, radius=radius), (0.003, 0.001, -0.002))
    block = voxelize([part(mesh, 1, thickness)], around(mesh, size), size)
    exact = 4 / 3 * np.pi * (radius**3 - (radius - thickness / 1e3) ** 3)
    assert membrane_um3(block) == pytest.approx(exact, rel=0.03)


def test_membrane_values_of_an_aligned_slab() -> None:
    # From 0 to 100 nm, membrane 8 nm: the first voxel is full, the second has three of its five nm.
    mesh = trimesh.creation.box((0.1, 0.4, 0.4))
    mesh.apply_translation((0.05, 0.2, 0.2))
    line = voxelize([part(mesh, 1, 8.0)], Box((40, 40, -3), (1, 1, 26)), ISOTROPIC).membrane.data[0, 0]
    expected = np.zeros(26)
    expected[[3, 22]], expected[[4, 21]] = 255, 153
    np.testing.assert_allclose(line, expected, atol=1)


def test_neighbours_keep_their_membranes() -> None:
    # 2 nm apart: both have voxels in common, and neither takes from the other.
    left, right = trimesh.creation.box((0.1, 0.2, 0.2)), trimesh.creation.box((0.1, 0.2, 0.2))
    right.apply_translation((0.102, 0, 0))
    box = Box((-30, -30, -20), (60, 60, 70))
    both = voxelize([part(left, 1, 8.0), part(right, 2, 8.0)], box, ISOTROPIC)
    alone = [voxelize([part(mesh, 1, 8.0)], box, ISOTROPIC) for mesh in (left, right)]
    assert membrane_um3(both) == pytest.approx(sum(map(membrane_um3, alone)), rel=0.01)
    # Nothing farther from a body than half a voxel's diagonal.
    assert both.membrane.data[:, :, 20 + 33 :].max() == 0
    assert both.membrane.data[30, 30, 20:30].max() <= 255 and both.membrane.data[30, 30, 16] == 0


def test_a_body_on_top_clears_what_is_beneath_and_adds_its_own() -> None:
    sheet = trimesh.creation.box((0.4, 0.4, 0.02))
    for thickness, own in ((0.0, 0.0), (7.0, 4 / 3 * np.pi * (0.06**3 - 0.053**3))):
        ball = moved(trimesh.creation.icosphere(subdivisions=4, radius=0.06), (0.0, 0.0, 0.0))
        box = Box((-20, -50, -50), (40, 100, 100))
        below = voxelize([part(sheet, 1, 8.0)], box, ISOTROPIC)
        block = voxelize([part(sheet, 1, 8.0), part(ball, 2, thickness)], box, ISOTROPIC)
        # What the ball takes of the sheet's two leaflets of 8 nm, cut at 2 to 10 nm from the middle.
        taken = 2 * np.pi * (0.06**2 * 0.008 - (0.01**3 - 0.002**3) / 3)
        expected = membrane_um3(below) - taken + own
        assert membrane_um3(block) == pytest.approx(expected, rel=0.03)
        assert block.membrane.data[20, 50, 50] == 0


def test_spines_of_parts_do_not_change_the_membrane_of_others() -> None:
    ball = part(moved(trimesh.creation.icosphere(subdivisions=2, radius=0.08), (0.1, 0.1, 0.1)), 1, 8.0)
    far = part(moved(trimesh.creation.icosphere(subdivisions=2, radius=0.05), (0.4, 0.1, 0.1)), 2, 8.0)
    box = Box((0, 0, 0), (40, 40, 45))
    same(voxelize([ball, far], box, ISOTROPIC), voxelize([ball], box, ISOTROPIC), box, box)


# --- what is refused --------------------------------------------------------------------------------------------


def test_an_open_mesh_is_refused() -> None:
    mesh = trimesh.creation.icosphere(subdivisions=2, radius=0.1)
    check_closed(part(mesh))
    hole = Part(mesh.vertices, mesh.faces[1:], 9)
    for call in (
        lambda: check_closed(hole),
        lambda: voxelize([part(mesh), hole], Box((0, 0, 0), (4, 4, 4)), ISOTROPIC),
    ):
        with pytest.raises(ValueError, match=r"part \d \(instance 9, class 0\) is not closed: 3 of its edges"):
            call()
    half = Part(mesh.vertices, mesh.faces[mesh.triangles_center[:, 2] > 0], 9)
    with pytest.raises(ValueError, match="is not closed"):
        check_closed(half)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"vertices_um": np.zeros((4, 2))}, "vertices_um"),
        ({"vertices_um": np.full((4, 3), np.nan)}, "finite"),
        ({"faces": np.zeros((4, 4), int)}, "faces has the shape"),
        ({"faces": np.array([[0, 1, 4]])}, "0 to 3"),
        ({"faces": np.array([[-1, 1, 2]])}, "-1 to 2"),
        ({"instance": -1}, "instance is -1"),
        ({"class_id": 256}, "class_id is 256"),
        ({"material": 300}, "material is 300"),
        ({"membrane_nm": -2.0}, "membrane_nm is -2.0"),
        ({"membrane_nm": np.nan}, "membrane_nm"),
    ],
)
def test_bad_parts_are_refused(change: dict[str, object], words: str) -> None:
    good = {"vertices_um": np.eye(4, 3), "faces": np.array([[0, 1, 2]]), "instance": 1}
    with pytest.raises(ValueError, match=words) as error:
        Part(**{**good, **change})  # type: ignore[arg-type]
    assert "\n" not in str(error.value) and str(error.value).endswith(".")


def test_bad_boxes_are_refused() -> None:
    with pytest.raises(ValueError, match="is none"):
        Box((0, 0, 0), (0, 4, 4))
    with pytest.raises(ValueError, match="leaves the lattice"):
        Box((0, 0, 10**9), (4, 4, 4))
    with pytest.raises(ValueError, match="three positive"):
        voxelize([], Box((0, 0, 0), (4, 4, 4)), (5.0, 0.0, 5.0))
    with pytest.raises(ValueError, match="a tile of shape"):
        list(Box((0, 0, 0), (4, 4, 4)).tiles((0, 1, 1)))
    far = trimesh.creation.box((0.1, 0.1, 0.1))
    far.apply_translation((1e6, 0, 0))
    with pytest.raises(ValueError, match="voxels away"):
        voxelize([part(far)], Box((0, 0, 0), (4, 4, 4)), ISOTROPIC)


def test_no_parts_and_parts_elsewhere() -> None:
    box = Box((0, 0, 0), (3, 40, 5))
    mesh = trimesh.creation.box((0.1, 0.1, 0.1))
    mesh.apply_translation((3, 3, 3))
    for parts in ([], [part(mesh, 1, 8.0)]):
        block = Scene(parts, ISOTROPIC).voxelize(box)
        for name in ARRAYS:
            assert getattr(block, name).data.shape == (3, 40, 5) and not getattr(block, name).data.any()
    assert block.instances.data.dtype == np.uint32 and block.membrane.data.dtype == np.uint8


def test_organelles_are_numbered_piece_by_piece() -> None:
    """A crowd as one part of many pieces is the same as a part for each, but for the instances' numbers."""
    ball = trimesh.creation.icosphere(subdivisions=1, radius=0.03)
    body = trimesh.creation.icosphere(subdivisions=2, radius=0.3)
    places = [(0.1, 0, 0), (-0.1, 0, 0.02), (0, 0.12, 0)]
    balls = [moved(ball, place, n) for n, place in enumerate(places)]
    vertices = np.vstack([b.vertices for b in balls])
    faces = np.vstack([b.faces + n * len(ball.vertices) for n, b in enumerate(balls)])
    cell = Part(body.vertices, body.faces, 9, 1, 1, 8.0)
    crowd = voxelize([cell, Part(vertices, faces, 9, 7, 2, 6.0, 40, 3)], around(body, ISOTROPIC), ISOTROPIC)
    each = [Part(b.vertices, b.faces, 9, 7, 2, 6.0, 40 + n) for n, b in enumerate(balls)]
    single = voxelize([cell, *each], around(body, ISOTROPIC), ISOTROPIC)
    for name in ARRAYS:
        assert (getattr(crowd, name).data == getattr(single, name).data).all(), name
    assert crowd.organelles.data.dtype == np.uint32
    assert set(np.unique(crowd.organelles.data)) == {0, 40, 41, 42}
    assert (crowd.instances.data[crowd.organelles.data > 0] == 9).all()
    voxel = 5.0**3 / 1e9
    for n in (40, 41, 42):
        assert (crowd.organelles.data == n).sum() * voxel == pytest.approx(ball.volume, rel=0.05)


def test_pieces_that_are_none_are_refused() -> None:
    ball = trimesh.creation.icosphere(subdivisions=1)
    with pytest.raises(ValueError, match="pieces is 5"):
        Part(ball.vertices, ball.faces, 1, pieces=5)
    with pytest.raises(ValueError, match="vertices of another"):
        Part(ball.vertices, ball.faces, 1, pieces=2)
    with pytest.raises(ValueError, match="organelle is -1"):
        Part(ball.vertices, ball.faces, 1, organelle=-1)

"""A circuit block on disk, and what `neuropil generate` says of recipes that cannot be."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import trimesh
from typer.testing import CliRunner

from neuropil.morphology.swc import read_swc, write_swc
from neuropil.morphology.tree import Tree
from neuropil.pipeline.block_job import make_block, read_manifest
from neuropil.pipeline.circuit_job import CLASS_IDS
from neuropil.pipeline.circuit_pictures import Projections, circuit_meshes
from neuropil.pipeline.circuit_realism import summary
from neuropil.pipeline.command_line import app
from neuropil.pipeline.neurons import has_blender
from neuropil.pipeline.recipe import load_recipe
from neuropil.voxelize.block_files import read_block

needs_blender = pytest.mark.skipif(not has_blender(), reason="Blender's module bpy is not installed")
RECIPE = """
name: small
seed: 4
circuit:
  size_um: [50, 50, 50]
  cells:
    - {swc: SWC, count: 3}
  vessels: {}
voxel_size_nm: [1000, 500, 500]
"""


@pytest.fixture(scope="module")
def recipe_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three stars of a soma with six straight neurites."""
    folder = tmp_path_factory.mktemp("circuit")
    ways = np.concatenate([np.eye(3), -np.eye(3)])
    steps = np.arange(4.0, 40.0, 2.0)
    arms = [way * steps[:, None] for way in ways]
    parents = [
        np.where(np.arange(len(steps)) == 0, 0, np.arange(len(steps)) + 1 + n * len(steps) - 1) for n in range(6)
    ]
    tree = Tree(
        np.concatenate([np.zeros((1, 3)), *arms]),
        np.concatenate([[4.0], np.full(6 * len(steps), 0.3)]),
        np.concatenate([[-1], *parents]),
        np.concatenate([[1], np.repeat([2, 3, 4, 3, 3, 3], len(steps))]),
    )
    write_swc(tree, folder / "star.swc")
    path = folder / "small.yaml"
    path.write_text(RECIPE.replace("SWC", str(folder / "star.swc")))
    return path


@pytest.fixture(scope="module")
def block(recipe_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    if not has_blender():
        pytest.skip("Blender's module bpy is not installed")
    return make_block(load_recipe(str(recipe_file)), 4, 2, tmp_path_factory.mktemp("blocks"))


def test_labels_skeletons_and_meshes_agree(block: Path) -> None:
    manifest = read_manifest(block)
    assert manifest["certificates"] and all(manifest["certificates"].values())
    files = read_block(block)
    assert files.image is None and files.shape_zyx == (50, 100, 100)
    instances, fraction = np.asarray(files.labels["instances"]), np.asarray(files.labels["volume_fraction"])
    classes = np.asarray(files.labels["classes"])
    by_kind = {cell["id"]: cell["kind"] for cell in manifest["cells"]}
    vessels = [number for number, kind in by_kind.items() if kind == "vessel"]
    assert vessels and set(np.unique(instances)) <= {0, *by_kind}
    assert (np.isin(instances, vessels) == (classes == CLASS_IDS["vessel"])).all()
    # The amount in the voxels is that inside the meshes, but for eight-sided corners and flat tips.
    meshes = {file.stem: trimesh.load_mesh(file, process=False) for file in (block / "meshes").glob("*.ply")}
    swept = sum(mesh.volume for name, mesh in meshes.items() if not name.endswith("vessel"))
    assert fraction.sum() / 65535 * 0.25 == pytest.approx(swept, rel=0.02)
    assert manifest["statistics"]["neuron_fraction"] == pytest.approx(swept / 50**3)
    for path in (block / "skeletons").glob("*_star.swc"):
        tree, number = read_swc(path), int(path.stem.split("_")[0])
        inside = tree.points_um[((tree.points_um > 0.1) & (tree.points_um < 49.9)).all(axis=1)]
        x, y, z = (inside / [0.5, 0.5, 1.0]).astype(int).T
        # A centre line's voxel belongs to its cell, unless a thicker neighbour fills more of it.
        if len(inside):
            assert (instances[z, y, x] == number).mean() > 0.9
    text = summary(manifest)
    assert "certificates: all hold" in text and "neurons per" not in text and "ratio" in text


def test_the_same_block_has_the_same_bytes(
    block: Path, recipe_file: Path, tmp_path: Path, files_of: Callable[[Path], dict[str, bytes]]
) -> None:
    again = make_block(load_recipe(str(recipe_file)), 4, 2, tmp_path)
    assert files_of(again) == files_of(block)


def test_vessels_are_grey_in_pictures(block: Path) -> None:
    colours = {mesh.path.stem.split("_")[1]: mesh.colour for mesh in circuit_meshes(block)}
    assert colours["vessel"] == "#9a8f8f" != colours["star"]


def test_projections_show_the_brightest() -> None:
    projections = Projections((2, 2, 4), (1000.0, 500.0, 500.0))
    instances, fraction = np.zeros((2, 2, 4), np.uint32), np.zeros((2, 2, 4), np.uint16)
    instances[0, 0, 1], fraction[0, 0, 1] = 7, 20000
    instances[1, 0, 1], fraction[1, 0, 1] = 8, 60000
    instances[1, 1, 3] = 9
    for z in (0, 1):
        projections.add(instances[z : z + 1], fraction[z : z + 1], (z, 0, 0))
    assert projections._ids[0].tolist() == [[0, 8, 0, 0], [0, 0, 0, 0]]
    assert projections._ids[2].tolist() == [[7, 0], [8, 0]]
    assert projections.picture().shape == (2 + 8 + 4, 4 + 8 + 4, 3)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("size_um: [50, 50, 50]", "size_um: [50, 50, 5]", "size_um.2 is 5, but"),
        ("count: 3", "count: -3", "count is -3, but"),
        ("count: 3", "count: 4000", "only about"),
        ("{swc: SWC, count: 3}", "{class: no_such, count: 3}", "class 'no_such' does not exist"),
        ("voxel_size_nm: [1000, 500, 500]", "voxel_size_nm: [5, 5, 5]", "allowed for a circuit is 100 to 5000"),
        ("name: small", "name: small\ntissue: {}", "either tissue or circuit"),
    ],
)
@needs_blender
def test_recipes_that_cannot_be(recipe_file: Path, tmp_path: Path, old: str, new: str, says: str) -> None:
    swc = recipe_file.parent / "star.swc"
    path = tmp_path / "wrong.yaml"
    path.write_text(RECIPE.replace(old, new).replace("SWC", str(swc)))
    done = CliRunner().invoke(app, ["generate", str(path), "-o", str(tmp_path / "out"), "--workers", "1"])
    told = done.stderr + str(done.exception)
    assert done.exit_code != 0 and says in told.replace("\n", " ")
    assert not list((tmp_path / "out").glob("*.zarr"))


def test_a_circuit_is_not_trained_on(recipe_file: Path, tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["run", "-r", str(recipe_file), "-o", str(tmp_path / "run")])
    assert isinstance(done.exception, ValueError) and "no micrograph" in str(done.exception)
    assert not (tmp_path / "run").exists()

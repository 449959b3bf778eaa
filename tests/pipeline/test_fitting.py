"""`neuropil fit` as a user meets it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import trimesh

from neuropil.morphology.growth import grow_neuron
from neuropil.morphology.neuron_class import load_class
from neuropil.morphology.swc import read_swc, write_swc
from neuropil.morphology.validation import QUANTITIES
from neuropil.pipeline.fitting import read_cells

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def refused(command: Command, tmp_path: Path) -> Callable[..., str]:
    """The one sentence with which `neuropil fit ARGUMENTS -o new.yaml` is refused; nothing is left behind."""

    def run(*arguments: object, output: str = "new.yaml") -> str:
        folder = tmp_path / "out"
        folder.mkdir()
        code, out, err = command("fit", *arguments, "-o", folder / output)
        assert (code, out) == (2, "")
        assert err.startswith("neuropil: ")
        assert err.count("\n") == 1
        assert "Traceback" not in err
        assert list(folder.iterdir()) == []
        return err

    return run


@pytest.fixture(scope="module")
def cells(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of five small cells."""
    folder = tmp_path_factory.mktemp("cells")
    pyramidal = load_class("cortical_pyramidal")
    assert pyramidal.arbor is not None
    few = pyramidal.arbor.domains["basal"].tips.model_copy(update={"mean": 3.0, "sd": 1.0, "high": 5.0})
    basal = {"basal": pyramidal.arbor.domains["basal"].model_copy(update={"tips": few})}
    small = pyramidal.model_copy(update={"arbor": pyramidal.arbor.model_copy(update={"domains": basal})})
    for seed in range(5):
        write_swc(grow_neuron(small, np.random.default_rng(seed)), folder / f"cell{seed}.swc")
    return folder


@pytest.fixture
def segmentation(tmp_path: Path) -> Path:
    """Six wavy fibres of 40 nm voxels, with voxel size; and an array of zeros."""
    labels = np.zeros((60, 60, 100), dtype=np.uint32)
    x = np.arange(100)
    for number in range(6):
        z = 8 + 8 * number + np.round(2 * np.sin(x / 9 + number)).astype(int)
        for place, height in zip(x, z, strict=True):
            labels[height - 2 : height + 3, 20 + number : 25 + number, place] = number + 1
    path = tmp_path / "volume.h5"
    with h5py.File(path, "w") as file:
        for name, data in (("ids", labels), ("zeros", labels * 0)):
            file[name] = data
            file[name].attrs["resolution"] = (40.0, 40.0, 40.0)
        file["bare"] = labels
    return path


def test_a_folder_of_cells(command: Command, cells: Path, tmp_path: Path) -> None:
    code, out, _ = command("fit", "--swc", cells, "-o", tmp_path / "again.yaml", "--splits", 1, "--json")
    assert code == 0
    figures = json.loads(out)
    assert figures["cells"] == 5
    assert set(figures["grown"]) == set(QUANTITIES) == set(figures["real"])
    assert figures["excess"] == pytest.approx(figures["median_grown"] - figures["median_real"])
    assert load_class(tmp_path / "again.yaml").kind == "cell"
    page = (tmp_path / "again.report.html").read_text()
    assert "tree asymmetry" in page
    assert page.count("data:image/png") == 3


def test_unit_of_the_files(cells: Path) -> None:
    single, double = (read_cells(cells, unit_um)["cell2"] for unit_um in (1.0, 2.0))
    np.testing.assert_allclose(double.points_um, 2 * single.points_um)
    np.testing.assert_allclose(double.radii_um, 2 * single.radii_um)


def test_a_segmentation(command: Command, segmentation: Path, tmp_path: Path) -> None:
    shapes = tmp_path / "shapes"
    code, out, _ = command(
        "fit", "--segmentation", f"{segmentation}:ids", "-o", tmp_path / "fibre.yaml", "--shapes", shapes, "--json"
    )
    assert code == 0
    figures = json.loads(out)
    assert figures["objects"] == 6
    assert figures["length_um"] == pytest.approx(6 * 4, rel=0.2)
    assert figures["grown"].keys() == figures["real"].keys() >= {"shaft radius", "tortuosity"}
    fibre = load_class(tmp_path / "fibre.yaml")
    assert fibre.kind == "neurite"
    assert float(fibre.shaft_radius_um.quantile(0.5)) == pytest.approx(0.1, abs=0.03)
    assert (tmp_path / "fibre.report.html").is_file()
    assert len(list(shapes.glob("*.swc"))) == len(list(shapes.glob("*.ply"))) == 6
    surface = trimesh.load_mesh(shapes / "3.ply")
    assert surface.is_watertight
    tree = read_swc(shapes / "3.swc")
    assert surface.volume == pytest.approx(25 * 100 * 0.04**3, rel=0.2)
    assert (surface.bounds[0] <= tree.points_um.min(axis=0)).all()
    assert (surface.bounds[1] >= tree.points_um.max(axis=0)).all()


def test_a_real_segmentation(command: Command, real_data: Path, tmp_path: Path) -> None:
    """FlyEM crop, whose file states no voxel size: 10 nm is what its README suggests."""
    volume = f"{real_data}/gala_crops/train.h5:volumes/labels/neuron_ids"
    voxels = ("--voxel-size-nm", 10, 10, 10)
    code, out, _ = command("fit", "--segmentation", volume, *voxels, "-o", tmp_path / "fly.yaml", "--json")
    assert code == 0
    assert json.loads(out)["objects"] >= 10
    assert 0.01 < float(load_class(tmp_path / "fly.yaml").shaft_radius_um.quantile(0.5)) < 0.3


def test_sources_and_outputs(refused: Callable[..., str]) -> None:
    assert "needs one of --swc FOLDER and --segmentation VOLUME" in refused()


def test_output_that_is_no_class(refused: Callable[..., str], cells: Path) -> None:
    assert "written to NAME.yaml" in refused("--swc", cells, output="My Class.yaml")


def test_held_out_share(refused: Callable[..., str], cells: Path) -> None:
    assert "--held-out is 1, but allowed are numbers between 0 and 1" in refused("--swc", cells, "--held-out", 1)


def test_empty_folder(refused: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert "empty: the folder holds no .swc file" in refused("--swc", tmp_path / "empty")


def test_one_cell(refused: Callable[..., str], cells: Path, tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    shutil.copy(cells / "cell0.swc", tmp_path / "one")
    assert "one: 1 cell(s), but 4 are needed" in refused("--swc", tmp_path / "one")


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("negative_radii", "line 720: radius is -0.14"),
        ("ids_from_zero_types_as_colours", "is its own ancestor"),
        ("forest_undefined_type", "holds 63 trees, but a neuron is one"),
        ("many_roots_out_of_order", "holds 1695 trees, but a neuron is one"),
    ],
)
def test_broken_file(
    refused: Callable[..., str], cells: Path, tmp_path: Path, real_data: Path, name: str, sentence: str
) -> None:
    folder = tmp_path / "cells"
    shutil.copytree(cells, folder)
    shutil.copy(real_data / "morphologies" / "broken" / f"{name}.swc", folder)
    said = refused("--swc", folder)
    assert f"{name}.swc" in said
    assert sentence in said


def test_segmentation_without_voxel_size(refused: Callable[..., str], segmentation: Path) -> None:
    assert "does not state its voxel size" in refused("--segmentation", f"{segmentation}:bare")


def test_segmentation_without_objects(refused: Callable[..., str], segmentation: Path) -> None:
    assert "no object: all 360000 voxels are 0" in refused("--segmentation", f"{segmentation}:zeros")

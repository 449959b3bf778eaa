"""Blocks on disk: what is written is read back, the same bytes each time, by ome-zarr's own reader too."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
import zarr

from neuropil.voxelize.block_files import BlockFiles, BlockWriter, read_block, write_block
from neuropil.voxelize.volume import Volume
from neuropil.voxelize.volume_files import read_volume, write_volume

SHAPE, SIZE, ORIGIN = (9, 40, 50), (30.0, 5.0, 5.0), (60.0, -25.0, 0.0)
NAMES = {"classes": {0: "extracellular", 1: "axon", 2: "dendrite"}}


def volume(dtype: str, high: int, seed: int = 0) -> Volume:
    data = np.random.default_rng(seed).integers(0, high, SHAPE).astype(dtype)
    return Volume(data, SIZE, ORIGIN)


def labels() -> dict[str, Volume]:
    return {
        "instances": volume("uint32", 4_000_000_000),
        "classes": volume("uint8", 3),
        "membrane": volume("uint8", 256),
    }


def written(path: Path) -> BlockFiles:
    write_block(path, volume("uint8", 256, 1), labels(), {"seed": np.int64(7), "size": (1, 2)}, names=NAMES)
    return read_block(path)


def digest(folder: Path) -> str:
    total = hashlib.sha256()
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        total.update(file.relative_to(folder).as_posix().encode() + b"\0" + file.read_bytes())
    return total.hexdigest()


def test_round_trip(tmp_path: Path) -> None:
    block = written(tmp_path / "block_0.zarr")
    assert block.shape_zyx == SHAPE and block.voxel_size_nm == SIZE and block.origin_nm == ORIGIN
    assert block.manifest == {"seed": 7, "size": [1, 2]}
    assert block.names == NAMES
    assert list(block.labels) == ["classes", "instances", "membrane"]
    np.testing.assert_array_equal(block.volume("image").data, volume("uint8", 256, 1).data)
    for name, label in labels().items():
        back = block.volume(name)
        assert back.data.dtype == label.data.dtype
        np.testing.assert_array_equal(back.data, label.data)
    part = block.volume("instances", (2, 3, 4), (5, 6, 7))
    np.testing.assert_array_equal(part.data, labels()["instances"].data[2:7, 3:9, 4:11])
    assert part.origin_nm == (120.0, -10.0, 20.0)
    # The volume files know the same paths.
    for name in ("block_0.zarr", "block_0.zarr/image", "block_0.zarr/labels/instances"):
        found = read_volume(tmp_path / name)
        assert found.voxel_size_nm == SIZE and found.origin_nm == ORIGIN


def test_the_same_arrays_give_the_same_bytes(tmp_path: Path) -> None:
    written(tmp_path / "a.zarr")
    written(tmp_path / "b.zarr")
    assert digest(tmp_path / "a.zarr") == digest(tmp_path / "b.zarr")
    changed = labels()
    changed["classes"].data[0, 0, 0] ^= 1
    write_block(tmp_path / "c.zarr", volume("uint8", 256, 1), changed, {"seed": 7, "size": (1, 2)}, names=NAMES)
    assert digest(tmp_path / "c.zarr") != digest(tmp_path / "a.zarr")


def test_ome_zarr_reads_it(tmp_path: Path) -> None:
    from ome_zarr.io import parse_url
    from ome_zarr.reader import Reader

    written(tmp_path / "block.zarr")
    location = parse_url(str(tmp_path / "block.zarr"))
    assert location is not None
    nodes = {node.metadata.get("name"): node for node in Reader(location)() if node.data}
    assert set(nodes) == {"image", "instances", "classes", "membrane"}
    assert [level.shape for level in nodes["image"].data] == [SHAPE, (9, 20, 25)]
    np.testing.assert_array_equal(np.asarray(nodes["instances"].data[0]), labels()["instances"].data)
    fine, coarse = nodes["image"].metadata["coordinateTransformations"]
    assert fine[0]["scale"] == [0.03, 0.005, 0.005]
    assert coarse[0]["scale"] == [0.03, 0.01, 0.01]
    assert coarse[1]["translation"] == [0.06, -0.0225, 0.0025]
    assert nodes["classes"].metadata["properties"][1]["name"] == "axon"
    assert len(nodes["classes"].metadata["color"]) == 3


def test_the_metadata_is_valid_ome_zarr(tmp_path: Path) -> None:
    models = pytest.importorskip("ome_zarr_models.v05", reason="ome-zarr-models is not installed")
    written(tmp_path / "block.zarr")
    for name in ("", "image"):
        models.Image.from_zarr(zarr.open_group(str(tmp_path / "block.zarr" / name), mode="r"))
    models.ImageLabel.from_zarr(zarr.open_group(str(tmp_path / "block.zarr/labels/classes"), mode="r"))


def test_the_coarse_levels(tmp_path: Path) -> None:
    block = written(tmp_path / "block.zarr")
    fine, coarse = block.volume("image").data.astype(float), zarr.open(str(tmp_path / "block.zarr/image/1"))
    assert abs(np.asarray(coarse[...]) - fine.reshape(9, 20, 2, 25, 2).mean(axis=(2, 4))).max() <= 0.5
    label = zarr.open(str(tmp_path / "block.zarr/labels/instances/1"))
    np.testing.assert_array_equal(np.asarray(label[...]), block.volume("instances").data[:, ::2, ::2])


def test_chunks_of_a_large_block(tmp_path: Path) -> None:
    data = np.zeros((70, 300, 260), np.uint8)
    write_block(tmp_path / "block.zarr", Volume(data, (5, 5, 5)), {}, {})
    block = read_block(tmp_path / "block.zarr")
    assert block.image is not None and block.image.chunks == (64, 256, 256)
    # Voxels of the background alone take no space.
    assert sum(file.stat().st_size for file in (tmp_path / "block.zarr").rglob("*")) < 50_000


def test_a_block_without_an_image_and_a_label_added_later(tmp_path: Path) -> None:
    write_block(tmp_path / "block.zarr", None, labels(), {})
    assert read_block(tmp_path / "block.zarr").image is None
    write_volume(volume("uint8", 64), tmp_path / "block.zarr/labels/annotation")
    assert "annotation" in read_block(tmp_path / "block.zarr").labels


def test_a_failure_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="has to be JSON"):
        write_block(tmp_path / "block.zarr", None, labels(), {"a": {1, 2}})
    assert list(tmp_path.iterdir()) == []


def test_what_is_written_tile_by_tile_is_a_block_at_the_end(tmp_path: Path) -> None:
    whole = {"image": volume("uint8", 256, 1), **labels()}
    folder = tmp_path / "tiles.zarr"
    types = {name: label.data.dtype for name, label in labels().items()}
    writer = BlockWriter(folder, SHAPE, SIZE, ORIGIN, image=np.uint8, labels=types, names=NAMES)
    for y in range(0, SHAPE[1], 16):
        writer.write({name: one.data[:, y : y + 16] for name, one in whole.items()}, (0, y, 0))
    np.testing.assert_array_equal(np.asarray(writer.array("membrane")[...]), labels()["membrane"].data)
    with pytest.raises(ValueError, match="is no block"):
        read_block(folder)
    writer.finish({"seed": np.int64(7), "size": (1, 2)})
    written(tmp_path / "whole.zarr")
    assert digest(folder) == digest(tmp_path / "whole.zarr")


def test_refusals(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="does not exist"):
        read_block(tmp_path / "no.zarr")
    write_volume(volume("uint8", 5), tmp_path / "image.zarr")
    with pytest.raises(ValueError, match="is no block"):
        read_block(tmp_path / "image.zarr")
    with pytest.raises(ValueError, match="no 'cells'; there is classes, image, instances, membrane"):
        written(tmp_path / "block.zarr").volume("cells")
    with pytest.raises(ValueError, match="leave the block"):
        read_block(tmp_path / "block.zarr").volume("image", (0, 0, 0), (10, 40, 50))
    other = Volume(np.zeros((9, 40, 51), np.uint8), SIZE, ORIGIN)
    with pytest.raises(ValueError, match="other has"):
        write_block(tmp_path / "b.zarr", volume("uint8", 9), {"other": other}, {})
    with pytest.raises(ValueError, match="whole numbers"):
        write_block(tmp_path / "b.zarr", None, {"a": volume("float32", 9)}, {})
    with pytest.raises(ValueError, match="needs an image"):
        write_block(tmp_path / "b.zarr", None, {}, {})
    with pytest.raises(ValueError, match="has to be JSON"):
        write_block(tmp_path / "b.zarr", None, labels(), {"a": {1, 2}})

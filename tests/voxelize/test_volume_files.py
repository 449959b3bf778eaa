"""Volumes in files: each form's round trip, foreign files, real data, and clear refusals."""

import json
import os
from pathlib import Path

import h5py
import nibabel
import numpy as np
import pytest
import tifffile
import zarr
from PIL import Image

from neuropil.voxelize import volume_files
from neuropil.voxelize.volume import Volume
from neuropil.voxelize.volume_files import VoxelSizeUnknown, open_volume, read_volume, write_volume

DATA = Path(os.environ.get("NEUROPIL_DATA", Path(__file__).parents[2] / "../shared/data"))
SIZE = (30.0, 4.2, 5.0)
ORIGIN = (300.0, 42.0, -15.0)


def sample(dtype: str, shape: tuple[int, ...] = (5, 6, 7)) -> Volume:
    rng = np.random.default_rng(7)
    data = rng.integers(0, 250, shape).astype(dtype)
    if np.dtype(dtype).kind == "u":
        # The type's whole range: a form that narrows it would be seen.
        data.flat[0] = np.iinfo(dtype).max
    if len(shape) == 4:
        return Volume(data, SIZE, ORIGIN, "czyx", ("mitochondrion", "psd"))
    return Volume(data, SIZE, ORIGIN)


FORMS = {
    "slices": ["uint8", "uint16"],
    "v.tif": ["uint8", "uint16", "uint32", "int32", "float32", "float64"],
    "v.nii": ["uint8", "uint16", "uint32", "int16", "float32"],
    "v.nii.gz": ["uint8", "uint32", "uint64", "float64"],
    "v.h5:volumes/raw": ["uint8", "uint16", "uint32", "uint64", "float32"],
    "v.zarr": ["uint8", "uint16", "float32"],
    "v.zarr/labels/instances": ["uint8", "uint32", "uint64"],
}


@pytest.mark.parametrize(("name", "dtype"), [(name, dtype) for name, types in FORMS.items() for dtype in types])
def test_round_trip(name: str, dtype: str, tmp_path: Path) -> None:
    volume = sample(dtype)
    write_volume(volume, tmp_path / name)
    back = read_volume(tmp_path / name)
    assert back.data.dtype == volume.data.dtype
    np.testing.assert_array_equal(back.data, volume.data)
    assert back.voxel_size_nm == SIZE
    assert back.origin_nm == ORIGIN
    assert not [path for path in tmp_path.rglob("*") if ".part" in path.name or ".old" in path.name]


@pytest.mark.parametrize("name", ["slices", "v.tif", "v.nii", "v.h5:volumes/raw", "v.zarr"])
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_stack_stays_on_disk_and_is_read_in_parts(name: str, dtype: str, tmp_path: Path) -> None:
    volume = sample(dtype, (9, 6, 7))
    write_volume(volume, tmp_path / name)
    opened = open_volume(tmp_path / name)
    assert not isinstance(opened.data, np.ndarray)
    assert (opened.shape_zyx, opened.data.dtype) == ((9, 6, 7), volume.data.dtype)
    assert (opened.voxel_size_nm, opened.origin_nm) == (SIZE, ORIGIN)
    for box in (np.s_[2:5, 1:4, 3:], np.s_[7], np.s_[..., 4:6, :, :], np.s_[8:20, :2], np.s_[3:3]):
        np.testing.assert_array_equal(np.asarray(opened.data[box]), volume.data[box])
    np.testing.assert_array_equal(np.concatenate(list(opened.slabs(4))), volume.data)
    np.testing.assert_array_equal(np.asarray(opened.data[...]), volume.data)


def test_damage_found_while_reading_a_stack_in_parts_is_told(tmp_path: Path) -> None:
    write_volume(sample("uint8", (9, 40, 40)), tmp_path / "v")
    (tmp_path / "v" / "0007.png").write_bytes(b"no picture")
    opened = open_volume(tmp_path / "v")
    assert opened.data[0:3].shape == (3, 40, 40)
    with pytest.raises(ValueError, match=r"0007\.png cannot be read"):
        opened.data[5:9]


@pytest.mark.parametrize("name", ["v.tif", "v.nii.gz", "v.h5:a", "v.zarr"])
def test_channels_round_trip(name: str, tmp_path: Path) -> None:
    volume = sample("uint8", (2, 5, 6, 7))
    write_volume(volume, tmp_path / name)
    back = read_volume(tmp_path / name)
    assert (back.axes, back.channels) == ("czyx", ("mitochondrion", "psd"))
    np.testing.assert_array_equal(back.data, volume.data)
    assert back.voxel_size_nm == SIZE


def test_writing_again_replaces_and_keeps_the_neighbours(tmp_path: Path) -> None:
    first, second = sample("uint8"), sample("uint8", (3, 6, 7))
    write_volume(first, tmp_path / "v.h5:raw")
    write_volume(second, tmp_path / "v.h5:volumes/other")
    assert read_volume(tmp_path / "v.h5:raw").data.shape == (5, 6, 7)
    for name in ("slices", "v.zarr", "v.tif", "v.h5:raw"):
        write_volume(first, tmp_path / name)
        write_volume(second, tmp_path / name)
        assert read_volume(tmp_path / name).data.shape == (3, 6, 7)
    write_volume(first, tmp_path / "v.zarr/labels/a")
    write_volume(first, tmp_path / "v.zarr/labels/b")
    assert zarr.open(str(tmp_path / "v.zarr/labels")).attrs["ome"]["labels"] == ["a", "b"]


def test_a_failed_write_leaves_what_was_there(tmp_path: Path) -> None:
    write_volume(sample("uint8"), tmp_path / "slices")
    before = sorted(path.name for path in tmp_path.rglob("*"))
    with pytest.raises(ValueError, match="uint8 or uint16"):
        write_volume(sample("uint32"), tmp_path / "slices")
    assert sorted(path.name for path in tmp_path.rglob("*")) == before
    assert read_volume(tmp_path / "slices").data.shape == (5, 6, 7)


def test_slices_come_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    for number in (10, 9, 100):
        Image.fromarray(np.full((3, 4), number, np.uint8)).save(tmp_path / f"s{number}.png")
    volume = read_volume(tmp_path, (5, 5, 5))
    assert volume.data[:, 0, 0].tolist() == [9, 10, 100]


def test_single_images(tmp_path: Path) -> None:
    grey = np.arange(12, dtype=np.uint8).reshape(3, 4)
    Image.fromarray(np.stack([grey] * 3, axis=-1)).save(tmp_path / "rgb.png")
    assert read_volume(tmp_path / "rgb.png", (5, 5, 5)).data.tolist() == [grey.tolist()]
    colour = np.stack([grey, grey + 1, grey], axis=-1)
    Image.fromarray(colour).save(tmp_path / "colour.png")
    with pytest.raises(ValueError, match="colour"):
        read_volume(tmp_path / "colour.png", (5, 5, 5))
    tifffile.imwrite(tmp_path / "plane.tif", grey.astype(np.uint16) * 5000)
    assert read_volume(tmp_path / "plane.tif", (5, 5, 5)).data.shape == (1, 3, 4)
    write_volume(Volume(grey[np.newaxis], (5, 5, 5)), tmp_path / "one.png")
    assert np.asarray(Image.open(tmp_path / "one.png")).tolist() == grey.tolist()
    with pytest.raises(ValueError, match="5 planes"):
        write_volume(sample("uint8"), tmp_path / "one.png")


def test_tiffs_of_other_programs(tmp_path: Path) -> None:
    data = np.arange(60, dtype=np.uint16).reshape(3, 4, 5)
    tifffile.imwrite(
        tmp_path / "ome.tif",
        data,
        ome=True,
        metadata={
            "axes": "ZYX",
            "PhysicalSizeX": 8.0,
            "PhysicalSizeXUnit": "nm",
            "PhysicalSizeY": 0.008,
            "PhysicalSizeYUnit": "µm",
            "PhysicalSizeZ": 0.03,
            "PhysicalSizeZUnit": "µm",
        },
    )
    assert read_volume(tmp_path / "ome.tif").voxel_size_nm == (30.0, 8.0, 8.0)
    tifffile.imwrite(
        tmp_path / "fiji.tif",
        data,
        imagej=True,
        resolution=(0.125, 0.25),
        metadata={"axes": "ZYX", "unit": "nm", "spacing": 20.0},
    )
    back = read_volume(tmp_path / "fiji.tif")
    assert back.voxel_size_nm == (20.0, 4.0, 8.0)
    np.testing.assert_array_equal(back.data, data)


def test_nifti_axes_are_put_in_order(tmp_path: Path) -> None:
    data = np.random.default_rng(1).integers(0, 255, (4, 5, 6)).astype(np.uint8)  # z, y, x
    affine = np.zeros((4, 4))
    # Stored as y, -x, z, in millimetres.
    affine[1, 0], affine[0, 1], affine[2, 2], affine[3, 3] = 8e-6, -4e-6, 30e-6, 1
    stored = data.transpose(1, 2, 0)[:, ::-1, :]
    image = nibabel.Nifti1Image(stored, affine)
    image.header.set_xyzt_units("mm")
    nibabel.save(image, tmp_path / "turned.nii")
    back = read_volume(tmp_path / "turned.nii")
    np.testing.assert_array_equal(back.data, data)
    assert back.voxel_size_nm == (30.0, 8.0, 4.0)


def test_ome_zarr_0_4_is_read(tmp_path: Path) -> None:
    data = np.arange(60, dtype=np.uint8).reshape(1, 1, 3, 4, 5)
    axes = [{"name": "t", "type": "time"}, {"name": "c", "type": "channel"}]
    axes += [{"name": name, "type": "space", "unit": "nanometer"} for name in "zyx"]
    scale = [{"type": "scale", "scale": [1, 1, 30, 4, 4]}]
    group = zarr.open_group(str(tmp_path / "old.zarr"), mode="w", zarr_format=2)
    group.create_array("s0", data=data)
    group.attrs["multiscales"] = [
        {"version": "0.4", "axes": axes, "datasets": [{"path": "s0", "coordinateTransformations": scale}]}
    ]
    for name in ("old.zarr", "old.zarr/s0"):
        back = read_volume(tmp_path / name)
        assert back.voxel_size_nm == (30.0, 4.0, 4.0)
        np.testing.assert_array_equal(back.data[0] if back.axes == "czyx" else back.data, data[0, 0])


def test_a_given_voxel_size_counts_and_an_unknown_one_is_asked_for(tmp_path: Path) -> None:
    write_volume(sample("uint8"), tmp_path / "v.tif")
    assert read_volume(tmp_path / "v.tif", (50, 4, 4)).voxel_size_nm == (50.0, 4.0, 4.0)
    tifffile.imwrite(tmp_path / "bare.tif", np.zeros((3, 4, 5), np.uint8), photometric="minisblack")
    with h5py.File(tmp_path / "bare.h5", "w") as file:
        file["raw"] = np.zeros((3, 4, 5), np.uint8)
    zarr.open_array(str(tmp_path / "bare.zarr"), mode="w", shape=(3, 4, 5), dtype="u1")
    for name in ("bare.tif", "bare.h5:raw", "bare.zarr"):
        with pytest.raises(VoxelSizeUnknown, match="voxel size"):
            read_volume(tmp_path / name)
        assert read_volume(tmp_path / name, (9, 9, 9)).data.shape == (3, 4, 5)


def one_sentence(error: pytest.ExceptionInfo[Exception]) -> bool:
    text = str(error.value)
    return text.endswith(".") and "\n" not in text and "Traceback" not in text


@pytest.mark.parametrize("name", ["no", "no.tif", "no.png", "no.nii.gz", "no.h5:raw", "no.zarr", "no.zarr/image"])
def test_a_missing_file(name: str, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="does not exist") as error:
        read_volume(tmp_path / name)
    assert one_sentence(error)


@pytest.mark.parametrize("name", ["v.tif", "v.nii", "v.nii.gz", "v.h5:raw", "one.png"])
def test_a_truncated_file(name: str, tmp_path: Path) -> None:
    shape = (1, 64, 65) if name == "one.png" else (6, 64, 65)
    volume = Volume(np.random.default_rng(0).integers(0, 255, shape).astype(np.uint8), (5, 5, 5))
    write_volume(volume, tmp_path / name)
    file = tmp_path / name.split(":")[0]
    whole = file.read_bytes()
    for kept in (0, 10, len(whole) // 2):
        file.write_bytes(whole[:kept])
        with pytest.raises(ValueError, match="cannot be read") as error:
            read_volume(tmp_path / name, (5, 5, 5))
        assert one_sentence(error)


def test_datasets_that_are_there_are_named(tmp_path: Path) -> None:
    write_volume(sample("uint8"), tmp_path / "v.h5:volumes/raw")
    assert read_volume(tmp_path / "v.h5").data.shape == (5, 6, 7)
    write_volume(sample("uint8"), tmp_path / "v.h5:volumes/labels/clefts")
    for name, words in (("v.h5:raw", "no dataset 'raw'"), ("v.h5", "needs a dataset")):
        with pytest.raises(ValueError, match=f"{words}.*volumes/labels/clefts, volumes/raw"):
            read_volume(tmp_path / name)
    write_volume(sample("uint8"), tmp_path / "v.zarr")
    with pytest.raises(ValueError, match="no 'labels'; there is 0, 1"):
        read_volume(tmp_path / "v.zarr/labels")


def test_other_refusals(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="without images"):
        read_volume(tmp_path / "empty")
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(ValueError, match="no form"):
        read_volume(tmp_path / "notes.txt")
    with pytest.raises(ValueError, match="no form"):
        write_volume(sample("uint8"), tmp_path / "v.txt")
    with pytest.raises(ValueError, match="needs a dataset"):
        write_volume(sample("uint8"), tmp_path / "v.h5")
    with pytest.raises(ValueError, match="whole numbers"):
        write_volume(sample("float32"), tmp_path / "v.zarr/labels/a")
    tifffile.imwrite(
        tmp_path / "time.tif",
        np.zeros((2, 3, 4, 5), np.uint8),
        metadata={"axes": "TZYX"},
        photometric="minisblack",
    )
    with pytest.raises(ValueError, match="perhaps c"):
        read_volume(tmp_path / "time.tif", (5, 5, 5))
    with h5py.File(tmp_path / "five.h5", "w") as file:
        file["raw"] = np.zeros((1, 1, 3, 4, 5), np.uint8)
    with pytest.raises(ValueError, match="at most channels"):
        read_volume(tmp_path / "five.h5:raw", (5, 5, 5))
    folder = tmp_path / "mixed"
    folder.mkdir()
    for index, shape in enumerate(((3, 4), (4, 4))):
        Image.fromarray(np.zeros(shape, np.uint8)).save(folder / f"{index}.png")
    with pytest.raises(ValueError, match=r"1\.png is \(4, 4\)"):
        read_volume(folder, (5, 5, 5))
    write_volume(sample("uint8"), tmp_path / "slices")
    (tmp_path / "slices/volume.json").write_text(json.dumps({"voxel_size_nm": [5, 0, 5]}))
    with pytest.raises(ValueError, match="three positive numbers"):
        read_volume(tmp_path / "slices")


def real(name: str) -> Path:
    path = DATA / name
    if not path.exists():
        pytest.skip(f"the real data {name} is not under NEUROPIL_DATA")
    return path


def test_real_png_folder() -> None:
    images = read_volume(real("epfl_ca1/images"), (5, 5, 5))
    assert images.data.shape == (61, 768, 1024) and images.data.dtype == np.uint8
    assert images.data.mean() == pytest.approx(139.3, abs=0.1)


def test_real_tiff_and_hdf5() -> None:
    membranes = read_volume(real("isbi2012/membrane.tif"), (50, 4, 4))
    assert membranes.data.shape == (30, 512, 512)
    assert (membranes.data > 0).mean() == pytest.approx(0.2196, abs=1e-4)
    ids = read_volume(f"{real('gala_crops/train.h5')}:volumes/labels/neuron_ids", (10, 10, 10))
    assert ids.data.shape == (50, 100, 200) and ids.data.dtype == np.uint64
    with pytest.raises(VoxelSizeUnknown):
        read_volume(f"{real('gala_crops/train.h5')}:volumes/raw")


def test_channels_become_a_folder_each(tmp_path: Path) -> None:
    data = np.random.default_rng(0).integers(0, 2, (2, 3, 4, 5)).astype(np.uint8)
    masks = Volume(data, (50.0, 4.0, 4.0), axes="czyx", channels=("membrane", "psd"))
    write_volume(masks, tmp_path / "masks")
    assert sorted(p.name for p in (tmp_path / "masks").iterdir()) == ["membrane", "psd", "volume.json"]
    back = read_volume(tmp_path / "masks")
    assert back.channels == ("membrane", "psd") and back.voxel_size_nm == (50.0, 4.0, 4.0)
    np.testing.assert_array_equal(back.data, data)
    # Each channel is a folder of slices by itself.
    np.testing.assert_array_equal(read_volume(tmp_path / "masks" / "psd", (50, 4, 4)).data, data[1])
    with pytest.raises(ValueError, match="name a folder"):
        write_volume(masks, tmp_path / "masks.png")


@pytest.mark.parametrize("name", ["slices", "v.tif", "v.nii.gz", "v.h5:raw", "v.zarr"])
def test_what_is_on_disk_is_exported_some_slices_at_a_time(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(volume_files, "SLAB_SLICES", 2)
    plain = sample("uint16")
    channels = Volume(np.stack([plain.data % 2, plain.data % 3]).astype(np.uint8), SIZE, ORIGIN, "czyx", ("a", "b"))
    for number, volume in enumerate((plain, channels)):
        write_volume(volume, tmp_path / f"source{number}.zarr")
        stored = open_volume(tmp_path / f"source{number}.zarr")
        assert isinstance(stored.data, zarr.Array)
        write_volume(stored, tmp_path / f"{number}{name}")
        back = read_volume(tmp_path / f"{number}{name}")
        np.testing.assert_array_equal(back.data, volume.data)
        assert (back.axes, back.channels, back.voxel_size_nm) == (volume.axes, volume.channels, SIZE)


def test_slabs_hold_no_more_than_was_asked(tmp_path: Path) -> None:
    write_volume(sample("uint8"), tmp_path / "source.zarr")
    stored = open_volume(tmp_path / "source.zarr")
    assert [slab.shape for slab in stored.slabs(2)] == [(2, 6, 7), (2, 6, 7), (1, 6, 7)]

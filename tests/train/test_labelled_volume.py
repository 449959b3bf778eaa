from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from neuropil.train.labelled_volume import LabelledVolume, Source
from neuropil.voxelize.block_files import write_block
from neuropil.voxelize.volume import Volume


def write_slices(folder: Path, names: tuple[str, ...] = ("0000", "0001", "0002x", "0003")) -> np.ndarray:
    rng = np.random.default_rng(0)
    for kind in ("images", "labels"):
        (folder / kind).mkdir()
    bits = rng.integers(0, 64, (len(names), 12, 16)).astype(np.uint8)
    for name, labels in zip(names, bits, strict=True):
        Image.fromarray(rng.integers(0, 256, (12, 16)).astype(np.uint8)).save(folder / "images" / f"{name}.png")
        Image.fromarray(labels).save(folder / "labels" / f"{name}.png")
    return bits


def test_slices_by_range(tmp_path: Path) -> None:
    bits = write_slices(tmp_path)
    volumes = Source.parse(f"bits:{tmp_path}:0001-0002x").load()
    assert [v.name for v in volumes] == ["0001", "0002x"]
    assert (volumes[1].bits == bits[2:3]).all() and volumes[0].planes == ("z",)
    assert len(Source.parse(f"bits:{tmp_path}").load()) == 4


def test_block_on_disk(tmp_path: Path, toy: LabelledVolume) -> None:
    image, bits = Volume(toy.image, (4.0, 4.0, 4.0)), Volume(toy.bits, (4.0, 4.0, 4.0))
    write_block(tmp_path / "0007" / "block.zarr", image, {"annotation": bits, "classes": bits}, {"seed": 1})
    (volume,) = Source.parse(f"block:{tmp_path / '0007' / 'block.zarr'}").load()
    assert (volume.image == toy.image).all() and (volume.bits == toy.bits).all()
    assert volume.voxel_size_nm == (4.0, 4.0, 4.0) and volume.contiguous and volume.name == "0007/block.zarr"
    write_block(tmp_path / "unlabelled.zarr", image, {"classes": bits}, {})
    with pytest.raises(ValueError, match="has no annotation"):
        Source.parse(f"block:{tmp_path / 'unlabelled.zarr'}").load()
    with pytest.raises(ValueError):
        (tmp_path / "empty").mkdir()
        Source.parse(f"block:{tmp_path / 'empty'}").load()


def test_npz_gives_the_same_masks(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    image, masks = rng.integers(0, 256, (3, 10, 12)).astype(np.uint8), rng.random((3, 6, 10, 12)) < 0.3
    np.savez(tmp_path / "set.npz", image=image, masks=masks)
    (volume,) = Source.parse(f"npz:{tmp_path / 'set.npz'}").load()
    assert (volume.image == image).all()
    assert all((((volume.bits >> k) & 1).astype(bool) == masks[:, k]).all() for k in range(6))
    assert not volume.contiguous


def test_bad_sources_are_refused_in_one_sentence(tmp_path: Path) -> None:
    write_slices(tmp_path, ("0000", "0001"))
    with pytest.raises(ValueError, match="is not block:DIR"):
        Source.parse("folder")
    with pytest.raises(ValueError, match="is not FIRST-LAST"):
        Source.parse(f"bits:{tmp_path}:0001")
    with pytest.raises(FileNotFoundError, match="does not exist"):
        Source.parse("bits:/no/such/folder").load()
    with pytest.raises(ValueError, match="holds no PNG"):
        Source.parse(f"bits:{tmp_path}:5-6").load()
    (tmp_path / "labels" / "0001.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"labels/0001\.png"):
        Source.parse(f"bits:{tmp_path}").load()
    (tmp_path / "broken.npz").write_bytes(b"PK\x03\x04 no archive")
    with pytest.raises(ValueError, match="cannot be read as NPZ"):
        Source.parse(f"npz:{tmp_path / 'broken.npz'}").load()
    np.savez(tmp_path / "half.npz", image=np.zeros((1, 4, 4), np.uint8))
    with pytest.raises(ValueError, match="no array called masks"):
        Source.parse(f"npz:{tmp_path / 'half.npz'}").load()


def test_truncated_picture_is_refused(tmp_path: Path) -> None:
    write_slices(tmp_path, ("0000",))
    path = tmp_path / "images" / "0000.png"
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(ValueError, match="cannot be read as a picture"):
        Source.parse(f"bits:{tmp_path}").load()

"""Blocks and other volumes in a pipeline of MONAI's own transforms."""

from pathlib import Path

import numpy as np
import pytest
from monai.data import CacheDataset, DataLoader
from monai.transforms import Compose, LoadImaged, RandCropByLabelClassesd, RandRotate90d, ScaleIntensityRanged, Spacingd

from neuropil.train.classes import masks_from_bits
from neuropil.train.labelled_volume import LabelledVolume
from neuropil.train.monai_data import MasksFromBitsd, VolumeReader
from neuropil.voxelize.block_files import write_block
from neuropil.voxelize.volume import Volume
from neuropil.voxelize.volume_files import write_volume


@pytest.fixture
def block(toy: LabelledVolume, tmp_path: Path) -> Path:
    size = (20.0, 5.0, 5.0)
    write_block(tmp_path / "b.zarr", Volume(toy.image, size), {"annotation": Volume(toy.bits, size)}, {})
    return tmp_path / "b.zarr"


def test_block_through_monai_transforms(block: Path, toy: LabelledVolume) -> None:
    load = Compose(
        [
            LoadImaged(["image", "label"], reader=VolumeReader(), ensure_channel_first=True),
            ScaleIntensityRanged(["image"], 0, 255, 0, 1),
        ]
    )
    item = {"image": str(block / "image"), "label": str(block / "labels" / "annotation")}
    loaded = MasksFromBitsd(["label"])(load(item))
    assert loaded["image"].shape == (1, 8, 96, 96)
    assert np.allclose(np.asarray(loaded["image"][0]) * 255, toy.image)
    assert np.array_equal(np.asarray(loaded["label"]), masks_from_bits(toy.bits))
    assert np.allclose(loaded["image"].pixdim, (0.02, 0.005, 0.005))
    # Sections of 20 nm are cut into 10 nm, whatever the form on disk.
    thinner = Spacingd(["image"], pixdim=(0.01, 0.005, 0.005))(load(item))
    assert thinner["image"].shape[1] in (15, 16) and thinner["image"].shape[2:] == (96, 96)


def test_cached_and_cropped_by_class_in_batches(block: Path) -> None:
    steps = Compose(
        [
            LoadImaged(["image", "label"], reader=VolumeReader(), ensure_channel_first=True),
            MasksFromBitsd(["label"]),
            RandCropByLabelClassesd(["image", "label"], "label", (4, 16, 16), ratios=[0, 0, 0, 1, 0, 0], num_samples=2),
            RandRotate90d(["image", "label"], spatial_axes=(1, 2)),
        ]
    )
    item = {"image": str(block / "image"), "label": str(block / "labels" / "annotation")}
    (batch,) = DataLoader(CacheDataset([item], steps, num_workers=0, progress=False), batch_size=2)
    assert batch["image"].shape == (2, 1, 4, 16, 16) and batch["label"].shape == (2, 6, 4, 16, 16)
    assert batch["label"][:, 3].amax((1, 2, 3)).tolist() == [1, 1]


@pytest.mark.parametrize("name", ["slices", "v.tif", "v.nii.gz", "v.h5:raw", "v.zarr"])
def test_every_form_reads_alike(name: str, toy: LabelledVolume, tmp_path: Path) -> None:
    write_volume(Volume(toy.image, (40.0, 4.0, 5.0), (80.0, 0.0, 0.0)), tmp_path / name)
    image = LoadImaged(["i"], reader=VolumeReader())({"i": str(tmp_path / name)})["i"]
    assert np.array_equal(np.asarray(image), toy.image)
    assert np.allclose(image.affine, np.diag([0.04, 0.004, 0.005, 1]) + np.eye(4, k=3) * 0.08)

"""Bundles that tell cells apart: `neuropil segment` gives ids, from volumes and from linked sections."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from neuropil.pipeline import segmenting
from neuropil.pipeline.linking_job import add_linking_head, instances_of_image
from neuropil.train.bundle import Model, read_bundle, write_bundle
from neuropil.train.evaluation import evaluate
from neuropil.train.inference import Segmenter
from neuropil.train.labelled_volume import LabelledVolume
from neuropil.train.linking import HEAD, LinkHead, link_sections, read_head, write_head
from neuropil.train.networks import build_network
from neuropil.train.settings import AffinityTask, NetworkConfig
from neuropil.voxelize.volume import Volume
from neuropil.voxelize.volume_files import read_volume, write_volume

NM10 = (10.0, 10.0, 10.0)
Command = Callable[..., tuple[int, str, str]]


class Brightness(torch.nn.Module):
    """Stands for a trained network: what is bright belongs to its neighbours, what is dark to nothing."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels
        self.anchor = torch.nn.Parameter(torch.zeros(1))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return ((image - 0.5) * 20).expand(-1, self.channels, *image.shape[2:]) + self.anchor


@pytest.fixture(autouse=True)
def one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segmenting, "use_fastest_threads", lambda: 1)


def walls(depth: int = 6) -> tuple[Volume, np.ndarray]:
    """Bright rooms between dark walls, the same in each section, and the room's number."""
    y, x = np.indices((96, 96))
    rooms = (1 + y // 24 * 4 + x // 24).astype(np.uint32)
    dark = (y % 24 >= 22) | (x % 24 >= 22)
    image = np.where(dark, 20, 220).astype(np.uint8)
    return Volume(np.stack([image] * depth), NM10), np.stack([np.where(dark, 0, rooms)] * depth).astype(np.uint32)


def bundle(folder: Path, planar: bool) -> Path:
    torch.manual_seed(0)
    task = AffinityTask(planar=planar, far_nm=())
    config = NetworkConfig(kind="basic_unet", spatial_dims=2 if planar else 3, features=(4, 4, 4, 4, 4, 4))
    network = build_network(config, len(task.channels)).eval()
    return write_bundle(Model(network, config, task.channels, NM10, "tiny", 64, {}, task), folder)


@pytest.fixture
def bright(monkeypatch: pytest.MonkeyPatch) -> None:
    """Answers of `Brightness` in place of an untrained network's; its encoder stays."""

    def answer(self: Segmenter, tile: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            image = torch.from_numpy(tile.astype(np.float32) / 255)[None, None]
            return (Brightness(self.channels)(image).sigmoid()[0] * 255).round().to(torch.uint8).numpy()

    monkeypatch.setattr(Segmenter, "_predict", answer)


@pytest.mark.usefixtures("bright")
def test_a_volume_becomes_cells(command: Command, tmp_path: Path) -> None:
    image, rooms = walls(depth=20)
    write_volume(image, tmp_path / "image.zarr")
    code, _, err = command("segment", bundle(tmp_path / "m", False), tmp_path / "image.zarr", "-o", tmp_path / "o.zarr")
    assert code == 0, err
    found = read_volume(tmp_path / "o.zarr")
    assert found.data.dtype == np.uint32 and found.voxel_size_nm == NM10
    scores = evaluate(found, Volume(rooms, NM10))
    assert scores["adapted_rand_error"] < 1e-6 and scores["segments"] == 16
    assert not list(tmp_path.glob(".*.segmenting"))


@pytest.mark.usefixtures("bright")
def test_sections_become_cells_by_the_head_that_training_adds(command: Command, tmp_path: Path) -> None:
    folder = bundle(tmp_path / "model", True)
    image, rooms = walls()
    bits = np.zeros(rooms.shape, np.uint8)
    add_linking_head(folder, [LabelledVolume("walls", image.data, bits, NM10, instances=_shifted(rooms))], seed=0)
    assert (folder / HEAD).exists()
    write_volume(image, tmp_path / "image.tif")
    code, _, err = command("segment", folder, tmp_path / "image.tif", "-o", tmp_path / "cells.nii.gz")
    assert code == 0, err
    found = read_volume(tmp_path / "cells.nii.gz")
    assert found.data.dtype == np.uint32
    model = read_bundle(folder)
    again = link_sections(model, read_head(folder), image, instances_of_image(model, image))
    np.testing.assert_array_equal(found.data, again.data)


def _shifted(rooms: np.ndarray) -> np.ndarray:
    """The cells of every second section exchanged in pairs, so that there are gaps to learn as well as links."""
    other = np.where(rooms > 0, (rooms - 1 ^ 1) + 1, 0).astype(np.uint32)
    out = rooms.copy()
    out[3:, :48] = other[3:, :48]
    return out


def test_sections_without_a_head_or_of_another_scale_are_refused(command: Command, tmp_path: Path) -> None:
    folder = bundle(tmp_path / "model", True)
    image, _ = walls()
    write_volume(image, tmp_path / "image.tif")
    code, _, err = command("segment", folder, tmp_path / "image.tif", "-o", tmp_path / "out.tif")
    assert code == 2 and "no head to link" in err
    write_head(LinkHead(13), folder)
    write_volume(Volume(image.data, (10.0, 14.0, 14.0)), tmp_path / "image.tif")
    code, _, err = command("segment", folder, tmp_path / "image.tif", "-o", tmp_path / "out.tif")
    assert code == 2 and "14 nm" in err and "resample" in err
    assert sorted(p.name for p in tmp_path.iterdir()) == ["image.tif", "model"]

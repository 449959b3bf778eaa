"""`neuropil segment`: every input form, memory that does not grow with the volume, a kill, and what is refused."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from neuropil.pipeline import segmenting
from neuropil.pipeline.segmenting import segment_file
from neuropil.train.bundle import Model, write_bundle
from neuropil.train.inference import InferenceSettings, segment
from neuropil.train.networks import build_network
from neuropil.train.settings import NetworkConfig, SemanticTask
from neuropil.voxelize.volume import Volume
from neuropil.voxelize.volume_files import read_volume, write_volume

NM5 = (5.0, 5.0, 5.0)
Command = Callable[..., tuple[int, str, str]]


def tiny_model(spatial_dims: int = 2, classes: int = 5) -> Model:
    torch.manual_seed(0)
    config = NetworkConfig(kind="basic_unet", spatial_dims=spatial_dims, features=(4, 4, 4, 4, 4, 4))  # type: ignore[arg-type]
    task = SemanticTask(classes=classes)  # type: ignore[arg-type]
    network = build_network(config, classes)
    return Model(network.eval(), config, task.channels, NM5, "tiny", 64, {}, task)


@pytest.fixture(autouse=True)
def one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segmenting, "use_fastest_threads", lambda: 1)


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return write_bundle(tiny_model(), tmp_path / "model")


@pytest.fixture
def deep_bundle(tmp_path: Path) -> Path:
    return write_bundle(tiny_model(3), tmp_path / "deep")


def grey(shape: tuple[int, int, int], voxel_size_nm: tuple[float, float, float] = NM5) -> Volume:
    return Volume(np.random.default_rng(1).integers(0, 256, shape).astype(np.uint8), voxel_size_nm, (5.0, 0.0, 10.0))


@pytest.mark.parametrize(
    ("source", "output"),
    [("in", "out"), ("in.tif", "out.tif"), ("in.nii", "out.nii.gz"), ("in.h5:raw", "o.h5:a/b"), ("in.zarr", "o.zarr")],
)
def test_every_form_in_and_out(source: str, output: str, bundle: Path, tmp_path: Path, command: Command) -> None:
    volume = grey((10, 40, 70))
    write_volume(volume, tmp_path / source)
    code, out, _ = command("segment", bundle, tmp_path / source, "-o", tmp_path / output)
    assert (code, out.strip()) == (0, str(tmp_path / output))
    found, wanted = read_volume(tmp_path / output), segment(tiny_model(), volume)
    assert (found.axes, found.channels, found.data.dtype) == ("czyx", wanted.channels, np.uint8)
    assert len(found.channels) == 5 and "mitochondrial_boundary" not in found.channels
    assert (found.voxel_size_nm, found.origin_nm) == (NM5, volume.origin_nm)
    assert np.array_equal(found.data, wanted.data) and 0.01 < found.data.mean() < 0.99
    if source == "in":
        assert {p.name for p in (tmp_path / "out").iterdir() if p.is_dir()} == set(wanted.channels)
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("deep", [False, True])
def test_stopped_anywhere_it_goes_on_to_the_same_result(
    deep: bool, bundle: Path, deep_bundle: Path, tmp_path: Path
) -> None:
    volume = grey((50, 24, 40))
    write_volume(volume, tmp_path / "in.zarr")
    settings, model = InferenceSettings(tile_px=32, overlap_px=8), deep_bundle if deep else bundle

    def run(stop_at: float | None) -> None:
        def report(fraction: float, text: str) -> None:
            if stop_at is not None and fraction > stop_at:
                raise KeyboardInterrupt

        segment_file(str(model), str(tmp_path / "in.zarr"), str(tmp_path / "out.zarr"), None, settings, report)

    begun = []
    for stop_at in (0.1, 0.5, 0.7):
        with pytest.raises(KeyboardInterrupt):
            run(stop_at)
        assert not (tmp_path / "out.zarr").exists()
        begun.append(segmenting._read_state(tmp_path / ".out.zarr.segmenting"))
    done = [state["sections"] for state in begun if state]
    assert done == sorted(done) and done[-1] > done[0]
    run(None)
    wanted = segment(tiny_model(3 if deep else 2), volume, settings)
    assert np.array_equal(read_volume(tmp_path / "out.zarr").data, wanted.data)
    assert not (tmp_path / ".out.zarr.segmenting").exists()


def test_kill_minus_9_and_the_same_command_again(bundle: Path, tmp_path: Path, command: Command) -> None:
    write_volume(grey((160, 128, 128)), tmp_path / "in.zarr")
    out, work = tmp_path / "out.zarr", tmp_path / ".out.zarr.segmenting"
    arguments = ["segment", str(bundle), str(tmp_path / "in.zarr"), "-o", str(out)]
    main = "from neuropil.pipeline.command_line import main; main()"
    process = subprocess.Popen([sys.executable, "-c", main, *arguments], stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 60
        while ((segmenting._read_state(work) or {}).get("sections", 0)) < 16 and time.monotonic() < deadline:
            assert process.poll() is None, "it ended before it could be killed"
            time.sleep(0.005)
        os.kill(process.pid, signal.SIGKILL)
    finally:
        process.kill()
        process.wait()
    assert not out.exists() and (segmenting._read_state(work) or {})["sections"] >= 16
    assert command(*arguments)[0] == 0
    assert np.array_equal(read_volume(out).data, segment(tiny_model(), grey((160, 128, 128))).data)


def refusal(command: Command, *arguments: object) -> str:
    code, out, err = command("segment", *arguments)
    assert (code, out) == (2, "") and err.count("\n") == 1 and err.startswith("neuropil: "), err
    return err


def test_what_does_not_fit_is_refused_in_one_sentence(
    bundle: Path, deep_bundle: Path, tmp_path: Path, command: Command
) -> None:
    write_volume(grey((1, 40, 40)), tmp_path / "single.tif")
    write_volume(grey((2, 40, 40), (5.0, 12.0, 12.0)), tmp_path / "coarse.tif")
    write_volume(grey((2, 40, 40)), tmp_path / "good.tif")
    write_volume(grey((8, 90, 90)), tmp_path / "cut.h5:raw")
    (tmp_path / "cut.h5").write_bytes((tmp_path / "cut.h5").read_bytes()[:20000])
    (tmp_path / "foreign").mkdir()
    before, out = set(tmp_path.iterdir()), tmp_path / "out.tif"
    assert "3D, but the image is a single section" in refusal(command, deep_bundle, tmp_path / "single.tif", "-o", out)
    assert "more than a factor of 2" in refusal(command, bundle, tmp_path / "coarse.tif", "-o", out)
    assert "cut short" in refusal(command, bundle, f"{tmp_path / 'cut.h5'}:raw", "-o", out)
    assert "not a finished bundle" in refusal(command, tmp_path / "foreign", tmp_path / "good.tif", "-o", out)
    assert "shipped are" in refusal(command, "no-such-model", tmp_path / "good.tif", "-o", out)
    assert "no form" in refusal(command, bundle, tmp_path / "good.tif", "-o", tmp_path / "out.docx")
    assert "after a colon" in refusal(command, bundle, tmp_path / "good.tif", "-o", tmp_path / "out.h5")
    weights = bundle / "models" / "model.safetensors"
    weights.write_bytes(pickle.dumps({"weights": [1.0]}))
    assert "safetensors" in refusal(command, bundle, tmp_path / "good.tif", "-o", out)
    weights.rename(weights.with_suffix(".pt"))
    assert "may be a pickle" in refusal(command, bundle, tmp_path / "good.tif", "-o", out)
    assert set(tmp_path.iterdir()) == before


def test_truncated_dataset_found_on_the_way_is_told(bundle: Path, tmp_path: Path, command: Command) -> None:
    with h5py.File(tmp_path / "in.h5", "w") as file:
        data = np.random.default_rng(0).integers(0, 256, (40, 60, 60)).astype(np.uint8)
        file.create_dataset("raw", data=data, chunks=(4, 60, 60), compression="gzip").attrs["resolution"] = NM5
    content = bytearray((tmp_path / "in.h5").read_bytes())
    middle = len(content) // 2
    content[middle : middle + 2000] = bytes(2000)
    (tmp_path / "in.h5").write_bytes(content)
    message = refusal(command, bundle, f"{tmp_path / 'in.h5'}:raw", "-o", tmp_path / "out.tif")
    assert "cut short or damaged" in message and not (tmp_path / "out.tif").exists()

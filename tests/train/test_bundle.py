import json
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest
import safetensors.torch
import torch
from PIL import Image

from neuropil.train.bundle import Model, read_bundle, write_bundle
from neuropil.train.card import Card, card_text
from neuropil.train.classes import CLASS_NAMES
from neuropil.train.inference import probability_slabs, segment
from neuropil.train.networks import build_network
from neuropil.train.onnx_export import export_onnx
from neuropil.train.settings import NetworkConfig, SemanticTask
from neuropil.voxelize.volume import Volume

NM5 = (5.0, 5.0, 5.0)
WEIGHTS, METADATA, INFERENCE = "models/model.safetensors", "configs/metadata.json", "configs/inference.json"


@pytest.fixture
def bundle(tmp_path: Path, small_network: NetworkConfig) -> Path:
    torch.manual_seed(1)
    network = build_network(small_network, 6)
    network.train()
    for _ in range(3):  # batch norms with statistics of their own
        network(torch.rand(2, 1, 64, 64))
    model = Model(network.eval(), small_network, CLASS_NAMES, NM5, "toy", 64, {"steps": 7})
    return write_bundle(model, tmp_path / "toy")


def test_what_is_written_is_read(bundle: Path, small_network: NetworkConfig) -> None:
    model = read_bundle(bundle)
    assert (model.name, model.classes, model.voxel_size_nm, model.patch_px) == ("toy", CLASS_NAMES, NM5, 64)
    assert model.config == small_network and model.record == {"steps": 7}
    torch.manual_seed(1)
    volume = Volume(np.random.default_rng(0).integers(0, 256, (1, 64, 64)).astype(np.uint8), NM5)
    assert np.array_equal(segment(model, volume).data, segment(read_bundle(str(bundle)), volume).data)
    metadata = json.loads((bundle / METADATA).read_text())
    assert metadata["network_data_format"]["outputs"]["pred"]["channel_def"]["3"] == "psd"
    assert not [p for p in bundle.rglob("*") if p.name.startswith(".") or p.suffix in (".pt", ".pkl")]


def monai_run(bundle: Path, *options: str) -> None:
    command = [sys.executable, "-m", "monai.bundle", "run", "--config_file", str(bundle / INFERENCE)]
    command += ["--meta_file", str(bundle / METADATA), "--bundle_root", str(bundle), *options]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]


def test_monai_runs_it_on_pictures_and_agrees(bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    image = np.random.default_rng(0).integers(0, 256, (64, 64)).astype(np.uint8)
    Image.fromarray(image).save(tmp_path / "pictures" / "slice.png")
    monai_run(bundle, "--dataset_dir", str(tmp_path / "pictures"), "--output_dir", str(tmp_path / "out"))
    found = np.asarray(nibabel.load(tmp_path / "out" / "slice_seg.nii.gz").dataobj).squeeze()
    assert found.shape == (64, 64, 6)
    (slab,) = probability_slabs(read_bundle(bundle), Volume(image[None], NM5))
    ours = slab.probabilities[:, 0].transpose(2, 1, 0)
    # MONAI computes in 32 bits here, so voxels near the threshold may differ.
    sure = np.abs(ours.astype(int) - 127) > 3
    assert sure.mean() > 0.5
    assert ((ours >= 128) == found)[sure].mean() > 0.999


def test_monai_runs_it_on_a_nifti_volume(bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "volumes").mkdir()
    image = np.random.default_rng(0).integers(0, 256, (64, 48, 3)).astype(np.uint8)
    nibabel.save(nibabel.Nifti1Image(image, np.eye(4)), tmp_path / "volumes" / "stack.nii.gz")
    options = ("--dataset_dir", str(tmp_path / "volumes"), "--output_dir", str(tmp_path / "out"))
    monai_run(bundle, *options, "--volumetric", "True")
    assert nibabel.load(tmp_path / "out" / "stack_seg.nii.gz").shape == (64, 48, 3, 6)


@pytest.mark.parametrize("name", ["shuffled_unet", "dyn_unet"])
def test_onnx_runtime_answers_alike(name: str, small_network: NetworkConfig, tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    dims = 2 if name == "shuffled_unet" else 3
    shape = {"kind": name, "spatial_dims": dims, "norm": "instance" if dims == 3 else "batch"}
    config = small_network.model_copy(update={**shape, "z_halvings": 1 if dims == 3 else 4})
    network = build_network(config, 5).eval()
    task = SemanticTask(classes=5)  # type: ignore[arg-type]
    model = Model(network, config, task.channels, NM5, "toy", 64, {}, task)
    session = onnxruntime.InferenceSession(
        export_onnx(model, tmp_path / "toy.onnx").read_bytes(), providers=["CPUExecutionProvider"]
    )
    image = torch.rand(2, 1, *((96, 64) if dims == 2 else (6, 64, 48)))
    with torch.no_grad():
        expected = network(image).numpy()
    (found,) = session.run(["pred"], {"image": image.numpy()})
    assert found.shape == expected.shape and np.abs(found - expected).max() < 1e-3
    about = session.get_modelmeta().custom_metadata_map
    assert json.loads(about["channels"]) == list(task.channels) and json.loads(about["voxel_size_nm"]) == list(NM5)


class Evil:
    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        return os.mkdir, ("harmed",)


def edit(path: Path, change: Callable[[dict], None]) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def replace_weights(bundle: Path, content: bytes) -> None:
    (bundle / WEIGHTS).write_bytes(content)


def test_pickles_are_refused_and_never_run(bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    replace_weights(bundle, pickle.dumps(Evil()))
    with pytest.raises(ValueError, match="not a whole safetensors file"):
        read_bundle(bundle)
    (bundle / WEIGHTS).unlink()
    torch.save({"evil": Evil()}, bundle / "models" / "model.pt")
    with pytest.raises(ValueError, match=r"model\.pt may be a pickle"):
        read_bundle(bundle)
    assert not (tmp_path / "harmed").exists()


def test_expressions_in_a_bundle_are_never_run(bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    edit(bundle / INFERENCE, lambda c: c.update(network_def={"_target_": "$__import__('os').mkdir('harmed')"}))
    with pytest.raises(ValueError, match="asks for the network"):
        read_bundle(bundle)
    edit(bundle / INFERENCE, lambda c: c.update(network_def={"_target_": "os.system", "command": "mkdir harmed"}))
    with pytest.raises(ValueError, match=r"asks for the network 'os\.system'"):
        read_bundle(bundle)
    assert not (tmp_path / "harmed").exists()


def test_damaged_and_foreign_bundles_are_refused(bundle: Path, tmp_path: Path) -> None:
    whole = (bundle / WEIGHTS).read_bytes()
    replace_weights(bundle, whole[: len(whole) // 2])
    with pytest.raises(ValueError, match="not a whole safetensors file"):
        read_bundle(bundle)
    replace_weights(bundle, safetensors.torch.save({"a": torch.zeros(3)}))
    with pytest.raises(ValueError, match="SHA-256"):
        read_bundle(bundle)
    replace_weights(bundle, whole)
    read_bundle(bundle)
    edit(bundle / INFERENCE, lambda c: c["network_def"].update(features=[16] * 6))
    with pytest.raises(ValueError, match="another network's weights"):
        read_bundle(bundle)
    edit(bundle / INFERENCE, lambda c: c["network_def"].update(features="many"))
    with pytest.raises(ValueError, match="network_def features"):
        read_bundle(bundle)
    edit(bundle / METADATA, lambda c: c.pop("neuropil"))
    with pytest.raises(ValueError, match="not one that neuropil wrote"):
        read_bundle(bundle)
    (bundle / METADATA).write_text("{")
    with pytest.raises(ValueError, match="not valid JSON"):
        read_bundle(bundle)
    (bundle / METADATA).unlink()
    with pytest.raises(ValueError, match=r"not a finished bundle: it has no configs/metadata\.json"):
        read_bundle(bundle)
    with pytest.raises(FileNotFoundError, match="is not a folder"):
        read_bundle(tmp_path / "nowhere")


def test_card_says_what_it_learnt_from_how_good_it_is_and_where_it_fails(bundle: Path) -> None:
    model = read_bundle(bundle)
    scores = {"real": {"psd": 0.5, "membrane": None}, "virtual": {"psd": 0.25, "mean": 0.75}}
    write_bundle(model, bundle, card_text(model, Card("Two blocks.", scores, ["No myelin."])))
    text = (bundle / "docs" / "README.md").read_text()
    assert text.startswith("# toy\n") and "5 × 5 × 5 nm" in text
    assert "| | psd | membrane | mean |" in text
    assert "| real | 0.500 | – | – |" in text and "| virtual | 0.250 | – | 0.750 |" in text
    assert "Two blocks." in text and "- No myelin." in text

"""Trained models on disk as MONAI bundles, with weights that cannot run code."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from pydantic import TypeAdapter, ValidationError
from safetensors import SafetensorError

from .networks import NETWORK_CLASSES, best_device, build_network
from .settings import NetworkConfig, SemanticTask, Task

WEIGHTS = Path("models/model.safetensors")
METADATA = Path("configs/metadata.json")
INFERENCE = Path("configs/inference.json")
CARD = Path("docs/README.md")
# Forms of weights that are, or may be, pickles: loading one runs whatever its author put there.
UNSAFE = (".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".bin", ".ts", ".joblib")


@dataclass(frozen=True)
class Model:
    """A trained network and what one must know to use it. `classes` name its channels, `voxel_size_nm` is (z, y, x) of
    its training images; a 2D network has seen sections of the last two. `record` says how it was trained, `task` what
    it learnt, which says what its channels are good for."""

    network: torch.nn.Module
    config: NetworkConfig
    classes: tuple[str, ...]
    voxel_size_nm: tuple[float, float, float]
    name: str = "neuropil"
    patch_px: int = 256
    record: Mapping[str, Any] = field(default_factory=dict)
    task: Task = field(default_factory=SemanticTask)

    @property
    def spatial_dims(self) -> int:
        return self.config.spatial_dims


def write_bundle(model: Model, folder: Path, card: str = "") -> Path:
    """Write `model` as a MONAI bundle into `folder`, each file whole or not at all, the metadata last.

    `card` is its README in Markdown. A bundle without metadata is unfinished, and one whose weights are not those its
    metadata names is refused on reading, so a killed write is never taken for a model.
    """
    state = {key: value.detach().cpu().contiguous() for key, value in model.network.state_dict().items()}
    weights = safetensors.torch.save(state, metadata={"format": "pt"})
    write_atomically(folder / WEIGHTS, weights)
    write_atomically(folder / INFERENCE, _json(_inference_config(model)))
    if card:
        write_atomically(folder / CARD, card.encode())
    write_atomically(folder / METADATA, _json(_metadata(model, hashlib.sha256(weights).hexdigest())))
    return folder


def read_bundle(folder: Path | str) -> Model:
    """The model in a bundle that `write_bundle` wrote. Nothing in the bundle is executed.

    Raises FileNotFoundError for no such folder, ValueError in one sentence for a folder that is no such
    bundle or whose weights are missing, unsafe, damaged or of another network.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder} is not a folder; a model is a bundle's folder")
    metadata = _read_json(folder / METADATA, folder)
    ours = metadata.get("neuropil")
    definition = _read_json(folder / INFERENCE, folder).get("network_def")
    if not isinstance(ours, dict) or not isinstance(definition, dict):
        raise ValueError(f"{folder} is a MONAI bundle, but not one that neuropil wrote")
    config, classes = _network_config(definition, folder), _classes(metadata, folder)
    state = _read_weights(folder, str(ours.get("weights_sha256", "")))
    network = build_network(config, len(classes))
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        raise ValueError(f"{folder / WEIGHTS} holds another network's weights than {INFERENCE} describes") from error
    try:
        z, y, x = (float(v) for v in ours["voxel_size_nm"])
        patch_px = int(ours["patch_px"])
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{folder / METADATA} does not give neuropil's voxel_size_nm and patch_px") from error
    name = str(metadata.get("name", folder.name))
    task = _task(ours.get("task"), classes, folder)
    network = network.to(best_device()).eval()
    return Model(network, config, classes, (z, y, x), name, patch_px, ours.get("record", {}), task)


def write_atomically(path: Path, content: bytes) -> None:
    """Write to a temporary name in the same folder, then rename, so that `path` is never half a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        # mkstemp makes files that only their owner can read.
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _read_json(path: Path, folder: Path) -> dict[str, Any]:
    if not path.is_file():
        raise ValueError(f"{folder} is not a finished bundle: it has no {path.relative_to(folder)}")
    try:
        content = json.loads(path.read_text())
    except ValueError as error:
        raise ValueError(f"{path} is not valid JSON: {error}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} must hold one JSON object")
    return content


def _read_weights(folder: Path, sha256: str) -> dict[str, torch.Tensor]:
    path = folder / WEIGHTS
    if not path.is_file():
        unsafe = sorted(f.name for f in path.parent.glob("*") if f.suffix in UNSAFE)
        if unsafe:
            raise ValueError(
                f"{path.parent / unsafe[0]} may be a pickle, which can run code when it is loaded; "
                f"only {WEIGHTS} is read"
            )
        raise ValueError(f"{folder} has no weights: {WEIGHTS} is missing")
    content = path.read_bytes()
    try:
        state = safetensors.torch.load(content)
    except SafetensorError as error:
        raise ValueError(f"{path} is not a whole safetensors file: {error}") from error
    if hashlib.sha256(content).hexdigest() != sha256:
        raise ValueError(f"{path} is not the file that {METADATA} names by its SHA-256")
    return state


def _network_config(definition: dict[str, Any], folder: Path) -> NetworkConfig:
    """The network a bundle asks for, if it is one of ours with plain numbers for arguments."""
    target = definition.get("_target_")
    if target not in NETWORK_CLASSES:
        raise ValueError(
            f"{folder / INFERENCE} asks for the network {target!r}; known are {', '.join(NETWORK_CLASSES)}"
        )
    try:
        return NetworkConfig.of_definition(definition)
    except ValidationError as error:
        first = error.errors()[0]
        raise ValueError(
            f"{folder / INFERENCE}: network_def {'.'.join(map(str, first['loc']))}: {first['msg']}"
        ) from error
    except ValueError as error:
        raise ValueError(f"{folder / INFERENCE}: {error}") from error


def _task(given: object, channels: tuple[str, ...], folder: Path) -> Task:
    """What the network was trained for; bundles of before there were tasks found classes."""
    try:
        task: Task = TypeAdapter(Task).validate_python(given or {"kind": "semantic", "classes": channels})
    except ValidationError as error:
        first = error.errors()[0]
        raise ValueError(
            f"{folder / METADATA}: neuropil.task {'.'.join(map(str, first['loc']))}: {first['msg']}"
        ) from error
    if task.channels != channels:
        raise ValueError(f"{folder / METADATA} names other channels in channel_def than its task has")
    return task


def _classes(metadata: dict[str, Any], folder: Path) -> tuple[str, ...]:
    try:
        names = metadata["network_data_format"]["outputs"]["pred"]["channel_def"]
        classes = tuple(str(names[str(k)]) for k in range(len(names)))
    except (KeyError, TypeError) as error:
        raise ValueError(f"{folder / METADATA} does not name its classes in channel_def") from error
    if not classes:
        raise ValueError(f"{folder / METADATA} names no classes")
    return classes


def _metadata(model: Model, sha256: str) -> dict[str, Any]:
    dims = model.spatial_dims
    shape = [f"{model.config.multiple}*n"] * dims
    return {
        "version": version("neuropil"),
        "monai_version": version("monai"),
        "pytorch_version": version("torch"),
        "numpy_version": version("numpy"),
        "required_packages_version": {"safetensors": version("safetensors")},
        "name": model.name,
        "task": "Semantic segmentation of electron micrographs of brain tissue",
        "description": f"{dims}D U-Net for {', '.join(model.classes)}",
        "authors": "neuropil",
        "copyright": "GPL-3.0-or-later",
        "changelog": {version("neuropil"): "trained"},
        "network_data_format": {
            "inputs": {
                "image": {
                    "type": "image",
                    "format": "magnitude",
                    "modality": "EM",
                    "num_channels": model.config.in_channels,
                    "spatial_shape": shape,
                    "dtype": "float32",
                    "value_range": [0, 1],
                    "is_patch_data": True,
                    "channel_def": {"0": "grey level"},
                }
            },
            "outputs": {
                "pred": {
                    "type": "logits",
                    "format": "segmentation",
                    "num_channels": len(model.classes),
                    "spatial_shape": shape,
                    "dtype": "float32",
                    "value_range": [],
                    "is_patch_data": True,
                    "channel_def": {str(k): name for k, name in enumerate(model.classes)},
                }
            },
        },
        "neuropil": {
            "voxel_size_nm": list(model.voxel_size_nm),
            "patch_px": model.patch_px,
            "task": model.task.model_dump(mode="json"),
            "weights_sha256": sha256,
            "record": dict(model.record),
        },
    }


def _inference_config(model: Model) -> dict[str, Any]:
    """A configuration for `python -m monai.bundle run`: every picture of `dataset_dir` into `output_dir`.

    A 2D network reads pictures; with `--volumetric True` it reads NIfTI volumes section by section.
    """
    dims = model.spatial_dims
    # MONAI reads pictures and volumes as x, y, z; the network was trained on y, x and z, y, x.
    turn = {"_target_": "Lambda", "func": f"$functools.partial(torch.transpose, dim0=2, dim1={dims + 1})"}
    window = {"roi_size": [model.patch_px] * dims, "overlap": 0.25, "mode": "gaussian"}
    inferers: dict[str, Any] = {"inferer": {"_target_": "SlidingWindowInferer", **window}}
    if dims == 2:
        inferers = {
            "volumetric": False,
            "sections": {"_target_": "SlidingWindowInferer", **window},
            "slices": {"_target_": "SliceInferer", "spatial_dim": 2, **window},
            "inferer": "$@slices if @volumetric else @sections",
        }
    return {
        "imports": [
            "$import functools",
            "$import glob",
            "$import torch",
            "$from safetensors.torch import load_file",
        ],
        "bundle_root": ".",
        "dataset_dir": "$@bundle_root + '/data'",
        "output_dir": "$@bundle_root + '/eval'",
        "datalist": "$sorted(glob.glob(@dataset_dir + '/*'))",
        "device": "$torch.device('cuda' if torch.cuda.is_available() else 'cpu')",
        "network_def": model.config.definition(len(model.classes)),
        "network": "$@network_def.to(@device)",
        **inferers,
        "pipeline": {
            "_target_": "Compose",
            "transforms": [
                {"_target_": "LoadImage", "image_only": True, "ensure_channel_first": True},
                {
                    "_target_": "ScaleIntensityRange",
                    "a_min": 0.0,
                    "a_max": 255.0,
                    "b_min": 0.0,
                    "b_max": 1.0,
                },
                {"_target_": "EnsureType", "device": "@device"},
                {"_target_": "Lambda", "func": "$functools.partial(torch.unsqueeze, dim=0)"},
                turn,
                {"_target_": "Lambda", "func": "$functools.partial(@inferer, network=@network)"},
                turn,
                {"_target_": "Lambda", "func": "$functools.partial(torch.squeeze, dim=0)"},
                {"_target_": "Activations", "sigmoid": True},
                {"_target_": "AsDiscrete", "threshold": 0.5},
                {
                    "_target_": "SaveImage",
                    "output_dir": "@output_dir",
                    "output_postfix": "seg",
                    "output_ext": ".nii.gz",
                    "output_dtype": "uint8",
                    "resample": False,
                    "separate_folder": False,
                },
            ],
        },
        "initialize": [
            "$torch.set_grad_enabled(False)",
            f"$@network.load_state_dict(load_file(@bundle_root + '/{WEIGHTS.as_posix()}'))",
            "$@network.eval()",
        ],
        "run": ["$list(map(@pipeline, @datalist))"],
    }


def _json(content: Mapping[str, Any]) -> bytes:
    return (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode()

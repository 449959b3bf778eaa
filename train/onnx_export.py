"""A model as an ONNX file, for ONNX Runtime and whatever else reads it."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import torch

from neuropil.voxelize.replacement import replacing

from .bundle import Model

# Sides of the image that is traced, in multiples of what the network needs; any other multiple works then.
TRACED = 4


def export_onnx(model: Model, path: Path) -> Path:
    """Write `path`: input `image` float32 (n, 1, …), grey from 0 to 1; output `pred`, logits (n, channels, …).

    Image sides are free but for the multiples that the network needs. The file's metadata gives `channels`,
    `voxel_size_nm` (z, y, x), `multiples` and `task` as JSON. Raises ValueError where the packages for it are missing.
    """
    try:
        import onnx
    except ImportError as error:
        raise ValueError("ONNX files need the package onnx, which comes with pip install 'neuropil[onnx]'") from error
    multiples = model.config.multiples[-model.spatial_dims :]
    image = torch.rand(1, model.config.in_channels, *(TRACED * m for m in multiples))
    free = {0: "n", **{axis: f"side{axis}" for axis in range(2, image.ndim)}}
    about = {
        "channels": list(model.classes),
        "voxel_size_nm": list(model.voxel_size_nm),
        "multiples": list(multiples),
        "task": model.task.model_dump(mode="json"),
    }
    with replacing(path) as written, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # By tracing: the exporter that follows torch.export takes half a minute for each of these networks.
        torch.onnx.export(
            model.network.to("cpu").eval(),
            (image,),
            str(written),
            input_names=["image"],
            output_names=["pred"],
            dynamic_axes={"image": free, "pred": free},
            dynamo=False,
        )
        proto = onnx.load(str(written))
        onnx.helper.set_model_props(proto, {key: json.dumps(value) for key, value in about.items()})
        onnx.save(proto, str(written))
    return path

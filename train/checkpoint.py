"""The state of an unfinished training on disk: whole or absent, and nothing in it can run code."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError


@dataclass
class Checkpoint:
    """Weights of the network and of its running average, the optimizer's state, plain numbers, and the average's
    weights where it was best, if those are kept."""

    step: int
    network: dict[str, torch.Tensor]
    average: dict[str, torch.Tensor]
    optimizer: dict[str, Any]
    state: dict[str, Any]
    best: dict[str, torch.Tensor] = field(default_factory=dict)


def write_checkpoint(checkpoint: Checkpoint, folder: Path) -> Path:
    """Write into `folder`/step-NNNNNNNN, under another name first; earlier ones are then removed."""
    folder.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=folder, prefix=".step-"))
    try:
        tensors = {f"network.{k}": v.contiguous() for k, v in checkpoint.network.items()}
        tensors |= {f"average.{k}": v.contiguous() for k, v in checkpoint.average.items()}
        tensors |= {f"best.{k}": v.contiguous() for k, v in checkpoint.best.items()}
        safetensors.torch.save_file(tensors, str(temporary / "weights.safetensors"))
        torch.save(checkpoint.optimizer, temporary / "optimizer.pt")
        (temporary / "state.json").write_text(json.dumps({"step": checkpoint.step, **checkpoint.state}))
        final = folder / f"step-{checkpoint.step:08d}"
        if final.exists():
            shutil.rmtree(final)
        os.rename(temporary, final)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    for other in folder.iterdir():
        if other != final:
            shutil.rmtree(other, ignore_errors=True)
    return final


def read_checkpoint(folder: Path) -> Checkpoint | None:
    """The latest checkpoint in `folder`, nothing if there is none. ValueError if it is damaged."""
    found = sorted(folder.glob("step-*")) if folder.is_dir() else []
    if not found:
        return None
    try:
        tensors = safetensors.torch.load_file(str(found[-1] / "weights.safetensors"))
        optimizer = torch.load(found[-1] / "optimizer.pt", weights_only=True)
        state = json.loads((found[-1] / "state.json").read_text())
        step = int(state.pop("step"))
    except (OSError, SafetensorError, ValueError, KeyError, RuntimeError, EOFError) as error:
        raise ValueError(f"the checkpoint {found[-1]} is damaged; remove it to start anew") from error
    network, average, best = (_part(tensors, f"{part}.") for part in ("network", "average", "best"))
    return Checkpoint(step, network, average, optimizer, state, best)


def _part(tensors: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}

"""Knobs of a block-face microscope turned by gradients through its differentiable model.

The numbers of `appearance` that are smooth functions of grey are computed in torch, from the noisy image that the
model draws with fixed normal numbers, and their misses go down by Adam on the logarithms of the knobs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from .annotator import CLASS_NAMES
from .appearance import BANDS, LEAST_PIXELS, PERCENTILES, SLICE_LAGS, group_of, tolerance
from .differentiable import DifferentiableFibSem, ImagingParameters
from .hash_noise import key_from
from .knobs import Knob
from .look import Look, Specimen, lined_membrane
from .microscope import FibSem, SbfSem
from .statistics import LAGS

# Slices, rows and columns of a specimen that one step looks at, at most.
_PIECE = (4, 460, 460)
_RATE = 0.04


def smooth_numbers(grey: Tensor, labels: np.ndarray | None) -> dict[str, Tensor]:
    """The numbers of `measure_appearance` that have a gradient, of one run (z, y, x) with its labels."""
    grey = grey.clamp(0.0, 255.0)
    found = {"grey mean": grey.mean(), "grey sd": grey.std(dim=(1, 2)).mean()}
    levels = torch.quantile(grey[:, ::3, ::3].flatten(), torch.tensor([p / 100.0 for p in PERCENTILES]))
    found |= {f"grey {p} %": level for p, level in zip(PERCENTILES, levels, strict=True)}
    mask = torch.tensor([[1.0, -2.0, 1.0], [-2.0, 4.0, -2.0], [1.0, -2.0, 1.0]])[None, None]
    response = torch.nn.functional.conv2d(grey[:, None], mask)
    found["noise sigma"] = math.sqrt(math.pi / 2.0) * response.abs().mean() / 6.0
    for name, axis, lags in (("x", 2, LAGS), ("y", 1, LAGS), ("z", 0, SLICE_LAGS)):
        for lag in lags:
            length = grey.shape[axis]
            if lag < length:
                pair = grey.narrow(axis, 0, length - lag), grey.narrow(axis, lag, length - lag)
                found[f"autocorrelation {name} {lag}"] = _correlation(*pair)
    for name, axis in (("x", 2), ("y", 1)):
        lines = grey.movedim(axis, -1)
        window = torch.hann_window(lines.shape[-1], periodic=False)
        window = window / window.square().mean().sqrt()
        power = torch.fft.rfft((lines - lines.mean(-1, keepdim=True)) * window).abs().square() / lines.shape[-1]
        mean, frequency = power.mean((0, 1)), torch.fft.rfftfreq(lines.shape[-1])
        for low, high in pairwise(BANDS):
            band = (frequency >= low) & (frequency < high)
            if band.any():
                found[f"spectrum {name} {low:g}"] = mean[band].mean().clamp(min=1e-6).log()
    if labels is not None:
        masks = {name: (labels >> bit) & 1 > 0 for bit, name in enumerate(CLASS_NAMES)} | {"background": labels == 0}
        for name, where in masks.items():
            if where.sum() >= LEAST_PIXELS:
                inside = grey[torch.from_numpy(where)]
                found[f"class {name}: grey"], found[f"class {name}: sd"] = inside.mean(), inside.std()
    return found


def _correlation(first: Tensor, second: Tensor) -> Tensor:
    """Correlation coefficient slice by slice, averaged."""
    a, b = (side - side.mean((-2, -1), keepdim=True) for side in (first, second))
    return ((a * b).sum((-2, -1)) / (a.square().sum((-2, -1)) * b.square().sum((-2, -1))).sqrt()).mean()


def turn_by_gradient(
    goal: Mapping[str, float],
    specimens: Sequence[Specimen],
    labels: Sequence[np.ndarray | None],
    look: Look,
    knobs: Sequence[Knob],
    seed: int,
    steps: int,
) -> Look:
    """The look with these knobs turned by so many steps of Adam, one specimen's middle slices after the other."""
    assert isinstance(look.microscope, FibSem | SbfSem)
    models, drawn = [], []
    for k, specimen in enumerate(specimens):
        whole = specimen.truth.materials.shape_zyx
        shape = [min(n, most) for n, most in zip(whole, _PIECE, strict=True)]
        start = [(n - part) // 2 for n, part in zip(whole, shape, strict=True)]
        truth, membrane = specimen.truth.crop(start, shape), lined_membrane(specimen, look).crop(start, shape)
        models.append(
            DifferentiableFibSem(
                truth.materials, membrane, truth.instances, look.table, look.microscope,
                key_from(np.random.default_rng(seed + k)), specimen.stain_scale,
            )
        )  # fmt: skip
        z, y, x = (slice(low, low + part) for low, part in zip(start, shape, strict=True))
        drawing = labels[k]
        drawn.append(None if drawing is None else drawing[z, y, x])
    logs = torch.tensor([math.log(knob.read(look)) for knob in knobs], requires_grad=True)
    bounds = torch.log(torch.tensor([[knob.low, knob.high] for knob in knobs])).T
    optimizer = torch.optim.Adam([logs], _RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for step in range(steps):
        which = step % len(models)
        with torch.no_grad():
            logs.clamp_(bounds[0] + 1e-3, bounds[1] - 1e-3)
        here = _turned(look, knobs, logs.detach())
        found = smooth_numbers(models[which].sample(_linear(here, knobs, logs)), drawn[which])
        optimizer.zero_grad()
        _loss(goal, found).backward()
        optimizer.step()
        schedule.step()
    with torch.no_grad():
        logs.clamp_(bounds[0] + 1e-3, bounds[1] - 1e-3)
    return _turned(look, knobs, logs.detach())


def _turned(look: Look, knobs: Sequence[Knob], logs: Tensor) -> Look:
    for knob, value in zip(knobs, logs.exp().tolist(), strict=True):
        look = knob.turned(look, value)
    return look


def _linear(look: Look, knobs: Sequence[Knob], logs: Tensor) -> ImagingParameters:
    """The look's parameters, with the derivative of each with respect to each knob's logarithm by differences.

    Knobs are plain functions (a stain moves four materials, resin's grey both gain and dose), of microseconds.
    """
    there = _parameters(look)
    parts = {name: getattr(there, name) for name in there.__dataclass_fields__}
    for k, knob in enumerate(knobs):
        moved = _parameters(knob.turned(look, knob.read(look) * math.exp(1e-3)))
        for name in parts:
            slope = (getattr(moved, name) - getattr(there, name)) / 1e-3
            if slope.any():
                parts[name] = parts[name] + slope * (logs[k] - logs[k].detach())
    return replace(there, **parts)


def _parameters(look: Look) -> ImagingParameters:
    assert isinstance(look.microscope, FibSem | SbfSem)
    return ImagingParameters.of(look.table, look.microscope)


def _loss(goal: Mapping[str, float], found: Mapping[str, Tensor]) -> Tensor:
    """Mean over groups of the mean smooth absolute miss in tolerances."""
    groups: dict[str, list[Tensor]] = {}
    for name, value in found.items():
        if name in goal:
            miss = (value - goal[name]) / tolerance(name, goal[name])
            groups.setdefault(group_of(name), []).append((1.0 + miss.square()).sqrt() - 1.0)
    return torch.stack([torch.stack(misses).mean() for misses in groups.values()]).mean()

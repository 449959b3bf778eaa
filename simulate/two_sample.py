"""Can a network tell two sets of slices apart? The two-sample test by a classifier (Lopez-Paz and Oquab 2017).

A small network of fixed form, budget and seeds learns on patches of most slices which set they come from, and is asked
about patches of the others. Its area under the curve is 0.5 where it cannot tell, 1 where it always can.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

Image = npt.NDArray[np.uint8]

PATCH_PX = 64
FOLDS = 4
_PATCHES_PER_FOLD = 150
_EPOCHS = 10
_BATCH = 50


def two_sample_auc(first: Sequence[Image], second: Sequence[Image], seed: int = 0) -> float:
    """Area under the ROC curve of a small network that tells two sets of slices apart, mean over FOLDS held out.

    first, second: stacks, uint8 (n, y, x), in an order in which neighbours are alike: a fold's patches come from one
    stretch of it. Both give as many patches of PATCH_PX². Raises ValueError where a set has fewer slices than FOLDS
    or slices smaller than a patch.
    """
    rng = np.random.default_rng(seed)
    folds = [_patches(stacks, rng) for stacks in (first, second)]
    areas = []
    for held_out in range(FOLDS):
        seen = [np.concatenate([p for k, p in enumerate(patches) if k != held_out]) for patches in folds]
        asked = [patches[held_out] for patches in folds]
        network = _trained(seen, seed + held_out)
        areas.append(_auc(*(_scores(network, patches) for patches in asked)))
    return float(np.mean(areas))


def _patches(stacks: Sequence[Image], rng: np.random.Generator) -> list[Image]:
    """FOLDS arrays of patches (n, PATCH_PX, PATCH_PX), each from slices of its own."""
    slices = [plane for stack in stacks for plane in stack]
    if len(slices) < FOLDS or min(min(plane.shape) for plane in slices) < PATCH_PX:
        raise ValueError(f"the two-sample test needs {FOLDS} slices of at least {PATCH_PX} × {PATCH_PX} in each set")
    folds = []
    for indices in np.array_split(np.arange(len(slices)), FOLDS):
        cut = []
        for index in rng.choice(indices, _PATCHES_PER_FOLD):
            height, width = slices[index].shape
            y, x = rng.integers(height - PATCH_PX + 1), rng.integers(width - PATCH_PX + 1)
            cut.append(slices[index][y : y + PATCH_PX, x : x + PATCH_PX])
        folds.append(np.stack(cut))
    return folds


class _Network(nn.Sequential):
    def __init__(self) -> None:
        layers: list[nn.Module] = []
        for before, after in ((1, 16), (16, 32), (32, 64)):
            layers += [nn.Conv2d(before, after, 3, stride=2, padding=1), nn.GroupNorm(4, after), nn.ReLU()]
        super().__init__(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.2), nn.Linear(64, 1))


def _input(patches: Image) -> Tensor:
    return (torch.from_numpy(patches).float()[:, None] - 128.0) / 40.0


def _trained(kinds: Sequence[Image], seed: int) -> nn.Module:
    inputs = torch.cat([_input(patches) for patches in kinds])
    wanted = torch.cat([torch.full((len(patches), 1), float(kind)) for kind, patches in enumerate(kinds)])
    # The caller's own random numbers stay as they were.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = _Network()
        optimizer = torch.optim.AdamW(network.parameters(), 3e-3, weight_decay=1e-3)
        steps = _EPOCHS * -(-len(inputs) // _BATCH)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=steps)
        for _ in range(_EPOCHS):
            for batch in torch.randperm(len(inputs)).split(_BATCH):
                patches = inputs[batch]
                flips = [axis for axis in (2, 3) if torch.rand(()) < 0.5]
                found = network(patches.flip(flips))
                optimizer.zero_grad()
                nn.functional.binary_cross_entropy_with_logits(found, wanted[batch]).backward()
                optimizer.step()
                schedule.step()
    return network.eval()


@torch.no_grad()
def _scores(network: nn.Module, patches: Image) -> npt.NDArray[np.float32]:
    return np.asarray(network(_input(patches))[:, 0].numpy())


def _auc(of_first: npt.NDArray[np.float32], of_second: npt.NDArray[np.float32]) -> float:
    """Share of pairs in which the second kind has the larger score; ties count half."""
    ordered = np.sort(of_first)
    below = np.searchsorted(ordered, of_second, "left") + np.searchsorted(ordered, of_second, "right")
    return float(below.mean() / (2 * len(ordered)))

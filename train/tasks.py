"""What a network learns: the target channels of a patch's labels, and the loss between them and its logits."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from .classes import CLASS_NAMES
from .settings import AffinityTask, SemanticTask, Task

Triple = tuple[float, float, float]


def targets_of(task: Task, labels: NDArray, voxel_size_nm: Triple) -> NDArray:
    """Targets (channels, …) of a patch: numbers from 0 to 1, and NaN where nobody knows.

    `labels` (z, y, x), or (y, x) in 2D, is what `task.labels` names: a bit field uint8 or instances uint32.
    `voxel_size_nm` is of the patch, z, y, x.
    """
    if isinstance(task, SemanticTask):
        bits = np.array([CLASS_NAMES.index(name) for name in task.classes], np.uint8)
        return (labels[None] >> bits.reshape(-1, *(1,) * labels.ndim)) & np.uint8(1)
    # Affinities need libraries of their own, which a semantic training does without.
    from .affinities import affinity_targets

    return affinity_targets(labels, task, voxel_size_nm)


def task_loss(task: Task, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """The loss of logits against targets, both (n, channels, …); where a target is NaN, nothing counts."""
    if isinstance(task, AffinityTask):
        from .affinities import affinity_loss

        return affinity_loss(logits, targets, task)
    return semantic_loss(logits, targets, task.loss)


def semantic_loss(logits: torch.Tensor, masks: torch.Tensor, kind: str = "bce_dice") -> torch.Tensor:
    """Binary cross-entropy plus (1 − Dice) averaged over classes; Dice is pooled over the batch, smooth 1.

    `logits` and `masks` are (n, c, …); `kind` picks the sum or one of the two. Where a mask is NaN, nothing counts.
    """
    known = ~torch.isnan(masks)
    masks = torch.where(known, masks, 0)
    total = torch.zeros((), device=logits.device)
    if kind != "dice":
        entropy = torch.nn.functional.binary_cross_entropy_with_logits(logits, masks, known.float(), reduction="sum")
        total = total + entropy / known.sum().clamp(min=1)
    if kind != "bce":
        axes = (0, *range(2, logits.ndim))
        found = logits.sigmoid() * known
        both, all_ = (found * masks).sum(axes), found.sum(axes) + masks.sum(axes)
        total = total + (1 - (2 * both + 1) / (all_ + 1)).mean()
    return total

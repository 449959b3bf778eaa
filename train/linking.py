"""Regions of neighbouring sections linked to cells, by a small head on what the sections' network already sees."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import safetensors.torch
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from scipy.optimize import linear_sum_assignment
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from torch import nn

from neuropil.voxelize.volume import Volume

from .bundle import Model, write_atomically
from .metrics.contingency import overlaps
from .section_regions import SectionRegions, regions_of_sections

Progress = Callable[[float, str], None]
HEAD = Path("models/linking.safetensors")
# A region that no one-to-one link took may join a branch of a cell if the head is at least so sure.
BRANCH = 0.9
# Regions of training data that hold less of one cell than this share teach nothing.
PURITY = 0.6
HEAD_STEPS = 600
HEAD_BATCH = 1024
# Voxel sizes within this fraction are the same.
SAME_SIZE = 0.02


@dataclass(frozen=True, eq=False)
class Pairs:
    """Overlapping regions of two neighbouring sections: their places (n,) in both lists and what describes a pair."""

    first: NDArray[np.int64]
    second: NDArray[np.int64]
    vectors: NDArray[np.float32]


class LinkHead(nn.Module):
    """Log odds that two regions of neighbouring sections are one cell, from their pair's vector (n, inputs)."""

    mean: torch.Tensor
    scale: torch.Tensor

    def __init__(self, inputs: int, hidden: int = 64) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(inputs))
        self.register_buffer("scale", torch.ones(inputs))
        self.layers = nn.Sequential(
            nn.Linear(inputs, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, 1)
        )

    def forward(self, vectors: torch.Tensor) -> torch.Tensor:
        return self.layers((vectors - self.mean) / self.scale)[:, 0]


def link_sections(
    model: Model,
    head: LinkHead,
    volume: Volume,
    regions: Volume,
    scratch: Path | None = None,
    progress: Progress | None = None,
) -> Volume:
    """Instances uint32 (z, y, x) from the regions of single sections, whose ids differ from section to section.

    `volume` is the image (z, y, x). Between neighbouring sections the head's odds are assigned one to one at the least
    cost; what is left over may join as a branch. Two sections are in memory at a time. Raises ValueError where the
    sections' voxels are not the model's.
    """
    check_linkable(model, volume)
    links: list[NDArray[np.int64]] = [np.zeros((0, 2), np.int64)]
    before: SectionRegions | None = None
    largest = 0
    for z, here in enumerate(regions_of_sections(model, volume, regions)):
        if before is not None:
            pairs = section_pairs(before, here)
            chosen = assigned(pairs, _probabilities(head, pairs), len(before.ids), len(here.ids))
            links.append(np.stack([before.ids[pairs.first[chosen]], here.ids[pairs.second[chosen]]], axis=1))
        before, largest = here, max(largest, int(here.ids.max(initial=0)))
        if progress:
            progress((z + 1) / volume.shape_zyx[0], "linking")
    a, b = np.concatenate(links).T.astype(np.int64)
    graph = coo_matrix((np.ones(len(a), bool), (a, b)), shape=(largest + 1, largest + 1))
    _, cell = connected_components(graph, directed=False)
    # Background is alone in its component and stays 0; the cells follow in the order of their first regions.
    _, first, number = np.unique(cell, return_index=True, return_inverse=True)
    rank = np.argsort(np.argsort(first)).astype(np.uint32)[number.ravel()]
    linked = _array(regions.shape_zyx, scratch)
    for z in range(len(linked)):
        linked[z] = rank[np.asarray(regions.data[z])]
    return Volume(linked, regions.voxel_size_nm, regions.origin_nm)


def check_linkable(model: Model, volume: Volume) -> None:
    """Raises ValueError where sections have other voxels than those the encoder was trained on."""
    for axis, mine, theirs in list(zip("zyx", model.voxel_size_nm, volume.voxel_size_nm, strict=True))[1:]:
        if abs(mine / theirs - 1) > SAME_SIZE:
            raise ValueError(
                f"the model {model.name} links sections with voxels of {mine:g} nm along {axis}, but the image has "
                f"{theirs:g} nm; resample it first"
            )


def train_head(model: Model, labelled: Sequence[tuple[Volume, Volume, NDArray[np.uint32]]], seed: int = 0) -> LinkHead:
    """A head fitted to (image, regions, true ids (z, y, x)), the regions as the model finds them in the image.

    A pair is one cell if most of either region lies in it. Raises ValueError where there is nothing to learn from.
    """
    vectors, same = [], []
    for volume, regions, truth in labelled:
        before: tuple[SectionRegions, NDArray[np.int64]] | None = None
        for z, here in enumerate(regions_of_sections(model, volume, regions)):
            cells = _true_cells(here, truth[z])
            if before is not None:
                pairs = section_pairs(before[0], here)
                a, b = before[1][pairs.first], cells[pairs.second]
                known = (a >= 0) & (b >= 0)
                vectors.append(pairs.vectors[known])
                same.append((a == b)[known])
            before = here, cells
    x = torch.from_numpy(np.concatenate(vectors)) if vectors else torch.zeros(0, 1)
    y = torch.from_numpy(np.concatenate(same).astype(np.float32)) if same else torch.zeros(0)
    if len(y) == 0 or y.min() == y.max():
        raise ValueError(f"the linking head has {len(y)} pairs of regions to learn from, but needs both links and gaps")
    return _fitted(x, y, seed)


def section_pairs(first: SectionRegions, second: SectionRegions) -> Pairs:
    """Pairs of regions that overlap when one section is laid on the other, in order of their ids."""
    table = overlaps(first.labels, second.labels)
    both = (table.segment > 0) & (table.truth > 0)
    a, b = np.searchsorted(first.ids, table.segment[both]), np.searchsorted(second.ids, table.truth[both])
    shared = table.voxels[both]
    area_a, area_b = first.area_px[a], second.area_px[b]
    distance = np.linalg.norm(first.centre[a] - second.centre[b], axis=1)
    geometry = [
        shared / area_a,
        shared / area_b,
        shared / (area_a + area_b - shared),
        np.abs(np.log(area_a / area_b)),
        distance / np.sqrt((area_a + area_b) / 2),
    ]
    # Which section comes first must not matter: differences without sign, and means.
    fa, fb = first.features[a], second.features[b]
    order = np.sort(np.stack(geometry[:2], axis=1), axis=1)
    vectors = np.concatenate([order, np.stack(geometry[2:], axis=1), np.abs(fa - fb), (fa + fb) / 2], axis=1)
    return Pairs(a, b, vectors.astype(np.float32))


def assigned(pairs: Pairs, probabilities: NDArray[np.float32], first: int, second: int) -> NDArray[np.int64]:
    """Which pairs are links: the one-to-one assignment of the largest sum of p − ½, then branches of what is left.

    `first` and `second` are the numbers of regions in the sections.
    """
    if len(pairs.first) == 0:
        return np.zeros(0, np.int64)
    gain, number = np.zeros((first, second), np.float32), np.full((first, second), -1)
    gain[pairs.first, pairs.second] = np.maximum(probabilities - 0.5, 0)
    number[pairs.first, pairs.second] = np.arange(len(pairs.first))
    rows, columns = linear_sum_assignment(gain, maximize=True)
    good = gain[rows, columns] > 0
    links = number[rows[good], columns[good]]
    taken_first, taken_second = set(rows[good].tolist()), set(columns[good].tolist())
    branches = []
    for k in np.argsort(-probabilities, kind="stable"):
        if probabilities[k] < BRANCH:
            break
        a, b = int(pairs.first[k]), int(pairs.second[k])
        # One of the two is new: a region that is linked already never joins two cells.
        if (a in taken_first) != (b in taken_second):
            branches.append(int(k))
            taken_first.add(a)
            taken_second.add(b)
    return np.sort(np.concatenate([links, np.array(branches, np.int64)]))


def write_head(head: LinkHead, bundle: Path) -> None:
    """Store the head within the bundle whose encoder it reads."""
    write_atomically(bundle / HEAD, safetensors.torch.save(head.state_dict(), metadata={"format": "pt"}))


def read_head(bundle: Path) -> LinkHead:
    """The head in a bundle. Raises ValueError where it has none or another one."""
    path = bundle / HEAD
    if not path.is_file():
        raise ValueError(f"{bundle} finds regions of single sections, but has no head to link them: {HEAD} is missing")
    try:
        state = safetensors.torch.load(path.read_bytes())
        head = LinkHead(len(state["mean"]), len(state["layers.0.bias"]))
        head.load_state_dict(state)
    except (SafetensorError, KeyError, RuntimeError) as error:
        raise ValueError(f"{path} holds no linking head: {error}") from error
    return head.eval()


def _probabilities(head: LinkHead, pairs: Pairs) -> NDArray[np.float32]:
    with torch.inference_mode():
        return head(torch.from_numpy(pairs.vectors)).sigmoid().numpy()


def _true_cells(regions: SectionRegions, truth: NDArray[np.uint32]) -> NDArray[np.int64]:
    """The true cell that most of each region lies in, 0 for none; −1 where no cell holds `PURITY` of it."""
    table = overlaps(regions.labels, truth)
    cells = np.full(len(regions.ids), -1, np.int64)
    row = np.searchsorted(regions.ids, table.segment)
    inside = table.segment > 0
    row, truth_ids, voxels = row[inside], table.truth[inside], table.voxels[inside]
    pure = (voxels >= PURITY * regions.area_px[row]) & (truth_ids > 0)
    cells[row[pure]] = truth_ids[pure].astype(np.int64)
    return cells


def _fitted(x: torch.Tensor, y: torch.Tensor, seed: int) -> LinkHead:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        head = LinkHead(x.shape[1])
        head.mean, head.scale = x.mean(0), x.std(0).clamp(min=1e-3)
        optimizer = torch.optim.AdamW(head.parameters(), 2e-3, weight_decay=1e-2)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, HEAD_STEPS)
        for _ in range(HEAD_STEPS):
            batch = torch.randint(len(y), (min(HEAD_BATCH, len(y)),))
            loss = nn.functional.binary_cross_entropy_with_logits(head(x[batch]), y[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return head.eval()


def _array(shape: tuple[int, int, int], scratch: Path | None) -> NDArray[np.uint32]:
    if scratch is None:
        return np.zeros(shape, np.uint32)
    return np.lib.format.open_memmap(scratch / "linked.npy", mode="w+", dtype=np.uint32, shape=shape)

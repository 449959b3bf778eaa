"""Expected run length: how far one can follow a skeleton before the segmentation errs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class RunLength:
    """`erl_um` and what a perfect segmentation would reach on the same skeletons, µm; `mergers` is the number of
    segments that hold more than one skeleton."""

    erl_um: float
    largest_um: float
    mergers: int

    @property
    def normalised(self) -> float:
        """NERL: ERL over the largest ERL, from 0 to 1."""
        return self.erl_um / self.largest_um


@dataclass(frozen=True, eq=False)
class SkeletonPieces:
    """Skeletons cut into short pieces.

    ends_nm: (n, 2, 3) float64, both ends of each piece in nm, z, y, x.
    skeleton: (n,) int64, the skeleton that a piece belongs to.
    """

    ends_nm: NDArray[np.float64]
    skeleton: NDArray[np.int64]

    @property
    def lengths_um(self) -> NDArray[np.float64]:
        return np.linalg.norm(self.ends_nm[:, 1] - self.ends_nm[:, 0], axis=1) * 1e-3


def skeleton_pieces(edges_nm: Sequence[NDArray], step_nm: float) -> SkeletonPieces:
    """Each skeleton's edges (n, 2, 3; nm, z, y, x) cut into pieces no longer than `step_nm`.

    So the score does not depend on how densely a skeleton was sampled.
    """
    ends, owner = [np.zeros((0, 2, 3))], [np.zeros(0, np.int64)]
    for number, edges in enumerate(edges_nm):
        if len(edges) == 0:
            continue
        start, way = edges[:, 0], edges[:, 1] - edges[:, 0]
        parts = np.maximum(1, np.ceil(np.linalg.norm(way, axis=1) / step_nm)).astype(np.int64)
        edge = np.repeat(np.arange(len(edges)), parts)
        part = np.arange(len(edge)) - np.repeat(np.cumsum(parts) - parts, parts)
        both = np.stack([part, part + 1], axis=1) / parts[edge, None]
        ends.append(start[edge, None] + both[..., None] * way[edge, None])
        owner.append(np.full(len(edge), number))
    return SkeletonPieces(np.concatenate(ends), np.concatenate(owner))


def segments_at(voxel: NDArray[np.int64], slabs: Iterable[NDArray], shape: Sequence[int]) -> NDArray[np.int64]:
    """Segment at each voxel (n, 3; z, y, x) of a label volume that comes in slabs (z, y, x), in order; −1 outside."""
    inside = ((voxel >= 0) & (voxel < np.asarray(shape))).all(axis=1)
    out = np.full(len(voxel), -1, np.int64)
    start = 0
    for slab in slabs:
        here = np.flatnonzero(inside & (voxel[:, 0] >= start) & (voxel[:, 0] < start + len(slab)))
        z, y, x = voxel[here].T
        out[here] = slab[z - start, y, x].astype(np.int64)
        start += len(slab)
    return out


def run_length(pieces: SkeletonPieces, segments: NDArray[np.int64]) -> RunLength:
    """ERL of pieces whose ends lie in `segments` (n, 2), −1 outside the volume: pieces that leave it do not count.

    A piece is found if both of its ends lie in one segment other than 0 (funlib.evaluate's rule).
    Raises ValueError where no piece lies inside the volume.
    """
    inside = (segments >= 0).all(axis=1)
    if not inside.any():
        raise ValueError("no part of the skeletons lies inside the volume: are they in µm, in the volume's own frame?")
    lengths, skeleton, both = pieces.lengths_um[inside], pieces.skeleton[inside], segments[inside]
    total = _sums_by_key(skeleton, lengths)
    parts: dict[int, dict[int, float]] = {s: {} for s in total}
    # A piece between two segments touches both, but has its length in neither.
    pairs = np.concatenate([np.stack([skeleton, both[:, end]], axis=1) for end in (0, 1)])
    found = np.tile(np.where(both[:, 0] == both[:, 1], lengths / 2, 0.0), 2)
    rows, row = np.unique(pairs, axis=0, return_inverse=True)
    for (s, segment), length in zip(rows, np.bincount(row.ravel(), weights=found), strict=True):
        if segment > 0:
            parts[int(s)][int(segment)] = float(length)
    largest = sum(length**2 for length in total.values()) / sum(total.values())
    return RunLength(expected_run_length(total, parts), largest, len(_mergers(parts)))


def _sums_by_key(keys: NDArray[np.int64], values: NDArray[np.float64]) -> dict[int, float]:
    ids, row = np.unique(keys, return_inverse=True)
    return {int(k): float(v) for k, v in zip(ids, np.bincount(row.ravel(), weights=values), strict=True)}


def expected_run_length(
    length_um: Mapping[int, float], lengths_in_segments_um: Mapping[int, Mapping[int, float]]
) -> float:
    """Expected run length in µm (Januszewski et al. 2018), weighted by skeleton length.

    `length_um[s]` is the whole length of skeleton s, `lengths_in_segments_um[s][k]` what of it runs inside
    predicted segment k > 0. Segments that touch more than one skeleton are mergers and contribute nothing.
    """
    total = sum(length_um.values())
    if total <= 0:
        raise ValueError("the skeletons have no length: an expected run length needs some")
    mergers = _mergers(lengths_in_segments_um)
    runs = sum(
        part**2
        for parts in lengths_in_segments_um.values()
        for segment, part in parts.items()
        if segment != 0 and segment not in mergers
    )
    # Σ_s (L_s / total) · Σ_k part · (part / L_s): the skeleton's own length cancels.
    return runs / total


def _mergers(lengths_in_segments_um: Mapping[int, Mapping[int, float]]) -> set[int]:
    """Segments that more than one skeleton touches."""
    seen: set[int] = set()
    twice: set[int] = set()
    for parts in lengths_in_segments_um.values():
        twice |= seen & set(parts)
        seen |= set(parts)
    return twice - {0}

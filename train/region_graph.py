"""The graph of fragments of a volume: how strongly affinities hold each pair together, and what clusters follow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import mwatershed
import numpy as np
from numpy.typing import NDArray

Offset = tuple[int, int, int]


@dataclass(frozen=True, eq=False)
class Contacts:
    """Pairs of fragments (n, 2; the smaller id first) with the number of affinities across each and their sum.

    Affinities are uint8, 255 for certain, so that sums do not depend on the order in which parts are added. Those
    between neighbours and far ones are kept apart: columns 0 and 1.
    """

    pairs: NDArray[np.int64]
    counts: NDArray[np.int64]
    sums: NDArray[np.int64]

    @classmethod
    def joined(cls, parts: Sequence[Contacts]) -> Contacts:
        """The contacts of all parts, those of equal pairs added up, in order of ids."""
        empty = np.zeros((0, 2), np.int64)
        pairs, counts, sums = (
            np.concatenate([empty, *(getattr(part, name) for part in parts)]) for name in ("pairs", "counts", "sums")
        )
        if len(pairs) == 0:
            return cls(pairs, counts, sums)
        order = np.lexsort((pairs[:, 1], pairs[:, 0]))
        pairs = pairs[order]
        first = np.flatnonzero(np.concatenate([[True], (pairs[1:] != pairs[:-1]).any(axis=1)]))
        return cls(pairs[first], np.add.reduceat(counts[order], first), np.add.reduceat(sums[order], first))


def contacts(
    fragments: NDArray, affinities: NDArray[np.uint8], offsets: Sequence[Offset], core: tuple[int, int, int]
) -> Contacts:
    """Contacts over the affinities (k, z, y, x) of the first `core` voxels of the box `fragments` (z, y, x).

    What lies beyond the core is only looked up as the far end of an offset; affinities whose far end lies outside the
    box are left out. Offsets that reach one voxel count as neighbours. Fragment 0 is background.
    """
    parts = []
    for channel, offset in zip(affinities, offsets, strict=True):
        end = tuple(min(c, n - step) for c, n, step in zip(core, fragments.shape, offset, strict=True))
        if min(end) <= 0:
            continue
        here = tuple(slice(0, e) for e in end)
        there = tuple(slice(step, e + step) for e, step in zip(end, offset, strict=True))
        a, b = fragments[here].astype(np.int64), fragments[there].astype(np.int64)
        apart = (a != b) & (a > 0) & (b > 0)
        pairs = np.stack([np.minimum(a, b)[apart], np.maximum(a, b)[apart]], axis=1)
        far = int(sum(offset) > 1)
        counts, sums = (np.zeros((len(pairs), 2), np.int64) for _ in range(2))
        counts[:, far], sums[:, far] = 1, channel[here][apart]
        # Grouped at once: there are as many rows as voxels on all boundaries.
        parts.append(Contacts.joined([Contacts(pairs, counts, sums)]))
    return Contacts.joined(parts)


def clusters(fragments: int, found: Contacts, threshold: float, doubt: float) -> NDArray[np.uint32]:
    """Segment of each fragment 0 … `fragments`, numbered from 1 by each segment's first fragment; 0 stays 0.

    A mutex watershed (Wolf et al. 2018) of the graph: each pair has one edge for its neighbouring affinities and one
    for its far ones, of weight Σ(a − threshold)/(n + doubt), so that a mean over few voxels is trusted less. Edges
    above 0 join, those below 0 keep apart, the strongest first.
    """
    weights, pairs = [], []
    for column in range(2):
        some = found.counts[:, column] > 0
        n = found.counts[some, column]
        weights.append((found.sums[some, column] / 255 - threshold * n) / (n + doubt))
        pairs.append(found.pairs[some])
    weight, (a, b) = np.concatenate(weights), np.concatenate(pairs).T
    order = np.argsort(-np.abs(weight), kind="stable")
    edges = list(zip((weight[order] > 0).tolist(), a[order].tolist(), b[order].tolist(), strict=True))
    segment = np.arange(fragments + 1)
    if edges:
        assigned = np.array(mwatershed.cluster(edges), np.int64)
        segment[assigned[:, 0]] = fragments + 1 + assigned[:, 1]
    segment[0] = -1
    _, first, number = np.unique(segment, return_index=True, return_inverse=True)
    rank = np.empty(len(first), np.uint32)
    rank[np.argsort(first)] = np.arange(len(first))
    return rank[number.ravel()]

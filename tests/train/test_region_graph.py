import numpy as np

from neuropil.train.region_graph import Contacts, clusters, contacts

NEIGHBOURS = ((1, 0, 0), (0, 1, 0), (0, 0, 1))


def test_contacts_are_counted_once_wherever_blocks_meet() -> None:
    rng = np.random.default_rng(0)
    fragments = rng.integers(0, 6, (8, 9, 10)).astype(np.uint32)
    offsets = (*NEIGHBOURS, (0, 0, 4))
    affinities = rng.integers(0, 256, (4, 8, 9, 10)).astype(np.uint8)
    whole = contacts(fragments, affinities, offsets, fragments.shape)
    parts = []
    for z in (4, 0):
        for x in (0, 5):
            ahead = (slice(z, None), slice(None), slice(x, None))
            parts.append(contacts(fragments[ahead], affinities[(slice(None), *ahead)], offsets, (4, 9, 5)))
    joined = Contacts.joined(parts)
    for name in ("pairs", "counts", "sums"):
        np.testing.assert_array_equal(getattr(joined, name), getattr(whole, name))
    a, b = fragments[:, :, :-4], fragments[:, :, 4:]
    apart = ((a == 1) & (b == 3)) | ((a == 3) & (b == 1))
    row = int(np.flatnonzero((whole.pairs == (1, 3)).all(axis=1))[0])
    assert whole.counts[row, 1] == apart.sum()
    assert whole.sums[row, 1] == affinities[3, :, :, :-4][apart].sum()


def graph(*edges: tuple[int, int, int, float]) -> Contacts:
    """Neighbouring contacts of (a, b, number, mean affinity)."""
    pairs = np.array([(a, b) for a, b, _, _ in edges], np.int64)
    counts, sums = np.zeros((2, len(edges), 2), np.int64)
    counts[:, 0] = [n for _, _, n, _ in edges]
    sums[:, 0] = [round(255 * n * mean) for _, _, n, mean in edges]
    return Contacts(pairs, counts, sums)


def test_strong_contacts_join_and_strong_gaps_keep_apart() -> None:
    # 1–2 surely one cell, 3–4 too; 1–4 surely not; 2–3 joined by a weak bridge, which comes too late.
    found = graph((1, 2, 100, 0.95), (3, 4, 100, 0.95), (1, 4, 100, 0.1), (2, 3, 100, 0.7))
    assert clusters(5, found, 0.5, 25).tolist() == [0, 1, 1, 2, 2, 3]
    # Without the gap the bridge holds.
    assert clusters(5, graph((1, 2, 100, 0.95), (2, 3, 100, 0.7)), 0.5, 25).tolist() == [0, 1, 1, 1, 2, 3]


def test_few_voxels_are_doubted() -> None:
    # A bridge of 5 voxels at .99 against gaps of 200 voxels at .05 on the way round.
    found = graph((1, 2, 5, 0.99), (1, 3, 200, 0.9), (2, 3, 200, 0.05))
    assert clusters(3, found, 0.5, 25).tolist() == [0, 1, 2, 1]
    assert clusters(3, found, 0.5, 0).tolist() == [0, 1, 1, 2]


def test_no_contacts_no_change() -> None:
    assert clusters(3, Contacts.joined([]), 0.5, 25).tolist() == [0, 1, 2, 3]

from pathlib import Path

import cc3d
import numpy as np
import pytest
import torch

from neuropil.train.bundle import Model
from neuropil.train.evaluation import evaluate
from neuropil.train.linking import (
    Pairs,
    assigned,
    link_sections,
    read_head,
    section_pairs,
    train_head,
    write_head,
)
from neuropil.train.networks import build_network
from neuropil.train.section_regions import regions_of_section
from neuropil.train.settings import AffinityTask, NetworkConfig
from neuropil.voxelize.volume import Volume

SIZE_NM = (50.0, 5.0, 5.0)
TASK = AffinityTask(planar=True)


@pytest.fixture
def model(small_network: NetworkConfig) -> Model:
    torch.manual_seed(0)
    network = build_network(small_network, len(TASK.channels)).eval()
    return Model(network, small_network, TASK.channels, SIZE_NM, task=TASK)


def cut_tubes(seed: int, shape: tuple[int, int, int] = (10, 64, 80)) -> tuple[Volume, Volume, np.ndarray]:
    """Image, regions of sections and true cells: in each section voxels go to the nearest of some wandering points."""
    rng = np.random.default_rng(seed)
    places = rng.uniform(0, 1, (12, 2)) * shape[1:]
    truth = np.zeros(shape, np.uint32)
    y, x = np.indices(shape[1:])
    for z in range(shape[0]):
        places += rng.normal(0, 2.0, places.shape)
        distance = (y[None] - places[:, 0, None, None]) ** 2 + (x[None] - places[:, 1, None, None]) ** 2
        truth[z] = distance.argmin(0) + 1
    grey = rng.integers(60, 200, 13)
    image = np.clip(grey[truth] + rng.normal(0, 10, shape), 0, 255).astype(np.uint8)
    regions = np.zeros(shape, np.uint32)
    for z in range(shape[0]):
        pieces = cc3d.connected_components(truth[z], connectivity=4)
        regions[z] = np.where(pieces > 0, pieces + regions.max(), 0)
    return Volume(image, SIZE_NM), Volume(regions, SIZE_NM), truth


def test_regions_of_sections_become_the_cells_they_were_cut_from(model: Model, tmp_path: Path) -> None:
    head = train_head(model, [cut_tubes(1), cut_tubes(2)])
    image, regions, truth = cut_tubes(3)
    found = link_sections(model, head, image, regions)
    scores = evaluate(found, Volume(truth, SIZE_NM))
    assert scores["adapted_rand_error"] < 0.1 and scores["voi"] < 0.4
    assert evaluate(regions, Volume(truth, SIZE_NM))["adapted_rand_error"] > 0.5
    write_head(head, tmp_path)
    again = link_sections(model, read_head(tmp_path), image, regions, tmp_path)
    np.testing.assert_array_equal(again.data, found.data)


def test_the_head_is_fitted_alike_by_one_seed(model: Model) -> None:
    one, other = (train_head(model, [cut_tubes(1)], seed=4) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True))


def test_it_does_not_matter_which_section_comes_first(model: Model) -> None:
    image, regions, _ = cut_tubes(1)
    a, b = (regions_of_section(model, image.data[z], regions.data[z]) for z in (0, 1))
    forth, back = section_pairs(a, b), section_pairs(b, a)
    order = np.lexsort((back.first, back.second))
    np.testing.assert_array_equal(np.stack([forth.first, forth.second]), np.stack([back.second, back.first])[:, order])
    np.testing.assert_allclose(forth.vectors, back.vectors[order], rtol=1e-5, atol=1e-5)


def test_features_are_those_of_the_region_wherever_the_windows_lie(model: Model) -> None:
    """A section larger than a window: regions of equal looks in different windows get equal features."""
    tile = np.random.default_rng(0).integers(0, 255, (384, 384)).astype(np.uint8)
    image = np.tile(tile, (3, 3))
    labels = np.zeros(image.shape, np.uint32)
    labels[400:440, 400:440], labels[400:440, 400 + 384 : 440 + 384] = 1, 2
    found = regions_of_section(model, image, labels)
    np.testing.assert_allclose(found.features[0], found.features[1], atol=0.02)
    np.testing.assert_allclose(found.centre[0], [419.5, 419.5])


def pairs(*rows: tuple[int, int]) -> Pairs:
    a, b = np.array(rows, np.int64).T
    return Pairs(a, b, np.zeros((len(rows), 1), np.float32))


def test_the_assignment_is_one_to_one_with_branches_of_what_is_left() -> None:
    # 0 likes 0 best, but 1 has nobody else; all in all 0–1 and 1–0 are better.
    some = pairs((0, 0), (0, 1), (1, 0))
    assert assigned(some, np.array([0.9, 0.85, 0.8], np.float32), 2, 2).tolist() == [1, 2]
    # Region 1 of the second section is left over; it is a branch of 0 if it is sure enough.
    fork = pairs((0, 0), (0, 1))
    assert assigned(fork, np.array([0.97, 0.95], np.float32), 1, 2).tolist() == [0, 1]
    assert assigned(fork, np.array([0.97, 0.6], np.float32), 1, 2).tolist() == [0]
    # What is linked already is not joined to a second cell, however sure; what is unlikely is no link.
    cross = pairs((0, 0), (0, 1), (1, 1))
    assert assigned(cross, np.array([0.95, 0.9, 0.95], np.float32), 2, 2).tolist() == [0, 2]
    assert assigned(fork, np.array([0.3, 0.2], np.float32), 1, 2).tolist() == []


def test_a_bundle_without_a_head_says_so(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no head to link"):
        read_head(tmp_path)
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "linking.safetensors").write_bytes(b"nonsense")
    with pytest.raises(ValueError, match="holds no linking head"):
        read_head(tmp_path)


def test_nothing_to_learn_from_is_refused(model: Model) -> None:
    image, regions, truth = cut_tubes(1)
    with pytest.raises(ValueError, match="both links and gaps"):
        train_head(model, [(image, regions, np.zeros_like(truth))])

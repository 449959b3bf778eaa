"""A whole small block: certified, reproducible, and of the kinds of things tissue is made of."""

from collections import Counter

import numpy as np
import pytest
from pydantic import ValidationError

from neuropil.tissue.block import TissueBlock, build_block
from neuropil.tissue.certificate import crossing_pairs, is_closed, volume_um3
from neuropil.tissue.parameters import TissueParameters

SMALL = TissueParameters(size_um=(1.4, 1.4, 0.9), myelinated_axons=1)


@pytest.fixture(scope="module")
def block() -> TissueBlock:
    return build_block(SMALL, np.random.default_rng(5))


def test_every_certificate_holds(block: TissueBlock) -> None:
    assert block.certificates and all(block.certificates.values()), block.certificates


def test_no_pair_crosses_by_an_independent_check(block: TissueBlock) -> None:
    """The certificate's own list of cells could be wrong: check the solids that are painted."""
    bodies = [s for s in block.solids if s.structure in ("dendrite", "astrocyte", "myelin")]
    bodies += [s for s in block.solids if s.structure == "axon" and s.cell_id not in {b.cell_id for b in bodies}]
    assert len(bodies) == len(block.cells)
    assert crossing_pairs([(s.vertices_um.astype(float), s.faces) for s in bodies]) == set()


def test_it_holds_several_dozen_cells_and_all_organelles(block: TissueBlock) -> None:
    kinds = Counter(c.kind for c in block.cells)
    assert kinds["axon"] >= 24 and kinds["dendrite"] >= 1 and kinds["astrocyte"] == 1 and kinds["myelinated_axon"] == 1
    structures = {s.structure for s in block.solids}
    assert {
        "mitochondrion",
        "crista",
        "vesicle",
        "psd",
        "myelin",
        "microtubule",
        "endoplasmic_reticulum",
    } <= structures


def test_all_solids_are_closed(block: TissueBlock) -> None:
    for solid in block.solids:
        assert is_closed(solid.faces), solid.structure
        assert volume_um3((solid.vertices_um.astype(float), solid.faces)) > 0, solid.structure


def test_it_fills_the_box_but_for_the_gap(block: TissueBlock) -> None:
    kinds = ("axon", "dendrite", "astrocyte", "myelinated_axon")
    held = sum(block.statistics[f"{k}_fraction"] for k in kinds)
    assert held + block.statistics["extracellular_fraction"] == pytest.approx(1)
    assert 0.02 < block.statistics["extracellular_fraction"] < 0.2


def test_synapses_join_an_axon_to_a_dendrite(block: TissueBlock) -> None:
    kind = {c.id: c.kind for c in block.cells}
    assert block.synapses
    for synapse in block.synapses:
        assert kind[synapse.pre_id] == "axon" and kind[synapse.post_id] == "dendrite"
        assert 0.01 < synapse.psd_area_um2 < 0.4
    densities = {s.cell_id for s in block.solids if s.structure == "psd"}
    assert densities <= {s.post_id for s in block.synapses}


def test_one_seed_gives_one_block_and_another_differs() -> None:
    tiny = TissueParameters(size_um=(0.6, 0.6, 0.5), myelinated_axons=0)
    first, again, other = (build_block(tiny, np.random.default_rng(s)) for s in (1, 1, 2))
    assert [s.vertices_um.tobytes() for s in first.solids] == [s.vertices_um.tobytes() for s in again.solids]
    assert [s.vertices_um.tobytes() for s in first.solids] != [s.vertices_um.tobytes() for s in other.solids]


def test_a_wider_gap_leaves_more_extracellular_space() -> None:
    narrow, wide = (
        build_block(
            TissueParameters(size_um=(0.7, 0.7, 0.6), myelinated_axons=0, gap_nm=gap),
            np.random.default_rng(3),
        )
        for gap in (6, 24)
    )
    assert wide.statistics["extracellular_fraction"] > 1.5 * narrow.statistics["extracellular_fraction"]
    assert wide.statistics["least_gap_nm"] >= 24


def test_bad_parameters_are_refused() -> None:
    with pytest.raises(ValidationError, match="gap_nm"):
        TissueParameters(gap_nm=-1)
    with pytest.raises(ValidationError, match="colour"):
        TissueParameters(colour=3)  # type: ignore[call-arg]
    with pytest.raises(ValueError, match="myelinated_axons = 20"):
        build_block(TissueParameters(size_um=(0.6, 0.6, 0.6), myelinated_axons=20), np.random.default_rng(0))

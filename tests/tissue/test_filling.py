"""What fills a block's cells: as much as is natural, or more where more is asked for."""

from collections import Counter

import numpy as np
import pytest

from neuropil.tissue.block import TissueBlock, build_block
from neuropil.tissue.parameters import Enrichment, TissueParameters

SIZE_UM = (1.4, 1.4, 0.9)


def made(**enrichment: float) -> TissueBlock:
    return build_block(
        TissueParameters(size_um=SIZE_UM, enrichment=Enrichment(**enrichment)), np.random.default_rng(21)
    )


@pytest.fixture(scope="module")
def natural() -> TissueBlock:
    return made()


def counts(block: TissueBlock) -> Counter[str]:
    return Counter(o.structure for o in block.organelles)


def test_enrichment_multiplies_the_natural_abundance(natural: TissueBlock) -> None:
    poor = made(mitochondria=0.0, vesicles=0.1)
    usual, fewer = counts(natural), counts(poor)
    assert [c.id for c in poor.cells] == [c.id for c in natural.cells]  # the cells are the same
    assert usual["mitochondrion"] > 0 == fewer["mitochondrion"]
    assert fewer["vesicle"] < 0.7 * usual["vesicle"]


def test_synapses_are_enriched_by_more_spines() -> None:
    """Over two blocks, since room for spines may be short in one."""

    def synapses(enrichment: float) -> int:
        parameters = TissueParameters(size_um=(2.0, 2.0, 1.2), enrichment=Enrichment(synapses=enrichment))
        return sum(len(build_block(parameters, np.random.default_rng(seed)).synapses) for seed in (1, 2))

    assert synapses(3.0) > 1.2 * synapses(1.0)


def test_a_cells_contents_are_its_own(natural: TissueBlock) -> None:
    cells = {c.id for c in natural.cells}
    assert {o.cell_id for o in natural.organelles if o.structure != "cleft"} <= cells
    assert {o.cell_id for o in natural.organelles if o.structure == "cleft"} <= {0}


def test_synapses_have_both_densities_and_their_vesicles(natural: TissueBlock) -> None:
    assert natural.synapses
    for synapse in natural.synapses:
        parts = natural.synapse_parts[synapse.id]
        assert parts.sides == 2 and parts.psd_id and parts.active_zone_id
        assert len(parts.docked_ids) < 300 * synapse.psd_area_um2 + 15

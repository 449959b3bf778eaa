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


def test_synapses_are_enriched_by_more_spines(natural: TissueBlock) -> None:
    rich = made(synapses=3.0)
    assert len(rich.synapses) > len(natural.synapses)


def test_a_cells_contents_are_its_own(natural: TissueBlock) -> None:
    cells = {c.id for c in natural.cells}
    assert {o.cell_id for o in natural.organelles if o.structure != "cleft"} <= cells
    assert {o.cell_id for o in natural.organelles if o.structure == "cleft"} <= {0}


def test_densities_grow_with_the_spines_head() -> None:
    block = build_block(TissueParameters(size_um=(1.8, 1.8, 0.8)), np.random.default_rng(1))
    spines = [s for s in block.synapses if s.head_volume_um3 is not None]
    head = np.array([s.head_volume_um3 for s in spines])
    area = np.array([s.psd_area_um2 for s in spines])
    assert len(spines) >= 8
    assert np.corrcoef(np.log(head + 1e-4), np.log(area))[0, 1] > 0.5
    for synapse in block.synapses:
        parts = block.synapse_parts[synapse.id]
        assert parts.psd_id and parts.active_zone_id
        assert len(parts.docked_ids) < 300 * synapse.psd_area_um2 + 15

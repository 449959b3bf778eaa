"""The tissue's composition is brought to real shares, by made-up tissue whose answer to enrichment is known."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from neuropil.pipeline.composition import fit_composition
from neuropil.simulate.annotator import CLASS_NAMES
from neuropil.tissue.parameters import TissueParameters

GOAL = {"share mitochondrion": 0.10, "share vesicle": 0.04, "share psd": 0.006, "share membrane": 0.2}


def drawn(parameters: TissueParameters) -> list[npt.NDArray[np.uint8]]:
    """Two blocks of 10 000 px a slice whose shares go by a power of the enrichment; synapses bring vesicles along."""
    e = parameters.enrichment
    shares = {
        "mitochondrion": 0.05 * e.mitochondria**0.7,
        "vesicle": 0.02 * e.vesicles * e.synapses**0.4,
        "psd": 0.003 * e.synapses**1.2,
    }
    field = np.zeros((4, 100, 100), np.uint8)
    for row, (name, share) in enumerate(shares.items()):
        count = round(share * field.size / 4)
        field.reshape(4, -1)[:, 3000 * row : 3000 * row + count] |= 1 << CLASS_NAMES.index(name)
    return [field, field]


def test_shares_come_within_a_tenth_in_few_steps() -> None:
    said: list[str] = []
    found, tried = fit_composition(GOAL, TissueParameters(), drawn, said.append)
    assert len(tried) == len(said) <= 4
    assert tried[0].enrichment["mitochondria"] == 1.0
    best = min(tried, key=lambda one: one.farthest(GOAL))
    assert found.enrichment.model_dump() == best.enrichment
    for name, share in best.shares.items():
        assert share == pytest.approx(GOAL[name], rel=0.1), name
    assert found.enrichment.myelin == 1.0


def test_without_a_share_that_an_enrichment_sets_nothing_changes() -> None:
    parameters = TissueParameters()
    assert fit_composition({"share membrane": 0.2}, parameters, drawn, lambda said: None) == (parameters, [])


def test_what_the_tissue_cannot_hold_stays_at_its_bound() -> None:
    found, tried = fit_composition({"share vesicle": 0.3}, TissueParameters(), drawn, lambda said: None)
    assert found.enrichment.vesicles == 4.0
    assert tried[-1].shares["share vesicle"] < 0.1

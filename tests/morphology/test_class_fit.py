"""Classes fitted to cells: what grows is fitted again, and files of classes are read as they were written."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest

from neuropil.morphology.calibration import calibrated
from neuropil.morphology.class_file import class_yaml
from neuropil.morphology.class_fit import domain_kinds, fit_class
from neuropil.morphology.frame import aligned
from neuropil.morphology.growth import grow_neuron
from neuropil.morphology.morphometry import measure
from neuropil.morphology.neuron_class import NeuronClass, class_names, load_class
from neuropil.morphology.sections import domain_of
from neuropil.morphology.tree import APICAL_DENDRITE, AXON, DENDRITE, SOMA, Tree


def one(kind: str, **values: float) -> dict[str, object]:
    return {"kind": kind, "source": "test", **values}


def known_class() -> NeuronClass:
    return NeuronClass.model_validate(
        {
            "name": "known",
            "source": "test",
            "kind": "cell",
            "shaft_radius_um": one("constant", mean=0.5),
            "section_length_um": one("constant", mean=20),
            "tortuosity": one("constant", mean=1.2),
            "arbor": {
                "soma_radius_um": one("normal", mean=8, sd=1, low=5, high=11),
                "domains": {
                    "dendrites": {
                        "neurite": "dendrite",
                        "stems": one("constant", mean=4),
                        "tips": one("gamma", mean=12, sd=5, low=3, high=40),
                        "balance": -1.0,
                        "section_length_um": one("lognormal", mean=20, sd=8, low=5, high=60),
                        "terminal_length_um": one("normal", mean=50, sd=10, low=20, high=80),
                        "tortuosity": one("normal", mean=1.2, sd=0.08, low=1.02, high=1.5),
                        "branching_angle_deg": one("normal", mean=70, sd=10, low=40, high=100),
                        "tip_radius_um": one("normal", mean=0.3, sd=0.03, low=0.2, high=0.4),
                        "rall_exponent": 2.0,
                        "radius_spread": 0.1,
                    }
                },
            },
        }
    )


@cache
def known_cells() -> dict[str, Tree]:
    return {f"cell{seed}": grow_neuron(known_class(), np.random.default_rng(seed)) for seed in range(10)}


def test_a_grown_class_is_fitted_again() -> None:
    cells = known_cells()
    kinds = domain_kinds(list(cells.values()))
    assert [(kind.name, kind.neurite) for kind in kinds] == [("dendrites", "dendrite")]
    fitted = fit_class("again", cells, kinds, "ten cells")
    assert fitted.arbor is not None
    assert fitted.arbor.soma_radius_um is not None
    domain = fitted.arbor.domains["dendrites"]
    rng = np.random.default_rng(0)
    assert domain.stems.sample(rng) == pytest.approx(4, abs=0.5)
    assert domain.tips.sample(rng, 4000).mean() == pytest.approx(12, rel=0.25)
    assert domain.balance == pytest.approx(-1, abs=0.3)
    assert domain.section_length_um.sample(rng, 4000).mean() == pytest.approx(20, rel=0.15)
    assert domain.terminal_length_um.sample(rng, 4000).mean() == pytest.approx(50, rel=0.1)
    assert domain.tortuosity.sample(rng, 4000).mean() == pytest.approx(1.2, abs=0.04)
    assert domain.branching_angle_deg.sample(rng, 4000).mean() == pytest.approx(70, abs=6)
    assert domain.tip_radius_um.sample(rng, 4000).mean() == pytest.approx(0.3, rel=0.1)
    assert domain.rall_exponent == pytest.approx(2.0, rel=0.1)
    assert domain.radius_spread == pytest.approx(0.1, rel=0.2)
    assert "ten cells" in domain.tips.source
    assert "cell3" in fitted.source


def test_calibrated_pull_brings_the_sholl_profile_nearer() -> None:
    known = known_class()
    assert known.arbor is not None
    pulled = {"dendrites": known.arbor.domains["dendrites"].model_copy(update={"pull_per_um": 0.1})}
    outward = known.model_copy(update={"arbor": known.arbor.model_copy(update={"domains": pulled})})
    cells = {f"{seed}": grow_neuron(outward, np.random.default_rng(seed)) for seed in range(4)}
    kinds = domain_kinds(list(cells.values()))
    fitted = fit_class("again", cells, kinds, "test")
    set_up = calibrated(fitted, cells, kinds, 0)

    def reach(one: NeuronClass) -> float:
        trees = [grow_neuron(one, np.random.default_rng(seed), keeps_off=False) for seed in range(50, 56)]
        return float(np.median(measure(domain_of(tree, (DENDRITE,)) for tree in trees).sholl_um))

    target = float(np.median(measure(domain_of(tree, (DENDRITE,)) for tree in cells.values()).sholl_um))
    assert abs(reach(set_up) - target) < abs(reach(fitted) - target)


def test_file_of_a_fitted_class_is_read_as_it_was(tmp_path: Path) -> None:
    cells = known_cells()
    fitted = fit_class("again", cells, domain_kinds(list(cells.values())), "ten cells")
    path = tmp_path / "again.yaml"
    path.write_text(class_yaml(fitted))
    assert load_class(path) == fitted


@pytest.mark.parametrize("name", class_names())
def test_file_of_a_shipped_class_is_read_as_it_was(tmp_path: Path, name: str) -> None:
    path = tmp_path / "copy.yaml"
    path.write_text(class_yaml(load_class(name)))
    assert load_class(path) == load_class(name)


@pytest.mark.parametrize("name", [name for name in class_names() if load_class(name).kind == "cell"])
def test_every_shipped_cell_grows(name: str) -> None:
    arbor = load_class(name).arbor
    assert arbor is not None
    tree = grow_neuron(load_class(name), np.random.default_rng(5))
    assert len(tree.roots) == 1
    assert (tree.types[0] == SOMA) == (arbor.soma_radius_um is not None)
    assert tree.length_um > 20


def test_ca1_pyramidal_cells_have_the_published_length() -> None:
    """12 000 µm (Megías 2001) to 13 500 µm (Ishizuka 1995)."""
    ca1 = load_class("hippocampal_ca1_pyramidal")
    trees = [grow_neuron(ca1, np.random.default_rng(seed), keeps_off=False) for seed in range(8)]
    lengths = [domain_of(tree, (DENDRITE, APICAL_DENDRITE)).lengths_um.sum() for tree in trees]
    assert 0.85 * 12_000 < np.mean(lengths) < 1.15 * 13_500


def cell(types: list[int]) -> Tree:
    points = np.arange(3.0 * len(types)).reshape(-1, 3)
    return Tree(points, np.ones(len(types)), np.arange(len(types)) - 1, np.array(types))


def test_rare_apical_dendrites_count_with_the_others() -> None:
    rare = [cell([SOMA, DENDRITE])] * 3 + [cell([SOMA, APICAL_DENDRITE])]
    assert [(kind.name, kind.swc_types) for kind in domain_kinds(rare)] == [("dendrites", (3, 4))]
    usual = [cell([SOMA, APICAL_DENDRITE, DENDRITE, AXON])] * 2
    assert [kind.name for kind in domain_kinds(usual)] == ["apical", "basal", "axon"]
    assert [kind.name for kind in domain_kinds([cell([0, 5])])] == ["neurites"]


def test_frame_of_a_cell() -> None:
    """Soma at the origin, dendrites along z, thinnest along y; a turn of the cell changes nothing."""
    rng = np.random.default_rng(0)
    points = rng.normal(size=(200, 3)) * [40, 5, 20] + [0, 0, 60]
    points[0] = 0
    tree = Tree(points, np.ones(200), np.maximum(np.arange(200) - 1, -1), np.array([SOMA, *[DENDRITE] * 199]))
    turn, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    turned = Tree(points @ turn.T + 100, tree.radii_um, tree.parents, tree.types)
    for given in (tree, turned):
        found = aligned(given)
        assert found.points_um[0].tolist() == [0, 0, 0]
        assert found.points_um[:, 2].mean() > 50
        assert found.points_um[:, 1].std() == pytest.approx(5, rel=0.2)
    assert found.length_um == pytest.approx(tree.length_um)

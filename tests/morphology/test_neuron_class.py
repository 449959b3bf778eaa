"""Neuron classes: those that ship, and what a mistake in a file is answered with."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml

from neuropil.morphology.neuron_class import NeuronClass, class_names, load_class

MINIMAL = {
    "name": "thin",
    "source": "test",
    "kind": "axon",
    "shaft_radius_um": {"kind": "constant", "mean": 0.1, "source": "test"},
    "section_length_um": {"kind": "constant", "mean": 10.0, "source": "test"},
    "tortuosity": {"kind": "constant", "mean": 1.1, "source": "test"},
}


def load_changed(folder: Path, **changes: object) -> NeuronClass:
    path = folder / "thin.yaml"
    path.write_text(yaml.safe_dump({**MINIMAL, **changes}))
    return load_class(path)


@pytest.mark.parametrize("name", class_names())
def test_shipped_class(name: str) -> None:
    neuron_class = load_class(name)
    assert neuron_class.name == name
    assert neuron_class.source
    assert neuron_class.shaft_radius_um.source


def test_the_classes_a_block_needs_ship() -> None:
    assert {"unmyelinated_axon", "myelinated_axon", "spiny_dendrite", "astrocyte_process"} <= set(class_names())


def test_varicosity_volume_is_the_published_one() -> None:
    """Shepherd & Harris 1998: 0.13 ± 0.14 µm³ (realism target 23), of an ellipsoid."""
    varicosity = load_class("unmyelinated_axon").varicosity
    assert varicosity is not None
    rng = np.random.default_rng(0)
    radius, length = varicosity.radius_um.sample(rng, 100_000), varicosity.length_um.sample(rng, 100_000)
    volume = 2 / 3 * np.pi * np.minimum(radius, length / 2) ** 2 * length
    assert volume.mean() == pytest.approx(0.13, rel=0.05)
    assert volume.std() == pytest.approx(0.14, rel=0.15)


def test_spine_head_volume_is_between_the_published_ones() -> None:
    """Rat CA1: mean head 0.03 µm³ (realism target 37); a share of 0.11 at 1-2 per µm needs some 0.05 (7 and 39)."""
    spine = load_class("spiny_dendrite").spine
    assert spine is not None
    radius = spine.head_radius_um.sample(np.random.default_rng(0), 100_000)
    assert 0.03 < (4 / 3 * np.pi * radius**3).mean() < 0.05


def test_unknown_name_lists_the_known() -> None:
    with pytest.raises(FileNotFoundError, match="'no_such' does not exist; allowed are astrocyte_process, "):
        load_class("no_such")


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no such file"):
        load_class(tmp_path / "none.yaml")


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"colour": "red"}, r"thin.yaml: unknown key colour \(value 'red'\); allowed keys are name, source"),
        ({"kind": "tree"}, r"kind is 'tree', but input should be 'axon', 'dendrite', 'neurite', 'cell' or 'glia'"),
        (
            {"shaft_radius_um": {"kind": "constant", "mean": "thin", "source": "x"}},
            r"shaft_radius_um.mean is 'thin', but input should be a valid number",
        ),
        (
            {"shaft_radius_um": {"kind": "constant", "mean": 1, "sauce": "x"}},
            r"shaft_radius_um.source is missing",
        ),
        (
            {"shaft_radius_um": {"kind": "normal", "mean": 1, "sd": 1, "source": "x"}},
            "shaft_radius_um reaches down to 0 or below; give a low above 0",
        ),
        ({"tortuosity": {"kind": "constant", "mean": 0.9, "source": "x"}}, "tortuosity reaches below 1"),
        ({"kind": "cell"}, "the group arbor belongs to kind cell"),
        (
            {"varicosity": {"spacing_um": {"kind": "constant", "mean": 1, "source": "x"}, "colour": 1}},
            r"missing",
        ),
    ],
)
def test_mistakes_name_file_key_and_what_is_allowed(tmp_path: Path, changes: dict[str, object], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence) as caught:
        load_changed(tmp_path, **changes)
    assert str(tmp_path / "thin.yaml") in str(caught.value)
    assert "\n" not in str(caught.value)


def test_unknown_key_in_a_group_lists_the_groups_keys(tmp_path: Path) -> None:
    myelin = {"g_ratio": {"kind": "constant", "mean": 0.6, "source": "x"}, "colour": 1}
    with pytest.raises(ValueError, match=r"unknown key myelin.colour .*; allowed keys are g_ratio"):
        load_changed(tmp_path, myelin=myelin)


@pytest.mark.parametrize("text", ["- a list", "name: [", "\t"])
def test_not_a_mapping(tmp_path: Path, text: str) -> None:
    path = tmp_path / "odd.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"odd.yaml"):
        load_class(path)

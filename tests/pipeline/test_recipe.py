from __future__ import annotations

from pathlib import Path

import pytest

from neuropil.pipeline.recipe import load_recipe, shipped_recipes, with_length


def _refusal(path: Path, old: str, new: str) -> str:
    text = path.read_text()
    assert old in text
    changed = path.with_name("changed.yaml")
    changed.write_text(text.replace(old, new))
    with pytest.raises(ValueError) as refused:
        load_recipe(str(changed))
    sentence = str(refused.value)
    assert "changed.yaml" in sentence
    assert "\n" not in sentence
    return sentence


def test_every_shipped_recipe_is_valid_and_named_as_its_file() -> None:
    names = shipped_recipes()
    assert "default" in names
    assert [load_recipe(name).name for name in names] == names


def test_values_are_read(tiny_recipe: Path) -> None:
    recipe = load_recipe(str(tiny_recipe))
    assert recipe.tissue.size_um == (0.6, 0.6, 0.4)
    assert recipe.voxel_size_nm == (10, 10, 10)
    assert recipe.training.steps == 3
    assert recipe.load_appearance().profile.name == "epfl_ca1"


def test_unknown_key_names_it_and_the_allowed_ones(tiny_recipe: Path) -> None:
    sentence = _refusal(tiny_recipe, "margin_um: 0.05", "margine_um: 0.05")
    assert "tissue.margine_um" in sentence
    assert "0.05" in sentence
    assert "margin_um" in sentence.split("allowed")[1]


def test_value_out_of_range_names_key_value_and_range(tiny_recipe: Path) -> None:
    sentence = _refusal(tiny_recipe, "margin_um: 0.05", "thinnest_radius_um: -0.1")
    assert "tissue.thinnest_radius_um" in sentence
    assert "-0.1" in sentence
    assert "0.02" in sentence


def test_contradictory_training_length(tiny_recipe: Path) -> None:
    sentence = _refusal(tiny_recipe, "steps: 3", "steps: 3\n  budget_seconds: 5")
    assert "steps or budget_seconds" in sentence


@pytest.mark.parametrize(
    ("line", "known"),
    [
        ("profile: nonsense", "epfl_ca1"),
        ("neurons: [nonsense]", "cortical_pyramidal"),
    ],
)
def test_missing_part_names_the_ones_there_are(tiny_recipe: Path, line: str, known: str) -> None:
    sentence = _refusal(tiny_recipe, "blocks: 2", line)
    assert "nonsense" in sentence
    assert known in sentence


def test_class_of_a_neurite_is_no_neuron(tiny_recipe: Path) -> None:
    assert "no whole cell" in _refusal(tiny_recipe, "blocks: 2", "neurons: [unmyelinated_axon]")


def test_no_such_recipe_lists_the_shipped_ones() -> None:
    with pytest.raises(FileNotFoundError, match=r"'nonsense'.*default"):
        load_recipe("nonsense")


def test_length_of_training_can_be_changed(tiny_recipe: Path) -> None:
    recipe = load_recipe(str(tiny_recipe))
    assert with_length(recipe, None, None) is recipe
    assert with_length(recipe, None, 9.0).training.budget_seconds == 9.0
    assert with_length(recipe, None, 9.0).training.steps is None
    with pytest.raises(ValueError, match="not both"):
        with_length(recipe, 5, 9.0)

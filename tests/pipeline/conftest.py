from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from neuropil.pipeline import command_line
from neuropil.pipeline.generation import generate
from neuropil.pipeline.recipe import load_recipe

# The smallest block that holds neurites, a few slices deep; trained on for a few steps.
TINY = """
name: tiny
seed: 3
blocks: 2
tissue:
  size_um: [0.6, 0.6, 0.4]
  margin_um: 0.05
  extracellular_fraction: 0.15  # thin slices of cells leave more than a large block does
voxel_size_nm: [10, 10, 10]
patches: {patch_px: 32}
training:
  network: {kind: shuffled_unet, features: [4, 4, 4, 4, 4, 4]}
  steps: 3
  batch: 2
"""


@pytest.fixture(scope="session")
def tiny_recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recipe") / "tiny.yaml"
    path.write_text(TINY)
    return path


@pytest.fixture(scope="session")
def tiny_blocks(tiny_recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the tiny recipe's two blocks, made in this process. Tests must not change them."""
    folder = tmp_path_factory.mktemp("blocks")
    recipe = load_recipe(str(tiny_recipe))
    made = list(generate(recipe, str(tiny_recipe), recipe.seed, range(2), folder, workers=1))
    assert [(block.index, block.found, block.failure) for block in made] == [(0, False, None), (1, False, None)]
    return folder


@pytest.fixture
def files_of() -> Callable[[Path], dict[str, bytes]]:
    """Reads a folder: content by path inside it."""

    def read(folder: Path) -> dict[str, bytes]:
        files = (file for file in folder.rglob("*") if file.is_file())
        return {str(file.relative_to(folder)): file.read_bytes() for file in files}

    return read


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Runs `neuropil ARGUMENTS` in this process; returns exit code, standard output, standard error."""

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["neuropil", *map(str, arguments)])
        with pytest.raises(SystemExit) as left:
            command_line.main()
        out, err = capfd.readouterr()
        code = left.value.code
        return (code if isinstance(code, int) else 0), out, err

    return run

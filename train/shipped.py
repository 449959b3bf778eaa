"""The trained models that come with the package, by name."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from .bundle import METADATA


def shipped_models() -> list[str]:
    """Names of the models in assets/models."""
    folder = _models()
    return sorted(entry.name for entry in folder.iterdir() if (entry / METADATA).is_file()) if folder.is_dir() else []


def model_folder(name_or_path: str | Path) -> Path:
    """The bundle of a shipped model by its name, or one's own by the path of its folder.

    Raises FileNotFoundError where there is neither.
    """
    if Path(name_or_path).is_dir():
        return Path(name_or_path)
    if str(name_or_path) in shipped_models():
        return _models() / str(name_or_path)
    shipped = ", ".join(shipped_models()) or "none yet"
    raise FileNotFoundError(f"{name_or_path} is neither the folder of a model nor a shipped one; shipped are {shipped}")


def _models() -> Path:
    return Path(str(resources.files("neuropil.assets"))) / "models"

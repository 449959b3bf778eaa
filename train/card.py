"""What a model's README says: what it finds, what it learnt from, how good it is on what, and where it fails."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from .bundle import Model

SCORES = "Dice per class; `false_CLASS` is the share of all voxels taken for a class that is drawn nowhere there."


@dataclass(frozen=True)
class Card:
    """`trained_on` is a sentence or two; `scores` maps what was scored to numbers by name (Dice per class, say);
    `limits` are sentences."""

    trained_on: str
    scores: Mapping[str, Mapping[str, float | None]] = field(default_factory=dict)
    limits: Sequence[str] = ()


def card_text(model: Model, card: Card) -> str:
    """The card in Markdown."""
    size = " × ".join(f"{v:g}" for v in model.voxel_size_nm)
    dims, command = model.spatial_dims, "python -m monai.bundle run --config_file configs/inference.json"
    lines = [
        f"# {model.name}",
        "",
        f"A {dims}D network ({model.config.kind}, channels {'-'.join(map(str, model.config.features))}) for "
        f"{', '.join(model.classes)}, on images with voxels of {size} nm (z, y, x).",
        "",
        "    neuropil segment THIS_FOLDER INPUT -o OUTPUT",
        f"    {command} --bundle_root THIS_FOLDER --dataset_dir PICTURES",
        "    neuropil export THIS_FOLDER model.onnx",
        "",
        "## Trained on",
        "",
        card.trained_on,
    ]
    if card.scores:
        names = list(dict.fromkeys(name for scores in card.scores.values() for name in scores))
        lines += ["", "## Scores", "", SCORES, "", f"| | {' | '.join(names)} |", "|---" * (len(names) + 1) + "|"]
        for what, scores in card.scores.items():
            cells = [scores.get(name) for name in names]
            lines.append(f"| {what} | {' | '.join('–' if c is None else f'{c:.3f}' for c in cells)} |")
    if card.limits:
        lines += ["", "## Limits", "", *(f"- {limit}" for limit in card.limits)]
    return "\n".join(lines) + "\n"

"""The training curve as a table: loss, learning rate, time, and Dice where it was validated."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from .bundle import write_atomically

CURVE = "curve.csv"


def read_curve(folder: Path) -> list[dict[str, float]]:
    """Rows of a training's curve: step, seconds, learning_rate, loss, and at validations dice_CHANNEL and
    dice_mean (other rows lack these)."""
    with open(folder / CURVE, newline="") as file:
        return [{key: float(v) for key, v in row.items() if v} for row in csv.DictReader(file)]


def write_curve(folder: Path, curve: Sequence[dict[str, float]], channels: Sequence[str]) -> None:
    """Write rows as `read_curve` gives them, with a column per channel."""
    columns = ["step", "seconds", "learning_rate", "loss"]
    columns += [f"dice_{name}" for name in channels] + ["dice_mean", "validation_seconds"]
    text = io.StringIO()
    table = csv.DictWriter(text, columns)
    table.writeheader()
    table.writerows(curve)
    write_atomically(folder / CURVE, text.getvalue().encode())

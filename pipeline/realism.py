"""What real neuropil measures, beside what a block's statistics say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from neuropil.tissue.parameters import tissue_preset

# A source that gives one number is met within this share of it.
TOLERANCE = 0.2


@dataclass(frozen=True)
class Target:
    """One quantity: the statistic of a block that measures it, the real value or range, and who measured that."""

    statistic: str
    quantity: str
    source: str
    unit: str = ""
    value: float | None = None
    low: float = 0.0
    high: float = 0.0

    def holds(self, measured: float) -> bool:
        """Within the range, or within TOLERANCE of the value."""
        if self.value is None:
            return self.low <= measured <= self.high
        return abs(measured / self.value - 1) <= TOLERANCE

    def ratio(self, measured: float) -> float:
        """The block's value over the real one; of a range, over its middle."""
        return measured / (0.5 * (self.low + self.high) if self.value is None else self.value)

    @property
    def text(self) -> str:
        """The value or range as it is printed."""
        return f"{self.low:g} – {self.high:g}" if self.value is None else f"{self.value:g}"


@dataclass(frozen=True)
class Comparison:
    """A target and the block's own value."""

    target: Target
    value: float

    @property
    def holds(self) -> bool:
        """Whether the value is near enough to the real one."""
        return self.target.holds(self.value)


def targets(preset: str) -> list[Target]:
    """What the tissue of a preset really measures; rows of one species only."""
    rows: list[dict[str, Any]] = tissue_preset(preset)["targets"]
    return [Target(**row) for row in rows]


def compare(preset: str, statistics: Mapping[str, float]) -> list[Comparison]:
    """The targets of a tissue for which a block has a statistic, in their order."""
    return [Comparison(t, statistics[t.statistic]) for t in targets(preset) if t.statistic in statistics]

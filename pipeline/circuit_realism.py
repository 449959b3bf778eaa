"""What real cortex measures at the scale of a circuit block, beside what a block's statistics say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_CORTEX = "mouse cortex, BioNumbers 109245"
_FIBRES = "mouse S1, at most; Commun Biol 2024 s42003-024-06491-0"
_CAPILLARIES = "several species; Karbowski 2015, PLoS CB pcbi.1004532"
# Statistic, quantity, unit, real value, who measured it.
TARGETS = (
    ("neurons_per_mm3", "neurons", "mm⁻³", 9e4, _CORTEX),
    ("axon_length_um_per_um3", "length of axons", "µm/µm³", 4.0, _CORTEX),
    ("fibre_length_um_per_um3", "length of axons and dendrites", "µm/µm³", 9.0, _FIBRES),
    ("vessel_fraction", "capillaries, share of volume", "", 1 / 81, _CAPILLARIES),
)


def compare_circuit(statistics: Mapping[str, float]) -> list[dict[str, Any]]:
    """For each target: the block's own value, the real one, and the ratio of the two."""
    return [
        {
            "statistic": statistic,
            "quantity": quantity,
            "unit": unit,
            "value": statistics[statistic],
            "target": target,
            "ratio": statistics[statistic] / target,
            "source": source,
        }
        for statistic, quantity, unit, target, source in TARGETS
    ]


def summary(manifest: Mapping[str, Any]) -> str:
    """A circuit block's statistics as lines of text, those with a real counterpart beside it."""
    statistics = manifest["statistics"]
    lines = [f"  {name} {value:.4g}" for name, value in sorted(statistics.items())]
    lines += [
        f"  {row['quantity']}: {row['value']:.4g} {row['unit']}".rstrip()
        + f" (real {row['target']:.4g}, ratio {row['ratio']:.2g})"
        for row in manifest["realism"]
    ]
    failed = [name for name, holds in manifest["certificates"].items() if not holds]
    lines.append(f"  certificates: {'all hold' if not failed else 'FAILED ' + ', '.join(failed)}")
    return "\n".join(lines)

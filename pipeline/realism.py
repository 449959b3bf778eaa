"""What real neuropil measures, beside what a block's statistics say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

_SHARES = "mouse cortex, without cell bodies and vessels; Braitenberg & Schüz, BioNumbers 106133"
_DRAWN = "61 labelled slices, mouse CA1, 5 nm pixels; EPFL CVLab and GraphLabEMproj"


@dataclass(frozen=True)
class Target:
    """One quantity: the statistic of a block that measures it, the real range, and who measured that."""

    statistic: str
    quantity: str
    unit: str
    low: float
    high: float
    source: str

    def holds(self, value: float) -> bool:
        return self.low <= value <= self.high

    @property
    def text(self) -> str:
        """The range as it is printed."""
        return f"{self.low:g}" if self.low == self.high else f"{self.low:g} – {self.high:g}"


# A single source gives one number; the range around it is ±25 % where tissue and preparation vary.
TARGETS = (
    Target("axon_fraction", "axons, share of volume", "", 0.26, 0.43, _SHARES),
    Target("dendrite_fraction", "dendrites with their spines, share of volume", "", 0.37, 0.61, _SHARES),
    Target("astrocyte_fraction", "glia, share of volume", "", 0.08, 0.14, _SHARES),
    Target(
        "extracellular_fraction",
        "extracellular space, share of volume",
        "",
        0.02,
        0.20,
        "fixed by aldehyde to 5.2 % (BioNumbers 106133); 20 % in vivo (Nicholson & Hrabetova 2011)",
    ),
    Target(
        "synapses_per_um3",
        "synapses",
        "µm⁻³",
        0.5,
        0.9,
        "mouse cortex 0.7 (BioNumbers 109245); 0.5 with cell bodies (MICrONS 2025)",
    ),
    Target(
        "axon_length_um_per_um3",
        "length of axons",
        "µm/µm³",
        3.0,
        9.0,
        "4 in mouse cortex (BioNumbers 109245); up to 9 with dendrites (Commun Biol 2024 s42003-024-06491-0)",
    ),
    Target("annotated_mitochondrion", "mitochondrion, share of drawn area", "", 0.06, 0.105, _DRAWN),
    Target(
        "annotated_mitochondrial_boundary",
        "mitochondrial boundary, share of drawn area",
        "",
        0.025,
        0.041,
        _DRAWN,
    ),
    Target("annotated_membrane", "membrane, share of drawn area", "", 0.165, 0.275, _DRAWN),
    Target("annotated_psd", "PSD, share of drawn area", "", 0.0035, 0.006, _DRAWN),
    Target("annotated_vesicle", "vesicles, share of drawn area", "", 0.03, 0.051, _DRAWN),
    Target("annotated_myelin_sheath", "myelin, share of drawn area", "", 0.0, 0.003, _DRAWN),
    Target("grey_mean", "grey level, mean", "", 130.0, 149.0, _DRAWN),
)


@dataclass(frozen=True)
class Comparison:
    """A target and the block's own value."""

    target: Target
    value: float


def compare(statistics: Mapping[str, float]) -> list[Comparison]:
    """The targets for which a block has a statistic, in their order."""
    return [Comparison(t, statistics[t.statistic]) for t in TARGETS if t.statistic in statistics]

"""The numbers of a look that a calibration turns, each between two bounds on a logarithmic scale."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from .annotator import CLASS_NAMES
from .detector import NoiseFunction, resin_electrons, resin_grey_of, set_detector
from .look import THICK, Look
from .materials import COMPOUND_DENSITY_G_CM3, COMPOUNDS, PLASMA_MEMBRANE_NM
from .microscope import FibSem, SbfSem
from .sstem import SsTem, lost_per_nm

# Names of knobs that are not turned along with the rest.
MEMBRANE_THICKNESS = "thickness of plasma membranes"
DWELL_MEMORY, RESAMPLING = "dwell memory", "resampling"
SPOTS = ("spot y", "spot x")

# Which materials' stain is turned by one knob, and between which mass fractions of the first of them: about twice
# either way from what tissue has in stained_tissue.yaml, so that no structure takes another's place.
STAIN_GROUPS: Mapping[str, tuple[str, ...]] = {
    "cytoplasm": ("dendroplasm", "axoplasm", "astroplasm", "spinoplasm"),
    # What no label tells apart follows the membrane, so that the whole staining is of one strength.
    "membrane": ("membrane", "microtubule"),
    "reticulum": ("er_lumen",),
    "lysosomes": ("lysosome", "mvb_lumen"),
    "gaps": ("ecs",),
    "mitochondria": ("mitochondrial_matrix",),
    "cristae": ("crista",),
    # The web beside a density fades from it.
    "psd": ("psd", "cleft", "active_zone", "filament"),
    "vesicles": ("vesicle_lumen",),
    "myelin": ("myelin",),
}
STAIN_RANGES: Mapping[str, tuple[float, float]] = {
    "cytoplasm": (0.012, 0.1),
    "membrane": (0.05, 0.22),
    "reticulum": (0.025, 0.11),
    "lysosomes": (0.02, 0.2),
    "gaps": (0.02, 0.16),
    "mitochondria": (0.03, 0.14),
    "cristae": (0.015, 0.14),
    "psd": (0.05, 0.22),
    "vesicles": (0.012, 0.14),
    "myelin": (0.04, 0.2),
}
# Which class has to be drawn on the real slices for a group to be told from the rest; else it follows the membrane.
DRAWN_AS: Mapping[str, str] = {
    "cristae": "mitochondrion",
    "psd": "psd",
    "vesicles": "vesicle",
    "myelin": "myelin_sheath",
}


@dataclass(frozen=True)
class Knob:
    """One number of a look, turned between two bounds on a logarithmic scale."""

    name: str
    low: float
    high: float
    read: Callable[[Look], float]
    turned: Callable[[Look, float], Look]


def stain_knob(name: str, materials: Sequence[str]) -> Knob:
    def turned(look: Look, value: float) -> Look:
        factor = value / look.table[materials[0]].stain_fraction
        new = {
            m: look.table[m].with_stain_fraction(float(np.clip(look.table[m].stain_fraction * factor, 1e-3, 0.45)))
            for m in materials
        }
        return replace(look, table=look.table.with_materials(new))

    return Knob(f"stain of {name}", *STAIN_RANGES[name], lambda look: look.table[materials[0]].stain_fraction, turned)


def _material_knob(name: str, materials: Sequence[str], field: str, low: float, high: float) -> Knob:
    def turned(look: Look, value: float) -> Look:
        new = {m: look.table[m].model_copy(update={field: value}) for m in materials}
        return replace(look, table=look.table.with_materials(new))

    return Knob(name, low, high, lambda look: float(getattr(look.table[materials[0]], field)), turned)


def _field_knob(name: str, part: Literal["table", "microscope"], field: str, low: float, high: float) -> Knob:
    """A knob of one number of a look's material table or microscope."""

    def turned(look: Look, value: float) -> Look:
        changed: Any = getattr(look, part).model_copy(update={field: value})
        return replace(look, microscope=changed) if part == "microscope" else replace(look, table=changed)

    return Knob(name, low, high, lambda look: float(getattr(getattr(look, part), field)), turned)


def _spot_knob(axis: int, low: float, high: float) -> Knob:
    def turned(look: Look, value: float) -> Look:
        spot = list(look.microscope.lateral_fwhm_nm)
        spot[axis] = value
        return replace(look, microscope=look.microscope.model_copy(update={"lateral_fwhm_nm": tuple(spot)}))

    return Knob(SPOTS[axis], low, high, lambda look: look.microscope.lateral_fwhm_nm[axis], turned)


def _block_face_resin(
    look: Look, grey: float | None = None, above: float | None = None, electrons: float | None = None
) -> Look:
    """The look with resin at another grey, the blank by other grey levels above it, or of more electrons."""
    old = _block_face(look)
    shown = resin_grey_of(old) if grey is None else grey
    blank = shown + (_blank_above_resin(look) if above is None else above)
    count = resin_electrons(old) if electrons is None else electrons
    return replace(look, microscope=set_detector(old, NoiseFunction((blank - shown) / count, blank), shown))


def _blank_above_resin(look: Look) -> float:
    return _block_face(look).offset_grey - resin_grey_of(_block_face(look))


def _transmitted(microscope: SsTem) -> float:
    """Share of the electrons that pass a section of plain resin."""
    lost = sum(lost_per_nm(dict(COMPOUNDS["resin"]), COMPOUND_DENSITY_G_CM3["resin"], microscope))
    return math.exp(-lost * microscope.section_thickness_nm)


def _section_resin(
    look: Look, grey: float | None = None, contrast: float | None = None, electrons: float | None = None
) -> Look:
    """The look with resin at another grey, of more grey levels per share of electrons that pass, or more electrons."""
    old = look.microscope
    assert isinstance(old, SsTem)
    passed = _transmitted(old)
    steep = old.gain_grey_per_electron * old.dose_e_per_px if contrast is None else contrast
    shown = _section_resin_grey(look) if grey is None else grey
    dose = old.dose_e_per_px if electrons is None else electrons
    detector = {
        "dose_e_per_px": dose,
        "gain_grey_per_electron": steep / dose,
        "offset_grey": shown - steep * passed,
    }
    return replace(look, microscope=old.model_copy(update=detector))


def _section_resin_grey(look: Look) -> float:
    m = look.microscope
    assert isinstance(m, SsTem)
    return m.offset_grey + m.gain_grey_per_electron * m.dose_e_per_px * _transmitted(m)


def set_resin(look: Look, grey: float) -> Look:
    """The look with resin without stain at another grey."""
    if isinstance(look.microscope, SsTem):
        return _section_resin(look, grey=grey)
    return _block_face_resin(look, grey=grey)


def _detector_knobs(look: Look) -> list[Knob]:
    """Noise and greys of resin: what they are to a block-face SEM and to sections."""
    if isinstance(look.microscope, SsTem):
        return [
            Knob("electrons", 5.0, 1e6, lambda k: _dose(k), lambda k, n: _section_resin(k, electrons=n)),
            Knob("contrast", 50.0, 1e5, lambda k: _contrast(k), lambda k, c: _section_resin(k, contrast=c)),
            Knob("grey of resin", 100.0, 600.0, _section_resin_grey, lambda k, g: _section_resin(k, grey=g)),
            _field_knob("camera", "microscope", "camera_fwhm_px", 0.2, 4.0),
            _field_knob("stain of sections", "microscope", "stain_cv", 0.005, 0.4),
            _field_knob("brightness of sections", "microscope", "exposure_offset_grey", 0.2, 40.0),
        ]
    return [
        Knob("energy filter", 0.3, 0.978, lambda k: _block_face(k).energy_filter_share, _with_filter),
        # Counted from a tenth, since a logarithm does not reach 0.
        Knob(DWELL_MEMORY, 0.1, 0.8, lambda k: _block_face(k).dwell_correlation + 0.1, _with_dwell),
        # Less than half a pixel changes nothing.
        Knob(RESAMPLING, 0.5, 3.0, lambda k: max(_block_face(k).resampling_fwhm_px, 0.5), _with_resampling),
        Knob(
            "electrons of resin",
            10.0,
            1e6,
            lambda k: resin_electrons(_block_face(k)),
            lambda k, n: _block_face_resin(k, electrons=n),
        ),
        Knob(
            "grey of resin",
            100.0,
            400.0,
            lambda k: resin_grey_of(_block_face(k)),
            lambda k, g: _block_face_resin(k, grey=g),
        ),
        Knob("blank above resin", 50.0, 3000.0, _blank_above_resin, lambda k, a: _block_face_resin(k, above=a)),
    ]


def _with_filter(look: Look, value: float) -> Look:
    """The look with another energy filter and as many more electrons as keep resin's count."""
    old = _block_face(look)
    new = old.model_copy(update={"energy_filter_share": value})
    dose = old.dose_e_per_px * resin_electrons(old) / resin_electrons(new)
    return replace(look, microscope=new.model_copy(update={"dose_e_per_px": dose}))


def _with_dwell(look: Look, value: float) -> Look:
    microscope = _block_face(look).model_copy(update={"dwell_correlation": round(max(value - 0.1, 0.0), 4)})
    return replace(look, microscope=microscope)


def _with_resampling(look: Look, value: float) -> Look:
    microscope = _block_face(look).model_copy(update={"resampling_fwhm_px": round(value, 4) if value > 0.5 else 0.0})
    return replace(look, microscope=microscope)


def _block_face(look: Look) -> FibSem | SbfSem:
    assert isinstance(look.microscope, FibSem | SbfSem)
    return look.microscope


def _dose(look: Look) -> float:
    return look.microscope.dose_e_per_px


def _contrast(look: Look) -> float:
    return look.microscope.gain_grey_per_electron * look.microscope.dose_e_per_px


def image_knobs(look: Look, voxel_size_nm: Sequence[float], drawn: int) -> list[Knob]:
    """The knobs of image and stain; those of materials that only labels tell apart as far as `drawn` has their bits."""
    pixel = voxel_size_nm[2]
    plasm = STAIN_GROUPS["cytoplasm"]
    apart = [g for g in STAIN_GROUPS if g not in DRAWN_AS or drawn >> CLASS_NAMES.index(DRAWN_AS[g]) & 1]
    lining = []
    if drawn >> CLASS_NAMES.index("mitochondrion") & 1:
        lining = [_material_knob("lining of mitochondria", ("mitochondrial_matrix",), "lining", 0.2, 1.0)]
    together = (*STAIN_GROUPS["membrane"], *(m for g, names in STAIN_GROUPS.items() if g not in apart for m in names))
    return [
        _spot_knob(0, 0.5 * pixel, 8.0 * pixel),
        _spot_knob(1, 0.5 * pixel, 8.0 * pixel),
        *_detector_knobs(look),
        Knob(
            MEMBRANE_THICKNESS,
            PLASMA_MEMBRANE_NM,
            THICK * PLASMA_MEMBRANE_NM,
            lambda look: look.plasma_membrane_nm,
            lambda look, nm: replace(look, plasma_membrane_nm=nm),
        ),
        *(stain_knob(g, together if g == "membrane" else STAIN_GROUPS[g]) for g in apart),
        *lining,
        _material_knob("fine grain", plasm, "fine_grain_sd", 0.02, 0.9),
        _material_knob("coarse grain", plasm, "coarse_grain_sd", 0.02, 0.6),
        _material_knob("difference between cells", plasm, "between_cells_cv", 0.02, 0.5),
        _field_knob("length of fine grain", "table", "fine_grain_nm", 1.5 * pixel, 12.0 * pixel),
        _field_knob("length of coarse grain", "table", "coarse_grain_nm", 5.0 * pixel, 60.0 * pixel),
    ]

"""Setting a FIB-SEM, its stains and an annotators' hand so that a simulated block looks like a real one.

Four steps, each a closed form or a small fit: the detector from how noise grows with grey, the dose from the
brightest resin, spot, depth and grain from the texture of cytoplasm, and stains and drawn widths class by class
on a block whose truth is known.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage, optimize

from .annotator import AnnotatorStyle, annotate
from .appearance import (
    DEEP_PX,
    Appearance,
    depth_px,
    measure_appearance,
    texture_sums,
)
from .electrons import castaing_backscatter, love_scott_backscatter
from .fibsem import image_fibsem
from .materials import COMPOUNDS, Material, MaterialTable, StructureTable
from .microscope import FibSem
from .profile import Profile, Stain
from .statistics import gaussian_spot_px
from .truth import Truth

Image = npt.NDArray[np.uint8]
Step = Callable[[str], None]

# Which materials' stain is scaled together to bring which class to its grey.
STAIN_GROUPS: Mapping[str, tuple[str, ...]] = {
    "cytoplasm": ("axoplasm", "dendroplasm", "astroplasm", "spinoplasm"),
    # What no label tells apart follows the membrane, so that the whole staining is of one strength.
    "membrane": ("membrane", "ecs", "er_lumen", "mvb_lumen", "lysosome", "microtubule", "filament"),
    "mitochondrion": ("mitochondrial_matrix", "crista"),
    "psd": ("psd", "cleft", "active_zone"),
    "vesicle": ("vesicle_lumen",),
}

# The brightest places are watery cytoplasm rather than plain resin: taken to hold this share of the usual stain.
EMPTIEST_STAIN_SHARE = 0.25

# Weight of a relative miss in blur against a miss in autocovariance relative to the variance.
BLUR_WEIGHT = 3.0


@dataclass(frozen=True)
class NoiseFunction:
    """Noise variance against grey, var = slope · (blank - grey): Poisson counts shown with a negative gain."""

    slope_grey: float
    blank_grey: float


def measure_noise_function(images: Image) -> NoiseFunction:
    """Noise function of uint8 slices (n, y, x), from fourth differences in bins of local mean grey.

    Fourth differences along both axes see next to nothing of structure that a spot of 2 px or more has blurred.
    Pixels are sorted by their smoothed grey, so as not to sort them by their noise.

    The darkest and brightest bins are left out (they are selected for their own noise). Raises ValueError when
    the noise does not grow with the signal, that is, when dark is not heavily stained.
    """
    fourth = np.array([1.0, -4.0, 6.0, -4.0, 1.0], np.float32)
    mask = np.outer(fourth, fourth) / 70.0
    variance, grey, weight = [], [], []
    residual = np.stack([ndimage.convolve(image.astype(np.float32), mask) for image in images]) ** 2
    local = np.stack([ndimage.gaussian_filter(image.astype(np.float32), 3) for image in images])
    low, high = np.percentile(local, (10, 95))
    for bottom in np.arange(low, high, 5.0):
        here = (local >= bottom) & (local < bottom + 5.0)
        if here.sum() > 500:
            grey.append(float(images[here].mean()))
            variance.append(float(residual[here].mean()))
            weight.append(math.sqrt(float(here.sum())))
    if len(grey) < 3:
        raise ValueError("the slices hold fewer than three grey levels, so their noise function cannot be fitted")
    slope, intercept = np.polyfit(grey, variance, 1, w=weight)
    if slope >= 0.0:
        raise ValueError("noise grows with grey in these slices; this model needs heavy stain shown dark")
    return NoiseFunction(-float(slope), float(-intercept / slope))


def _grey_of(eta: float, microscope: FibSem) -> float:
    electrons = microscope.dose_e_per_px * microscope.collection_efficiency * eta
    return microscope.offset_grey + microscope.gain_grey_per_electron * electrons


def stain_for_grey(material: Material, grey: float, microscope: FibSem) -> float:
    """Mass fraction of metal at which a large piece of the material shows this grey, within 0.001–0.45."""

    def miss(stain: float) -> float:
        eta = material.with_stain_fraction(stain).backscatter(microscope.landing_energy_kev)
        return _grey_of(eta, microscope) - grey

    if miss(1e-3) * miss(0.45) > 0.0:
        return 1e-3 if abs(miss(1e-3)) < abs(miss(0.45)) else 0.45
    return float(optimize.brentq(miss, 1e-3, 0.45))


def set_detector(microscope: FibSem, noise: NoiseFunction, resin_grey: float) -> FibSem:
    """Gain and offset from the noise function, dose so that resin without stain shows `resin_grey`."""
    resin = castaing_backscatter(COMPOUNDS["resin"], lambda z: love_scott_backscatter(z, microscope.landing_energy_kev))
    electrons = (noise.blank_grey - resin_grey) / noise.slope_grey
    return microscope.model_copy(
        update={
            "gain_grey_per_electron": -noise.slope_grey,
            "offset_grey": noise.blank_grey,
            "dose_e_per_px": electrons / (resin * microscope.collection_efficiency),
        }
    )


def _grain_and_optics(
    values: npt.NDArray[np.float64], table: MaterialTable, microscope: FibSem
) -> tuple[MaterialTable, FibSem]:
    spot_y, spot_x, depth_share, fine_nm, fine_sd, coarse_sd = np.exp(values).tolist()
    grain = {"fine_grain_sd": fine_sd, "coarse_grain_sd": coarse_sd}
    changed = {name: table[name].model_copy(update=grain) for name in STAIN_GROUPS["cytoplasm"]}
    optics = {"lateral_fwhm_nm": (spot_y, spot_x), "information_depth_share": depth_share}
    return (
        table.with_materials(changed).model_copy(update={"fine_grain_nm": fine_nm}),
        microscope.model_copy(update=optics),
    )


def _check_texture(target: Appearance) -> None:
    if None in (target.texture_x, target.texture_y, target.texture_z, target.spot_y_px):
        raise ValueError("the slices have too little unlabelled cytoplasm, or no neighbours, to measure texture")


def fit_texture(
    target: Appearance,
    blocks: Sequence[Truth],
    structures: StructureTable,
    table: MaterialTable,
    microscope: FibSem,
    style: AnnotatorStyle,
    seed: int,
) -> tuple[MaterialTable, FibSem]:
    """Spot, depth and grain of cytoplasm that give the blocks' images the target's blur and texture.

    Compared are the spots found by Porod's law, which what is imaged biases alike in both, and the
    autocovariance of deep cytoplasm. What a block itself puts there (vesicles and tubules that nobody
    annotates) counts; grain adds the rest. Raises ValueError when the target lacks either.
    """
    _check_texture(target)
    textures = [np.array(getattr(target, f"texture_{axis}")) for axis in "xyz"]
    goal = np.concatenate(textures) / textures[0][0]
    spots = np.array([target.spot_y_px, target.spot_x_px])
    deep = [depth_px(_annotation(block, structures, style, seed) == 0) > DEEP_PX for block in blocks]

    def miss(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        grainy, optics = _grain_and_optics(values, table, microscope)
        images = [_photograph(block, grainy, optics, seed) for block in blocks]
        texture = reduce(operator.add, map(texture_sums, images, deep))
        found = np.concatenate([texture.autocovariance(axis) for axis in "xyz"]) / textures[0][0]
        blur = np.log(np.array(gaussian_spot_px(images)) / spots)
        return np.concatenate([found - goal, BLUR_WEIGHT * blur])

    plasm = table["dendroplasm"]
    start = (
        *microscope.lateral_fwhm_nm,
        microscope.information_depth_share,
        table.fine_grain_nm,
        plasm.fine_grain_sd,
        plasm.coarse_grain_sd,
    )
    low = np.log([5.0, 5.0, 0.01, 12.0, 0.02, 0.02])
    high = np.log([40.0, 40.0, 0.15, 40.0, 0.9, 0.6])
    inside = np.clip(np.log(np.maximum(start, 1e-3)), low + 1e-3, high - 1e-3)
    best = optimize.least_squares(miss, inside, bounds=(low, high), diff_step=0.02, max_nfev=4)
    return _grain_and_optics(best.x, table, microscope)


def _scaled(table: MaterialTable, names: Sequence[str], factor: float) -> MaterialTable:
    stains = {n: float(np.clip(table[n].stain_fraction * factor, 2e-3, 0.45)) for n in names}
    return table.with_materials({n: table[n].with_stain_fraction(stain) for n, stain in stains.items()})


def _with_cell_spread(table: MaterialTable, factor: float) -> MaterialTable:
    names = STAIN_GROUPS["cytoplasm"]
    spread = {n: float(np.clip(table[n].between_cells_cv * factor, 0.02, 0.6)) for n in names}
    return table.with_materials({n: table[n].model_copy(update={"between_cells_cv": cv}) for n, cv in spread.items()})


def _relined(table: MaterialTable, too_light_grey: float) -> MaterialTable:
    """The table with more bilayer in the lining of mitochondria where that is too light: 2.5 % per grey level."""
    matrix = table["mitochondrial_matrix"]
    lining = float(np.clip(matrix.lining + 0.025 * too_light_grey, 0.2, 1.0))
    return table.with_materials({"mitochondrial_matrix": matrix.model_copy(update={"lining": lining})})


def look_at(
    blocks: Sequence[Truth],
    structures: StructureTable,
    table: MaterialTable,
    microscope: FibSem,
    style: AnnotatorStyle,
    seed: int,
) -> Appearance:
    """Appearance of the blocks once imaged and annotated."""
    return measure_appearance(
        [(_photograph(block, table, microscope, seed), _annotation(block, structures, style, seed)) for block in blocks]
    )


def _photograph(block: Truth, table: MaterialTable, microscope: FibSem, seed: int) -> Image:
    rng = np.random.default_rng(seed)
    shot = image_fibsem(block.materials, block.membrane, block.instances, table, microscope, rng)
    return np.asarray(shot.image.data)


def _annotation(block: Truth, structures: StructureTable, style: AnnotatorStyle, seed: int) -> Image:
    rng = np.random.default_rng(seed + 1)
    return np.asarray(annotate(block.classes, block.instances, structures, style, rng).data)


def fit_stains(
    target: Appearance,
    blocks: Sequence[Truth],
    structures: StructureTable,
    table: MaterialTable,
    microscope: FibSem,
    style: AnnotatorStyle,
    seed: int,
    rounds: int,
    step: Step = lambda message: None,
) -> tuple[MaterialTable, AnnotatorStyle, Appearance]:
    """Stains per class and the annotators' widths, by damped steps on blocks of known truth.

    Each round images and annotates the blocks and moves each class's stain by what its grey misses over the grey
    that a change of stain makes in bulk, and each drawn width by half of what it misses.
    """
    pixel_nm = blocks[0].materials.voxel_size_nm[2]
    per_stain = (
        abs(
            _grey_of(
                table["membrane"].with_stain_fraction(0.2).backscatter(microscope.landing_energy_kev),
                microscope,
            )
            - _grey_of(
                table["membrane"].with_stain_fraction(0.1).backscatter(microscope.landing_energy_kev),
                microscope,
            )
        )
        / 0.1
    )
    found = look_at(blocks, structures, table, microscope, style, seed)
    for turn in range(rounds):
        for class_name, names in STAIN_GROUPS.items():
            wanted, got = getattr(target, class_name), getattr(found, class_name)
            if wanted is not None and got is not None:
                old = table[names[0]].stain_fraction
                table = _scaled(table, names, max(old + (got - wanted) / per_stain, 2e-3) / old)
        if target.cytoplasm_spread and found.cytoplasm_spread:
            ratio = target.cytoplasm_spread / found.cytoplasm_spread
            table = _with_cell_spread(table, float(np.clip(ratio, 0.7, 1.4)))
        if target.mitochondrial_boundary is not None and found.mitochondrial_boundary is not None:
            table = _relined(table, found.mitochondrial_boundary - target.mitochondrial_boundary)
        style = _redrawn(style, target, found, pixel_nm)
        found = look_at(blocks, structures, table, microscope, style, seed)
        step(f"round {turn + 1}: membrane {found.membrane:.1f} of {target.membrane:.1f}")
    return table, style, found


def _redrawn(style: AnnotatorStyle, target: Appearance, found: Appearance, pixel_nm: float) -> AnnotatorStyle:
    """The style with each drawn width moved by half of what it misses (widths have two sides)."""
    pairs = {
        "membrane_inside_nm": ("membrane_width_px", 0.25),
        "membrane_outside_nm": ("membrane_width_px", 0.25),
        "mitochondrial_boundary_nm": ("boundary_width_px", 0.5),
        "vesicle_margin_nm": ("vesicle_diameter_px", 0.25),
        "psd_margin_nm": ("psd_width_px", 0.25),
        "mitochondrion_outside_nm": ("mitochondrial_edge_px", 0.5),
    }
    moved = {}
    for key, (width, share) in pairs.items():
        wanted, got = getattr(target, width), getattr(found, width)
        if wanted is not None and got is not None:
            moved[key] = float(np.clip(getattr(style, key) + share * pixel_nm * (wanted - got), 1.0, 100.0))
    return style.model_copy(update=moved)


def calibrate_fibsem(
    name: str,
    runs: Sequence[tuple[Image, Image]],
    blocks: Sequence[Truth],
    structures: StructureTable,
    table: MaterialTable,
    microscope: FibSem,
    style: AnnotatorStyle,
    provenance: Mapping[str, Any],
    seed: int = 0,
    turns: int = 2,
    step: Step = lambda message: None,
) -> Profile:
    """A profile that makes the blocks look like real annotated runs (images and bit fields, uint8, n y x).

    `blocks` have voxels of the real pixel size and hold, together, every class to be set. What was measured,
    real and simulated, joins `provenance`. Stains and texture are fitted in `turns`; `step` is told what is
    done. Raises ValueError when the runs lack what a step needs.
    """
    target = measure_appearance(runs)
    _check_texture(target)
    noise = measure_noise_function(np.concatenate([images[::4] for images, _ in runs]))
    step(f"noise: variance {noise.slope_grey:.3f} · ({noise.blank_grey:.0f} - grey)")
    resin_grey = target.brightest
    if target.cytoplasm is not None:
        resin_grey += EMPTIEST_STAIN_SHARE / (1.0 - EMPTIEST_STAIN_SHARE) * (target.brightest - target.cytoplasm)
    microscope = set_detector(microscope, noise, resin_grey)
    wanted = {"cytoplasm": target.cytoplasm, "myelin": target.myelin_sheath}
    if wanted["cytoplasm"] is not None:
        stain = stain_for_grey(table["dendroplasm"], wanted["cytoplasm"], microscope)
        table = _scaled(table, STAIN_GROUPS["cytoplasm"], stain / table["dendroplasm"].stain_fraction)
    if wanted["myelin"] is not None:
        stain = stain_for_grey(table["myelin"], wanted["myelin"], microscope)
        table = _scaled(table, ("myelin",), stain / table["myelin"].stain_fraction)
    # Stains decide how dark the unannotated things in cytoplasm are, and grain how dark cytoplasm is: in turns.
    for _ in range(turns):
        table, style, _ = fit_stains(target, blocks, structures, table, microscope, style, seed, 4, step)
        table, microscope = fit_texture(target, blocks, structures, table, microscope, style, seed)
        spot = " × ".join(f"{fwhm:.1f}" for fwhm in microscope.lateral_fwhm_nm)
        depth = microscope.information_depth_nm
        step(f"texture: spot {spot} nm, depth {depth:.1f} nm, grain {table.fine_grain_nm:.0f} nm")
    table, style, found = fit_stains(target, blocks, structures, table, microscope, style, seed, 6, step)
    stains = {
        key: Stain(
            fraction=round(material.stain_fraction, 5),
            fine_grain_sd=round(material.fine_grain_sd, 4),
            coarse_grain_sd=round(material.coarse_grain_sd, 4),
            between_cells_cv=round(material.between_cells_cv, 4),
            lining=round(material.lining, 3),
        )
        for key, material in table.materials.items()
        if material.stain_fraction > 0.0
    }
    figures = {"real": target.as_dict(), "simulated": found.as_dict()}
    return Profile(
        name=name,
        microscope=microscope.model_copy(update={"name": name}),
        fine_grain_nm=table.fine_grain_nm,
        coarse_grain_nm=table.coarse_grain_nm,
        stains=stains,
        annotator=style,
        provenance={**provenance, "noise_function": vars(noise), "figures": figures},
    )

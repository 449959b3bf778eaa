"""Setting a microscope, stains and an annotators' hand so that virtual tissue looks like real slices.

First closed forms: the detector from how noise grows with grey, the dose from the brightest resin, cytoplasm's stain
from its grey. From there on a loop: every number of `appearance` is measured alike on real slices and on virtual tissue
imaged and annotated. Knobs of microscope and stain are turned by gradients through the differentiable model
(`gradient_fit`), then with those that it has not by damped least squares on all numbers (the hash noise of a fixed key
makes the image a smooth function of them); the annotators' style, whose effect comes in steps of voxels, by CMA-ES.
The loop ends when a round no longer improves the loss.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import cma
import numpy as np
import numpy.typing as npt
from scipy import ndimage

from .annotator import CLASS_NAMES, AnnotatorStyle
from .appearance import (
    DEEP_PX,
    Run,
    class_numbers,
    depth_px,
    drawn_bits,
    drawn_numbers,
    loss,
    measure_appearance,
    weighted_misses,
)
from .detector import noise_function_or_level, set_detector, stain_for_grey
from .gradient_fit import turn_by_gradient
from .knobs import DWELL_MEMORY, MEMBRANE_THICKNESS, RESAMPLING, SPOTS, STAIN_GROUPS, image_knobs, set_resin, stain_knob
from .look import Look, Specimen, annotation, observe, photograph
from .materials import StructureTable
from .microscope import FibSem, SbfSem
from .sstem import SsTem

Step = Callable[[str], None]

# The brightest places are watery cytoplasm rather than plain resin: taken to hold this share of the usual stain.
EMPTIEST_STAIN_SHARE = 0.25
# A round that lowers the loss by less than this share was the last.
LEAST_GAIN = 0.02
# Slices that numbers within slices are measured on: of the real runs, and of each block.
REAL_SLICES, BLOCK_SLICES = 24, 3
# Steps along gradients, each on one specimen.
GRADIENT_STEPS = 28
# Steps of least squares in a round, each with a Jacobian of one look per knob.
LEAST_SQUARES_STEPS = 3
# Annotators' hands are compared on some of so many slices of a block, or sections.
DRAWN_SLICES, DRAWN_SECTIONS, DRAWN_EVERY = 11, 3, 5
# Generations of annotators' styles in a round.
STYLE_ROUNDS = 5
# Knobs that the differentiable model has not, and the spot, which blur tells better than what is smooth in grey:
# correlations ask for a wide one where structures are longer than the tissue's.
NOT_BY_GRADIENT = (MEMBRANE_THICKNESS, DWELL_MEMORY, RESAMPLING, *SPOTS)
# Pull of each knob towards where it started, per e-fold: what the images do not decide stays where it was.
PULL = 0.03


def start_look(real: Sequence[Run], look: Look) -> Look:
    """The look with what closed forms tell: grey of resin, and of a block-face SEM detector, dose and cytoplasm."""
    planes = np.concatenate([run.images[::4] for run in real])
    smooth = ndimage.gaussian_filter(planes.astype(np.float32), (0, 4, 4))
    brightest, usual = np.percentile(smooth, (99.9, 70.0))
    if drawn_bits(real):
        deep = [r.images[depth_px(r.labels == 0) > DEEP_PX] for r in real if r.labels is not None]
        usual = float(np.median(np.concatenate(deep)))
    share = EMPTIEST_STAIN_SHARE
    resin_grey = float(brightest + share / (1.0 - share) * max(brightest - usual, 1.0))
    if isinstance(look.microscope, SsTem):
        return set_resin(look, resin_grey)
    noise = noise_function_or_level(planes, resin_grey, look.microscope)
    microscope = set_detector(look.microscope, noise, resin_grey)
    plasm = stain_knob("cytoplasm", STAIN_GROUPS["cytoplasm"])
    stain = stain_for_grey(look.table["dendroplasm"], float(usual), microscope)
    return plasm.turned(replace(look, microscope=microscope), min(max(stain, plasm.low), plasm.high))


def _with_spot_of(
    goal: Mapping[str, float], found: Mapping[str, float], look: Look, voxel_size_nm: Sequence[float]
) -> Look:
    """The look with as much more or less blur (variances add) as Porod's law tells real and simulated apart by."""
    if not isinstance(look.microscope, FibSem | SbfSem) or not {"blur y", "blur x"} <= goal.keys() & found.keys():
        return look
    spot = []
    for axis, nm, fwhm in zip("yx", voxel_size_nm[1:], look.microscope.lateral_fwhm_nm, strict=True):
        more = (goal[f"blur {axis}"] ** 2 - found[f"blur {axis}"] ** 2) * nm**2
        # Of few and small slices the widths are uncertain themselves.
        spot.append(float(np.clip(np.sqrt(max(fwhm**2 + more, 0.0)), 0.7 * fwhm, 1.4 * fwhm)))
    return replace(look, microscope=look.microscope.model_copy(update={"lateral_fwhm_nm": (spot[0], spot[1])}))


def fit_image(
    goal: Mapping[str, float],
    specimens: Sequence[Specimen],
    structures: StructureTable,
    look: Look,
    drawn: int,
    seed: int,
    steps: int,
) -> Look:
    """The look with knobs of image and stain turned towards the goal, in so many steps of damped least squares."""
    knobs = image_knobs(look, specimens[0].truth.materials.voxel_size_nm, drawn)
    labels = [run.labels for run in observe(specimens, structures, look, drawn, seed)]
    wanted = {name: value for name, value in goal.items() if not name.startswith(("share", "size", "edge"))}

    def set_to(values: npt.NDArray[np.float64]) -> Look:
        new = look
        for knob, value in zip(knobs, np.exp(values).tolist(), strict=True):
            new = knob.turned(new, value)
        return new

    low, high = np.log([[knob.low for knob in knobs], [knob.high for knob in knobs]])
    start = np.clip(np.log([max(knob.read(look), 1e-6) for knob in knobs]), low + 1e-3, high - 1e-3)

    def residuals(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        new = set_to(values)
        images = [photograph(s, new, seed + k).image.data for k, s in enumerate(specimens)]
        runs = [Run(image, drawing) for image, drawing in zip(images, labels, strict=True)]
        found = measure_appearance(runs, BLOCK_SLICES * len(specimens), drawings=False)
        return np.concatenate([weighted_misses(wanted, found), PULL * (values - start)])

    return set_to(_damped_least_squares(residuals, start, low, high, steps))


def _damped_least_squares(
    residuals: Callable[[npt.NDArray[np.float64]], npt.NDArray[np.float64]],
    values: npt.NDArray[np.float64],
    low: npt.NDArray[np.float64],
    high: npt.NDArray[np.float64],
    steps: int,
) -> npt.NDArray[np.float64]:
    """Values between low and high with smaller residuals (Levenberg 1944), by at most so many steps.

    Of each step some dampings are tried. SciPy's trust region begins with steps too long for so few of them.
    """
    here = residuals(values)
    for _ in range(steps):
        columns = []
        for k in range(len(values)):
            moved = values.copy()
            moved[k] += _STEP if values[k] + _STEP < high[k] else -_STEP
            columns.append((residuals(moved) - here) / (moved[k] - values[k]))
        slopes = np.stack(columns, axis=1)
        normal, downhill = slopes.T @ slopes, -slopes.T @ here
        scale = float(np.trace(normal)) / len(values)
        trials = []
        for damping in _DAMPINGS:
            step = np.linalg.solve(normal + damping * scale * np.eye(len(values)), downhill)
            trial = np.clip(values + np.clip(step, -_LONGEST_STEP, _LONGEST_STEP), low, high)
            trials.append((trial, residuals(trial)))
        best, there = min(trials, key=lambda pair: float(pair[1] @ pair[1]))
        if there @ there >= here @ here:
            break
        values, here = best, there
    return values


# Of a knob's logarithm: the step of a finite difference, large beside a grey level's rounding, and the longest step.
_STEP, _LONGEST_STEP = 0.02, 0.5
_DAMPINGS = (0.003, 0.03, 0.3)

# Fields of the annotators' style that each class's labels decide, with bounds in nm.
_STYLE_FIELDS: Mapping[str, Mapping[str, tuple[float, float]]] = {
    "mitochondrion": {"mitochondrion_outside_nm": (0.0, 30.0)},
    "mitochondrial_boundary": {"mitochondrial_boundary_nm": (5.0, 60.0)},
    "membrane": {"membrane_inside_nm": (2.0, 30.0), "membrane_outside_nm": (2.0, 30.0)},
    "psd": {"psd_margin_nm": (0.0, 40.0), "psd_widest_nm": (80.0, 250.0)},
    "vesicle": {"vesicle_cap_nm": (0.0, 16.0), "vesicle_margin_nm": (0.0, 30.0)},
    "myelin_sheath": {"myelin_margin_nm": (0.0, 40.0)},
}


def fit_annotator(
    goal: Mapping[str, float],
    specimens: Sequence[Specimen],
    structures: StructureTable,
    look: Look,
    drawn: int,
    seed: int,
    rounds: int,
) -> Look:
    """The look with the annotators' widths set by CMA-ES: to the goal's sizes, its share of membrane, and its edges.

    An edge is where grey turns dark across a drawn outline, whatever the greys are. Other shares are the tissue's to
    set and greys the stains': asked for here, they once made every line too broad. A generation has about
    4 + 3 ln(fields) styles; images stay as they are meanwhile.
    """
    specimens = [_shallow(s, look) for s in specimens]
    names = [name for bit, name in enumerate(CLASS_NAMES) if drawn >> bit & 1]
    fields = {key: bounds for name in names for key, bounds in _STYLE_FIELDS[name].items()}
    low, high = np.array(list(fields.values())).T
    wanted = {name: value for name, value in goal.items() if name.startswith(("share membrane", "size", "edge"))}
    shots = [photograph(s, look, seed + k) for k, s in enumerate(specimens)]
    images = np.concatenate([shot.image.data[:: _drawn_step(look)] for shot in shots])

    def styled(values: npt.NDArray[np.float64]) -> AnnotatorStyle:
        nm = low + np.clip(values, 0.0, 1.0) * (high - low)
        return look.style.model_copy(update={key: round(float(v), 2) for key, v in zip(fields, nm, strict=True)})

    def badness(values: npt.NDArray[np.float64]) -> float:
        new = replace(look, style=styled(values))
        drawings = [
            annotation(s, structures, shot, new, seed + k, drawn)
            for k, (s, shot) in enumerate(zip(specimens, shots, strict=True))
        ]
        labels = np.concatenate([drawing[:: _drawn_step(look)] for drawing in drawings if drawing is not None])
        return loss(wanted, drawn_numbers(labels) | class_numbers(images, labels))

    start = np.clip((np.array([getattr(look.style, key) for key in fields]) - low) / (high - low), 0.02, 0.98)
    options = {"bounds": [0.0, 1.0], "seed": seed + 1, "maxiter": rounds, "verbose": -9}
    search = cma.CMAEvolutionStrategy(start, 0.12, options)
    search.optimize(badness)
    best = search.result.xbest if search.result.fbest < badness(start) else start
    return replace(look, style=styled(best))


def _drawn_step(look: Look) -> int:
    return 1 if isinstance(look.microscope, SsTem) else DRAWN_EVERY


def _shallow(specimen: Specimen, look: Look) -> Specimen:
    """The part of a specimen on which annotators' hands are compared: some middle slices, or its first sections."""
    depth, height, width = specimen.truth.materials.shape_zyx
    first, most = (depth - min(depth, DRAWN_SLICES)) // 2, min(depth, DRAWN_SLICES)
    if isinstance(look.microscope, SsTem):
        per_section = look.microscope.section_thickness_nm / specimen.truth.materials.voxel_size_nm[0]
        first, most = 0, min(depth, round(DRAWN_SECTIONS * per_section))
    start, shape = (first, 0, 0), (most, height, width)
    return Specimen(specimen.truth.crop(start, shape), specimen.thick_membrane.crop(start, shape), specimen.stain_scale)


@dataclass(frozen=True)
class Calibration:
    """What a loop ended with: the look, the numbers of the real slices, of the start and of the end, and the losses."""

    look: Look
    real: dict[str, float]
    before: dict[str, float]
    after: dict[str, float]
    losses: list[float]


def calibrate(
    real: Sequence[Run],
    specimens: Sequence[Specimen],
    structures: StructureTable,
    start: Look,
    seed: int = 0,
    rounds: int = 3,
    step: Step = lambda message: None,
) -> Calibration:
    """The look under which the specimens come nearest to the real runs.

    Specimens have voxels of the real size. `step` is told what was done. At most so many rounds are made; the first
    that does not improve the loss by LEAST_GAIN is the last, and of all the best is taken.
    """
    drawn = drawn_bits(real)
    goal = measure_appearance(real, REAL_SLICES)

    def seen(look: Look) -> dict[str, float]:
        return measure_appearance(observe(specimens, structures, look, drawn, seed), BLOCK_SLICES * len(specimens))

    before = seen(start)
    look = start_look(real, start)
    look = _with_spot_of(goal, seen(look), look, specimens[0].truth.materials.voxel_size_nm)
    found = seen(look)
    losses = [loss(goal, before), loss(goal, found)]
    best, best_found = (look, found) if losses[1] < losses[0] else (start, before)
    step(f"start {losses[0]:.2f}, detector and dose by closed forms: {losses[1]:.2f} tolerances off")
    for turn in range(rounds):
        look = look if turn == 0 else best
        if drawn:
            look = fit_annotator(goal, specimens, structures, look, drawn, seed, STYLE_ROUNDS)
            step(f"round {turn + 1}: annotators' style by CMA-ES")
        if turn == 0 and isinstance(look.microscope, FibSem | SbfSem):
            labels = [run.labels for run in observe(specimens, structures, look, drawn, seed)]
            knobs = image_knobs(look, specimens[0].truth.materials.voxel_size_nm, drawn)
            smooth = [knob for knob in knobs if knob.name not in NOT_BY_GRADIENT]
            look = turn_by_gradient(goal, specimens, labels, look, smooth, seed, GRADIENT_STEPS)
            step(f"round {turn + 1}: microscope and stains by gradients: {loss(goal, seen(look)):.2f} tolerances off")
        look = fit_image(goal, specimens, structures, look, drawn, seed, LEAST_SQUARES_STEPS)
        found = seen(look)
        losses.append(loss(goal, found))
        step(f"round {turn + 1}: these and membranes by least squares: {losses[-1]:.2f} tolerances off")
        gain = 1.0 - losses[-1] / loss(goal, best_found)
        if gain > 0.0:
            best, best_found = look, found
        if gain < LEAST_GAIN:
            break
    return Calibration(best, goal, before, best_found, losses)

"""`neuropil calibrate`: a profile fitted to a real stack, and what slices that were kept aside say of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from neuropil.simulate.annotator import AnnotatorStyle
from neuropil.simulate.appearance import Image, Run, drawn_bits, measure_appearance
from neuropil.simulate.calibration import REAL_SLICES, STYLE_ROUNDS, Calibration, calibrate, fit_annotator
from neuropil.simulate.look import Look, Specimen, observe
from neuropil.simulate.materials import PLASMA_MEMBRANE_NM, load_materials, load_structures
from neuropil.simulate.microscope import FibSem, SbfSem
from neuropil.simulate.profile import Profile
from neuropil.simulate.sstem import SsTem
from neuropil.simulate.two_sample import two_sample_auc
from neuropil.tissue.parameters import TissueParameters
from neuropil.voxelize.replacement import replacing
from neuropil.voxelize.volume import Triple

from .calibration_report import Comparison, write_calibration_report
from .composition import CompositionStep, fit_composition
from .imaging_job import named_microscope
from .real_stack import RealStack, read_real_stack
from .recipe import named_appearance
from .specimens import load_specimen

Step = Callable[[str], None]

# Seeds of the tissue that is fitted with, and of other tissue for the comparison with slices kept aside. Of so little
# tissue shares of rare structures are uncertain, so composition is fitted with more of it.
FIT_SEEDS, TEST_SEEDS, COMPOSITION_SEEDS = range(1, 5), range(101, 109), range(1, 9)
ROUNDS = 3
# Widest sides of a specimen, in µm and in pixels, and how many slices or sections it has.
SIDE_UM, SIDE_PX, SLICES, SECTIONS = 2.6, 460, 20, 6
# Sections are imaged from voxels about so deep.
FINE_NM = 10.0
# Shares of a stack's slices, from its first on, that are fitted to and kept aside where nothing else is said.
FIT_SHARE, HELD_OUT_SHARE = 0.6, 0.3
# Slices of the real stack, and of each block, that are compared in the end.
COMPARED = 40
# Every which slice of a block its shares are measured on.
LABELS_EVERY = 4
# Keys of noise for the comparison, other than those fitted with.
_TEST_KEY = 1000


@dataclass(frozen=True)
class Request:
    """What a user asks for; ranges are of slice numbers, None for the usual share.

    start: a profile to go on from, in place of a microscope and the table's stains; the tissue then stays the preset's.
    """

    real: str
    labels: str | None
    microscope: str
    tissue: str
    voxel_size_nm: Triple | None
    fit: range | None
    held_out: range | None
    start: str | None = None


def calibrate_to_files(
    request: Request, output: Path, folder: Path, seed: int, step: Step, rounds: int = ROUNDS
) -> dict[str, Any]:
    """Write the profile `output`, and report.html, metrics.json and the tissue's blocks to `folder`; the metrics.

    rounds: of the loop, at most.

    Raises ValueError in one sentence for real images that cannot be calibrated by.
    """
    stack = read_real_stack(request.real, request.labels, request.voxel_size_nm)
    fit, held_out = _split(stack, request)
    start = _start(stack, request)
    parameters, shape, size_nm = _tissue(stack, request.tissue, start)
    step(f"{sum(len(r.images) for r in fit)} slices to fit to, {sum(len(r.images) for r in held_out)} kept aside")
    blocks = folder / "blocks"

    def specimen(of: TissueParameters, number: int) -> Specimen:
        return load_specimen(of, shape, size_nm, number, blocks)

    tried: list[CompositionStep] = []
    if request.start is None:
        start, parameters, tried = _composed(fit, parameters, start, specimen, seed, step)
    specimens = [specimen(parameters, k) for k in FIT_SEEDS]
    step(f"{len(specimens)} blocks of virtual tissue of {' × '.join(map(str, shape))} voxels")
    found = calibrate(fit, specimens, load_structures(), start, seed, rounds, step)
    others = [specimen(parameters, k) for k in TEST_SEEDS]
    comparison = _compare(fit, held_out, others, start, found.look, seed)
    step(f"kept aside: AUC {comparison.auc['after']:.2f}, real against real {comparison.auc['real_fit']:.2f}")
    metrics = _metrics(request, stack, found, comparison, tried)
    provenance = _provenance(request, stack, parameters, found, metrics)
    profile = found.look.profile(output.stem, provenance)
    write_profile(profile, output)
    write_calibration_report(profile.name, comparison, metrics, folder)
    with replacing(folder / "metrics.json") as file:
        file.write_text(json.dumps(metrics, indent=1) + "\n", encoding="utf-8")
    return metrics


def write_profile(profile: Profile, path: Path) -> None:
    """A profile as YAML; it appears whole or not at all."""
    with replacing(path) as file:
        text = yaml.safe_dump(profile.model_dump(mode="json"), sort_keys=False, width=110)
        file.write_text(text, encoding="utf-8")


def slice_range(text: str | None, option: str) -> range | None:
    """`A:B` for slices A to B - 1. Raises ValueError for anything else."""
    if text is None:
        return None
    first, colon, last = text.partition(":")
    if not colon or not all(end.isascii() and end.isdigit() for end in (first, last)) or int(first) >= int(last):
        raise ValueError(f"{option} is {text!r}, but it has to be A:B, slices A to B - 1")
    return range(int(first), int(last))


def _ranges(stack: RealStack, request: Request) -> tuple[range, range]:
    """Numbers of the slices to fit to and of those kept aside; with a gap between them where the user names neither."""
    first, count = stack.numbers[0], stack.numbers[-1] + 1 - stack.numbers[0]
    fit = request.fit or range(first, first + round(FIT_SHARE * count))
    return fit, request.held_out or range(first + round((1.0 - HELD_OUT_SHARE) * count), first + count)


def _split(stack: RealStack, request: Request) -> tuple[list[Run], list[Run]]:
    """Runs to fit to and runs kept aside."""
    fit, aside = _ranges(stack, request)
    if set(fit) & set(aside):
        raise ValueError(
            f"slices {fit.start}:{fit.stop} to fit to and {aside.start}:{aside.stop} kept aside overlap; they must not"
        )
    for numbers in (fit, aside):
        runs = stack.runs(numbers)
        if sum(len(run.images) for run in runs) < 4 or not any(len(run.images) > 1 for run in runs):
            raise ValueError(
                f"{stack.source} has too few slices numbered {numbers.start}:{numbers.stop}; each of the two parts "
                "needs 4, some of them neighbours"
            )
    return stack.runs(fit), stack.runs(aside)


def _start(stack: RealStack, request: Request) -> Look:
    microscope = request.microscope
    if request.start is not None:
        found = named_appearance(request.start)
        profile = found.profile
        if not isinstance(profile.microscope, FibSem | SbfSem | SsTem):
            raise ValueError(f"{request.start} is of modality {profile.microscope.modality}, which is not calibrated")
        return Look(profile.microscope, found.materials, profile.plasma_membrane_nm, profile.annotator)
    instrument = named_microscope(microscope)
    if isinstance(instrument, SsTem):
        instrument = instrument.model_copy(update={"section_thickness_nm": stack.voxel_size_nm[0]})
    elif not isinstance(instrument, FibSem | SbfSem):
        raise ValueError(
            f"{microscope} is of modality {instrument.modality}, but calibrated are electron microscopes: "
            "fibsem, sbfsem and sstem"
        )
    return Look(instrument, load_materials(), PLASMA_MEMBRANE_NM, AnnotatorStyle())


def _tissue(stack: RealStack, preset: str, start: Look) -> tuple[TissueParameters, tuple[int, int, int], Triple]:
    """Parameters of tissue for the stack, and the shape and size of the voxels (z, y, x) it is imaged from."""
    _, *plane_nm = stack.voxel_size_nm
    height, width = (
        min(count, SIDE_PX, int(1000 * SIDE_UM / nm))
        for count, nm in zip(stack.images.shape[1:], plane_nm, strict=True)
    )
    if isinstance(start.microscope, SsTem):
        thickness = start.microscope.section_thickness_nm
        per_section = max(2, round(thickness / FINE_NM))
        depth, fine_nm = SECTIONS * per_section, thickness / per_section
    else:
        depth, fine_nm = SLICES, stack.voxel_size_nm[0]
    shape, size_nm = (depth, height, width), (fine_nm, plane_nm[0], plane_nm[1])
    z_um, y_um, x_um = (count * nm / 1000 for count, nm in zip(shape, size_nm, strict=True))
    if min(y_um, x_um) < 0.5 or min(height, width) < 64:
        raise ValueError(
            f"{stack.source} is {x_um:.2f} × {y_um:.2f} µm and {width} × {height} pixels; calibration needs slices of "
            "0.5 µm and 64 pixels at least"
        )
    # A thinner block has no room for neurites to run through.
    parameters = TissueParameters(preset=preset, size_um=(x_um + 0.05, y_um + 0.05, max(z_um + 0.05, 0.3)))
    return parameters, shape, size_nm


def _composed(
    fit: Sequence[Run],
    parameters: TissueParameters,
    start: Look,
    specimen: Callable[[TissueParameters, int], Specimen],
    seed: int,
    step: Step,
) -> tuple[Look, TissueParameters, list[CompositionStep]]:
    """The start with annotators' widths, and the tissue's parameters with an enrichment, that the labels ask for.

    Widths go by sizes, which hardly depend on how much there is, enrichment by shares drawn with these widths.
    """
    drawn, structures = drawn_bits(fit), load_structures()
    if not drawn:
        return start, parameters, []
    goal = measure_appearance(fit, REAL_SLICES)
    natural = [specimen(parameters, k) for k in FIT_SEEDS]
    look = fit_annotator(goal, natural, structures, start, drawn, seed, STYLE_ROUNDS)
    step("annotators' widths by CMA-ES")

    def labels(of: TissueParameters) -> list[Image]:
        runs = observe([specimen(of, k) for k in COMPOSITION_SEEDS], structures, look, drawn, seed)
        return [run.labels[::LABELS_EVERY] for run in runs if run.labels is not None]

    parameters, tried = fit_composition(goal, parameters, labels, step)
    return look, parameters, tried


def _compare(
    fit: Sequence[Run], held_out: Sequence[Run], others: Sequence[Specimen], start: Look, end: Look, seed: int
) -> Comparison:
    """What slices kept aside and tissue that fitted nothing say of start and end."""
    drawn, structures, key = drawn_bits(fit), load_structures(), seed + _TEST_KEY
    before, after = (observe(others, structures, look, drawn, key) for look in (start, end))
    sets = {"real": held_out, "real_fit": fit, "before": before, "after": after}
    numbers = {name: measure_appearance(runs, COMPARED) for name, runs in sets.items()}
    planes = {name: [run.images for run in runs] for name, runs in sets.items()}
    auc = {name: two_sample_auc(planes["real"], planes[name], seed) for name in ("before", "after", "real_fit")}
    return Comparison(numbers, auc, held_out, before, after)


def _metrics(
    request: Request,
    stack: RealStack,
    found: Calibration,
    comparison: Comparison,
    tried: Sequence[CompositionStep],
) -> dict[str, Any]:
    return {
        "real": request.real,
        "voxel_size_nm": list(stack.voxel_size_nm),
        "tolerances_off": [round(value, 3) for value in found.losses],
        "composition": [{"enrichment": one.enrichment, "shares": _rounded(one.shares)} for one in tried],
        "held_out": {name: _rounded(numbers) for name, numbers in comparison.numbers.items()},
        "auc": _rounded(comparison.auc),
    }


def _rounded(numbers: Mapping[str, float]) -> dict[str, float]:
    return {name: float(f"{value:.5g}") for name, value in numbers.items()}


def _provenance(
    request: Request, stack: RealStack, parameters: TissueParameters, found: Calibration, metrics: dict[str, Any]
) -> dict[str, Any]:
    """Where a profile comes from: data, slices, tissue, start, and how near it came to what it was fitted to."""
    fit, held_out = _ranges(stack, request)
    return {
        "real": Path(request.real).name,
        "voxel_size_nm": list(stack.voxel_size_nm),
        "slices_fitted_to": [n for n in stack.numbers if n in fit],
        "slices_kept_aside": [n for n in stack.numbers if n in held_out],
        "labels": stack.labels is not None,
        "tissue": parameters.model_dump(mode="json"),
        "tissue_seeds": list(FIT_SEEDS),
        "composition": metrics["composition"],
        "start": request.start or request.microscope,
        "fitted": {"real": _rounded(found.real), "simulated": _rounded(found.after)},
        "tolerances_off": metrics["tolerances_off"],
        "auc": metrics["auc"],
    }

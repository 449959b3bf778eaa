"""From a raw stack to its segmentation: calibrate to it, make tissue, train on that, segment the stack.

No label of the stack is used, if it has any.
"""

from __future__ import annotations

import json
import re
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from neuropil.simulate.sstem import SsTem
from neuropil.train.bundle import METADATA
from neuropil.train.curve import read_curve
from neuropil.train.inference import InferenceSettings
from neuropil.train.shipped import model_folder
from neuropil.train.training import RECORD as TRAINING_RECORD
from neuropil.voxelize.replacement import replacing
from neuropil.voxelize.volume import Triple, Volume
from neuropil.voxelize.volume_files import write_volume

from .block_job import block_folder, block_um3
from .calibrating import FINE_NM, ROUNDS, Request, calibrate_to_files
from .generation import generate
from .output_folder import claim_folder
from .progress import bar, block_bar, said_steps
from .real_stack import RealStack, read_real_stack
from .recipe import Recipe, named_appearance, named_profile
from .run_record import RunRecord, hash_of
from .segmenting import segment_file
from .torch_threads import use_fastest_threads
from .training_job import train_on_blocks

PROFILE, STACK, BLOCKS, MODEL = "profile.yaml", "stack.zarr", "blocks", "model"
SEGMENTATION, PLAN, METRICS, REPORT = "segmentation.zarr", "plan.json", "metrics.json", "report.html"
# Of what is left of the budget after calibrating: for blocks and for segmenting, which training leaves to them.
BLOCKS_SHARE, SEGMENTING_SHARE = 0.35, 0.15
# Below so many seconds in all, calibration makes one round instead of three.
SHORT_SECONDS = 900.0
# Patches are cut from blocks this much wider than they are, or as wide as the recipe's.
ROOM_PER_PATCH = 1.2
LEAST_TRAINING_SECONDS = 10.0
_BUDGET = re.compile(r"(\d+(?:\.\d+)?)\s*(s|min|h)")
_SECONDS = {"s": 1.0, "min": 60.0, "h": 3600.0}


@dataclass(frozen=True)
class RealRun:
    """What a user asks for.

    profile, model: a file and a bundle's folder (or a shipped name) that take the place of calibrating, and of tissue
    and training. tissue: preset of the virtual tissue.
    """

    stack: str
    voxel_size_nm: Triple | None
    microscope: str
    tissue: str
    budget_seconds: float
    profile: str | None = None
    model: str | None = None


@dataclass(frozen=True)
class Plan:
    """How many blocks are made and for how long is trained, fitted to the machine once and kept for later starts."""

    blocks: int
    seconds_per_block: float
    training_seconds: float


def seconds_of(budget: str) -> float:
    """Seconds of `90s`, `30min` or `2h`. Raises ValueError for anything else."""
    match = _BUDGET.fullmatch(budget.strip())
    if match is None or float(match[1]) <= 0:
        raise ValueError(f"--budget is {budget!r}, but it has to be a time such as 90s, 30min or 2h")
    return float(match[1]) * _SECONDS[match[2]]


def voxel_size_of(text: str) -> Triple:
    """z, y, x in nm of `10,10,10`. Raises ValueError for anything else."""
    parts = text.split(",")
    try:
        sizes = [float(part) for part in parts]
    except ValueError:
        sizes = []
    if len(sizes) != 3 or not all(1 <= size <= 5000 for size in sizes):
        raise ValueError(f"--voxel-size is {text!r}, but it has to be z,y,x in nm, 1 to 5000 each, such as 10,10,10")
    return sizes[0], sizes[1], sizes[2]


def run_on_stack(asked: RealRun, recipe: Recipe, folder: Path, workers: int) -> Path:
    """Segment a real stack by what virtual tissue teaches; returns the path of the report.

    In `folder`: profile.yaml, blocks, model, segmentation.zarr, metrics.json, report.html. Stages that are finished
    are not done again. Raises ValueError in one sentence for a stack, profile or model that does not serve, OSError
    where `folder` cannot be written.
    """
    stack = read_real_stack(asked.stack, None, asked.voxel_size_nm)
    claim_folder(folder)
    record = RunRecord(folder)
    begun = time.monotonic()
    source = _segmented_source(asked, stack, folder)
    profile = None
    if asked.model is None:
        profile = _profile(asked, record, recipe.seed, folder)
        chosen = recipe_for(stack, profile, asked.tissue, recipe)
        plan, chosen = _blocks(asked, chosen, record, folder, workers, begun)
        blocks = [block_folder(folder / BLOCKS, index) for index in range(plan.blocks)]
        inputs = hash_of(chosen.model_dump(mode="json"))
        record.stage("training", inputs, lambda: train_on_blocks(chosen, blocks, folder / MODEL), folder / MODEL)
    model = str(folder / MODEL) if asked.model is None else asked.model
    weights = json.loads((model_folder(model) / METADATA).read_text(encoding="utf-8"))["neuropil"]["weights_sha256"]
    record.stage(
        "segmentation",
        hash_of(weights, source, stack.voxel_size_nm),
        lambda: _segment(model, source, folder / SEGMENTATION, stack.voxel_size_nm),
        folder / SEGMENTATION,
    )
    metrics = _metrics(asked, stack, record, folder)
    from .real_report import real_report_html

    with replacing(folder / METRICS) as file:
        file.write_text(json.dumps(metrics, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    with replacing(folder / REPORT) as file:
        block = None if asked.model else block_folder(folder / BLOCKS, 0)
        page = real_report_html(metrics, stack, folder / SEGMENTATION, block, None if asked.model else folder / MODEL)
        file.write_text(page, encoding="utf-8")
    return folder / REPORT


def recipe_for(stack: RealStack, profile: Path, preset: str, recipe: Recipe) -> Recipe:
    """The recipe for tissue of a preset, imaged with a profile on the stack's voxels, its blocks as wide as patches.

    Of another preset than the recipe's only size and enrichment of the recipe's tissue are kept.
    """
    z_nm, y_nm, x_nm = stack.voxel_size_nm
    across_um = max(recipe.tissue.size_um[0], ROOM_PER_PATCH * recipe.patches.patch_px * max(y_nm, x_nm) / 1000)
    deep_nm = (recipe.patches.depth_px or 1) * z_nm
    size_um = [across_um, across_um, max(recipe.tissue.size_um[2], ROOM_PER_PATCH * deep_nm / 1000)]
    tissue: dict[str, Any] = {"preset": preset, "enrichment": recipe.tissue.enrichment.model_dump()}
    if preset == recipe.tissue.preset:
        tissue = recipe.tissue.model_dump(mode="json")
    if isinstance(named_appearance(str(profile)).profile.microscope, SsTem):
        z_nm /= max(2, round(z_nm / FINE_NM))
    changed = {
        "name": Path(stack.source).name,
        "neurons": [],
        "profile": str(profile),
        "voxel_size_nm": [z_nm, y_nm, x_nm],
        "tissue": tissue | {"size_um": size_um},
    }
    kept = recipe.model_dump(mode="json", exclude={"circuit"})
    return Recipe.model_validate(kept | changed)


def _segmented_source(asked: RealRun, stack: RealStack, folder: Path) -> str:
    """The stack as it is segmented: in 8 bits, stretched as the calibration sees it."""
    target = folder / STACK
    mark = folder / f"{STACK}.json"
    content = json.dumps([asked.stack, list(stack.images.shape), list(stack.voxel_size_nm)])
    if not (target.is_dir() and mark.is_file() and mark.read_text() == content):
        shutil.rmtree(target, ignore_errors=True)
        write_volume(Volume(stack.images, stack.voxel_size_nm), str(target))
        with replacing(mark) as file:
            file.write_text(content)
    return str(target)


def _profile(asked: RealRun, record: RunRecord, seed: int, folder: Path) -> Path:
    """The profile given, or the one that is calibrated to the stack."""
    if asked.profile is not None:
        named_profile(asked.profile)
        return Path(asked.profile)
    path = folder / PROFILE
    request = Request(asked.stack, None, asked.microscope, asked.tissue, asked.voxel_size_nm, None, None)
    rounds = 1 if asked.budget_seconds < SHORT_SECONDS else ROUNDS

    def calibrate() -> None:
        use_fastest_threads()
        calibrate_to_files(request, path, claim_folder(folder / "calibration"), seed, said_steps(), rounds)

    inputs = [asked.stack, asked.microscope, asked.tissue, asked.voxel_size_nm, seed, rounds]
    record.stage("calibration", hash_of(inputs), calibrate)
    return path


def _blocks(
    asked: RealRun, recipe: Recipe, record: RunRecord, folder: Path, workers: int, begun: float
) -> tuple[Plan, Recipe]:
    """As many blocks as there is time for; the plan, and the recipe with the training that is left time for."""
    path = folder / PLAN
    inputs = hash_of(recipe.model_dump(mode="json"), asked.budget_seconds)

    def make(indices: range) -> None:
        with block_bar(len(indices), block_um3(recipe)) as report:
            for made in generate(recipe, recipe.name, recipe.seed, indices, folder / BLOCKS, workers):
                report(made.found, made.failure is not None)
                if made.failure is not None:
                    raise ValueError(f"block {made.index} could not be made: {made.failure}")

    def plan_and_make() -> None:
        left = max(asked.budget_seconds - (time.monotonic() - begun), 0.0)
        first = time.monotonic()
        make(range(workers))
        each = (time.monotonic() - first) / workers
        count = max(workers, int(BLOCKS_SHARE * left / each))
        make(range(workers, count))
        left = asked.budget_seconds - (time.monotonic() - begun)
        training = max((1 - SEGMENTING_SHARE) * left, LEAST_TRAINING_SECONDS)
        with replacing(path) as file:
            file.write_text(json.dumps([count, round(each, 2), round(training, 1)]), encoding="utf-8")

    record.stage("blocks", inputs, plan_and_make)
    plan = Plan(*json.loads(path.read_text(encoding="utf-8")))
    length = {"steps": None, "budget_seconds": plan.training_seconds}
    training = recipe.training.model_validate(recipe.training.model_dump() | length)
    return plan, recipe.model_copy(update={"blocks": plan.blocks, "training": training})


def _segment(model: str, source: str, output: Path, voxel_size_nm: Triple) -> None:
    with bar("segmenting") as report:
        segment_file(model, source, str(output), voxel_size_nm, InferenceSettings(), report)


def _metrics(asked: RealRun, stack: RealStack, record: RunRecord, folder: Path) -> dict[str, Any]:
    stages = {name: {"seconds": s.seconds, "peak_memory_mb": s.peak_memory_mb} for name, s in record.stages.items()}
    found: dict[str, Any] = {
        "stack": asked.stack,
        "shape": list(stack.images.shape),
        "voxel_size_nm": list(stack.voxel_size_nm),
        "microscope": asked.microscope,
        "tissue": asked.tissue,
        "budget_seconds": asked.budget_seconds,
        "profile": asked.profile or PROFILE,
        "model": asked.model or MODEL,
        "stages": stages,
    }
    if asked.model is not None:
        return found
    plan = Plan(*json.loads((folder / PLAN).read_text(encoding="utf-8")))
    steps = json.loads((folder / MODEL / TRAINING_RECORD).read_text(encoding="utf-8"))["steps"]
    return found | {"blocks": plan.blocks, "training_steps": steps, "more_time": more_time(folder / MODEL, plan, steps)}


def more_time(model: Path, plan: Plan, steps: int) -> str:
    """One sentence or two: what twice the time would buy, and whether the training was still getting better."""
    text = (
        f"Twice the time for tissue and training would make {2 * plan.blocks} blocks in place of {plan.blocks} "
        f"({plan.seconds_per_block:.0f} s each) and {2 * steps} steps in place of {steps}."
    )
    known = [row["dice_mean"] for row in read_curve(model) if "dice_mean" in row]
    if len(known) < 2:
        return text
    gained = known[-1] - known[-2]
    verdict = "so more time would help" if gained > 0.01 else "so more tissue would help more than more steps"
    return (
        f"{text} The last {steps // max(len(known), 1)} steps changed the mean Dice on virtual slices kept aside by "
        f"{gained:+.3f} to {known[-1]:.3f}, {verdict}."
    )

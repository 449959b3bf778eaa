"""The command `neuropil`. Libraries that take seconds to import are imported by the commands that need them."""

from __future__ import annotations

import json
import os
import sys
import warnings
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from .user_error import USER_ERRORS, sentence

if TYPE_CHECKING:
    from .recipe import Recipe

# Blocks whose means stand in the report of a data set.
REPORTED_BLOCKS = 100

app = typer.Typer(
    help="Virtual brain tissue, its micrographs with exact labels, and networks trained on nothing else.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)

CORES = len(os.sched_getaffinity(0))

VoxelSize = Optional[tuple[float, float, float]]  # noqa: UP045 - typer reads annotations at run time
RecipeOption = Annotated[str, typer.Option("--recipe", "-r", help="Name of a shipped recipe, or path of a YAML file.")]
SeedOption = Annotated[int | None, typer.Option(help="In place of the recipe's.", min=0)]
WorkersOption = Annotated[int, typer.Option(help="Processes that make blocks.", min=1)]
VoxelSizeOption = Annotated[
    VoxelSize, typer.Option("--voxel-size-nm", help="z y x, for a volume that does not state it.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")]


def main() -> None:
    """Entry point: a user's mistake is one sentence on standard error and exit code 2."""
    # A block's meshes, tables and pictures lie beside its arrays, which zarr remarks on.
    warnings.filterwarnings("ignore", message="Object at .* is not recognized as a component of a Zarr hierarchy")
    try:
        app()
    except USER_ERRORS as error:
        print(f"neuropil: {sentence(error)}", file=sys.stderr)
        sys.exit(2)


def _recipe(name: str, seed: int | None) -> Recipe:
    from .recipe import load_recipe

    recipe = load_recipe(name)
    return recipe if seed is None else recipe.model_copy(update={"seed": seed})


@app.command()
def run(
    recipe: RecipeOption = "default",
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder of the run.")] = Path("out/run"),
    seed: SeedOption = None,
    workers: WorkersOption = CORES,
    real: Annotated[str | None, typer.Option(help="A real stack to segment, without any label of it.")] = None,
    voxel_size: Annotated[str | None, typer.Option(help="Of the stack: z,y,x in nm, where it does not say.")] = None,
    microscope: Annotated[str, typer.Option(help="That took the stack: fibsem, sbfsem, sstem or a file.")] = "fibsem",
    tissue: Annotated[str, typer.Option(help="Preset of the virtual tissue for the stack.")] = "rodent_ca1",
    budget: Annotated[str, typer.Option(help="Time for the stack, such as 90s, 30min, 2h.")] = "30min",
    profile: Annotated[str | None, typer.Option(help="In place of calibrating to the stack.")] = None,
    model: Annotated[str | None, typer.Option(help="In place of tissue and training for the stack.")] = None,
) -> None:
    """The whole way: tissue, micrographs, a network trained on them, real slices segmented and scored.

    With --real the stack is what counts: calibrated to, tissue made for it, trained, the stack segmented.
    """
    from .run import METRICS, run

    chosen = _recipe(recipe, seed)
    for option, value in (("--voxel-size", voxel_size), ("--profile", profile), ("--model", model)):
        if real is None and value is not None:
            raise ValueError(f"{option} is of a real stack; name it with --real")
    if real is None:
        report = run(chosen, recipe, output, workers)
    else:
        from .real_run import RealRun, run_on_stack, seconds_of, voxel_size_of

        size = None if voxel_size is None else voxel_size_of(voxel_size)
        asked = RealRun(real, size, microscope, tissue, seconds_of(budget), profile, model)
        report = run_on_stack(asked, chosen, output, workers)
    print(f"report:  {report}\nmetrics: {output / METRICS}")


@app.command()
def build(
    recipe: Annotated[Path, typer.Argument(help="YAML file that lists neurons: classes and SWC files.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder of the neurons.")],
    as_json: JsonOption = False,
) -> None:
    """Neurons grown from classes or read from SWC, swept by Blender: .swc, .ply, .glb, .blend, certificate."""
    from .neurons import require_blender

    require_blender()
    from neuropil.blender_addon.neuron_recipe import build_neurons

    certificates = {}
    for built in build_neurons(recipe, output):
        certificates[built.name] = built.certificate.as_dict()
        if not as_json:
            found = "; ".join(built.certificate.failures) or "certificate holds"
            print(f"{output / built.name}: {found}")
    if as_json:
        print(json.dumps(certificates))


@app.command()
def generate(
    recipe: Annotated[str, typer.Argument(help="Name of a shipped recipe, or path of a YAML file.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder of the blocks.")],
    blocks: Annotated[
        str | None, typer.Option(help="A:B for blocks A to B - 1, or a number of blocks; else as many as the recipe.")
    ] = None,
    seed: SeedOption = None,
    workers: WorkersOption = CORES,
    scheduler: Annotated[
        str | None, typer.Option(help="tcp://host:port of a dask scheduler, whose workers make the blocks instead.")
    ] = None,
) -> None:
    """Blocks of tissue with micrograph and labels; finished blocks are left as they are.

    Exit code 1 where a block could not be made; the others are there then.
    """
    from .block_job import block_folder, block_um3, read_manifest
    from .circuit_realism import summary
    from .generation import block_range, generate
    from .output_folder import claim_folder
    from .progress import block_bar, say

    indices = None if blocks is None else block_range(blocks)
    chosen = _recipe(recipe, seed)
    if indices is None:
        indices = range(chosen.blocks)
    claim_folder(output)
    failed, made = set(), 0
    with block_bar(len(indices), block_um3(chosen)) as report:
        for block in generate(chosen, recipe, chosen.seed, indices, output, workers, scheduler):
            report(block.found, block.failure is not None)
            made += not block.found
            if block.failure is not None:
                failed.add(block.index)
                say(f"Block {block.index} failed: {block.failure} Try it alone with: {block.command}")
    for index in indices:
        if index not in failed:
            print(block_folder(output, index))
            if chosen.circuit is not None:
                say(summary(read_manifest(block_folder(output, index))))
    there = list(islice((block_folder(output, k) for k in indices if k not in failed), REPORTED_BLOCKS))
    if made and there and chosen.circuit is None:
        from .block_report import write_block_report

        print(write_block_report(chosen, chosen.seed, there, output))
    if failed:
        raise typer.Exit(1)


@app.command()
def image(
    block: Annotated[Path, typer.Argument(help="Folder of a block.")],
    output: Annotated[str, typer.Option("--output", "-o", help="Volume; the suffix picks the format.")],
    microscope: Annotated[
        str | None, typer.Option(help="Name of a shipped microscope, or path of a YAML file; else the profile's.")
    ] = None,
    profile: Annotated[str, typer.Option(help="Name of a shipped profile, or path of a YAML file.")] = "epfl_ca1",
    labels: Annotated[str | None, typer.Option(help="Volume for the cells' ids on the image's voxels.")] = None,
    seed: Annotated[int, typer.Option(help="Of noise, drift and artefacts.", min=0)] = 0,
) -> None:
    """A block through a microscope, with a profile's stains; all that was sampled lies beside it as JSON."""
    from .imaging_job import image_to_file

    parameters = image_to_file(block, profile, microscope, seed, output, labels)
    print(f"{output}\n{parameters}")


@app.command()
def calibrate(
    real: Annotated[str, typer.Argument(help="A volume, a folder with images/ and labels/, or a known data set.")],
    microscope: Annotated[str, typer.Option(help="Where to start: a shipped microscope, or the path of a YAML file.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The profile, NAME.yaml.")],
    labels: Annotated[str | None, typer.Option(help="What was drawn: bits of the six classes, or a mask.")] = None,
    tissue: Annotated[str, typer.Option(help="Preset of the virtual tissue to compare with.")] = "rodent_ca1",
    voxel_size: VoxelSizeOption = None,
    fit: Annotated[str | None, typer.Option(help="A:B, slices to fit to; else the first 60 %.")] = None,
    held_out: Annotated[str | None, typer.Option(help="A:B, slices kept aside; else the last 30 %.")] = None,
    start: Annotated[
        str | None, typer.Option(help="A profile to go on from, with the preset's tissue as it is.")
    ] = None,
    report: Annotated[Path | None, typer.Option(help="Folder of report and blocks; else NAME beside it.")] = None,
    seed: Annotated[int, typer.Option(help="Of noise and searches.", min=0)] = 0,
    as_json: JsonOption = False,
) -> None:
    """A profile fitted to real slices: microscope, stains, annotators' hand; and what slices kept aside say of it."""
    from .calibrating import Request, calibrate_to_files, slice_range
    from .calibration_report import REPORT
    from .output_folder import claim_folder
    from .progress import said_steps
    from .torch_threads import use_fastest_threads

    if output.suffix not in (".yaml", ".yml"):
        raise ValueError(f"--output is {output}, but a profile is a .yaml file")
    ranges = slice_range(fit, "--fit"), slice_range(held_out, "--held-out")
    request = Request(real, labels, microscope, tissue, voxel_size, *ranges, start)
    folder = claim_folder(report or output.with_suffix(""))
    use_fastest_threads()
    metrics = calibrate_to_files(request, output, folder, seed, said_steps())
    print(json.dumps(metrics) if as_json else f"profile: {output}\nreport:  {folder / REPORT}")


@app.command()
def fit(
    output: Annotated[Path, typer.Option("--output", "-o", help="The class, NAME.yaml; its report lies beside it.")],
    swc: Annotated[Path | None, typer.Option(help="Folder of SWC files: a class of whole cells.")] = None,
    unit_um: Annotated[float, typer.Option(help="Length of the SWC files' unit in µm.", min=1e-6)] = 1.0,
    held_out: Annotated[float, typer.Option(help="Share held out in each split of the validation.")] = 0.5,
    splits: Annotated[int, typer.Option(help="Random splits of the validation.", min=1)] = 4,
    segmentation: Annotated[str | None, typer.Option(help="Volume of object ids: a class of neurites.")] = None,
    voxel_size_nm: VoxelSizeOption = None,
    objects: Annotated[int, typer.Option(help="Of a segmentation: how many objects are measured.", min=1)] = 120,
    shapes: Annotated[
        Path | None, typer.Option(help="Of a segmentation: folder for each object's skeleton and surface.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of splits, grown cells and sampled objects.", min=0)] = 0,
    as_json: JsonOption = False,
) -> None:
    """A class fitted to real cells or to a segmented volume, and how near what grows from it comes to held-out ones."""
    from .fitting import class_name, fit_cells, read_cells, write_fit
    from .progress import bar

    name = class_name(output)
    if (swc is None) == (segmentation is None):
        raise ValueError("fit needs one of --swc FOLDER and --segmentation VOLUME, and not both")
    if not 0 < held_out < 1:
        raise ValueError(f"--held-out is {held_out:g}, but allowed are numbers between 0 and 1")
    with bar("fitting") as report:
        if swc is not None:
            cells = read_cells(swc, unit_um)
            try:
                found = fit_cells(name, cells, swc.resolve().name, held_out, splits, seed, report)
            except ValueError as error:
                raise ValueError(f"{swc}: {error}") from None
        else:
            from .segmentation_fitting import fit_segmentation

            assert segmentation is not None
            found = fit_segmentation(name, segmentation, voxel_size_nm, objects, shapes, held_out, splits, seed, report)
    page = write_fit(found, output)
    print(json.dumps(found.figures) if as_json else f"class:  {output}\nreport: {page}\n{found.summary}")


@app.command()
def train(
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder of the model, a MONAI bundle.")],
    blocks: Annotated[
        Optional[list[Path]],  # noqa: UP045 - typer reads annotations at run time
        typer.Argument(help="Folders of blocks, or of data sets of blocks."),
    ] = None,
    recipe: RecipeOption = "default",
    fresh: Annotated[bool, typer.Option("--fresh", help="Make new blocks of the recipe while training.")] = False,
    workers: Annotated[int, typer.Option(help="Processes that make fresh blocks.", min=1)] = 1,
    mix: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option(help="Labelled volumes beside the blocks: volume:IMAGE,LABELS[,MEANING], bits:DIR[:FIRST-LAST] …"),
    ] = None,
    share: Annotated[float, typer.Option(help="Of the patches that come from --mix.")] = 0.5,
    seconds: Annotated[float | None, typer.Option(help="Time for training.", min=1)] = None,
    steps: Annotated[int | None, typer.Option(help="Steps, in place of a time.", min=1)] = None,
) -> None:
    """A network trained on blocks, on real labelled volumes, or both, with the network and the settings of a recipe.

    The same command goes on where it was killed. Under torchrun, all its processes train one network.
    """
    from neuropil.train.endless import Freshness
    from neuropil.train.labelled_volume import Source

    from .recipe import with_length
    from .training_job import blocks_below, train_on_blocks, train_on_fresh_blocks

    if not 0 < share < 1:
        raise ValueError(f"--share is {share:g}, but allowed are numbers between 0 and 1")
    if fresh and blocks:
        raise ValueError("train takes either blocks that are there or --fresh, not both")
    chosen = with_length(_recipe(recipe, None), steps, seconds)
    others = [Source.parse(text) for text in mix or []]
    if fresh:
        train_on_fresh_blocks(chosen, Freshness(workers=workers), output, others, share)
    else:
        train_on_blocks(chosen, blocks_below(blocks or []), output, others, share)
    print(output)


@app.command()
def segment(
    model: Annotated[str, typer.Argument(help="Name of a shipped model, or folder of one's own.")],
    volume: Annotated[str, typer.Argument(help="PNG folder, TIFF, NIfTI, file.h5:dataset or Zarr.")],
    output: Annotated[str, typer.Option("--output", "-o", help="Volume; the suffix picks the format.")],
    voxel_size_nm: VoxelSizeOption = None,
    flips: Annotated[bool, typer.Option(help="Average over mirror images: 4 times the work in 2D, 8 in 3D.")] = False,
) -> None:
    """What a network finds in a volume of any size: masks of classes (c, z, y, x), or ids of cells (z, y, x).

    The same command goes on where it was killed.
    """
    from neuropil.train.inference import InferenceSettings

    from .progress import bar
    from .segmenting import segment_file

    with bar("segmenting") as report:
        segment_file(model, volume, output, voxel_size_nm, InferenceSettings(flips=flips), report)
    print(output)


@app.command()
def evaluate(
    predicted: Annotated[str, typer.Argument(help="What was found: a volume.")],
    truth: Annotated[str, typer.Argument(help="What is true: a volume of the same shape, or a folder of SWC files.")],
    objects: Annotated[bool, typer.Option(help="The volumes hold ids of objects, even where they are uint8.")] = False,
    border_nm: Annotated[
        float, typer.Option(help="Of objects: leave out so much along borders (CREMI: 25).", min=0)
    ] = 0,
    as_json: JsonOption = False,
) -> None:
    """Scores of a segmentation: Dice and IoU of classes, errors of objects split and merged, or run lengths."""
    from .evaluation import evaluate_files, table_of

    scores = evaluate_files(predicted, truth, objects, border_nm)
    print(json.dumps(scores) if as_json else table_of(scores))


@app.command()
def view(
    source: Annotated[str, typer.Argument(help="A block, a volume or an SWC file.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The picture, a .png file.")] = Path("view.png"),
    voxel_size_nm: VoxelSizeOption = None,
) -> None:
    """A picture: three sections with their labels and the cells in 3D, or a neuron's surface."""
    from .view import write_view

    write_view(source, output, voxel_size_nm)
    print(output)


@app.command()
def export(
    source: Annotated[str, typer.Argument(help="A block, a volume, or a model (a name or a folder).")],
    output: Annotated[
        str, typer.Argument(help="PNG folder, .tif, .nii.gz, file.h5:dataset or .zarr; .onnx of a model.")
    ],
    array: Annotated[str, typer.Option(help="Of a block: image, or the name of one of its labels.")] = "image",
    voxel_size_nm: VoxelSizeOption = None,
) -> None:
    """One volume, or one array of a block, in another format; or a model as an .onnx file."""
    if output.endswith(".onnx"):
        from neuropil.train.bundle import read_bundle
        from neuropil.train.onnx_export import export_onnx
        from neuropil.train.shipped import model_folder

        print(export_onnx(read_bundle(model_folder(source)), Path(output)))
        return
    from neuropil.voxelize.volume_files import open_volume, write_volume

    from .block_job import array_in_block

    write_volume(open_volume(array_in_block(source, array), voxel_size_nm), output)
    print(output)


if __name__ == "__main__":
    main()

"""A block on disk through a microscope: the image, what was sampled for it, and labels on its voxels."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import ValidationError

from neuropil.morphology.typed_yaml import validation_sentence
from neuropil.simulate.fibsem import Micrograph
from neuropil.simulate.fluorescence import LightMicroscope, image_filled_cells
from neuropil.simulate.imaging import Microscope, image_block, labels_on_image, load_microscope
from neuropil.simulate.microscope import BlockFaceSem
from neuropil.simulate.sstem import SsTem
from neuropil.simulate.swc2img import Swc2Img, image_swc2img
from neuropil.tissue.circuit import VESSEL_KIND
from neuropil.voxelize.block_files import BlockFiles, read_block
from neuropil.voxelize.replacement import replacing
from neuropil.voxelize.volume import Volume
from neuropil.voxelize.volume_files import HDF5_NAME, write_volume

from .block_job import recorded_stain_scale
from .recipe import Appearance, named_appearance


def named_microscope(name_or_path: str) -> Microscope:
    """A shipped microscope by name, or one's own by path. Raises FileNotFoundError or ValueError in one sentence."""
    try:
        return load_microscope(name_or_path)
    except ValidationError as error:
        raise ValueError(f"{name_or_path}: {validation_sentence(error, Microscope)}") from error


def image_to_file(
    block: Path, profile: str, microscope: str | None, seed: int, output: str, labels: str | None
) -> Path:
    """Image a block and write the volume `output` and the parameters beside it; returns the latter's path.

    microscope: name or path of one to take in place of the profile's, whose stains hold in any case. labels: volume
    to which the cell ids are written, on the image's voxels. Raises ValueError where the block does not suit.
    """
    # Apart from the numbers of the image, so that one profile gives the same image as it always did.
    look = named_appearance(profile, np.random.default_rng([seed, 1]))
    instrument = look.profile.microscope if microscope is None else named_microscope(microscope)
    tissue = read_block(block)
    with tempfile.TemporaryDirectory() as scratch:
        out = None
        if isinstance(instrument, BlockFaceSem):
            # As large as the block: a file takes it slice by slice, so that memory does not.
            out = np.lib.format.open_memmap(Path(scratch) / "image.npy", "w+", np.uint8, tissue.shape_zyx)
        micrograph = micrograph_of(tissue, look, instrument, seed, out)
        write_volume(micrograph.image, output)
    if labels is not None:
        write_volume(labels_on_image(_on_disk(tissue, "instances"), micrograph, instrument), labels)
    manifest = parameters_file(output)
    with replacing(manifest) as file:
        text = json.dumps({"block": str(block), "profile": profile, "seed": seed} | micrograph.parameters, indent=1)
        file.write_text(text + "\n", encoding="utf-8")
    return manifest


def parameters_file(output: str) -> Path:
    """Where the parameters of the image `output` lie: its name, or its HDF5 file's, with .json after it."""
    hdf5 = HDF5_NAME.match(output)
    return Path(f"{hdf5['file'] if hdf5 else output.rstrip('/')}.json")


def _on_disk(tissue: BlockFiles, name: str) -> Volume:
    """A block's label as it lies on disk, to be read some slices at a time."""
    array: Any = tissue.labels[name]
    return Volume(array, tissue.voxel_size_nm, tissue.origin_nm)


def micrograph_of(
    tissue: BlockFiles, look: Appearance, microscope: Microscope, seed: int, out: npt.NDArray[np.uint8] | None = None
) -> Micrograph:
    """A block of tissue, or the cells of a circuit, through a microscope; out: as `image_block` takes it.

    Raises ValueError where the block does not suit.
    """
    if isinstance(microscope, LightMicroscope | Swc2Img) and "volume_fraction" in tissue.labels:
        return _circuit_imaged(tissue, look, microscope, seed)
    lacking = [name for name in ("materials", "membrane", "instances") if name not in tissue.labels]
    if lacking:
        raise ValueError(
            f"{tissue.path} holds no {lacking[0]}, which a microscope of modality {microscope.modality} images; "
            "neuropil generate writes them for blocks of tissue"
        )
    if "sections" in tissue.manifest.get("microscope", {}):
        raise ValueError(f"{tissue.path} holds sections, not the tissue between them, and cannot be imaged again")
    streamed = isinstance(microscope, BlockFaceSem | SsTem)
    materials, membrane, instances = (
        _on_disk(tissue, name) if streamed else tissue.volume(name) for name in ("materials", "membrane", "instances")
    )
    return image_block(
        materials,
        membrane,
        instances,
        look.materials,
        microscope,
        np.random.default_rng(seed),
        recorded_stain_scale(tissue.manifest),
        out,
    )


def _circuit_imaged(
    tissue: BlockFiles, look: Appearance, microscope: LightMicroscope | Swc2Img, seed: int
) -> Micrograph:
    """Cells of a circuit filled with what dendroplasm holds of fluorophore; its vessels hold none."""
    vessels = frozenset(int(cell["id"]) for cell in tissue.manifest["cells"] if cell["kind"] == VESSEL_KIND)
    instances, filled, rng = tissue.volume("instances"), tissue.volume("volume_fraction"), np.random.default_rng(seed)
    if isinstance(microscope, Swc2Img):
        of_neurons = np.where(np.isin(instances.data, list(vessels)), 0, filled.data)
        return image_swc2img(filled.with_data(of_neurons), microscope, rng)
    umol_per_l = look.materials["dendroplasm"].fluorophore_umol_per_l
    return image_filled_cells(instances, filled, umol_per_l, vessels, microscope, rng)

"""Real micrographs with drawn labels: found on disk, else fetched from where they were published."""

from __future__ import annotations

import csv
import hashlib
import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pooch
import requests
from numpy.typing import NDArray
from PIL import Image

from neuropil.train.classes import CLASS_NAMES, bits_from_masks
from neuropil.voxelize.replacement import replacing

# EPFL CVLab's FIB-SEM of mouse CA1 with the six classes drawn by GraphLabEMproj (MIT licence).
EPFL_URL = (
    "https://raw.githubusercontent.com/GraphLabEMproj/unet/8ff48f4ab4c0487d29710e35faa27eb80e6a4f22/data/epfl_train/"
)
_MASK_FOLDERS = {
    "mitochondrion": "mitochondrion",
    "mitochondrial_boundary": "mitochondrial boundaries",
    "membrane": "membranes",
    "psd": "PSD",
    "vesicle": "vesicles",
    "myelin_sheath": "axon",
}
_TIMEOUT_S = 20


@dataclass(frozen=True)
class RealImages:
    """A folder with images/NAME.png and labels/NAME.png (a bit field), and the slices of it to look at."""

    folder: Path
    names: tuple[str, ...]

    def image(self, name: str) -> NDArray[np.uint8]:
        """Grey levels (y, x)."""
        return _picture(self.folder / "images" / f"{name}.png")

    def bits(self, name: str) -> NDArray[np.uint8]:
        """Drawn classes (y, x), bit k for class k of `CLASS_NAMES`."""
        return _picture(self.folder / "labels" / f"{name}.png")


def data_folders() -> list[Path]:
    """Where real data may lie: NEUROPIL_DATA alone if it is set, else ../shared/data beside the project."""
    named = os.environ.get("NEUROPIL_DATA")
    if named:
        return [Path(named)]
    project = Path(str(resources.files("neuropil.assets"))).parent
    return [project.parent / "shared" / "data"]


def find_real_images(dataset: str, first_slice: str, say: Callable[[str], None]) -> RealImages | None:
    """Slices of a data set from `first_slice` on (by name), or None where there are none and none can be had.

    Looks into `data_folders()`, then into the cache of earlier downloads, then downloads; `say` is given one
    sentence where that fails.
    """
    cache = Path(pooch.os_cache("neuropil"))
    for folder in (*(d / dataset for d in data_folders()), cache / dataset):
        names = _names(folder, first_slice)
        if names:
            return RealImages(folder, names)
    try:
        download(dataset, cache / dataset, EPFL_URL)
    except (OSError, ValueError) as error:  # requests' errors are OSErrors
        looked = ", ".join(str(d / dataset) for d in data_folders())
        reason = "the network did not answer" if isinstance(error, requests.RequestException) else str(error)
        say(f"No real images: there are none in {looked}, and they could not be downloaded ({reason}).")
        return None
    return RealImages(cache / dataset, _names(cache / dataset, first_slice))


def download(dataset: str, folder: Path, base_url: str) -> None:
    """Fetch the slices listed in assets/real/DATASET.csv from `base_url` and write them to `folder`.

    The list holds SHA-256 sums of decoded pixels, not of files, so that it holds for any encoding of them.
    Raises ValueError for an unknown data set or pixels that differ, requests.RequestException offline.
    """
    listing = resources.files("neuropil.assets") / "real" / f"{dataset}.csv"
    if not listing.is_file():
        raise ValueError(f"no download is known for the data set {dataset!r}")
    fetch = pooch.HTTPDownloader(progressbar=False, timeout=_TIMEOUT_S)
    pooch.get_logger().setLevel("WARNING")
    with replacing(folder) as unfinished, tempfile.TemporaryDirectory() as sources:
        (unfinished / "images").mkdir(parents=True)
        (unfinished / "labels").mkdir()
        for row in csv.DictReader(listing.read_text(encoding="utf-8").splitlines()):

            def channel(group: str, file: str = row["file"]) -> NDArray[np.uint8]:
                path = pooch.retrieve(
                    base_url + quote(f"{group}/{file}"),
                    known_hash=None,  # of the file; its pixels are checked below
                    fname=f"{group}-{file}",
                    path=sources,
                    downloader=fetch,
                )
                return _first_channel(Path(path))

            image = channel("slices")
            bits = bits_from_masks(np.stack([channel(_MASK_FOLDERS[name]) >= 128 for name in CLASS_NAMES]))
            for kind, array in (("image_pixels", image), ("label_bits", bits)):
                if hashlib.sha256(array.tobytes()).hexdigest() != row[f"{kind}_sha256"]:
                    raise ValueError(f"{row['file']} of {base_url} is not the file it was: its {kind} differ")
            Image.fromarray(image).save(unfinished / "images" / f"{row['slice']}.png")
            Image.fromarray(bits).save(unfinished / "labels" / f"{row['slice']}.png")


def _names(folder: Path, first_slice: str) -> tuple[str, ...]:
    images = sorted(file.stem for file in (folder / "images").glob("*.png"))
    return tuple(n for n in images if n >= first_slice and (folder / "labels" / f"{n}.png").is_file())


def _picture(path: Path) -> NDArray[np.uint8]:
    try:
        with Image.open(path) as picture:
            return np.array(picture.convert("L") if picture.mode != "P" else picture, dtype=np.uint8)
    except OSError as error:
        raise ValueError(f"{path} cannot be read as a picture") from error


def _first_channel(path: Path) -> NDArray[np.uint8]:
    with Image.open(path) as picture:
        array = np.array(picture)
    return np.ascontiguousarray(array if array.ndim == 2 else array[..., 0]).astype(np.uint8)

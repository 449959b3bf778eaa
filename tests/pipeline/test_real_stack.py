"""Real stacks: what is read, and what is told of those that cannot be calibrated by."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from neuropil.pipeline.calibrating import slice_range
from neuropil.pipeline.real_stack import read_real_stack
from neuropil.voxelize.volume import Volume
from neuropil.voxelize.volume_files import write_volume

SIZE = (10.0, 10.0, 10.0)


def grey(shape: tuple[int, int, int] = (6, 70, 80)) -> np.ndarray:
    return np.random.default_rng(0).integers(40, 200, shape).astype(np.uint8)


@pytest.fixture
def stored(tmp_path: Path) -> Callable[..., str]:
    """Writes an array as a TIFF that states its voxel size, and returns its path."""

    def write(data: np.ndarray, name: str = "real.tif") -> str:
        write_volume(Volume(data, SIZE), tmp_path / name)
        return str(tmp_path / name)

    return write


def test_a_folder_of_numbered_slices_is_cut_into_runs(tmp_path: Path) -> None:
    for kind, array in (("images", grey()), ("labels", np.full((6, 70, 80), 5, np.uint8))):
        (tmp_path / kind).mkdir()
        array[0, 0, 0] = 0
        for number, plane in zip((0, 1, 2, 7, 8, 12), array, strict=True):
            Image.fromarray(plane).save(tmp_path / kind / f"{number:04d}x.png")
    stack = read_real_stack(str(tmp_path), None, SIZE)
    assert stack.numbers == (0, 1, 2, 7, 8, 12)
    runs = stack.runs(range(1, 13))
    assert [len(run.images) for run in runs] == [2, 2, 1]
    assert runs[1].labels is not None and runs[1].labels.max() == 5
    assert stack.runs(range(20, 30)) == []


def test_sixteen_bits_and_real_numbers_just_work(stored: Callable[..., str]) -> None:
    eight = grey()
    sixteen = read_real_stack(stored(eight.astype(np.uint16) * 200 + 1000), None, None).images
    real = read_real_stack(stored(eight.astype(np.float32) / 7.0), None, None).images
    assert sixteen.dtype == np.uint8 and 0 <= sixteen.min() < 5 and sixteen.max() > 250
    assert np.corrcoef(sixteen.ravel(), eight.ravel())[0, 1] > 0.999
    assert np.abs(sixteen.astype(int) - real).max() <= 1
    assert np.array_equal(read_real_stack(stored(eight.astype(np.uint16)), None, None).images, eight)


def test_a_mask_is_taken_for_membranes(stored: Callable[..., str]) -> None:
    mask = np.where(grey() > 150, 255, 0).astype(np.uint8)
    stack = read_real_stack(stored(grey()), stored(mask, "drawn.tif"), None)
    assert stack.labels is not None and set(np.unique(stack.labels)) == {0, 4}


@pytest.mark.parametrize(
    "fault", ["nan", "constant", "shape", "value", "voxel size", "overlap", "few", "range", "light"]
)
def test_what_cannot_be_calibrated_by_is_told_in_one_sentence(
    fault: str, tmp_path: Path, stored: Callable[..., str], command: Callable[..., tuple[int, str, str]]
) -> None:
    real, labels, options, told = stored(grey()), None, [], ""
    microscope = "fibsem"
    if fault == "nan":
        broken = grey().astype(np.float32)
        broken[3, 5, 5] = np.nan
        real, told = stored(broken), "no numbers (NaN or infinite), first in slice 3 of 6"
    if fault == "constant":
        broken = grey()
        broken[2] = 7
        real, told = stored(broken), "constant (7) throughout slice 2 of 6"
    if fault == "shape":
        labels, told = stored(grey()[:, :-1] % 2, "drawn.tif"), "(6, 69, 80)"
    if fault == "value":
        labels, told = stored(grey(), "drawn.tif"), "bits of mitochondrion"
    if fault == "voxel size":
        (tmp_path / "slices").mkdir()
        Image.fromarray(grey()[0]).save(tmp_path / "slices" / "0.png")
        real, told = str(tmp_path / "slices"), "does not state its voxel size"
    if fault == "overlap":
        options, told = ["--fit", "0:4", "--held-out", "3:6"], "overlap"
    if fault == "few":
        told = "too few slices"
    if fault == "range":
        options, told = ["--fit", "4"], "--fit is '4'"
    if fault == "light":
        microscope, told = "confocal", "calibrated are electron microscopes"
        real = stored(grey((20, 70, 80)))
    drawn = [] if labels is None else ["--labels", labels]
    code, out, err = command(
        "calibrate", real, *drawn, "--microscope", microscope, "-o", tmp_path / "p.yaml", *options
    )  # fmt: skip
    assert (code, out) == (2, "")
    assert told in err and len(err.strip().splitlines()) == 1
    assert not (tmp_path / "p.yaml").exists()


def test_ranges_of_slices() -> None:
    assert slice_range("3:9", "--fit") == range(3, 9)
    assert slice_range(None, "--fit") is None
    for wrong in ("3", "9:3", "a:b", "-1:4"):
        with pytest.raises(ValueError, match="--fit"):
            slice_range(wrong, "--fit")

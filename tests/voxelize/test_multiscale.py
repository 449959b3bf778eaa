"""Pyramids written region by region."""

from pathlib import Path

import numpy as np
import pytest
import zarr

from neuropil.voxelize.multiscale import MultiscaleWriter, pyramid_levels

SHAPE = (37, 70, 300)


def files_below(folder: Path) -> dict[str, bytes]:
    return {str(f.relative_to(folder)): f.read_bytes() for f in folder.rglob("*") if f.is_file()}


@pytest.mark.parametrize("label", [None, {"version": "0.5"}])
def test_regions_do_not_show(tmp_path: Path, label: dict[str, str] | None) -> None:
    data = np.random.default_rng(1).integers(0, 200, SHAPE).astype(np.uint8)
    data[:20, :, 256:] = 0  # part of a chunk is background, another chunk nothing else
    for name, tile in (("whole", SHAPE), ("slabs", (8, 70, 300)), ("tiles", (4, 16, 150))):
        writer = MultiscaleWriter(tmp_path / name, SHAPE, np.uint8, (5, 5, 5), name="one", label=label)
        for z in range(0, SHAPE[0], tile[0]):
            for y in range(0, SHAPE[1], tile[1]):
                for x in range(0, SHAPE[2], tile[2]):
                    writer.write(data[z : z + tile[0], y : y + tile[1], x : x + tile[2]], (z, y, x))
        np.testing.assert_array_equal(np.asarray(writer.array[...]), data)
    whole = files_below(tmp_path / "whole")
    assert len(whole) > 4
    assert files_below(tmp_path / "slabs") == whole
    assert files_below(tmp_path / "tiles") == whole


def test_channels_in_regions(tmp_path: Path) -> None:
    data = np.random.default_rng(2).normal(size=(2, 12, 20, 24)).astype(np.float32)
    writer = MultiscaleWriter(tmp_path / "one", data.shape, data.dtype, (5, 5, 5), name="one", channels=("a", "b"))
    for z in range(0, 12, 4):
        writer.write(data[:, z : z + 4], (z, 0, 0))
    np.testing.assert_array_equal(np.asarray(writer.array[...]), data)
    coarse = np.asarray(zarr.open(str(tmp_path / "one/1"))[...])
    np.testing.assert_allclose(coarse, data.reshape(2, 6, 2, 10, 2, 12, 2).mean(axis=(2, 4, 6)), atol=1e-6)


def test_a_region_that_cuts_a_coarse_voxel_is_refused(tmp_path: Path) -> None:
    writer = MultiscaleWriter(tmp_path / "one", (10, 20, 30), np.uint8, (5, 5, 5), name="one")
    writer.write(np.ones((2, 4, 30), np.uint8), (8, 16, 0))
    for shape, start in (((3, 20, 30), (0, 0, 0)), ((2, 20, 30), (1, 0, 0)), ((4, 20, 30), (8, 0, 0))):
        with pytest.raises(ValueError, match="multiples of"):
            writer.write(np.ones(shape, np.uint8), start)


@pytest.mark.parametrize(
    ("size_nm", "shape", "coarsest"),
    [
        ((5, 5, 5), (40, 60, 60), (20, 30, 30)),
        ((5, 5, 5), (2048, 2048, 2048), (256, 256, 256)),
        ((40, 4, 4), (100, 1024, 1024), (100, 256, 256)),
        ((5, 5, 5), (1000, 1, 1), (500, 1, 1)),
        ((50, 5, 5), (1000, 1, 1), (1000, 1, 1)),
    ],
)
def test_levels_end_where_a_volume_is_seen_at_a_glance(
    size_nm: tuple[float, float, float], shape: tuple[int, int, int], coarsest: tuple[int, int, int]
) -> None:
    for level in pyramid_levels(size_nm, (0, 0, 0), shape):
        shape = tuple(-(-n // f) for n, f in zip(shape, level.factors, strict=True))
    assert shape == coarsest

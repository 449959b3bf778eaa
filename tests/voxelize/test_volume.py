"""The Volume type: what it refuses, and where a crop of it lies."""

import numpy as np
import pytest

from neuropil.voxelize.volume import Volume


def test_a_volume_keeps_its_place() -> None:
    volume = Volume(np.zeros((4, 5, 6), np.uint8), (30, 8, 4), (90, 0, -4))
    assert volume.voxel_size_nm == (30.0, 8.0, 4.0)
    assert volume.extent_nm == (120.0, 40.0, 24.0)
    part = volume.crop((1, 2, 3), (2, 3, 3))
    assert part.data.shape == (2, 3, 3)
    assert part.origin_nm == (120.0, 16.0, 8.0)
    assert np.shares_memory(part.data, volume.data)


def test_channels_are_cropped_together() -> None:
    volume = Volume(np.arange(2 * 3 * 3 * 3).reshape(2, 3, 3, 3), (5, 5, 5), axes="czyx", channels=("a", "b"))
    assert volume.shape_zyx == (3, 3, 3)
    assert volume.crop((0, 0, 1), (1, 1, 2)).data.tolist() == [[[[1, 2]]], [[[28, 29]]]]
    mean = volume.with_data(volume.data.mean(axis=0))
    assert mean.axes == "zyx" and mean.channels == ()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"data": np.zeros((3, 3))}, "shape"),
        ({"data": np.zeros((3, 0, 3))}, "at least one voxel"),
        ({"data": np.array([[["a"]]])}, "integers, floats"),
        ({"voxel_size_nm": (5, 5)}, "three positive"),
        ({"voxel_size_nm": (5, -5, 5)}, "three positive"),
        ({"voxel_size_nm": (5, float("nan"), 5)}, "three positive"),
        ({"origin_nm": (0, 0, float("inf"))}, "three finite"),
        ({"axes": "xyz"}, "'zyx' or 'czyx'"),
        ({"channels": ("raw",)}, "have none"),
        ({"data": np.zeros((2, 3, 3, 3)), "axes": "czyx", "channels": ("raw",)}, "names 1 channels"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_sentence(change: dict[str, object], words: str) -> None:
    arguments = {"data": np.zeros((3, 3, 3)), "voxel_size_nm": (5, 5, 5), **change}
    with pytest.raises(ValueError, match=words) as error:
        Volume(**arguments)  # type: ignore[arg-type]
    assert str(error.value).endswith(".") and "\n" not in str(error.value)


def test_a_box_outside_is_refused() -> None:
    volume = Volume(np.zeros((4, 4, 4)), (5, 5, 5))
    for start, shape in (((-1, 0, 0), (2, 2, 2)), ((3, 0, 0), (2, 2, 2)), ((0, 0, 0), (0, 1, 1))):
        with pytest.raises(ValueError, match="leaves the volume"):
            volume.crop(start, shape)
    with pytest.raises(ValueError, match="the volume it goes with"):
        volume.with_data(np.zeros((4, 4, 5)))

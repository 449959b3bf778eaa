import tracemalloc
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import nn

from neuropil.train.bundle import Model
from neuropil.train.classes import CLASS_NAMES
from neuropil.train.inference import InferenceSettings, probability_slabs, segment, segment_slabs
from neuropil.train.networks import build_network
from neuropil.train.settings import NetworkConfig
from neuropil.voxelize.volume import Volume

NM5 = (5.0, 5.0, 5.0)


class Threshold(nn.Module):
    """Says class k of a voxel brighter than (k + 1)/8; has a parameter so that it has a device."""

    def __init__(self) -> None:
        super().__init__()
        self.levels = nn.Parameter((torch.arange(6) + 1) / 8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (x.float() - self.levels.reshape(1, -1, *(1,) * (x.ndim - 2))) * 200


def threshold_model(spatial_dims: int = 2, voxel_size_nm: tuple[float, float, float] = NM5) -> Model:
    config = NetworkConfig(spatial_dims=spatial_dims)  # type: ignore[arg-type]
    return Model(Threshold().eval(), config, CLASS_NAMES, voxel_size_nm)


@pytest.fixture
def random_model(small_network: NetworkConfig) -> Iterator[Model]:
    torch.manual_seed(0)
    yield Model(build_network(small_network, 6).eval(), small_network, CLASS_NAMES, NM5)


def grey(shape: tuple[int, int, int], seed: int = 0, voxel_size_nm: tuple[float, float, float] = NM5) -> Volume:
    image = np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8)
    return Volume(image, voxel_size_nm, origin_nm=(10.0, 20.0, 30.0))


@pytest.mark.parametrize("dims", [2, 3])
def test_masks_are_named_channels_on_the_image_s_voxels(dims: int) -> None:
    volume = grey((3, 70, 45))
    told: list[float] = []
    masks = segment(
        threshold_model(dims), volume, InferenceSettings(tile_px=32, overlap_px=8), lambda part, text: told.append(part)
    )
    assert masks.axes == "czyx" and masks.channels == CLASS_NAMES and masks.data.dtype == np.uint8
    assert masks.voxel_size_nm == volume.voxel_size_nm and masks.origin_nm == volume.origin_nm
    levels = (np.arange(6) + 1) / 8 * 255
    expected = volume.data[None] > levels[:, None, None, None]
    sure = np.abs(volume.data[None] - levels[:, None, None, None]) > 2
    assert (masks.data.astype(bool) == expected)[sure].all()
    assert told == sorted(told) and told[-1] == 1.0


def test_order_of_tiles_and_slabs_change_nothing(random_model: Model) -> None:
    volume = grey((2, 120, 100))
    settings = InferenceSettings(tile_px=64, overlap_px=16)
    whole = segment(random_model, volume, settings)
    shuffled = segment(random_model, volume, settings, rng=np.random.default_rng(3))
    assert 0.01 < whole.data.mean() < 0.99
    assert np.array_equal(whole.data, shuffled.data)
    pieces = [masks for _, masks in segment_slabs(random_model, volume, settings)]
    assert len(pieces) == 2 and np.array_equal(np.concatenate(pieces, axis=1), whole.data)


def test_sections_are_answered_one_by_one(random_model: Model) -> None:
    volume = grey((3, 64, 64))
    whole = segment(random_model, volume)
    single = segment(random_model, Volume(volume.data[1:2], NM5))
    assert np.array_equal(whole.data[:, 1:2], single.data)


def test_tiles_are_no_larger_than_needed() -> None:
    tiling = InferenceSettings(tile_px=512, overlap_px=64).tiling((20, 768, 1024), 2, 32)
    assert tiling.tile == (1, 416, 384)
    assert len(tiling.layers) == 20 and len(tiling.layers[0]) == 6
    assert InferenceSettings().tiling((50, 40, 96), 3, 16).tile == (64, 48, 96)


def test_flips_make_the_answer_turn_with_the_image(random_model: Model) -> None:
    volume = grey((1, 64, 64))
    mirrored = Volume(volume.data[:, :, ::-1].copy(), NM5)
    settings = InferenceSettings(flips=True, bf16=False)
    (a,) = probability_slabs(random_model, volume, settings)
    (b,) = probability_slabs(random_model, mirrored, settings)
    assert np.abs(a.probabilities.astype(int) - b.probabilities[..., ::-1]).max() <= 1
    (c,) = probability_slabs(random_model, volume, InferenceSettings(bf16=False))
    assert np.abs(a.probabilities.astype(int) - c.probabilities).max() > 2


@pytest.mark.parametrize("dims", [2, 3])
def test_other_voxel_size_within_a_factor_of_two_is_rescaled(dims: int) -> None:
    coarse = np.zeros((8, 40, 40), np.uint8)
    coarse[2:6, 10:30, 8:20] = 240
    size = (8.0, 8.0, 8.0)
    told: list[float] = []
    masks = segment(threshold_model(dims), Volume(coarse, size), progress=lambda part, text: told.append(part))
    assert masks.data.shape == (6, 8, 40, 40) and masks.voxel_size_nm == size
    assert (masks.data[3] != (coarse > 120)).mean() < 0.02
    assert told == sorted(told) and told[-1] == 1.0


def test_sixteen_bits_are_read_as_eight(random_model: Model) -> None:
    volume = grey((1, 64, 64))
    wide = Volume(volume.data.astype(np.uint16) * 257, NM5)
    assert np.array_equal(segment(random_model, volume).data, segment(random_model, wide).data)


def test_what_the_model_cannot_read_is_refused() -> None:
    flat, deep = threshold_model(2), threshold_model(3)
    with pytest.raises(ValueError, match="more than a factor of 2"):
        segment(flat, grey((1, 32, 32), voxel_size_nm=(5.0, 11.0, 11.0)))
    # The distance between sections does not matter to a 2D model, to a 3D one it does.
    segment(flat, grey((2, 32, 32), voxel_size_nm=(50.0, 5.0, 5.0)))
    with pytest.raises(ValueError, match="along z"):
        segment(deep, grey((2, 32, 32), voxel_size_nm=(50.0, 5.0, 5.0)))
    with pytest.raises(ValueError, match="3D, but the image is a single section"):
        segment(deep, grey((1, 32, 32)))
    with pytest.raises(ValueError, match="float32 values"):
        segment(flat, Volume(np.zeros((1, 32, 32), np.float32), NM5))
    with pytest.raises(ValueError, match="axes 'czyx'"):
        segment(flat, Volume(np.zeros((2, 1, 32, 32), np.uint8), NM5, axes="czyx", channels=("a", "b")))
    with pytest.raises(ValueError, match="overlap_px is 64"):
        segment(flat, grey((1, 200, 200)), InferenceSettings(tile_px=64, overlap_px=64))


def peak_bytes(volume: Volume, settings: InferenceSettings) -> int:
    """Most memory of numpy while a volume is segmented and its masks are thrown away, besides the volume."""
    tracemalloc.start()
    for _ in segment_slabs(threshold_model(3), volume, settings):
        pass
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


def test_memory_does_not_grow_with_the_number_of_sections_and_is_as_reckoned() -> None:
    settings = InferenceSettings(tile_px=32, overlap_px=8)
    short, long = (peak_bytes(grey((depth, 128, 128)), settings) for depth in (56, 176))
    assert long < 1.05 * short
    reckoned = settings.tiling((176, 128, 128), 3, 16).blending_bytes(6)
    assert 0.7 * reckoned < long < 1.1 * reckoned


def test_2048_cubed_fits_into_six_gigabytes() -> None:
    """Beside the blending: torch, the program, and the sections that a stack on disk holds in memory."""
    for dims in (2, 3):
        tiling = InferenceSettings().tiling((2048, 2048, 2048), dims, 32)
        sections = tiling.tile[0] * 2048**2
        assert tiling.blending_bytes(6) + sections + 1.0e9 < 6e9


@pytest.mark.parametrize("dims", [2, 3])
def test_begun_in_the_middle_it_finds_the_same(dims: int, small_network: NetworkConfig) -> None:
    torch.manual_seed(0)
    config = small_network.model_copy(update={"spatial_dims": dims, "kind": "basic_unet"})
    model = Model(build_network(config, 6).eval(), config, CLASS_NAMES, NM5)
    settings = InferenceSettings(tile_px=16, overlap_px=4)
    for volume in (grey((30, 20, 24)), grey((30, 20, 24), voxel_size_nm=(6.0, 7.0, 4.0))):
        whole = segment(model, volume, settings).data
        for first in (0, 11, 29):
            pieces = list(segment_slabs(model, volume, settings, first=first))
            assert pieces[0][0] == first
            assert np.array_equal(np.concatenate([p for _, p in pieces], axis=1), whole[:, first:])

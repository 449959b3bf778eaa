import json

import pytest
import torch
from monai.networks.nets import BasicUNet, DynUNet

from neuropil.train.networks import ShuffledUNet, build_network
from neuropil.train.settings import NETWORKS, NetworkConfig, named_network


@pytest.mark.parametrize("name", ["fast2d", "tiny_unet_v2", "small3d", "fast3d", "isotropic3d", "sections3d"])
def test_named_networks_answer_every_voxel(name: str) -> None:
    config = NETWORKS[name]
    network = build_network(config, 6).eval()
    side = (config.multiple * 2,) * config.spatial_dims if config.spatial_dims == 2 else (32, 32, 32)
    with torch.no_grad():
        assert network(torch.rand(1, 1, *side)).shape == (1, 6, *side)
    kinds = {"shuffled_unet": ShuffledUNet, "basic_unet": BasicUNet, "dyn_unet": DynUNet}
    assert isinstance(network, kinds[config.kind])
    assert NetworkConfig.of_definition(json.loads(json.dumps(config.definition(6)))) == config


def test_the_two_networks_of_sokolov_differ_as_published() -> None:
    """The small one has 15.7 times fewer parameters, and with Adam's moments takes 24 MB (Sokolov et al. 2023)."""
    large, small = (
        sum(p.numel() for p in build_network(NETWORKS[name], 6).parameters()) for name in ("unet", "tiny_unet_v2")
    )
    assert round(large / small, 1) == 15.7
    assert round(small * 3 * 4 / 1e6) == 24


def test_network_for_sections_halves_z_only_where_voxels_have_become_cubes() -> None:
    config = NETWORKS["sections3d"]
    assert config.multiples == (2, 16, 16) and NETWORKS["isotropic3d"].multiples == (16, 16, 16)
    with torch.no_grad():
        network = build_network(config, 2).eval()
        assert network(torch.rand(1, 1, 6, 48, 32)).shape == (1, 2, 6, 48, 32)
        # Above the last halving a section does not see its neighbours.
        by_batch = build_network(config.model_copy(update={"norm": "batch"}), 2).eval()
        x = torch.rand(1, 1, 4, 32, 32)
        y = x.clone()
        y[:, :, 3] += 1
        first, second = (by_batch.input_block(v) for v in (x, y))
    assert ((first - second).abs().amax((0, 1, 3, 4)) > 0).tolist() == [False, False, False, True]
    with pytest.raises(ValueError, match="only a dyn_unet in 3D"):
        NetworkConfig(z_halvings=1)


def test_same_torch_seed_same_weights() -> None:
    states = []
    for _ in range(2):
        torch.manual_seed(3)
        states.append(build_network(NetworkConfig(features=(8, 8, 8, 8, 8, 8)), 2).state_dict())
    assert all(torch.equal(a, b) for a, b in zip(states[0].values(), states[1].values(), strict=True))


def test_unknown_name_is_refused() -> None:
    with pytest.raises(ValueError, match="no network is called 'resnet'; there are fast2d"):
        named_network("resnet")

import pytest
import torch
from monai.networks.nets import BasicUNet

from neuropil.train.networks import ShuffledUNet, build_network
from neuropil.train.settings import NETWORKS, NetworkConfig, named_network


@pytest.mark.parametrize("name", ["fast2d", "yardstick2d", "small3d", "fast3d"])
def test_named_networks_answer_every_voxel(name: str) -> None:
    config = NETWORKS[name]
    network = build_network(config, 6).eval()
    side = (config.multiple * 2,) * config.spatial_dims if config.spatial_dims == 2 else (32, 32, 32)
    with torch.no_grad():
        assert network(torch.rand(1, 1, *side)).shape == (1, 6, *side)
    assert isinstance(network, ShuffledUNet if config.kind == "shuffled_unet" else BasicUNet)


def test_same_torch_seed_same_weights() -> None:
    states = []
    for _ in range(2):
        torch.manual_seed(3)
        states.append(build_network(NetworkConfig(features=(8, 8, 8, 8, 8, 8)), 2).state_dict())
    assert all(torch.equal(a, b) for a, b in zip(states[0].values(), states[1].values(), strict=True))


def test_unknown_name_is_refused() -> None:
    with pytest.raises(ValueError, match="no network is called 'resnet'; there are fast2d"):
        named_network("resnet")

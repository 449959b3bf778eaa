"""Settings of networks and of their training: what a recipe may say. Nothing heavy is imported here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator


class NetworkConfig(BaseModel):
    """A network's shape. `features` are the channels of the five levels and of the last layer."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["basic_unet", "shuffled_unet"] = "shuffled_unet"
    spatial_dims: Literal[2, 3] = 2
    features: tuple[int, int, int, int, int, int] = (32, 32, 64, 128, 256, 32)
    norm: Literal["batch", "instance"] = "batch"
    in_channels: int = Field(default=1, ge=1)

    @property
    def multiple(self) -> int:
        """Image sides must be multiples of this: four halvings, and one more by the shuffle."""
        return 32 if self.kind == "shuffled_unet" else 16

    def definition(self, classes: int) -> dict[str, Any]:
        """The network as a MONAI bundle writes it: `_target_` and the arguments of its constructor."""
        target = {
            "basic_unet": "monai.networks.nets.BasicUNet",
            "shuffled_unet": "neuropil.train.networks.ShuffledUNet",
        }[self.kind]
        return {
            "_target_": target,
            "spatial_dims": self.spatial_dims,
            "in_channels": self.in_channels,
            "out_channels": classes,
            "features": list(self.features),
            "norm": self.norm,
        }


NETWORKS: Mapping[str, NetworkConfig] = {
    "fast2d": NetworkConfig(),
    "yardstick2d": NetworkConfig(kind="basic_unet"),
    "small3d": NetworkConfig(kind="basic_unet", spatial_dims=3, features=(16, 16, 32, 64, 128, 16)),
    "fast3d": NetworkConfig(spatial_dims=3, features=(16, 32, 64, 128, 128, 32)),
}


def named_network(name: str) -> NetworkConfig:
    """The configuration of that name; ValueError names the known ones."""
    if name not in NETWORKS:
        raise ValueError(f"no network is called {name!r}; there are {', '.join(NETWORKS)}")
    return NETWORKS[name]


class TrainingConfig(BaseModel):
    """How a network is trained: either `steps`, which one seed repeats to the bit on one machine, or
    `budget_seconds`, for which the steps are fitted to the machine.

    `network` is a configuration or the name of one. `ema_decay` is of the running average of the weights,
    which is what is kept (0: the weights themselves). `validations` are spread evenly; each looks at
    `validation_sections` sections at most. `threads` (None: as torch has it) matters to the last bits.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    network: NetworkConfig = NETWORKS["fast2d"]
    steps: int | None = Field(default=None, ge=1)
    budget_seconds: float | None = Field(default=None, gt=0)
    batch: int = Field(default=8, ge=1)
    learning_rate: float = Field(default=4e-3, gt=0)
    loss: Literal["bce_dice", "bce", "dice"] = "bce_dice"
    bf16: bool = True
    seed: int = Field(default=0, ge=0)
    ema_decay: float = Field(default=0.98, ge=0, lt=1)
    validations: int = Field(default=4, ge=1)
    validation_sections: int = Field(default=4, ge=1)
    checkpoint_steps: int = Field(default=200, ge=1)
    threads: int | None = Field(default=None, ge=1)
    name: str = "neuropil"

    @model_validator(mode="before")
    @classmethod
    def _network_by_name(cls, values: Any) -> Any:
        if isinstance(values, dict) and isinstance(values.get("network"), str):
            return {**values, "network": named_network(values["network"])}
        return values

    @model_validator(mode="after")
    def _one_length(self) -> TrainingConfig:
        if (self.steps is None) == (self.budget_seconds is None):
            raise ValueError("give either steps or budget_seconds, not both and not neither")
        return self

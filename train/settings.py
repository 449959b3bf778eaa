"""Settings of networks, tasks and training: what a recipe may say. Nothing heavy is imported here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, model_validator

from .classes import CLASS_NAMES

Shape = tuple[int, int, int]
ClassName = Literal["mitochondrion", "mitochondrial_boundary", "membrane", "psd", "vesicle", "myelin_sheath"]
# The classes of Sokolov et al. 2023 (Computer Optics 47(5)) by their number: mitochondria alone, all but their
# boundaries, all six.
SEMANTIC_CLASSES: Mapping[int, tuple[str, ...]] = {
    1: CLASS_NAMES[:1],
    5: (CLASS_NAMES[0], *CLASS_NAMES[2:]),
    6: CLASS_NAMES,
}
# Halvings of the image inside every network here.
LEVELS = 4


class NetworkConfig(BaseModel):
    """A network's shape. `features` are the channels of the five levels and of the last layer (dyn_unet has none).

    `z_halvings` is for dyn_unet and sections thicker than their pixels: how many of the four halvings, the deepest
    ones, halve z too. Kernels above them lie in the section, as nnU-Net plans it (Isensee et al. 2021).
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["basic_unet", "shuffled_unet", "dyn_unet"] = "shuffled_unet"
    spatial_dims: Literal[2, 3] = 2
    features: tuple[int, int, int, int, int, int] = (32, 32, 64, 128, 256, 32)
    norm: Literal["batch", "instance"] = "batch"
    in_channels: int = Field(default=1, ge=1)
    z_halvings: int = Field(default=LEVELS, ge=0, le=LEVELS)

    @model_validator(mode="after")
    def _halvings_of_z(self) -> NetworkConfig:
        if self.z_halvings != LEVELS and (self.kind, self.spatial_dims) != ("dyn_unet", 3):
            raise ValueError(f"z_halvings is {self.z_halvings}, but only a dyn_unet in 3D can halve z less often")
        return self

    @property
    def multiples(self) -> Shape:
        """Image sides (z, y, x) must be multiples of these: the halvings, and one more by the shuffle."""
        side = 2 ** (LEVELS + (self.kind == "shuffled_unet"))
        z = side if self.kind != "dyn_unet" else 2**self.z_halvings
        return (z if self.spatial_dims == 3 else 1), side, side

    @property
    def multiple(self) -> int:
        """The largest of `multiples`."""
        return max(self.multiples)

    def definition(self, channels: int) -> dict[str, Any]:
        """The network as a MONAI bundle writes it: `_target_` and the arguments of its constructor."""
        shape = {"spatial_dims": self.spatial_dims, "in_channels": self.in_channels, "out_channels": channels}
        if self.kind == "dyn_unet":
            return {"_target_": "monai.networks.nets.DynUNet", **shape, **self._dyn_unet()}
        target = {
            "basic_unet": "monai.networks.nets.BasicUNet",
            "shuffled_unet": "neuropil.train.networks.ShuffledUNet",
        }[self.kind]
        return {"_target_": target, **shape, "features": list(self.features), "norm": self.norm}

    def _dyn_unet(self) -> dict[str, Any]:
        lateral = LEVELS - self.z_halvings
        kernels = [[1 if level < lateral else 3, 3, 3] for level in range(LEVELS + 1)]
        strides = [[1, 1, 1], *([1 if level < lateral else 2, 2, 2] for level in range(LEVELS))]
        if self.spatial_dims == 2:
            kernels, strides = [k[1:] for k in kernels], [s[1:] for s in strides]
        return {
            "kernel_size": kernels,
            "strides": strides,
            "upsample_kernel_size": strides[1:],
            "filters": list(self.features[:-1]),
            "norm_name": [self.norm, {"affine": True}],
        }

    @classmethod
    def of_definition(cls, definition: Mapping[str, Any]) -> NetworkConfig:
        """The configuration whose `definition` this is. Raises ValueError (pydantic's too) where there is none."""
        given = {k: v for k, v in definition.items() if k not in ("_target_", "out_channels")}
        kind = {"BasicUNet": "basic_unet", "ShuffledUNet": "shuffled_unet", "DynUNet": "dyn_unet"}[
            str(definition.get("_target_")).rpartition(".")[2]
        ]
        if kind != "dyn_unet":
            return cls.model_validate({**given, "kind": kind})
        try:
            z_halvings = sum(stride[0] == 2 for stride in given["strides"]) if given["spatial_dims"] == 3 else LEVELS
            known = {key: given[key] for key in ("spatial_dims", "in_channels")}
            features = [*given["filters"], given["filters"][0]]
            config = cls(kind="dyn_unet", features=features, norm=given["norm_name"][0], z_halvings=z_halvings, **known)
        except (KeyError, TypeError, IndexError) as error:
            raise ValueError(f"network_def of a DynUNet lacks or garbles {error}") from error
        if config.definition(int(definition["out_channels"])) != dict(definition):
            raise ValueError("network_def is a DynUNet of another shape than neuropil builds")
        return config


NETWORKS: Mapping[str, NetworkConfig] = {
    "fast2d": NetworkConfig(),
    # The two of Sokolov et al. 2023: 31.1 M parameters, and 15.7 times fewer.
    "unet": NetworkConfig(kind="basic_unet", features=(64, 128, 256, 512, 1024, 64)),
    "tiny_unet_v2": NetworkConfig(kind="basic_unet"),
    "small3d": NetworkConfig(kind="basic_unet", spatial_dims=3, features=(16, 16, 32, 64, 128, 16)),
    "fast3d": NetworkConfig(spatial_dims=3, features=(16, 32, 64, 128, 128, 32)),
    "isotropic3d": NetworkConfig(kind="dyn_unet", spatial_dims=3, norm="instance", features=(24, 48, 96, 192, 256, 24)),
    "sections3d": NetworkConfig(
        kind="dyn_unet", spatial_dims=3, norm="instance", features=(24, 48, 96, 192, 256, 24), z_halvings=1
    ),
}


def named_network(name: str) -> NetworkConfig:
    """The configuration of that name; ValueError names the known ones."""
    if name not in NETWORKS:
        raise ValueError(f"no network is called {name!r}; there are {', '.join(NETWORKS)}")
    return NETWORKS[name]


class SemanticTask(BaseModel):
    """A mask for each of `classes`, which may overlap. `classes` may be given as 1, 5 or 6 (`SEMANTIC_CLASSES`)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["semantic"] = "semantic"
    classes: tuple[ClassName, ...] = Field(default=get_args(ClassName), min_length=1)
    loss: Literal["bce_dice", "bce", "dice"] = "bce_dice"

    @model_validator(mode="before")
    @classmethod
    def _by_number(cls, values: Any) -> Any:
        if isinstance(values, dict) and isinstance(values.get("classes"), int):
            if values["classes"] not in SEMANTIC_CLASSES:
                raise ValueError(f"classes is {values['classes']}, but allowed are 1, 5, 6 or a list of names")
            return {**values, "classes": SEMANTIC_CLASSES[values["classes"]]}
        return values

    @property
    def channels(self) -> tuple[str, ...]:
        return tuple(self.classes)

    @property
    def labels(self) -> Literal["bits", "instances"]:
        """Which array of a labelled volume the targets are made of."""
        return "bits"


class AffinityTask(BaseModel):
    """Whether a voxel and another one some way along an axis belong to the same cell.

    The other one is the next voxel along each axis, and those `far_nm` away, rounded to whole voxels of the images
    (at least one). `planar` leaves the z axis out, for networks that see single sections. Voxels within `boundary_nm`
    of what is not their cell belong to no cell, as extracellular space does. `descriptors_sigma_nm` adds local shape
    descriptors (Sheridan et al. 2023) of that width, None leaves them out.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["affinities"] = "affinities"
    far_nm: tuple[Annotated[float, Field(gt=0)], ...] = (80.0, 240.0)
    planar: bool = False
    boundary_nm: float = Field(default=10.0, ge=0)
    descriptors_sigma_nm: float | None = Field(default=None, gt=0)

    @property
    def axes(self) -> str:
        return "yx" if self.planar else "zyx"

    @property
    def affinities(self) -> tuple[str, ...]:
        """Names of the channels of affinities: the neighbours along each axis, then the far ones."""
        far = (f"affinity_{axis}_{distance:g}nm" for distance in self.far_nm for axis in self.axes)
        return (*(f"affinity_{axis}" for axis in self.axes), *far)

    @property
    def channels(self) -> tuple[str, ...]:
        """Those of the affinities, then, with descriptors, theirs (ten, planar six)."""
        if self.descriptors_sigma_nm is None:
            return self.affinities
        pairs = [a + b for k, a in enumerate(self.axes) for b in self.axes[k + 1 :]]
        parts = [*("offset_" + a for a in self.axes), *("variance_" + a for a in self.axes)]
        return (*self.affinities, *parts, *("correlation_" + p for p in pairs), "size")

    @property
    def labels(self) -> Literal["bits", "instances"]:
        return "instances"


Task = Annotated[SemanticTask | AffinityTask, Field(discriminator="kind")]


class TrainingConfig(BaseModel):
    """How a network is trained: either `steps`, which one seed repeats to the bit on one machine, or
    `budget_seconds`, for which the steps are fitted to the machine.

    `network` is a configuration or the name of one; `task` is what it learns. `ema_decay` is of the running average
    of the weights, which is what is kept (0: the weights themselves). `validations` are spread evenly; each looks at
    `validation_sections` sections at most. With `patience` the training ends after that many validations in a row
    without a better mean Dice, and the best average is kept. `workers` processes cut the patches (0: this one),
    which changes no bit of them. `threads` (None: as torch has it) matters to the last bits.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    network: NetworkConfig = NETWORKS["fast2d"]
    task: Task = SemanticTask()
    steps: int | None = Field(default=None, ge=1)
    budget_seconds: float | None = Field(default=None, gt=0)
    batch: int = Field(default=8, ge=1)
    learning_rate: float = Field(default=4e-3, gt=0)
    bf16: bool = True
    seed: int = Field(default=0, ge=0)
    ema_decay: float = Field(default=0.98, ge=0, lt=1)
    validations: int = Field(default=4, ge=1)
    validation_sections: int = Field(default=4, ge=1)
    patience: int | None = Field(default=None, ge=1)
    checkpoint_steps: int = Field(default=200, ge=1)
    workers: int = Field(default=0, ge=0)
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

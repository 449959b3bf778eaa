"""Training on several graphics cards or machines: torchrun starts the processes, torch keeps their weights equal."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

T = TypeVar("T")


@dataclass(frozen=True)
class Process:
    """This process among `count` that train one network; the one of rank 0 validates and writes."""

    rank: int = 0
    count: int = 1

    @property
    def leads(self) -> bool:
        return self.rank == 0

    def parallel(self, network: nn.Module) -> nn.Module:
        """The network as it is to be called in training: its gradients are averaged over all processes.

        Batch norms look at all processes' patches on graphics cards; on processors each looks at its own.
        """
        if self.count == 1:
            return network
        if torch.cuda.is_available():
            network = nn.SyncBatchNorm.convert_sync_batchnorm(network)
            return DistributedDataParallel(network, device_ids=[torch.cuda.current_device()])
        return DistributedDataParallel(network)

    def agreed(self, value: T) -> T:
        """The leader's value, in every process; all of them have to ask."""
        if self.count == 1:
            return value
        values = [value]
        distributed.broadcast_object_list(values, src=0)
        return values[0]


@contextmanager
def joined() -> Iterator[Process]:
    """This process among those that torchrun started with it; the only one where nobody started any."""
    if not distributed.is_torchelastic_launched():
        yield Process()
        return
    cuda = torch.cuda.is_available()
    if cuda:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    distributed.init_process_group("nccl" if cuda else "gloo")
    try:
        yield Process(distributed.get_rank(), distributed.get_world_size())
    finally:
        distributed.destroy_process_group()

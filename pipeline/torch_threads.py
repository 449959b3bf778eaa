"""How many threads a network computes with fastest here and now."""

from __future__ import annotations

import os
import time

import torch

# Alternating, so that a passing load on the machine meets both candidates.
_ROUNDS = 3


def use_fastest_threads() -> int:
    """Try a small convolution with one thread and with one per core, keep the faster, and return the number.

    Threads that share a core with another program's wait for each other at every layer: on a busy machine two
    threads have been measured twenty times slower than one, on a quiet one they are faster.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if cores == 1 or torch.cuda.is_available():
        return torch.get_num_threads()
    seconds = {1: 0.0, cores: 0.0}
    for _ in range(_ROUNDS):
        for count in seconds:
            seconds[count] += _seconds_of_a_step(count)
    fastest = min(seconds, key=lambda count: seconds[count])
    torch.set_num_threads(fastest)
    return fastest


def _seconds_of_a_step(threads: int) -> float:
    torch.set_num_threads(threads)
    layers = torch.nn.Sequential(*(torch.nn.Conv2d(32, 32, 3, padding=1) for _ in range(4)))
    layers = layers.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    image = torch.zeros(2, 32, 128, 128).to(memory_format=torch.channels_last)

    def step() -> None:
        with torch.autocast("cpu", torch.bfloat16):
            out = layers(image)
        out.float().sum().backward()

    step()  # the first one prepares kernels
    begin = time.perf_counter()
    step()
    return time.perf_counter() - begin

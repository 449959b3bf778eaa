"""`monte_carlo.trace` on a CUDA device: the same `follow` compiled for it, one thread an electron.

Tested in numba's simulator of CUDA only (NUMBA_ENABLE_CUDASIM=1) and compiled to PTX; it has not run on a GPU yet.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import cuda

from .monte_carlo import LOWEST_KEV, Fates, Floats, Sample, electron_key, flight_arguments, follow

_THREADS = 128


def follow_each(
    key: np.uint64, places_nm: Floats, landing_kev: float, lowest_kev: float, ways_back: Floats,
    voxels: Any, voxel_nm: Floats, events_per_nm: Floats, isotropic_share: Floats, loss_kev_per_nm: Floats,
    largest_per_nm: Floats, log_lowest: float, per_log: float, exits: Floats, depths: Floats,
) -> None:  # fmt: skip
    """The kernel, before `cuda.jit`: electron n is the n-th thread."""
    electron = cuda.grid(1)
    if electron < exits.shape[0]:
        exits[electron], depths[electron] = follow(
            electron_key(key, electron), places_nm[electron, 0], places_nm[electron, 1], landing_kev, lowest_kev,
            ways_back, voxels, voxel_nm, events_per_nm, isotropic_share, loss_kev_per_nm, largest_per_nm,
            log_lowest, per_log,
        )  # fmt: skip


def trace_cuda(
    sample: Sample,
    landing_kev: float,
    places_nm: Floats,
    key: int,
    lowest_kev: float = LOWEST_KEV,
    to_rest: bool = False,
) -> Fates:
    """As `monte_carlo.trace`, on the current CUDA device, to the last digits of its logarithms.

    Raises RuntimeError where there is no CUDA device.
    """
    if not cuda.is_available():
        raise RuntimeError("there is no CUDA device; monte_carlo.trace does the same on the processor")
    arguments = flight_arguments(sample, landing_kev, lowest_kev, to_rest)
    count = len(places_nm)
    exits, depths = cuda.device_array(count), cuda.device_array(count)
    blocks = max(1, -(-count // _THREADS))
    moved = [cuda.to_device(a) if isinstance(a, np.ndarray) else a for a in arguments]
    cuda.jit(follow_each)[blocks, _THREADS](np.uint64(key), cuda.to_device(places_nm), *moved, exits, depths)
    return Fates(exits.copy_to_host(), depths.copy_to_host())

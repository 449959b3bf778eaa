"""Drawing and sweeping apart from the main process."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable
from typing import Any


def run_apart(work: Callable[..., None], *arguments: Any) -> bool:
    """Run `work` in a fresh process of its own and return whether it ended well.

    Blender keeps the memory of all it has done and writes to standard output; VTK without a graphics driver
    may crash instead of failing. Neither is to touch a run.
    """
    process = multiprocessing.get_context("spawn").Process(target=_quietly, args=(work, arguments))
    process.start()
    process.join()
    return process.exitcode == 0


def _quietly(work: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    work(*arguments)

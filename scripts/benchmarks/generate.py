"""Cost against work: blocks of 1, 8 and 27 times a volume, and 8 blocks on 1 and 2 workers. Size 1 is (1.5 µm)³.

Everything is done as by `neuropil generate`: packing, checking, imaging, annotating, writing. Workers are
processes of one thread. `built µm³` is the volume with the margin that is built around a block so that no face
of it shows; a small block has more of it.
"""

from __future__ import annotations

import json
import tempfile
import time
from functools import partial
from pathlib import Path

import psutil

from neuropil.pipeline.block_job import make_block
from neuropil.pipeline.block_workers import local_workers
from neuropil.pipeline.recipe import Recipe

from ._tissue_block import load_recipe, tissue_parameters

EDGE_UM = 1.5
INPUT = "input.json"


def prepare(size: float, seed: int, folder: Path) -> str:
    edge_um = EDGE_UM * size ** (1 / 3)
    (folder / INPUT).write_text(json.dumps([edge_um, seed]))
    return f"blocks of ({edge_um:.3g} µm)³ with image and labels at 5 nm"


def _make(small: Recipe, recipe: Recipe, seed: int, folder: Path, index: int) -> None:
    if index < 0:
        make_block(small, seed, -index, folder / "small")
    else:
        make_block(recipe, seed, index, folder)


def _processor_seconds() -> float:
    """What the workers have computed so far: unlike seconds, that depends little on what else the machine does."""
    times = [process.cpu_times() for process in psutil.Process().children(recursive=True)]
    return sum(one.user + one.system for one in times)


def _seconds(folder: Path, scale: int, count: int, workers: int) -> dict[str, float]:
    """Seconds for `count` blocks of `scale` times the edge, once the workers are up and have loaded what they need."""
    edge_um, seed = json.loads((folder / INPUT).read_text())
    recipes = [load_recipe().model_copy(update={"tissue": tissue_parameters(edge)}) for edge in (0.4, edge_um * scale)]
    with tempfile.TemporaryDirectory() as out, local_workers(workers, _make, *recipes, seed, Path(out)) as pool:
        start = worked = 0.0
        for indices in (range(-workers, 0), range(count)):
            start, worked = time.perf_counter(), _processor_seconds()
            for index in indices:
                pool.submit(index)
            for _ in indices:
                _, error = pool.next_finished()
                if error is not None:
                    raise error
        seconds, worked = time.perf_counter() - start, _processor_seconds() - worked
    um3 = count * (edge_um * scale) ** 3
    built_um3 = count * (edge_um * scale + 2 * recipes[1].tissue.margin_um) ** 3
    return {
        "seconds": seconds,
        "µm³": um3,
        "s per µm³": seconds / um3,
        "s per built µm³": seconds / built_um3,
        "processor s per built µm³": worked / built_um3,
        "blocks per h": 3600 * count / seconds,
    }


CONTENDERS = {
    "1 block, 1 worker": partial(_seconds, scale=1, count=1, workers=1),
    "8-fold block, 1 worker": partial(_seconds, scale=2, count=1, workers=1),
    "27-fold block, 1 worker": partial(_seconds, scale=3, count=1, workers=1),
    "8 blocks, 1 worker": partial(_seconds, scale=1, count=8, workers=1),
    "8 blocks, 2 workers": partial(_seconds, scale=1, count=8, workers=2),
}

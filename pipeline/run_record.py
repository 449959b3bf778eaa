"""What a run has finished, from which inputs, and what it took: so that a run goes on where it was stopped."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from neuropil.voxelize.replacement import replacing

from .progress import say
from .stage_meter import StageMeter

RECORD = "record.json"


@dataclass(frozen=True)
class StageRecord:
    """A stage: the hash of what goes into it and, once it is finished, seconds and peak memory in MB."""

    inputs: str
    finished: bool = False
    seconds: float = 0.0
    peak_memory_mb: float = 0.0


def hash_of(*inputs: Any) -> str:
    """SHA-256 of values that JSON can hold."""
    return hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()


class RunRecord:
    """The stages of the run in `folder`, kept in record.json."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / RECORD
        self.stages: dict[str, StageRecord] = {}
        if self._path.is_file():
            content = json.loads(self._path.read_text(encoding="utf-8"))
            self.stages = {name: StageRecord(**stage) for name, stage in content.items()}

    def stage(self, name: str, inputs: str, work: Callable[[], None], output: Path | None = None) -> None:
        """Do `work` unless it was finished from these very inputs, and note what it took.

        What an attempt from other inputs left in the folder `output` is removed first.
        """
        before = self.stages.get(name)
        if before and before.inputs == inputs and before.finished:
            return
        if output and before and before.inputs != inputs:
            shutil.rmtree(output, ignore_errors=True)
        say(f"{name} …")
        self._note(name, StageRecord(inputs))
        with StageMeter() as meter:
            work()
        self._note(name, StageRecord(inputs, True, round(meter.seconds, 2), round(meter.peak_memory_mb, 1)))

    def _note(self, name: str, stage: StageRecord) -> None:
        self.stages[name] = stage
        with replacing(self._path) as file:
            file.write_text(json.dumps({n: asdict(s) for n, s in self.stages.items()}, indent=1) + "\n")

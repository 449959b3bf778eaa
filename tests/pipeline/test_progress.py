"""What a long run says of its pace."""

from __future__ import annotations

import pytest

from neuropil.pipeline import progress
from neuropil.pipeline.progress import Pace, block_bar


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def test_rate_and_time_left_come_from_blocks_that_were_made(clock: list[float]) -> None:
    pace = Pace(1000, block_um3=8.0)
    pace.found = 500
    assert pace.line() == "500 of 1000 blocks"
    clock[0] = 1800.0
    pace.made, pace.failed = 19, 1
    assert pace.line() == "520 of 1000 blocks, 1 failed, 40 blocks/h, 5.33 µm³/min, 12:00 h left"


def test_a_log_gets_a_line_a_minute(clock: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    lines: list[str] = []
    monkeypatch.setattr(progress, "say", lines.append)
    with block_bar(10, 1.0) as report:
        for _ in range(10):
            clock[0] += 20.0
            report(False, False)
    assert len(lines) == 3
    assert lines[0] == "3 of 10 blocks, 180 blocks/h, 3 µm³/min, 0:02 h left"

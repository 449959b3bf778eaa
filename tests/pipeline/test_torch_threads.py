from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from neuropil.pipeline import torch_threads
from neuropil.pipeline.torch_threads import use_fastest_threads


@pytest.fixture(autouse=True)
def threads_as_before() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(("seconds", "fastest"), [({1: 1.0, 2: 0.6}, 2), ({1: 1.0, 2: 20.0}, 1)])
def test_the_faster_number_is_kept(seconds: dict[int, float], fastest: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch_threads.os, "sched_getaffinity", lambda process: {0, 1})
    monkeypatch.setattr(torch_threads, "_seconds_of_a_step", seconds.__getitem__)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert use_fastest_threads() == fastest
    assert torch.get_num_threads() == fastest


def test_a_step_takes_time_with_any_number_of_threads() -> None:
    assert 0 < torch_threads._seconds_of_a_step(1) < 10
    assert torch.get_num_threads() == 1

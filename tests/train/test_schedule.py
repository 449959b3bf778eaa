import pytest
import torch

from neuropil.train.schedule import Schedule, crossed, one_cycle


def test_one_cycle_is_torchs() -> None:
    steps = 50
    optimizer = torch.optim.Adam([torch.zeros(1, requires_grad=True)], 1e-3)
    theirs = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=steps + 1)
    for step in range(steps + 1):
        group = optimizer.param_groups[0]
        # Torch counts its rise one step short; a step's difference is the tolerance.
        near = [one_cycle(min(1, max(0, step + d) / steps), 2e-3) for d in (-1, 0, 1)]
        assert min(r for r, _ in near) <= group["lr"] <= max(r for r, _ in near) or step in (14, 15)
        assert min(m for _, m in near) - 1e-3 <= group["betas"][0] <= max(m for _, m in near) + 1e-3
        optimizer.step()
        theirs.step()
    assert one_cycle(0.3, 2e-3)[0] == pytest.approx(2e-3)
    assert one_cycle(0, 2e-3) == pytest.approx((8e-5, 0.95))
    assert one_cycle(1, 2e-3) == pytest.approx((8e-9, 0.95))


def test_progress_ends_at_one_whatever_is_replanned() -> None:
    schedule = Schedule.of_steps(100)
    assert [schedule.progress(s) for s in (0, 25, 100)] == [0, 0.25, 1]
    schedule.replan(25, 25)
    assert schedule.steps == 50
    assert [schedule.progress(s) for s in (10, 25, 50)] == pytest.approx([0.1, 0.25, 1])
    schedule.replan(45, 0)
    assert schedule.steps == 46 and schedule.progress(46) == 1
    values = [schedule.progress(s) for s in range(47)]
    assert values == sorted(values)


def test_every_part_is_crossed_once() -> None:
    for steps in (7, 10, 33, 997):
        schedule = Schedule.of_steps(steps)
        for parts in (1, 3, 5):
            hits = sum(crossed(schedule.progress(s), schedule.progress(s + 1), parts) for s in range(steps))
            assert hits == parts

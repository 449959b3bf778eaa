"""Chatter and debris."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from neuropil.simulate.knife import Knife

DIRTY = Knife(debris_per_um2=0.5, debris_radius_um=0.2, debris_backscatter=0.3)


def test_chatter_has_its_period_and_its_amplitude() -> None:
    knife = Knife(chatter=0.1, chatter_period_nm=200.0)
    bands = np.stack([knife.relief(3, z, 0, 4000, 5.0) for z in range(60)]) - 1.0
    power = (np.abs(np.fft.rfft(bands)) ** 2).sum(axis=0)
    frequency = np.arange(power.size) / (4000 * 5.0)
    assert (power * frequency).sum() / power.sum() == pytest.approx(1 / 200.0, rel=0.02)
    # A sine's mean square is half of its amplitude's.
    assert np.sqrt(2.0 * (bands**2).mean()) == pytest.approx(0.1, rel=0.2)
    assert np.array_equal(knife.relief(3, 5, 100, 50, 5.0), bands[5, 100:150].astype(np.float32) + np.float32(1.0))


def test_debris_is_as_dense_and_as_large_as_it_says() -> None:
    pieces = [piece for z in range(40) for piece in DIRTY.debris(1, z, (0.0, 0.0), (10_000.0, 10_000.0))]
    inside = [p for p in pieces if 0 <= p.y_nm < 10_000 and 0 <= p.x_nm < 10_000]
    assert len(inside) == pytest.approx(0.5 * 100 * 40, rel=0.07)
    assert np.mean([p.radius_nm for p in inside]) == pytest.approx(200.0, rel=0.03)


def test_debris_covers_the_face_alike_in_any_box() -> None:
    size_nm = (5.0, 5.0)
    whole, part = np.full((400, 500), 0.1, np.float32), np.full((150, 160), 0.1, np.float32)
    DIRTY.cover(whole, 0.3, DIRTY.debris(1, 3, (-500.0, -250.0), (1500.0, 2250.0)), (-100, -50), size_nm)
    DIRTY.cover(part, 0.3, DIRTY.debris(1, 3, (250.0, 300.0), (1000.0, 1100.0)), (50, 60), size_nm)
    assert np.array_equal(part, whole[150:300, 110:270])
    assert whole.max() == pytest.approx(0.3) and whole.min() == pytest.approx(0.1)
    area_um2 = (whole > 0.2).sum() * 25e-6
    assert area_um2 == pytest.approx(0.5 * 5.0 * np.pi * 0.2**2, rel=0.8)


def test_more_debris_than_there_is_room_for_is_refused() -> None:
    with pytest.raises(ValidationError, match=r"debris_per_um2 is 9 .* room for at most 1\.47 per µm²"):
        Knife(debris_per_um2=9.0, debris_radius_um=0.2)

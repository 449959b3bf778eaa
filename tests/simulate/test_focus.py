"""Defocus against rays."""

from __future__ import annotations

import numpy as np
import pytest

from neuropil.simulate.focus import Focus


@pytest.mark.parametrize("errors_um", [(2.0, 0.0, 0.0), (1.0, 0.7, 0.0), (0.5, -0.3, 0.8)])
def test_the_spot_is_where_the_rays_of_the_cone_land(errors_um: tuple[float, float, float]) -> None:
    """Rays spread evenly over the cone; each meets the face its angle times the focal error of its direction away."""
    focus, rng = Focus(convergence_mrad=6.0), np.random.default_rng(0)
    radius, turn = 6.0 * np.sqrt(rng.uniform(size=200_000)), rng.uniform(0, 2 * np.pi, 200_000)
    y, x = radius * np.cos(turn), radius * np.sin(turn)
    f, a, b = errors_um
    landed = np.stack(((f + a) * y + b * x, b * y + (f - a) * x))  # mrad · µm = nm
    assert focus.covariance_nm2(np.array(errors_um)) == pytest.approx(np.cov(landed), rel=0.02, abs=0.3)


def test_errors_drift_over_slices_within_their_bound() -> None:
    focus = Focus(defocus_um=1.0, astigmatism_um=0.5, length_slices=20)
    errors = focus.errors_um(3, -50, 4000)
    assert np.array_equal(focus.errors_um(3, 10, 30), errors[60:90])
    assert errors.std(axis=0) == pytest.approx([1.0, 0.5, 0.5], rel=0.2)
    largest = max(np.linalg.eigvalsh(focus.covariance_nm2(e)).max() for e in errors)
    assert largest < focus.largest_variance_nm2
    assert not Focus().errors_um(3, 0, 10).any()

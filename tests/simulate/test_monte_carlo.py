"""The Monte Carlo as a program: determinism, voxels, filters and refusals; and the origin of the signal."""

from __future__ import annotations

import math
import os
import subprocess
import sys

import numba
import numpy as np
import numpy.typing as npt
import pytest
from numba import cuda

from neuropil.simulate.materials import Material
from neuropil.simulate.monte_carlo import Medium, Sample, _turned, trace
from neuropil.simulate.monte_carlo_cuda import trace_cuda
from neuropil.simulate.monte_carlo_origin import SignalOrigin, signal_origin

CARBON, GOLD = Medium({"C": 1.0}, 2.0), Medium({"Au": 1.0}, 19.32)


def at_centre(count: int) -> npt.NDArray[np.float64]:
    return np.zeros((count, 2))


def stained_resin(stain: float) -> Medium:
    material = Material(id=0, resin=1.0 - stain, os=stain / 2, u=stain / 4, pb=stain / 4)
    return Medium(material.mass_fractions, material.density_g_cm3)


def test_electrons_do_not_depend_on_threads_nor_on_their_number(monkeypatch: pytest.MonkeyPatch) -> None:
    sample = Sample.uniform(CARBON)
    monkeypatch.setattr(numba.config, "NUMBA_NUM_THREADS", 1)
    alone = trace(sample, 2.0, at_centre(9000), key=4)
    monkeypatch.setattr(numba.config, "NUMBA_NUM_THREADS", 3)
    threaded = trace(sample, 2.0, at_centre(9000), key=4)
    fewer = trace(sample, 2.0, at_centre(500), key=4)
    assert (alone.exit_kev == threaded.exit_kev).all() and (alone.depth_nm == threaded.depth_nm).all()
    assert (alone.exit_kev[:500] == fewer.exit_kev).all()
    assert (alone.exit_kev != trace(sample, 2.0, at_centre(9000), key=5).exit_kev).any()


def test_giving_up_the_hopeless_changes_no_exit() -> None:
    sample = Sample.uniform(CARBON)
    to_rest = trace(sample, 3.0, at_centre(4000), key=1, to_rest=True)
    assert (trace(sample, 3.0, at_centre(4000), key=1).exit_kev == to_rest.exit_kev).all()
    assert 0.0 < to_rest.exit_kev.max() < 3.0


def test_voxels_of_one_medium_are_that_medium() -> None:
    voxels = np.zeros((7, 3, 3), np.uint8)
    voxels[::2, 1] = 1
    pieces = trace(Sample(voxels, (5.0, 4.0, 3.0), (CARBON, CARBON)), 2.0, at_centre(3000), key=4)
    assert (pieces.exit_kev == trace(Sample.uniform(CARBON), 2.0, at_centre(3000), key=4).exit_kev).all()


def test_a_film_lies_between_its_substrate_and_itself() -> None:
    def eta(gold_nm: int) -> float:
        voxels = np.zeros((gold_nm + 1, 1, 1), np.uint8)
        voxels[:gold_nm] = 1
        return trace(Sample(voxels, (1.0, 1.0, 1.0), (CARBON, GOLD)), 2.0, at_centre(8000), key=2).backscattered()

    gold = trace(Sample.uniform(GOLD), 2.0, at_centre(8000), key=2).backscattered()
    thin, thick = eta(2), eta(60)
    assert eta(0) + 0.05 < thin < gold - 0.05
    assert thick == pytest.approx(gold, abs=4.0 * math.sqrt(gold / 8000))


def test_the_beam_sees_the_voxel_that_it_lands_on() -> None:
    voxels = np.zeros((1, 1, 2), np.uint8)
    voxels[..., 1] = 1
    sample = Sample(voxels, (1.0, 1.0, 500.0), (CARBON, GOLD))
    left, right = (trace(sample, 2.0, np.tile([0.0, x], (4000, 1)), key=2).backscattered() for x in (250.0, 750.0))
    assert left == pytest.approx(0.081, abs=0.015)
    assert right == pytest.approx(0.48, abs=0.03)


def test_an_energy_filter_keeps_what_left_with_enough() -> None:
    sample = Sample.uniform(CARBON)
    everything = trace(sample, 2.0, at_centre(4000), key=2)
    filtered = trace(sample, 2.0, at_centre(4000), key=2, lowest_kev=1.6)
    assert filtered.backscattered(1.6) == everything.backscattered(1.6) < everything.backscattered()


@pytest.mark.parametrize(
    ("energy_kev", "lowest_kev", "message"),
    [(0.08, 0.05, "0.08 keV is outside 0.1 to 30"), (40.0, 0.05, "40 keV is outside"), (2.0, 3.0, "3 keV; it must")],
)
def test_energies_out_of_range_are_refused(energy_kev: float, lowest_kev: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        trace(Sample.uniform(CARBON), energy_kev, at_centre(1), key=1, lowest_kev=lowest_kev)


def test_samples_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ValueError, match="names medium 1, but there are only 1"):
        Sample(np.ones((1, 1, 1), np.uint8), (1.0, 1.0, 1.0), (CARBON,))
    with pytest.raises(ValueError, match=r"float64 of shape \(2, 2\)"):
        Sample(np.ones((2, 2)), (1.0, 1.0, 1.0), (CARBON,))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def origin() -> SignalOrigin:
    """At 2 keV with and without a filter, 100 000 electrons."""
    return signal_origin(stained_resin, 0.06, 2.0, (0.0, 0.75), 100_000, key=1, bins=(32, 16))


def test_contrast_is_the_change_of_the_backscatter_with_stain(origin: SignalOrigin) -> None:
    """The scores' sum against the difference of two runs at other stains, each with its own counting noise."""
    count = 150_000
    less, more = (trace(Sample.uniform(stained_resin(stain)), 2.0, at_centre(count), key=9) for stain in (0.0, 0.12))
    for k, lowest_kev in enumerate((0.05, 1.5)):
        low, high = less.backscattered(lowest_kev), more.backscattered(lowest_kev)
        noise = 3.0 * math.sqrt((low + high) / count) / 0.12
        assert origin.contrast[k].sum() == pytest.approx(
            (high - low) / 0.12, abs=noise + 0.05 * origin.contrast[k].sum()
        )


def test_contrast_of_a_layer_comes_from_its_depth(origin: SignalOrigin) -> None:
    """A layer of 12 to 22 nm with more stain, by brute force, against the scores of its depths."""
    count, step = 200_000, 0.16
    voxels = np.zeros((12, 1, 1), np.uint8)
    voxels[6:11] = 1
    plain, layered = (
        trace(
            Sample(v, (2.0, 1.0, 1.0), (stained_resin(0.02), stained_resin(0.02 + step))), 2.0, at_centre(count), key=9
        )
        for v in (np.zeros_like(voxels), voxels)
    )
    found = (layered.backscattered() - plain.backscattered()) / step
    centres = (np.arange(32) + 0.5) / 32 * origin.reach_nm[0]
    # A layer's stain also makes it denser by some 8 %, which counts as thickness.
    predicted = origin.contrast[0].sum(axis=1)[(centres > 12.0) & (centres < 22.0)].sum()
    noise = 3.0 * math.sqrt(2.0 * plain.backscattered() / count) / step
    assert found == pytest.approx(predicted, abs=noise + 0.12 * predicted)


def test_a_filter_brings_the_signal_nearer_to_the_surface_and_the_beam(origin: SignalOrigin) -> None:
    depths, distances = (np.arange(32) + 0.5) / 32, 2.0 * ((np.arange(16) + 0.5) / 16) ** 2
    mean = [float(c.sum(axis=1) @ depths * r / c.sum()) for c, r in zip(origin.contrast, origin.reach_nm, strict=True)]
    apart = [
        float(c.sum(axis=0) @ distances * r / c.sum()) for c, r in zip(origin.contrast, origin.reach_nm, strict=True)
    ]
    assert 17.0 < mean[0] < 26.0 and 8.0 < mean[1] < 12.0
    assert apart[1] < 0.6 * apart[0] < 0.6 * mean[0]
    assert origin.detected[1] < 0.4 * origin.detected[0]
    assert origin.deepest.sum(axis=1) == pytest.approx(origin.detected)


_IN_THE_SIMULATOR = """
import numpy as np
from neuropil.simulate.monte_carlo import Medium, Sample
from neuropil.simulate.monte_carlo_cuda import trace_cuda
film = Sample(np.array([[[1]], [[0]]], np.uint8), (5.0,) * 3, (Medium({"C": 1.0}, 2.0), Medium({"Au": 1.0}, 19.32)))
fates = trace_cuda(film, 1.0, np.zeros((24, 2)), key=3)
print(*fates.exit_kev, *fates.depth_nm)
"""


def test_the_cuda_form_follows_the_same_electrons_in_numbas_simulator() -> None:
    """It has not run on a GPU; the simulator runs its Python, thread by thread."""
    switches = {"NUMBA_ENABLE_CUDASIM": "1", "NUMBA_DISABLE_JIT": "1", "PYTHONWARNINGS": "ignore"}
    ran = subprocess.run(
        [sys.executable, "-c", _IN_THE_SIMULATOR], env=os.environ | switches, capture_output=True, text=True, check=True
    )
    film = Sample(np.array([[[1]], [[0]]], np.uint8), (5.0, 5.0, 5.0), (CARBON, GOLD))
    expected = trace(film, 1.0, at_centre(24), key=3)
    assert (expected.exit_kev > 0.0).any()
    found = np.array(ran.stdout.split(), dtype=float)
    assert np.allclose(found, np.concatenate((expected.exit_kev, expected.depth_nm)), rtol=1e-9)


@pytest.mark.skipif(cuda.is_available(), reason="there is a CUDA device")
def test_without_a_gpu_the_cuda_form_says_so() -> None:
    with pytest.raises(RuntimeError, match="no CUDA device"):
        trace_cuda(Sample.uniform(CARBON), 1.0, at_centre(1), key=1)


@pytest.mark.parametrize("direction", [(1.0, 0.0, 0.0), (-1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.36, -0.48, 0.8)])
@pytest.mark.parametrize("cosine", [-1.0, -0.3, 0.0, 0.9, 1.0])
def test_a_turn_is_by_its_angle(direction: tuple[float, float, float], cosine: float) -> None:
    turned = np.array([_turned(*direction, cosine, azimuth) for azimuth in np.linspace(0.0, 2.0 * math.pi, 9)[:8]])
    assert np.allclose(turned @ np.array(direction), cosine)
    assert np.allclose(np.linalg.norm(turned, axis=1), 1.0)
    assert np.allclose(turned.mean(axis=0), cosine * np.array(direction))

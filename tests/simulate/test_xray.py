"""Tomograms: attenuation and fringes by the formulas, rings and streaks where the sinogram is wrong."""

from __future__ import annotations

import math

import numpy as np
import pytest
from pydantic import ValidationError
from scipy.special import fresnel
from skimage.transform import radon

from neuropil.simulate.imaging import load_microscope
from neuropil.simulate.materials import Material, MaterialTable, load_materials
from neuropil.simulate.truth import Truth
from neuropil.simulate.xray import (
    XRayAbsorption,
    XRayPhase,
    XRayTomograph,
    image_xray,
    paganin_filtered,
    projected,
    propagated,
    reconstructed,
)
from neuropil.voxelize.volume import Volume

SIZE_NM = (50.0, 50.0, 50.0)
KEV = 17.0
LAMBDA_NM = 1.2398420 / KEV


def smooth_table() -> MaterialTable:
    even = {"fine_grain_sd": 0.0, "coarse_grain_sd": 0.0, "between_cells_cv": 0.0}
    table = load_materials()
    return table.with_materials({n: m.model_copy(update=even) for n, m in table.materials.items()})


def plain(name: str = "xray_absorption", **update: object) -> XRayTomograph:
    """A shipped tomograph with no artefact and hardly any noise, 0.1 grey level for a thousandth of 1/cm."""
    shipped = load_microscope(name)
    assert isinstance(shipped, XRayTomograph)
    clean = {"energy_kev": KEV, "photons_per_pixel": 1e12, "ring_sd": 0, "bad_projections": 0, "detector_fwhm_px": 0}
    scale = {"gain_grey_per_per_cm": 1000.0, "offset_grey": 20000, "pixel_nm": 100, "projections": 90}
    return type(shipped).model_validate(shipped.model_dump() | clean | scale | update)


def block_of(name: str, shape: tuple[int, int, int] = (4, 48, 48)) -> Truth:
    table = load_materials()
    return Truth(
        Volume(np.full(shape, table[name].id, np.uint8), SIZE_NM),
        Volume(np.zeros(shape, np.uint8), SIZE_NM),
        Volume(np.ones(shape, np.uint32), SIZE_NM),
        Volume(np.zeros(shape, np.uint8), SIZE_NM),
    )


def slices(block: Truth, microscope: XRayTomograph) -> np.ndarray:
    """Attenuation in 1/cm."""
    rng = np.random.default_rng(0)
    made = image_xray(block.materials, block.membrane, block.instances, smooth_table(), microscope, rng)
    return (made.image.data.astype(float) - microscope.offset_grey) / microscope.gain_grey_per_per_cm


def squared(shape: tuple[int, int, int] = (4, 48, 48)) -> Truth:
    """A square pillar of PSD, a third of the block wide, in cytoplasm."""
    block = block_of("dendroplasm", shape)
    third = shape[1] // 3
    block.materials.data[:, third:-third, third:-third] = load_materials()["psd"].id
    return block


@pytest.mark.parametrize("sample_um", [0, 2000])
def test_reconstruction_gives_the_attenuation_of_the_materials(sample_um: float) -> None:
    """A square of one material in another, in a sample hardly larger and in a thick one."""
    found = slices(squared(), plain(sample_um=sample_um))
    assert found.shape == (2, 24, 24)
    outside, inside = (load_materials()[n].x_ray_attenuation_per_cm(KEV) for n in ("dendroplasm", "psd"))
    assert found[:, 10:14, 10:14].mean() == pytest.approx(inside, rel=0.03)
    assert found[:, :4].mean() == pytest.approx(outside, rel=0.03)


def test_projections_and_reconstruction_agree_with_scikit_image() -> None:
    rng = np.random.default_rng(0)
    y, x = np.mgrid[-32:33, -32:33]
    image = np.where(np.hypot(y - 5, x + 9) < 12, 1.0, 0.2 * (np.hypot(y, x) < 25)).astype(np.float32)
    image += 0.05 * rng.normal(size=image.shape).astype(np.float32) * (np.hypot(y, x) < 25)
    angles = np.arange(60) * 3.0
    ours = np.stack([projected(image[None], angle, 2.0)[0] for angle in angles], axis=1)
    assert np.allclose(ours, 2.0 * radon(image, theta=angles), atol=0.05)
    again = reconstructed(ours.T[:, None].astype(np.float32), angles, 2.0)[0]
    assert np.abs(again - image)[np.hypot(y, x) < 20].mean() < 0.12


@pytest.mark.parametrize(("loss", "phase"), [(0.7, 0.0), (0.0, 0.4), (0.3, -0.6)])
def test_the_fringe_of_an_edge_is_fresnels(loss: float, phase: float) -> None:
    """A straight edge of attenuation and phase against its closed form in Fresnel's integrals."""
    pixel, distance = 20.0, 5e6
    x = (np.arange(2000) - 1000 + 0.5) * pixel
    transmission = np.exp(-0.5 * loss + 1j * phase)
    wave = np.where(x > 0, transmission, 1.0).astype(np.complex64)
    found = propagated(np.tile(wave, (4, 1)), pixel, LAMBDA_NM, distance)[1]
    s, c = fresnel(x * math.sqrt(2.0 / (LAMBDA_NM * distance)))
    lit = (c + 0.5 + 1j * (s + 0.5)) / (1 + 1j)
    expected = np.abs(1.0 + (transmission - 1.0) * lit) ** 2
    near = np.abs(x) < 4000
    assert np.abs(found - expected)[near].max() < 0.012 * max(loss, abs(phase))
    assert found[near].max() > 1.05 if phase else found[near].max() > 1.02


def test_near_the_sample_intensity_follows_the_curvature_of_phase() -> None:
    """The transport of intensity (Teague 1983): I = 1 − (z/k) ∇²φ for a weak, smooth phase."""
    pixel, distance, sigma, depth = 50.0, 2e5, 400.0, 0.05
    y, x = (np.mgrid[-64:64, -64:64] + 0.5) * pixel
    r2 = x**2 + y**2
    phase = depth * np.exp(-r2 / (2 * sigma**2))
    curvature = phase * (r2 / sigma**4 - 2.0 / sigma**2)
    expected = 1.0 - distance * LAMBDA_NM / (2 * math.pi) * curvature
    found = propagated(np.exp(1j * phase).astype(np.complex64), pixel, LAMBDA_NM, distance)
    assert np.abs(found - expected).max() < 0.03 * np.abs(expected - 1).max()


def test_paganins_filter_gives_back_a_sample_of_one_material() -> None:
    pixel, distance, ratio, beta = 50.0, 2e5, 500.0, 4e-9
    y, x = (np.mgrid[-64:64, -64:64] + 0.5) * pixel
    thickness = 2e4 * np.exp(-(x**2 + y**2) / (2 * 500.0**2))
    k = 2 * math.pi / LAMBDA_NM
    wave = np.exp(-k * beta * thickness - 1j * k * ratio * beta * thickness).astype(np.complex64)
    intensity = propagated(wave, pixel, LAMBDA_NM, distance)
    absorbed = np.exp(-2 * k * beta * thickness)
    assert np.abs(intensity - absorbed).max() > 1.5 * (1 - absorbed).max()
    found = paganin_filtered(intensity, pixel, LAMBDA_NM, distance, ratio)
    assert np.abs(found - absorbed).max() < 0.1 * (1 - absorbed).max()


def test_propagation_shows_edges_that_absorption_hides() -> None:
    block = squared((8, 60, 60))
    seen = slices(block, plain(pixel_nm=50))
    fringed = slices(block, plain("xray_phase", pixel_nm=50, propagation_mm=0.2, delta_over_beta=None))
    assert np.ptp(fringed[4, 30]) > 5 * np.ptp(seen[4, 30])


def test_pixels_make_rings_and_bad_projections_streaks() -> None:
    block = squared()
    clean = slices(block, plain())
    rings = slices(block, plain(ring_sd=2e-5, gain_grey_per_per_cm=100.0))
    streaks = slices(block, plain(bad_projections=0.1, bad_projection_px=10))
    assert (rings - clean).std() > 0.2 and (streaks - clean).std() > 0.2
    # About the axis a ring is the same over half a turn: its mean over angles keeps more than chance leaves, a sixth.
    y, x = np.mgrid[-12:12, -12:12]
    radius = np.hypot(y, x).astype(int)
    error = (rings - clean)[1]
    around = np.array([error[radius == r].mean() for r in range(3, 11)])
    assert around.std() > 0.25 * error[radius < 11].std()


def test_noise_falls_with_the_photons() -> None:
    block = block_of("dendroplasm")
    few, many = (slices(block, plain(photons_per_pixel=n, gain_grey_per_per_cm=1)).std() for n in (1e6, 1e8))
    assert few / many == pytest.approx(10.0, rel=0.15)


def test_each_has_its_own_class_and_bad_ones_are_refused() -> None:
    assert isinstance(load_microscope("xray_absorption"), XRayAbsorption)
    assert isinstance(load_microscope("xray_phase"), XRayPhase)
    with pytest.raises(ValidationError, match="energy_kev"):
        plain(energy_kev=500)
    with pytest.raises(ValidationError, match="propagation_mm"):
        plain("xray_phase", propagation_mm=0)
    with pytest.raises(ValueError, match="are larger than the tomograph's of 20 nm"):
        slices(block_of("psd"), plain(pixel_nm=20))
    with pytest.raises(ValueError, match="200 nm long in z, from 0 nm on, which holds no whole voxel"):
        slices(block_of("psd"), plain(pixel_nm=1000))


def test_a_material_without_composition_is_refused_in_a_sentence() -> None:
    with pytest.raises(ValidationError, match="resin"):
        Material.model_validate({"id": 3, "os": 0.1})
    with pytest.raises(ValueError, match="material 3: its mass fractions sum to 0, they must sum to 1"):
        Material(id=3, resin=0.0)

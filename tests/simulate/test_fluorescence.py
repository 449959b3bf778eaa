"""Light microscopes: photons by the budget, widths by the point spread, labels at the middle of each voxel."""

from __future__ import annotations

import math

import numpy as np
import pytest
from pydantic import ValidationError

from neuropil.simulate.fluorescence import (
    Confocal,
    LightMicroscope,
    TwoPhoton,
    Widefield,
    image_filled_cells,
    image_fluorescence,
    labelled_cells,
    sample_grid,
)
from neuropil.simulate.imaging import load_microscope
from neuropil.simulate.light_spread import measured_fwhm
from neuropil.simulate.materials import load_materials
from neuropil.simulate.truth import Truth
from neuropil.voxelize.volume import Volume

SIZE_NM = (50.0, 50.0, 50.0)
QUIET = {
    "psf": "gaussian", "background_photons": 0, "read_noise_grey": 0, "offset_grey": 0, "excess_noise": 1, "bits": 16,
    "bleached_per_section": 0, "attenuation_length_um": None, "labelled_share": 1, "brightness_cv": 0, "depth_um": 0,
}  # fmt: skip


def plain(name: str, **update: object) -> LightMicroscope:
    """A shipped microscope without losses, noise of its detector or spread between cells, some values changed."""
    shipped = load_microscope(name)
    assert isinstance(shipped, LightMicroscope)
    return type(shipped).model_validate(shipped.model_dump() | QUIET | update)


def filled(shape: tuple[int, int, int] = (40, 40, 40), cell: int = 1) -> Truth:
    """A block of nothing but cytoplasm."""
    plasm = load_materials()["dendroplasm"].id
    return Truth(
        Volume(np.full(shape, plasm, np.uint8), SIZE_NM),
        Volume(np.zeros(shape, np.uint8), SIZE_NM),
        Volume(np.full(shape, cell, np.uint32), SIZE_NM),
        Volume(np.zeros(shape, np.uint8), SIZE_NM),
    )


def picture(block: Truth, microscope: LightMicroscope, seed: int = 0) -> Volume:
    rng = np.random.default_rng(seed)
    return image_fluorescence(block.materials, block.membrane, block.instances, load_materials(), microscope, rng).image


def test_photons_of_a_filled_block_are_those_of_the_budget() -> None:
    """20 µmol/L are 12044 molecules in a µm³; a slab as thick as the axial Gaussian's integral is seen at once."""
    microscope = plain("two_photon", photons_per_molecule=1.0, gain_grey_per_photon=1.0)
    image = picture(filled(), microscope).data.astype(float)
    axial = microscope.fwhm_nm()[1] / 2.3548 * math.sqrt(2 * math.pi)
    expected = 20 * 602.214 * 0.12 * 0.12 * axial * 1e-3
    # The Gaussian is cut at 1.5 widths on either side.
    assert image.mean() == pytest.approx(expected, rel=0.02)
    assert image.var() == pytest.approx(image.mean(), rel=0.15)


def test_a_noisier_detector_keeps_the_mean() -> None:
    microscope = plain("two_photon", photons_per_molecule=1.0, gain_grey_per_photon=1.0, excess_noise=2.0)
    image = picture(filled(), microscope).data.astype(float)
    assert image.var() == pytest.approx(2.0 * image.mean(), rel=0.2)


def test_bleaching_attenuation_and_background_add_up() -> None:
    bright = {"photons_per_molecule": 1e2, "gain_grey_per_photon": 0.1}
    still = picture(filled(), plain("confocal", **bright)).data.mean(axis=(1, 2))
    faded = picture(filled(), plain("confocal", bleached_per_section=0.1, **bright)).data.mean(axis=(1, 2))
    assert faded / still == pytest.approx(0.9 ** np.arange(10), rel=0.03)
    deep = picture(filled(), plain("confocal", attenuation_length_um=50, depth_um=100, **bright)).data.mean()
    assert deep / still.mean() == pytest.approx(math.exp(-101 / 50), rel=0.04)
    empty = picture(filled(cell=0), plain("confocal", background_photons=30, gain_grey_per_photon=2.0)).data
    assert empty.mean() == pytest.approx(60, rel=0.03)


@pytest.mark.parametrize("name", ["widefield", "confocal", "two_photon"])
def test_a_point_is_as_wide_as_the_formulas_say(name: str) -> None:
    """A voxel of cytoplasm, hugely bright: its image's width in the plane, in fine pixels."""
    block = filled((40, 60, 60), cell=0)
    block.instances.data[20, 30, 30] = 1
    microscope = plain(name, pixel_nm=50, z_step_nm=50, photons_per_molecule=1e6, gain_grey_per_photon=0.1)
    image = picture(block, microscope).data.astype(float)
    peak = np.unravel_index(image.argmax(), image.shape)
    assert abs(peak[0] - 20) <= 3 and abs(peak[1] - 30) <= 1 and abs(peak[2] - 30) <= 1
    lateral = 50 * measured_fwhm(image[peak[0], peak[1]])
    # The point is a voxel of 50 nm, and so is the pixel.
    assert lateral == pytest.approx(math.hypot(microscope.fwhm_nm()[0], 2.3548 * 50 / math.sqrt(6)), rel=0.05)


def test_sparse_labelling_is_the_cells_own() -> None:
    microscope = plain("confocal", labelled_share=0.3, brightness_cv=0.5)
    found = labelled_cells(microscope, 7, np.arange(4000))
    assert len(found) / 4000 == pytest.approx(0.3, abs=0.03)
    values = np.array(list(found.values()))
    assert values.mean() == pytest.approx(1.0, abs=0.06)
    assert values.std() == pytest.approx(0.5, abs=0.08)
    few = labelled_cells(microscope, 7, np.array([5, 17, 900]))
    assert few == {cell: found[cell] for cell in (5, 17, 900) if cell in found}


def test_organelles_and_bilayer_are_dark() -> None:
    table, microscope = load_materials(), plain("two_photon")
    block = filled()
    bright = picture(block, microscope).data.mean()
    block.membrane.data[:] = 128
    assert picture(block, microscope).data.mean() == pytest.approx(bright * (1 - 128 / 255), rel=0.03)
    block.materials.data[:] = table["mitochondrial_matrix"].id
    assert picture(block, microscope).data.max() == 0


def test_cells_of_a_circuit_are_as_bright_as_they_fill_their_voxels() -> None:
    ids = np.zeros((10, 40, 40), np.uint32)
    ids[:, :20], ids[:, 20:] = 1, 2
    share = np.full(ids.shape, 65535 // 4, np.uint16)
    size = (500.0, 200.0, 200.0)
    microscope = plain("two_photon", pixel_nm=200, photons_per_molecule=1.0, gain_grey_per_photon=2.0)
    rng = np.random.default_rng(0)
    made = image_filled_cells(Volume(ids, size), Volume(share, size), 20.0, frozenset({2}), microscope, rng)
    assert made.parameters["brightness"] == {"1": 1.0}
    image = made.image.data.astype(float)
    axial_um = 1e-3 * microscope.fwhm_nm()[1] / 2.3548 * math.sqrt(2 * math.pi)
    expected = 2.0 * 0.25 * 20 * 602.214 * 0.2 * 0.2 * axial_um
    assert image[:, :15].mean() == pytest.approx(expected, rel=0.04)
    assert image[:, 26:].mean() < 0.01 * expected
    with pytest.raises(ValueError, match="must agree"):
        image_filled_cells(Volume(ids, size), Volume(share[:5], size), 20.0, frozenset(), microscope, rng)


def test_a_coarse_block_is_imaged_on_its_own_voxels() -> None:
    ids, share = np.ones((4, 30, 30), np.uint32), np.full((4, 30, 30), 65535, np.uint16)
    size = (1000.0, 300.0, 300.0)
    made = image_filled_cells(
        Volume(ids, size), Volume(share, size), 20.0, frozenset(), plain("confocal"), np.random.default_rng(0)
    )
    assert made.image.voxel_size_nm == size and made.image.shape_zyx == (4, 30, 30)


@pytest.mark.parametrize("size", [(100.0, 50.0, 50.0), (1000.0, 300.0, 300.0), (2400.0, 900.0, 900.0)])
def test_photons_do_not_depend_on_how_coarse_the_block_is(size: tuple[float, float, float]) -> None:
    """Everything filled: photons in a pixel grow with its area and with the integral of the axial spread alone."""
    shape = tuple(round(7200 / nm) for nm in size)
    ids, share = np.ones(shape, np.uint32), np.full(shape, 65535, np.uint16)
    microscope = plain("two_photon", photons_per_molecule=1.0, gain_grey_per_photon=1.0, pixel_nm=120, z_step_nm=400)
    made = image_filled_cells(
        Volume(ids, size), Volume(share, size), 20.0, frozenset(), microscope, np.random.default_rng(0)
    ).image
    axial_um = 1e-3 * microscope.fwhm_nm()[1] / 2.3548 * math.sqrt(2 * math.pi)
    expected = 20 * 602.214 * axial_um * (1e-3 * made.voxel_size_nm[1]) ** 2
    assert made.data.mean() == pytest.approx(expected, rel=0.03)


def test_labels_are_those_at_the_middle_of_each_voxel() -> None:
    microscope = plain("confocal", pixel_nm=70, z_step_nm=200)
    data = np.arange(40 * 40 * 40, dtype=np.uint32).reshape(40, 40, 40)
    labels = sample_grid(microscope, Volume(data, SIZE_NM)).labels(Volume(data, SIZE_NM))
    assert labels.shape_zyx == (10, 28, 28)
    assert labels.voxel_size_nm == (200.0, 70.0, 70.0)
    assert labels.data[3, 5, 9] == data[14, 7, 13]


def test_a_12_bit_camera_saturates_and_a_seed_decides() -> None:
    microscope = plain("confocal", photons_per_molecule=1e4, bits=12)
    image = picture(filled(), microscope).data
    assert image.dtype == np.uint16 and image.max() == 4095
    noisy = plain("confocal")
    assert np.array_equal(picture(filled(), noisy, 1).data, picture(filled(), noisy, 1).data)
    assert not np.array_equal(picture(filled(), noisy, 1).data, picture(filled(), noisy, 2).data)


def test_bad_microscopes_and_small_blocks_are_refused_in_a_sentence() -> None:
    with pytest.raises(ValidationError, match=r"numerical_aperture is 1\.6; it has to be below the immersion_index"):
        plain("widefield", numerical_aperture=1.6)
    with pytest.raises(ValidationError, match="excitation_nm"):
        plain("two_photon", excitation_nm=488)
    with pytest.raises(ValueError, match=r"2000 nm long in z, from 0 nm on, which holds no whole voxel of .* 3000 nm"):
        picture(filled(), plain("confocal", z_step_nm=3000))
    with pytest.raises(ValueError, match="instances is uint8"):
        block = filled()
        rng = np.random.default_rng(0)
        image_fluorescence(block.materials, block.membrane, block.membrane, load_materials(), plain("confocal"), rng)


def test_each_modality_has_its_own_class() -> None:
    kinds = {name: type(load_microscope(name)) for name in ("widefield", "confocal", "two_photon")}
    assert kinds == {"widefield": Widefield, "confocal": Confocal, "two_photon": TwoPhoton}

"""Sections: transmission by the formulas, projection through the thickness, artefacts that take their labels along."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest
from pydantic import ValidationError

from neuropil.simulate.imaging import load_microscope
from neuropil.simulate.materials import MaterialTable, load_materials
from neuropil.simulate.section_artefacts import Folds, Tears
from neuropil.simulate.sstem import (
    SsTem,
    blur_reach,
    image_sstem,
    labels_on_sections,
    lost_per_nm,
    share_inelastic_beyond,
)
from neuropil.simulate.truth import Truth
from neuropil.voxelize.volume import Volume

SIZE_NM = (5.0, 5.0, 5.0)
ARTEFACTS = ("misalignment", "folds", "tears", "unevenness", "knife_marks", "precipitate", "debris")


def plain(**update: object) -> SsTem:
    """The shipped microscope with perfect sections and hardly any noise, with some values changed."""
    still = dict.fromkeys(ARTEFACTS) | dict.fromkeys(
        ("thickness_cv", "stain_cv", "exposure_cv", "exposure_offset_grey", "missing_probability", "defocus_nm"), 0.0
    )
    exact = {"dose_e_per_px": 1e8, "gain_grey_per_electron": 2.5e-6, "offset_grey": 0.0, "camera_fwhm_px": 0.0}
    base = load_microscope("sstem").model_dump()
    return SsTem.model_validate(base | still | exact | {"lateral_fwhm_nm": (0.0, 0.0), "post_stain": 1.0} | update)


def smooth_table() -> MaterialTable:
    """The shipped materials, evenly stained."""
    even = {"fine_grain_sd": 0.0, "coarse_grain_sd": 0.0, "between_cells_cv": 0.0}
    table = load_materials()
    return table.with_materials({n: m.model_copy(update=even) for n, m in table.materials.items()})


def flat(material: int, shape: tuple[int, int, int] = (40, 60, 60)) -> Truth:
    return Truth(
        Volume(np.full(shape, material, np.uint8), SIZE_NM),
        Volume(np.zeros(shape, np.uint8), SIZE_NM),
        Volume(np.ones(shape, np.uint32), SIZE_NM),
        Volume(np.zeros(shape, np.uint8), SIZE_NM),
    )


def pictures(block: Truth, table: MaterialTable, microscope: SsTem, seed: int = 0) -> npt.NDArray[np.uint8]:
    rng = np.random.default_rng(seed)
    return image_sstem(block.materials, block.membrane, block.instances, table, microscope, rng).image.data


def grey_of(name: str, microscope: SsTem, thickness_nm: float | None = None) -> float:
    material = load_materials()[name]
    loss = sum(lost_per_nm(material.mass_fractions, material.density_g_cm3, microscope))
    return 250.0 * math.exp(-loss * (thickness_nm or microscope.section_thickness_nm))


def test_lenz_angles_integrate_to_their_closed_form() -> None:
    theta = np.geomspace(1e-7, 3.0, 400_001)
    theta_e, theta_0 = 13.5e-3 * 6 / 400, 3.7014e-3 * 6 ** (1 / 3) / (2 * math.pi * 0.0529)
    square = theta**2 + theta_e**2
    density = (1.0 - (1.0 + square / theta_0**2) ** -2) / square**2 * theta
    rings = 0.5 * (density[1:] + density[:-1]) * np.diff(theta)
    assert share_inelastic_beyond(6, 100.0, 10.0) == pytest.approx(
        rings[theta[1:] > 0.01].sum() / rings.sum(), rel=2e-3
    )
    assert share_inelastic_beyond(6, 100.0, 0.0) == 1.0


def test_a_filter_takes_all_that_lost_energy() -> None:
    """Carbon at 100 kV: Malis's 114 nm within 10 mrad, and Lenz's seventh of the events beyond it."""
    open_, filtered = plain(), plain(energy_filtered=True)
    losses = [lost_per_nm({"C": 1.0}, 2.0, m)[0] for m in (open_, filtered)]
    assert losses[1] - losses[0] == pytest.approx(1 / 114, rel=0.01)
    assert lost_per_nm({"C": 1.0}, 1.0, open_)[0] == pytest.approx(losses[0] / 2)
    assert lost_per_nm({"Os": 1.0}, 22.59, open_)[0] == 0.0


@pytest.mark.parametrize("name", ["dendroplasm", "psd"])
def test_transmission_is_that_of_the_mean_free_paths(name: str) -> None:
    table, microscope = smooth_table(), plain()
    images = pictures(flat(table[name].id), table, microscope)
    assert images.shape == (4, 60, 60)
    assert images.mean() == pytest.approx(grey_of(name, microscope), abs=0.5)
    thick = pictures(flat(table[name].id), table, plain(section_thickness_nm=100))
    # The operator keeps nothing equal between stacks, so a thicker one is darker.
    assert thick.mean() == pytest.approx(grey_of(name, microscope, 100.0), abs=0.5)


def test_noise_is_that_of_the_counted_electrons() -> None:
    table = smooth_table()
    noisy = plain(dose_e_per_px=2000, gain_grey_per_electron=0.1)
    image = pictures(flat(table["dendroplasm"].id, (10, 200, 200)), table, noisy).astype(float)
    counts = 2000 * grey_of("dendroplasm", plain()) / 250.0
    assert image.var() == pytest.approx(0.01 * counts + 1 / 12, rel=0.03)


def test_a_tilted_face_smears_over_its_projection() -> None:
    """A face at 45° spreads over a section's thickness in the plane, evenly."""
    table = smooth_table()
    block = flat(table["dendroplasm"].id, (20, 20, 80))
    z, x = np.arange(20)[:, None, None], np.arange(80)[None, None, :]
    block.materials.data[:] = np.where(x - 30 > z, table["psd"].id, table["dendroplasm"].id)
    profile = np.log(pictures(block, table, plain(section_thickness_nm=100))[0].mean(axis=0))
    share = (profile[0] - profile) / (profile[0] - profile[-1])
    assert np.allclose(share[31:51], np.linspace(0, 1, 21)[1:], atol=0.08)


def test_a_cut_between_slices_counts_their_parts() -> None:
    """Sections of 32 nm in voxels of 5 nm: each holds 6.4 of them."""
    table, microscope = smooth_table(), plain(section_thickness_nm=32)
    images = pictures(flat(table["psd"].id), table, microscope)
    assert len(images) == 6
    assert images.mean(axis=(1, 2)) == pytest.approx(grey_of("psd", microscope), abs=0.5)


def test_cuts_vary_and_sections_meet() -> None:
    table, microscope = smooth_table(), plain(section_thickness_nm=20, thickness_cv=0.1)
    block = flat(1, (2000, 2, 2))
    rng = np.random.default_rng(0)
    made = image_sstem(block.materials, block.membrane, block.instances, table, microscope, rng).parameters["sections"]
    tops, bottoms = (np.array([one[name] for one in made]) for name in ("top_nm", "bottom_nm"))
    assert np.array_equal(tops[1:], bottoms[:-1])
    assert (bottoms - tops).mean() == pytest.approx(20.0, rel=0.01)
    assert (bottoms - tops).std() == pytest.approx(2.0, rel=0.1)


def test_a_fold_is_three_layers_and_a_tear_none() -> None:
    table = smooth_table()
    block = flat(table["dendroplasm"].id, (10, 300, 300))
    folded = plain(folds={"probability": 1, "width_nm": 60, "spacing_um": 1.2})
    greys = np.unique(pictures(block, table, folded))
    assert greys[0] == pytest.approx(grey_of("dendroplasm", folded, 150.0), abs=2)
    assert greys[-1] == pytest.approx(grey_of("dendroplasm", folded), abs=2)
    torn = plain(tears={"probability": 1, "width_nm": 60, "spacing_um": 1.2, "length_um": 2})
    image = pictures(block, table, torn)
    labels = labels_on_sections(block.instances, torn, key_of(block, table, torn)).data
    assert image.max() >= 249
    assert np.array_equal(labels == 0, image > 240)


def key_of(block: Truth, table: MaterialTable, microscope: SsTem) -> int:
    rng = np.random.default_rng(0)
    key = image_sstem(block.materials, block.membrane, block.instances, table, microscope, rng).parameters["key"]
    assert isinstance(key, int)
    return key


def test_labels_go_where_the_tissue_went() -> None:
    """A pattern whose labels are its materials: each pixel's grey is that of its label, however the section lies."""
    table = smooth_table()
    block = flat(table["dendroplasm"].id, (10, 300, 300))
    y, x = np.arange(300)[:, None] // 40, np.arange(300)[None, :] // 40
    block.materials.data[:, (y + x) % 2 == 1] = table["psd"].id
    moved = plain(
        misalignment={"shift_nm": 30, "warp_nm": 15, "warp_length_um": 0.5},
        folds={"probability": 1, "width_nm": 40, "spacing_um": 1.2},
    )
    image = pictures(block, table, moved)[0]
    labels = labels_on_sections(block.materials, moved, key_of(block, table, moved)).data[0]
    assert (labels != block.materials.data[0]).mean() > 0.1
    middle = 0.5 * (grey_of("dendroplasm", moved) + grey_of("psd", moved))
    outside_fold = image > grey_of("psd", moved) - 5
    assert ((image < middle) == (labels == table["psd"].id))[outside_fold].mean() > 0.985
    still = labels_on_sections(block.materials, plain(), 5).data
    assert np.array_equal(still[0], block.materials.data[0])


def test_missing_sections_are_black_and_keep_their_labels(block: Truth) -> None:
    gone = plain(missing_probability=1.0, section_thickness_nm=40)
    assert not pictures(block, load_materials(), gone).any()
    labels = labels_on_sections(block.instances, gone, 3)
    assert labels.voxel_size_nm == (40.0, 5.0, 5.0)
    assert np.array_equal(labels.data, block.instances.data[[4, 12, 20]])


def test_specks_scratches_and_chatter_are_seen() -> None:
    table = smooth_table()
    block = flat(table["dendroplasm"].id, (10, 300, 300))
    plain_grey = grey_of("dendroplasm", plain())
    lead = plain(precipitate={"probability": 1, "clusters_per_um2": 3, "grains_per_cluster": 5, "diameter_nm": 30})
    image = pictures(block, table, lead)
    assert 0.001 < (image < 0.7 * plain_grey).mean() < 0.2
    rng = np.random.default_rng(0)
    made = image_sstem(block.materials, block.membrane, block.instances, table, lead, rng)
    for grain in made.parameters["sections"][0]["precipitate"]:
        y, x = int(grain["y_nm"] / 5), int(grain["x_nm"] / 5)
        if 0 <= y < 300 and 0 <= x < 300:
            assert made.image.data[0, y, x] < 0.8 * plain_grey
    scratched = pictures(block, table, plain(knife_marks={"per_um": 3, "width_nm": 20, "depth": 0.5}))
    assert scratched.max() > plain_grey + 4
    chatter = pictures(block, table, plain(unevenness={"chatter": 0.2, "chatter_period_nm": 300})).astype(float)
    depth = np.log(250.0 / chatter)
    assert depth.std() / depth.mean() == pytest.approx(0.2 / math.sqrt(2), rel=0.2)


def test_tiles_agree_with_the_whole_byte_for_byte(block: Truth) -> None:
    table = load_materials()
    everything = SsTem.model_validate(
        load_microscope("sstem").model_dump()
        | {"section_thickness_nm": 20, "thickness_cv": 0.05, "defocus_nm": 200, "read_noise_grey": 1.0}
        | {
            "misalignment": {"shift_nm": 4, "warp_nm": 3, "warp_length_um": 0.3},
            "folds": {"probability": 0.5, "width_nm": 20, "spacing_um": 0.5},
            "tears": {"probability": 0.5, "width_nm": 20, "spacing_um": 0.5, "length_um": 0.5},
            "precipitate": {"probability": 1, "clusters_per_um2": 5, "grains_per_cluster": 5, "diameter_nm": 16},
        }
    )
    whole = pictures(block, table, everything)
    whole_labels = labels_on_sections(block.instances, everything, key_of(block, table, everything)).data
    rz, ry, rx = blur_reach(everything, SIZE_NM)
    assert rz == 1
    start, shape = (3, 20, 30), (18, 180, 190)
    part = block.crop(start, shape)
    tile = pictures(part, table, everything)
    labels = labels_on_sections(part.instances, everything, key_of(part, table, everything)).data
    # Of the sections 1 to 4 the outer two may reach beyond the tile.
    inner = (slice(1, 3), slice(ry, 180 - ry), slice(rx, 190 - rx))
    there = (slice(2, 4), slice(20 + ry, 200 - ry), slice(30 + rx, 220 - rx))
    assert tile[inner].size > 10_000
    assert np.array_equal(tile[inner], whole[there])
    assert np.array_equal(labels[inner], whole_labels[there])


def test_bad_microscopes_are_refused_in_a_sentence() -> None:
    with pytest.raises(ValidationError, match=r"voltage_kv is 300; sections are imaged at 80 to 120 kV"):
        plain(voltage_kv=300)
    with pytest.raises(ValidationError, match="too near"):
        Folds(probability=0.1, width_nm=1000, spacing_um=2)
    with pytest.raises(ValidationError, match="too near"):
        Tears(probability=0.1, width_nm=1000, spacing_um=2)
    with pytest.raises(ValidationError, match="section_thickness_nm"):
        plain(section_thickness_nm=5)


def test_blocks_that_do_not_fit_are_refused(block: Truth) -> None:
    table, rng = load_materials(), np.random.default_rng(0)
    with pytest.raises(ValueError, match="120 nm deep, from 0 nm on, which holds no whole section of 150 nm"):
        pictures(block, table, plain(section_thickness_nm=150))
    with pytest.raises(ValueError, match="slices of 60 nm are thicker than sections of 50 nm"):
        volumes = (Volume(v.data, (60.0, 5.0, 5.0)) for v in (block.materials, block.membrane, block.instances))
        image_sstem(*volumes, table, plain(), rng)
    with pytest.raises(ValueError, match="instances is uint8"):
        image_sstem(block.materials, block.membrane, block.membrane, table, plain(), rng)
    with pytest.raises(ValueError, match="voxel size"):
        other = Volume(block.membrane.data, (5.0, 5.0, 6.0))
        image_sstem(block.materials, other, block.instances, table, plain(), rng)
    with pytest.raises(ValueError, match="no material with id 99"):
        pictures(flat(99), table, plain())

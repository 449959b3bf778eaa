"""Image formation: physics in the mean, noise in the spread, and the same bytes for any tiling."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from neuropil.simulate.backscatter import Response, response
from neuropil.simulate.detector import NoiseFunction, set_detector
from neuropil.simulate.fibsem import blur_reach, expected_electrons, image_fibsem, sampled_artefacts
from neuropil.simulate.imaging import load_microscope
from neuropil.simulate.materials import Material, MaterialTable, cell_stains, load_materials
from neuropil.simulate.microscope import FibSem, SbfSem
from neuropil.simulate.truth import Truth
from neuropil.voxelize.volume import Volume

SIZE_NM = (5.0, 5.0, 5.0)


def still(**update: object) -> FibSem:
    """The shipped microscope without drift, with some values changed."""
    base = load_microscope("fibsem").model_dump() | {"drift_gain_sd": 0.0, "drift_offset_grey": 0.0}
    return FibSem.model_validate(base | update)


# Every artefact, one by one and together, with short memories so that tiles have something left inside.
ARTEFACTS: dict[str, dict[str, object]] = {
    "detector": {"dwell_correlation": 0.4, "read_noise_grey": 2.0, "resampling_fwhm_px": 1.6},
    "drift": {"beam_current_sd": 0.02, "drift_gain_sd": 0.02, "drift_offset_grey": 1.0},
    "scan": {
        "scan": {
            "misalignment_nm": 4.0,
            "wander_nm": 2.0,
            "drift_nm": 2.0,
            "vibration_nm": [1.0, 4.0],
            "jitter_nm": 1.5,
        }
    },
    "focus": {"focus": {"defocus_um": 0.5, "astigmatism_um": 0.3, "length_slices": 5.0}},
    "charging": {"charging": {"strength": 0.3, "length_nm": 20.0}},
    "mosaic": {
        "mosaic": {"tile_um": 0.4, "gain_sd": 0.02, "offset_grey": 2.0, "shift_nm": 4.0},
        "charging": {"strength": 0.3, "length_nm": 20.0},
    },
}
ALL: dict[str, object] = {key: value for artefact in ARTEFACTS.values() for key, value in artefact.items()}
OF_FIB: dict[str, object] = {"curtaining": {"contrast": 0.05}}
OF_SBF: dict[str, object] = {
    "knife": {"chatter": 0.05, "chatter_period_nm": 120.0, "debris_per_um2": 3.0, "debris_radius_um": 0.08}
}


def cut_by_knife(**update: object) -> SbfSem:
    """The shipped SBF-SEM at 5 nm pixels, with some values changed and nothing else wrong."""
    right = {name: {} for name in ("scan", "focus", "charging", "mosaic", "knife")}
    base = {k: v for k, v in still().model_dump().items() if k not in ("modality", "curtaining")}
    return SbfSem.model_validate(base | right | update)


def smooth_table() -> MaterialTable:
    """The shipped materials, evenly stained."""
    even = {"fine_grain_sd": 0.0, "coarse_grain_sd": 0.0, "between_cells_cv": 0.0}
    table = load_materials()
    return table.with_materials({n: m.model_copy(update=even) for n, m in table.materials.items()})


def picture(block: Truth, table: MaterialTable, microscope: FibSem, seed: int = 0) -> npt.NDArray[np.uint8]:
    rng = np.random.default_rng(seed)
    return image_fibsem(block.materials, block.membrane, block.instances, table, microscope, rng).image.data


def flat(material: int, shape: tuple[int, int, int] = (6, 64, 64), bilayer: int = 0, cell: int = 1) -> Truth:
    return Truth(
        Volume(np.full(shape, material, np.uint8), SIZE_NM),
        Volume(np.full(shape, bilayer, np.uint8), SIZE_NM),
        Volume(np.full(shape, cell, np.uint32), SIZE_NM),
        Volume(np.zeros(shape, np.uint8), SIZE_NM),
    )


def showing_resin(microscope: FibSem, gain: float, blank_grey: float) -> FibSem:
    """The microscope with resin at a grey of 220."""
    shown = set_detector(microscope, NoiseFunction(gain, blank_grey), 220.0)
    assert isinstance(shown, FibSem)
    return shown


def nearly_noiseless(**update: object) -> FibSem:
    """`still` with half a million electrons of resin in a pixel."""
    return showing_resin(still(**update), 3e-4, 380.0)


def answer_of(microscope: FibSem | SbfSem) -> Response:
    return response(microscope.landing_energy_kev, microscope.energy_filter_share)


def expected_counts(share: float, microscope: FibSem) -> float:
    return microscope.dose_e_per_px * microscope.collection_efficiency * share


@pytest.mark.parametrize("name", ["dendroplasm", "mitochondrial_matrix", "psd"])
def test_grey_follows_the_monte_carlos_response_and_noise_follows_poisson(name: str) -> None:
    table, microscope = smooth_table(), still()
    image = picture(flat(table[name].id, (8, 100, 100)), table, microscope).astype(np.float64)
    counts = expected_counts(answer_of(microscope).share_of(table[name]), microscope)
    assert image.mean() == pytest.approx(microscope.offset_grey + microscope.gain_grey_per_electron * counts, abs=0.15)
    # Rounding to whole grey levels adds a twelfth.
    assert image.var() == pytest.approx(microscope.gain_grey_per_electron**2 * counts + 1 / 12, rel=0.03)


def test_the_recorded_stain_is_what_was_imaged() -> None:
    """A flat cell's mean grey is that of a material with the fractions that are recorded for it."""
    table, microscope = load_materials(), still()
    plasm = table["axoplasm"]
    scale = np.array([1.0, 1.0, 1.0, 0.7], np.float32)
    for cell in (2, 3):
        block = flat(plasm.id, (8, 200, 200), cell=cell)
        shot = image_fibsem(
            block.materials, block.membrane, block.instances, table, microscope, np.random.default_rng(4), scale
        )
        recorded = cell_stains(table, shot.parameters["key"], {cell: ["axoplasm"]}, scale)[cell]["axoplasm"]
        taken = plasm.with_stain_fraction(sum(recorded.values()))
        counts = expected_counts(answer_of(microscope).share_of(taken), microscope)
        grey = microscope.offset_grey + microscope.gain_grey_per_electron * counts
        assert shot.image.data.mean() == pytest.approx(grey, abs=1.5)


def test_half_a_bilayer_adds_the_mass_it_has() -> None:
    table, microscope = smooth_table(), nearly_noiseless()
    image = picture(flat(table["axoplasm"].id, bilayer=128), table, microscope).astype(np.float64)
    fraction = 128 / 255
    answer = answer_of(microscope)
    share = answer.detected
    for material, part in ((table["axoplasm"], 1 - fraction), (table["membrane"], fraction)):
        share += part * answer.excess(material.density_g_cm3, material.backscatter(2.0))
    grey = microscope.offset_grey + microscope.gain_grey_per_electron * expected_counts(share, microscope)
    assert image.mean() == pytest.approx(grey, abs=0.6)


def test_a_thin_lining_counts_for_less() -> None:
    table, microscope = smooth_table(), still()
    matrix = table["mitochondrial_matrix"]
    greys = []
    for lining in (1.0, 0.5, 0.0):
        lined = table.with_materials({"mitochondrial_matrix": matrix.model_copy(update={"lining": lining})})
        greys.append(picture(flat(matrix.id, bilayer=255), lined, microscope).mean())
    bare = picture(flat(matrix.id), table, microscope).mean()
    assert greys[0] < greys[1] < greys[2]
    assert greys[2] == pytest.approx(bare, abs=0.3)


def test_heavy_stain_is_dark(block: Truth) -> None:
    image = picture(block, load_materials(), load_microscope("fibsem"))
    membrane = block.membrane.data > 200
    plain = (block.membrane.data == 0) & (block.classes.data <= 2) & (block.instances.data > 0)
    assert image[plain].mean() - image[membrane].mean() > 35


def test_blur_spreads_an_edge_as_its_width_says() -> None:
    """Across an edge of two materials the mean profile has the Gaussian's standard deviation."""
    table = smooth_table()
    microscope = nearly_noiseless(lateral_fwhm_nm=[30.0, 30.0], energy_filter_share=0.98)
    edge = flat(table["dendroplasm"].id, (3, 60, 81))
    edge.materials.data[:, :, 40:] = table["psd"].id
    profile = picture(edge, table, microscope).astype(np.float64).mean(axis=(0, 1))
    slope = -np.diff(profile)
    place = np.arange(80)
    centre = (slope * place).sum() / slope.sum()
    sigma_nm = 5.0 * np.sqrt((slope * (place - centre) ** 2).sum() / slope.sum())
    assert centre == pytest.approx(39.0, abs=0.2)
    assert sigma_nm == pytest.approx(30.0 / 2.3548, rel=0.12)


def test_deeper_slices_shine_through_as_the_depth_says() -> None:
    """A heavy slab that begins below slice 10 darkens slices before it, and none that are far away."""
    table = smooth_table()
    microscope = showing_resin(still(energy_filter_share=0.6), 0.233, 528.0)
    slab = flat(table["dendroplasm"].id, (24, 40, 40))
    slab.materials.data[10:] = table["psd"].id
    grey = picture(slab, table, microscope).astype(np.float64).mean(axis=(1, 2))
    assert grey[0] - grey[9] > 5.0
    assert np.all(np.diff(grey[:18]) < 1.0)
    reach = blur_reach(microscope, SIZE_NM)[0]
    assert grey[0] == pytest.approx(grey[9 - reach], abs=1.0)


@pytest.mark.parametrize(
    "microscope",
    [still(**ARTEFACTS[name]) for name in ARTEFACTS]
    + [still(**OF_FIB), cut_by_knife(**OF_SBF), still(**OF_FIB, **ALL), cut_by_knife(**OF_SBF, **ALL)],
    ids=[*ARTEFACTS, "curtains", "knife", "all of FIB", "all of SBF"],
)
def test_tiles_agree_with_the_whole_byte_for_byte(microscope: FibSem | SbfSem, block: Truth) -> None:
    table = load_materials()
    whole = picture(block, table, microscope)
    reach = blur_reach(microscope, SIZE_NM)
    shape = (16, 170, 190)
    for start in ((4, 0, 13), (8, 30, 30)):
        tile = picture(block.crop(start, shape), table, microscope)
        # A face of the tile that is one of the block's needs no margin.
        inner = tuple(
            slice(0 if s == 0 else r, n if s + n == size else n - r)
            for r, s, n, size in zip(reach, start, shape, whole.shape, strict=True)
        )
        there = tuple(slice(s + i.start, s + i.stop) for s, i in zip(start, inner, strict=True))
        assert tile[inner].size > 1000
        assert np.array_equal(tile[inner], whole[there])


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(corner=st.tuples(st.integers(0, 3), st.integers(0, 20), st.integers(0, 20)), cut=st.integers(1, 23))
def test_any_tiling_gives_the_bytes_of_the_whole(block: Truth, corner: tuple[int, int, int], cut: int) -> None:
    """Two tiles that share a random cut through the slices, each with the margin that `blur_reach` asks for."""
    table, microscope = load_materials(), still(**OF_FIB, **ARTEFACTS["scan"], **ARTEFACTS["charging"])
    part = block.crop(corner, (20, 170, 190))
    cut = min(cut, 19)
    margin = blur_reach(microscope, SIZE_NM)[0]
    whole = picture(part, table, microscope)
    for first, last in ((0, cut), (cut, 20)):
        low, high = max(first - margin, 0), min(last + margin, 20)
        tile = picture(part.crop((low, 0, 0), (high - low, 170, 190)), table, microscope)
        assert np.array_equal(tile[first - low : last - low], whole[first:last])


def test_threads_change_no_byte(block: Truth, monkeypatch: pytest.MonkeyPatch) -> None:
    table, microscope = load_materials(), still(**OF_FIB, **ALL)
    images = []
    for threads in (1, 3):
        monkeypatch.setattr("numba.config.NUMBA_NUM_THREADS", threads)
        images.append(picture(block, table, microscope))
    assert np.array_equal(*images)


def test_the_generator_decides_the_image(block: Truth) -> None:
    table, microscope = load_materials(), load_microscope("fibsem")
    small = block.crop((0, 0, 0), (4, 60, 60))
    assert np.array_equal(picture(small, table, microscope, 1), picture(small, table, microscope, 1))
    differs = picture(small, table, microscope, 1) != picture(small, table, microscope, 2)
    assert differs.mean() > 0.8


def test_cells_differ_in_stain_and_grain_mottles_them() -> None:
    table, microscope = load_materials(), nearly_noiseless()
    even = smooth_table()
    pair = flat(table["axoplasm"].id, (4, 80, 160))
    pair.instances.data[:, :, 80:] = 9
    means = [picture(pair, table, microscope)[:, :, side].mean() for side in (slice(0, 70), slice(90, 160))]
    assert abs(means[0] - means[1]) > 1.0
    assert picture(pair, table, microscope).std() > 5.0 > picture(pair, even, microscope).std()


@pytest.mark.parametrize("spread", [0.4, 1.0])
def test_uneven_stain_keeps_its_mean_and_has_its_spread(spread: float) -> None:
    """Nothing but grain, sharp and almost noiseless: the greys' mean and spread are the stain's."""
    table = smooth_table()
    plasm = table["axoplasm"].with_stain_fraction(0.01)
    table = table.with_materials({"axoplasm": plasm.model_copy(update={"fine_grain_sd": spread})})
    microscope = nearly_noiseless(lateral_fwhm_nm=[0.0, 0.0], energy_filter_share=0.98)

    def grey(stain: float) -> float:
        share = answer_of(microscope).share_of(plasm.with_stain_fraction(stain))
        return microscope.offset_grey + microscope.gain_grey_per_electron * expected_counts(share, microscope)

    image = picture(flat(1, (20, 200, 200)), table, microscope).astype(np.float64)
    assert image.mean() == pytest.approx(grey(0.01), abs=0.15 * (grey(1e-9) - grey(0.01)))
    assert image.std() == pytest.approx(spread * (grey(1e-9) - grey(0.01)), rel=0.12)
    skewness = ((image - image.mean()) ** 3).mean() / image.std() ** 3
    assert skewness < -0.2


def test_noise_is_correlated_along_the_scan_line_alone() -> None:
    table = smooth_table()
    image = picture(flat(1, (2, 200, 200)), table, still(dwell_correlation=0.6)).astype(np.float64)
    image -= image.mean()
    along = (image[..., :-1] * image[..., 1:]).mean() / image.var()
    across = (image[:, :-1] * image[:, 1:]).mean() / image.var()
    assert along == pytest.approx(0.6, abs=0.03)
    assert abs(across) < 0.03


def test_resampling_leaves_noise_alike_along_both_axes_and_weaker() -> None:
    """A Gaussian of σ px leaves 1/(4πσ²) of the variance, and exp(-1/4σ²) of it between neighbours; pixels add 1/12."""
    table = smooth_table()
    raw, resampled = (
        picture(flat(1, (2, 200, 200)), table, still(resampling_fwhm_px=fwhm)).astype(np.float64) for fwhm in (0.0, 2.4)
    )
    sigma = np.sqrt((2.4 / 2.3548) ** 2 + 1.0 / 12.0)
    assert resampled.var() == pytest.approx(raw.var() / (4.0 * np.pi * sigma**2), rel=0.06)
    rest = resampled - resampled.mean()
    for axis in (1, 2):
        near = np.moveaxis(rest, axis, 0)
        assert (near[:-1] * near[1:]).mean() / rest.var() == pytest.approx(np.exp(-0.25 / sigma**2), abs=0.04)


def test_few_electrons_are_poisson() -> None:
    """At 3 detected electrons the share of empty pixels is e⁻³."""
    table = smooth_table()
    share = answer_of(still()).share_of(table["axoplasm"])
    microscope = still(dose_e_per_px=3.0 / (0.6 * share), gain_grey_per_electron=10.0, offset_grey=0.0)
    image = picture(flat(1, (2, 200, 200)), table, microscope)
    assert (image == 0).mean() == pytest.approx(np.exp(-3.0), rel=0.05)
    assert (image / 10.0).mean() == pytest.approx(3.0, rel=0.02)


def test_volumes_that_do_not_fit_are_refused(block: Truth) -> None:
    table, microscope, rng = load_materials(), load_microscope("fibsem"), np.random.default_rng(0)
    materials, membrane, instances = block.materials, block.membrane, block.instances
    with pytest.raises(ValueError, match="membrane has shape"):
        image_fibsem(materials, membrane.crop((0, 0, 0), (2, 2, 2)), instances, table, microscope, rng)
    with pytest.raises(ValueError, match="instances is uint8"):
        image_fibsem(materials, membrane, membrane, table, microscope, rng)
    with pytest.raises(ValueError, match="voxel size"):
        other = Volume(membrane.data, (5.0, 5.0, 6.0))
        image_fibsem(materials, other, instances, table, microscope, rng)
    few = table.model_copy(
        update={
            "materials": {"axoplasm": table["axoplasm"], "membrane": table["membrane"], "ecs": Material(id=0, resin=1)}
        }
    )
    with pytest.raises(ValueError, match="no material with id 2"):
        image_fibsem(materials, membrane, instances, few, microscope, rng)


def test_parameters_tell_what_was_done(block: Truth) -> None:
    microscope = load_microscope("fibsem")
    small = block.crop((3, 0, 0), (5, 20, 20))
    shot = image_fibsem(
        small.materials, small.membrane, small.instances, load_materials(), microscope, np.random.default_rng(0)
    )
    assert shot.image.origin_nm == (15.0, 0.0, 0.0)
    assert shot.parameters["microscope"]["landing_energy_kev"] == microscope.landing_energy_kev
    assert len(shot.parameters["drift_gain"]) == 5


def electrons(block: Truth, table: MaterialTable, microscope: FibSem | SbfSem, key: int = 4) -> npt.NDArray[np.float32]:
    return expected_electrons(block.materials, block.membrane, block.instances, table, microscope, key)


def speck(table: MaterialTable, shape: tuple[int, int, int] = (5, 80, 90)) -> Truth:
    """A heavy column through all slices of a pale block."""
    column = flat(table["dendroplasm"].id, shape)
    column.materials.data[:, 40, 45] = table["psd"].id
    return column


def moments(signal: npt.NDArray[np.float32]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Mean (y, x) and covariance of what a slice (y, x) has more than its corner, in pixels."""
    weight = signal.astype(np.float64) - signal[0, 0]
    weight /= weight.sum()
    places = np.indices(weight.shape)
    mean = (weight * places).sum(axis=(1, 2))
    apart = places - mean[:, None, None]
    return mean, np.einsum("yx,ayx,byx->ab", weight, apart, apart)


def test_a_slice_is_seen_where_the_scan_was() -> None:
    """The speck is seen a displacement back, which need be no whole pixel, and is no wider for it."""
    table, microscope = smooth_table(), still(scan={"misalignment_nm": 12.0}, energy_filter_share=0.9)
    signal = electrons(speck(table), table, microscope)
    offsets = sampled_artefacts(microscope, 4, SIZE_NM, (0, 0, 0), signal.shape)["slice_offset_nm"]
    straight = moments(electrons(speck(table), table, still(energy_filter_share=0.9))[2])
    for z, offset_nm in enumerate(offsets):
        mean, covariance = moments(signal[z])
        assert mean == pytest.approx(np.array([40.0, 45.0]) - np.array(offset_nm) / 5.0, abs=0.02)
        assert covariance == pytest.approx(straight[1], abs=0.03)


def test_lines_are_seen_where_each_of_them_was_scanned() -> None:
    table = smooth_table()
    microscope = still(scan={"jitter_nm": 10.0, "vibration_nm": [0.0, 8.0]})
    wall = flat(table["dendroplasm"].id, (1, 50, 120))
    wall.materials.data[..., 60] = table["psd"].id
    line = electrons(wall, table, microscope)[0].astype(np.float64)
    weight = line - line[:, :1]
    seen = (weight * np.arange(120)).sum(axis=1) / weight.sum(axis=1)
    sampled = sampled_artefacts(microscope, 4, SIZE_NM, (0, 0, 0), (1, 50, 120))
    moved_nm = microscope.scan.displacement_nm(sampled["scan_key"], 0, 0, 50)
    assert seen == pytest.approx(60.0 - moved_nm[:, 1] / 5.0, abs=0.02)


def test_displacements_leave_the_noise_white_and_as_strong() -> None:
    table = smooth_table()
    block = flat(1, (3, 200, 200))
    image = picture(block, table, still(scan=ARTEFACTS["scan"]["scan"])).astype(np.float64)
    image -= image.mean(axis=(1, 2), keepdims=True)
    straight = picture(block, table, still()).var()
    assert image.var() == pytest.approx(straight, rel=0.03)
    for axis in (1, 2):
        moved = np.moveaxis(image, axis, 0)
        assert abs((moved[1:] * moved[:-1]).mean()) < 0.02 * straight


def test_an_astigmatic_spot_is_as_wide_and_as_oblique_as_its_errors_say() -> None:
    table = smooth_table()
    microscope = still(focus={"defocus_um": 1.0, "astigmatism_um": 1.0, "length_slices": 1.0}, energy_filter_share=0.9)
    signal = electrons(speck(table), table, microscope)
    errors = sampled_artefacts(microscope, 4, SIZE_NM, (0, 0, 0), signal.shape)["focus_errors_um"]
    focused = moments(electrons(speck(table), table, still(energy_filter_share=0.9))[2])[1]
    for z in range(len(signal)):
        added = microscope.focus.covariance_nm2(np.array(errors[z])) / 25.0
        # Cutting Gaussians at 3.5 standard deviations takes 1 % off.
        assert moments(signal[z])[1] == pytest.approx(focused + added, rel=0.04, abs=0.1)
    assert max(abs(b) for _, _, b in errors) > 0.3


def test_curtains_hang_down_the_face_and_chatter_lies_across() -> None:
    table, block = smooth_table(), flat(1, (1, 300, 300))
    fib = electrons(block, table, still(curtaining={"contrast": 0.05, "length_um": 8.0}))[0]
    sbf = electrons(block, table, cut_by_knife(knife={"chatter": 0.05, "chatter_period_nm": 100.0}))[0]
    for along, signal in ((0, fib), (1, sbf)):
        relative = signal / signal.mean()
        assert relative.std() > 0.015
        assert relative.mean(axis=along).std() > 0.9 * relative.std() > 3.0 * relative.mean(axis=1 - along).std()


def test_charge_trails_behind_what_is_poorly_stained() -> None:
    """Beyond bare resin the signal is down along the scan line, by the charge's memory, and nowhere before it."""
    table = smooth_table()
    wall = flat(table["dendroplasm"].id, (1, 20, 400))
    wall.materials.data[..., 100:200] = table["psd"].id
    neutral = table["dendroplasm"].backscatter(2.0)
    charging = {"strength": 0.5, "length_nm": 150.0, "neutral_backscatter": neutral}
    ratio = (electrons(wall, table, still(charging=charging)) / electrons(wall, table, still()))[0, 10]
    plasm = answer_of(still()).share_of(table["dendroplasm"])
    assert plasm == pytest.approx(answer_of(still()).share_at(neutral), rel=1e-2)
    assert ratio[:90] == pytest.approx(1.0, abs=1e-3)
    # The psd's η, as far as its greater density makes it seem more.
    psd, answer = table["psd"], answer_of(still())
    stained = 1.0 + (answer.share_of(psd) - answer.share_at(neutral)) / (answer.slope * neutral)
    assert ratio[190] == pytest.approx(1.0 + 0.5 * (stained - 1.0) * (1.0 - np.exp(-90 * 5 / 150.0)), rel=0.01)
    assert ratio[260] - 1.0 == pytest.approx((ratio[230] - 1.0) * np.exp(-1.0), rel=0.05)


def test_debris_hides_the_tissue_and_is_recorded() -> None:
    table = smooth_table()
    microscope = cut_by_knife(knife={"debris_per_um2": 2.0, "debris_radius_um": 0.12, "debris_backscatter": 0.3})
    signal = electrons(flat(1, (6, 200, 200)), table, microscope)
    signal /= microscope.dose_e_per_px * microscope.collection_efficiency
    recorded = sampled_artefacts(microscope, 4, SIZE_NM, (0, 0, 0), signal.shape)["debris"]
    assert sum(map(len, recorded)) >= 6
    for z, pieces in enumerate(recorded):
        covered = signal[z] > answer_of(microscope).share_at(0.2)
        assert covered.any() == bool([p for p in pieces if 0 <= p["y_nm"] < 1000 and 0 <= p["x_nm"] < 1000])
        for piece in pieces:
            y, x = int(piece["y_nm"] / 5), int(piece["x_nm"] / 5)
            if 0 <= y < 200 and 0 <= x < 200:
                assert signal[z, y, x] == pytest.approx(answer_of(microscope).share_at(0.3), rel=0.03)

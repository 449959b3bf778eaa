"""What is drawn where: distances in nm, priorities and what is left out."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from neuropil.simulate.annotator import CLASS_NAMES, AnnotatorStyle, annotate
from neuropil.simulate.materials import load_structures
from neuropil.simulate.truth import Truth
from neuropil.voxelize.volume import Volume

STRUCTURES = load_structures()
NO_JITTER = AnnotatorStyle(width_jitter=0.0)
Masks = dict[str, npt.NDArray[np.bool_]]


def drawn(
    classes: npt.NDArray[np.uint8],
    cells: npt.NDArray[np.uint32],
    style: AnnotatorStyle = NO_JITTER,
    size_nm: tuple[float, float, float] = (5.0, 5.0, 5.0),
) -> Masks:
    volume = annotate(Volume(classes, size_nm), Volume(cells, size_nm), STRUCTURES, style, np.random.default_rng(0))
    assert volume.data.dtype == np.uint8 and volume.voxel_size_nm == size_nm
    return {name: (volume.data >> bit) & 1 > 0 for bit, name in enumerate(CLASS_NAMES)}


def two_cells(
    gap_px: int, shape: tuple[int, int, int] = (8, 40, 80)
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint32]]:
    """Two cells left and right of x = 40, the gap to the right of it."""
    cells = np.ones(shape, np.uint32)
    cells[:, :, 40:] = 2
    cells[:, :, 40 : 40 + gap_px] = 0
    return (cells > 0).astype(np.uint8), cells


def sphere(shape: tuple[int, int, int], radius_nm: float) -> npt.NDArray[np.bool_]:
    z, y, x = np.ogrid[: shape[0], : shape[1], : shape[2]]
    centre = [n // 2 for n in shape]
    return (z - centre[0]) ** 2 + (y - centre[1]) ** 2 + (x - centre[2]) ** 2 < (radius_nm / 5.0) ** 2


@pytest.mark.parametrize("gap_px", [0, 2, 4])
def test_membrane_band_is_as_wide_as_the_style_says(gap_px: int) -> None:
    style = NO_JITTER.model_copy(update={"membrane_inside_nm": 15.0})
    masks = drawn(*two_cells(gap_px), style)
    band = masks["membrane"][4, 20]
    assert band.sum() == 2 * 3 + gap_px
    assert band[37:40].all() and not band[36]
    assert not any(masks[name].any() for name in CLASS_NAMES if name != "membrane")


def test_wide_extracellular_space_is_left_light() -> None:
    masks = drawn(*two_cells(20))
    assert not masks["membrane"][4, 20, 50]
    assert masks["membrane"][4, 20, 41]


def test_an_oblique_membrane_smears() -> None:
    """A cell border that moves 4 px a slice is drawn wider in the plane than a steep one."""
    cells = np.ones((16, 20, 120), np.uint32)
    for z in range(16):
        cells[z, :, 20 + 5 * z :] = 2
    oblique = drawn(np.ones(cells.shape, np.uint8), cells)["membrane"][8, 10].sum()
    steep = drawn(*two_cells(0))["membrane"][4, 20].sum()
    assert oblique > 3.0 * steep


def test_faces_of_the_block_are_no_membranes() -> None:
    cells = np.ones((6, 20, 20), np.uint32)
    assert not drawn(np.ones(cells.shape, np.uint8), cells)["membrane"].any()
    empty = np.zeros((6, 20, 20), np.uint32)
    assert not any(mask.any() for mask in drawn(empty.astype(np.uint8), empty).values())


def test_mitochondrion_holds_its_boundary() -> None:
    shape = (41, 81, 81)
    classes = np.ones(shape, np.uint8)
    classes[sphere(shape, 120.0)] = STRUCTURES["mitochondrion"].class_id
    classes[sphere(shape, 60.0)] = STRUCTURES["crista"].class_id
    style = NO_JITTER.model_copy(update={"mitochondrion_outside_nm": 15.0, "mitochondrial_boundary_nm": 40.0})
    masks = drawn(classes, np.ones(shape, np.uint32), style)
    row = slice(40, None)
    assert not (masks["mitochondrial_boundary"] & ~masks["mitochondrion"]).any()
    assert masks["mitochondrion"][20, 40, row].sum() * 5 == pytest.approx(135, abs=5)
    assert masks["mitochondrial_boundary"][20, 40, row].sum() * 5 == pytest.approx(40, abs=5)


def test_vesicles_are_drawn_at_their_middle_and_not_at_their_caps() -> None:
    shape = (21, 41, 41)
    classes = np.ones(shape, np.uint8)
    classes[sphere(shape, 22.0)] = STRUCTURES["vesicle"].class_id
    vesicle = drawn(classes, np.ones(shape, np.uint32))["vesicle"]
    slices = np.flatnonzero(vesicle.any(axis=(1, 2)))
    diameter_nm = 5.0 * np.sqrt(4 / np.pi * vesicle[10].sum())
    assert diameter_nm == pytest.approx(50.0, abs=7.0)
    assert (slices.min(), slices.max()) == (8, 12)
    assert (classes == STRUCTURES["vesicle"].class_id)[6].any()


def test_density_and_cleft_make_one_slab() -> None:
    classes, cells = two_cells(4)
    classes[:, 10:30, 32:40] = STRUCTURES["psd"].class_id
    classes[:, 10:30, 40:44] = STRUCTURES["cleft"].class_id
    masks = drawn(classes, cells, NO_JITTER.model_copy(update={"psd_margin_nm": 5.0}))
    assert masks["psd"][4, 20].sum() == 8 + 4 + 2
    assert not (masks["psd"] & masks["membrane"]).any()


def test_a_synapse_cut_flat_is_a_smear_that_nobody_draws_as_a_density() -> None:
    classes, cells = two_cells(30, (24, 40, 80))
    classes[:, 5:15, 36:44] = STRUCTURES["psd"].class_id  # 40 nm thick across the slices
    classes[10:18, 20:40, 5:35] = STRUCTURES["psd"].class_id  # 40 nm thick along z, so 100 x 150 nm in each slice
    classes[:, 5:15, 60:63] = STRUCTURES["psd"].class_id  # a sliver of 15 nm
    masks = drawn(
        classes,
        cells,
        NO_JITTER.model_copy(update={"psd_margin_nm": 0.0, "psd_narrowest_nm": 30.0, "psd_widest_nm": 90.0}),
    )
    assert masks["psd"][12, 5:15, 38:42].all() and masks["psd"][12, 8:12, 36:44].all()
    assert not masks["psd"][:, :, 55:].any()
    assert not masks["psd"][12, 22:38, 8:32].any()


def test_myelin_is_drawn_over_membranes() -> None:
    classes, cells = two_cells(2)
    classes[:, :, 42:60] = STRUCTURES["myelin"].class_id
    masks = drawn(classes, cells)
    assert masks["myelin_sheath"][4, 20, 42:60].all()
    assert not (masks["myelin_sheath"] & masks["membrane"]).any()


def test_slices_differ_by_the_jitter_and_follow_the_generator() -> None:
    classes, cells = two_cells(2, (30, 10, 80))
    volumes = [Volume(classes, (5.0,) * 3), Volume(cells, (5.0,) * 3)]
    style = AnnotatorStyle(width_jitter=0.4)
    fields = [annotate(*volumes, STRUCTURES, style, np.random.default_rng(seed)).data for seed in (1, 1, 2)]
    assert np.array_equal(fields[0], fields[1])
    assert not np.array_equal(fields[0], fields[2])
    assert len(set((fields[0] > 0).sum(axis=(1, 2)).tolist())) > 1


def test_a_slab_is_drawn_as_in_the_whole(block: Truth) -> None:
    """With a halo of the widest reach, a crop's labels are the whole's."""

    def field(truth: Truth) -> npt.NDArray[np.uint8]:
        return annotate(truth.classes, truth.instances, STRUCTURES, AnnotatorStyle(), np.random.default_rng(5)).data

    whole = field(block)
    crop = field(block.crop((0, 20, 20), (24, 160, 180)))
    assert np.array_equal(crop[:, 30:-30, 30:-30], whole[:, 50:150, 50:170])


def test_volumes_that_do_not_fit_are_refused() -> None:
    classes, cells = two_cells(2)
    with pytest.raises(ValueError, match="two equal z, y, x volumes"):
        drawn(classes[1:], cells)

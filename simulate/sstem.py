"""Transmission electron microscopy of serial sections: mass thickness → transmitted share → counted electrons → grey.

A block with fine voxels in z is cut into sections; each is projected through its thickness, so that what is tilted
smears as it does in a real section. The image has one plane per section, `section_thickness_nm` apart.
"""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import Annotated, Any, Literal, Self

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, model_validator
from scipy.ndimage import correlate1d

from neuropil.voxelize.volume import Triple, Volume

from .block_input import first_voxel
from .counting import count_plane, digitized
from .electrons import (
    ELEMENTS,
    lenz_mean_atomic_number,
    malis_inelastic_mean_free_path_nm,
    screened_rutherford_cross_section_a2,
    share_scattered_beyond,
)
from .fibsem import Micrograph
from .hash_noise import key_from, sub_key
from .materials import STAINS, MaterialTable
from .point_spread import gaussian_kernel
from .section_artefacts import (
    MOST_DEVIATIONS,
    Field2D,
    Folds,
    KnifeMarks,
    Lines,
    Misalignment,
    Moved,
    Section,
    Specks,
    Tears,
    Unevenness,
    chords_nm,
    cutting_direction,
    generator,
    grains,
    moved,
    reach_nm,
    resampled,
    scratches,
    thickness_factor,
)
from .stained_volume import StainedVolume

Plane = npt.NDArray[np.float32]
Share = Annotated[float, Field(ge=0.0, le=1.0)]
NotNegative = Annotated[float, Field(ge=0.0)]

# Density at which Malis measured carbon; tissue and resin are taken for carbon that is as much thinner.
_CARBON_G_CM3 = ELEMENTS["C"].density_g_cm3
_GAUSSIAN_FWHM = 2.3548
# What specks are made of: lead carbonate, as stain precipitates, and dirt, taken for protein.
_PRECIPITATE = {"Pb": 0.775, "C": 0.045, "O": 0.18}
_PRECIPITATE_G_CM3 = 6.6
_DIRT = {"C": 0.53, "H": 0.07, "N": 0.16, "O": 0.24}
_DIRT_G_CM3 = 1.35


class SsTem(BaseModel):
    """A bright-field transmission microscope and the sections it is given.

    An electron of `voltage_kv` is lost to the image when it is scattered by more than `aperture_mrad` (half-angle),
    or, with `energy_filtered`, when it loses energy. `dose_e_per_px` electrons meet each pixel. Blur: a Gaussian
    spot (`lateral_fwhm_nm`, y and x), the disc of each section's defocus (standard deviation `defocus_nm`), and after
    the counting the camera's own spread, `camera_fwhm_px`. Grey = `offset_grey` + `gain_grey_per_electron` · electrons
    + read noise; the gain is positive, so that stain is dark.

    `post_stain`: metal after the sections were stained on the grid, over that in the block. `thickness_cv`: relative
    standard deviation of the sections' thickness; `stain_cv`: of their stain. The operator sets the beam on each
    section so that dendroplasm comes out equally bright, but for `exposure_cv` and `exposure_offset_grey` (standard
    deviations of gain and offset). A missing section's image is black.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    modality: Literal["sstem"] = "sstem"
    name: str
    source: str
    voltage_kv: float
    aperture_mrad: Annotated[float, Field(gt=0.5, le=100.0)] = 10.0
    energy_filtered: bool = False
    section_thickness_nm: Annotated[float, Field(ge=15.0, le=250.0)]
    thickness_cv: Annotated[float, Field(ge=0.0, le=0.3)] = 0.0
    post_stain: Annotated[float, Field(ge=1.0, le=20.0)] = 1.0
    lateral_fwhm_nm: tuple[NotNegative, NotNegative]
    defocus_nm: Annotated[float, Field(ge=0.0, le=1e4)] = 0.0
    dose_e_per_px: Annotated[float, Field(gt=0.0, le=1e9)]
    camera_fwhm_px: Annotated[float, Field(ge=0.0, le=10.0)] = 0.0
    gain_grey_per_electron: Annotated[float, Field(gt=0.0)]
    offset_grey: float
    read_noise_grey: NotNegative = 0.0
    stain_cv: Annotated[float, Field(ge=0.0, le=0.5)] = 0.0
    exposure_cv: Annotated[float, Field(ge=0.0, le=0.2)] = 0.0
    exposure_offset_grey: Annotated[float, Field(ge=0.0, le=64.0)] = 0.0
    missing_probability: Share = 0.0
    misalignment: Misalignment | None = None
    folds: Folds | None = None
    tears: Tears | None = None
    unevenness: Unevenness | None = None
    knife_marks: KnifeMarks | None = None
    precipitate: Specks | None = None
    debris: Specks | None = None

    @model_validator(mode="after")
    def _physics_holds(self) -> Self:
        if not 80.0 <= self.voltage_kv <= 120.0:
            raise ValueError(
                f"voltage_kv is {self.voltage_kv:g}; sections are imaged at 80 to 120 kV, where the formulas of "
                "scattering hold"
            )
        return self


def share_inelastic_beyond(atomic_number: float, energy_kev: float, angle_mrad: float) -> float:
    """Share of the inelastic events that turn an electron by more than an angle (Lenz 1954, integrated).

    dσ/dΩ ~ {1 − [1 + (θ² + θ_E²)/θ₀²]⁻²} / (θ² + θ_E²)², with θ_E = J/4E, J = 13.5 Z eV and θ₀ = λ Z^⅓/2πa_H
    (Reimer and Kohl 2008, eq. 5.52), which integrates to 2 ln(1 + 1/v) − 1/(1 + v), v = (θ² + θ_E²)/θ₀².
    """
    # Relativistic wavelength in nm; a_H is 0.0529 nm.
    wavelength_nm = 1.22643 / math.sqrt(1e3 * energy_kev * (1.0 + energy_kev / 1022.0))
    theta_0 = wavelength_nm * atomic_number ** (1 / 3) / (2 * math.pi * 0.0529)
    theta_e = 13.5e-3 * atomic_number / (4.0 * energy_kev)

    def from_angle_on(radians: float) -> float:
        v = (radians**2 + theta_e**2) / theta_0**2
        return 2.0 * math.log1p(1.0 / v) - 1.0 / (1.0 + v)

    return from_angle_on(1e-3 * angle_mrad) / from_angle_on(0.0)


def _elastic_per_nm(symbol: str, density_g_cm3: float, energy_kev: float, aperture_mrad: float) -> float:
    """Elastic events beyond the aperture in each nm of an element at this density."""
    element = ELEMENTS[symbol]
    # Atoms per nm³ times Å² is 0.01 per nm.
    per_nm = density_g_cm3 / element.atomic_weight * 602.214 * 1e-2
    z = float(element.atomic_number)
    cross_section = float(screened_rutherford_cross_section_a2(z, energy_kev))
    return per_nm * cross_section * float(share_scattered_beyond(z, energy_kev, aperture_mrad))


def _inelastic_per_nm(atomic_number: float, energy_kev: float, aperture_mrad: float, filtered: bool) -> float:
    """Inelastic events per nm of a solid that take an electron out of the image."""
    within = 1.0 / float(malis_inelastic_mean_free_path_nm(atomic_number, energy_kev, aperture_mrad))
    beyond = share_inelastic_beyond(atomic_number, energy_kev, aperture_mrad)
    everything = within / (1.0 - beyond)
    return everything if filtered else everything * beyond


def lost_per_nm(
    mass_fractions: dict[str, float],
    density_g_cm3: float,
    microscope: SsTem,
) -> tuple[float, float]:
    """Share of the electrons lost to a bright-field image per nm: to the organic part, and to Os, U and Pb.

    Elastic scattering beyond the aperture (screened Rutherford) and inelastic: beyond it, or all of it where the
    microscope filters energies. Malis's mean free paths within the aperture, Lenz's angles; both parts scale with
    their share of mass, the organic one as if it were carbon of its mean atomic number and lower density.
    """
    kev, aperture, filtered = microscope.voltage_kv, microscope.aperture_mrad, microscope.energy_filtered
    metals = {s: w for s, w in mass_fractions.items() if s in STAINS and w > 0.0}
    organic = {s: w for s, w in mass_fractions.items() if s not in STAINS and w > 0.0}
    metal_loss = sum(
        _elastic_per_nm(s, w * density_g_cm3, kev, aperture)
        + w * density_g_cm3 / ELEMENTS[s].density_g_cm3
        * _inelastic_per_nm(float(ELEMENTS[s].atomic_number), kev, aperture, filtered)
        for s, w in metals.items()
    )  # fmt: skip
    organic_loss = sum(_elastic_per_nm(s, w * density_g_cm3, kev, aperture) for s, w in organic.items())
    if organic:
        thinner = sum(organic.values()) * density_g_cm3 / _CARBON_G_CM3
        organic_loss += thinner * _inelastic_per_nm(lenz_mean_atomic_number(organic), kev, aperture, filtered)
    return organic_loss, metal_loss


def _losses(table: MaterialTable, microscope: SsTem) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """`lost_per_nm` by material id, (256,) each."""
    organic, metal = np.zeros(256), np.zeros(256)
    for material in table.materials.values():
        organic[material.id], metal[material.id] = lost_per_nm(
            material.mass_fractions, material.density_g_cm3, microscope
        )
    return organic, microscope.post_stain * metal


def _beam(one: Section, dendroplasm_per_nm: float, microscope: SsTem) -> float:
    """Factor on a section's dose that keeps dendroplasm as bright as it is in a section as asked for."""
    excess_nm = one.stain * (one.bottom_nm - one.top_nm) - microscope.section_thickness_nm
    return math.exp(dendroplasm_per_nm * excess_nm)


def cut_reach_nm(microscope: SsTem) -> float:
    """How far a cut may lie from its nominal place."""
    return MOST_DEVIATIONS * microscope.thickness_cv * microscope.section_thickness_nm / math.sqrt(2.0)


def _cut_nm(microscope: SsTem, key: int, index: int) -> float:
    """Depth of the cut above section `index`; the thickness of a section is the distance of its two cuts."""
    deviation = float(np.clip(generator(key, "cuts", index).normal(), -MOST_DEVIATIONS, MOST_DEVIATIONS))
    # Two cuts bound a section, so each has half of its variance.
    shift = deviation * microscope.thickness_cv / math.sqrt(2.0)
    return (index + float(np.clip(shift, -0.45, 0.45))) * microscope.section_thickness_nm


def section(microscope: SsTem, key: int, index: int) -> Section:
    """All that happens to the section of this absolute index, drawn from an image's key."""
    rng = generator(key, "section", index)
    luck = rng.uniform(size=5)
    deviations = np.clip(rng.normal(size=6), -MOST_DEVIATIONS, MOST_DEVIATIONS)
    shift = 0.0 if microscope.misalignment is None else microscope.misalignment.shift_nm
    folds, tears = microscope.folds, microscope.tears
    fold = tear = None
    if folds is not None and luck[1] < folds.probability:
        fold = (Lines.drawn(rng, 1e3 * folds.spacing_um), 0.5 * folds.width_nm * float(rng.uniform(0.5, 1.5)))
    if tears is not None and luck[2] < tears.probability:
        tear = (Lines.drawn(rng, 1e3 * tears.spacing_um), 0.5 * tears.width_nm * float(rng.uniform(0.5, 1.5)))
    precipitate, debris = microscope.precipitate, microscope.debris
    return Section(
        index,
        _cut_nm(microscope, key, index),
        _cut_nm(microscope, key, index + 1),
        missing=bool(luck[0] < microscope.missing_probability),
        shift_nm=(shift * float(deviations[0]), shift * float(deviations[1])),
        stain=max(1.0 + microscope.stain_cv * float(deviations[2]), 0.1),
        defocus_nm=microscope.defocus_nm * float(deviations[3]),
        gain=1.0 + microscope.exposure_cv * float(deviations[4]),
        offset_grey=microscope.exposure_offset_grey * float(deviations[5]),
        fold=fold,
        tear=tear,
        precipitate=bool(precipitate is not None and luck[3] < precipitate.probability),
        debris=bool(debris is not None and luck[4] < debris.probability),
    )


def sections_within(microscope: SsTem, origin_nm: float, extent_nm: float) -> range:
    """Absolute indices of the sections whose nominal place lies in this range of z.

    Raises ValueError where there is none.
    """
    thickness = microscope.section_thickness_nm
    found = range(math.ceil(origin_nm / thickness - 1e-6), math.floor((origin_nm + extent_nm) / thickness + 1e-6))
    if not found:
        raise ValueError(
            f"the block is {extent_nm:g} nm deep, from {origin_nm:g} nm on, which holds no whole section of "
            f"{thickness:g} nm"
        )
    return found


def blur_reach(microscope: SsTem, voxel_size_nm: Triple) -> tuple[int, int, int]:
    """How many voxels (z, y, x) beyond a section's nominal place still change its image: the margin a tile needs."""
    z = math.ceil(cut_reach_nm(microscope) / voxel_size_nm[0])
    in_plane = reach_nm(microscope.folds, microscope.tears, microscope.misalignment)
    most = MOST_DEVIATIONS * microscope.defocus_nm
    y, x = (
        math.ceil(in_plane / size)
        + 1
        + gaussian_kernel(_spot_fwhm_nm(fwhm, microscope, most), size).size // 2
        + gaussian_kernel(microscope.camera_fwhm_px, 1.0).size // 2
        for fwhm, size in zip(microscope.lateral_fwhm_nm, voxel_size_nm[1:], strict=True)
    )
    return z, y, x


def _spot_fwhm_nm(fwhm_nm: float, microscope: SsTem, defocus_nm: float) -> float:
    """Width of the spot with its defocus: a disc of radius α·Δf, as the Gaussian of the same variance (r²/4)."""
    radius = 1e-3 * microscope.aperture_mrad * abs(defocus_nm)
    return math.hypot(fwhm_nm, _GAUSSIAN_FWHM * 0.5 * radius)


def _blurred(plane: Plane, fwhm: tuple[float, float], size: tuple[float, float]) -> Plane:
    for axis in (0, 1):
        kernel = gaussian_kernel(fwhm[axis], size[axis])
        if kernel.size > 1:
            plane = correlate1d(plane, kernel, axis=axis, mode="nearest")
    return plane


def _projected(
    stained: StainedVolume, losses: tuple[npt.NDArray[np.float64], ...], one: Section, top_nm: float, size_nm: float
) -> Plane:
    """Optical depth of a section: the block's loss per nm summed from cut to cut.

    top_nm, size_nm: the block's first face in z, and its voxels; beyond it the outermost slices go on.
    """
    count = stained.shape[0]
    depth = np.zeros(stained.shape[1:], np.float32)
    first = math.floor((one.top_nm - top_nm) / size_nm)
    last = math.ceil((one.bottom_nm - top_nm) / size_nm)
    for index in range(first, last):
        above = max(one.top_nm - top_nm, index * size_nm)
        below = min(one.bottom_nm - top_nm, (index + 1) * size_nm)
        # Rounded, so that the same overlap counted from another tile's face is the same number.
        overlap = np.float32(round(below - above, 4))
        depth += overlap * stained.plane(min(max(index, 0), count - 1), *losses)
    return depth


def _sampled(plane: Plane, displacement_nm: tuple[npt.NDArray[np.float64], ...], size: tuple[float, float]) -> Plane:
    return resampled(plane, displacement_nm[0] / size[0], displacement_nm[1] / size[1])


def _as_it_lies(depth: Plane, how: Moved | None, size: tuple[float, float]) -> Plane:
    """Optical depth of the section on its grid: shifted, folded over itself, torn open."""
    if how is None:
        return depth
    lying = _sampled(depth, how.first, size)
    if how.folded is not None:
        assert how.second is not None and how.third is not None
        twice = _sampled(depth, how.second, size) + _sampled(depth, how.third, size)
        lying[how.folded] += twice[how.folded]
    if how.open is not None:
        lying[how.open] = 0.0
    return lying


def _specks(one: Section, microscope: SsTem, key: int, field: Field2D) -> Plane | None:
    """Optical depth of what lies on a section, (y, x), or None."""
    total: Plane | None = None
    for name, there, specks, matter, density in (
        ("precipitate", one.precipitate, microscope.precipitate, _PRECIPITATE, _PRECIPITATE_G_CM3),
        ("debris", one.debris, microscope.debris, _DIRT, _DIRT_G_CM3),
    ):
        if there and specks is not None:
            chords = chords_nm(grains(one, key, name, field, specks), field)
            depth = np.float32(sum(lost_per_nm(matter, density, microscope))) * chords
            total = depth if total is None else total + depth
    return total


def sampled_sections(microscope: SsTem, key: int, indices: range, field: Field2D) -> dict[str, Any]:
    """All that was drawn for sections, as a manifest keeps it; marks and grains of the field and just beyond it."""
    angle = cutting_direction(key)
    y, x = field.places_nm()
    aside = math.cos(angle) * x - math.sin(angle) * y
    records = []
    for index in indices:
        one = section(microscope, key, index)
        record = one.as_dict() | {"knife_marks": [], "precipitate": [], "debris": []}
        if microscope.knife_marks is not None:
            marks = scratches(index, key, microscope.knife_marks, aside.min(), aside.max())
            record["knife_marks"] = [asdict(mark) for mark in marks]
        for name in ("precipitate", "debris"):
            if getattr(one, name):
                record[name] = [asdict(g) for g in grains(one, key, name, field, getattr(microscope, name))]
        records.append(record)
    return {"cutting_direction_rad": angle, "sections": records}


def image_sstem(
    materials: Volume,
    membrane: Volume,
    instances: Volume,
    table: MaterialTable,
    microscope: SsTem,
    rng: np.random.Generator,
    stain_scale: npt.NDArray[np.floating] | None = None,
) -> Micrograph:
    """The micrographs of the sections that a block is cut into.

    The volumes and `stain_scale` are as `fibsem.image_fibsem` takes them, with voxels in z a few times finer than a
    section. The image is uint8 (sections, y, x) with `section_thickness_nm` for its voxel size in z; section k of the
    whole world reaches from k times that to k + 1 times it, and those that lie wholly in the block are imaged.
    Tiles imaged with equal keys agree beyond `blur_reach` of their cut faces.

    `parameters["sections"]` holds all that was drawn for each. Raises ValueError when the volumes disagree, hold a
    material that the table lacks, or are less deep than a section.
    """
    key = key_from(rng)
    stained = StainedVolume(materials, membrane, instances, table, key, stain_scale)
    size_z, *in_plane = materials.voxel_size_nm
    size = (in_plane[0], in_plane[1])
    if size_z > microscope.section_thickness_nm * (1 + 1e-6):
        raise ValueError(
            f"the block's slices of {size_z:g} nm are thicker than sections of {microscope.section_thickness_nm:g} nm"
        )
    top_nm = materials.origin_nm[0]
    indices = sections_within(microscope, top_nm, materials.extent_nm[0])
    _, first_y, first_x = first_voxel(materials)
    field = Field2D((first_y, first_x), (stained.shape[1], stained.shape[2]), size)
    losses = _losses(table, microscope)
    dendroplasm_per_nm = float(sum(part[table["dendroplasm"].id] for part in losses))
    shot_key, read_key = np.uint64(sub_key(key, "shot noise")), sub_key(key, "read noise")
    camera = (microscope.camera_fwhm_px, microscope.camera_fwhm_px)
    sections = [section(microscope, key, index) for index in indices]
    image = np.zeros((len(sections), *field.shape), np.uint8)
    for one, plane in zip(sections, image, strict=True):
        if one.missing:
            continue
        depth = np.float32(one.stain) * _projected(stained, losses, one, top_nm, size_z)
        depth = _as_it_lies(depth, moved(one, key, field, microscope.misalignment, microscope.tears), size)
        factor = thickness_factor(one, key, field, microscope.unevenness, microscope.knife_marks)
        if factor is not None:
            depth *= factor
        on_top = _specks(one, microscope, key, field)
        if on_top is not None:
            depth += on_top
        fwhm_y, fwhm_x = (_spot_fwhm_nm(fwhm, microscope, one.defocus_nm) for fwhm in microscope.lateral_fwhm_nm)
        dose = np.float32(microscope.dose_e_per_px * _beam(one, dendroplasm_per_nm, microscope))
        expected = dose * _blurred(np.exp(-depth), (fwhm_y, fwhm_x), size)
        counts = _blurred(count_plane(expected, shot_key, one.index, first_y, first_x), camera, (1.0, 1.0))
        grey = (microscope.offset_grey + one.offset_grey) + (microscope.gain_grey_per_electron * one.gain) * counts
        first = (one.index, first_y, first_x)
        plane[:] = digitized(grey, microscope.read_noise_grey, read_key, first, np.uint8)
    parameters = {"microscope": microscope.model_dump(mode="json"), "key": key} | sampled_sections(
        microscope, key, indices, field
    )
    thickness = microscope.section_thickness_nm
    origin = (indices.start * thickness, materials.origin_nm[1], materials.origin_nm[2])
    return Micrograph(Volume(image, (thickness, *size), origin), parameters)


def labels_on_sections(labels: Volume, microscope: SsTem, key: int) -> Volume:
    """Labels of a block as an annotator meets them on its sections: where each is cut through its middle.

    labels: any whole numbers (z, y, x) on the voxels that were imaged; `key` is that of the image's parameters.
    Tissue that was shifted, or pulled aside by folds and tears, has taken its labels along; in a hole there is 0.
    A missing section keeps the labels of the tissue that was lost. Same grid as `image_sstem`'s image.
    """
    size_z, size_y, size_x = labels.voxel_size_nm
    indices = sections_within(microscope, labels.origin_nm[0], labels.extent_nm[0])
    _, first_y, first_x = first_voxel(labels)
    depth, height, width = labels.shape_zyx
    field = Field2D((first_y, first_x), (height, width), (size_y, size_x))
    out = np.empty((len(indices), height, width), labels.data.dtype)
    for index, plane in zip(indices, out, strict=True):
        one = section(microscope, key, index)
        z = math.floor((one.middle_nm - labels.origin_nm[0]) / size_z)
        cut = np.asarray(labels.data[min(max(z, 0), depth - 1)])
        how = moved(one, key, field, microscope.misalignment, microscope.tears)
        if how is None:
            plane[:] = cut
            continue
        rows, columns = (
            np.clip(np.arange(n).reshape(shape) + np.floor(d / s + 0.5).astype(np.int64), 0, n - 1)
            for n, shape, d, s in zip((height, width), ((-1, 1), (1, -1)), how.first, (size_y, size_x), strict=True)
        )
        plane[:] = cut[rows, columns]
        if how.open is not None:
            plane[how.open] = 0
    thickness = microscope.section_thickness_nm
    origin = (indices.start * thickness, labels.origin_nm[1], labels.origin_nm[2])
    return Volume(out, (thickness, size_y, size_x), origin)

"""What happens to ultrathin sections between the knife and the grid, each optional, each written down.

A section is a pure function of a key and its absolute index; whatever lies in its plane goes by absolute nm. So
two tiles of a block agree on every fold. Lengths are nm unless a name says otherwise; planes are (y, x).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Any, Self

import numba
import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, model_validator

from .hash_noise import SmoothNoise, sub_key

Plane = npt.NDArray[np.float32]
Floats = npt.NDArray[np.float64]

Share = Annotated[float, Field(ge=0.0, le=1.0)]
Nanometres = Annotated[float, Field(gt=0.0, le=1e5)]
NotNegative = Annotated[float, Field(ge=0.0)]

# Thickness varies by cutting early or late; a cut misses its place by at most this many standard deviations.
MOST_DEVIATIONS = 3.0
# Alignment has stretched the tissue beside a fold or a tear back into place, over so many half-widths.
_HEALING = 6.0
# Lines waver by this share of their wavelength, and their wavelength is this share of their spacing.
_WAVE, _WAVELENGTH = 0.04, 0.6
# Side of the squares, in nm, that hold specks and knife marks of their own.
_CELL_NM = 1000.0


class Folds(BaseModel):
    """A share of the sections has folds: bands of three layers, `width_nm` wide on average, `spacing_um` apart."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    probability: Share
    width_nm: Nanometres = 120.0
    spacing_um: Annotated[float, Field(gt=0.0, le=1000.0)] = 15.0

    @model_validator(mode="after")
    def _apart(self) -> Self:
        if self.spacing_um * 1e3 < 20.0 * self.width_nm:
            raise ValueError(
                f"folds {self.spacing_um:g} µm apart are too near for a width of {self.width_nm:g} nm; "
                f"allowed is a spacing of {0.02 * self.width_nm:g} µm or more"
            )
        return self


class Tears(BaseModel):
    """A share of the sections is torn: lens-shaped holes `width_nm` wide and `length_um` long, `spacing_um` apart."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    probability: Share
    width_nm: Nanometres = 150.0
    length_um: Annotated[float, Field(gt=0.0, le=1000.0)] = 5.0
    spacing_um: Annotated[float, Field(gt=0.0, le=1000.0)] = 15.0

    @model_validator(mode="after")
    def _apart(self) -> Self:
        if self.spacing_um * 1e3 < 20.0 * self.width_nm:
            raise ValueError(
                f"tears {self.spacing_um:g} µm apart are too near for a width of {self.width_nm:g} nm; "
                f"allowed is a spacing of {0.02 * self.width_nm:g} µm or more"
            )
        return self


class Misalignment(BaseModel):
    """What alignment leaves: a shift of each section (standard deviation) and a warp that is smooth in the plane."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    shift_nm: NotNegative = 0.0
    warp_nm: NotNegative = 0.0
    warp_length_um: Annotated[float, Field(gt=0.0, le=1000.0)] = 2.0


class Unevenness(BaseModel):
    """Thickness and stain within a section: relative standard deviation of its smooth variation, and knife chatter.

    Chatter is a wave of relative amplitude `chatter` across the direction of cutting, `chatter_period_nm` long.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    smooth_sd: Annotated[float, Field(ge=0.0, le=0.5)] = 0.0
    smooth_length_um: Annotated[float, Field(gt=0.0, le=1000.0)] = 1.5
    chatter: Annotated[float, Field(ge=0.0, le=0.5)] = 0.0
    chatter_period_nm: Nanometres = 400.0


class KnifeMarks(BaseModel):
    """Scratches along the direction of cutting, at the same places in all sections, with less tissue left in them."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    per_um: Annotated[float, Field(ge=0.0, le=20.0)]
    width_nm: Nanometres = 20.0
    depth: Annotated[float, Field(gt=0.0, le=1.0)] = 0.3


class Specks(BaseModel):
    """Round grains of matter on a share of the sections, in clusters.

    Diameters are log-normal about `diameter_nm` with `diameter_spread` for the logarithm's standard deviation.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    probability: Share
    clusters_per_um2: Annotated[float, Field(ge=0.0, le=100.0)]
    grains_per_cluster: Annotated[float, Field(ge=1.0, le=1000.0)] = 1.0
    cluster_radius_nm: Annotated[float, Field(ge=0.0, le=250.0)] = 60.0
    diameter_nm: Annotated[float, Field(gt=0.0, le=400.0)]
    diameter_spread: Annotated[float, Field(ge=0.0, le=1.0)] = 0.4


def generator(key: int, name: str, *indices: int) -> np.random.Generator:
    """A generator of its own for one purpose and place; indices may be negative."""
    return np.random.default_rng([sub_key(key, name), *(index % 2**32 for index in indices)])


@dataclass(frozen=True)
class Lines:
    """Parallel wavy lines over the plane: direction of their normal from y, place of one of them, distance."""

    angle_rad: float
    offset_nm: float
    spacing_nm: float
    phase: float

    @classmethod
    def drawn(cls, rng: np.random.Generator, spacing_nm: float) -> Lines:
        """Lines of random direction and place."""
        angle, offset, phase = rng.uniform((0, 0, 0), (math.pi, spacing_nm, 2 * math.pi))
        return cls(float(angle), float(offset), spacing_nm, float(phase))

    def coordinates(self, y_nm: Floats, x_nm: Floats) -> tuple[Floats, Floats]:
        """Signed distance from the nearest line and place along it, both (y, x)."""
        c, s = math.cos(self.angle_rad), math.sin(self.angle_rad)
        along = c * x_nm - s * y_nm
        wavelength = _WAVELENGTH * self.spacing_nm
        wave = _WAVE * wavelength * np.sin(2 * math.pi * along / wavelength + self.phase)
        across = c * y_nm + s * x_nm - self.offset_nm + wave
        return (across + 0.5 * self.spacing_nm) % self.spacing_nm - 0.5 * self.spacing_nm, along


@dataclass(frozen=True)
class Section:
    """One section: where it was cut from, and what became of it.

    top_nm, bottom_nm: its cuts, in the block's z. shift_nm: y, x. stain: factor on its optical depth. defocus_nm;
    gain: factor, and offset_grey, of its exposure. `fold` and `tear`: lines and half-width in nm, or None.
    """

    index: int
    top_nm: float
    bottom_nm: float
    missing: bool
    shift_nm: tuple[float, float]
    stain: float
    defocus_nm: float
    gain: float
    offset_grey: float
    fold: tuple[Lines, float] | None
    tear: tuple[Lines, float] | None
    precipitate: bool
    debris: bool

    @property
    def middle_nm(self) -> float:
        """Depth at which an annotator takes the section to be."""
        return 0.5 * (self.top_nm + self.bottom_nm)

    def as_dict(self) -> dict[str, Any]:
        """Plain values for a manifest."""
        values: dict[str, Any] = {name: getattr(self, name) for name in self.__dataclass_fields__}
        for name in ("fold", "tear"):
            if values[name] is not None:
                lines, half = values[name]
                values[name] = {**lines.__dict__, "half_width_nm": half}
        return values | {"shift_nm": list(self.shift_nm), "middle_nm": self.middle_nm}


@dataclass(frozen=True)
class Field2D:
    """Where the pixels of a tile lie: absolute index of the first (y, x), their number, their size in nm."""

    first: tuple[int, int]
    shape: tuple[int, int]
    size_nm: tuple[float, float]

    def places_nm(self) -> tuple[Floats, Floats]:
        """Absolute centres, y (n, 1) and x (1, m)."""
        y, x = ((a + np.arange(n) + 0.5) * s for a, n, s in zip(self.first, self.shape, self.size_nm, strict=True))
        return y[:, None], x[None, :]

    def smooth(self, key: int, length_nm: float) -> Plane:
        """Smooth noise of unit variance, (y, x)."""
        noise = SmoothNoise(key, length_nm, (length_nm, *self.size_nm), (0, *self.first), self.shape)
        out = np.empty(self.shape, np.float32)
        noise.slice_at(0, out)
        return out


def reach_nm(folds: Folds | None, tears: Tears | None, misalignment: Misalignment | None) -> float:
    """How far in the plane tissue may have moved."""
    reach = 0.0
    if folds is not None and folds.probability > 0.0:
        # A fold's half-width is at most 0.75 of the mean width, and takes in twice that from either side.
        reach += 1.5 * folds.width_nm
    if tears is not None and tears.probability > 0.0:
        reach += 0.75 * tears.width_nm
    if misalignment is not None:
        reach += MOST_DEVIATIONS * misalignment.shift_nm + 4.0 * misalignment.warp_nm
    return reach


def _healed(across: Floats, half: Floats | float, pulled: Floats | float, length: float) -> Floats:
    """Displacement across a line, `pulled` at its edge and healed `length` beyond; towards the side one is on."""
    return np.sign(across) * pulled * np.exp(-np.maximum(np.abs(across) - half, 0.0) / length)


def _opening(tear: tuple[Lines, float], length_um: float, along: Floats) -> Floats:
    lines, half = tear
    return half * np.maximum(np.sin(math.pi * (along + lines.phase * 1e3) / (1e3 * length_um)), 0.0)


@dataclass(frozen=True)
class Moved:
    """Where the tissue seen at each pixel comes from: displacements in nm (y, x), and where something is special.

    folded: pixels of three layers, the other two of which come from `second` and `third` (displacements, or None).
    open: pixels without tissue, or None.
    """

    first: tuple[Floats, Floats]
    folded: npt.NDArray[np.bool_] | None
    second: tuple[Floats, Floats] | None
    third: tuple[Floats, Floats] | None
    open: npt.NDArray[np.bool_] | None


def moved(
    section: Section, key: int, field: Field2D, misalignment: Misalignment | None, tears: Tears | None
) -> Moved | None:
    """How a section's tissue lies in the image; None where every pixel shows what the block has there."""
    if section.fold is None and section.tear is None and misalignment is None:
        return None
    y, x = field.places_nm()
    dy, dx = (np.full(field.shape, shift) for shift in section.shift_nm)
    if misalignment is not None and misalignment.warp_nm > 0.0:
        for name, d in (("warp y", dy), ("warp x", dx)):
            warp_key = sub_key(sub_key(key, name), str(section.index))
            d += misalignment.warp_nm * field.smooth(warp_key, 1e3 * misalignment.warp_length_um)
    open_: npt.NDArray[np.bool_] | None = None
    if section.tear is not None:
        assert tears is not None
        lines, most = section.tear
        across, along = lines.coordinates(y, x)
        half = _opening(section.tear, tears.length_um, along)
        open_ = np.abs(across) < half
        d = -_healed(across, half, half, _HEALING * most)
        dy, dx = dy + math.cos(lines.angle_rad) * d, dx + math.sin(lines.angle_rad) * d
    if section.fold is None:
        return Moved((dy, dx), None, None, None, open_)
    lines, half_width = section.fold
    across, _ = lines.coordinates(y, x)
    c, s = math.cos(lines.angle_rad), math.sin(lines.angle_rad)
    d = _healed(across, half_width, 2.0 * half_width, _HEALING * 2.0 * half_width)
    second, third = -np.sign(across) * 2.0 * half_width, -2.0 * across
    return Moved(
        (dy + c * d, dx + s * d),
        np.abs(across) < half_width,
        (dy + c * second, dx + s * second),
        (dy + c * third, dx + s * third),
        open_,
    )


@numba.njit(cache=True, nogil=True)
def _split(displacement_px: float) -> tuple[int, float]:
    whole = math.floor(displacement_px)
    return int(whole), displacement_px - whole


@numba.njit(cache=True, nogil=True)
def resampled(plane: Plane, dy_px: Floats, dx_px: Floats) -> Plane:
    """plane[j + dy, i + dx] by bilinear interpolation, edge values outside.

    Displacements are split into whole and part before a pixel's place is added, so the bytes do not depend on where
    a tile begins.
    """
    height, width = plane.shape
    out = np.empty(plane.shape, np.float32)
    for j in range(height):
        for i in range(width):
            whole_y, fy = _split(dy_px[j, i])
            whole_x, fx = _split(dx_px[j, i])
            j0, j1 = min(max(j + whole_y, 0), height - 1), min(max(j + whole_y + 1, 0), height - 1)
            i0, i1 = min(max(i + whole_x, 0), width - 1), min(max(i + whole_x + 1, 0), width - 1)
            upper = (1.0 - fx) * plane[j0, i0] + fx * plane[j0, i1]
            lower = (1.0 - fx) * plane[j1, i0] + fx * plane[j1, i1]
            out[j, i] = (1.0 - fy) * upper + fy * lower
    return out


def cutting_direction(key: int) -> float:
    """Angle from y, in rad, in which all sections of a block are cut."""
    return float(generator(key, "direction of cutting").uniform(0.0, math.pi))


def thickness_factor(
    section: Section, key: int, field: Field2D, uneven: Unevenness | None, marks: KnifeMarks | None
) -> Plane | None:
    """By how much more or less tissue and stain a section has at each pixel; None where nothing varies."""
    if uneven is None and marks is None:
        return None
    # Chatter runs across the direction of cutting, scratches along it.
    angle = cutting_direction(key)
    y, x = field.places_nm()
    ahead = math.cos(angle) * y + math.sin(angle) * x
    factor = np.full(field.shape, 1.0, np.float32)
    if uneven is not None and uneven.smooth_sd > 0.0:
        patch_key = sub_key(sub_key(key, "stain patches"), str(section.index))
        factor += np.float32(uneven.smooth_sd) * field.smooth(patch_key, 1e3 * uneven.smooth_length_um)
    if uneven is not None and uneven.chatter > 0.0:
        phase = generator(key, "chatter", section.index).uniform(0.0, 2 * math.pi)
        factor += (uneven.chatter * np.sin(2 * math.pi * ahead / uneven.chatter_period_nm + phase)).astype(np.float32)
    if marks is not None:
        aside = math.cos(angle) * x - math.sin(angle) * y
        for scratch in scratches(section.index, key, marks, aside.min(), aside.max()):
            profile = np.exp(-0.5 * ((aside - scratch.aside_nm) / (0.5 * scratch.width_nm)) ** 2)
            factor *= 1.0 - np.float32(scratch.depth) * profile.astype(np.float32)
    return np.maximum(factor, np.float32(0.05))


@dataclass(frozen=True)
class Scratch:
    """A knife mark: its distance aside of the origin, across the direction of cutting, and the share it took away."""

    aside_nm: float
    width_nm: float
    depth: float


def scratches(index: int, key: int, marks: KnifeMarks, low_nm: float, high_nm: float) -> list[Scratch]:
    """The knife marks of a section whose places lie between `low_nm` and `high_nm`, or a little beyond."""
    found = []
    for cell in range(math.floor(low_nm / _CELL_NM) - 1, math.floor(high_nm / _CELL_NM) + 2):
        rng = generator(key, "knife marks", cell)
        for number in range(rng.poisson(marks.per_um * _CELL_NM / 1e3)):
            place, width, depth = rng.uniform((0, 0.5, 0.3), (1, 1.5, 1.0))
            # A nick in the knife cuts now deeper, now less, as sections go by.
            now = generator(key, "depth of marks", cell, number, index // 4).uniform(0.4, 1.0)
            aside_nm, width_nm = (cell + float(place)) * _CELL_NM, float(width) * marks.width_nm
            found.append(Scratch(aside_nm, width_nm, float(depth * now) * marks.depth))
    return found


@dataclass(frozen=True)
class Grain:
    """A ball of foreign matter on a section."""

    y_nm: float
    x_nm: float
    diameter_nm: float


def grains(section: Section, key: int, name: str, field: Field2D, specks: Specks) -> list[Grain]:
    """The grains on a section that carries such specks, which lie in the field or a little beyond."""
    found = []
    ranges = [
        range(math.floor(low * size / _CELL_NM) - 1, math.floor((low + count) * size / _CELL_NM) + 2)
        for low, count, size in zip(field.first, field.shape, field.size_nm, strict=True)
    ]
    for cell_y in ranges[0]:
        for cell_x in ranges[1]:
            rng = generator(key, name, section.index, cell_y, cell_x)
            for _ in range(rng.poisson(specks.clusters_per_um2 * (_CELL_NM / 1e3) ** 2)):
                centre = (np.array([cell_y, cell_x]) + rng.uniform(size=2)) * _CELL_NM
                count = max(1, rng.poisson(specks.grains_per_cluster))
                places = centre + np.clip(rng.normal(size=(count, 2)), -3, 3) * specks.cluster_radius_nm / 2
                spread = np.clip(rng.normal(size=count), -2.5, 2.5) * specks.diameter_spread
                for (y, x), diameter in zip(places, specks.diameter_nm * np.exp(spread), strict=True):
                    found.append(Grain(float(y), float(x), min(float(diameter), 0.5 * _CELL_NM)))
    return found


def chords_nm(there: list[Grain], field: Field2D) -> Plane:
    """How many nm of the grains' matter the beam crosses at each pixel."""
    chords = np.zeros(field.shape, np.float32)
    y, x = field.places_nm()
    for grain in there:
        radius = 0.5 * grain.diameter_nm
        rows = slice(*np.searchsorted(y[:, 0], (grain.y_nm - radius, grain.y_nm + radius)))
        columns = slice(*np.searchsorted(x[0], (grain.x_nm - radius, grain.x_nm + radius)))
        square = (y[rows] - grain.y_nm) ** 2 + (x[:, columns] - grain.x_nm) ** 2
        chords[rows, columns] += 2.0 * np.sqrt(np.maximum(radius**2 - square, 0.0)).astype(np.float32)
    return chords

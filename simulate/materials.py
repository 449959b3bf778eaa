"""What stained tissue is made of, and what that means to an electron or an X-ray.

A material is resin, protein and lipid with osmium, uranium and lead bound to them. From its mass fractions
follow density, mean atomic number, backscatter coefficient, electron range, mean free paths and what X-rays
meet. Two readers of YAML live
here: `MaterialTable` (assets/materials/stained_tissue.yaml) and `StructureTable`
(assets/materials/structures.yaml), which says what class and material each structure of a block is.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Self

import numba
import numpy as np
import numpy.typing as npt
import yaml
from pydantic import BaseModel, ConfigDict, Field, model_validator

from .electrons import (
    ELEMENTS,
    castaing_backscatter,
    kanaya_okayama_mixture_range_um,
    lenz_mean_atomic_number,
    love_scott_backscatter,
    malis_inelastic_mean_free_path_nm,
    mixture_elastic_mean_free_path_nm,
)
from .hash_noise import bell, mix, sub_key
from .x_ray_constants import attenuation_per_cm, delta_beta

STAINS = ("Os", "U", "Pb")

# Elemental mass fractions and densities (g/cm³) of what carries the stain. Resin: the composition of
# reference/physics.md 3e, C10.43 H15.1 O2.82 N0.12, ρ 1.22. Protein: mean composition of proteins, ρ 1.35
# (Fischer, Polikarpov and Craievich 2004). Lipid: POPC, C42H82NO8P, ρ 1.0. All are assumptions about a block
# that nobody has weighed; what the images fix is the stain.
_RESIN_ATOMS = {"C": 10.43, "H": 15.1, "O": 2.82, "N": 0.12}
_RESIN_WEIGHT = sum(n * ELEMENTS[s].atomic_weight for s, n in _RESIN_ATOMS.items())
COMPOUNDS: Mapping[str, Mapping[str, float]] = {
    "resin": {s: n * ELEMENTS[s].atomic_weight / _RESIN_WEIGHT for s, n in _RESIN_ATOMS.items()},
    "protein": {"C": 0.53, "H": 0.07, "N": 0.16, "O": 0.23, "S": 0.01},
    "lipid": {"C": 0.6637, "H": 0.1087, "N": 0.0184, "O": 0.1684, "P": 0.0408},
}
COMPOUND_DENSITY_G_CM3: Mapping[str, float] = {"resin": 1.22, "protein": 1.35, "lipid": 1.0}

# Thickness of a plasma membrane's bilayer (reference/realism.md row 46); what a profile's stain shows can be thicker,
# with the proteins on its faces.
PLASMA_MEMBRANE_NM = 8.0
PLASMA_MEMBRANE_OF = ("axon", "dendrite", "astrocyte", "spine", "soma", "myelin_tongue")

# A squared normal number cannot have a relative standard deviation of √2 or more.
LARGEST_STAIN_SD = 1.3

Share = Annotated[float, Field(ge=0.0, le=1.0)]


class Material(BaseModel):
    """One material: mass fractions of what it is made of, and how unevenly it takes stain.

    `fine_grain_sd` and `coarse_grain_sd` are the relative standard deviations of the local stain at
    the table's two grain lengths (ribosomes, filaments and protein mottle a cytoplasm); `between_cells_cv`
    is the same from cell to cell. `lining` is how much of the shell that a structure of this material is lined
    with is bilayer: two bilayers with a gap leave less than 1. A `cytoplasm`'s stain follows its cell's
    `stain_scale`. `fluorophore_umol_per_l` is how much fluorophore the material holds in a labelled cell, before
    embedding. The six fractions sum to 1.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: Annotated[int, Field(ge=0, le=255)]
    resin: Share
    protein: Share = 0.0
    lipid: Share = 0.0
    os: Share = 0.0
    u: Share = 0.0
    pb: Share = 0.0
    fine_grain_sd: Annotated[float, Field(ge=0.0, le=1.5)] = 0.0
    coarse_grain_sd: Annotated[float, Field(ge=0.0, le=1.5)] = 0.0
    between_cells_cv: Annotated[float, Field(ge=0.0, le=1.0)] = 0.0
    lining: Share = 1.0
    cytoplasm: bool = False
    fluorophore_umol_per_l: Annotated[float, Field(ge=0.0, le=1e5)] = 0.0

    @model_validator(mode="after")
    def _fractions_sum_to_one(self) -> Self:
        total = self.resin + self.protein + self.lipid + self.os + self.u + self.pb
        if abs(total - 1.0) > 1e-6:
            raise ValueError(f"material {self.id}: its mass fractions sum to {total:.6g}, they must sum to 1")
        spread = (self.fine_grain_sd**2 + self.coarse_grain_sd**2 + self.between_cells_cv**2) ** 0.5
        if spread > LARGEST_STAIN_SD:
            raise ValueError(
                f"material {self.id}: grain and variation between cells add to a relative standard deviation of "
                f"{spread:.3g}; the stain can have at most {LARGEST_STAIN_SD}"
            )
        return self

    @property
    def stain_fraction(self) -> float:
        """Mass fraction of osmium, uranium and lead together."""
        return self.os + self.u + self.pb

    @property
    def mass_fractions(self) -> dict[str, float]:
        """Mass fractions by element symbol."""
        elements: dict[str, float] = {}
        for name, share in (("resin", self.resin), ("protein", self.protein), ("lipid", self.lipid)):
            for symbol, fraction in COMPOUNDS[name].items():
                elements[symbol] = elements.get(symbol, 0.0) + share * fraction
        elements |= {"Os": self.os, "U": self.u, "Pb": self.pb}
        return elements

    @property
    def density_g_cm3(self) -> float:
        """Density from volume additivity, 1/ρ = Σ w/ρ (reproduces the densities of physics.md 3e)."""
        volume = sum(getattr(self, name) / density for name, density in COMPOUND_DENSITY_G_CM3.items()) + sum(
            getattr(self, s.lower()) / ELEMENTS[s].density_g_cm3 for s in STAINS
        )
        return 1.0 / volume

    @property
    def mean_atomic_number(self) -> float:
        """Mass-weighted mean atomic number Σ w Z."""
        return sum(w * ELEMENTS[s].atomic_number for s, w in self.mass_fractions.items())

    def backscatter(self, energy_kev: float) -> float:
        """Backscatter coefficient by Castaing's rule over Love and Scott's η(Z, E)."""
        return castaing_backscatter(self.mass_fractions, lambda z: love_scott_backscatter(z, energy_kev))

    def range_um(self, energy_kev: float) -> float:
        """Kanaya–Okayama range in µm."""
        return float(kanaya_okayama_mixture_range_um(self.mass_fractions, self.density_g_cm3, energy_kev))

    def elastic_mean_free_path_nm(self, energy_kev: float) -> float:
        """Mean distance in nm between elastic events (Browning up to 30 keV, screened Rutherford above)."""
        return mixture_elastic_mean_free_path_nm(self.mass_fractions, self.density_g_cm3, energy_kev)

    def inelastic_mean_free_path_nm(self, energy_kev: float, collection_mrad: float = 10.0) -> float:
        """Mean distance in nm between inelastic events in a section (Malis), 80–200 keV, ±20 %."""
        mean_z = lenz_mean_atomic_number(self.mass_fractions)
        return float(malis_inelastic_mean_free_path_nm(mean_z, energy_kev, collection_mrad))

    def x_ray_attenuation_per_cm(self, energy_kev: float) -> float:
        """Linear attenuation of X-rays, scattering included, in 1/cm."""
        return attenuation_per_cm(self.mass_fractions, self.density_g_cm3, energy_kev)

    def x_ray_delta_beta(self, energy_kev: float) -> tuple[float, float]:
        """δ and β of the refractive index n = 1 − δ + iβ for X-rays."""
        return delta_beta(self.mass_fractions, self.density_g_cm3, energy_kev)

    def with_stain_fraction(self, stain: float) -> Material:
        """The same material with another total stain, organic parts and the metals' ratio kept.

        Raises ValueError when the stain leaves 0–0.5 or the material had no metal to scale.
        """
        if not 0.0 <= stain <= 0.5:
            raise ValueError(f"material {self.id}: a stain mass fraction of {stain:.4g} is outside 0 to 0.5")
        old = self.stain_fraction
        if old <= 0.0:
            raise ValueError(f"material {self.id} has no Os, U or Pb whose share could be set")
        organic = (1.0 - stain) / (1.0 - old)
        metal = stain / old
        fractions = {n: getattr(self, n) * organic for n in COMPOUNDS}
        fractions |= {s.lower(): getattr(self, s.lower()) * metal for s in STAINS}
        return Material(**(self.model_dump() | fractions))


class MaterialTable(BaseModel):
    """Materials by name, and the two lengths of stain grain (full width at half maximum, nm).

    `fluorophore_source` says where the materials' fluorophore concentrations come from, and what is labelled.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    source: str
    fluorophore_source: str = ""
    fine_grain_nm: Annotated[float, Field(gt=0.0, le=1000.0)]
    coarse_grain_nm: Annotated[float, Field(gt=0.0, le=1000.0)]
    materials: dict[str, Material]

    @model_validator(mode="after")
    def _ids_are_unique(self) -> Self:
        seen: dict[int, str] = {}
        for name, material in self.materials.items():
            if material.id in seen:
                raise ValueError(f"materials {seen[material.id]} and {name} share the id {material.id}")
            seen[material.id] = name
        return self

    @model_validator(mode="after")
    def _fluorophore_has_a_source(self) -> Self:
        labelled = [name for name, material in self.materials.items() if material.fluorophore_umol_per_l > 0.0]
        if labelled and not self.fluorophore_source:
            raise ValueError(f"material {labelled[0]} holds fluorophore, but the table's fluorophore_source is empty")
        return self

    def __getitem__(self, name: str) -> Material:
        if name not in self.materials:
            known = ", ".join(self.materials)
            raise ValueError(f"no material is called {name!r}; known are {known}")
        return self.materials[name]

    def with_materials(self, changed: Mapping[str, Material]) -> MaterialTable:
        """The table with some materials replaced by name."""
        return self.model_copy(update={"materials": {**self.materials, **changed}})

    def stain_spread(self) -> tuple[tuple[npt.NDArray[np.float64], ...], npt.NDArray[np.float64]]:
        """Standard deviations of the normal numbers whose sum x makes the local stain (1 + x)²/(1 + v), and v.

        Three arrays (256,) by material id for the fine grain, the coarse grain and the cell, and their variances' sum
        v (256,). The local stain's mean is 1 and its relative standard deviations are those of the table.
        """
        names = ("fine_grain_sd", "coarse_grain_sd", "between_cells_cv")
        relative = [self.lookup(name, 0.0) for name in names]
        variance = np.sum(np.square(relative), axis=0)
        # Variance v of x at which (1 + x)²/(1 + v) has the variance s²: (1 + v)² = 2/(2 - s²).
        spread = np.sqrt(2.0 / (2.0 - variance)) - 1.0
        narrowing = np.sqrt(spread / np.maximum(variance, 1e-12))
        return tuple(sd * narrowing for sd in relative), spread

    def lookup(self, quantity: str, missing: float = np.nan) -> npt.NDArray[np.float64]:
        """A numeric field or property per material id, shape (256,); `missing` where there is no material."""
        values = np.full(256, missing)
        for material in self.materials.values():
            values[material.id] = getattr(material, quantity)
        return values


# Shares of a cell's deviate that all its materials have in common and that each has for itself.
_COMMON, _OWN = math.sqrt(0.7), math.sqrt(0.3)


@numba.njit(inline="always")
def cell_deviate(cell_key: np.uint64, cell: int, material: int) -> float:
    """How much more or less stain a cell's material takes than the mean: normal, of unit variance; 0 outside cells.

    Most of it all the cell's materials have in common.
    """
    if cell <= 0:
        return 0.0
    bits = mix(cell_key + np.uint64(cell))
    own = bell(mix(bits + np.uint64(material + 1)))
    return _COMMON * bell(bits) + _OWN * own


def cell_stains(
    table: MaterialTable, key: int, cells: Mapping[int, Iterable[str]], stain_scale: npt.NDArray[np.floating]
) -> dict[int, dict[str, dict[str, float]]]:
    """What an image with this key shows: per cell id and material name the mean mass fractions os, u and pb.

    cells: names of the materials that each cell has; stain_scale: as `image_fibsem` was given it.
    """
    (fine, coarse, between), spread = table.stain_spread()
    cell_key = np.uint64(sub_key(key, "cells"))
    found: dict[int, dict[str, dict[str, float]]] = {}
    for cell, names in cells.items():
        scale = float(stain_scale[cell]) if cell < len(stain_scale) else 1.0
        found[cell] = {}
        for name in names:
            material = table[name]
            n = material.id
            shift = 1.0 + between[n] * cell_deviate(cell_key, cell, n)
            # Averaged over the grain, which multiplies the same square.
            uneven = (shift**2 + fine[n] ** 2 + coarse[n] ** 2) / (1.0 + spread[n])
            factor = uneven * (scale if material.cytoplasm else 1.0)
            metal = material.stain_fraction * factor
            per_metal = factor / (1.0 - material.stain_fraction + metal)
            found[cell][name] = {s.lower(): round(getattr(material, s.lower()) * per_metal, 6) for s in STAINS}
    return found


class Structure(BaseModel):
    """How a structure of a block is drawn into arrays: class id, material name, bilayer thickness in nm."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    class_id: Annotated[int, Field(ge=0, le=255)]
    material: str
    membrane_nm: Annotated[float, Field(ge=0.0, le=100.0)] = 0.0


class StructureTable(BaseModel):
    """Structures by name."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    source: str
    structures: dict[str, Structure]

    @model_validator(mode="after")
    def _class_ids_are_unique(self) -> Self:
        seen: dict[int, str] = {}
        for name, structure in self.structures.items():
            if structure.class_id in seen:
                other = seen[structure.class_id]
                raise ValueError(f"structures {other} and {name} share the class id {structure.class_id}")
            seen[structure.class_id] = name
        return self

    def with_plasma_membranes(self, thickness_nm: float) -> StructureTable:
        """The table with all cells' plasma membranes of another thickness."""
        changed = {
            name: self[name].model_copy(update={"membrane_nm": thickness_nm})
            for name in PLASMA_MEMBRANE_OF
            if name in self.structures
        }
        return self.model_copy(update={"structures": self.structures | changed})

    def __getitem__(self, name: str) -> Structure:
        if name not in self.structures:
            known = ", ".join(self.structures)
            raise ValueError(f"no structure is called {name!r}; known are {known}")
        return self.structures[name]


def read_asset(folder: str, name_or_path: str | Path) -> tuple[dict[str, Any], str]:
    """Mapping read from a YAML file, and where it came from.

    `name_or_path` is a path to a file, or the bare name of one in the package's `assets/FOLDER`. Raises
    FileNotFoundError (with the names there are) or ValueError (the file holds no mapping).
    """
    path = Path(name_or_path)
    if path.suffix in (".yaml", ".yml"):
        if not path.is_file():
            raise FileNotFoundError(f"no file {path}")
        text = path.read_text(encoding="utf-8")
    else:
        there = resources.files("neuropil.assets") / folder
        file = there / f"{name_or_path}.yaml"
        if not file.is_file():
            known = sorted(entry.name[:-5] for entry in there.iterdir() if entry.name.endswith(".yaml"))
            raise FileNotFoundError(f"assets/{folder} has no {name_or_path!r}; it has {', '.join(known) or 'nothing'}")
        text = file.read_text(encoding="utf-8")
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(f"{name_or_path} is not YAML: {str(error).splitlines()[0]}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{name_or_path} must hold a mapping of keys to values")
    return content, str(name_or_path)


def load_materials(name_or_path: str | Path = "stained_tissue") -> MaterialTable:
    """Material table by asset name or YAML path; raises FileNotFoundError or pydantic's ValidationError."""
    return MaterialTable.model_validate(read_asset("materials", name_or_path)[0])


def load_structures(name_or_path: str | Path = "structures") -> StructureTable:
    """Structure table by asset name or YAML path; raises FileNotFoundError or pydantic's ValidationError."""
    return StructureTable.model_validate(read_asset("materials", name_or_path)[0])

"""How many of the landed electrons come back to the detector, by what a place holds.

Which atoms scatter back how much of it all is Castaing's rule over Love and Scott's η(Z, E). How strongly the detected
electrons answer to it depends on the landing energy and on the energy filter, and is the Monte Carlo's
(assets/point_spreads): `Response` is its tangent in lightly stained resin.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .electrons import castaing_backscatter, love_scott_backscatter
from .materials import STAINS, Material, MaterialTable
from .point_spread import spread_table


def stained_resin(stain: float) -> Material:
    """Resin with osmium, uranium and lead as 2 : 1 : 1, which is how the materials of tissue hold them."""
    return Material(id=0, resin=1.0 - stain, os=stain / 2, u=stain / 4, pb=stain / 4)


@dataclass(frozen=True)
class Response:
    """Share of the landed electrons that is detected above a material: detected + slope · ρ/ρ₀ · (η − η₀).

    ρ₀ and η₀ are density and backscatter coefficient of the resin that the Monte Carlo was made in. Scattering goes by
    the mass that a beam meets, so a structure's contrast goes by its density as well: small things of 10–30 % of stain
    are met within 10 %, by mass fraction alone they would be 8–36 % too weak (docs/monte_carlo.md). `detected` counts
    what passes the energy filter.
    """

    detected: float
    slope: float
    density_g_cm3: float
    eta: float
    landing_energy_kev: float

    def share_of(self, material: Material) -> float:
        """Share above a large piece of a material."""
        eta = material.backscatter(self.landing_energy_kev)
        return self.detected + self.excess(material.density_g_cm3, eta)

    def share_at(self, eta: float) -> float:
        """Share above something of this backscatter coefficient, as dense as lightly stained resin."""
        return self.detected + self.excess(self.density_g_cm3, eta)

    def excess(self, density_g_cm3: float, eta: float) -> float:
        """What mass of a mean density in a voxel, with this backscatter coefficient, adds to the share."""
        return self.slope * density_g_cm3 / self.density_g_cm3 * (eta - self.eta)


@functools.lru_cache(maxsize=256)
def response(landing_energy_kev: float, energy_filter_share: float) -> Response:
    """The Monte Carlo's response at this landing energy and filter. Raises ValueError outside its table."""
    table = spread_table()
    spread = table.at(landing_energy_kev, energy_filter_share)
    here, plain = stained_resin(table.stain_fraction), stained_resin(0.0)
    eta = here.backscatter(landing_energy_kev)
    per_stain = (eta - plain.backscatter(landing_energy_kev)) / table.stain_fraction
    return Response(spread.detected, spread.contrast / per_stain, here.density_g_cm3, eta, landing_energy_kev)


def part_etas(material: Material, energy_kev: float) -> tuple[float, float]:
    """Backscatter coefficients of a material's organic part and of its metals, 0 for a part it has not."""
    etas = []
    for metal in (False, True):
        shares = {s: w for s, w in material.mass_fractions.items() if (s in STAINS) == metal}
        whole = sum(shares.values())
        fractions = {s: w / whole for s, w in shares.items() if w > 0.0}
        etas.append(castaing_backscatter(fractions, lambda z: love_scott_backscatter(z, energy_kev)))
    return etas[0], etas[1]


def shares_of(table: MaterialTable, answer: Response) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Detected share by material id, (256,) each: of the organic part, with all that is no contrast, and of metals."""
    organic, metal = np.full(256, answer.detected), np.zeros(256)
    for material in table.materials.values():
        of_organic, of_metal = part_etas(material, answer.landing_energy_kev)
        density, stain = material.density_g_cm3, material.stain_fraction
        organic[material.id] += answer.excess(density * (1.0 - stain), of_organic)
        metal[material.id] = answer.excess(density * stain, of_metal)
    return organic, metal


def resin_share(answer: Response) -> float:
    """Detected share above resin without stain."""
    return answer.share_of(Material(id=0, resin=1.0))

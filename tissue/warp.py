"""A smooth random deformation of space that makes membranes undulate without letting them touch.

Cells are laid out in flat space; the tissue is what a diffeomorphism makes of it. Disjoint bodies stay disjoint and
one piece stays one piece, and distances shrink by the local `stretch` at most, by which the gap is enlarged.
"""

from dataclasses import dataclass
from functools import cached_property

import numba
import numpy as np
from scipy.ndimage import gaussian_filter, maximum_filter

from .arrival import FloatArray, Grid, interpolate


@numba.njit(cache=True, nogil=True)
def _largest_stretch(gradient: FloatArray) -> FloatArray:
    """Largest singular value of 1 + gradient (3, 3, n): (n,) float32.

    From the largest eigenvalue of the symmetric matrix J^T J in closed form (Smith 1961, Comm ACM 4:168).
    """
    out = np.empty(gradient.shape[2], np.float32)
    m = np.empty((3, 3))
    for n in range(gradient.shape[2]):
        for i in range(3):
            for j in range(3):
                total = 0.0
                for k in range(3):
                    total += ((k == i) + gradient[k, i, n]) * ((k == j) + gradient[k, j, n])
                m[i, j] = total
        mean = (m[0, 0] + m[1, 1] + m[2, 2]) / 3
        off = m[0, 1] ** 2 + m[0, 2] ** 2 + m[1, 2] ** 2
        spread = np.sqrt(((m[0, 0] - mean) ** 2 + (m[1, 1] - mean) ** 2 + (m[2, 2] - mean) ** 2 + 2 * off) / 6)
        largest = mean
        if spread > 1e-12:
            a, b, c = (m[0, 0] - mean) / spread, (m[1, 1] - mean) / spread, (m[2, 2] - mean) / spread
            d, e, f = m[0, 1] / spread, m[0, 2] / spread, m[1, 2] / spread
            half = 0.5 * (a * (b * c - f * f) - d * (d * c - f * e) + e * (d * f - b * e))
            largest = mean + 2 * spread * np.cos(np.arccos(min(max(half, -1.0), 1.0)) / 3)
        out[n] = np.sqrt(largest)
    return out


@dataclass(frozen=True)
class Warp:
    """Displacement (µm) on a grid: the tissue's point x shows what was laid out at x + displacement(x)."""

    grid: Grid
    displacement_um: FloatArray  # (3, nx, ny, nz)

    @classmethod
    def random(
        cls,
        grid: Grid,
        amplitudes_um: tuple[float, ...],
        wavelengths_um: tuple[float, ...],
        rng: np.random.Generator,
    ) -> "Warp":
        """Gaussian random fields of the given root-mean-square amplitudes per component and length scales."""
        total = np.zeros((3, *grid.shape), np.float32)
        for amplitude, wavelength in zip(amplitudes_um, wavelengths_um, strict=True):
            # A Gaussian kernel of this sigma leaves a field whose typical wavelength is about 2 pi sigma.
            sigma = wavelength / (2 * np.pi * grid.spacing_um)
            for component in total:
                noise = gaussian_filter(rng.normal(size=grid.shape).astype(np.float32), sigma, mode="wrap")
                component += amplitude * noise / max(float(noise.std()), 1e-9)
        return cls(grid, total)

    @cached_property
    def largest_um(self) -> float:
        """The longest displacement."""
        return float(np.sqrt((self.displacement_um**2).sum(0)).max())

    @cached_property
    def stretch(self) -> FloatArray:
        """(nx, ny, nz) how much faster than in flat space an arrival time can rise at each node.

        The largest singular value of 1 + grad u, from the largest eigenvalue of its square (a symmetric 3 x 3 matrix).
        """
        gradient = np.stack([np.stack(np.gradient(c, self.grid.spacing_um)) for c in self.displacement_um])
        largest = _largest_stretch(np.ascontiguousarray(gradient.reshape(3, 3, -1)))
        # The worst of the neighbouring nodes counts, since a gap spans parts of several cubes.
        return maximum_filter(largest.reshape(self.grid.shape), 3)

    def stretch_at(self, points_um: FloatArray) -> FloatArray:
        """Stretch at points (n, 3)."""
        return interpolate(self.stretch, self.grid.origin_um, self.grid.spacing_um, points_um)

    def to_layout(self, points_um: FloatArray) -> FloatArray:
        """Where points (n, 3) of the tissue lay in flat space."""
        shift = [interpolate(c, self.grid.origin_um, self.grid.spacing_um, points_um) for c in self.displacement_um]
        return np.asarray(points_um + np.stack(shift, axis=-1))

    def to_tissue(self, points_um: FloatArray) -> FloatArray:
        """Where points (n, 3) of flat space come to lie in the tissue (fixed-point iteration)."""
        there = np.array(points_um, float)
        for _ in range(12):
            there -= self.to_layout(there) - points_um
        return there

    def nodes(self, grid: Grid) -> FloatArray:
        """(nx, ny, nz, 3) float32 flat-space positions of a grid's nodes."""
        flat = self.to_layout(np.ascontiguousarray(grid.nodes().reshape(-1, 3)))
        return flat.reshape(*grid.shape, 3).astype(np.float32)

"""Block-face SEM image formation: stain → backscatter → cut face → scan → charge → counted electrons → grey.

Everything random is a hash of a key and the absolute voxel (`hash_noise`), so a voxel's grey depends on the
key and on the materials within `blur_reach` of it, never on how a block was cut into tiles nor on how many threads
work on it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numba
import numpy as np
import numpy.typing as npt
from scipy.ndimage import correlate1d

from neuropil.voxelize.volume import Triple, Volume

from .backscatter import Response, response, shares_of
from .beam import SPOT_CUT, extend_lines, mix_depths, scan_lines, spread_beam
from .block_input import check_block, first_voxel
from .charging import memory_length, remember
from .counting import poisson
from .hash_noise import (
    READ_SHIFT,
    SHOT_SHIFT,
    SmoothNoise,
    bits_at,
    key_from,
    quick_normal,
    row_key,
    smooth_line,
    sub_key,
)
from .materials import MaterialTable
from .microscope import FibSem, SbfSem
from .mosaic import Tiling
from .point_spread import FWHM_PER_SIGMA, gaussian_kernel
from .slices import Slices
from .stained_volume import stain_columns, stained_plane

Plane = npt.NDArray[np.float32]
Voxel = tuple[int, int, int]

# Poisson numbers of fewer electrons than this are drawn exactly, larger ones as rounded normal numbers.
_EXACT_POISSON_BELOW = np.float32(40.0)

# An oblique spot is a blur along y whose lines lean by at most this many pixels of x each: beyond, rounder is drawn.
_MOST_SHEAR = 3.0

# Slices that each thread images before the next ones' backscatter is computed.
_SLICES_AT_A_TIME = 4


@dataclass(frozen=True)
class Micrograph:
    """An image (uint8, zyx) and every parameter that made it."""

    image: Volume
    parameters: dict[str, Any]


@numba.njit(cache=True, nogil=True)
def _charge_lines(signal: Plane, held: Plane, neutral: np.float32, per_signal: np.float32) -> None:
    """Lets the charge of the pixels scanned just before, whose mean signal is `held`, change the signal in place.

    per_signal: the share of the signal that is lost for each unit that `held` falls short of `neutral`.
    """
    one, zero = np.float32(1.0), np.float32(0.0)
    for j in range(signal.shape[0]):
        for i in range(signal.shape[1]):
            signal[j, i] *= max(one - per_signal * (neutral - held[j, i]), zero)


@numba.njit(cache=True, nogil=True)
def _count_lines(signal: Plane, electrons: np.float32, key: np.uint64, z: int, y0: int, x0: int, out: Plane) -> None:
    """Counts electrons: Poisson numbers of mean electrons · signal."""
    zero, half = np.float32(0.0), np.float32(0.5)
    for j in range(signal.shape[0]):
        line = row_key(key, z, y0 + j)
        fewest = np.float32(np.inf)
        for i in range(signal.shape[1]):
            mean = electrons * signal[j, i]
            fewest = min(fewest, mean)
            drawn = mean + np.sqrt(mean) * quick_normal(bits_at(line, x0 + i) >> np.uint64(SHOT_SHIFT))
            out[j, i] = max(np.floor(drawn + half), zero)
        if fewest < _EXACT_POISSON_BELOW:
            for i in range(signal.shape[1]):
                mean = electrons * signal[j, i]
                if mean < _EXACT_POISSON_BELOW:
                    out[j, i] = np.float32(poisson(mean, bits_at(line, x0 + i)))


@numba.njit(cache=True, nogil=True)
def _show_lines(
    counts: Plane,
    row: npt.NDArray[np.int64],
    edges: npt.NDArray[np.int64],
    gain: Plane,
    offset: Plane,
    read_noise: np.float32,
    key: np.uint64,
    z: int,
    y0: int,
    x0: int,
    out: npt.NDArray[np.uint8],
) -> None:
    """Grey levels of counted electrons; gain and offset (rows, columns) by tile."""
    zero, half, most = np.float32(0.0), np.float32(0.5), np.float32(255.0)
    for j in range(counts.shape[0]):
        line = row_key(key, z, y0 + j)
        for s in range(edges.shape[0] - 1):
            start, length = edges[s], edges[s + 1] - edges[s]
            counted, shown = counts[j, start : start + length], out[j, start : start + length]
            g, c = gain[row[j], s], offset[row[j], s]
            if read_noise > zero:
                for i in range(length):
                    read = quick_normal(bits_at(line, x0 + start + i) >> np.uint64(READ_SHIFT))
                    grey = c + g * counted[i] + read_noise * read
                    shown[i] = np.uint8(np.int32(min(max(np.floor(grey + half), zero), most)))
            else:
                for i in range(length):
                    grey = c + g * counted[i]
                    shown[i] = np.uint8(np.int32(min(max(np.floor(grey + half), zero), most)))


def _spot_variances_px(microscope: FibSem | SbfSem, size_nm: Triple) -> npt.NDArray[np.float64]:
    """Variance of the focused spot along y and x, (2,), in px²."""
    return np.square(np.array(microscope.lateral_fwhm_nm) / FWHM_PER_SIGMA / np.array(size_nm[1:]))


def _optical_reach(microscope: FibSem | SbfSem, size_nm: Triple) -> tuple[int, int]:
    """How many voxels (y, x) from a pixel's own place the spot may gather from."""
    of_focus = microscope.focus.largest_variance_nm2 / np.square(size_nm[1:])
    largest = np.sqrt(_spot_variances_px(microscope, size_nm) + of_focus)
    reach = []
    for axis in range(2):
        moved = (microscope.scan.largest_nm[axis] + microscope.mosaic.largest_nm) / size_nm[1 + axis]
        wide = math.ceil(SPOT_CUT * largest[axis])
        if axis == 1 and microscope.focus.astigmatism_um > 0.0:
            # An oblique spot reaches out by its lean and by its width across it: 2^½ of either at most.
            wide = math.ceil(math.sqrt(2.0) * SPOT_CUT * largest[axis] + 2.0 * _MOST_SHEAR) + 2
        reach.append(math.ceil(moved + wide))
    return reach[0], reach[1]


def blur_reach(microscope: FibSem | SbfSem, voxel_size_nm: Triple) -> tuple[int, int, int]:
    """How many voxels (z, y, x) away materials still change a voxel's grey: the margin a tile needs."""
    kernel, first = microscope.depth_kernel(voxel_size_nm[0])
    reach_y, reach_x = (
        optical + max(kernel.size for kernel in microscope.beam_spread_kernels(size)) // 2
        for optical, size in zip(_optical_reach(microscope, voxel_size_nm), voxel_size_nm[1:], strict=True)
    )
    resampled = gaussian_kernel(microscope.resampling_fwhm_px, 1.0).size // 2
    reach_y += resampled
    reach_x += resampled + memory_length(microscope.dwell_correlation) - 1
    reach_x += memory_length(microscope.charging.decay(voxel_size_nm[2])) - 1
    return max(-first, kernel.shape[1] - 1 + first), reach_y, reach_x


def _spot(
    microscope: FibSem | SbfSem, errors_um: npt.NDArray[np.float64], size_nm: Triple
) -> tuple[float, float, float]:
    """The spot with these errors of focus as variance along y, lean, and variance along x of what leans (px)."""
    covariance = microscope.focus.covariance_nm2(errors_um) / np.outer(size_nm[1:], size_nm[1:])
    covariance += np.diag(_spot_variances_px(microscope, size_nm))
    along_y, between, along_x = covariance[0, 0], covariance[0, 1], covariance[1, 1]
    if between == 0.0:
        return float(along_y), 0.0, float(along_x)
    shear = float(np.clip(between / along_y, -_MOST_SHEAR, _MOST_SHEAR))
    return float(along_y), shear, max(float(along_x - 2.0 * shear * between + shear**2 * along_y), 0.0)


def sampled_artefacts(
    microscope: FibSem | SbfSem, key: int, voxel_size_nm: Triple, first: Voxel, shape: Voxel
) -> dict[str, Any]:
    """What a micrograph with this key has of each artefact, in a box of `shape` voxels from voxel `first` on.

    Lists have an entry per slice: relative beam current and drift of gain, drift of offset in grey levels, defocus
    and the two astigmatisms in µm, the slice's offset (y, x) in nm. What varies from line to line and tile to tile
    follows from `scan_key` through `Scan.displacement_nm` and `Mosaic.tiling`.
    """
    z, depth = first[0], shape[0]
    length = microscope.drift_length_slices

    def drift(name: str, spread: float) -> list[float]:
        return (spread * smooth_line(sub_key(key, name), z, depth, length).astype(np.float64)).tolist()

    scan_key = sub_key(key, "scan")
    sampled: dict[str, Any] = {
        "beam_current": drift("beam current", microscope.beam_current_sd),
        "drift_gain": drift("drift of gain", microscope.drift_gain_sd),
        "drift_offset_grey": drift("drift of offset", microscope.drift_offset_grey),
        "focus_errors_um": microscope.focus.errors_um(sub_key(key, "focus"), z, depth).tolist(),
        "scan_key": scan_key,
        "slice_offset_nm": microscope.scan.slice_offsets_nm(scan_key, z, depth).tolist(),
        "vibration_phase": microscope.scan.vibration_phases(scan_key, z, depth).tolist(),
    }
    if microscope.mosaic.tile_um > 0.0:
        sampled["first_seams_nm"] = microscope.mosaic.first_seams_nm(scan_key)
    if isinstance(microscope, SbfSem):
        knife_key = sub_key(key, "knife")
        low, high = (
            tuple(corner * size for corner, size in zip(corners, voxel_size_nm[1:], strict=True))
            for corners in (first[1:], np.add(first, shape)[1:].tolist())
        )
        sampled |= {
            "chatter_amplitude": microscope.knife.chatter_amplitudes(knife_key, z, depth).tolist(),
            "chatter_phase": microscope.knife.chatter_phases(knife_key, z, depth).tolist(),
            "debris": [
                [piece.as_dict() for piece in microscope.knife.debris(knife_key, k, low, high)]
                for k in range(z, z + depth)
            ],
        }
    return sampled


@dataclass(frozen=True)
class _Layer:
    """Depths whose signal spreads alike: which of the depth kernel's taps, their weights, and the spread."""

    taps: npt.NDArray[np.int64]
    weights: Plane
    kernel_y: Plane
    kernel_x: Plane


def _layers(weights: Plane, kernels_y: Sequence[Plane], kernels_x: Sequence[Plane]) -> list[_Layer]:
    """Layers from the depth kernel (layers, taps); those without spread are one, and what has no weight is left out."""
    sharp = [k for k in range(len(weights)) if kernels_y[k].size == kernels_x[k].size == 1]
    groups = [sharp, *([k] for k in range(len(weights)) if k not in sharp)]
    found = []
    for group in groups:
        mixed = weights[group].sum(axis=0)
        taps = np.flatnonzero(mixed)
        if taps.size:
            found.append(_Layer(taps, mixed[taps], kernels_y[group[0]], kernels_x[group[0]]))
    return found


class _BlockFace:
    """One block before one microscope; slices may be asked for by several threads."""

    def __init__(
        self,
        materials: Volume,
        membrane: Volume,
        instances: Volume,
        table: MaterialTable,
        microscope: FibSem | SbfSem,
        key: int,
        stain_scale: npt.NDArray[np.floating] | None,
    ) -> None:
        check_block(materials, membrane, instances, table)
        self._volumes = tuple(Slices(volume.data) for volume in (materials, membrane, instances))
        self._microscope, self._key = microscope, key
        self._size_nm, self._first = materials.voxel_size_nm, first_voxel(materials)
        self.shape = materials.shape_zyx
        self.sampled = sampled_artefacts(microscope, key, self._size_nm, self._first, self.shape)
        self._cell_key = np.uint64(sub_key(key, "cells"))
        self._noise_key = np.uint64(sub_key(key, "noise"))
        self._scales = np.asarray(np.ones(1) if stain_scale is None else stain_scale, np.float32)
        self._response = response(microscope.landing_energy_kev, microscope.energy_filter_share)
        self._columns = stain_columns(table, *shares_of(table, self._response))
        self._bilayer = table["membrane"].id
        depth_weights, self._first_tap = microscope.depth_kernel(self._size_nm[0])
        self._taps = depth_weights.shape[1]
        self._layers = _layers(depth_weights, *(microscope.beam_spread_kernels(size) for size in self._size_nm[1:]))
        self._grains = [
            SmoothNoise(sub_key(key, name), length, self._size_nm, self._first, self.shape[1:])
            for name, length in (("fine grain", table.fine_grain_nm), ("coarse grain", table.coarse_grain_nm))
        ]
        self._cut = _cut_of(microscope, self._response, key, self._size_nm, self._first, self.shape[1:])
        widest = max(layer.kernel_x.size for layer in self._layers) // 2
        self._margin = max(_optical_reach(microscope, self._size_nm)[1], widest) + 1

    def expose(self, use: Callable[[int, Plane, Tiling], object]) -> None:
        """Calls use(index, signal, tiling) for every slice, in any order and from several threads.

        signal (y, x), which is overwritten afterwards, is the share of the landed electrons that leaves for the
        detector.
        """
        threads = numba.config.NUMBA_NUM_THREADS
        depth, step = self.shape[0], threads * _SLICES_AT_A_TIME
        taps = np.arange(self._first_tap, self._first_tap + self._taps)
        ring = np.empty((min(step + taps.size - 1, depth), *self.shape[1:]), np.float32)
        known = 0
        with ThreadPoolExecutor(threads) as pool:

            def share(work: Callable[[range], None], low: int, high: int) -> None:
                # Each thread gets a run of its own, for which it makes its buffers once.
                runs = np.linspace(low, high, threads + 1).astype(int).tolist()
                list(pool.map(work, (range(a, b) for a, b in pairwise(runs) if a < b)))

            for low in range(0, depth, step):
                high = min(low + step, depth)
                wanted = min(high + max(int(taps[-1]), 0), depth)
                share(lambda run: self._backscatter(run, ring), known, wanted)
                known = wanted
                share(lambda run: self._scan(run, ring, taps, use), low, high)

    def _backscatter(self, run: range, ring: npt.NDArray[np.float32]) -> None:
        fine, coarse = (np.empty(self.shape[1:], np.float32) for _ in range(2))
        for index in run:
            for noise, plane in zip(self._grains, (fine, coarse), strict=True):
                noise.slice_at(index, plane)
            slices = (volume[index] for volume in self._volumes)
            stained_plane(
                *slices, fine, coarse, self._cell_key, self._scales, self._columns, self._bilayer,
                ring[index % len(ring)],
            )  # fmt: skip

    def _scan(
        self,
        run: range,
        ring: npt.NDArray[np.float32],
        taps: npt.NDArray[np.int64],
        use: Callable[[int, Plane, Tiling], object],
    ) -> None:
        microscope, margin, (depth, height, width) = self._microscope, self._margin, self.shape
        size_nm, scan_key = self._size_nm, self.sampled["scan_key"]
        charging, decay = microscope.charging, microscope.charging.decay(size_nm[2])
        neutral = np.float32(self._response.share_at(charging.neutral_backscatter))
        per_signal = np.float32(charging.strength / (self._response.slope * charging.neutral_backscatter))
        face, mixed = (np.empty((height, width + 2 * margin), np.float32) for _ in range(2))
        signal = np.empty((height, width), np.float32)
        for index in run:
            z = self._first[0] + index
            places = np.clip(index + taps, 0, depth - 1) % len(ring)
            face[:, margin : margin + width] = 0.0
            for layer in self._layers:
                mix_depths(ring, places[layer.taps], layer.weights, margin, mixed)
                extend_lines(mixed, margin)
                spread_beam(mixed, margin, layer.kernel_y, layer.kernel_x, face)
            self._cut(face[:, margin : margin + width], index)
            extend_lines(face, margin)
            tiling = microscope.mosaic.tiling(scan_key, z, self._first[1:], (height, width), size_nm[1:])
            line_shift_px = microscope.scan.displacement_nm(scan_key, z, self._first[1], height) / size_nm[1:]
            spot = _spot(microscope, np.array(self.sampled["focus_errors_um"][index]), size_nm)
            scan_lines(
                face, margin, *spot, tiling.row, tiling.edges, tiling.shift_nm / size_nm[1:], line_shift_px, signal
            )
            if decay > 0.0:
                held = self._remembered(signal, tiling, decay, neutral)
                _charge_lines(signal, held, neutral, per_signal)
            use(index, signal, tiling)

    def electrons(self, index: int) -> float:
        """Electrons that would be counted in a pixel of slice `index` if all that landed left for the detector."""
        microscope = self._microscope
        current = 1.0 + self.sampled["beam_current"][index]
        return microscope.dose_e_per_px * microscope.collection_efficiency * current

    def detect(self, index: int, signal: Plane, tiling: Tiling, out: npt.NDArray[np.uint8]) -> None:
        """Grey levels (y, x) of slice `index` from its signal."""
        microscope = self._microscope
        # A change of gain turns the grey scale about its middle.
        turned = (1.0 + self.sampled["drift_gain"][index]) * tiling.gain
        offset = 128.0 + turned * (microscope.offset_grey - 128.0)
        offset += self.sampled["drift_offset_grey"][index] + tiling.offset_grey
        gain = microscope.gain_grey_per_electron * turned
        z, y, x = self._first
        counts = np.empty(signal.shape, np.float32)
        _count_lines(signal, np.float32(self.electrons(index)), self._noise_key, z + index, y, x, counts)
        if microscope.dwell_correlation > 0.0:
            counts = self._remembered(counts, tiling, microscope.dwell_correlation, None)
        if microscope.resampling_fwhm_px > 0.0:
            kernel = gaussian_kernel(microscope.resampling_fwhm_px, 1.0)
            counts = correlate1d(correlate1d(counts, kernel, axis=0, mode="nearest"), kernel, axis=1, mode="nearest")
        _show_lines(
            counts, tiling.row, tiling.edges, gain.astype(np.float32), offset.astype(np.float32),
            np.float32(microscope.read_noise_grey), self._noise_key, z + index, y, x, out,
        )  # fmt: skip

    def _remembered(self, lines: Plane, tiling: Tiling, decay: float, at_seams: np.float32 | None) -> Plane:
        """`remember` in each tile; before it stands its first pixel or, at a seam, at_seams where that is given."""
        out = np.empty_like(lines)
        for (start, end), seam in zip(pairwise(tiling.edges.tolist()), tiling.seam, strict=True):
            before = lines[:, start].copy()
            if seam and at_seams is not None:
                before[:] = at_seams
            x0 = self._first[2] + start
            remember(lines[:, start:end], decay, memory_length(decay), x0, before, out[:, start:end])
        return out


def _cut_of(
    microscope: FibSem | SbfSem,
    answer: Response,
    key: int,
    size_nm: Triple,
    first: Voxel,
    shape_yx: tuple[int, int],
) -> Callable[[Plane, int], None]:
    """What cutting slice `index` does to its face (y, x), as a function of both that changes the face."""
    if isinstance(microscope, FibSem):
        curtaining = microscope.curtaining
        if curtaining.contrast == 0.0:
            return lambda face, index: None
        streaks = curtaining.noise(key, size_nm, first, shape_yx)

        def curtain(face: Plane, index: int) -> None:
            face *= curtaining.relief(streaks, index, shape_yx)

        return curtain
    knife, knife_key = microscope.knife, sub_key(key, "knife")
    low, high = (
        (corner[0] * size_nm[1], corner[1] * size_nm[2]) for corner in (first[1:], np.add(first[1:], shape_yx).tolist())
    )

    def cut(face: Plane, index: int) -> None:
        z = first[0] + index
        if knife.chatter > 0.0:
            face *= knife.relief(knife_key, z, first[1], shape_yx[0], size_nm[1])[:, None]
        debris = answer.share_at(knife.debris_backscatter)
        knife.cover(face, debris, knife.debris(knife_key, z, low, high), first[1:], size_nm[1:])

    return cut


def expected_electrons(
    materials: Volume,
    membrane: Volume,
    instances: Volume,
    table: MaterialTable,
    microscope: FibSem | SbfSem,
    key: int,
    stain_scale: npt.NDArray[np.floating] | None = None,
) -> npt.NDArray[np.float32]:
    """Mean number of electrons detected in each voxel, (z, y, x): the image before noise and detector.

    key: the one among the parameters of a micrograph; the rest as `image_fibsem` takes it.
    """
    face = _BlockFace(materials, membrane, instances, table, microscope, key, stain_scale)
    out = np.empty(face.shape, np.float32)
    face.expose(lambda index, signal, tiling: np.multiply(signal, np.float32(face.electrons(index)), out=out[index]))
    return out


def image_fibsem(
    materials: Volume,
    membrane: Volume,
    instances: Volume,
    table: MaterialTable,
    microscope: FibSem | SbfSem,
    rng: np.random.Generator,
    stain_scale: npt.NDArray[np.floating] | None = None,
    out: npt.NDArray[np.uint8] | None = None,
) -> Micrograph:
    """The micrograph that a FIB-SEM or an SBF-SEM takes of a block.

    materials (uint8 ids), membrane (uint8, 255 = all bilayer) and instances (uint32 cell ids, 0 outside
    cells) are z, y, x of one shape, voxel size and origin. Each slice is cut at its z and scanned along x.
    The generator gives one key; from it each voxel's noise follows by its absolute position (origin / voxel
    size), so two tiles of one block imaged with equal keys agree beyond `blur_reach` of their cut faces.

    A cell's materials take up more or less stain than the table says, as `materials.cell_stains` tells from the key
    among the returned parameters, where `sampled_artefacts` are too. stain_scale: by cell id, a
    factor on its cytoplasm's stain; cells beyond its end have 1. Works with as many threads as numba may use. The
    image is written to `out`, slice by slice, where it is given; volumes on disk are read some slices at a time.

    Raises ValueError when the volumes disagree or hold a material the table lacks.
    """
    key = key_from(rng)
    face = _BlockFace(materials, membrane, instances, table, microscope, key, stain_scale)
    image = np.empty(face.shape, np.uint8) if out is None else out
    face.expose(lambda index, signal, tiling: face.detect(index, signal, tiling, image[index]))
    parameters = {
        "microscope": microscope.model_dump(),
        "information_depth_nm": microscope.information_depth_nm,
        "key": key,
        **face.sampled,
    }
    return Micrograph(Volume(image, voxel_size_nm=materials.voxel_size_nm, origin_nm=materials.origin_nm), parameters)

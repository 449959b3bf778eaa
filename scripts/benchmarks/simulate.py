"""A block through a FIB-SEM with every artefact, 512³ voxels at size 1: ours, and the same model in numpy and scipy.

`plain` is what one would write first: whole slabs of arrays, one library call for each step, and the spot's astigmatism
only along the axes. `copying` merely reads the bytes of the input and writes those of the image, which no model can
beat: its ratio is the share of our time that memory alone would take.
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import numba
import numpy as np
import numpy.typing as npt
from scipy import ndimage, signal

from neuropil.simulate.backscatter import Response, response, shares_of
from neuropil.simulate.fibsem import image_fibsem
from neuropil.simulate.imaging import load_microscope
from neuropil.simulate.materials import MaterialTable, load_materials
from neuropil.simulate.microscope import FibSem
from neuropil.simulate.point_spread import FWHM_PER_SIGMA
from neuropil.voxelize.solid import Scene
from neuropil.voxelize.volume import Volume

from ._tissue_block import VOXEL_NM, build_solids

EDGE_VOXELS = 512
CELL_VOXELS = 128
NAMES = ("materials", "membrane", "instances")
ARTEFACTS = {
    "read_noise_grey": 2.0,
    "dwell_correlation": 0.2,
    "beam_current_sd": 0.02,
    "drift_gain_sd": 0.02,
    "drift_offset_grey": 1.0,
    "scan": {"misalignment_nm": 3.0, "wander_nm": 5.0, "drift_nm": 3.0, "vibration_nm": [1.0, 3.0], "jitter_nm": 1.0},
    "focus": {"defocus_um": 0.4, "astigmatism_um": 0.3},
    "charging": {"strength": 0.2, "length_nm": 300.0},
    "mosaic": {"tile_um": 1.6, "gain_sd": 0.02, "offset_grey": 1.0, "shift_nm": 3.0},
    "curtaining": {"contrast": 0.02},
}
Plane = npt.NDArray[np.float32]
Block = dict[str, npt.NDArray[np.generic]]


def microscope() -> FibSem:
    """The shipped FIB-SEM with all that can go wrong."""
    return FibSem.model_validate(load_microscope("fibsem").model_dump() | ARTEFACTS)


def make_block(edge: int, seed: int) -> Block:
    """Real tissue of at most 128³ voxels, set side by side."""
    cell = min(edge, CELL_VOXELS)
    solids = build_solids(cell * VOXEL_NM[0] / 1000, seed)
    voxels = Scene(solids.parts, VOXEL_NM).voxelize(solids.box)
    copies = -(-edge // solids.box.shape[0])
    tiled = {name: np.tile(getattr(voxels, name).data, (copies,) * 3) for name in NAMES}
    return {name: np.ascontiguousarray(array[:edge, :edge, :edge]) for name, array in tiled.items()}


def prepare(size: float, seed: int, folder: Path) -> str:
    edge = round(EDGE_VOXELS * size ** (1 / 3))
    for name, array in make_block(edge, seed).items():
        np.save(folder / f"{name}.npy", array)
    return f"{edge}³ voxels of {VOXEL_NM[0]:g} nm, {', '.join(ARTEFACTS)}"


def _load(folder: Path) -> Block:
    return {name: np.load(folder / f"{name}.npy") for name in NAMES}


def _figures(seconds: float, block: Block) -> dict[str, float]:
    return {"seconds": seconds, "Mvoxel/s": block["materials"].size / seconds / 1e6}


def our_image(block: Block, table: MaterialTable, through: FibSem) -> npt.NDArray[np.uint8]:
    volumes = [Volume(block[name], VOXEL_NM) for name in NAMES]
    return np.asarray(image_fibsem(*volumes, table, through, np.random.default_rng(0)).image.data)


def neuropil(folder: Path) -> dict[str, float]:
    block, table, through = _load(folder), load_materials(), microscope()
    our_image({name: array[:4, :64, :64] for name, array in block.items()}, table, through)  # compile, or load it
    start = time.perf_counter()
    our_image(block, table, through)
    return _figures(time.perf_counter() - start, block)


def _smooth_noise(rng: np.random.Generator, shape: tuple[int, ...], fwhm_px: tuple[float, ...]) -> Plane:
    noise = rng.standard_normal(shape, np.float32)
    noise = ndimage.gaussian_filter(noise, [width / FWHM_PER_SIGMA for width in fwhm_px])
    return np.asarray(noise / noise.std())


def _drift(rng: np.random.Generator, count: int, length: float, spread: float) -> npt.NDArray[np.float64]:
    sigma = length / FWHM_PER_SIGMA
    around = int(4 * sigma) + 1
    line = ndimage.gaussian_filter1d(rng.standard_normal(count + 2 * around), sigma)[around:-around]
    return np.asarray(spread * line * np.sqrt(2.0 * np.sqrt(np.pi) * max(sigma, 0.3)))


def _signal(block: Block, table: MaterialTable, answer: Response, rng: np.random.Generator) -> Plane:
    """Share of the landed electrons that is detected, of a slab of voxels (z, y, x)."""
    materials, membrane, cells = (block[name] for name in NAMES)
    organic, metal = shares_of(table, answer)
    sds, spread = table.stain_spread()
    deviates = rng.standard_normal((int(cells.max()) + 1, 256), np.float32)
    fine, coarse = (
        _smooth_noise(rng, materials.shape, (nm / VOXEL_NM[0],) * 3)
        for nm in (table.fine_grain_nm, table.coarse_grain_nm)
    )

    def part(which: npt.NDArray[np.generic]) -> Plane:
        lookup = [column.astype(np.float32)[which] for column in (*sds, spread, organic, metal)]
        fine_sd, coarse_sd, cell_sd, v, of_organic, of_metal = lookup
        taken = (1 + fine_sd * fine + coarse_sd * coarse + cell_sd * deviates[cells, which]) ** 2 / (1 + v)
        return np.asarray(of_organic + of_metal * taken)

    bilayer = part(np.full_like(materials, table["membrane"].id))
    f = membrane.astype(np.float32) * (table.lookup("lining", 1.0).astype(np.float32) / 255)[materials]
    return np.asarray((1 - f) * part(materials) + f * bilayer)


def _remembered(lines: Plane, decay: float) -> Plane:
    before = lines[:, :1] * decay
    return np.asarray(signal.lfilter([1 - decay], [1, -decay], lines, axis=1, zi=before)[0], np.float32)


def plain_image(block: Block, table: MaterialTable, through: FibSem, slab: int = 32) -> npt.NDArray[np.uint8]:
    """The model in numpy and scipy, slab by slab of `slab` slices."""
    rng = np.random.default_rng(0)
    depth, height, width = block["materials"].shape
    nm = np.array(VOXEL_NM[1:])
    kernel, first = through.depth_kernel(VOXEL_NM[0])
    before, after = -first, kernel.shape[1] - 1 + first
    beams = through.beam_spread_kernels(VOXEL_NM[1])
    answer = response(through.landing_energy_kev, through.energy_filter_share)
    scan, focus, charging, mosaic = through.scan, through.focus, through.charging, through.mosaic
    current, gain, offset = (
        _drift(rng, depth, through.drift_length_slices, spread)
        for spread in (through.beam_current_sd, through.drift_gain_sd, through.drift_offset_grey)
    )
    f, a = (_drift(rng, depth, focus.length_slices, um) for um in (focus.defocus_um, focus.astigmatism_um))
    wander = np.stack([_drift(rng, depth, scan.wander_length_slices, scan.wander_nm) for _ in range(2)], axis=1)
    spot = np.square(np.array(through.lateral_fwhm_nm) / FWHM_PER_SIGMA)
    tile_px = mosaic.tile_um * 1e3 / nm[0]
    tile_y, tile_x = (np.arange(count) // tile_px for count in (height, width))
    tiles = (int(tile_y[-1]) + 1, int(tile_x[-1]) + 1)
    of_tile = np.ix_(tile_y.astype(int), tile_x.astype(int))
    lines, columns = np.mgrid[:height, :width].astype(np.float32)
    streak = through.curtaining
    image = np.empty((depth, height, width), np.uint8)
    for low in range(0, depth, slab):
        high = min(low + slab, depth)
        top, bottom = max(low - before, 0), min(high + after, depth)
        shown = _signal({n: array[top:bottom] for n, array in block.items()}, table, answer, rng)
        there, shown = shown, np.zeros_like(shown)
        for weights, beam in zip(kernel, beams, strict=True):
            layer = ndimage.correlate1d(there, weights, axis=0, mode="nearest", origin=-(weights.size // 2 + first))
            for axis in (1, 2):
                layer = ndimage.correlate1d(layer, beam, axis=axis, mode="nearest")
            shown += layer
        shown = shown[low - top : high - top]
        rough = _smooth_noise(rng, (high - low, 8, width), (streak.length_slices, 2.0, streak.width_nm / nm[1]))
        shown *= 1 + streak.contrast * ndimage.zoom(rough, (1, height / 8, 1), order=1)
        for z, face in enumerate(shown, low):
            bend = np.array([f[z] + a[z], f[z] - a[z]]) * focus.convergence_mrad / 2
            face = ndimage.gaussian_filter(face, np.sqrt(spot + bend**2) / nm, mode="nearest", truncate=3.5)
            moved = (
                wander[z]
                + rng.normal(0, scan.misalignment_nm, 2)
                + np.stack(
                    [_drift(rng, height, scan.drift_time_ms / scan.line_time_ms, scan.drift_nm) for _ in range(2)],
                    axis=1,
                )
            )
            phase = 2e-3 * np.pi * scan.vibration_hz * scan.line_time_ms * np.arange(height) + rng.uniform(0, 2 * np.pi)
            moved += np.sin(phase)[:, None] * scan.vibration_nm
            moved[:, 1] += rng.normal(0, scan.jitter_nm, height)
            shift = rng.normal(0, mosaic.shift_nm, (2, *tiles))
            places = [
                axis + ((moved[:, k, None] + shift[k][of_tile]) / nm[k]).astype(np.float32)
                for k, axis in enumerate((lines, columns))
            ]
            face = ndimage.map_coordinates(face, places, order=3, mode="nearest")
            held = _remembered(face, charging.decay(nm[1]))
            charge = (answer.share_at(charging.neutral_backscatter) - held) / answer.slope
            face = np.maximum(face * (1 - charging.strength * charge / charging.neutral_backscatter), 0)
            electrons = through.dose_e_per_px * through.collection_efficiency * (1 + current[z])
            counts = _remembered(rng.poisson(electrons * face).astype(np.float32), through.dwell_correlation)
            turned = (1 + gain[z]) * (1 + rng.normal(0, mosaic.gain_sd, tiles))[of_tile]
            grey = 128 + turned * (through.offset_grey + through.gain_grey_per_electron * counts - 128)
            grey += offset[z] + rng.normal(0, mosaic.offset_grey, tiles)[of_tile]
            grey += rng.normal(0, through.read_noise_grey, grey.shape)
            image[z] = np.clip(np.rint(grey), 0, 255)
    return image


def plain(folder: Path) -> dict[str, float]:
    block, table, through = _load(folder), load_materials(), microscope()
    start = time.perf_counter()
    plain_image(block, table, through)
    return _figures(time.perf_counter() - start, block)


def copying(folder: Path) -> dict[str, float]:
    """Best of three, on as many threads as ours: one array copied into memory that is there, the others read."""
    block = _load(folder)
    image = np.ones_like(block["materials"])
    threads = numba.config.NUMBA_NUM_THREADS
    runs = list(pairwise(np.linspace(0, len(image), threads + 1).astype(int)))

    def move(run: tuple[int, int]) -> None:
        part = slice(*run)
        np.copyto(image[part], block["materials"][part])
        block["membrane"][part].max()
        block["instances"][part].max()

    seconds = []
    with ThreadPoolExecutor(threads) as pool:
        for _ in range(3):
            start = time.perf_counter()
            list(pool.map(move, runs))
            seconds.append(time.perf_counter() - start)
    return _figures(min(seconds), block)


CONTENDERS = {"neuropil": neuropil, "plain": plain, "copying": copying}

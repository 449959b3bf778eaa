"""Closed meshes of a real block → arrays at 5 nm. Size 1 is a block of (2.5 µm)³.

Ours gives instances, organelles, classes, materials and the membranes' share of each voxel; the rivals, which know
occupancy alone, all but the last.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from neuropil.voxelize.solid import Box, Part, Scene

from ._tissue_block import VOXEL_NM, Solids, build_solids, load, save

EDGE_UM = 2.5
DTYPES = {"instance": np.uint32, "organelle": np.uint32, "class_id": np.uint8, "material": np.uint8}


def prepare(size: float, seed: int, folder: Path) -> str:
    solids = build_solids(EDGE_UM * size ** (1 / 3), seed)
    save(solids, folder / "solids")
    return solids.describe()


def _solids(folder: Path) -> Solids:
    solids = load(folder / "solids")
    assert isinstance(solids, Solids)
    return solids


def neuropil(folder: Path) -> dict[str, float]:
    solids = _solids(folder)
    # Compile, or load what was compiled.
    Scene(solids.parts[-2:], VOXEL_NM).voxelize(Box((0, 0, 0), (4, 4, 4)))
    start = time.perf_counter()
    Scene(solids.parts, VOXEL_NM).voxelize(solids.box)
    return {"seconds": time.perf_counter() - start}


def _empty(shape: tuple[int, int, int]) -> list[np.ndarray]:
    return [np.zeros(shape, dtype) for dtype in DTYPES.values()]


def _meshes(parts: list[Part]) -> Iterator[Part]:
    """Each mesh by itself: of a part of many pieces, each of them is another organelle."""
    for part in parts:
        vertices, faces = len(part.vertices_um) // part.pieces, len(part.faces) // part.pieces
        for piece in range(part.pieces):
            yield replace(
                part,
                vertices_um=part.vertices_um[piece * vertices : (piece + 1) * vertices],
                faces=part.faces[piece * faces : (piece + 1) * faces] - piece * vertices,
                organelle=part.organelle + piece,
                pieces=1,
            )


def _paint(arrays: list[np.ndarray], part: Part, low: np.ndarray, high: np.ndarray, inside: np.ndarray) -> None:
    box = tuple(slice(a, b) for a, b in zip(low[::-1], high[::-1], strict=True))
    for array, name in zip(arrays, DTYPES, strict=True):
        array[box][inside] = getattr(part, name)


def _crop(part: Part, box: Box) -> tuple[np.ndarray, np.ndarray]:
    """First and one past the last voxel (x, y, z) of a mesh's box within the block."""
    steps = part.vertices_um * 1e3 / VOXEL_NM[0]
    low = np.clip(np.floor(steps.min(axis=0)).astype(int), 0, box.shape[::-1])
    high = np.clip(np.ceil(steps.max(axis=0)).astype(int), 0, box.shape[::-1])
    return low, high


def open3d_arrays(solids: Solids) -> list[np.ndarray]:
    """Occupancy of the voxel centres in each mesh's box."""
    import open3d

    arrays = _empty(solids.box.shape)
    um = VOXEL_NM[0] / 1e3
    for part in _meshes(solids.parts):
        low, high = _crop(part, solids.box)
        if np.any(high <= low):
            continue
        scene = open3d.t.geometry.RaycastingScene()
        scene.add_triangles(part.vertices_um.astype(np.float32), part.faces.astype(np.uint32))
        x, y, z = ((np.arange(a, b, dtype=np.float32) + 0.5) * um for a, b in zip(low, high, strict=True))
        points = np.empty((len(z), len(y), len(x), 3), np.float32)
        points[..., 0], points[..., 1], points[..., 2] = x, y[:, None], z[:, None, None]
        _paint(arrays, part, low, high, scene.compute_occupancy(points).numpy() > 0)
    return arrays


def open3d(folder: Path) -> dict[str, float]:
    import open3d  # noqa: F401

    solids = _solids(folder)
    start = time.perf_counter()
    open3d_arrays(solids)
    return {"seconds": time.perf_counter() - start}


def vtk_arrays(solids: Solids) -> list[np.ndarray]:
    """An image stencil cropped to each mesh's box."""
    import vtk
    from vtk.util.numpy_support import numpy_to_vtk, numpy_to_vtkIdTypeArray, vtk_to_numpy

    arrays = _empty(solids.box.shape)
    um = VOXEL_NM[0] / 1e3
    for part in _meshes(solids.parts):
        low, high = _crop(part, solids.box)
        if np.any(high <= low):
            continue
        points, cells, mesh = vtk.vtkPoints(), vtk.vtkCellArray(), vtk.vtkPolyData()
        points.SetData(numpy_to_vtk(part.vertices_um, deep=True))
        rows = np.column_stack([np.full(len(part.faces), 3), part.faces]).astype(np.int64)
        cells.ImportLegacyFormat(numpy_to_vtkIdTypeArray(rows.ravel(), deep=True))
        mesh.SetPoints(points)
        mesh.SetPolys(cells)
        stencil = vtk.vtkPolyDataToImageStencil()
        stencil.SetInputData(mesh)
        stencil.SetOutputOrigin(um / 2, um / 2, um / 2)
        stencil.SetOutputSpacing(um, um, um)
        stencil.SetOutputWholeExtent(low[0], high[0] - 1, low[1], high[1] - 1, low[2], high[2] - 1)
        image = vtk.vtkImageStencilToImage()
        image.SetInputConnection(stencil.GetOutputPort())
        image.SetInsideValue(1)
        image.SetOutsideValue(0)
        image.SetOutputScalarTypeToUnsignedChar()
        image.Update()
        inside = vtk_to_numpy(image.GetOutput().GetPointData().GetScalars()).reshape((high - low)[::-1]) > 0
        _paint(arrays, part, low, high, inside)
    return arrays


def vtk(folder: Path) -> dict[str, float]:
    import vtk  # noqa: F401

    solids = _solids(folder)
    start = time.perf_counter()
    vtk_arrays(solids)
    return {"seconds": time.perf_counter() - start}


def only_writing(folder: Path) -> dict[str, float]:
    """No voxelizing: merely writing the arrays that ours gives."""
    shape = _solids(folder).box.shape
    start = time.perf_counter()
    for dtype in (*DTYPES.values(), np.uint8):
        np.full(shape, 1, dtype)
    return {"seconds": time.perf_counter() - start}


CONTENDERS = {"neuropil": neuropil, "open3d": open3d, "vtk": vtk, "only_writing": only_writing}

"""Cells in 3D as a picture, drawn without a window."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .own_process import run_apart
from .pictures import CELL_COLOURS, write_png


@dataclass(frozen=True)
class ViewedMesh:
    """A mesh file and the colour it is drawn in."""

    path: Path
    colour: str


def block_meshes(block: Path, kinds: Sequence[str] = tuple(CELL_COLOURS)) -> list[ViewedMesh]:
    """The cells of a block on disk, coloured by kind, each a little lighter or darker than the last."""
    meshes = []
    for file in sorted((block / "meshes").glob("*.ply")):
        kind = file.stem.split("_", 1)[1]
        if kind in kinds:
            shade = 0.78 + 0.32 * ((int(file.stem.split("_", 1)[0]) * 0.61803398875) % 1.0)
            meshes.append(ViewedMesh(file, _shaded(CELL_COLOURS[kind], shade)))
    return meshes


def _shaded(colour: str, factor: float) -> str:
    parts = (int(colour[at : at + 2], 16) for at in (1, 3, 5))
    return "#" + "".join(f"{min(255, round(part * factor)):02x}" for part in parts)


def draw_meshes(
    meshes: Sequence[ViewedMesh], path: Path, size_um: Sequence[float] | None, size_px: tuple[int, int]
) -> bool:
    """Draw meshes into the PNG `path`, cut by the box from 0 to `size_um` (x, y, z) where it is given.

    Returns whether it could be done: there may be no graphics driver, and a picture is not worth a run.
    """
    return run_apart(_draw, meshes, path, size_um, size_px) and path.is_file()


def _draw(meshes: Sequence[ViewedMesh], path: Path, size_um: Sequence[float] | None, size_px: tuple[int, int]) -> None:
    if not os.environ.get("DISPLAY"):
        # VTK looks for an X server first and complains when there is none.
        os.environ.setdefault("VTK_DEFAULT_OPENGL_WINDOW", "vtkEGLRenderWindow")
    import pyvista

    plotter = pyvista.Plotter(off_screen=True, window_size=list(size_px))
    plotter.set_background("white")
    for mesh in meshes:
        surface = pyvista.read(mesh.path)
        if size_um is not None:
            surface = pyvista.wrap(_cut(surface, size_um))
        if surface.n_points:
            plotter.add_mesh(surface, color=mesh.colour, ambient=0.25, diffuse=0.8, specular=0.1)
    plotter.enable_anti_aliasing("ssaa")
    plotter.camera_position = "iso"
    plotter.camera.zoom(1.0)
    picture: NDArray[np.uint8] = np.asarray(plotter.screenshot(return_img=True))
    write_png(picture[..., :3], path)


def _cut(surface: Any, size_um: Sequence[float]) -> Any:
    """The part of a closed surface (vtkPolyData) inside the box from 0 to `size_um`, closed again."""
    from vtkmodules.vtkCommonDataModel import vtkPlane, vtkPlaneCollection
    from vtkmodules.vtkFiltersGeneral import vtkClipClosedSurface

    planes = vtkPlaneCollection()
    for axis in range(3):
        for place, direction in ((0.0, 1.0), (size_um[axis], -1.0)):
            plane = vtkPlane()
            plane.SetOrigin(*(place if k == axis else 0.0 for k in range(3)))
            plane.SetNormal(*(direction if k == axis else 0.0 for k in range(3)))
            planes.AddItem(plane)
    clipper = vtkClipClosedSurface()
    clipper.SetInputData(surface)
    clipper.SetClippingPlanes(planes)
    clipper.Update()
    return clipper.GetOutput()

"""Pictures of meshes, rendered by Blender without a display."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import bpy
import numpy as np
from mathutils import Matrix, Vector
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from .scene import emptied_scene, mesh_object
from .sweep import SweptMesh

SAMPLES = 24


def render_meshes(
    meshes: Sequence[SweptMesh],
    colours: Sequence[tuple[float, float, float]],
    path: str | Path,
    size_px: tuple[int, int] = (1200, 800),
    view_direction: ArrayLike = (0.0, 1.0, 0.0),
    up: ArrayLike = (0.0, 0.0, 1.0),
) -> None:
    """Render meshes with an orthographic camera that sees all of them, as a PNG on a white ground.

    Cycles on the processor needs neither display nor graphics card; a 5 mm neuron takes about 3 s. The
    scene that is open in Blender is put aside, not changed.

    Args:
        colours: red, green, blue from 0 to 1 (sRGB), one per mesh.
        size_px: width, height.
        view_direction: where the camera looks.
        up: what points upwards in the picture, not along view_direction.

    Raises:
        ValueError: no mesh, colours that do not fit, or a direction that leaves no upwards.
    """
    path = Path(path)
    if not meshes:
        raise ValueError("there is no mesh to render; at least one is needed")
    if len(colours) != len(meshes):
        raise ValueError(f"{len(colours)} colours were given for {len(meshes)} meshes; one each is needed")
    axes = _camera_axes(view_direction, up)
    with emptied_scene("render") as scene:
        everything = np.concatenate([mesh.vertices_um for mesh in meshes])
        inside = (everything - everything.mean(axis=0)) @ axes
        low, high = inside.min(axis=0), inside.max(axis=0)
        middle = everything.mean(axis=0) + axes @ ((low + high) / 2)
        # Blender's lamps, clipping and shadows are made for scenes some metres wide.
        scale = 10.0 / float((high - low).max())
        for index, (mesh, colour) in enumerate(zip(meshes, colours, strict=True)):
            shrunk = SweptMesh((mesh.vertices_um - middle) * scale, mesh.faces)
            shape = mesh_object(f"mesh{index}", shrunk, scene)
            shape.data.materials.append(_matt(colour))
        _add_camera(scene, axes, (high - low) * scale, size_px)
        _add_light(scene, axes)
        _set_renderer(scene, size_px)
        unfinished = path.with_name(f".{path.stem}.{os.getpid()}.part.png")
        scene.render.filepath = str(unfinished.absolute())
        bpy.ops.render.render(write_still=True, scene=scene.name)
    _onto_white(unfinished)
    os.replace(unfinished, path)


def _onto_white(path: Path) -> None:
    with Image.open(path) as picture:
        clear = picture.convert("RGBA")
    ground = Image.new("RGBA", clear.size, "white")
    ground.alpha_composite(clear)
    ground.convert("RGB").save(path)


def _camera_axes(view_direction: ArrayLike, up: ArrayLike) -> NDArray[np.float64]:
    """Columns: right, up and backwards of a camera, in the world."""
    backwards = -np.asarray(view_direction, dtype=np.float64)
    right = np.cross(np.asarray(up, dtype=np.float64), backwards)
    if not np.linalg.norm(right) > 1e-9 * np.linalg.norm(backwards) * np.linalg.norm(up):
        raise ValueError("view_direction and up must have a length and point in different directions")
    right /= np.linalg.norm(right)
    backwards /= np.linalg.norm(backwards)
    return np.stack([right, np.cross(backwards, right), backwards], axis=1)


def _matt(colour: tuple[float, float, float]) -> bpy.types.Material:
    material = bpy.data.materials.new("matt")
    material.use_nodes = True
    shader = material.node_tree.nodes["Principled BSDF"]
    # sRGB to linear light, which is what the shader takes.
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in colour]
    shader.inputs["Base Color"].default_value = (*linear, 1.0)
    shader.inputs["Roughness"].default_value = 0.6
    return material


def _add_camera(
    scene: bpy.types.Scene, axes: NDArray[np.float64], extent: NDArray[np.float64], size_px: tuple[int, int]
) -> None:
    camera = bpy.data.cameras.new("camera")
    camera.type = "ORTHO"
    # The scale is that of the picture's longer side.
    width, height = size_px
    camera.ortho_scale = 1.06 * max(width, height) * max(extent[0] / width, extent[1] / height)
    holder = bpy.data.objects.new("camera", camera)
    holder.matrix_world = Matrix.Translation(Vector(axes[:, 2] * 50)) @ Matrix(axes.tolist()).to_4x4()
    scene.collection.objects.link(holder)
    scene.camera = holder


def _add_light(scene: bpy.types.Scene, axes: NDArray[np.float64]) -> None:
    sun = bpy.data.lights.new("sun", "SUN")
    sun.energy = 3.0
    sun.angle = 0.3
    holder = bpy.data.objects.new("sun", sun)
    towards = Vector(axes @ np.array([-0.5, 0.6, 1.0]))
    holder.matrix_world = towards.to_track_quat("Z", "Y").to_matrix().to_4x4()
    scene.collection.objects.link(holder)
    world = bpy.data.worlds.new("world")
    world.use_nodes = True
    world.node_tree.nodes["Background"].inputs["Color"].default_value = (1.0, 1.0, 1.0, 1.0)
    world.node_tree.nodes["Background"].inputs["Strength"].default_value = 0.6
    scene.world = world


def _set_renderer(scene: bpy.types.Scene, size_px: tuple[int, int]) -> None:
    scene.render.engine = "CYCLES"
    scene.cycles.device = "CPU"
    scene.cycles.samples = SAMPLES
    scene.cycles.max_bounces = 2
    scene.cycles.use_denoising = False
    scene.view_settings.view_transform = "Standard"
    scene.render.resolution_x, scene.render.resolution_y = size_px
    scene.render.resolution_percentage = 100
    scene.render.film_transparent = True
    scene.render.image_settings.file_format = "PNG"
    scene.render.image_settings.color_mode = "RGBA"

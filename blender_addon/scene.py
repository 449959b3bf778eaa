"""Blender scenes: meshes in, and files out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import bpy
import numpy as np

from .sweep import SweptMesh


@contextmanager
def emptied_scene(name: str) -> Iterator[bpy.types.Scene]:
    """A new empty scene, removed again with everything that was made inside the block."""
    before = {kind: set(getattr(bpy.data, kind)) for kind in _KINDS}
    scene = bpy.data.scenes.new(name)
    try:
        yield scene
    finally:
        bpy.data.scenes.remove(scene)
        for kind in _KINDS:
            collection = getattr(bpy.data, kind)
            for block in set(collection) - before[kind]:
                collection.remove(block)


# Objects first: what they use can be removed only after them.
_KINDS = ("objects", "meshes", "cameras", "lights", "materials", "worlds", "images")


def mesh_object(name: str, mesh: SweptMesh, scene: bpy.types.Scene) -> bpy.types.Object:
    """Add a mesh to a scene; one Blender unit is one µm."""
    data = bpy.data.meshes.new(name)
    data.vertices.add(len(mesh.vertices_um))
    data.vertices.foreach_set("co", mesh.vertices_um.astype(np.float32).ravel())
    data.loops.add(3 * len(mesh.faces))
    data.loops.foreach_set("vertex_index", mesh.faces.astype(np.int32).ravel())
    data.polygons.add(len(mesh.faces))
    data.polygons.foreach_set("loop_start", np.arange(0, 3 * len(mesh.faces), 3, dtype=np.int32))
    if bpy.app.version < (4, 1):  # later Blenders derive it from the starts
        data.polygons.foreach_set("loop_total", np.full(len(mesh.faces), 3, dtype=np.int32))
    data.update(calc_edges=True)
    shape = bpy.data.objects.new(name, data)
    scene.collection.objects.link(shape)
    return shape


def save_blend(meshes: Mapping[str, SweptMesh], path: str | Path) -> None:
    """Write a .blend file with one scene that holds the named meshes; what is open in Blender stays as it
    is.
    """
    with emptied_scene("neurons") as scene:
        scene.unit_settings.system = "METRIC"
        scene.unit_settings.scale_length = 1e-6
        for name, mesh in meshes.items():
            mesh_object(name, mesh, scene)
        bpy.data.libraries.write(str(Path(path).absolute()), {scene}, compress=True)

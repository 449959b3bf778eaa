"""Contact inflation by rays: the way that was tried before, kept as a contender.

Centre-lines are laid with clearance, each gets a thin tube, and then round after round every vertex of a ring moves
outward along its ray until the next surface is a gap away. Nothing between two rays is looked at, so tubes overlap.
"""

from __future__ import annotations

import time

import numpy as np
import open3d as o3d

# 188 neurites cross a block of (5 µm)³, as in the first trial.
NEURITES_PER_UM2 = 188 / (3 * 5.0**2)
CLEARANCE_UM = 0.22
THIN_UM = 0.03
WIDEST_UM = 0.6
STEP_UM = 0.015
GAP_UM = 0.010
ROUNDS = 14
SIDES = 24
RING_SPACING_UM = 0.05
PROBES = 200_000


def centre_lines(edge_um: float, rng: np.random.Generator) -> np.ndarray:
    """Wavy lines along the three axes, (n, rings, 3), no two nearer than the clearance."""
    along = np.arange(0.0, edge_um + RING_SPACING_UM, RING_SPACING_UM)
    wanted = round(NEURITES_PER_UM2 * 3 * edge_um**2)
    kept: list[np.ndarray] = []
    for _ in range(60 * wanted):
        axis = rng.integers(3)
        line = np.empty((len(along), 3))
        line[:, axis] = along
        for other in {0, 1, 2} - {int(axis)}:
            waves = sum(
                rng.normal(0, 0.08) / k * np.sin(2 * np.pi * k * along / 2.5 + rng.uniform(0, 2 * np.pi))
                for k in (1, 2, 3)
            )
            line[:, other] = rng.uniform(0, edge_um) + waves
        if all(np.linalg.norm(line[::2, None] - there[None, ::2], axis=2).min() > CLEARANCE_UM for there in kept):
            kept.append(line)
            if len(kept) == wanted:
                break
    return np.array(kept)


def tube_faces(rings: int) -> np.ndarray:
    """Faces (m, 3) of a tube of `rings` rings and the two middles of its ends."""
    side = np.arange(SIDES)
    a = (np.arange(rings - 1)[:, None] * SIDES + side).ravel()
    b = (np.arange(rings - 1)[:, None] * SIDES + (side + 1) % SIDES).ravel()
    first, last = rings * SIDES, rings * SIDES + 1
    end = (rings - 1) * SIDES
    return np.concatenate(
        [
            np.stack([a, b, a + SIDES], 1),
            np.stack([b, b + SIDES, a + SIDES], 1),
            np.stack([np.full(SIDES, first), (side + 1) % SIDES, side], 1),
            np.stack([np.full(SIDES, last), end + side, end + (side + 1) % SIDES], 1),
        ]
    )


def scene_of(vertices: np.ndarray, faces: np.ndarray) -> o3d.t.geometry.RaycastingScene:
    """All tubes, (n, v, 3), in one scene."""
    scene = o3d.t.geometry.RaycastingScene()
    shifted = (faces[None] + np.arange(len(vertices))[:, None, None] * vertices.shape[1]).reshape(-1, 3)
    scene.add_triangles(vertices.reshape(-1, 3).astype(np.float32), shifted.astype(np.uint32))
    return scene


def inflate_by_rays(edge_um: float, rng: np.random.Generator) -> dict[str, float]:
    """Seconds for laying and inflating, and what share of the block is filled, and of that filled twice."""
    start = time.perf_counter()
    lines = centre_lines(edge_um, rng)
    count, rings, _ = lines.shape
    tangents = np.gradient(lines, axis=1)
    tangents /= np.linalg.norm(tangents, axis=2, keepdims=True)
    helper = np.eye(3)[np.argmin(np.abs(tangents).mean(axis=1), axis=1)]
    across = np.cross(tangents, helper[:, None])
    across /= np.linalg.norm(across, axis=2, keepdims=True)
    up = np.cross(tangents, across)
    turn = np.arange(SIDES) * 2 * np.pi / SIDES
    outward = np.cos(turn)[:, None] * across[:, :, None] + np.sin(turn)[:, None] * up[:, :, None]
    radii = np.full((count, rings, SIDES), THIN_UM)
    faces = tube_faces(rings)

    def surface() -> np.ndarray:
        ring_vertices = (lines[:, :, None] + radii[..., None] * outward).reshape(count, -1, 3)
        return np.concatenate([ring_vertices, lines[:, :1], lines[:, -1:]], axis=1)

    for _ in range(ROUNDS):
        vertices = surface()
        scene = scene_of(vertices, faces)
        origins = vertices[:, :-2] + 1e-4 * outward.reshape(count, -1, 3)
        directed = np.concatenate([origins, outward.reshape(count, -1, 3)], axis=2).reshape(-1, 6)
        free = scene.cast_rays(directed.astype(np.float32))["t_hit"].numpy().reshape(radii.shape)
        # Both sides of a gap move, so each takes half; slowly, lest a vertex slips past one that it did not see.
        radii = np.clip(radii + np.minimum(0.5 * (free - GAP_UM), STEP_UM), THIN_UM, WIDEST_UM)
    seconds = time.perf_counter() - start
    held = np.zeros(PROBES, np.int32)
    probes = rng.uniform(0, edge_um, (PROBES, 3)).astype(np.float32)
    for tube in surface():
        near = ((probes > tube.min(axis=0)) & (probes < tube.max(axis=0))).all(axis=1)
        if near.any():
            held[near] += scene_of(tube[None], faces).compute_occupancy(probes[near]).numpy() > 0
    return {
        "seconds": seconds,
        "cells": count,
        "rounds": ROUNDS,
        "filled %": 100 * float((held > 0).mean()),
        "of that filled twice %": 100 * float((held > 1).sum() / max(1, (held > 0).sum())),
    }

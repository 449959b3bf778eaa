"""Endosomes, lysosomes and multivesicular bodies: where there is room, each of its own shape."""

import numpy as np

from neuropil.tissue.arrival import FloatArray
from neuropil.tissue.certificate import crossing_pairs, is_closed, volume_um3
from neuropil.tissue.endosomes import VESICLE_RADIUS_UM, bodies
from neuropil.tissue.interior import CellInterior
from neuropil.tissue.shapes import CIRCUMSCRIBED


def test_bodies_fit_and_keep_apart(thick: CellInterior, axis: FloatArray) -> None:
    found = bodies(thick, axis, 14, np.random.default_rng(0))
    assert {b.structure for b in found} == {"endosome", "lysosome", "multivesicular_body"}
    assert crossing_pairs([b.surface for b in found]) == set()
    volumes = []
    for body in found:
        assert is_closed(body.surface[1])
        assert thick.depth(body.surface[0]).min() > 0
        volumes.append(volume_um3(body.surface))
    assert len(set(np.round(volumes, 9))) == len(volumes)


def test_multivesicular_bodies_hold_vesicles_that_do_not_touch(thick: CellInterior, axis: FloatArray) -> None:
    held = 0
    for seed in range(4):
        for body in bodies(CellInterior(thick.grid, thick.depth_um), axis, 10, np.random.default_rng(seed)):
            if body.inner is None:
                continue
            assert body.structure == "multivesicular_body"
            each = [(v, body.inner[1][:80]) for v in np.split(body.inner[0], len(body.inner[0]) // 42)]
            assert crossing_pairs([body.surface, *each]) == set()
            centres = np.array([v.mean(0) for v, _ in each])
            apart = np.linalg.norm(centres[:, None] - centres, axis=-1) + np.eye(len(centres))
            assert apart.min() > 1.6 * VESICLE_RADIUS_UM * CIRCUMSCRIBED[1]
            held += len(each)
    assert held > 20

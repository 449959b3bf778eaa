"""Circuit blocks: cells keep apart, cropping loses nothing, the same seed gives the same block."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from neuropil.morphology.swc import read_swc, write_swc
from neuropil.morphology.tree import APICAL_DENDRITE, AXON, DENDRITE, SOMA, Tree
from neuropil.tissue import circuit_separation
from neuropil.tissue.circuit import VESSEL_KIND, CircuitBlock, build_circuit
from neuropil.tissue.circuit_cones import cones_of, cropped, within_tiles
from neuropil.tissue.circuit_parameters import CircuitParameters
from neuropil.tissue.circuit_posing import divided, pose_cells, prepared
from neuropil.tissue.circuit_separation import separate
from neuropil.tissue.cone_pairs import near_pairs


def neuron(seed: int = 0, branches: int = 7, length_um: float = 60.0) -> Tree:
    """A soma of 5 µm with winding neurites in all directions, each with one side branch."""
    rng = np.random.default_rng(seed)
    points, radii, parents, types = [np.zeros(3)], [5.0], [-1], [SOMA]
    for n in range(branches):
        heading = rng.normal(size=3)
        heading /= np.linalg.norm(heading)
        place, above, kind = 5 * heading, 0, (AXON, DENDRITE, APICAL_DENDRITE)[n % 3]
        for step in range(int(length_um)):
            points.append(place)
            radii.append(0.2 if kind == AXON else 0.8)
            parents.append(above)
            types.append(kind)
            above = len(points) - 1
            if step == 20:
                side = heading + rng.normal(0, 0.8, 3)
                points.append(place + 6 * side)
                radii.append(0.2)
                parents.append(above)
                types.append(kind)
            heading = heading + rng.normal(0, 0.15, 3)
            heading /= np.linalg.norm(heading)
            place = place + heading
    return Tree(np.array(points), np.array(radii), np.array(parents), np.array(types))


@pytest.fixture(scope="module")
def swc(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("swc") / "star.swc"
    write_swc(neuron(), path)
    return path


@pytest.fixture(scope="module")
def parameters(swc: Path) -> CircuitParameters:
    cells = [{"swc": swc, "count": 4}, {"swc": swc, "density_per_mm3": 16000.0, "axis": [0, 0, 1], "spread_deg": 5}]
    return CircuitParameters.model_validate({"size_um": [60, 50, 50], "cells": cells, "vessels": {}})


@pytest.fixture(scope="module")
def block(parameters: CircuitParameters) -> CircuitBlock:
    return build_circuit(parameters, np.random.default_rng(5))


def test_no_two_cells_are_nearer_than_the_gap(block: CircuitBlock, parameters: CircuitParameters) -> None:
    assert all(block.certificates.values())
    parts = [cones_of(cell.body) for cell in block.cells]
    owners = np.repeat(np.arange(len(parts)), [len(p.ends) for p in parts])
    assert len(near_pairs(np.concatenate([p.cones for p in parts]), owners, parameters.min_gap_um)[0]) == 0
    assert block.statistics["lost_length_share"] < 0.02 < block.statistics["rerouted_length_share"]
    # As posed they do run into each other: without being led round, the block would not hold.
    assert block.statistics["somas_inside"] >= 6


def test_the_same_seed_gives_the_same_block(parameters: CircuitParameters, block: CircuitBlock) -> None:
    again = build_circuit(parameters, np.random.default_rng(5))
    assert again.statistics == block.statistics
    for one, other in zip(block.cells, again.cells, strict=True):
        assert np.array_equal(one.body.points_um, other.body.points_um)
    other = build_circuit(parameters, np.random.default_rng(6))
    assert not np.array_equal(other.cells[0].body.points_um[0], block.cells[0].body.points_um[0])


def test_skeletons_end_on_the_faces(block: CircuitBlock, parameters: CircuitParameters) -> None:
    size = np.asarray(parameters.size_um)
    crossings = 0
    for cell in block.cells:
        if cell.skeleton is None:
            continue
        points = cell.skeleton.points_um
        assert (points >= 0).all() and (points <= size).all()
        for index in [*cell.entries, *cell.exits]:
            assert np.isin(points[index], (0.0, *parameters.size_um)).any()
            crossings += 1
        assert (cell.skeleton.parents[cell.entries] == -1).all()
        assert (cell.skeleton.child_counts[cell.exits] == 0).all()
    assert crossings > 50


def test_as_much_enters_as_leaves(swc: Path) -> None:
    """With neurites that enter, a block holds the whole length of as many neurons as have their somas in it."""
    asked = {"size_um": [60, 50, 50], "cells": [{"swc": swc, "count": 3}], "min_gap_um": 0.01}
    open_block = build_circuit(CircuitParameters.model_validate(asked), np.random.default_rng(1))
    closed = build_circuit(
        CircuitParameters.model_validate(asked | {"neurites_enter": False}), np.random.default_rng(1)
    )
    whole = 3 * read_swc(swc).length_um

    def held(block: CircuitBlock) -> float:
        return sum(cell.skeleton.length_um for cell in block.cells if cell.skeleton is not None)

    # Detours around each other lengthen paths a little.
    assert held(open_block) == pytest.approx(whole, rel=0.03)
    assert held(closed) < 0.8 * whole and len(closed.cells) == 3


def test_cropping_keeps_the_length() -> None:
    tree = neuron(3).translated((20, 18, 4))
    low, high = np.zeros(3), np.array([30.0, 25.0, 20.0])
    inside = cropped(tree, low, high)
    assert inside is not None
    fine = divided(tree, 0.002)
    middle = (fine.points_um + fine.points_um[np.maximum(fine.parents, 0)]) / 2
    within = ((middle >= low) & (middle <= high)).all(axis=1)
    assert inside.tree.length_um == pytest.approx(float(fine.segment_lengths_um[within].sum()), abs=0.05)
    # The six half spaces around the box hold the rest.
    rest = 0.0
    lows, highs = np.full(3, -1e3), np.full(3, 1e3)
    for axis in range(3):
        for side in (0, 1):
            a, b = lows.copy(), highs.copy()
            (b if side == 0 else a)[axis] = (low if side == 0 else high)[axis]
            part = cropped(tree, a, b)
            rest += part.tree.length_um if part is not None else 0.0
        lows[axis], highs[axis] = low[axis], high[axis]
    assert inside.tree.length_um + rest == pytest.approx(tree.length_um, rel=1e-9)


def test_a_cut_has_the_radius_of_its_place() -> None:
    tree = Tree(np.array([[-5.0, 1, 1], [5, 1, 1]]), np.array([1.0, 3.0]), np.array([-1, 0]), np.array([3, 3]))
    inside = cropped(tree, np.zeros(3), np.full(3, 4.0))
    assert inside is not None
    assert inside.tree.points_um.tolist() == [[0, 1, 1], [4, 1, 1]]
    assert inside.tree.radii_um == pytest.approx([2.0, 2.8])
    assert (inside.entries.tolist(), inside.exits.tolist()) == ([0], [1])


def test_tiles_hold_every_segment_once() -> None:
    tree = divided(neuron(2), 1.0).translated((7, 9, 11))
    size = np.array([50.0, 50.0, 50.0])
    tiles = within_tiles(tree, size, 0.0)
    held = sum(part.tree.length_um for tile in tiles.values() if (part := cropped(tile, np.zeros(3), size)) is not None)
    assert len(tiles) > 4 and held == pytest.approx(tree.length_um, rel=1e-9)


def test_a_neurite_is_led_round_a_soma() -> None:
    along = np.arange(-20.0, 21.0)
    line = Tree(
        np.column_stack([along, np.full(41, 0.3), np.zeros(41)]), np.full(41, 0.2), np.arange(41) - 1, np.full(41, 2)
    )
    ball = Tree(np.zeros((1, 3)), np.array([5.0]), np.array([-1]), np.array([SOMA]))
    done = separate([line, ball], 0.1)
    led, still = done.trees
    assert led is not None and still is not None and done.lost_um == [0, 0]
    assert np.array_equal(still.points_um, ball.points_um)
    away = np.linalg.norm(led.points_um, axis=1) - 5.2
    assert 0.1 <= away.min() < 0.5
    assert led.length_um < 1.3 * line.length_um and np.allclose(
        led.points_um[[0, -1]], line.points_um[[0, -1]], atol=0.5
    )
    assert done.rerouted[0][15:26].all()


def test_what_is_too_deep_inside_is_cut_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(circuit_separation, "SEARCHES", 1)
    ball = Tree(np.zeros((1, 3)), np.array([30.0]), np.array([-1]), np.array([SOMA]))
    points = np.column_stack([np.linspace(0, 50, 26), np.zeros(26), np.ones(26)])
    stuck = Tree(points, np.full(26, 0.3), np.arange(26) - 1, np.full(26, AXON))
    done = separate([ball, stuck], 0.05)
    left = [cones_of(tree).cones for tree in done.trees if tree is not None]
    owners = np.repeat(np.arange(len(left)), [len(cones) for cones in left])
    assert len(near_pairs(np.concatenate(left), owners, 0.05)[0]) == 0


def test_three_point_somas_become_one() -> None:
    points = np.array([[3.0, 3, 3], [3, 8, 3], [3, -2, 3], [10, 3, 3]])
    tree = Tree(points, np.array([5.0, 5, 5, 0.5]), np.array([-1, 0, 0, 0]), np.array([1, 1, 1, 3]))
    ready = prepared(tree)
    assert (ready.types == SOMA).sum() == 1 and np.allclose(ready.points_um[0], 0)
    assert ready.length_um == pytest.approx(7) and ready.segment_lengths_um.max() <= 2
    assert ready.radii_um[1:] == pytest.approx([0.5] * 4)


def test_vessels_fill_their_share(block: CircuitBlock, parameters: CircuitParameters) -> None:
    volume = sum(
        cell.skeleton.swept_volume_um3()
        for cell in block.cells
        if cell.kind == VESSEL_KIND and cell.skeleton is not None
    )
    assert parameters.vessels is not None
    assert volume / parameters.volume_um3 == pytest.approx(parameters.vessels.volume_share, rel=0.6)


def test_upright_cells_are_upright(swc: Path) -> None:
    asked = {
        "size_um": [60, 60, 60],
        "cells": [{"swc": swc, "count": 5, "axis": [0, -1, 0], "spread_deg": 10, "up": [1, 0, 0]}],
    }
    for cell in pose_cells(CircuitParameters.model_validate(asked), [], np.random.default_rng(2)):
        own = prepared(read_swc(swc))
        turned, _, _, _ = np.linalg.lstsq(own.points_um, cell.tree.points_um - cell.tree.points_um[0], rcond=None)
        up = np.array([1.0, 0, 0]) @ turned
        assert np.degrees(np.arccos(np.clip(up @ [0, -1, 0], -1, 1))) <= 10.001
        assert np.linalg.det(turned) == pytest.approx(1)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"size_um": [20, 60, 60]}, "greater than or equal to 50"),
        ({"size_um": [60, 60, 900]}, "less than or equal to 500"),
        ({"cells": [{"class": "no_such_class", "count": 1}]}, "does not exist"),
        ({"cells": [{"class": "unmyelinated_axon", "count": 1}]}, "of kind axon, but a circuit is made of kind cell"),
        ({"cells": [{"swc": "nowhere.swc", "count": 1}]}, "no such file"),
        ({"cells": []}, "at least 1"),
        ({"min_gap_um": -1}, "greater than or equal to 0.01"),
    ],
)
def test_what_cannot_be_is_refused(swc: Path, change: dict, says: str) -> None:
    good = {"size_um": [60, 60, 60], "cells": [{"swc": swc, "count": 1}]}
    with pytest.raises(ValidationError, match=says):
        CircuitParameters.model_validate(good | change)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"count": -3}, "greater than or equal to 1"),
        ({"count": 2, "density_per_mm3": 5}, "one of them"),
        ({"count": None}, "one of them"),
        ({"axis": [0, 0, 0]}, "needs a length"),
        ({"class": "cortical_pyramidal"}, "either class or swc"),
    ],
)
def test_groups_that_cannot_be_are_refused(swc: Path, change: dict, says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        CircuitParameters.model_validate({"size_um": [60, 60, 60], "cells": [{"swc": swc, "count": 1} | change]})


@pytest.mark.parametrize("count", [80, 10_000])
def test_too_many_somas_are_refused_with_how_many_fit(swc: Path, count: int) -> None:
    asked = {"size_um": [50, 50, 50], "cells": [{"swc": swc, "count": count}]}
    with pytest.raises(ValueError, match=rf"asks for {count} somas .* only about (\d+) fit") as refused:
        build_circuit(CircuitParameters.model_validate(asked), np.random.default_rng(0))
    # 80 are found not to fit when they are placed; 10 000 before anything is done.
    assert isinstance(refused.value, ValidationError) == (count == 10_000)
    fit = int(str(refused.value).split("only about ")[1].split(" ")[0])
    assert 40 < fit < 90

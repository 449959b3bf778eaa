"""SWC files: round trips, what is tolerated, what is refused, and the real files."""

from __future__ import annotations

from pathlib import Path
from random import Random

import neurom
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuropil.morphology.swc import SwcFile, open_swc, parse_swc, read_swc, write_swc
from neuropil.morphology.tree import SOMA, Tree


def parsed(*lines: str) -> SwcFile:
    return parse_swc("\n".join(lines), "cell.swc")


@st.composite
def trees(draw: st.DrawFn) -> Tree:
    count = draw(st.integers(1, 25))
    number = st.floats(-1e5, 1e5, allow_subnormal=False)
    points = [[draw(number) for _ in range(3)] for _ in range(count)]
    radii = [draw(st.floats(1e-6, 1e4)) for _ in range(count)]
    parents = [-1] + [draw(st.integers(-1, index - 1)) for index in range(1, count)]
    types = [draw(st.integers(0, 300)) for _ in range(count)]
    return Tree(np.array(points), np.array(radii), np.array(parents), np.array(types))


@given(trees())
def test_round_trip_keeps_every_digit(tmp_path_factory: pytest.TempPathFactory, tree: Tree) -> None:
    path = tmp_path_factory.getbasetemp() / "round.swc"
    write_swc(tree, path)
    again = read_swc(path)
    for name in ("points_um", "radii_um", "parents", "types"):
        np.testing.assert_array_equal(getattr(again, name), getattr(tree, name))


@given(st.text(alphabet="0123456789.-+e #\t\n\r,nainf", max_size=200))
def test_any_text_is_read_or_refused_in_one_sentence(text: str) -> None:
    try:
        tree = parse_swc(text, "cell.swc").tree
    except ValueError as error:
        assert str(error).startswith("cell.swc")
        assert "\n" not in str(error)
    else:
        assert (tree.radii_um > 0).all()


@given(trees(), st.randoms(use_true_random=False))
def test_order_of_lines_does_not_matter(tree: Tree, random: Random) -> None:
    ids = [3 * index + 7 for index in range(len(tree))]  # gaps
    lines = []
    for index in range(len(tree)):
        x, y, z = tree.points_um[index].tolist()
        parent = ids[tree.parents[index]] if tree.parents[index] >= 0 else -1
        lines.append(f"{ids[index]} {tree.types[index]} {x!r} {y!r} {z!r} {tree.radii_um[index]!r} {parent}")
    random.shuffle(lines)
    found = parsed(*lines)
    place = {int(number): index for index, number in enumerate(found.ids)}
    for index, number in enumerate(ids):
        here = place[number]
        np.testing.assert_array_equal(found.tree.points_um[here], tree.points_um[index])
        parent = int(found.tree.parents[here])
        assert (parent < 0) == (tree.parents[index] < 0)
        assert parent < 0 or found.ids[parent] == ids[tree.parents[index]]


def test_odd_but_readable() -> None:
    text = "\ufeff# made by hand\r\n\r\n 2.0\t3.0 1 0 0 0.5 1.0 # a note\r\n1 1 0 0 0 2 -2 extra column\r\n"
    tree = parse_swc(text.removeprefix("\ufeff"), "cell.swc").tree
    assert tree.points_um.tolist() == [[0, 0, 0], [1, 0, 0]]
    assert tree.types.tolist() == [1, 3]
    assert tree.parents.tolist() == [-1, 0]


def test_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / "cell.swc"
    path.write_bytes(b"\xef\xbb\xbf1 1 0 0 0 2 -1\n")
    assert len(read_swc(path)) == 1


def test_radius_zero_becomes_the_neighbours_median() -> None:
    found = parsed("1 1 0 0 0 4 -1", "2 3 1 0 0 0 1", "3 3 2 0 0 1 2", "4 3 3 0 0 2 2")
    assert found.tree.radii_um.tolist() == [4, 2, 1, 2]
    assert found.repairs == ("line 2: radius 0 replaced by 2, the median of its neighbours",)


def test_own_parent_becomes_a_root() -> None:
    found = parsed("5 3 0 0 0 1 5", "6 3 1 0 0 1 5")
    assert found.tree.parents.tolist() == [-1, 0]
    assert found.repairs == ("line 1: point 5 is its own parent, taken for a root",)


@pytest.mark.parametrize(
    ("lines", "sentence"),
    [
        (["1 2 0 0 0 -0.5 -1"], "cell.swc, line 1: radius is -0.5, but allowed are numbers from 0"),
        (["1 2 0 0 0 nan -1"], "line 1: radius is 'nan', but allowed are finite numbers"),
        (["1 2 0 inf 0 1 -1"], "line 1: y is 'inf'"),
        (["1 2 0 0 0 1 -1", "2 2 0 0 0 1 9"], "line 2: parent is 9, but allowed are ids of the file and -1"),
        (["1 2 0 0 0 1 -1", "1 2 0 0 0 1 -1"], "line 2: id 1 stands on line 1 already"),
        (["1 2 0 0 0 1 2", "2 2 0 0 0 1 3", "3 2 0 0 0 1 1"], "its own ancestor"),
        (["1 2 0 0 0 1"], "has 6 columns, but a point needs seven"),
        (["1.5 2 0 0 0 1 -1"], "line 1: id is '1.5', but allowed are whole numbers"),
        (["1 soma 0 0 0 1 -1"], "line 1: type is 'soma'"),
        (["1 2 0 0 0 0 -1"], "radius is 0, as all are"),
        (["# nothing"], "the file holds no point"),
    ],
)
def test_refused(lines: list[str], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        parsed(*lines)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no such file"):
        read_swc(tmp_path / "none.swc")


@pytest.mark.parametrize(
    ("name", "roots", "points"),
    [
        ("forest_undefined_type", 63, 5160),
        ("many_roots_out_of_order", 1695, 6063),
        ("no_soma_zero_length", 1, 1544),
        ("self_parent_no_root", 1, 10735),
    ],
)
def test_odd_real_files_are_read(real_data: Path, name: str, roots: int, points: int) -> None:
    tree = read_swc(real_data / "morphologies" / "broken" / f"{name}.swc")
    assert len(tree.roots) == roots
    assert len(tree) == points


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("negative_radii", r"negative_radii.swc, line 720: radius is -0.14, but allowed are numbers from 0"),
        # Its points 6 and 8 name each other as parent.
        ("ids_from_zero_types_as_colours", r"line 7: point 6 with parent 8 is its own ancestor"),
    ],
)
def test_broken_real_files_are_refused(real_data: Path, name: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        read_swc(real_data / "morphologies" / "broken" / f"{name}.swc")


def test_every_sound_real_file_is_read(real_data: Path) -> None:
    folder = real_data / "morphologies"
    paths = [path for path in sorted(folder.glob("*/*.swc")) if path.parent.name != "broken"]
    assert len(paths) > 100
    repaired = [path.name for path in paths if open_swc(path).repairs]
    assert set(repaired) <= {
        "C280206C.CNG.swc",
        "dentrite_85-LM-HiDe.CNG.swc",
        "v_e_purk1.CNG.swc",
        "v_e_purk2.CNG.swc",
        "v_e_purk3.CNG.swc",
    }


@pytest.mark.parametrize(
    "name",
    [
        "cortex_principal/C170797A-P1.CNG.swc",
        "cortex_layer1/SM090312A1-5-IDC.CNG.swc",
        "motoneuron/ok_m79_diana.CNG.swc",
        "hippocampal_interneuron/dentrite_700-LM-LoDe.CNG.swc",
    ],
)
def test_length_agrees_with_neurom(real_data: Path, name: str) -> None:
    path = real_data / "morphologies" / name
    tree = read_swc(path)
    # neurom counts neurites from their first own point, without the way from the soma.
    own = (tree.types != SOMA) & (tree.types[np.maximum(tree.parents, 0)] != SOMA)
    cell = neurom.load_morphology(path)
    assert tree.segment_lengths_um[own].sum() == pytest.approx(neurom.get("total_length", cell), rel=1e-5)

"""SWC files: one point per line, `id type x y z radius parent`."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .tree import Tree, order_from_parents

HIGHEST_TYPE = np.iinfo(np.int16).max


@dataclass(frozen=True, eq=False)
class SwcFile:
    """What an SWC file holds.

    Attributes:
        tree: its points, parents before children.
        ids: (n,) int64, the id that each point of the tree has in the file.
        repairs: one sentence for each kind of oddity that was mended while reading.
    """

    tree: Tree
    ids: NDArray[np.int64]
    repairs: tuple[str, ...]


@dataclass(frozen=True)
class _Row:
    line: int
    id: int
    type: int
    place: tuple[float, float, float]
    radius: float
    parent: int


def read_swc(path: str | Path) -> Tree:
    """Tree (or forest, with several roots) of an SWC file; see `open_swc` for what is tolerated and
    refused.
    """
    return open_swc(path).tree


def open_swc(path: str | Path) -> SwcFile:
    """Read an SWC file as real files are.

    Tolerated: comments, blank lines, any line ends, a byte order mark, tabs, columns beyond the seventh,
    whole numbers written as 3.0, any ids in any order, children before parents, several roots, any negative
    number for "no parent", unknown types. Mended, and told in `repairs`: a point that is its own parent
    (taken for a root), a radius of 0 (the median of its neighbours' radii), a type beyond 32767 (taken for
    undefined).

    Raises:
        FileNotFoundError: no such file.
        ValueError: anything else; one sentence with file, line, value and what is allowed.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    return parse_swc(path.read_bytes().decode("utf-8-sig", errors="replace"), str(path))


def parse_swc(text: str, name: str) -> SwcFile:
    """Parse the text of an SWC file; `name` stands for the file in error messages. See `open_swc`."""
    rows = [row for number, line in enumerate(text.splitlines(), 1) if (row := _parse_line(line, number, name))]
    if not rows:
        raise ValueError(f"{name}: the file holds no point, but at least one line of seven numbers is needed")
    repairs: list[str] = []
    parents = _parent_indices(rows, name, repairs)
    _refuse_cycles(rows, parents, name)
    radii = _mended_radii(rows, parents, name, repairs)
    types = _mended_types(rows, repairs)
    order = order_from_parents(parents)
    position = np.empty(len(rows), dtype=np.int64)
    position[order] = np.arange(len(rows))
    ordered_parents = parents[order]
    tree = Tree(
        points_um=np.array([row.place for row in rows])[order],
        radii_um=radii[order],
        parents=np.where(ordered_parents < 0, -1, position[ordered_parents]),
        types=types[order],
    )
    return SwcFile(tree, np.array([row.id for row in rows], dtype=np.int64)[order], tuple(repairs))


def write_swc(tree: Tree, path: str | Path) -> None:
    """Write a tree with ids from 1; coordinates and radii keep every digit, so reading gives the same
    tree back.
    """
    path = Path(path)
    lines = ["# id type x y z radius parent (µm)"]
    for index in range(len(tree)):
        x, y, z = (repr(float(value)) for value in tree.points_um[index])
        radius, parent = repr(float(tree.radii_um[index])), int(tree.parents[index])
        lines.append(f"{index + 1} {tree.types[index]} {x} {y} {z} {radius} {parent + 1 if parent >= 0 else -1}")
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.part")
    unfinished.write_text("\n".join(lines) + "\n", encoding="utf-8")
    os.replace(unfinished, path)


def _parse_line(line: str, number: int, name: str) -> _Row | None:
    words = line.split("#", 1)[0].replace(",", " ").split()
    if not words:
        return None
    if len(words) < 7:
        raise ValueError(
            f"{name}, line {number}: {line.strip()!r} has {len(words)} columns, but a point needs seven: "
            "id type x y z radius parent"
        )
    whole = [
        _whole_number(words[column], label, number, name) for column, label in ((0, "id"), (1, "type"), (6, "parent"))
    ]
    values = [
        _number(word, label, number, name) for word, label in zip(words[2:6], ("x", "y", "z", "radius"), strict=True)
    ]
    if whole[0] < 0:
        raise ValueError(f"{name}, line {number}: id is {whole[0]}, but allowed are whole numbers from 0")
    if values[3] < 0:
        raise ValueError(f"{name}, line {number}: radius is {values[3]:g}, but allowed are numbers from 0")
    return _Row(number, whole[0], whole[1], (values[0], values[1], values[2]), values[3], whole[2])


def _number(word: str, label: str, number: int, name: str) -> float:
    try:
        value = float(word)
    except ValueError:
        value = np.nan
    if not np.isfinite(value):
        raise ValueError(f"{name}, line {number}: {label} is {word!r}, but allowed are finite numbers")
    return value


def _whole_number(word: str, label: str, number: int, name: str) -> int:
    try:
        value = float(word)
        if value.is_integer():
            return int(value)
    except ValueError:
        pass
    raise ValueError(f"{name}, line {number}: {label} is {word!r}, but allowed are whole numbers")


def _parent_indices(rows: list[_Row], name: str, repairs: list[str]) -> NDArray[np.int64]:
    index_of_id: dict[int, int] = {}
    for index, row in enumerate(rows):
        if row.id in index_of_id:
            first = rows[index_of_id[row.id]].line
            raise ValueError(f"{name}, line {row.line}: id {row.id} stands on line {first} already, but ids are unique")
        index_of_id[row.id] = index
    parents = np.full(len(rows), -1, dtype=np.int64)
    for index, row in enumerate(rows):
        if row.parent == row.id:
            repairs.append(f"line {row.line}: point {row.id} is its own parent, taken for a root")
        elif row.parent in index_of_id:
            parents[index] = index_of_id[row.parent]
        elif row.parent >= 0:
            raise ValueError(f"{name}, line {row.line}: parent is {row.parent}, but allowed are ids of the file and -1")
    return parents


def _refuse_cycles(rows: list[_Row], parents: NDArray[np.int64], name: str) -> None:
    settled: set[int] = set()
    for start in range(len(rows)):
        path: list[int] = []
        on_path: set[int] = set()
        point = start
        while point >= 0 and point not in settled:
            if point in on_path:
                row = rows[point]
                raise ValueError(
                    f"{name}, line {row.line}: point {row.id} with parent {row.parent} is its own ancestor, "
                    "but allowed are trees, without cycles"
                )
            path.append(point)
            on_path.add(point)
            point = int(parents[point])
        settled.update(path)


def _mended_radii(rows: list[_Row], parents: NDArray[np.int64], name: str, repairs: list[str]) -> NDArray[np.float64]:
    radii = np.array([row.radius for row in rows])
    missing = np.flatnonzero(radii == 0)
    if not missing.size:
        return radii
    if missing.size == len(rows):
        raise ValueError(f"{name}, line {rows[0].line}: radius is 0, as all are, but some radius must be above 0")
    neighbours: list[list[int]] = [[] for _ in rows]
    for index, parent in enumerate(parents.tolist()):
        if parent >= 0:
            neighbours[index].append(parent)
            neighbours[parent].append(index)
    known = radii > 0
    everywhere = float(np.median(radii[known]))
    mended = radii.copy()
    for index in missing.tolist():
        near = [radii[other] for other in neighbours[index] if known[other]]
        mended[index] = float(np.median(near)) if near else everywhere
        repairs.append(f"line {rows[index].line}: radius 0 replaced by {mended[index]:g}, the median of its neighbours")
    return mended


def _mended_types(rows: list[_Row], repairs: list[str]) -> NDArray[np.int16]:
    types = np.array([row.type for row in rows], dtype=np.int64)
    beyond = (types < 0) | (types > HIGHEST_TYPE)
    if beyond.any():
        first = rows[int(np.flatnonzero(beyond)[0])]
        repairs.append(f"line {first.line}: type {first.type} and {beyond.sum() - 1} others taken for undefined (0)")
    return np.where(beyond, 0, types).astype(np.int16)

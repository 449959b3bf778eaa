"""What the HTML reports share: figures inside the page, and the templates' environment."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2

from .cell_view import block_meshes, draw_meshes
from .pictures import CELL_COLOURS, data_uri


@dataclass(frozen=True)
class Figure:
    """A picture with its caption; `picture` is a data URI, empty where it could not be drawn."""

    picture: str
    caption: str


def render(template: str, **content: Any) -> str:
    """A page from one of the templates beside this module; the colours of the cells are known to all."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("neuropil.pipeline", "."),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    cells = [(kind.replace("_", " "), colour) for kind, colour in CELL_COLOURS.items()]
    return environment.get_template(template).render(cells=cells, **content)


def plot_figure(figure: Any, caption: str = "") -> Figure:
    """A matplotlib figure as PNG inside the page; the figure is closed."""
    from matplotlib import pyplot

    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=130)
    pyplot.close(figure)
    return Figure(data_uri(buffer.getvalue(), "png"), caption)


def tissue_figures(block: Path, extent_nm: Sequence[float]) -> list[Figure]:
    """Some of a block's cells whole, and all of them packed, cut by the block's faces; extent_nm: z, y, x."""
    z, y, x = (length / 1000 for length in extent_nm)
    views = (
        ("the packed block", None, (x, y, z)),
        ("its dendrites", ("dendrite",), None),
        ("its astrocyte and myelinated axons", ("astrocyte", "myelinated_axon"), None),
    )
    figures = []
    with tempfile.TemporaryDirectory() as folder:
        for number, (caption, kinds, size_um) in enumerate(views):
            file = Path(folder) / f"{number}.png"
            meshes = block_meshes(block, kinds) if kinds else block_meshes(block)
            if meshes and draw_meshes(meshes, file, size_um, (900, 700)):
                figures.append(Figure(data_uri(file.read_bytes(), "png"), caption))
    return figures

"""What the HTML reports share: figures inside the page, and the templates' environment."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .cell_view import block_meshes, draw_meshes
from .pictures import CELL_COLOURS, data_uri, jpeg_bytes

# Side of the square that slices are compared in.
COMPARED_UM = 2.4


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


@dataclass(frozen=True)
class Picture:
    """A grey slice (y, x) with its name and the size of its pixels (y, x)."""

    name: str
    grey: NDArray[np.uint8]
    pixel_nm: Sequence[float]

    @property
    def side_um(self) -> float:
        """Its shorter side."""
        return min(n * nm / 1000 for n, nm in zip(self.grey.shape, self.pixel_nm, strict=True))

    def square(self, side_um: float) -> NDArray[np.uint8]:
        """Its middle, `side_um` wide, at 5 nm a pixel."""
        height, width = (round(side_um * 1000 / nm) for nm in self.pixel_nm)
        top, left = (self.grey.shape[0] - height) // 2, (self.grey.shape[1] - width) // 2
        square = self.grey[top : top + height, left : left + width]
        side_px = round(side_um * 1000 / 5)
        if square.shape == (side_px, side_px):
            return square
        return np.array(Image.fromarray(square).resize((side_px, side_px), Image.Resampling.BICUBIC))


def compared_figures(*pictures: Picture) -> list[Figure]:
    """Squares of the same side in µm from the middle of each, drawn at one scale."""
    side_um = min(COMPARED_UM, *(picture.side_um for picture in pictures))
    return [
        Figure(data_uri(jpeg_bytes(picture.square(side_um)), "jpeg"), f"{picture.name}, {side_um:.1f} µm wide")
        for picture in pictures
    ]


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

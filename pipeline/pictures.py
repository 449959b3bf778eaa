"""Arrays turned into pictures: grey slices, labels over them, cells in 3D."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from neuropil.voxelize.replacement import replacing

Rgb = NDArray[np.uint8]  # (height, width, 3)

# The six drawn classes, in the order of their bits; told apart by colour-blind eyes too (after Okabe & Ito).
CLASS_COLOURS: Mapping[str, tuple[int, int, int]] = {
    "mitochondrion": (0, 158, 115),
    "mitochondrial_boundary": (240, 228, 66),
    "membrane": (86, 180, 233),
    "psd": (213, 40, 40),
    "vesicle": (230, 159, 0),
    "myelin_sheath": (204, 121, 167),
}
CELL_COLOURS: Mapping[str, str] = {
    "axon": "#d9a441",
    "dendrite": "#4a86c8",
    "astrocyte": "#6fb36f",
    "myelinated_axon": "#a8589f",
}


def grey_rgb(grey: NDArray[np.uint8]) -> Rgb:
    """A grey slice (y, x) as RGB."""
    return np.repeat(grey[..., None], 3, axis=-1)


def class_overlay(grey: NDArray[np.uint8], bits: NDArray[np.uint8], opacity: float = 0.45) -> Rgb:
    """The classes of a bit field (y, x) tinted over a grey slice (y, x); later classes lie on top."""
    picture = grey_rgb(grey).astype(np.float32)
    for k, colour in enumerate(CLASS_COLOURS.values()):
        inside = (bits >> np.uint8(k)) & np.uint8(1) == 1
        picture[inside] = (1 - opacity) * picture[inside] + opacity * np.asarray(colour, np.float32)
    return picture.round().astype(np.uint8)


def instance_overlay(grey: NDArray[np.uint8], ids: NDArray[np.uint32], opacity: float = 0.5) -> Rgb:
    """Each instance (y, x) of its own colour over a grey slice (y, x); id 0 stays grey."""
    picture = grey_rgb(grey).astype(np.float32)
    inside = ids > 0
    picture[inside] = (1 - opacity) * picture[inside] + opacity * colours_of(ids[inside])
    return picture.round().astype(np.uint8)


def colours_of(ids: NDArray[np.uint32]) -> NDArray[np.float32]:
    """One saturated colour (n, 3) per id, far from those of neighbouring ids (golden-angle hues)."""
    hue = (ids.astype(np.float64) * 0.61803398875) % 1.0
    parts = np.stack([np.abs(((hue + shift) % 1.0) * 6 - 3) - 1 for shift in (0.0, 2 / 3, 1 / 3)], axis=-1)
    return (255 * (0.25 + 0.75 * np.clip(parts, 0, 1))).astype(np.float32)


def side_by_side(pictures: Sequence[Rgb], gap_px: int = 8) -> Rgb:
    """Pictures in a row with white between them, aligned at the top."""
    height = max(len(picture) for picture in pictures)
    columns: list[Rgb] = []
    for picture in pictures:
        if columns:
            columns.append(np.full((height, gap_px, 3), 255, np.uint8))
        below = height - len(picture)
        columns.append(np.pad(picture, ((0, below), (0, 0), (0, 0)), constant_values=255))
    return np.concatenate(columns, axis=1)


def write_png(picture: NDArray[np.uint8], path: Path) -> None:
    """A picture (y, x) or (y, x, 3) as a PNG file, which appears whole or not at all."""
    with replacing(path) as file:
        Image.fromarray(picture).save(file, optimize=False)


def png_bytes(picture: NDArray[np.uint8]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, format="PNG")
    return buffer.getvalue()


def jpeg_bytes(picture: NDArray[np.uint8]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, format="JPEG", quality=88)
    return buffer.getvalue()


def data_uri(content: bytes, kind: str) -> str:
    """Bytes of an image of a kind (png, jpeg) as they stand inside an HTML page."""
    return f"data:image/{kind};base64,{base64.b64encode(content).decode('ascii')}"

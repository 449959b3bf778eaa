"""A volume through a trained network: the drawn classes as a bit field."""

from __future__ import annotations

from collections.abc import Callable

from neuropil.train.bundle import Model
from neuropil.train.classes import CLASS_NAMES, bits_from_masks
from neuropil.train.inference import InferenceSettings, segment
from neuropil.voxelize.volume import Volume


def segment_classes(
    model: Model,
    image: Volume,
    settings: InferenceSettings | None = None,
    progress: Callable[[float, str], None] | None = None,
) -> Volume:
    """The bit field (z, y, x) of `CLASS_NAMES` on a grey image (z, y, x).

    Raises ValueError where the model knows other classes, or the image does not fit the model.
    """
    if tuple(model.classes) != CLASS_NAMES:
        raise ValueError(f"the model finds {', '.join(model.classes)}; a bit field holds {', '.join(CLASS_NAMES)}")
    return image.with_data(bits_from_masks(segment(model, image, settings, progress).data))

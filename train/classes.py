"""The six classes an annotator draws in hippocampal FIB-SEM, in the order of their bits."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

CLASS_NAMES = ("mitochondrion", "mitochondrial_boundary", "membrane", "psd", "vesicle", "myelin_sheath")


def masks_from_bits(bits: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Masks (6, …) of 0 and 1 from a bit field (…): bit k is class k of `CLASS_NAMES`."""
    shifts = np.arange(len(CLASS_NAMES), dtype=np.uint8).reshape(-1, *(1,) * bits.ndim)
    return (bits[None] >> shifts) & np.uint8(1)


def bits_from_masks(masks: NDArray) -> NDArray[np.uint8]:
    """Bit field (…) from masks (6, …); anything not 0 is inside.

    Raises ValueError if there are not six masks.
    """
    if masks.shape[0] != len(CLASS_NAMES):
        raise ValueError(f"{masks.shape[0]} masks given; the bit field holds {len(CLASS_NAMES)} classes")
    bits = np.zeros(masks.shape[1:], np.uint8)
    for k, mask in enumerate(masks):
        bits |= (mask != 0).astype(np.uint8) << np.uint8(k)
    return bits

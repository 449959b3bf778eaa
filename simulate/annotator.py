"""From exact truth to what a person draws on the image, as the six-class bit field of the EPFL labels.

Bits: 0 mitochondrion (its boundary included), 1 mitochondrial_boundary, 2 membrane, 3 psd, 4 vesicle,
5 myelin_sheath. The exact truth stays as it is; a style is part of a calibrated profile.
"""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from neuropil.voxelize.volume import Triple, Volume

from .hash_noise import key_from, normal_line
from .materials import StructureTable
from .near_distance import near_distance_nm

CLASS_NAMES = ("mitochondrion", "mitochondrial_boundary", "membrane", "psd", "vesicle", "myelin_sheath")

Nanometres = Annotated[float, Field(ge=0.0, le=500.0)]
Mask = npt.NDArray[np.bool_]
Distances = npt.NDArray[np.float32]


class AnnotatorStyle(BaseModel):
    """How wide annotators draw, in nm of distance in 3D, so an oblique membrane smears as to the eye.

    membrane_inside_nm, membrane_outside_nm: how far the membrane band reaches from a cell's surface into the
        cell and into extracellular space; 13 nm in each of two cells and a gap of 12 nm make a 38 nm line.
    mitochondrion_outside_nm: how far the organelle's outline runs outside its outer membrane.
    mitochondrial_boundary_nm: depth of the boundary class, counted inward from that outline.
    psd_margin_nm: how far a drawn PSD reaches beyond the synapse's slab, the densities on both sides of the cleft.
    psd_narrowest_nm, psd_widest_nm: a slab cut so obliquely that it is wider than this in the slice is a smear, and
        not drawn as PSD; nor are slivers of it narrower than a stroke of the pen.
    vesicle_cap_nm: a vesicle cut less than this deep below its surface is not seen and not drawn.
    vesicle_margin_nm: growth in the plane of what is left of the vesicle below that depth.
    myelin_margin_nm: how far the sheath's outline runs outside it.
    width_jitter: relative standard deviation of the membrane band's reach from slice to slice.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    membrane_inside_nm: Nanometres = 12.5
    membrane_outside_nm: Nanometres = 12.5
    mitochondrion_outside_nm: Nanometres = 5.0
    mitochondrial_boundary_nm: Nanometres = 30.0
    psd_margin_nm: Nanometres = 3.0
    psd_narrowest_nm: Annotated[float, Field(ge=0.0, le=80.0)] = 40.0
    psd_widest_nm: Annotated[float, Field(ge=80.0, le=500.0)] = 120.0
    vesicle_cap_nm: Nanometres = 8.0
    vesicle_margin_nm: Nanometres = 15.5
    myelin_margin_nm: Nanometres = 5.0
    width_jitter: Annotated[float, Field(ge=0.0, le=0.5)] = 0.1


def _depth_nm(labels: npt.NDArray[Any], deepest_nm: float, size_nm: Triple, in_plane: bool = False) -> Distances:
    """Distance in nm from each voxel's centre to where its label ends; infinite where it is more than deepest_nm.

    The end is half a voxel before the nearest other voxel's centre, taken along the finest axis. The faces of the
    block are no ends.
    """
    half = 0.5 * min(size_nm[1:] if in_plane else size_nm)
    distance = near_distance_nm(labels, size_nm, deepest_nm + half, in_plane)
    distance -= np.float32(half)
    return distance


def _grown(mask: Mask, margin_nm: float, size_nm: Triple, in_plane: bool = False) -> Mask:
    """The mask and everything within margin_nm of it, or of it in the same slice; an empty mask stays empty."""
    if margin_nm <= 0.0 or not mask.any():
        return mask
    return np.asarray(mask | (_depth_nm(mask, margin_nm, size_nm, in_plane) <= margin_nm))


def _as_wide_as(mask: Mask, width_nm: float, size_nm: Triple) -> Mask:
    """The parts of a mask into which, slice by slice, a disc of that width fits."""
    middle = mask & (_depth_nm(mask, 0.5 * width_nm, size_nm, in_plane=True) >= 0.5 * width_nm)
    return _grown(middle, 0.5 * width_nm, size_nm, in_plane=True)


def annotate(
    classes: Volume,
    instances: Volume,
    structures: StructureTable,
    style: AnnotatorStyle,
    rng: np.random.Generator,
) -> Volume:
    """What annotators would draw on the block, a uint8 bit field of the block's shape (z, y, x).

    classes (uint8, ids of `structures`) and instances (uint32 cell ids, 0 outside cells) share shape and
    voxel size. Slices are planes of z. Raises ValueError when they disagree.
    """
    if classes.data.ndim != 3 or classes.data.shape != instances.data.shape:
        raise ValueError(
            f"classes has shape {classes.data.shape}, instances {instances.data.shape}; "
            "annotate takes two equal z, y, x volumes"
        )
    size_nm = classes.voxel_size_nm
    truth, cells = classes.data, instances.data

    def of(*names: str) -> Mask:
        return np.isin(truth, [structures[name].class_id for name in names])

    first_slice = round(classes.origin_nm[0] / size_nm[0])
    jitter = normal_line(key_from(rng), first_slice, truth.shape[0])
    width = np.maximum(1.0 + style.width_jitter * jitter, 0.3)[:, None, None].astype(np.float32)
    myelin = _grown(of("myelin"), style.myelin_margin_nm, size_nm)
    widest_nm = max(style.membrane_inside_nm, style.membrane_outside_nm) * float(width.max())
    reach_nm = np.where(cells > 0, style.membrane_inside_nm * width, style.membrane_outside_nm * width)
    band = _depth_nm(cells, widest_nm, size_nm) <= reach_nm
    organelle = of("mitochondrion", "crista")
    membrane = band & ~organelle
    mitochondrion = organelle | (_grown(organelle, style.mitochondrion_outside_nm, size_nm) & ~membrane & (cells > 0))
    deepest_nm = style.mitochondrial_boundary_nm
    boundary = mitochondrion & (_depth_nm(mitochondrion, deepest_nm, size_nm) <= deepest_nm)

    slab = _grown(of("psd", "cleft", "active_zone"), style.psd_margin_nm, size_nm)
    psd = slab & ~_as_wide_as(slab, style.psd_widest_nm, size_nm) & ~mitochondrion
    psd &= _as_wide_as(psd, style.psd_narrowest_nm, size_nm)
    lumen = of("vesicle")
    seen = lumen & (_depth_nm(lumen, style.vesicle_cap_nm, size_nm) >= style.vesicle_cap_nm)
    vesicle = _grown(seen, style.vesicle_margin_nm, size_nm, in_plane=True) & ~mitochondrion & ~psd
    # A vesicle docked at the membrane is drawn as a vesicle only where the membrane's line leaves room.
    vesicle &= lumen | ~membrane
    membrane &= ~psd & ~vesicle & ~myelin

    field = np.zeros(truth.shape, np.uint8)
    for bit, mask in enumerate((mitochondrion, boundary, membrane, psd, vesicle, myelin)):
        field |= mask.astype(np.uint8) << np.uint8(bit)
    return Volume(field, voxel_size_nm=size_nm, origin_nm=classes.origin_nm)

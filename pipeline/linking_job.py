"""The head that links regions of sections, trained on the blocks that the sections' network was trained on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from neuropil.train.bundle import Model, read_bundle
from neuropil.train.inference import InferenceSettings, probability_slabs
from neuropil.train.instances import instances_from_affinities
from neuropil.train.labelled_volume import LabelledVolume
from neuropil.train.linking import HEAD, train_head, write_head
from neuropil.train.settings import AffinityTask
from neuropil.voxelize.volume import Volume


def add_linking_head(bundle: Path, volumes: Sequence[LabelledVolume], seed: int) -> None:
    """Fit a head to what the bundle's planar network finds in `volumes`, and store it in the bundle.

    Does nothing where the bundle has one. Raises ValueError where the volumes hold nothing to learn from.
    """
    if (bundle / HEAD).exists():
        return
    model = read_bundle(bundle)
    labelled: list[tuple[Volume, Volume, NDArray[np.uint32]]] = []
    for volume in volumes:
        assert volume.instances is not None
        image = Volume(volume.image, volume.voxel_size_nm)
        labelled.append((image, instances_of_image(model, image), volume.instances))
    write_head(train_head(model, labelled, seed), bundle)


def instances_of_image(model: Model, image: Volume) -> Volume:
    """What a model of affinities finds in an image in memory; in single sections, where its task is planar."""
    assert isinstance(model.task, AffinityTask)
    slabs = [slab.probabilities for slab in probability_slabs(model, image, InferenceSettings())]
    found = Volume(np.concatenate(slabs, axis=1), image.voxel_size_nm, image.origin_nm, "czyx", model.classes)
    return instances_from_affinities(found, model.task)

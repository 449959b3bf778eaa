#!/usr/bin/env python3
"""Trains the semantic models that are shipped, and writes their bundles with cards to assets/models.

organelles2d-ca1 and organelles3d-ca1 see virtual blocks alone, organelles2d-ca1-mix real slices up to 0063 of epfl_ca1
too. Each is trained for `--seconds`; what was stopped goes on. Slices from 0089 on are scored for the card and used for
nothing else.

`python scripts/experiments/shipped_models.py --seconds 7200 --blocks 24`
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from _semantic_data import MYELIN_IN, held_out, real_training, scores, synthetic

from neuropil.pipeline.torch_threads import use_fastest_threads
from neuropil.train.augmentation import Augmentation
from neuropil.train.bundle import read_bundle, write_bundle
from neuropil.train.card import Card, card_text
from neuropil.train.dataset import SegmentationDataset
from neuropil.train.labelled_volume import LabelledVolume
from neuropil.train.settings import NETWORKS, NetworkConfig, TrainingConfig
from neuropil.train.training import RECORD, train_network

ROOT = Path(__file__).resolve().parent.parent.parent
# Largest file of weights that is shipped.
LARGEST_BYTES = 10_000_000
SYNTHETIC = (
    "{count} virtual blocks of CA1-like neuropil at 5 nm (recipe `default`; {myelin} with a myelinated axon), imaged "
    "by the profile `epfl_ca1`, which was calibrated to slices up to 0063 of `epfl_ca1`. "
)
NO_HUMAN = "No human drew any of its labels. "
LIMITS = (
    "It knows FIB-SEM of rodent hippocampus at 5 nm, and neither other tissue nor another stain.",
    "Scored on slices of the volume whose look the microscope was calibrated to, if not on the slices themselves.",
    "Myelin occurs in none of the scored slices, so how well it is found is not known.",
)


@dataclass(frozen=True)
class Shipped:
    """A model: its network, patches and what it learns from. `real` is the share of real patches."""

    network: NetworkConfig
    patch_px: int
    batch: int
    real: float = 0.0


# A step of fast2d takes a sixth of tiny_unet_v2's time on a CPU, so it sees so many more patches in the same time.
MODELS: Mapping[str, Shipped] = {
    "organelles2d-ca1": Shipped(NETWORKS["fast2d"], 256, 8),
    "organelles2d-ca1-mix": Shipped(NETWORKS["fast2d"], 256, 8, real=0.5),
    "organelles3d-ca1": Shipped(NETWORKS["small3d"], 64, 4),
}
# Wider than for a network that sees its own microscope's images: what differs between virtual and real is not known.
AUGMENTATION = Augmentation(contrast=(0.65, 1.5), brightness=(-0.15, 0.15), gamma=(0.7, 1.4), blur_px=(0.0, 1.5))


def train(name: str, seconds: float, blocks: list[LabelledVolume], folder: Path) -> None:
    """Train the model of that name in `folder`."""
    shipped = MODELS[name]
    config = TrainingConfig(
        network=shipped.network,
        budget_seconds=seconds,
        batch=shipped.batch,
        learning_rate=2e-3,
        ema_decay=0.99,
        name=name,
    )
    groups, weights = [blocks], [1 - shipped.real]
    if shipped.real:
        groups, weights = [blocks, real_training()], [1 - shipped.real, shipped.real]
    dataset = SegmentationDataset(
        groups, shipped.patch_px, weights, shipped.network.spatial_dims, augmentation=AUGMENTATION
    )
    train_network(config, dataset, [], folder)


def ship(name: str, folder: Path, blocks: int, target: Path) -> None:
    """Write the bundle with its card. Raises ValueError where it is too large to be shipped."""
    model, record = read_bundle(folder), json.loads((folder / RECORD).read_text())
    found = scores(model, held_out())
    trained_on = SYNTHETIC.format(count=blocks, myelin=blocks // MYELIN_IN)
    real = MODELS[name].real
    trained_on += f"{real:.0%} of its patches are of real, labelled slices up to 0063. " if real else NO_HUMAN
    trained_on += f"{record['steps']} steps of {MODELS[name].batch} patches, seed {record['config']['seed']}."
    card = Card(trained_on, {"epfl_ca1, real slices from 0089 on": found}, LIMITS)
    write_bundle(model, target / name, card_text(model, card))
    size = sum(file.stat().st_size for file in (target / name).rglob("*") if file.is_file())
    if size > LARGEST_BYTES:
        shutil.rmtree(target / name)
        raise ValueError(f"{name} takes {size} bytes, but models of up to {LARGEST_BYTES} are shipped")
    print(f"{target / name}: {found}")


def main() -> None:
    """Train and write the models asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, required=True, help="of training, for each model")
    parser.add_argument("--models", nargs="+", choices=list(MODELS), default=list(MODELS))
    parser.add_argument("--blocks", type=int, default=24, help="virtual blocks, a quarter of them with myelin")
    parser.add_argument("--workers", type=int, default=1, help="processes that make blocks")
    parser.add_argument("--folder", type=Path, default=ROOT / "out" / "semantic", help="of blocks and trainings")
    parser.add_argument("--target", type=Path, default=ROOT / "assets" / "models")
    arguments = parser.parse_args()
    blocks = synthetic(arguments.folder / "blocks", arguments.blocks, arguments.workers)
    use_fastest_threads()
    for name in arguments.models:
        train(name, arguments.seconds, blocks, arguments.folder / name)
        ship(name, arguments.folder / name, len(blocks), arguments.target)


if __name__ == "__main__":
    main()

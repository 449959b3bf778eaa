"""Laying out a block's cells: skeletons with radii that leave clearance to each other and fill the space.

Large things first, then whatever fits into what is left ("void routing"): myelinated axons and dendrites cross the
block, spines stand on the dendrites, astrocyte branches follow the widest voids, boutons take their room beside spine
heads and in wide voids, axons are led from bouton to bouton, and further thin axons are led through the largest
remaining void, again and again, until no void is wider than asked; boutons grow into what is still left.
"""

import numpy as np

from neuropil.morphology.neuron_class import NeuronClass
from neuropil.morphology.tree import AXON

from .astrocytes import lay_astrocyte
from .axons import fill_with_axons, lead_axons
from .boutons import bouton_sizes, lay_boutons
from .dendrites import lay_across, lay_dendrites, with_spines
from .free_space import FreeSpace
from .laid_cell import LaidOutCell
from .lobes import with_lobes
from .parameters import TissueParameters

BRANCH_SHARE = 0.45  # of an astrocyte's volume that its branches hold, the rest being leaflets between other cells


def lay_out(
    parameters: TissueParameters,
    dendrite: NeuronClass,
    axon: NeuronClass,
    myelinated: NeuronClass,
    astrocyte: NeuronClass,
    beyond_um: float,
    rng: np.random.Generator,
) -> list[LaidOutCell]:
    """All cells of a block as skeletons with radii.

    Sweeps keep clear of each other up to the clearance field's grid; where two still overlap by some nm, contact
    inflation gives each the half that is nearer to it, so the packed cells never do.

    beyond_um: how far beyond the built box the cells must reach.

    Raises ValueError where the parameters leave no room for what they ask.
    """
    space = FreeSpace(parameters, beyond_um, rng)
    enrichment = parameters.enrichment
    cells = _lay_myelinated(space, myelinated)
    shafts = list(lay_dendrites(space, dendrite, parameters.dendrite_shaft_fraction))
    wishes = bouton_sizes(space, axon, parameters.bouton_fraction * space.volume_um3)
    early = int(parameters.boutons_before_spines * len(wishes))
    boutons = lay_boutons(space, [], wishes[:early])
    cells += [with_spines(space, shaft, dendrite, enrichment.synapses) for shaft in shafts]
    if parameters.astrocyte_fraction > 0:
        volume_um3 = BRANCH_SHARE * parameters.astrocyte_fraction * space.volume_um3
        branches = lay_astrocyte(space, astrocyte, volume_um3)
        cells += [] if branches is None else [branches]
    heads = [head for cell in cells for head in cell.spine_heads]
    boutons += lay_boutons(space, heads, wishes[early:])
    axons = lead_axons(space, boutons, axon) + fill_with_axons(space, axon)
    return cells + with_lobes(space, axons)


def _lay_myelinated(space: FreeSpace, myelinated: NeuronClass) -> list[LaidOutCell]:
    """As many myelinated axons as asked for, thinner where they must be."""
    assert myelinated.myelin is not None
    asked = space.parameters.myelinated_axons
    laid: list[LaidOutCell] = []
    for n in range(int(asked * space.parameters.enrichment.myelin + space.rng.random())):
        outer = float(myelinated.shaft_radius_um.sample(space.rng)) / float(myelinated.myelin.g_ratio.sample(space.rng))
        tries = (lay_across(space, "myelinated_axon", outer * 0.8**attempt, AXON) for attempt in range(5))
        cell = next((found for found in tries if found is not None), None)
        if cell is None:
            raise ValueError(f"tissue: myelinated_axons = {asked}, but only {n} fit the block")
        laid.append(cell)
    return laid

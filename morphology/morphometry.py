"""What reconstructed or grown arbors measure: the eight quantities that classes are validated by."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from .sections import Domain

# Branches point to where they are this far along, or end.
BRANCH_REACH_UM = 5.0
SHOLL_STEP_UM = 1.0
RADIUS_STEP_UM = 2.0


@dataclass
class Morphometry:
    """Samples of one domain over any number of cells; all but `length_um` pooled over the cells.

    Attributes:
        sholl_um: distance from the soma of every crossing of a neurite with spheres 1 µm apart: the Sholl profile's
            share of crossings within a distance is the share of these samples.
        length_um: summed length, one per cell.
        section_length_um: path of every section.
        branch_order: branch points between the soma and every section.
        branch_angle_deg: between the two daughters of a branch point, 5 µm along each.
        tortuosity: path over chord of every section.
        path_um, radius_um: at places every 2 µm, at least one per section.
        asymmetry: |a - b| / (a + b - 2) of the tips a, b of both daughters of a branch point (Van Pelt 1992), 0 for
            a = b = 1.
    """

    sholl_um: list[float] = field(default_factory=list)
    length_um: list[float] = field(default_factory=list)
    section_length_um: list[float] = field(default_factory=list)
    branch_order: list[int] = field(default_factory=list)
    branch_angle_deg: list[float] = field(default_factory=list)
    tortuosity: list[float] = field(default_factory=list)
    path_um: list[float] = field(default_factory=list)
    radius_um: list[float] = field(default_factory=list)
    asymmetry: list[float] = field(default_factory=list)


def measure(domains: Iterable[Domain]) -> Morphometry:
    """Measure one domain of each of some cells; cells without it do not count."""
    found = Morphometry()
    for domain in domains:
        if not domain.sections:
            continue
        lengths = domain.lengths_um
        chords = np.linalg.norm(domain.chords_um, axis=1)
        real = (lengths > 0) & (chords > 0)
        found.length_um.append(float(lengths.sum()))
        found.section_length_um += lengths[real].tolist()
        found.tortuosity += (lengths[real] / chords[real]).tolist()
        found.branch_order += [section.order for section in domain.sections]
        found.sholl_um += sholl_crossings(domain).tolist()
        found.branch_angle_deg += branch_angles(domain)
        found.asymmetry += [abs(a - b) / (a + b - 2) if a + b > 2 else 0.0 for a, b in tip_pairs(domain)]
        for section, length in zip(domain.sections, lengths, strict=True):
            places, radii = _radii_along(domain, section.points, float(length))
            found.path_um += (section.start_um + places).tolist()
            found.radius_um += radii.tolist()
    return found


def tip_pairs(domain: Domain) -> list[tuple[int, int]]:
    """Tips that both daughters of each bifurcation lead to."""
    pairs = []
    for daughters in domain.daughters:
        if len(daughters) == 2:
            first, second = (int(domain.tips[place]) for place in daughters)
            pairs.append((first, second))
    return pairs


def sholl_crossings(domain: Domain) -> NDArray[np.float64]:
    """Radius of each crossing of a segment with spheres around the soma, `SHOLL_STEP_UM` apart."""
    distances = np.linalg.norm(domain.tree.points_um - domain.centre_um, axis=1) / SHOLL_STEP_UM
    steps = [(section.points[:-1], section.points[1:]) for section in domain.sections]
    first = distances[np.concatenate([start for start, _ in steps])]
    second = distances[np.concatenate([end for _, end in steps])]
    low, high = np.ceil(np.minimum(first, second)), np.ceil(np.maximum(first, second))
    counts = (high - low).astype(int)
    offsets = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    return (np.repeat(low, counts) + offsets) * SHOLL_STEP_UM


def branch_angles(domain: Domain) -> list[float]:
    """Angle at each bifurcation, in degrees, between the ways to the points `BRANCH_REACH_UM` along the daughters."""
    angles = []
    for daughters in domain.daughters:
        if len(daughters) != 2:
            continue
        ways = [way_along(domain, place) for place in daughters]
        norms = [float(np.linalg.norm(way)) for way in ways]
        if min(norms) > 0:
            cosine = float(np.clip(ways[0] @ ways[1] / (norms[0] * norms[1]), -1, 1))
            angles.append(float(np.degrees(np.arccos(cosine))))
    return angles


def way_along(domain: Domain, place: int) -> NDArray[np.float64]:
    """(3,) from the start of a section to where it is `BRANCH_REACH_UM` along, or ends."""
    points = domain.tree.points_um[domain.sections[place].points]
    arc = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1))])
    reach = min(BRANCH_REACH_UM, float(arc[-1]))
    return np.array([np.interp(reach, arc, points[:, axis]) for axis in range(3)]) - points[0]


def _radii_along(
    domain: Domain, points: NDArray[np.int64], length: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    steps = domain.tree.segment_lengths_um[points[1:]]
    arc = np.concatenate([[0.0], np.cumsum(steps)])
    count = max(1, round(length / RADIUS_STEP_UM))
    places = (np.arange(count) + 0.5) * length / count
    # A section's first point belongs to what it hangs on.
    return places, np.interp(places, arc[1:], domain.tree.radii_um[points[1:]])

"""Paths of neurites: worm-like chains, and sections of a wanted length and tortuosity."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, signal

Vector = NDArray[np.float64]

# Widths of the wandering that are tried for a tortuosity, in units of the tangent's own length.
WIDTHS = np.concatenate([[0.0], np.geomspace(0.03, 12.0, 15)])
FINER = np.linspace(0.0, 1.0, 9)


def persistence_um(tortuosity: float, length_um: float) -> float:
    """Persistence length of a worm-like chain whose path over root-mean-square chord is `tortuosity`.

    Mean square chord of a chain of length L: 2 P L (1 - P/L (1 - exp(-L/P))) (Kratky & Porod 1949). Valid for
    tortuosity above 1; 1.0005 and below count as straight.
    """
    if tortuosity <= 1.0005:
        return np.inf

    def excess(log_ratio: float) -> float:
        ratio = np.exp(log_ratio)  # P / L
        return float(2 * ratio * (1 + ratio * np.expm1(-1 / ratio))) - tortuosity**-2

    return length_um * float(np.exp(optimize.brentq(excess, np.log(1e-4), np.log(1e4))))


def wander(
    start: Vector,
    direction: Vector,
    length_um: float,
    step_um: float,
    persistence: float,
    rng: np.random.Generator,
) -> tuple[Vector, Vector]:
    """(n, 3) points and (n,) path length of a worm-like chain."""
    count = max(2, round(length_um / step_um))
    step = length_um / count
    # In three dimensions the direction forgets itself by exp(-s / P) when it turns by a variance s / P per
    # axis.
    turns = rng.normal(size=(count, 3)) * np.sqrt(step / persistence)
    heading = unit(direction)
    points = np.empty((count + 1, 3))
    points[0] = start
    for index in range(count):
        points[index + 1] = points[index] + step * heading
        sideways = turns[index] - (turns[index] @ heading) * heading
        angle = float(np.linalg.norm(sideways))
        heading = unit(np.cos(angle) * heading + np.sinc(angle / np.pi) * sideways)
    return points, step * np.arange(count + 1)


def detour(
    start: Vector,
    direction: Vector,
    length_um: float,
    tortuosity: float,
    step_um: float,
    squeeze: Vector,
    reach_um: float,
    rng: np.random.Generator,
) -> tuple[Vector, Vector]:
    """(n, 3) points and (n,) path length of a section with the given path over chord.

    The tangent is the direction plus an Ornstein-Uhlenbeck process whose width is solved for the tortuosity.
    One that the drawn process does not reach at any width is missed.

    Args:
        direction: (3,) unit vector to where the section is `reach_um` from its start (or to its end).
        squeeze: (3,) factor on the components of every tangent; (1, 1, 1) for all directions alike.
    """
    count = max(3, round(length_um / step_um))
    step = length_um / count
    course = unit(direction * squeeze)
    memory = float(np.exp(-4 / count))  # the process forgets itself over a quarter of the section
    noise = signal.lfilter([np.sqrt(1 - memory**2)], [1, -memory], rng.normal(size=(count, 3)), axis=0) * squeeze
    tangents = _units(course + _width(course, noise, tortuosity) * noise)
    points = np.concatenate([np.zeros((1, 3)), np.cumsum(step * tangents, axis=0)])
    reached = points[min(count, max(1, round(reach_um / step)))]
    points = points @ _rotation(reached, direction).T
    return start + points, step * np.arange(count + 1)


def _width(course: Vector, noise: Vector, tortuosity: float) -> float:
    """Factor on the noise with which path over chord is the tortuosity."""
    tried = WIDTHS
    while True:
        tangents = course + tried[:, None, None] * noise
        tangents /= np.linalg.norm(tangents, axis=2, keepdims=True)
        found = len(noise) / np.linalg.norm(tangents.sum(axis=1), axis=1)
        beyond = np.flatnonzero(found >= tortuosity)
        if not beyond.size:
            return float(tried[int(np.argmax(found))])
        last = int(beyond[0])
        if last == 0:
            return float(tried[0])
        low, high = float(tried[last - 1]), float(tried[last])
        if tried is not WIDTHS:
            return low + (high - low) * float((tortuosity - found[last - 1]) / (found[last] - found[last - 1]))
        tried = low + FINER * (high - low)


def _rotation(source: Vector, target: Vector) -> Vector:
    """(3, 3) smallest rotation that turns one vector into the direction of another."""
    first, second = unit(source), unit(target)
    cosine = float(first @ second)
    if cosine < -1 + 1e-9:
        across = unit(np.cross(first, np.eye(3)[int(np.argmin(np.abs(first)))]))
        return 2 * np.outer(across, across) - np.eye(3)
    cross = np.outer(second, first) - np.outer(first, second)
    return np.eye(3) + cross + cross @ cross / (1 + cosine)


def any_perpendicular(axis: Vector, rng: np.random.Generator) -> Vector:
    """Unit vector at right angles to a unit axis, at random around it."""
    while True:
        vector = rng.normal(size=3)
        vector -= (vector @ axis) * axis
        if np.linalg.norm(vector) > 1e-3:
            return unit(vector)


def unit(vector: Vector) -> Vector:
    """The vector at length 1."""
    return vector / np.linalg.norm(vector)


def _units(vectors: Vector) -> Vector:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)

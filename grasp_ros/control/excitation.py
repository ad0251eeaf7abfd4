# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Random commands that show what a robot can do: for training data, simulated or recorded.

A command is held for a random time and jittered at each step, so that the data hold long ways,
turns, and standing still, in all directions.
"""

from __future__ import annotations

import numpy as np

HOLD_STEPS = 6.0
"""Mean number of steps that one command is held."""
_JITTER = 0.1
"""Standard deviation of each step's own change of the command, as a part of its limit."""


def draw(rng: np.random.Generator, limit: np.ndarray) -> np.ndarray:
    """A command, float64 ``[A]``: a third of them from the whole box of commands, a third from its
    corners and edges, which planners like best, a third small ones.

    :param limit: largest amount of each entry, ``[A]``
    """
    kind, command = rng.integers(3), rng.uniform(-1, 1, len(limit))
    if kind == 1:
        command = np.clip(2.5 * command, -1, 1)
    elif kind == 2:
        command = 0.4 * command
    return limit * command


def jittered(rng: np.random.Generator, command: np.ndarray, limit: np.ndarray) -> np.ndarray:
    """A command with a little noise, within the limits: float32 ``[A]``.

    :param command: ``[A]``
    :param limit: largest amount of each entry, ``[A]``
    """
    jitter = _JITTER * limit * rng.standard_normal(len(limit))
    return np.clip(command + jitter, -limit, limit).astype(np.float32)


class Wander:
    """Commands of a random walk, one for each control step; equal generators give equal walks.

    :param rng: source of randomness
    :param limit: largest amount of each entry, ``[A]``; 0 for one that stays still
    :param hold_steps: mean number of steps that one command is held, at least 1
    """

    def __init__(
        self, rng: np.random.Generator, limit: np.ndarray, *, hold_steps: float = HOLD_STEPS
    ) -> None:
        self._rng, self._hold_steps = rng, hold_steps
        self._limit = np.asarray(limit, dtype=np.float64)
        self._held = draw(rng, self._limit)

    def next(self) -> np.ndarray:
        """The command of the next step, float32 ``[A]``."""
        if self._rng.random() < 1 / self._hold_steps:
            self._held = draw(self._rng, self._limit)
        return jittered(self._rng, self._held, self._limit)

    def another(self) -> np.ndarray:
        """Another one in its place, for whoever cannot take it."""
        self._held = draw(self._rng, self._limit)
        return jittered(self._rng, self._held, self._limit)

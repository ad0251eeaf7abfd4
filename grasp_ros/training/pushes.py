# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Commands of a robot that looks for contact with a block: for training data and for goals.

A random walk rarely meets the block, and then mostly brushes past it.
"""

from __future__ import annotations

import numpy as np

from grasp_ros.control.excitation import Wander, jittered
from grasp_ros.sim.world import DiscWorld

_STROLLS = 0.25
"""Part of the phases that stroll, as in a world without a block."""
_ROUND = 0.22
"""Distance in m from the block's origin on which the robot goes round it: clear of its corners."""
_TURN = np.radians(50)
"""How far ahead on that circle it aims."""
_ARRIVED = 0.04
_LONGEST_WAY = 25
_BORDER = 0.06


class Pushes:
    """
    Phase after phase: go to some side of the block, then push from there through a random point of
    it, on a straight line and at a random speed; or stroll.

    :param world: with a block; read before each command.
    :param rng: source of randomness; equal generators give equal commands in equal worlds.
    """

    def __init__(self, world: DiscWorld, rng: np.random.Generator) -> None:
        self._world, self._rng = world, rng
        self._limit = np.full(2, world.max_action)
        self._wander = Wander(rng, self._limit)
        self._begin()

    def command(self) -> np.ndarray:
        """The command of the next step, float32 [2] in m/s."""
        if self._left == 0:
            if self._goes:
                self._begin_push()
            else:
                self._begin()
        self._left -= 1
        if self._strolls:
            return self._wander.next()
        return jittered(self._rng, self._approach() if self._goes else self._push, self._limit)

    def _begin(self) -> None:
        self._strolls = self._rng.random() < _STROLLS
        self._goes = not self._strolls
        self._side = self._rng.uniform(-np.pi, np.pi)
        self._left = int(self._rng.integers(5, 15)) if self._strolls else _LONGEST_WAY

    def _begin_push(self) -> None:
        self._goes, self._left = False, int(self._rng.integers(6, 20))
        self._push = self._rng.uniform(0.4, 1.0) * self._towards(self._point_of_block())

    def _approach(self) -> np.ndarray:
        """The command that leads to this phase's side of the block, round the block."""
        place, pose = self._world.position, self._world.state[2:]
        goal = self._beside(pose, self._side)
        if np.linalg.norm(goal - place) < _ARRIVED:
            self._left = 0
        elif self._world.block_geometry.is_blocked(place, goal, pose):
            here = np.arctan2(*(place - pose[:2])[::-1])
            way = (self._side - here + np.pi) % (2 * np.pi) - np.pi
            goal = self._beside(pose, here + np.clip(way, -_TURN, _TURN))
        return self._towards(goal)

    def _beside(self, pose: np.ndarray, angle: float) -> np.ndarray:
        place = pose[:2] + _ROUND * np.array([np.cos(angle), np.sin(angle)])
        return np.clip(place, _BORDER, self._world.scene.size - _BORDER)

    def _point_of_block(self) -> np.ndarray:
        """Any point of any part of the block, in the world."""
        parts = self._world.scene.block.parts
        part = parts[self._rng.integers(len(parts))]
        x, y, yaw = self._world.state[2:]
        along, across = self._rng.uniform(part.low, part.high)
        return np.array([x + np.cos(yaw) * along - np.sin(yaw) * across,
                         y + np.sin(yaw) * along + np.cos(yaw) * across])

    def _towards(self, goal: np.ndarray) -> np.ndarray:
        """The fastest command in the direction of a place."""
        way = goal - self._world.position
        return self._limit * way / max(np.abs(way).max(), 1e-9)

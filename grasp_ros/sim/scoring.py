# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What reached and held mean, for evaluation and demo alike; control never sees any of it."""

import math
from collections.abc import Sequence

import numpy as np

from grasp_ros.sim.scene import Scene

NEAR = 0.05  # of the world's width: within it a goal is reached
STOPPED_M_PER_SEC = 0.05  # slower than this a robot with inertia counts as stopped
NEAR_ANGLE = math.pi / 9  # and within this turn, where a block has to be brought to its goal
HELD_TICKS = 10  # last ticks in each of which the robot must be at rest at its goal to hold it


def distance(state: np.ndarray, goal: np.ndarray) -> np.ndarray:
    """
    How far from its goal that is which has to reach it.

    That is the robot, or, where there is a block, the block alone: then it is the larger one of
    its distance and of what it has to turn, `NEAR_ANGLE` of which counts as `NEAR` of a metre.

    :param state: as `DiscWorld.state`, [..., 2] or [..., 5]
    :param goal: alike
    :returns: [...] in m
    """
    away = np.asarray(state, dtype=np.float64) - np.asarray(goal, dtype=np.float64)
    if away.shape[-1] == 2:
        return np.hypot(away[..., 0], away[..., 1])
    turn = np.abs((away[..., 4] + np.pi) % (2 * np.pi) - np.pi)
    return np.maximum(np.hypot(away[..., 2], away[..., 3]), turn * NEAR / NEAR_ANGLE)


def is_near(scene: Scene, state: Sequence[float], goal: Sequence[float]) -> bool:
    """
    Whether a robot, or the block that it pushes, counts as being at its goal, at any speed.

    :param scene: whose width counts
    :param state: as `DiscWorld.state`; without a block that is the place of the robot's centre,
        (x, y) in m
    :param goal: alike
    """
    return bool(distance(state, goal) <= NEAR * scene.size)


def is_stopped(scene: Scene, velocity: Sequence[float]) -> bool:
    """
    Whether a robot counts as stopped; one that is driven by velocity always does.

    :param scene: whose robot counts
    :param velocity: of the robot, (x, y) in m/s
    """
    return not scene.robot.has_inertia or math.hypot(*velocity) < STOPPED_M_PER_SEC


def is_held(
    scene: Scene, *, state: Sequence[float], velocity: Sequence[float], goal: Sequence[float]
) -> bool:
    """
    Whether robot or block is near its goal, and the robot stopped; a goal is held if so in the
    last `HELD_TICKS`.

    :param scene: as in `is_near` and `is_stopped`
    :param state: as in `is_near`
    :param velocity: of the robot, (x, y) in m/s
    :param goal: as in `is_near`
    """
    return is_near(scene, state, goal) and is_stopped(scene, velocity)

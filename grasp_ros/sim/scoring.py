# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What reached and held mean, for evaluation and demo alike; control never sees any of it."""

import math
from collections.abc import Sequence

from grasp_ros.sim.scene import Scene

NEAR = 0.05  # of the world's width: within it a goal is reached
STOPPED_M_PER_SEC = 0.05  # slower than this a robot with inertia counts as stopped
HELD_TICKS = 10  # last ticks in each of which the robot must be at rest at its goal to hold it


def is_near(scene: Scene, place: Sequence[float], goal: Sequence[float]) -> bool:
    """
    Whether a robot counts as being at its goal, at any speed.

    :param scene: whose width counts
    :param place: of the robot's centre, (x, y) in m
    :param goal: (x, y) in m
    """
    return math.dist(place, goal) <= NEAR * scene.size


def is_stopped(scene: Scene, velocity: Sequence[float]) -> bool:
    """
    Whether a robot counts as stopped; one that is driven by velocity always does.

    :param scene: whose robot counts
    :param velocity: of the robot, (x, y) in m/s
    """
    return not scene.robot.has_inertia or math.hypot(*velocity) < STOPPED_M_PER_SEC


def is_held(
    scene: Scene, *, place: Sequence[float], velocity: Sequence[float], goal: Sequence[float]
) -> bool:
    """
    Whether a robot is near its goal and stopped; a goal is held if so in the last `HELD_TICKS`.

    :param scene: as in `is_near` and `is_stopped`
    :param place: of the robot's centre, (x, y) in m
    :param velocity: of the robot, (x, y) in m/s
    :param goal: (x, y) in m
    """
    return is_near(scene, place, goal) and is_stopped(scene, velocity)

# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What reached and held mean, for evaluation and demo alike; control never sees any of it."""

import math
from collections.abc import Sequence

from grasp_ros.sim.scene import Scene

NEAR = 0.05  # of the world's width: within it a goal is reached
HELD_TICKS = 10  # last ticks in which the robot must be near for the goal to be held


def is_near(scene: Scene, place: Sequence[float], goal: Sequence[float]) -> bool:
    """
    Whether a robot counts as being at its goal.

    :param scene: whose width counts
    :param place: of the robot's centre, (x, y) in m
    :param goal: (x, y) in m
    """
    return math.dist(place, goal) <= NEAR * scene.size

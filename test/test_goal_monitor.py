# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""When a goal is reached, and when it has failed."""

import math

import pytest

from grasp_ros.control.goal import GoalConfig, GoalMonitor, GoalState
from grasp_ros.errors import ConfigError


def monitor(**changes) -> GoalMonitor:
    values = {'tolerance': 1.0, 'dwell_sec': 0.3, 'timeout_sec': 10.0, 'no_progress_sec': 2.0}
    return GoalMonitor(GoalConfig(**{**values, **changes}), now_sec=0.0)


def test_a_goal_is_reached_after_the_dwell_time_inside_the_tolerance():
    goal = monitor()
    assert goal.update(0.1, 0.5) is GoalState.RUNNING
    assert goal.update(0.2, 1.5) is GoalState.RUNNING  # out again: the dwell time starts anew
    assert goal.update(0.3, 0.5) is GoalState.RUNNING
    assert goal.update(0.4, None) is GoalState.RUNNING  # nobody saw it
    assert goal.update(0.5, 0.5) is GoalState.RUNNING
    assert goal.update(0.8, 0.5) is GoalState.REACHED


def test_a_goal_is_not_reached_by_a_frame_that_was_judged_before():
    goal = monitor()
    assert goal.update(0.1, 0.5) is GoalState.RUNNING
    for now_sec in (0.2, 0.3, 0.4, 0.5):  # the camera is gone, the frame not yet too old
        assert goal.update(now_sec, 0.5, has_seen=False) is GoalState.RUNNING
    assert goal.update(0.6, 0.5) is GoalState.REACHED  # there it is, and so was the robot


def test_a_goal_ends_by_time_or_without_progress():
    goal = monitor()
    assert goal.update(9.9, 5.0) is GoalState.RUNNING
    assert goal.update(10.0, 4.0) is GoalState.TIMEOUT
    goal = monitor()
    assert goal.update(1.0, 5.0) is GoalState.RUNNING
    assert goal.update(2.9, 4.99) is GoalState.RUNNING  # less than progress_ratio nearer
    assert goal.update(3.0, 4.99) is GoalState.NO_PROGRESS
    endless = monitor(timeout_sec=0.0, no_progress_sec=0.0)
    assert endless.update(1e6, 5.0) is GoalState.RUNNING
    with pytest.raises(ConfigError, match=r'goal\.tolerance'):
        monitor(tolerance=0.0)
    for ratio in (-1.0, 1.0, math.nan):
        with pytest.raises(ConfigError, match='progress_ratio'):
            monitor(progress_ratio=ratio)

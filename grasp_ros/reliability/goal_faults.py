# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Rows 9 to 11 and 29 of the fault table: goals that are missing, bad, changed or out of reach."""

from __future__ import annotations

import math

from lifecycle_msgs.msg import Transition
from sensor_msgs.msg import Image

from grasp_ros.msg import SolverStatistics
from grasp_ros.reliability.faulty_controller import LATE_SEC
from grasp_ros.reliability.rig import Result, speed
from grasp_ros.reliability.robot import PERIOD_SEC, RIGHT, Robot, at_sec, drives
from grasp_ros.reliability.scenario import Reaction, require, scenario

# A tick that runs ends, which is late here, and the next one sends the safe command.
STOP_SEC = LATE_SEC + 2 * PERIOD_SEC
OTHER = (0.25, 0.5)


@scenario(
    9, fault='no goal is set', robot='robot', bound_sec=2 * PERIOD_SEC,
    promise='no motion, status NO_GOAL, commands at the control rate',
    measured='largest time between two safe commands of the controller in 1 s',
)  # fmt: skip
def no_goal(robot: Robot) -> Reaction:
    start_sec = robot.watch(1.0)
    actions = robot.between('action', start_sec, start_sec + 1.0)
    reports = robot.between('solver_statistics', start_sec, start_sec + 1.0)
    require(not any(map(speed, actions)), 'only safe commands')
    require({r.status for r in reports} == {SolverStatistics.NO_GOAL}, 'status NO_GOAL')
    require(not any(r.iterations for r in reports), 'nothing is solved')
    times = [start_sec, *map(at_sec, actions), start_sec + 1.0]
    return Reaction(max(b - a for a, b in zip(times, times[1:])), ('status NO_GOAL',))


@scenario(
    9, fault='the goal image has an unknown encoding, another size, or is cut short',
    robot='robot', bound_sec=STOP_SEC,
    promise='no motion; the goal ends with BAD_GOAL_IMAGE and the reason',
    measured='goal sent → result, the slowest of three',
)  # fmt: skip
def bad_goal_images(robot: Robot) -> Reaction:
    good = robot.goal_image(*RIGHT)
    bad = {
        'yuv422': Image(encoding='yuv422', height=1, width=1),
        'the model needs 64x64': Image(encoding='rgb8', height=1, width=1, step=3, data=b'abc'),
        'makes 12288': Image(
            encoding='rgb8', height=64, width=64, step=192, data=good.data.tobytes()[:-1]
        ),
    }
    slowest_sec = 0.0
    for reason, image in bad.items():
        sent_sec = robot.now_sec()
        _, result = robot.result(robot.send_goal(image))
        slowest_sec = max(slowest_sec, robot.now_sec() - sent_sec)
        require(result.code == Result.BAD_GOAL_IMAGE, f'the result is {result.code}')
        require(reason in result.reason, f'"{reason}" is in "{result.reason}"')
    robot.report(SolverStatistics.NO_GOAL, after_sec=robot.now_sec())
    require(not any(map(speed, robot.heard['cmd_vel'])), 'no motion')
    return Reaction(slowest_sec, ('result BAD_GOAL_IMAGE', 'status NO_GOAL'))


@scenario(
    10, fault='the goal changes in the middle of a solve', robot='solver',
    promise="the old goal's result is not published; a plan for the new one within T and a solve",
    measured='acceptance → first plan for the new goal', bound_sec=PERIOD_SEC + 2 * LATE_SEC,
)  # fmt: skip
def goal_changes(robot: Robot) -> Reaction:
    robot.set_off()
    robot.change(fault='late')  # most of the time there is a solve to be in the middle of
    old = robot.first('solver_statistics', drives, after_sec=robot.now_sec()).goal_id
    image = robot.goal_image(*OTHER)
    handle = robot.send_goal(image)
    accepted_sec = robot.now_sec()
    require(handle.accepted, 'the new goal is accepted')
    report = robot.first('solver_statistics', lambda r: drives(r) and r.goal_id > old)
    # That nothing was sent for the old goal meanwhile is judged by the watcher.
    require(not report.warm_start_used, 'the new goal does not start from the old plan')
    return Reaction(at_sec(report) - accepted_sec, ('statistics goal_id',))


@scenario(
    11, fault='the goal is cancelled in the middle of a solve', robot='solver',
    promise='stops; the result carries the reason', measured='request → zero at the robot',
    bound_sec=STOP_SEC,
)  # fmt: skip
def cancelled(robot: Robot) -> Reaction:
    robot.set_off()
    robot.change(fault='late')
    robot.watch(2 * PERIOD_SEC)
    asked_sec = robot.now_sec()
    result = robot.cancel()
    require(result.code == Result.CANCELLED, f'the result is {result.code}: {result.reason}')
    stop_sec = robot.stop(after_sec=asked_sec)
    robot.report(SolverStatistics.NO_GOAL, after_sec=asked_sec)
    return Reaction(stop_sec - asked_sec, ('result CANCELLED', 'status NO_GOAL'))


@scenario(
    11, fault='another goal preempts one in the middle of a solve', robot='solver',
    promise='the first goal ends with PREEMPTED and the reason',
    measured='new goal sent → result of the first', bound_sec=STOP_SEC,
)  # fmt: skip
def preempted(robot: Robot) -> Reaction:
    first = robot.set_off()
    robot.change(fault='late')
    image = robot.goal_image(*OTHER)
    ended = first.get_result_async()
    asked_sec = robot.now_sec()
    robot.send_goal(image)
    result = robot.result_of(ended, 'the end of the first goal').result
    ended_sec = robot.now_sec()
    require(result.code == Result.PREEMPTED, f'the result is {result.code}: {result.reason}')
    return Reaction(ended_sec - asked_sec, ('result PREEMPTED',))


@scenario(
    11, fault='the controller is deactivated in the middle of a solve', robot='solver',
    promise='the safe command is its last message; the goal ends with DEACTIVATED',
    measured='request → zero at the robot', bound_sec=STOP_SEC,
)  # fmt: skip
def deactivated(robot: Robot) -> Reaction:
    handle = robot.set_off()
    robot.change(fault='late')
    robot.watch(2 * PERIOD_SEC)
    asked_sec = robot.now_sec()
    require(robot.change_state(Transition.TRANSITION_DEACTIVATE), 'the transition is made')
    done_sec = robot.now_sec()
    _, result = robot.result(handle)
    require(result.code == Result.DEACTIVATED, f'the result is {result.code}: {result.reason}')
    stop_sec = robot.stop(after_sec=asked_sec)
    robot.report(SolverStatistics.INACTIVE, after_sec=asked_sec)
    robot.watch(2 * PERIOD_SEC)
    require(not robot.between('action', done_sec, math.inf), 'nothing is sent after that')
    require(speed(robot.heard['action'][-1]) == 0.0, 'the last command is the safe one')
    return Reaction(stop_sec - asked_sec, ('result DEACTIVATED', 'status INACTIVE'))


@scenario(
    29, fault='the goal cannot be reached: its time passes', robot='robot',
    promise='TIMEOUT with the numbers, and the safe command',
    measured='time limit (0.5 s here) → result', bound_sec=3 * PERIOD_SEC,
)  # fmt: skip
def timeout(robot: Robot) -> Reaction:
    return _unreachable(robot, 0.5, Result.TIMEOUT, timeout_sec=0.5)


@scenario(
    29, fault='the goal cannot be reached: the robot comes no nearer', robot='robot',
    promise='NO_PROGRESS with the numbers, and the safe command',
    measured='goal.no_progress_sec (0.5 s here) → result', bound_sec=4 * PERIOD_SEC,
)  # fmt: skip
def no_progress(robot: Robot) -> Reaction:
    robot.change(goal__no_progress_sec=0.5)
    return _unreachable(robot, 0.5, Result.NO_PROGRESS, timeout_sec=0.0)


def _unreachable(robot: Robot, limit_sec: float, code: int, *, timeout_sec: float) -> Reaction:
    robot.change('gate_node', gate__speed_scale=0.0)  # as if it were stuck
    image = robot.goal_image(*RIGHT)
    handle = robot.send_goal(image, timeout_sec=timeout_sec)
    accepted_sec = robot.now_sec()
    _, result = robot.result(handle)
    ended_sec = robot.now_sec()
    require(result.code == code, f'the result is {result.code}: {result.reason}')
    require('tolerance' in result.reason and 'after' in result.reason, 'numbers are in the reason')
    robot.report(SolverStatistics.NO_GOAL)
    sent = robot.first('action', after_sec=ended_sec)
    require(speed(sent) == 0.0, 'the safe command is sent')
    return Reaction(ended_sec - accepted_sec - limit_sec, (f'result {code}', 'status NO_GOAL'))

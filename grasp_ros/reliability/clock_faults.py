# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Rows 17 and 23 of the fault table: simulated time that jumps, stands still or runs fast."""

from __future__ import annotations

import math
import time

from grasp_ros.msg import GateStatus, SolverStatistics
from grasp_ros.reliability.camera_faults import image_sec
from grasp_ros.reliability.faulty_world import FAST, FORWARD_SEC, START_SEC
from grasp_ros.reliability.robot import (
    IMAGE_TIMEOUT_SEC,
    PERIOD_SEC,
    Robot,
    at_sec,
    drives,
    moves,
)
from grasp_ros.reliability.scenario import Reaction, require, scenario

RESUME_SEC = IMAGE_TIMEOUT_SEC + PERIOD_SEC


def _quiet(robot: Robot, since: int) -> None:
    """No storm: the gate has not latched, and neither node has written line after line."""
    told = list(robot.heard['gate_status'])[since:]
    latched = (GateStatus.REASON_REARM_NEEDED, GateStatus.REASON_CONTROLLER_RESTARTED)
    require(not any(s.reason in latched for s in told), 'no re-arm is needed')
    for node in ('mpc_node', 'gate_node'):
        lines = robot.log(node).count('[WARN]')
        require(lines <= 4, f'{node} has written {lines} warnings:\n{robot.log(node)}')


def _jump(robot: Robot, clock: str, is_after) -> Reaction:
    """A jump on the way; the time on the new clock until a plan starts from a frame of it."""
    robot.set_off()
    robot.heard.clear()
    robot.change('sim_node', clock=clock)
    first = robot.first('cmd_vel', lambda c: is_after(at_sec(c)), what='the new time')
    planned = robot.first(
        'solver_statistics', lambda r: drives(r) and is_after(image_sec(r)), what='a plan'
    )
    moved_sec = at_sec(planned)
    robot.first('cmd_vel', lambda c: moves(c) and is_after(at_sec(c)) and at_sec(c) > moved_sec)
    robot.wait_for(lambda: len(robot.heard['gate_status']) > 10, 'the gate to go on')
    _quiet(robot, 0)
    return Reaction(at_sec(planned) - at_sec(first), ('statistics image_stamp',))


@scenario(
    17, fault='the simulator is reset: its clock jumps back', robot='simulated',
    promise='frames and plan dropped, then it drives on; no watchdog storm', bound_sec=RESUME_SEC,
    measured='first command on the new clock → first plan from a frame on it',
)  # fmt: skip
def clock_back(robot: Robot) -> Reaction:
    # So long after its start that old and new time cannot be mixed up.
    robot.wait_for(lambda: robot.simulated_sec() > START_SEC + 2.0, 'simulated time to pass')
    reaction = _jump(robot, 'reset', lambda sec: sec < START_SEC + 2.0)
    seen = robot.logged('mpc_node', 'the clock jumped back')
    return Reaction(reaction.seconds, (*reaction.seen, seen))


@scenario(
    17, fault='the simulated clock jumps forward by a minute', robot='simulated',
    promise='old frames are stale, then it drives on; no watchdog storm', bound_sec=RESUME_SEC,
    measured='first command on the new clock → first plan from a frame on it',
)  # fmt: skip
def clock_forward(robot: Robot) -> Reaction:
    before_sec = robot.simulated_sec()
    return _jump(robot, 'forward', lambda sec: sec > before_sec + FORWARD_SEC - 10.0)


@scenario(
    17, fault='the simulator pauses for longer than every timeout', robot='simulated',
    promise='quiet: safe command, no fault, no end of the goal; drives on by itself',
    measured='end of the pause → motion, in simulated time', bound_sec=2 * PERIOD_SEC,
)  # fmt: skip
def clock_stands(robot: Robot) -> Reaction:
    robot.change(goal__fault_timeout_sec=0.5, goal__no_progress_sec=0.6)
    robot.change('gate_node', gate__rearm_after_sec=0.5)
    robot.set_off()
    since = len(robot.heard['gate_status'])
    robot.change('sim_node', clock='stands')
    robot.report(SolverStatistics.CLOCK_STANDS)
    robot.wait(1.5)
    paused_sec = at_sec(robot.heard['cmd_vel'][-1])
    require(not moves(robot.heard['cmd_vel'][-1]), 'the robot stands')
    robot.change('sim_node', clock='runs')
    moving = robot.first(
        'cmd_vel', lambda c: moves(c) and at_sec(c) > paused_sec, what='motion after the pause'
    )
    _quiet(robot, since)
    told = list(robot.heard['gate_status'])[since:]
    require(all(s.state == GateStatus.PASSING for s in told), 'the gate has seen no fault')
    seen = robot.logged('mpc_node', 'the simulated clock stands still')
    return Reaction(at_sec(moving) - paused_sec, ('status CLOCK_STANDS', seen))


@scenario(
    17, fault=f'simulated time runs {FAST:g} times as fast', robot='simulated',
    promise='drives, and the warm start is shifted by the steps that elapsed',
    measured='largest age of an image when its command was sent, in simulated time',
    bound_sec=IMAGE_TIMEOUT_SEC,
)  # fmt: skip
def clock_fast(robot: Robot) -> Reaction:
    robot.set_off()
    robot.change('sim_node', clock='fast')
    robot.wait(0.3)
    count = len(robot.heard['solver_statistics'])
    robot.wait(1.0)
    reports = list(robot.heard['solver_statistics'])[count:]
    require(len(reports) >= 8 and all(map(drives, reports)), 'the robot drives on')
    shifts = [r.shift_steps for r in reports if r.status == SolverStatistics.SOLVED]
    mean = sum(shifts) / len(shifts)
    require(FAST - 0.5 < mean < FAST + 0.5, f'the warm start is shifted by {mean:.2f} steps')
    return Reaction(max(r.image_to_action_sec for r in reports), ('statistics shift_steps',))


@scenario(
    23, fault='the clock of the messages jumps to and fro under a steady deadline',
    robot='simulated', bound_sec=2 * PERIOD_SEC,
    promise='no effect: ticks keep their period',
    measured='largest time between two ticks, by the time of their arrival',
)  # fmt: skip
def clock_to_and_fro(robot: Robot) -> Reaction:
    robot.wait_for(lambda: robot.simulated_sec() > START_SEC + 2.0, 'simulated time to pass')
    robot.set_off()
    arrived_sec: list[float] = []
    heard, count = robot.heard['solver_statistics'], len(robot.heard['solver_statistics'])

    def note_arrivals() -> bool:
        if len(heard) > count + len(arrived_sec):
            arrived_sec.append(time.monotonic())
        return time.monotonic() > until_sec

    for clock in ('forward', 'reset', 'forward'):
        until_sec = time.monotonic() + 0.4
        robot.change('sim_node', clock=clock)
        robot.wait_for(note_arrivals, 'the time to pass')
    gaps_sec = [b - a for a, b in zip(arrived_sec, arrived_sec[1:])]
    require(len(gaps_sec) >= 8, f'{len(gaps_sec)} ticks in 1.2 s')
    return Reaction(max(gaps_sec, default=math.inf), ('statistics tick',))

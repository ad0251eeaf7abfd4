# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Rows 8, 12, 13 and 16 of the fault table: a solver that is late, hangs, raises or gets NaN."""

from __future__ import annotations

import math
import signal

from lifecycle_msgs.msg import Transition

from grasp_ros.msg import GateStatus, SolverStatistics
from grasp_ros.node import messages
from grasp_ros.reliability.camera_faults import STALE_SEC, image_sec
from grasp_ros.reliability.rig import Result, speed
from grasp_ros.reliability.robot import (
    COMMAND_TIMEOUT_SEC,
    ERROR,
    PERIOD_SEC,
    Robot,
    at_sec,
    drives,
    moves,
)
from grasp_ros.reliability.scenario import Reaction, require, scenario

WATCHDOG_SEC = COMMAND_TIMEOUT_SEC + PERIOD_SEC
FAULT_TIMEOUT_SEC = 0.5
LAST_COMMAND = 'last command of the controller → zero at the robot'


def last_command_sec(robot: Robot) -> float:
    """Stamp of the newest command of the controller that has been heard."""
    return at_sec(robot.heard['action'][-1])


def _require_finite(robot: Robot, *, since_sec: float) -> None:
    """The gate would refuse what is not, and the robot stop as if all were well."""
    sent = robot.between('action', since_sec, math.inf)
    finite = all(math.isfinite(value) for m in sent for value in messages.command(m))
    require(sent and finite, 'what the controller sends is finite')


@scenario(
    8, fault='latents are not finite (NaN in the encoder)', robot='solver', bound_sec=STALE_SEC,
    promise='frames rejected with the reason; the plan goes on for image_timeout at most, then '
    'the safe command; never a NaN on the wire; resumes when they are finite',
    measured='stamp of the last good frame → safe command at the robot',
)  # fmt: skip
def nan_latents(robot: Robot) -> Reaction:
    robot.set_off()
    robot.change(fault='nan_latent')
    failed = robot.report(SolverStatistics.STALE_IMAGE)
    require('not finite' in failed.status_text, f'the reason is given: {failed.status_text}')
    before = robot.between('solver_statistics', -math.inf, at_sec(failed))
    good_sec = max(image_sec(r) for r in before if r.status == SolverStatistics.SOLVED)
    stop_sec = robot.stop(after_sec=good_sec)
    seen = robot.logged('mpc_node', 'the latent of the frame is not finite')
    _require_finite(robot, since_sec=good_sec)
    robot.change(fault='')
    robot.first('cmd_vel', moves, after_sec=robot.now_sec(), what='motion')
    return Reaction(stop_sec - good_sec, ('status STALE_IMAGE', seen))


@scenario(
    8, fault='predictions, costs and gradients are not finite (NaN in the predictor)',
    robot='solver', bound_sec=3 * PERIOD_SEC,
    promise='solve rejected and counted, warm start discarded, safe command; never a NaN on the '
    'wire; resumes when they are finite',
    measured='fault → safe command at the robot',
)  # fmt: skip
def nan_predictions(robot: Robot) -> Reaction:
    robot.set_off()
    before = robot.first('solver_statistics', drives).solver_failures
    start_sec = robot.now_sec()
    robot.change(fault='nan_prediction')
    stop_sec = robot.stop(after_sec=start_sec)
    failed = robot.report(SolverStatistics.SOLVER_FAILED, after_sec=start_sec)
    require(failed.solver_failures > before, 'failures are counted')
    seen = robot.logged('mpc_node', 'the solve failed and no plan is left')
    _require_finite(robot, since_sec=start_sec)
    robot.change(fault='')
    solved = robot.report(SolverStatistics.SOLVED, after_sec=at_sec(failed))
    require(not solved.warm_start_used, 'what failed does not start the next solve')
    return Reaction(stop_sec - start_sec, ('status SOLVER_FAILED', seen))


@scenario(
    12, fault='every solve is longer than its deadline', robot='solver',
    promise='a command in every period, deadline_met = false, counted; ERROR when it persists',
    measured='largest time between two commands of the controller', bound_sec=2 * PERIOD_SEC,
)  # fmt: skip
def late_solves(robot: Robot) -> Reaction:
    robot.place(0.25, 0.1)
    robot.set_off()
    robot.change(fault='late')
    robot.watch(2 * PERIOD_SEC)
    before = robot.first('solver_statistics', drives, after_sec=robot.now_sec())
    start_sec = robot.watch(1.3)
    reports = robot.between('solver_statistics', start_sec, start_sec + 1.3)
    solved = [r for r in reports if r.status == SolverStatistics.SOLVED]
    require(len(solved) >= 6, f'{len(solved)} plans in 1.3 s')
    require(not any(r.deadline_met for r in solved), 'misses are told')
    counted = reports[-1].deadline_misses - before.deadline_misses
    require(counted >= len(solved), f'{counted} misses of {len(solved)} are counted')
    shown = robot.diagnosed('deadline', ERROR, 'missed the deadline')
    times = [at_sec(a) for a in robot.between('action', start_sec, start_sec + 1.3)]
    gap_sec = max(b - a for a, b in zip(times, times[1:]))
    return Reaction(gap_sec, ('statistics deadline_met, deadline_misses', shown))


@scenario(
    12, fault='the controller stalls for a second (SIGSTOP, SIGCONT)', robot='solver',
    promise='stopped by the gate; then no burst and no backlog, and it drives on by itself',
    measured=LAST_COMMAND, bound_sec=WATCHDOG_SEC,
)  # fmt: skip
def stalled(robot: Robot) -> Reaction:
    robot.set_off()
    before = robot.first('solver_statistics', drives, after_sec=robot.now_sec())
    controller = robot.processes['mpc_node']
    fault_sec = robot.now_sec()
    controller.send_signal(signal.SIGSTOP)
    try:
        robot.watch(1.0)
    finally:
        back_sec = robot.now_sec()
        controller.send_signal(signal.SIGCONT)
    reaction = stopped_by_gate(robot, after_sec=fault_sec, before_sec=back_sec)
    robot.first('cmd_vel', moves, after_sec=back_sec, what='motion')
    robot.watch(5 * PERIOD_SEC)
    ticks = robot.between('solver_statistics', back_sec, back_sec + 5 * PERIOD_SEC)
    # The tick that was under way, the one that was due next, and the grid again.
    require(1 <= len(ticks) <= 7, f'no burst: {len(ticks)} ticks in five periods')
    skipped = ticks[-1].ticks_skipped - before.ticks_skipped
    require(skipped >= 8, f'{skipped} of ten ticks are counted as skipped')
    return Reaction(reaction.seconds, (*reaction.seen, 'statistics ticks_skipped'))


def stopped_by_gate(
    robot: Robot, *, after_sec: float, before_sec: float = math.inf
) -> Reaction:
    """That the gate stopped the robot when commands stopped coming, between two times."""
    stopped = robot.gate(GateStatus.REASON_COMMAND_TIMEOUT, after_sec=after_sec)
    sent = [c for c in robot.heard['action'] if at_sec(c) < min(before_sec, at_sec(stopped))]
    last_sec = at_sec(sent[-1])
    stop_sec = robot.stop(after_sec=last_sec)
    seen = robot.logged('gate_node', 'commands stopped coming')
    return Reaction(stop_sec - last_sec, ('gate COMMAND_TIMEOUT', seen))


@scenario(
    12, fault='a solve does not return for a second', robot='solver',
    promise='stopped by the gate; the node stays answerable; drives on by itself',
    measured=LAST_COMMAND, bound_sec=WATCHDOG_SEC,
)  # fmt: skip
def stuck(robot: Robot) -> Reaction:
    robot.set_off()
    fault_sec = robot.now_sec()
    robot.change(fault='stuck')
    reaction = stopped_by_gate(robot, after_sec=fault_sec)
    require(robot.get_parameter('planner.horizon') == 40, 'the node stays answerable')
    shown = robot.diagnosed('solver', ERROR, 'the solver does not return')
    freed_sec = robot.now_sec()
    robot.change(fault='')
    robot.first('cmd_vel', moves, after_sec=freed_sec, what='motion')
    return Reaction(reaction.seconds, (*reaction.seen, shown))


@scenario(
    12, fault='a solve does not return for longer than rearm_after', robot='solver',
    promise='stopped by the gate; nothing moves again before a re-arm',
    measured='last command of the controller → REARM_NEEDED, less rearm_after (0.5 s here)',
    bound_sec=WATCHDOG_SEC,
)  # fmt: skip
def stuck_for_long(robot: Robot) -> Reaction:
    robot.change('gate_node', gate__rearm_after_sec=0.5)
    robot.set_off()
    robot.change(fault='stuck')
    latched = robot.gate(GateStatus.REASON_REARM_NEEDED)
    last_sec = last_command_sec(robot)
    robot.change(fault='')
    freed_sec = robot.now_sec()
    robot.first('action', moves, after_sec=freed_sec, what='a controller that drives again')
    robot.watch(3 * PERIOD_SEC)
    require(not any(map(speed, robot.between('cmd_vel', freed_sec, math.inf))), 'no motion')
    seen = robot.logged('gate_node', 'a fault lasted too long: call the service `enable`')
    robot.enable()
    robot.first('cmd_vel', moves, after_sec=robot.now_sec(), what='motion')
    return Reaction(at_sec(latched) - last_sec - 0.5, ('gate REARM_NEEDED', seen))


@scenario(
    12, fault='the controller is deactivated while a solve does not return', robot='solver',
    promise='safe command at once, as the last message; the node can be configured again',
    measured='request → safe command of the controller', bound_sec=2 * PERIOD_SEC,
)  # fmt: skip
def stuck_and_deactivated(robot: Robot) -> Reaction:
    robot.set_off()
    robot.change(fault='stuck')
    robot.gate(GateStatus.REASON_COMMAND_TIMEOUT)
    asked_sec = robot.now_sec()
    robot.change_state(Transition.TRANSITION_DEACTIVATE)
    safe = robot.first('action', after_sec=asked_sec)
    require(speed(safe) == 0.0, 'the safe command is sent')
    require(robot.state() == 'unconfigured', f'the controller is {robot.state()}')
    seen = robot.logged('mpc_node', 'the solver does not return')
    robot.change(fault='')
    robot.activate()
    robot.report(SolverStatistics.NO_GOAL, after_sec=at_sec(safe))
    return Reaction(at_sec(safe) - asked_sec, ('status INACTIVE', seen))


@scenario(
    13, fault='the solver runs out of GPU memory (injected)', robot='solver',
    promise='tried again every tick; safe command, and the goal ends with '
    'SOLVER_FAILED after goal.fault_timeout; the node stays answerable and drives again',
    measured='fault → safe command at the robot', bound_sec=2 * PERIOD_SEC,
)  # fmt: skip
def out_of_memory(robot: Robot) -> Reaction:
    return _raises(robot, 'out_of_memory', 'OutOfMemoryError')


@scenario(
    13, fault='the solver raises', robot='solver', bound_sec=2 * PERIOD_SEC,
    promise='safe command, and the goal ends with SOLVER_FAILED after goal.fault_timeout; the '
    'node stays answerable and drives again',
    measured='fault → safe command at the robot',
)  # fmt: skip
def solver_raises(robot: Robot) -> Reaction:
    return _raises(robot, 'raises', 'RuntimeError')


def _raises(robot: Robot, fault: str, error: str) -> Reaction:
    robot.change(goal__fault_timeout_sec=FAULT_TIMEOUT_SEC)
    handle = robot.set_off()
    start_sec = robot.now_sec()
    robot.change(fault=fault)
    stop_sec = robot.stop(after_sec=start_sec)
    report = robot.report(SolverStatistics.SOLVER_FAILED, after_sec=start_sec)
    require(error in report.status_text, f'the reason is given: {report.status_text}')
    _, result = robot.result(handle)
    lasted_sec = robot.now_sec() - start_sec
    require(result.code == Result.SOLVER_FAILED, f'the result is {result.code}: {result.reason}')
    require(lasted_sec >= FAULT_TIMEOUT_SEC, f'the goal has ended after {lasted_sec:.3f} s')
    failed = [r for r in robot.between('solver_statistics', start_sec, math.inf)
              if r.status == SolverStatistics.SOLVER_FAILED]
    tried = failed[-1].solver_failures - failed[0].solver_failures
    require(tried == len(failed) - 1 > 1, f'tried again {tried} times in {len(failed)} ticks')
    require(robot.get_parameter('planner.horizon') == 40, 'the node stays answerable')
    seen = robot.logged('mpc_node', 'Traceback')
    robot.change(fault='')
    robot.set_off()
    return Reaction(
        stop_sec - start_sec, ('status SOLVER_FAILED', 'result SOLVER_FAILED', seen)
    )


@scenario(
    16, fault='horizon, iterations and noise change on the way', robot='robot',
    promise='applied at the next tick; the warm start is reshaped, not dropped; no zero command',
    measured='request → first tick with the new value, the slowest of four',
    bound_sec=2 * PERIOD_SEC,
)  # fmt: skip
def retuned(robot: Robot) -> Reaction:
    robot.place(0.25, 0.1)
    robot.set_off()
    start_sec, slowest_sec = robot.now_sec(), 0.0
    changes = (
        ({'planner__horizon': 20}, lambda r: r.horizon == 20),
        ({'planner__horizon': 30}, lambda r: r.horizon == 30),
        ({'planner__iterations': 2}, lambda r: r.iterations == 2),
        ({'planner__noise_scale': 0.0, 'planner__iterations': 3}, lambda r: r.iterations == 3),
    )
    for values, applied in changes:
        asked_sec = robot.now_sec()
        robot.change(**values)
        report = robot.first('solver_statistics', applied, after_sec=asked_sec, what=str(values))
        slowest_sec = max(slowest_sec, at_sec(report) - asked_sec)
    end_sec = robot.now_sec()
    reports = robot.between('solver_statistics', start_sec, end_sec)
    require(all(map(drives, reports)), 'every tick drives')
    solved = [r for r in reports if r.status == SolverStatistics.SOLVED]
    require(all(r.warm_start_used for r in solved), 'every solve starts warm')
    require(all(map(moves, robot.between('cmd_vel', start_sec, end_sec))), 'no zero command')
    return Reaction(slowest_sec, ('statistics horizon, iterations, warm_start_used',))

# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Rows 19, 20, 25 and 26 of the fault table: processes that die, names, numbers on the wire."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys

import yaml
from rcl_interfaces.srv import GetParameters
from rclpy.parameter import parameter_value_to_python

from grasp_ros.msg import GateStatus, SolverStatistics
from grasp_ros.node.processes import NodeProcess, environment
from grasp_ros.reliability.gate_faults import READY_SEC
from grasp_ros.reliability.rig import LIMIT_SEC, Result, Rig, speed
from grasp_ros.reliability.robot import (
    COMMAND_TIMEOUT_SEC,
    PERIOD_SEC,
    Robot,
    at_sec,
    drives,
    moves,
)
from grasp_ros.reliability.scenario import Reaction, require, scenario
from grasp_ros.reliability.solver_faults import LAST_COMMAND, WATCHDOG_SEC, stopped_by_gate

NODES = ('mpc_node', 'gate_node', 'sim_node')
STARTED = (SolverStatistics.NO_IMAGE, SolverStatistics.NO_GOAL)


@scenario(
    20, fault='SIGKILL to the controller', robot='robot', bound_sec=WATCHDOG_SEC,
    promise='stopped by the gate', measured=LAST_COMMAND,
)  # fmt: skip
def killed(robot: Robot) -> Reaction:
    robot.set_off()
    fault_sec = robot.now_sec()
    robot.processes['mpc_node'].kill()
    reaction = stopped_by_gate(robot, after_sec=fault_sec)
    robot.forget_goal()
    return reaction


@scenario(
    20, fault='the controller is started again after SIGKILL', robot='robot',
    promise='ready again within 5 s, no other restart needed; a new goal alone moves nothing, a '
    're-arm does',
    measured='start of the process → first tick', bound_sec=READY_SEC,
)  # fmt: skip
def restarted(robot: Robot) -> Reaction:
    robot.set_off()
    robot.processes['mpc_node'].kill()
    robot.gate(GateStatus.REASON_COMMAND_TIMEOUT)
    start_sec = robot.now_sec()
    robot.boot('mpc_node')
    tick = robot.first(
        'solver_statistics', lambda r: r.status in STARTED, after_sec=start_sec, what='a tick'
    )
    robot.report(SolverStatistics.NO_GOAL, after_sec=start_sec)
    robot.forget_goal()
    robot.send_goal(robot.goal_image(0.75, 0.3))
    driving = robot.first('action', moves, after_sec=start_sec, what='a controller that drives')
    robot.watch(3 * PERIOD_SEC)
    passed = robot.between('cmd_vel', at_sec(driving), math.inf)
    require(passed and not any(map(speed, passed)), 'the goal alone moves nothing')
    robot.enable()
    robot.first('cmd_vel', moves, after_sec=robot.now_sec(), what='motion')
    return Reaction(at_sec(tick) - start_sec, ('gate CONTROLLER_RESTARTED or REARM_NEEDED',))


def _ended(robot: Robot, number: int) -> Reaction:
    ended = robot.set_off().get_result_async()
    asked_sec = robot.now_sec()
    code = robot.processes['mpc_node'].stop(number)
    require(code == 0, f'the exit code is {code}')
    result = robot.result_of(ended, 'the end of the goal').result
    require(result.code == Result.DEACTIVATED, f'the result is {result.code}: {result.reason}')
    robot.forget_goal()
    stop_sec = robot.stop(after_sec=asked_sec)
    robot.report(SolverStatistics.INACTIVE, after_sec=asked_sec)
    require(speed(robot.heard['action'][-1]) == 0.0, 'the last command is the safe one')
    return Reaction(stop_sec - asked_sec, ('exit code 0', 'status INACTIVE', 'result DEACTIVATED'))


@scenario(
    20, fault='SIGTERM to the controller on the way', robot='robot', bound_sec=3 * PERIOD_SEC,
    promise='exit code 0, the safe command is its last message, the goal ends with DEACTIVATED',
    measured='signal → zero at the robot',
)  # fmt: skip
def terminated(robot: Robot) -> Reaction:
    return _ended(robot, signal.SIGTERM)


@scenario(
    20, fault='SIGINT to the controller on the way', robot='robot', bound_sec=3 * PERIOD_SEC,
    promise='exit code 0, the safe command is its last message, the goal ends with DEACTIVATED',
    measured='signal → zero at the robot',
)  # fmt: skip
def interrupted(robot: Robot) -> Reaction:
    return _ended(robot, signal.SIGINT)


@scenario(
    20, fault='a second controller node of the same name', robot='robot', bound_sec=READY_SEC,
    promise='stopped by the gate with the reason until one is gone and the gate is re-armed',
    measured='first tick of the second → zero at the robot; the gate has yet to discover it',
)  # fmt: skip
def second_node(robot: Robot) -> Reaction:
    robot.change('gate_node', gate__speed_scale=0.1)  # it is under way for as long as this takes
    robot.set_off()
    most = robot.first('solver_statistics', drives).tick

    def is_of_second(report: SolverStatistics) -> bool:
        # It counts its ticks from one, later than the first did.
        nonlocal most
        most = max(most, report.tick)
        return report.tick < most

    after_sec = robot.now_sec()
    second = NodeProcess(
        'mpc_node',
        log=robot.folder / 'second_node.log',
        env=robot.env,
        namespace=robot.namespace,
    )
    try:
        tick = robot.first(
            'solver_statistics', is_of_second, after_sec=after_sec, what='its tick',
            limit_sec=2 * LIMIT_SEC,
        )  # fmt: skip
        # The client, too, may have discovered the second only after some ticks.
        first_tick_sec = at_sec(tick) - (tick.tick - 1) * PERIOD_SEC
        stopped = robot.gate(GateStatus.REASON_CONTROLLER_RESTARTED)
        stop_sec = robot.stop(after_sec=at_sec(stopped) - PERIOD_SEC)
        robot.enable()
        # Not the stop before, which lasts: killed then, the second would not be told of.
        robot.gate(GateStatus.REASON_CONTROLLER_RESTARTED, after_sec=robot.now_sec())
    finally:
        second.kill()
    seen = 'log "another controller sends commands"'
    robot.logged('gate_node', seen[5:-1], times=2)
    return Reaction(stop_sec - first_tick_sec, ('gate CONTROLLER_RESTARTED', seen))


@scenario(
    25, fault='a second instance: other namespace, other node name with a parameter file of that '
    'name, remapped topics',
    robot='robot', bound_sec=COMMAND_TIMEOUT_SEC,
    promise='works beside the first, which is not disturbed',
    measured='largest time between two commands of the first while the second starts and runs',
)  # fmt: skip
def second_instance(robot: Robot) -> Reaction:
    # The first is under way for as long as the second takes to start, on a busy machine too.
    robot.change(goal__no_progress_sec=0.0)
    robot.change('gate_node', gate__speed_scale=0.05)
    robot.set_off()
    file = robot.folder / 'driver.yaml'
    values = {'planner': {'horizon': 17}, 'frame_id': 'trolley'}
    file.write_text(yaml.safe_dump({'/two/driver': {'ros__parameters': values}}))
    start_sec = robot.now_sec()
    two = Rig(robot.client, '/two', robot.folder)
    two.processes['driver'] = NodeProcess(
        'mpc_node', log=robot.folder / 'driver.log', env=robot.env, namespace='/two',
        params_file=file,
        remap={'__node': 'driver', 'image_raw': '/robot/image_raw', 'action': 'cmd_vel'},
    )  # fmt: skip
    try:
        two.wait_for_next('solver_statistics', lambda r: r.status in STARTED)
        command = two.wait_for_next('cmd_vel')
        require(command.header.frame_id == 'trolley', 'the file of its name is read')
        request = GetParameters.Request(names=['planner.horizon'])
        response = two.call(GetParameters, 'driver/get_parameters', request)
        require(parameter_value_to_python(response.values[0]) == 17, 'the file is read')
        robot.watch(1.0)
    finally:
        two.close()
    first = robot.between('solver_statistics', start_sec, math.inf)
    require(first and all(map(drives, first)), 'the first drives on')
    times = [at_sec(a) for a in robot.between('action', start_sec, math.inf)]
    gap_sec = max(b - a for a, b in zip(times, times[1:]))
    return Reaction(gap_sec, ('statistics', 'parameters'))


@scenario(
    19, fault='np.float32, int and torch scalars for message fields, field checks on and off',
    robot='none', once=True, bound_sec=1e-6,
    promise='one place casts: what arrives is what was meant',
    measured='largest error of a value that went over the wire and back (a number, no time)',
)  # fmt: skip
def round_trip(robot: Robot) -> Reaction:
    runs = [
        subprocess.Popen(
            [sys.executable, '-m', 'grasp_ros.reliability.round_trip'],
            env=environment() | {'ROS_PYTHON_CHECK_FIELDS': checks},
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for checks in ('0', '1')
    ]  # fmt: skip
    errors = []
    for run in runs:
        out, problem = run.communicate(timeout=30.0)
        require(run.returncode == 0, problem)
        errors.append(float(out))
    return Reaction(max(errors), ('values of the messages',))


@scenario(
    26, fault='the message package is missing', robot='none', once=True, bound_sec=30.0,
    promise='an import error that names the command to build it, from all three nodes',
    measured='start → exit of the slowest',
)  # fmt: skip
def no_messages(robot: Robot) -> Reaction:
    start_sec = robot.now_sec()
    hidden = 'import sys; sys.modules["grasp_ros.msg"] = None; import grasp_ros.node.'
    runs = [
        subprocess.Popen(
            [sys.executable, '-c', hidden + node], env=dict(os.environ), stderr=subprocess.PIPE,
            text=True,
        )
        for node in NODES
    ]  # fmt: skip
    for node, run in zip(NODES, runs, strict=True):
        _, error = run.communicate(timeout=30.0)
        require(run.returncode == 1, f'{node} ends with {run.returncode}')
        cures = 'GRASP_ROS_MESSAGES=1', 'colcon build'
        require(all(cure in error for cure in cures), f'{node} names the cure: {error}')
    return Reaction(robot.now_sec() - start_sec, ('ImportError',))

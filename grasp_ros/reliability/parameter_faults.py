# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Row 15 of the fault table: parameters that cannot be."""

from __future__ import annotations

import math
import random
from typing import Any

from rcl_interfaces.srv import GetParameters, SetParameters
from rclpy.parameter import Parameter as RosParameter
from rclpy.parameter import parameter_value_to_python

from grasp_ros.node import tables
from grasp_ros.node.parameters import Parameter
from grasp_ros.reliability.robot import PERIOD_SEC, Robot, at_sec, drives
from grasp_ros.reliability.scenario import Reaction, require, scenario

COUNT = 60
# Values that are in range, and yet cannot be: each with a word of the reason.
CONTRADICTIONS = (
    ('control.deadline_sec', 0.2, 'control period'),
    ('control.max_action', [0.1], 'entries given'),
    ('control.max_action', [0.1, 0.0], 'no room around zero'),
    ('control.max_action_rate', [1.0, 1.0, 1.0], 'entries given'),
    ('control.rate', 20.0, 'clean the node up first'),
    ('model.path', 'two_rooms_no_metric', 'clean the node up first'),
    ('autostart', False, 'read-only'),
    ('no.such.parameter', 1, 'undeclared'),
)


def bad_values(parameter: Parameter, draw: random.Random) -> list[Any]:
    """Values that a parameter must refuse, whatever it is."""
    kind = parameter.kind
    wrong_types = {
        'bool': [1, 0.5, 'true'],
        'integer': [0.5, 'ten', True, [1]],
        'double': [1, '0.5', False, [0.5]],
        'string': [1, 0.5, True],
        'double[]': [0.5, ['x'], [1]],
        'string[]': ['linear.x', [1.0]],
    }[kind]
    bad = [None, draw.choice(wrong_types)]
    if kind in ('double', 'double[]'):
        numbers = [math.nan, math.inf, -math.inf]
        numbers += [] if parameter.low is None else [parameter.low - draw.uniform(1e-3, 1e3)]
        numbers += [] if parameter.high is None else [parameter.high * draw.uniform(1.1, 1e3)]
        bad += [[n] if kind == 'double[]' else n for n in map(float, numbers)]
    elif kind == 'integer':
        bad += [parameter.low - draw.randint(1, 100), parameter.high + draw.randint(1, 100)]
    elif parameter.choices:
        bad.append('gripper')
    return bad


@scenario(
    15, fault=f'{COUNT} random parameters out of range, NaN, of a wrong type, read-only, '
    'undeclared, contradicting',
    robot='robot', bound_sec=2 * PERIOD_SEC,
    promise='each is refused with a reason that names the cure; nothing changes; the solver '
    'does not notice',
    measured='largest time between two commands of the controller meanwhile',
)  # fmt: skip
def fuzzed_parameters(robot: Robot) -> Reaction:
    robot.place(0.25, 0.1)
    robot.set_off()
    draw = random.Random(int(1e6 * robot.now_sec()))
    requests = [
        (p.name, value, p.name) for p in tables.MPC if p.changes == 'tick'
        for value in bad_values(p, draw)
    ]  # fmt: skip
    requests = [*draw.sample(requests, COUNT - len(CONTRADICTIONS)), *CONTRADICTIONS]
    names = [p.name for p in tables.MPC]
    before = _values(robot, names)
    start_sec = robot.now_sec()
    for name, value, cure in draw.sample(requests, len(requests)):
        request = SetParameters.Request()
        request.parameters.append(RosParameter(name, value=value).to_parameter_msg())
        (result,) = robot.call(SetParameters, 'mpc_node/set_parameters', request).results
        require(not result.successful, f'{name} = {value} is refused')
        require(cure in result.reason, f'{name} = {value}: "{cure}" is in "{result.reason}"')
    robot.watch(2 * PERIOD_SEC)
    end_sec = robot.now_sec()
    require(_values(robot, names) == before, 'nothing has changed')
    reports = robot.between('solver_statistics', start_sec, end_sec)
    require(all(map(drives, reports)), 'the robot drives on')
    times = [at_sec(a) for a in robot.between('action', start_sec, end_sec)]
    return Reaction(max(b - a for a, b in zip(times, times[1:])), ('reasons of the refusals',))


def _values(robot: Robot, names: list[str]) -> list[Any]:
    request = GetParameters.Request(names=names)
    response = robot.call(GetParameters, 'mpc_node/get_parameters', request)
    return list(map(parameter_value_to_python, response.values))

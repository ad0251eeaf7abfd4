# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The message in which the gate sends the robot its commands.

What comes in here has passed the gate: it is finite and within the limits. A command of zero, the
safe one, is zero in every message; a trajectory ends with it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from builtin_interfaces.msg import Time
from geometry_msgs.msg import Twist, TwistStamped
from std_msgs.msg import Float64MultiArray

from grasp_ros.control.gate import Gate
from grasp_ros.control.outlook import Outlook
from grasp_ros.errors import ConfigError
from grasp_ros.node import messages
from grasp_ros.node.layouts import ArrayLayout
from grasp_ros.node.trajectories import Trajectories


@dataclass(frozen=True)
class Output:
    """What the robot is sent.

    :param kind: type of the messages
    :param message: makes one of a command, its stamp and the frame that it is meant in; the
        command is six numbers, linear in m/s, then angular in rad/s
    """

    kind: type
    message: Callable[[Sequence[float], Time, str], Any]


def make(values: Mapping[str, Any], gate: Gate) -> Output | Trajectories:
    """The output that the parameters of the gate ask for.

    :param gate: whose commands it is for
    :raises ConfigError: when joints, fields and scales do not fit each other or the type
    """
    kind, joints, fields, scales = (
        values[f'gate.output_{name}'] for name in ('type', 'joints', 'fields', 'scales')
    )
    if joints and kind != 'JointTrajectory':
        raise ConfigError(
            f'gate.output_joints is for a JointTrajectory, a {kind} names none: leave it empty'
        )
    if kind in ('Float64MultiArray', 'JointTrajectory'):
        layout = ArrayLayout(fields, scales)
        if kind == 'Float64MultiArray':
            return Output(
                Float64MultiArray, lambda command, stamp, frame_id: layout.message(command)
            )
        if len(joints) != len(layout) or len(set(joints)) != len(joints):
            raise ConfigError(
                f'gate.output_joints: {len(set(joints))} joints named, write the names of '
                f'{len(layout)}, one for each entry of gate.output_fields'
            )
        return Trajectories(joints, layout, Outlook(gate))
    if fields or scales:
        raise ConfigError(
            'gate.output_fields and gate.output_scales are for a Float64MultiArray or a '
            f'JointTrajectory, a {kind} has its own: leave them empty; control.output_fields says '
            'which action goes where'
        )
    if kind == 'Twist':
        return Output(Twist, lambda *command: messages.twist(*command).twist)
    return Output(TwistStamped, messages.twist)

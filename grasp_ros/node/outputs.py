# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The message in which the gate sends the robot its commands.

What comes in here has passed the gate: it is finite and within the limits. A command of zero, the
safe one, is zero in every message; in a trajectory it is the last point, where the robot holds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from builtin_interfaces.msg import Time
from geometry_msgs.msg import Twist, TwistStamped
from std_msgs.msg import Float64MultiArray
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from grasp_ros.control.outlook import STEP_SEC
from grasp_ros.errors import ConfigError
from grasp_ros.node import messages
from grasp_ros.node.messages import TWIST_FIELDS


@dataclass(frozen=True)
class Output:
    """What the robot is sent.

    :param kind: type of the messages
    :param message: makes one of commands, the present stamp, and the frame that they are meant
        in. A command is six numbers, linear in m/s, then angular in rad/s; there is one, or where
        the robot is told ahead of time all of :meth:`~grasp_ros.control.outlook.Outlook.renew`
    :param is_ahead: whether it is
    """

    kind: type
    message: Callable[[Sequence[Sequence[float]], Time, str], Any]
    is_ahead: bool = False


def make(values: Mapping[str, Any]) -> Output:
    """The output that the parameters of the gate ask for.

    :raises ConfigError: when joints, fields and scales do not fit each other or the type
    """
    kind, joints, fields, scales = (
        values[f'gate.output_{name}'] for name in ('type', 'joints', 'fields', 'scales')
    )
    if joints and kind != 'JointTrajectory':
        raise ConfigError(
            f'gate.output_joints is for a JointTrajectory, a {kind} names none: leave it empty'
        )
    if kind in ('TwistStamped', 'Twist') and (fields or scales):
        raise ConfigError(
            'gate.output_fields and gate.output_scales are for a Float64MultiArray or a '
            f'JointTrajectory, a {kind} has its own: leave them empty; control.output_fields says '
            'which action goes where'
        )
    if kind == 'TwistStamped':
        return Output(
            TwistStamped, lambda commands, stamp, frame: messages.twist(*commands, stamp, frame)
        )
    if kind == 'Twist':
        return Output(
            Twist, lambda commands, stamp, frame: messages.twist(*commands, stamp, frame).twist
        )
    layout = ArrayLayout(fields, scales)
    if kind == 'Float64MultiArray':
        return Output(Float64MultiArray, lambda commands, stamp, frame: layout.array(*commands))
    if len(joints) != len(layout) or len(set(joints)) != len(joints):
        raise ConfigError(
            f'gate.output_joints: {len(set(joints))} joints named, write the names of '
            f'{len(layout)}, one for each entry of gate.output_fields'
        )
    return Output(
        JointTrajectory,
        lambda commands, stamp, frame: layout.trajectory(joints, commands),
        is_ahead=True,
    )


class ArrayLayout:
    """Which number of a command each entry of an array is, or each joint has, and times what.

    :param fields: one of :data:`TWIST_FIELDS` for each entry, the same one more than once if need
        be; empty = all six
    :param scales: factor on each entry, finite; empty = 1
    :raises ConfigError: when a field does not exist, or there are not as many scales
    """

    def __init__(self, fields: Sequence[str], scales: Sequence[float]) -> None:
        fields = fields or TWIST_FIELDS
        for name in fields:
            if name not in TWIST_FIELDS:
                raise ConfigError(
                    f'gate.output_fields: "{name}" is no field of a twist: write some of '
                    f'{", ".join(TWIST_FIELDS)}'
                )
        if scales and len(scales) != len(fields):
            raise ConfigError(
                f'gate.output_scales: {len(scales)} entries given, write {len(fields)}, one for '
                f'each of {", ".join(fields)}'
            )
        self._entries = [
            (TWIST_FIELDS.index(name), scale)
            for name, scale in zip(fields, scales or [1.0] * len(fields), strict=True)
        ]

    def __len__(self) -> int:
        return len(self._entries)

    def numbers(self, command: Sequence[float]) -> list[float]:
        """The entries of a command."""
        return [float(scale * command[index]) for index, scale in self._entries]

    def array(self, command: Sequence[float]) -> Float64MultiArray:
        """The array of a command."""
        return Float64MultiArray(data=self.numbers(command))

    def trajectory(
        self, joints: Sequence[str], commands: Sequence[Sequence[float]]
    ) -> JointTrajectory:
        """The velocities of joints, from where they are when it arrives.

        The gate does not know where the joints are; joint_trajectory_controller integrates, with
        ``allow_integration_in_goal_trajectories``. It holds where the velocity has become zero. A
        trajectory without points, which meant that in ROS 1, it refuses, and goes on moving.

        :param joints: their names
        :param commands: :data:`~grasp_ros.control.outlook.STEP_SEC` apart, the last one zero
        """
        # No stamp, which means "now": of a trajectory whose first points are past by another
        # clock the controller would read positions that are not there.
        message = JointTrajectory(joint_names=list(joints))
        for n, command in enumerate(commands, start=1):
            message.points.append(
                JointTrajectoryPoint(
                    velocities=self.numbers(command),
                    time_from_start=messages.to_duration(n * STEP_SEC),
                )
            )
        return message

# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The message in which the gate sends the robot its commands.

What comes in here has passed the gate: it is finite and within the limits. A command of zero, the
safe one, is zero in every message.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from builtin_interfaces.msg import Time
from geometry_msgs.msg import Twist, TwistStamped
from std_msgs.msg import Float64MultiArray

from grasp_ros.errors import ConfigError
from grasp_ros.node import messages
from grasp_ros.node.twists import TWIST_FIELDS


@dataclass(frozen=True)
class Output:
    """What the robot is sent.

    :param kind: type of the messages
    :param message: makes one of a command, its stamp and the frame that it is meant in; the
        command is six numbers, linear in m/s, then angular in rad/s
    """

    kind: type
    message: Callable[[Sequence[float], Time, str], Any]


def make(values: Mapping[str, Any]) -> Output:
    """The output that the parameters of the gate ask for.

    :raises ConfigError: when fields and scales do not fit each other or the type
    """
    kind, fields, scales = (values[f'gate.output_{name}'] for name in ('type', 'fields', 'scales'))
    if kind == 'Float64MultiArray':
        layout = ArrayLayout(fields, scales)
        return Output(Float64MultiArray, lambda command, stamp, frame_id: layout.message(command))
    if fields or scales:
        raise ConfigError(
            f'gate.output_fields and gate.output_scales are for a Float64MultiArray, a {kind} has '
            'its own: leave them empty; control.output_fields says which action goes where'
        )
    if kind == 'Twist':
        return Output(Twist, lambda *command: messages.twist(*command).twist)
    return Output(TwistStamped, messages.twist)


class ArrayLayout:
    """Which number of a command each entry of an array is, and times what.

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

    def message(self, command: Sequence[float]) -> Float64MultiArray:
        """The array of a command."""
        data = [float(scale * command[index]) for index, scale in self._entries]
        return Float64MultiArray(data=data)

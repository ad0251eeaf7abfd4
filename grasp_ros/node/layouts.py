# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Which number of a command goes where, in a message to the robot that is no twist."""

from __future__ import annotations

from collections.abc import Sequence

from std_msgs.msg import Float64MultiArray

from grasp_ros.errors import ConfigError
from grasp_ros.node.twists import TWIST_FIELDS


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

    def message(self, command: Sequence[float]) -> Float64MultiArray:
        """The array of a command."""
        return Float64MultiArray(data=self.numbers(command))

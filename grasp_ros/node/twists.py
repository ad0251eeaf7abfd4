# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Which entry of an action goes where in a twist. No ROS in here."""

from __future__ import annotations

from collections.abc import Sequence

from grasp_ros.errors import ConfigError

TWIST_FIELDS = ('linear.x', 'linear.y', 'linear.z', 'angular.x', 'angular.y', 'angular.z')


class TwistLayout:
    """Which entry of an action goes to which field of a twist, and times what.

    :param fields: one of :data:`TWIST_FIELDS` for each entry of the action
    :param scales: for each entry of the action, from its unit to that of the twist
    :param parameter: that named the fields, for the errors
    :raises ConfigError: when a field does not exist or is named twice
    """

    def __init__(
        self,
        fields: Sequence[str],
        scales: Sequence[float],
        *,
        parameter: str = 'control.output_fields',
    ) -> None:
        for name in fields:
            if name not in TWIST_FIELDS:
                raise ConfigError(
                    f'action "{name}" is no field of a twist: set {parameter} to '
                    f'{len(fields)} of {", ".join(TWIST_FIELDS)}'
                )
        if len(set(fields)) != len(fields):
            raise ConfigError(f'two actions go to one field of the twist: {", ".join(fields)}')
        self._entries = [
            (TWIST_FIELDS.index(name), scale) for name, scale in zip(fields, scales, strict=True)
        ]

    def command(self, action: Sequence[float]) -> tuple[float, ...]:
        """The six numbers of the twist, linear then angular."""
        values = [0.0] * len(TWIST_FIELDS)
        for (index, scale), value in zip(self._entries, action, strict=True):
            values[index] = float(scale * value)
        return tuple(values)

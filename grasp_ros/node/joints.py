# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Which numbers of a ``sensor_msgs/JointState`` are the proprioception of a model."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from sensor_msgs.msg import JointState

from grasp_ros.errors import ConfigError, ObservationError

QUANTITIES = ('position', 'velocity', 'effort')


class JointReader:
    """Reads signals out of joint states, in the units that those have: rad or m, and so on.

    :param fields: ``<joint>/position``, ``<joint>/velocity`` or ``<joint>/effort`` for each
        signal, as ros2_control names its interfaces
    :raises ConfigError: when one is none of these
    """

    def __init__(self, fields: Sequence[str]) -> None:
        self._fields = []
        for field in fields:
            joint, _, quantity = field.rpartition('/')  # a joint may have a prefix with one
            if not joint or quantity not in QUANTITIES:
                raise ConfigError(
                    f'proprioception.fields: "{field}" given, write e.g. joint1/position, with '
                    f'one of {", ".join(QUANTITIES)}'
                )
            self._fields.append((joint, quantity))
        self._joints = {joint for joint, _ in self._fields}

    def concerns(self, message: JointState) -> bool:
        """Whether a message is about any of our joints; grippers and wheels send their own."""
        return not self._joints.isdisjoint(message.name)

    def read(self, message: JointState) -> np.ndarray:
        """The signals, float64 ``[P]``.

        :raises ObservationError: when one is missing or not finite
        """
        places = {name: place for place, name in enumerate(message.name)}
        values = []
        for joint, quantity in self._fields:
            place, numbers = places.get(joint), getattr(message, quantity)
            if place is None or place >= len(numbers):
                raise ObservationError(f'joint state without {quantity} of {joint}')
            values.append(numbers[place])
        signals = np.array(values, dtype=np.float64)
        if not np.isfinite(signals).all():
            raise ObservationError('joint state with values that are not finite')
        return signals

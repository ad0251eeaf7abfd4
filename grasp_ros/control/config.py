# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The settings of a controller."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from grasp_ros.control.warm_start import WarmStartMode
from grasp_ros.errors import ConfigError

Schedule = Literal['after_frame', 'ahead']


@dataclass(frozen=True)
class ControllerConfig:
    """Settings of :class:`~grasp_ros.control.controller.Controller`.

    :param deadline_sec: time for encode and solve in one tick; 0 = none (fixed iterations)
    :param image_timeout_sec: age above which a frame is stale
    :param warm_start: ``full``, ``actions`` or ``none``
    :param schedule: ``after_frame`` or ``ahead``
    :param feedback_updates: Gauss-Newton updates of the first action after the frame, in schedule
        ``ahead``; 0 = the prepared plan is applied as it is
    :param latency_compensation: whether plans begin where their first action takes effect; else
        where the frame was taken
    :param actuator_delay_sec: from a command being sent to the robot following it
    :raises ConfigError: when a value is out of range
    """

    deadline_sec: float = 0.0
    image_timeout_sec: float = 0.5
    warm_start: WarmStartMode = 'full'
    schedule: Schedule = 'ahead'
    feedback_updates: int = 1
    latency_compensation: bool = True
    actuator_delay_sec: float = 0.0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.deadline_sec) and self.deadline_sec >= 0):
            raise ConfigError(f'deadline_sec must be finite and >= 0, is {self.deadline_sec}')
        if not (math.isfinite(self.image_timeout_sec) and self.image_timeout_sec > 0):
            raise ConfigError(f'image_timeout_sec must be positive, is {self.image_timeout_sec}')
        if self.warm_start not in ('none', 'actions', 'full'):
            raise ConfigError(f'warm_start must be none, actions or full, is {self.warm_start}')
        if self.schedule not in ('after_frame', 'ahead'):
            raise ConfigError(f'schedule must be after_frame or ahead, is {self.schedule}')
        if self.feedback_updates < 0:
            raise ConfigError(f'feedback_updates must be >= 0, is {self.feedback_updates}')
        if not (math.isfinite(self.actuator_delay_sec) and self.actuator_delay_sec >= 0):
            raise ConfigError(
                f'actuator_delay_sec must be finite and >= 0, is {self.actuator_delay_sec}'
            )

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
    :param innovation_limit: innovation that counts as large; 0 = the card's
    :param drop_innovation: multiple of it above which plan and warm start are dropped; 0 = never
    :param drop_failures: failed solves in a row after which they are
    :param unforeseen_frames: frames in a row with a large innovation that stop the robot; 0 = none
    :param frozen_frames: the same of frames that do not change though it should move; 0 = none
    :raises ConfigError: when a value is out of range
    """

    deadline_sec: float = 0.0
    image_timeout_sec: float = 0.5
    warm_start: WarmStartMode = 'full'
    schedule: Schedule = 'ahead'
    feedback_updates: int = 1
    latency_compensation: bool = True
    actuator_delay_sec: float = 0.0
    innovation_limit: float = 0.0
    drop_innovation: float = 200.0
    drop_failures: int = 2
    unforeseen_frames: int = 6
    frozen_frames: int = 5

    def __post_init__(self) -> None:
        if not (math.isfinite(self.deadline_sec) and self.deadline_sec >= 0):
            raise ConfigError(f'deadline_sec must be finite and >= 0, is {self.deadline_sec}')
        if not (math.isfinite(self.image_timeout_sec) and self.image_timeout_sec > 0):
            raise ConfigError(f'image_timeout_sec must be positive, is {self.image_timeout_sec}')
        if self.warm_start not in ('none', 'actions', 'full'):
            raise ConfigError(f'warm_start must be none, actions or full, is {self.warm_start}')
        if self.schedule not in ('after_frame', 'ahead'):
            raise ConfigError(f'schedule must be after_frame or ahead, is {self.schedule}')
        for name in ('feedback_updates', 'unforeseen_frames', 'frozen_frames'):
            if getattr(self, name) < 0:
                raise ConfigError(f'{name} must be >= 0, is {getattr(self, name)}')
        for name in ('actuator_delay_sec', 'innovation_limit', 'drop_innovation'):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise ConfigError(f'{name} must be finite and >= 0, is {value}')
        if self.drop_failures < 1:
            raise ConfigError(f'drop_failures must be >= 1, is {self.drop_failures}')

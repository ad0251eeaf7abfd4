# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""When a goal is over: reached, out of time, or no longer getting nearer."""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass

from grasp_ros.errors import ConfigError


class GoalState(enum.Enum):
    """What became of a goal; the value is the reason in words."""

    RUNNING = 'on the way'
    REACHED = 'the latent distance stayed under the tolerance for the dwell time'
    TIMEOUT = 'the time limit passed before the goal was reached'
    NO_PROGRESS = 'the latent distance has not become smaller for too long'


@dataclass(frozen=True)
class GoalConfig:
    """Settings of :class:`GoalMonitor`.

    :param tolerance: :meth:`WorldModel.cost` under which the robot counts as being there
    :param dwell_sec: how long it must stay there
    :param timeout_sec: time limit; 0 = none
    :param no_progress_sec: time without a new smallest distance after which to give up; 0 = never
    :param progress_ratio: a new smallest distance counts from this fraction below the last one
    :raises ConfigError: when a value is out of range or not finite
    """

    tolerance: float
    dwell_sec: float = 0.5
    timeout_sec: float = 60.0
    no_progress_sec: float = 15.0
    progress_ratio: float = 0.02

    def __post_init__(self) -> None:
        if not (math.isfinite(self.tolerance) and self.tolerance > 0):
            unknown = '' if self.tolerance else ': the card knows none, so set goal.tolerance'
            raise ConfigError(f'goal tolerance must be positive, is {self.tolerance}{unknown}')
        if not 0 <= self.progress_ratio < 1:
            raise ConfigError(f'progress_ratio must lie in [0, 1), is {self.progress_ratio}')
        for name in ('dwell_sec', 'timeout_sec', 'no_progress_sec'):
            if not (math.isfinite(getattr(self, name)) and getattr(self, name) >= 0):
                raise ConfigError(f'{name} must be finite and >= 0, is {getattr(self, name)}')


class GoalMonitor:
    """Follows one goal from acceptance to its end.

    :param config: limits
    :param now_sec: when the goal was accepted, on any steady clock
    """

    def __init__(self, config: GoalConfig, *, now_sec: float) -> None:
        self.config = config
        self._started_sec = now_sec
        self._progress_sec = now_sec
        self._inside_since_sec: float | None = None
        self._smallest = math.inf

    def elapsed_sec(self, now_sec: float) -> float:
        """Seconds since the goal was accepted."""
        return now_sec - self._started_sec

    def update(
        self, now_sec: float, distance: float | None, *, has_seen: bool = True
    ) -> GoalState:
        """Judge the present latent distance; call it once a tick.

        :param now_sec: present time
        :param distance: of the newest frame; None where it is too old, or where there is none:
            then the dwell time begins anew, because nobody saw that the robot stayed
        :param has_seen: whether that frame is new; the end of the dwell time has to be seen
        """
        config = self.config
        if distance is not None and distance < self._smallest * (1 - config.progress_ratio):
            self._smallest = distance
            self._progress_sec = now_sec
        if distance is None or not distance <= config.tolerance:
            self._inside_since_sec = None
        else:
            if self._inside_since_sec is None:
                self._inside_since_sec = now_sec
            if has_seen and now_sec - self._inside_since_sec >= config.dwell_sec:
                return GoalState.REACHED
            return GoalState.RUNNING
        if config.timeout_sec and now_sec - self._started_sec >= config.timeout_sec:
            return GoalState.TIMEOUT
        if config.no_progress_sec and now_sec - self._progress_sec >= config.no_progress_sec:
            return GoalState.NO_PROGRESS
        return GoalState.RUNNING

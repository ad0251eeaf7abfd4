# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""How well a part is, judged from what was seen of it: a level, words, numbers. No ROS, no torch.

What is shown of it, and where, is :mod:`grasp_ros.node.diagnostics`.
"""

from __future__ import annotations

import enum
import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from grasp_ros.control.gate import Gate, GateOutput, GateReason, GateState

PARTS = ('camera', 'solver', 'deadline', 'warm start')  # of an active controller
HOLD_SEC = 1.0  # a level that flickers is not told at every flicker
WARN_RATE, ERROR_RATE = 0.9, 0.5  # of the control rate, which the camera has to keep up with
_RATE_FRAMES = 10
_FEWEST_FRAMES = 3


class Level(enum.IntEnum):
    """As in ``diagnostic_msgs/DiagnosticStatus``."""

    OK = 0
    WARN = 1
    ERROR = 2


@dataclass(frozen=True)
class Health:
    """What a part is worth now.

    :param level: how bad it is
    :param text: why, in words
    :param values: name with unit -> number, flag or word
    """

    level: Level
    text: str
    values: Mapping[str, float | int | str] = field(default_factory=dict)


class Held:
    """Rises at once to a worse level, falls once it has been better for :data:`HOLD_SEC`."""

    def __init__(self) -> None:
        self._shown = Health(Level.OK, '')
        self._confirmed_sec = -math.inf

    def update(self, health: Health, now_sec: float) -> Health:
        """Take a judgement; what is to be shown: its numbers, under the level that holds.

        :param now_sec: steady clock
        """
        has_held = now_sec - self._confirmed_sec >= HOLD_SEC
        if health.level >= self._shown.level or has_held:
            self._shown, self._confirmed_sec = health, now_sec
        return replace(self._shown, values=health.values)


class CameraState(enum.Enum):
    """The five states of Autoware's topic_state_monitor; the value is their name there."""

    OK = 'OK'
    NOT_RECEIVED = 'NotReceived'
    WARN_RATE = 'WarnRate'
    ERROR_RATE = 'ErrorRate'
    TIMEOUT = 'Timeout'


_CAMERA_LEVELS = {CameraState.OK: Level.OK, CameraState.WARN_RATE: Level.WARN}


class CameraHealth:
    """Whether frames come, often enough.

    Rate and age are by the frames' stamps, on the ROS clock: a simulation that pauses is no fault.

    :param needed_rate_hz: the control rate
    :param now_sec: when the node began to listen, steady clock
    """

    def __init__(self, needed_rate_hz: float, *, now_sec: float) -> None:
        self._needed_rate_hz = needed_rate_hz
        self._since_sec = now_sec
        self._stamps_sec: deque[float] = deque(maxlen=_RATE_FRAMES)
        self._received = 0
        self._held = Held()

    def receive(self, stamp_sec: float) -> None:
        """Take note of a frame.

        :param stamp_sec: on the ROS clock
        """
        if self._stamps_sec and stamp_sec <= self._stamps_sec[-1]:
            self._stamps_sec.clear()  # the clock has jumped back
        self._stamps_sec.append(stamp_sec)
        self._received += 1

    def judge(
        self, *, now_sec: float, ros_sec: float, timeout_sec: float, refused: int, refusal: str
    ) -> Health:
        """What to show of the camera.

        :param now_sec: steady clock
        :param ros_sec: ROS clock
        :param timeout_sec: age above which a frame is stale
        :param refused: how many images were no good
        :param refusal: why there is no newer frame, empty when all is well
        """
        stamps = self._stamps_sec
        age_sec = max(0.0, ros_sec - stamps[-1]) if stamps else math.nan
        rate_hz = math.nan
        if len(stamps) >= _FEWEST_FRAMES:
            rate_hz = (len(stamps) - 1) / (stamps[-1] - stamps[0])
        waited_sec = now_sec - self._since_sec
        state, words = CameraState.OK, f'{rate_hz:.1f} Hz'
        if not stamps and waited_sec <= timeout_sec:
            words = 'the first image may still come'
        elif not stamps:
            state, words = CameraState.NOT_RECEIVED, f'no image in {waited_sec:.1f} s'
        elif age_sec > timeout_sec:
            state, words = CameraState.TIMEOUT, f'the newest image is {age_sec:.2f} s old'
        elif rate_hz < ERROR_RATE * self._needed_rate_hz:
            state = CameraState.ERROR_RATE
        elif rate_hz < WARN_RATE * self._needed_rate_hz:
            state = CameraState.WARN_RATE
        if state in (CameraState.ERROR_RATE, CameraState.WARN_RATE):
            words += f', the controller needs {self._needed_rate_hz:.1f} Hz'
        if refusal:
            words += f'; {refusal}'
        values = {
            'state': state.value,
            'rate_hz': rate_hz,
            'needed_rate_hz': self._needed_rate_hz,
            'image_age_sec': age_sec,
            'image_timeout_sec': timeout_sec,
            'images_received': self._received,
            'images_refused': refused,
        }
        level = _CAMERA_LEVELS.get(state, Level.ERROR)
        return self._held.update(Health(level, f'{state.value}: {words}', values), now_sec)


def of_gate(gate: Gate, output: GateOutput) -> Health:
    """What to show of the gate.

    An error is a stop that nobody has asked for; that nothing moves because someone wants it so,
    or because nothing has been sent yet, is a warning.
    """
    level = Level.ERROR
    if output.state is GateState.PASSING:
        level = Level.OK
    elif output.state is not GateState.STOPPED or output.reason is GateReason.NO_COMMAND:
        level = Level.WARN
    values = {
        'state': output.state.name,
        'reason': output.reason.name,
        'command_age_sec': output.command_age_sec,
        'speed_scale': gate.config.speed_scale,
        'commands_limited': gate.limited,
        'commands_rejected': gate.rejected,
        'command_timeouts': gate.timeouts,
    }
    return Health(level, output.text, values)

# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What a robot that executes trajectories by itself is told, and what it does by that. No ROS.

Such a robot is not sent a command at the gate's rate but, whenever there is something new, all
that the gate would send it from then on. Should the gate die, the robot does what was foreseen and
stops at the command timeout, as if the gate had not.
"""

from __future__ import annotations

from grasp_ros.control.gate import STILL, Command, Gate

STEP_SEC = 0.05  # between two points; a stop "at once" takes as long


class Outlook:
    """The velocities that the robot was last told: lines between points, the last one at rest.

    All times are on the gate's clock.

    :param gate: that everything goes through
    """

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self._points: list[Command] = [STILL]
        self._began_sec = 0.0

    def at(self, now_sec: float) -> Command:
        """The velocity that the robot has at a time by what it was told."""
        place = max(now_sec - self._began_sec, 0.0) / STEP_SEC
        if place >= len(self._points) - 1:
            return self._points[-1]
        index = int(place)
        before, after = self._points[index : index + 2]
        return tuple(b + (place - index) * (a - b) for b, a in zip(before, after, strict=True))

    def fastest(self, from_sec: float, to_sec: float) -> Command:
        """The largest amount of each of the six numbers in between, by what it was told last."""
        speeds = [self.at(t) for t in self._times(from_sec, to_sec)]
        return tuple(max(map(abs, values)) for values in zip(*speeds))

    def travelled(self, from_sec: float, to_sec: float) -> Command:
        """How far it gets in between: the integral of :meth:`at`."""
        times = self._times(from_sec, to_sec)
        speeds = [self.at(t) for t in times]
        return tuple(
            sum(
                (end - begin) * (before[n] + after[n]) / 2
                for begin, end, before, after in zip(times, times[1:], speeds, speeds[1:])
            )
            for n in range(len(STILL))
        )

    def _times(self, from_sec: float, to_sec: float) -> list[float]:
        """Both, and those of the points in between."""
        points = (self._began_sec + n * STEP_SEC for n in range(len(self._points)))
        return [from_sec, *(t for t in points if from_sec < t < to_sec), to_sec]

    def renew(self, now_sec: float) -> list[Command]:
        """Look ahead anew, from what the robot does now.

        :return: that, and what it is to be told to do :data:`STEP_SEC` from now, and so on
        """
        present = self.at(now_sec)
        ahead = self._gate.ahead(present, now_sec=now_sec, period_sec=STEP_SEC)
        self._points, self._began_sec = [present, *ahead], now_sec
        return self._points

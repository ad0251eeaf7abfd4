# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Watches all that the gate sends to the robot, whatever is being tried meanwhile.

A command must be finite and within the limits, zero while the gate is not armed or says that it
stops the robot, and none may come of a goal that is over. Messages of several topics arrive in any
order, so they are judged together, by their stamps, in :meth:`Watcher.verdict`. All times are ROS
time in seconds.
"""

from __future__ import annotations

import bisect
import math
from dataclasses import dataclass, field
from typing import Any

from geometry_msgs.msg import TwistStamped

from grasp_ros.msg import GateStatus, SolverStatistics
from grasp_ros.node import messages
from grasp_ros.node.images import stamp_sec

DRIVING = (SolverStatistics.SOLVED, SolverStatistics.IN_BLOCK, SolverStatistics.PREVIOUS_PLAN)
_ROUNDING = 1e-6  # of commands, which are float32 in the controller
STAMPED_SEC = 0.01  # after the time that a limit was computed with, on a busy machine


@dataclass
class Limits:
    """What the gate was told.

    :param linear: largest linear speed, m/s
    :param angular: largest angular speed, rad/s
    :param deceleration: of a stop, m/s^2 and rad/s^2; 0 = at once
    """

    linear: float
    angular: float
    deceleration: float = 0.0


@dataclass
class Watcher:
    """Collects what was sent and what was asked for, and judges it.

    :param limits: of the gate; may be replaced between two verdicts
    """

    limits: Limits
    commands: list[TwistStamped] = field(default_factory=list)
    statuses: list[GateStatus] = field(default_factory=list)
    reports: list[SolverStatistics] = field(default_factory=list)
    checked: int = 0
    _armed: list[tuple[float, bool]] = field(default_factory=list)
    _goals: list[tuple[float, float, bool]] = field(default_factory=list)
    _controller_sec: float = -math.inf

    def hear(self, topic: str, message: Any) -> None:
        """Take a message."""
        kept = {
            'cmd_vel': self.commands,
            'gate_status': self.statuses,
            'solver_statistics': self.reports,
        }.get(topic)
        if kept is not None:
            kept.append(message)

    def armed(self, on: bool, at_sec: float) -> None:
        """The gate has said that it is armed, or disarmed. Before a request to arm, too."""
        self._armed.append((at_sec, on))

    def goal(self, sent_sec: float, answered_sec: float) -> None:
        """A goal was sent, and the controller has accepted it."""
        self._goals.append((sent_sec, answered_sec, True))

    def goal_ended(self, at_sec: float) -> None:
        """A cancel was accepted, or a result has come, of the newest goal."""
        self._goals.append((at_sec, at_sec, False))

    def controller_ended(self, at_sec: float) -> None:
        """The controller's process has ended; another one numbers its goals anew."""
        self.goal_ended(at_sec)
        self._controller_sec = at_sec

    def verdict(self) -> list[str]:
        """What must not have been sent since the last verdict; empty when all was well."""
        commands = sorted(self.commands, key=_time)
        faults = [text for command in commands if (text := self._out_of_bounds(command))]
        faults += self._moved_without_leave(commands)
        faults += self._stale_goals()
        self.checked += len(commands)
        # The last state holds on into what comes next.
        self.commands, self.reports = [], []
        self.statuses = sorted(self.statuses, key=_time)[-1:]
        self._armed, self._goals = self._armed[-1:], []
        return faults

    def _out_of_bounds(self, command: TwistStamped) -> str:
        values = messages.command(command)
        if not all(map(math.isfinite, values)):
            return f'not finite: {values}'
        for part, limit in ((values[:3], self.limits.linear), (values[3:], self.limits.angular)):
            if math.hypot(*part) > limit + _ROUNDING:
                return f'out of bounds: {values}'
        return ''

    def _moved_without_leave(self, commands: list[TwistStamped]) -> list[str]:
        """Commands that are not zero, nor slower than the last one, though the robot must stop."""
        faults = []
        states = sorted(self.statuses, key=_time)
        stamps = [_time(status) for status in states]
        asked = [at_sec for at_sec, _ in self._armed]
        before, before_sec = 0.0, -math.inf
        for command in commands:
            at_sec, size = _time(command), math.hypot(*messages.command(command))
            n, m = bisect.bisect_right(stamps, at_sec), bisect.bisect_right(asked, at_sec)
            # The gate publishes a changed state with the stamp of the command that it is about.
            stopped = n > 0 and states[n - 1].state != GateStatus.PASSING
            disarmed = m > 0 and not self._armed[m - 1][1]
            elapsed_sec = max(at_sec - before_sec - STAMPED_SEC, 0.0)
            slower = before - self.limits.deceleration * elapsed_sec
            allowed = max(slower, 0.0) if self.limits.deceleration else 0.0
            if (stopped or disarmed) and size > allowed + _ROUNDING:
                state = states[n - 1].text if stopped else 'disarmed'
                faults.append(f'speed {size:.3f} at {at_sec:.3f} s while "{state}"')
            before, before_sec = size, at_sec
        return faults

    def _stale_goals(self) -> list[str]:
        """Reports of ticks that drove to a goal that was over, or that another had replaced."""
        faults = []
        reports = sorted(self.reports, key=_time)
        for n, (sent_sec, answered_sec, is_new) in enumerate(self._goals):
            until_sec = self._goals[n + 1][0] if n + 1 < len(self._goals) else math.inf
            known = (r.goal_id for r in reports if self._controller_sec < _time(r) < sent_sec)
            old = max(known, default=-1)
            for report in reports:
                if report.status in DRIVING and answered_sec < _time(report) < until_sec:
                    if not is_new or report.goal_id <= old:
                        what = 'replaced' if is_new else 'over'
                        late_sec = _time(report) - answered_sec
                        faults.append(
                            f'tick {report.tick} drove to goal {report.goal_id}, {late_sec:.3f} s '
                            f'after it was {what}'
                        )
        return faults


def _time(message: Any) -> float:
    return stamp_sec(message.header.stamp)

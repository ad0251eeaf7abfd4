# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What is kept of a long run: little of each message, so that the watcher itself stays small."""

from __future__ import annotations

from array import array
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from grasp_ros.node.images import stamp_sec
from grasp_ros.reliability.watcher import DRIVING


class TickTimes(NamedTuple):
    """A tick that drove to a goal with a new plan; times in s, ``at_sec`` on the ROS clock."""

    at_sec: float
    tick_sec: float
    busy_sec: float
    image_to_action_sec: float


class Event(NamedTuple):
    """A fault and what came of it.

    :param kind: its name
    :param start_sec: when it began, ROS time
    :param end_sec: when all was well again
    :param recovery_sec: from the end of the fault itself to then; NaN when it was not to be seen
    """

    kind: str
    start_sec: float
    end_sec: float
    recovery_sec: float


@dataclass
class Record:
    """One run.

    :param started_sec: begin of what is measured, ROS time
    :param ended_sec: its end
    :param ticks: that solved
    :param deadlines: (time, deadlines missed since the one before) of ticks that drove or were to,
        those that kept the plan before or sent nothing because they were late among them
    :param ticks_all: how many there were, idle ones too
    :param skipped: (time, periods before it in which the controller did not tick)
    :param commands_sec: when a command left the gate
    :param events: the faults
    :param memory_kb: node -> (time, resident memory) of the process that ran from start to end
    :param problems: commands of the gate that must not have been
    :param commands_checked: how many were looked at
    :param goals: how goals ended
    """

    started_sec: float = 0.0
    ended_sec: float = 0.0
    ticks: list[TickTimes] = field(default_factory=list)
    deadlines: list[tuple[float, int]] = field(default_factory=list)
    ticks_all: int = 0
    skipped: list[tuple[float, int]] = field(default_factory=list)
    commands_sec: array = field(default_factory=lambda: array('d'))
    events: list[Event] = field(default_factory=list)
    memory_kb: dict[str, list[tuple[float, int]]] = field(
        default_factory=lambda: defaultdict(list)
    )
    problems: list[str] = field(default_factory=list)
    commands_checked: int = 0
    goals: Counter = field(default_factory=Counter)
    _before: tuple[int, int] | None = None

    def hear(self, topic: str, message: Any) -> None:
        """Take a message of the robot's."""
        at_sec = stamp_sec(message.header.stamp)
        if topic == 'cmd_vel':
            self.commands_sec.append(at_sec)
        elif topic == 'solver_statistics':
            self.ticks_all += 1
            # The controller counts from its activation on, before the first that is heard.
            skipped, missed = message.ticks_skipped, message.deadline_misses
            if self._before is not None:
                skipped, missed = (max(0, now - then) for now, then in
                                   zip((skipped, missed), self._before))
                if skipped:
                    self.skipped.append((at_sec, skipped))
            else:
                missed = 0
            self._before = (message.ticks_skipped, message.deadline_misses)
            if missed or message.status in DRIVING:
                self.deadlines.append((at_sec, missed))
            if message.status in DRIVING and message.iterations:
                self.ticks.append(
                    TickTimes(
                        at_sec,
                        message.tick_sec,
                        message.encode_sec + message.solve_sec,
                        message.image_to_action_sec,
                    )
                )

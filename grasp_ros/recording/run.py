# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A recorded run of the controller: its ticks, with what each of them began from."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from grasp_ros.control.tick import TickStatus
from grasp_ros.control.timeline import Timing
from grasp_ros.node import images
from grasp_ros.planners.base import Effort
from grasp_ros.recording.bag import Bag, RecordingError

ACTION, STATISTICS = 'geometry_msgs/msg/TwistStamped', 'grasp_ros/msg/SolverStatistics'
GATE, IMAGE = 'grasp_ros/msg/GateStatus', 'sensor_msgs/msg/Image'
Command = tuple[float, float, float, float, float, float]


@dataclass(frozen=True, kw_only=True)
class RecordedTick:
    """One tick as it was recorded.

    :param number: of the tick since activation, from 1
    :param sent_ns: when its action was sent, ns
    :param heard_ns: when the recorder heard of it, on the recorder's clock, ns
    :param now_sec: when it began, seconds on the clock of the stamps; where that was not recorded,
        when its action was sent
    :param image_ns: stamp of its frame, ns; None without one
    :param status: name of its status; empty where it was not recorded
    :param goal_id: of its goal, 0 before the first
    :param timing: what it measured; None where it was not recorded
    :param prepared: effort of the preparation after it; None without one
    :param action: what was sent, None where it was not recorded
    """

    number: int
    sent_ns: int
    heard_ns: int
    now_sec: float
    image_ns: int | None
    status: str
    goal_id: int
    timing: Timing | None = None
    prepared: Effort | None = None
    action: Command | None = None

    @property
    def drives(self) -> bool:
        """Whether the robot was sent a command of a plan; so, too, where nobody recorded it."""
        return not self.status or (
            self.status in TickStatus.__members__ and TickStatus[self.status].drives
        )


@dataclass(frozen=True, kw_only=True)
class Run:
    """What a bag holds of a run, but for its pictures.

    :param ticks: in order, from one activation
    :param gate: when it was sent, or where that is not known heard, in ns, and status of the gate
    :param goals: when the recorder heard it, ns, and picture of each goal that came by topic
    :param planner: name and horizon that were recorded, None where they were not
    :param is_timed: whether the statistics were recorded
    """

    ticks: Sequence[RecordedTick]
    gate: Sequence[tuple[int, Any]]
    goals: Sequence[tuple[int, Any]]
    planner: tuple[str, int] | None
    is_timed: bool


def read_run(bag: Bag, *, namespace: str, image_topic: str) -> Run:
    """The run that a bag holds.

    With ``solver_statistics`` each tick is known with its frame, its goal and its timing; without,
    the actions are taken for the ticks, and the newest picture that was there for the frame.

    :param namespace: of the controller
    :param image_topic: of the camera
    :raises RecordingError: when it holds neither, or another version of the statistics
    """
    action, statistics, gate, goal = (
        f'{namespace}/{name}'
        for name in ('action', 'solver_statistics', 'gate_status', 'goal_image')
    )
    kinds = {action: ACTION, statistics: STATISTICS, gate: GATE, goal: IMAGE}
    there = [topic for topic in kinds if topic in bag.topics]
    for topic in there:
        bag.require(topic, [kinds[topic]])
    heard: dict[str, list[tuple[int, Any]]] = {topic: [] for topic in kinds}
    for topic, heard_ns, message in bag.messages(there):
        heard[topic].append((heard_ns, message))
    actions = {_ns(m.header.stamp): (at_ns, _numbers(m.twist)) for at_ns, m in heard[action]}
    told = heard[statistics]
    if told:
        ticks, planner = _timed(told, actions), (told[0][1].planner, int(told[0][1].horizon))
    else:
        ticks, planner = list(_untimed(bag, image_topic, actions)), None
    if not ticks:
        raise RecordingError(
            f'{bag.path} holds no tick: record {statistics}, or at least {action}'
        )
    return Run(
        ticks=ticks, gate=[(_ns(m.header.stamp) or at_ns, m) for at_ns, m in heard[gate]],
        goals=heard[goal], planner=planner, is_timed=bool(told),
    )  # fmt: skip


def _timed(
    told: Sequence[tuple[int, Any]], actions: dict[int, tuple[int, Command]]
) -> list[RecordedTick]:
    """Ticks of the statistics, up to where the controller was deactivated or started again."""
    ticks, prepared, later = [], [], None
    for _, message in reversed(told):  # what a preparation did is told with the plan it became
        prepared.append(later)
        if message.prepare_sec > 0:
            later = Effort(int(message.iterations), int(message.syncs))
        elif message.status == message.SOLVED:
            later = None
    prepared.reverse()
    names = _status_names(told[0][1])
    for (heard_ns, message), effort in zip(told, prepared):
        status = names.get(message.status, '')
        if status == 'INACTIVE' or (ticks and message.tick <= ticks[-1].number):
            break
        image_ns, sent_ns = _ns(message.image_stamp), _ns(message.header.stamp)
        now_sec = images.stamp_sec(message.image_stamp) + message.image_age_sec
        ticks.append(RecordedTick(
            number=int(message.tick),
            sent_ns=sent_ns,
            heard_ns=heard_ns,
            now_sec=1e-9 * sent_ns if math.isnan(now_sec) else now_sec,
            image_ns=image_ns or None,
            status=status,
            goal_id=int(message.goal_id),
            timing=Timing(
                latency_sec=message.latency_sec,
                duration_sec=message.encode_sec + message.solve_sec,
                effort=Effort(int(message.iterations), int(message.syncs)),
            ),
            prepared=effort,
            action=actions.get(sent_ns, (0, None))[1],
        ))  # fmt: skip
    return ticks


def _untimed(
    bag: Bag, image_topic: str, actions: dict[int, tuple[int, Command]]
) -> Iterator[RecordedTick]:
    """Ticks of the actions; their frames are the newest that had been heard."""
    frames = [(heard_ns, _ns(m.header.stamp)) for _, heard_ns, m in bag.messages([image_topic])]
    newest, row = None, 0
    for number, (sent_ns, (heard_ns, command)) in enumerate(sorted(actions.items()), start=1):
        while row < len(frames) and frames[row][0] <= heard_ns:
            newest, row = frames[row][1], row + 1
        yield RecordedTick(
            number=number, sent_ns=sent_ns, heard_ns=heard_ns, now_sec=1e-9 * sent_ns,
            image_ns=newest, status='', goal_id=1, action=command,
        )  # fmt: skip


def _status_names(message: Any) -> dict[int, str]:
    """Status constant -> name, by the definition of the message."""
    names = (*TickStatus.__members__, 'GOAL_REACHED', 'INACTIVE')
    return {getattr(message, name): name for name in names if hasattr(message, name)}


def _ns(stamp: Any) -> int:
    return stamp.sec * 1_000_000_000 + stamp.nanosec


def _numbers(twist: Any) -> Command:
    linear, angular = twist.linear, twist.angular
    return (linear.x, linear.y, linear.z, angular.x, angular.y, angular.z)

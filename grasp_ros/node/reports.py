# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Tick reports as messages: the action first, then the statistics, then the plan.

Before the action, where somebody listens, goes what is planned to follow it: a gate then has both
at once.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable

from geometry_msgs.msg import TwistStamped
from rclpy.duration import Duration
from rclpy.lifecycle import LifecycleNode
from rclpy.qos import QoSProfile, ReliabilityPolicy
from trajectory_msgs.msg import MultiDOFJointTrajectory

from grasp_ros.control.controller import COLD, Tick, TickStatus
from grasp_ros.msg import SolverStatistics
from grasp_ros.node import messages, qos
from grasp_ros.node.twists import TwistLayout
from grasp_ros.node.views import Views
from grasp_ros.node.worker import TickReport
from grasp_ros.world_models.base import WorldModel

_LAST_WORDS = Duration(seconds=0.2)


class Publishers:
    """The topics ``action``, ``planned_actions``, ``solver_statistics`` and those of
    :class:`~grasp_ros.node.views.Views` of one configured node.

    :param node: that they belong to
    :param model: that the plans are of
    :param layout: which action goes to which field of the twist
    :param frame_id: in which the action is meant, for the headers
    :param world_frame_id: of places
    :param frames_received: how many frames were taken so far
    :param frames_rejected: how many messages were refused
    """

    def __init__(
        self,
        node: LifecycleNode,
        *,
        model: WorldModel,
        layout: TwistLayout,
        frame_id: str,
        world_frame_id: str,
        frames_received: Callable[[], int],
        frames_rejected: Callable[[], int],
    ) -> None:
        self._node = node
        self._model = model
        self._layout = layout
        self._frame_id = frame_id
        self._frames_received = frames_received
        self._frames_rejected = frames_rejected
        self._lock = threading.Lock()
        self._is_open = False
        newest = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE)

        def publisher(kind: type, topic: str, profile: QoSProfile | int):
            return node.create_lifecycle_publisher(
                kind, topic, profile, **qos.publisher(node, topic)
            )

        self._action = publisher(TwistStamped, 'action', newest)
        self._statistics = publisher(SolverStatistics, 'solver_statistics', 10)
        self._planned = publisher(MultiDOFJointTrajectory, 'planned_actions', newest)
        self._views = Views(node, model=model, frame_id=world_frame_id, profile=newest)

    def is_heard(self) -> bool:
        """Whether anybody who listens to the commands has been found."""
        return self._action.get_subscription_count() > 0

    def open(self) -> None:
        """Let reports out from now on."""
        with self._lock:
            self._is_open = True

    def close(self) -> None:
        """Send the safe command as the last message. Returns in bounded time, solver or not."""
        with self._lock:
            if not self._is_open:
                return
            self._is_open = False
            stamp = self._node.get_clock().now().to_msg()
            still = [0.0] * len(self._model.card.actions)
            self._send_action(still, stamp)
            message = SolverStatistics()
            message.header.stamp = stamp
            message.header.frame_id = self._frame_id
            message.status = SolverStatistics.INACTIVE
            message.status_text = 'safe command: the node is being deactivated'
            self._statistics.publish(message)
        for publisher in (self._action, self._statistics):
            publisher.wait_for_all_acked(_LAST_WORDS)  # the process may end right after this

    def destroy(self) -> None:
        """Take the topics off the graph."""
        for publisher in (self._action, self._planned, self._statistics):
            self._node.destroy_lifecycle_publisher(publisher)
        self._views.destroy()

    def send(self, report: TickReport) -> None:
        """Publish what came of a tick, unless closed."""
        with self._lock:
            if not self._is_open:
                return
            now = self._node.get_clock().now()
            stamp = now.to_msg()
            if report.tick.status.drives and self._planned.get_subscription_count():
                self._send_planned(report.tick, stamp)
            self._send_action(report.tick.action, stamp)
            self._statistics.publish(self._statistics_of(report, now.nanoseconds, stamp))
            if report.tick.status is TickStatus.SOLVED:
                self._views.send(report, stamp)

    def _send_action(self, action, stamp) -> None:
        command = self._layout.command(action)
        self._action.publish(messages.twist(command, stamp, self._frame_id))

    def _send_planned(self, tick: Tick, stamp) -> None:
        """The action of a tick and those of its plan that come after it, where there are some."""
        later = tick.plan.actions.flatten(0, 1)[tick.plan_offset + 1 :].double().cpu().numpy()
        if len(later):
            commands = [self._layout.command(action) for action in (tick.action, *later)]
            period_sec = self._model.card.control_period_sec
            self._planned.publish(messages.commands(commands, period_sec, stamp, self._frame_id))

    def _statistics_of(self, report: TickReport, sent_ns: int, stamp) -> SolverStatistics:
        tick, settings = report.tick, report.settings
        message = SolverStatistics()
        message.header.stamp = stamp
        message.header.frame_id = self._frame_id
        image_to_action_sec = math.nan
        if report.arrival is not None:
            message.image_stamp = report.arrival.stamp
            image_to_action_sec = 1e-9 * sent_ns - report.arrival.frame.stamp_sec
        status, text = status_of(tick, report.goal_reached)
        values = {
            'tick': report.counters.ticks,
            'status': status,
            'status_text': text,
            'goal_id': report.goal_number,
            'planner': settings.planner_name,
            'horizon': settings.planner.horizon,
            'restarts': getattr(settings.planner, 'restarts', 1),
            'iterations': tick.iterations,
            'syncs': tick.syncs,
            'shift_steps': tick.shift_steps,
            'warm_start_used': tick.shift_steps != COLD,
            'deadline_met': tick.deadline_met,
            'image_age_sec': report.image_age_sec,
            'encode_sec': tick.encode_sec,
            'solve_sec': tick.solve_sec,
            'prepare_sec': tick.prepare_sec,
            'tick_sec': time.monotonic() - report.started_sec,
            'image_to_action_sec': image_to_action_sec,
            'latency_sec': tick.latency_sec,
            'cost': math.nan if tick.plan is None else tick.plan.cost,
            'goal_distance': _or_nan(tick.goal_distance),
            'goal_tolerance': settings.goal.tolerance,
            'innovation': _or_nan(tick.innovation),
            'innovation_limit': (
                settings.controller.innovation_limit or self._model.card.innovation_limit
            ),
            'action_limited': tick.limited,
            'deadline_misses': report.counters.deadline_misses,
            'ticks_skipped': report.counters.ticks_skipped,
            'frames_received': self._frames_received(),
            'frames_rejected': self._frames_rejected(),
            'solver_failures': report.counters.solver_failures,
        }
        if report.counters.last_drop is not None:
            values['warm_start_drop'] = getattr(
                SolverStatistics, f'DROP_{report.counters.last_drop.name}'
            )
        for reason, count in report.counters.drops.items():
            values[f'warm_start_drops_{reason.name.lower()}'] = count
        return messages.set_fields(message, values)


def status_of(tick: Tick, goal_reached: bool) -> tuple[int, str]:
    """Status constant of the statistics message, and its text."""
    if tick.status is TickStatus.NO_GOAL and goal_reached:
        return SolverStatistics.GOAL_REACHED, 'safe command: the goal was reached'
    text = f'{tick.status.value}: {tick.detail}' if tick.detail else tick.status.value
    return getattr(SolverStatistics, tick.status.name), text


def _or_nan(value: float | None) -> float:
    return math.nan if value is None else value

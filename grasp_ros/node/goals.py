# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The action ``drive_to_goal_image``: takes goals, hands them to the worker, reports their end."""

from __future__ import annotations

import itertools
import math
import threading
from collections.abc import Callable
from dataclasses import dataclass

from rclpy.action import ActionServer, CancelResponse, GoalResponse
from rclpy.action.server import ServerGoalHandle
from rclpy.node import Node

from grasp_ros.action import DriveToGoalImage
from grasp_ros.node import messages

Result = DriveToGoalImage.Result


@dataclass(frozen=True)
class GoalEnd:
    """How a goal ended.

    :param code: a constant of the action's result
    :param reason: in words, with the numbers
    :param distance: latent distance at the end, NaN if unknown
    :param elapsed_sec: since acceptance
    :param ticks: control ticks spent on it
    """

    code: int
    reason: str
    distance: float = math.nan
    elapsed_sec: float = 0.0
    ticks: int = 0


class Goal:
    """One accepted goal. Any thread may end it; the first end counts.

    :param node: whose executor sends the result
    :param handle: of the action server
    :param number: counts the accepted goals, from 1
    """

    def __init__(self, node: Node, handle: ServerGoalHandle, number: int) -> None:
        self.number = number
        self.image = handle.request.goal_image
        self.timeout_sec = handle.request.timeout_sec
        self.settled = threading.Event()
        self._node = node
        self._handle = handle
        self._lock = threading.Lock()
        self._end: GoalEnd | None = None

    def feedback(self, **values: float) -> None:
        """Send the fields of the action's feedback."""
        message = messages.set_fields(DriveToGoalImage.Feedback(), values)
        self._handle.publish_feedback(message)

    def finish(self, end: GoalEnd) -> None:
        """End the goal, unless it has ended already."""
        with self._lock:
            if self._end is not None:
                return
            self._end = end
        # Only now: an execute callback that waits would be polled by the executor all the while.
        # In the executor's thread: there the state cannot change under a cancel request.
        self._node.executor.create_task(self._handle.execute, self._execute)

    def _execute(self, handle: ServerGoalHandle) -> Result:
        end = self._end
        if end.code == Result.SUCCESS:
            handle.succeed()
        elif handle.is_cancel_requested:
            handle.canceled()
        else:
            handle.abort()
        self.settled.set()
        values = {
            'code': end.code,
            'reason': end.reason,
            'final_distance': end.distance,
            'elapsed_sec': end.elapsed_sec,
            'ticks': end.ticks,
        }
        return messages.set_fields(Result(), values)


class GoalServer:
    """The action server.

    :param node: that it runs on
    :param refusal: why no goal can be taken at present, empty when one can
    :param on_goal: called with every accepted goal; must return at once
    :param on_cancel: called with every goal that a client cancels; must return at once
    """

    def __init__(
        self,
        node: Node,
        *,
        refusal: Callable[[], str],
        on_goal: Callable[[Goal], None],
        on_cancel: Callable[[Goal], None],
    ) -> None:
        self._node = node
        self._refusal = refusal
        self._on_goal = on_goal
        self._on_cancel = on_cancel
        self._numbers = itertools.count(1)
        self._goals: dict[bytes, Goal] = {}
        self._server = ActionServer(
            node,
            DriveToGoalImage,
            'drive_to_goal_image',
            execute_callback=lambda handle: None,  # replaced for each goal in Goal.finish
            goal_callback=self._decide,
            handle_accepted_callback=self._accept,
            cancel_callback=self._cancel,
        )

    def is_settled(self) -> bool:
        """Whether no result is still to be sent."""
        return all(goal.settled.is_set() for goal in self._goals.values())

    def destroy(self) -> None:
        """Take the action off the graph."""
        self._server.destroy()

    def _decide(self, request: DriveToGoalImage.Goal) -> GoalResponse:
        reason = self._refusal()
        timeout_sec = request.timeout_sec
        if not reason and not (math.isfinite(timeout_sec) and timeout_sec >= 0):
            reason = f'timeout_sec must be finite and >= 0, is {timeout_sec}'
        if reason:
            self._node.get_logger().warning(f'goal refused: {reason}')
            return GoalResponse.REJECT
        return GoalResponse.ACCEPT

    def _accept(self, handle: ServerGoalHandle) -> None:
        self._goals = {key: g for key, g in self._goals.items() if not g.settled.is_set()}
        goal = Goal(self._node, handle, next(self._numbers))
        self._goals[bytes(handle.goal_id.uuid)] = goal
        self._on_goal(goal)

    def _cancel(self, handle: ServerGoalHandle) -> CancelResponse:
        goal = self._goals.get(bytes(handle.goal_id.uuid))
        if goal is None:
            return CancelResponse.REJECT
        self._on_cancel(goal)
        return CancelResponse.ACCEPT

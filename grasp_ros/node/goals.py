# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Takes goals, by the action ``drive_to_goal_image`` or the topic ``goal_image``, hands them
on, and tells how they ended."""

from __future__ import annotations

import itertools
import math
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rclpy.action import ActionServer, CancelResponse, GoalResponse
from rclpy.action.server import ServerGoalHandle
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image

from grasp_ros.action import DriveToGoalImage
from grasp_ros.errors import GoalError, GraspError
from grasp_ros.node import messages, qos

if TYPE_CHECKING:
    from grasp_ros.control.history import Frame

Result = DriveToGoalImage.Result
CODES = {value: name for name, value in vars(Result).items() if isinstance(value, int)}
TOPIC = 'goal_image'


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
    """A goal under way. Any thread may end it; the first end counts.

    :param number: counts the goals, from 1
    :param frame: what the sensors see when the robot is there; None where that is not known, such
        a goal can only end
    :param timeout_sec: time limit; 0 = the parameter `goal.timeout_sec`
    """

    def __init__(self, number: int, frame: Frame | None, timeout_sec: float = 0.0) -> None:
        self.number = number
        self.frame = frame
        self.timeout_sec = timeout_sec
        self._lock = threading.Lock()
        self._end: GoalEnd | None = None

    def feedback(self, **values: float) -> None:
        """Tell whoever sent it how it goes, by the fields of the action's feedback."""

    def finish(self, end: GoalEnd) -> None:
        """End the goal, unless it has ended already."""
        with self._lock:
            if self._end is not None:
                return
            self._end = end
        self._tell(end)

    def _tell(self, end: GoalEnd) -> None:
        """Tell whoever sent it how it ended."""


class TopicGoal(Goal):
    """A goal that came by the topic, which has no result: its end is a line in the log.

    :param logger: of the node
    """

    def __init__(self, number: int, frame: Frame, *, logger) -> None:
        super().__init__(number, frame)
        self._logger = logger
        logger.info(f'goal {number} came by the topic {TOPIC}')

    def _tell(self, end: GoalEnd) -> None:
        self._logger.info(f'goal {self.number} ended with {CODES[end.code]}: {end.reason}')


class ActionGoal(Goal):
    """A goal of an action client.

    :param node: whose executor sends the result
    :param handle: of the action server
    """

    def __init__(
        self, number: int, frame: Frame | None, *, node: Node, handle: ServerGoalHandle
    ) -> None:
        super().__init__(number, frame, handle.request.timeout_sec)
        self.settled = threading.Event()
        self._node = node
        self._handle = handle

    def feedback(self, **values: float) -> None:
        """Send the fields of the action's feedback."""
        message = messages.set_fields(DriveToGoalImage.Feedback(), values)
        self._handle.publish_feedback(message)

    def _tell(self, end: GoalEnd) -> None:
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
    """The action server, and the subscription beside it.

    A goal whose picture is no good never gets to the worker, so it does not disturb the one under
    way.

    :param node: that it runs on
    :param refusal: why no goal can be taken at present, empty when one can
    :param read: gives what the sensors see at a goal, from its image and the name that it was
        saved under, one of which is empty; raises :class:`GraspError`
    :param on_goal: called with every good goal; must return at once
    :param on_cancel: called with every goal that is cancelled; must return at once
    """

    def __init__(
        self,
        node: Node,
        *,
        refusal: Callable[[], str],
        read: Callable[[Image, str], Frame],
        on_goal: Callable[[Goal], None],
        on_cancel: Callable[[Goal], None],
    ) -> None:
        self._node = node
        self._refusal = refusal
        self._read = read
        self._on_goal = on_goal
        self._on_cancel = on_cancel
        self._numbers = itertools.count(1)
        self._goals: dict[bytes, ActionGoal] = {}
        self._newest: Goal | None = None
        self._server = ActionServer(
            node,
            DriveToGoalImage,
            'drive_to_goal_image',
            execute_callback=lambda handle: None,  # replaced for each goal in ActionGoal
            goal_callback=self._decide,
            handle_accepted_callback=self._accept,
            cancel_callback=self._cancel,
        )
        # Volatile: a picture from before this node came up must not move the robot.
        profile = QoSProfile(
            depth=1, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.VOLATILE
        )
        node.create_subscription(
            Image, TOPIC, self._take, profile, **qos.subscription(node, TOPIC)
        )

    def is_settled(self) -> bool:
        """Whether no result is still to be sent."""
        return all(goal.settled.is_set() for goal in self._goals.values())

    def _decide(self, request: DriveToGoalImage.Goal) -> GoalResponse:
        reason = self._refusal()
        timeout_sec = request.timeout_sec
        if not reason and not (math.isfinite(timeout_sec) and timeout_sec >= 0):
            reason = f'timeout_sec must be finite and >= 0, is {timeout_sec}'
        if reason:
            self._log_refusal(reason)
            return GoalResponse.REJECT
        return GoalResponse.ACCEPT

    def _accept(self, handle: ServerGoalHandle) -> None:
        self._goals = {key: g for key, g in self._goals.items() if not g.settled.is_set()}
        frame = end = None
        try:
            frame = self._read(handle.request.goal_image, handle.request.goal_name)
        except GraspError as error:
            code = error.code if isinstance(error, GoalError) else Result.BAD_GOAL_IMAGE
            end = GoalEnd(code, str(error))
        goal = ActionGoal(next(self._numbers), frame, node=self._node, handle=handle)
        self._goals[bytes(handle.goal_id.uuid)] = goal
        if end is None:
            self._begin(goal)
        else:  # not a rejection: that would not tell the client why
            self._log_refusal(end.reason)
            goal.finish(end)

    def _take(self, image: Image) -> None:
        reason = self._refusal()
        if reason:
            self._log_refusal(reason)
        elif image.width or image.height or image.data:
            try:
                frame = self._read(image, '')
            except GraspError as error:
                self._log_refusal(str(error))
                return
            logger = self._node.get_logger()
            self._begin(TopicGoal(next(self._numbers), frame, logger=logger))
        elif self._newest is not None:
            self._on_cancel(self._newest)

    def _begin(self, goal: Goal) -> None:
        self._newest = goal
        self._on_goal(goal)

    def _log_refusal(self, reason: str) -> None:
        # A camera that was connected to the topic by mistake may send many a second.
        self._node.get_logger().warning(f'goal refused: {reason}', throttle_duration_sec=0.5)

    def _cancel(self, handle: ServerGoalHandle) -> CancelResponse:
        goal = self._goals.get(bytes(handle.goal_id.uuid))
        if goal is None:
            return CancelResponse.REJECT
        self._on_cancel(goal)
        return CancelResponse.ACCEPT

# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The demo's side of the graph: what it asks the nodes, and what it hears from them."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from geometry_msgs.msg import PoseStamped, TwistStamped
from rclpy.action import ActionClient
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from std_srvs.srv import SetBool

from grasp_ros.errors import GraspError
from grasp_ros.node.processes import NodeProcess

CALL_SEC = 5.0
CALLS = 4


class DemoError(GraspError):
    """The demo could not be run; the message says where it stopped."""

    code = 700


class DemoTimeout(DemoError):
    """Something did not happen in time."""

    code = 701


class Client(Node):
    """Sends goals and keeps what the other nodes say.

    :param nodes: the processes of the others; waiting for one that has ended fails at once
    """

    def __init__(self, nodes: list[NodeProcess]) -> None:
        super().__init__('demo')
        self._nodes = nodes
        from grasp_ros.action import DriveToGoalImage
        from grasp_ros.msg import Plan, SolverStatistics
        from grasp_ros.srv import RenderGoal

        self.place: tuple[float, float] | None = None
        self.velocity = (0.0, 0.0)
        self.statistics = None
        self.path: list[tuple[float, float]] = []
        self.on_tick: Callable[[], None] = lambda: None
        self._failure = ''
        self.create_subscription(DiagnosticArray, '/diagnostics', self._on_diagnostics, 10)
        self.create_subscription(PoseStamped, 'ground_truth/pose', self._on_pose, 10)
        self.create_subscription(TwistStamped, 'ground_truth/velocity', self._on_velocity, 10)
        self.create_subscription(SolverStatistics, 'solver_statistics', self._on_statistics, 50)
        self.create_subscription(Plan, 'plan', self._on_plan, 1)
        self.drive = ActionClient(self, DriveToGoalImage, 'drive_to_goal_image')
        self.render = self.create_client(RenderGoal, 'render_goal')
        self.enable = self.create_client(SetBool, 'enable')
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self)

    def wait(self, condition: Callable[[], bool], limit_sec: float, what: str) -> None:
        """Serve callbacks until a condition holds.

        :raises DemoError: when it does not within the limit, when a node has ended, or when the
            controller cannot load its model
        """
        end_sec = time.monotonic() + limit_sec
        while not condition():
            if time.monotonic() > end_sec:
                raise DemoTimeout(f'waited {limit_sec:.0f} s for {what}')
            for node in self._nodes:
                if not node.is_running:
                    raise DemoError(f'{node.node} ended with exit code {node.exit_code}')
            if self._failure:
                raise DemoError(self._failure)
            self._executor.spin_once(timeout_sec=0.1)

    def call(self, client, request, what: str):
        """Call a service that may be called twice, and wait for its answer.

        DDS can lose the first answer of a service that has just been discovered, so the request
        is repeated.

        :raises DemoError: without an answer to the last one
        """
        for _ in range(CALLS):
            future = client.call_async(request)
            with contextlib.suppress(DemoTimeout):
                self.wait(future.done, CALL_SEC, what)
                return future.result()
        raise DemoTimeout(f'asked {CALLS} times for {what}')

    def distance(self, goal: tuple[float, float]) -> float:
        """Ground truth: metres from the robot's place to the goal."""
        return math.dist(self.place, goal)

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            if status.name == '/mpc_node: model' and status.level == DiagnosticStatus.ERROR:
                self._failure = f'the controller: {status.message}'

    def _on_pose(self, message: PoseStamped) -> None:
        self.place = (message.pose.position.x, message.pose.position.y)

    def _on_velocity(self, message: TwistStamped) -> None:
        self.velocity = (message.twist.linear.x, message.twist.linear.y)

    def _on_plan(self, message) -> None:
        self.path = [(point.x, point.y) for point in message.path]

    def _on_statistics(self, message) -> None:
        self.statistics = message
        self.on_tick()

# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A bench: the real nodes of a robot as processes, and a client that watches them over DDS."""

from __future__ import annotations

from grasp_ros.node import spin  # noqa: F401  first: where ROS is missing, its error has the cure

# isort: split

import contextlib
import math
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from action_msgs.msg import GoalStatus
from geometry_msgs.msg import PoseStamped, TwistStamped
from lifecycle_msgs.srv import ChangeState, GetState
from rcl_interfaces.srv import GetParameters, SetParameters
from rclpy.action import ActionClient
from rclpy.node import Node
from rclpy.parameter import Parameter, parameter_value_to_python
from sensor_msgs.msg import Image
from std_srvs.srv import SetBool

from grasp_ros.action import DriveToGoalImage
from grasp_ros.errors import GraspError
from grasp_ros.msg import GateStatus, Plan, SolverStatistics
from grasp_ros.node.processes import NodeProcess, environment, stop_all
from grasp_ros.node.spin import initialised
from grasp_ros.srv import RenderGoal, ResetRobot

try:
    # The client hears every message of a robot: with this one it costs far less to keep up.
    from rclpy.experimental.events_executor import EventsExecutor as Executor
except ImportError:  # Jazzy
    from rclpy.executors import SingleThreadedExecutor as Executor

LIMIT_SEC = 30.0  # for anything; only what fails waits that long
RETRY_SEC = 2.0
_MOST_WAITING = 1000  # events of all entities, after the nodes have stopped
TOPICS = {
    'action': TwistStamped,
    'solver_statistics': SolverStatistics,
    'plan': Plan,
    'cmd_vel': TwistStamped,
    'gate_status': GateStatus,
    'ground_truth/pose': PoseStamped,
    'ground_truth/velocity': TwistStamped,
}
Result = DriveToGoalImage.Result


class RigError(GraspError):
    """What was waited for did not happen, or a node refused; the text ends with the logs."""

    code = 800


@contextlib.contextmanager
def open_client(name: str = 'tester') -> Iterator[Node]:
    """A node for any number of rigs, in the domain of the environment; rclpy ends with it."""
    with initialised():
        node = Node(name)
        executor = Executor()
        executor.add_node(node)
        try:
            yield node
        finally:
            executor.shutdown()
            node.destroy_node()


class Heard(deque):
    """The newest messages of a topic, and how many there ever were."""

    def __init__(self) -> None:
        super().__init__(maxlen=5000)
        self.total = 0

    def append(self, message: Any) -> None:
        super().append(message)
        self.total += 1

    def since(self, total: int) -> list[Any]:
        """What came after so many messages, as far as it is still kept."""
        first = len(self) - (self.total - total)
        return list(islice(self, max(first, 0), None))


class Rig:
    """The nodes of one robot and what was heard of them. For one thread.

    All that waits raises :class:`RigError` when it waited for too long.

    :param client: from :func:`open_client`
    :param namespace: of the robot, e.g. ``/one``
    :param folder: for logs
    :param env: variables beside those of every node
    """

    def __init__(self, client: Node, namespace: str, folder: Path, **env: str) -> None:
        self.client = client
        self.namespace = namespace
        self.folder = Path(folder)
        self.env = environment() | env
        self.processes: dict[str, NodeProcess] = {}
        self.heard: dict[str, Heard] = defaultdict(Heard)
        self._clients: dict[str, Any] = {}
        self._goals = ActionClient(client, DriveToGoalImage, f'{namespace}/drive_to_goal_image')
        # rclpy asks a callback for its signature, which deque.append has not.
        self._subscriptions = [
            client.create_subscription(
                kind, f'{namespace}/{topic}', partial(self._hear, topic), 500
            )
            for topic, kind in TOPICS.items()
        ]

    def start(self, node: str, *, module: str = '', **parameters: Any) -> NodeProcess:
        """Start a node, or start it again.

        :param node: its name
        :param module: that runs it, where that is not the node's own
        :param parameters: with ``__`` for each dot of their names
        """
        log = self.folder / f'{self.namespace.strip("/")}_{node}.log'
        self.processes[node] = NodeProcess(
            module or node,
            log=log,
            env=self.env,
            namespace=self.namespace,
            parameters=_dotted(parameters),
        )
        return self.processes[node]

    def close(self) -> None:
        """Stop all nodes, and listen no more."""
        stop_all(list(self.processes.values()))
        self._take_what_came()
        for subscription in self._subscriptions:
            self.client.destroy_subscription(subscription)
        for client in self._clients.values():
            self.client.destroy_client(client)
        self._goals.destroy()

    def wait_for(
        self, condition: Callable[[], Any], what: str, limit_sec: float = LIMIT_SEC
    ) -> Any:
        """Spin until a condition holds and give what it gave."""
        until_sec = time.monotonic() + limit_sec
        while not (value := condition()):
            if time.monotonic() > until_sec:
                raise RigError(f'{what}: not within {limit_sec} s\n{self.logs()}')
            self.client.executor.spin_once(timeout_sec=0.05)
        return value

    def wait_for_next(
        self, topic: str, condition: Callable[[Any], bool] = lambda message: True, what: str = ''
    ) -> Any:
        """The first message from now on for which a condition holds."""
        heard = self.heard[topic]
        heard.clear()

        def found() -> Any:
            while heard:
                message = heard.popleft()
                if condition(message):
                    return message
            return None

        return self.wait_for(found, what or f'a message on {topic}')

    def wait_for_status(self, status: int) -> SolverStatistics:
        """The next statistics message with a status."""
        return self.wait_for_next(
            'solver_statistics', lambda message: message.status == status, f'status {status}'
        )

    def logs(self) -> str:
        """The end of what the nodes have written."""
        return '\n'.join(
            f'--- {name}, exit code {process.exit_code} ---\n{process.log_text()[-2000:]}'
            for name, process in self.processes.items()
        )

    def call(self, kind: type, service: str, request: Any) -> Any:
        """Call a service and give its response."""
        name = f'{self.namespace}/{service}'
        if name not in self._clients:
            self._clients[name] = self.client.create_client(kind, name)
        client = self._clients[name]
        futures = []

        def answered() -> Any:
            # Where the server has just started, or started again, DDS may lose a request. All
            # requests in here may be repeated.
            if len(futures) * RETRY_SEC <= time.monotonic() - began_sec:
                futures.append(client.call_async(request))
            return next((future for future in futures if future.done()), None)

        self.wait_for(client.service_is_ready, f'service {name}')
        began_sec = time.monotonic()
        return self.wait_for(answered, f'response of {name}').result()

    def result_of(self, future: Any, what: str) -> Any:
        """Wait for a future."""
        self.wait_for(future.done, what)
        return future.result()

    def set_parameters(self, node: str = 'mpc_node', **parameters: Any) -> list[str]:
        """Set parameters, one after the other; the reasons of refusal, empty when taken."""
        request = SetParameters.Request()
        for name, value in _dotted(parameters).items():
            request.parameters.append(Parameter(name, value=value).to_parameter_msg())
        response = self.call(SetParameters, f'{node}/set_parameters', request)
        return [result.reason for result in response.results]

    def get_parameter(self, name: str, node: str = 'mpc_node') -> Any:
        """Present value of a parameter."""
        request = GetParameters.Request(names=[name])
        response = self.call(GetParameters, f'{node}/get_parameters', request)
        return parameter_value_to_python(response.values[0])

    def change_state(self, transition: int) -> bool:
        """Ask the controller for a lifecycle transition; whether it was made."""
        request = ChangeState.Request()
        request.transition.id = transition
        return self.call(ChangeState, 'mpc_node/change_state', request).success

    def state(self) -> str:
        """Lifecycle state of the controller."""
        return self.call(GetState, 'mpc_node/get_state', GetState.Request()).current_state.label

    def enable(self, on: bool = True) -> bool:
        """Arm or disarm the gate."""
        return self.call(SetBool, 'enable', SetBool.Request(data=on)).success

    def place(self, x: float, y: float) -> None:
        """Put the robot at a place, m."""
        response = self.call(ResetRobot, 'reset_robot', ResetRobot.Request(x=x, y=y))
        if not response.success:
            raise RigError(response.message)

    def goal_image(self, x: float, y: float) -> Image:
        """Picture of the robot at a place, m."""
        response = self.call(RenderGoal, 'render_goal', RenderGoal.Request(x=x, y=y))
        if not response.success:
            raise RigError(response.message)
        return response.image

    def send_goal(
        self, image: Image, timeout_sec: float = 0.0, feedback: Any = None, name: str = ''
    ) -> Any:
        """Send a goal image, or an empty one and a name, and give its handle, accepted or not."""
        self.wait_for(self._goals.server_is_ready, 'the action server')
        goal = DriveToGoalImage.Goal(goal_image=image, timeout_sec=timeout_sec, goal_name=name)
        future = self._goals.send_goal_async(goal, feedback_callback=feedback)
        return self.result_of(future, 'the answer to a goal')

    def result(self, handle: Any) -> tuple[int, DriveToGoalImage.Result]:
        """Status and result of a goal, when it has ended."""
        response = self.result_of(handle.get_result_async(), 'the end of a goal')
        return response.status, response.result

    def drive(self, x: float, y: float) -> DriveToGoalImage.Result:
        """Drive to a place, m, and give the result."""
        handle = self.send_goal(self.goal_image(x, y))
        if not handle.accepted:
            raise RigError(f'the goal was refused\n{self.logs()}')
        status, result = self.result(handle)
        if (status == GoalStatus.STATUS_SUCCEEDED) != (result.code == Result.SUCCESS):
            raise RigError(f'the goal ended with status {status} and code {result.code}')
        return result

    def position(self) -> tuple[float, float]:
        """Where the robot is, m, by the next ground truth."""
        position = self.wait_for_next('ground_truth/pose').pose.position
        return position.x, position.y

    def _take_what_came(self) -> None:
        """Leave nothing in the executor's queue.

        EventsExecutor crashes on a message that waits behind news of other entities, and whose
        subscription is gone by then.
        """
        for _ in range(_MOST_WAITING):
            self.client.executor.spin_once(timeout_sec=0.0)

    def _hear(self, topic: str, message: Any) -> None:
        self.heard[topic].append(message)


def speed(message: TwistStamped) -> float:
    """Linear speed of a twist, m/s."""
    linear = message.twist.linear
    return math.hypot(linear.x, linear.y, linear.z)


def _dotted(parameters: dict[str, Any]) -> dict[str, Any]:
    return {name.replace('__', '.'): value for name, value in parameters.items()}

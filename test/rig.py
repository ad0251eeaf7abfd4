# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A bench for tests: real nodes as processes, and a client that watches them over DDS."""

import math
import os
import time
from collections import defaultdict, deque
from functools import partial

import rclpy
from action_msgs.msg import GoalStatus
from geometry_msgs.msg import PoseStamped, TwistStamped
from grasp_ros.action import DriveToGoalImage
from grasp_ros.msg import GateStatus, Plan, SolverStatistics
from grasp_ros.srv import RenderGoal, ResetRobot
from lifecycle_msgs.srv import ChangeState, GetState
from rcl_interfaces.msg import Parameter as ParameterMessage
from rcl_interfaces.srv import GetParameters, SetParameters
from rclpy.action import ActionClient
from rclpy.parameter import Parameter
from std_srvs.srv import SetBool

from grasp_ros.node.processes import NodeProcess, environment

LIMIT_SEC = 30.0  # for anything; only a failing test waits that long
RETRY_SEC = 5.0
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


class Rig:
    """The nodes of one robot and what was heard of them.

    :param client: rclpy node of the test
    :param namespace: of the robot, e.g. ``/one``
    :param folder: for logs
    :param env: variables beside those of every node
    """

    def __init__(self, client, namespace, folder, **env):
        self.client = client
        self.namespace = namespace
        self.folder = folder
        self.env = environment(domain_id=int(os.environ['ROS_DOMAIN_ID'])) | env
        self.processes = {}
        self.heard = defaultdict(lambda: deque(maxlen=5000))
        self._clients = {}
        self._goals = ActionClient(client, DriveToGoalImage, f'{namespace}/drive_to_goal_image')
        for topic, kind in TOPICS.items():
            # rclpy asks a callback for its signature, which deque.append has not.
            client.create_subscription(
                kind, f'{namespace}/{topic}', partial(self._hear, topic), 50
            )

    def start(self, node, **parameters):
        """Start a node, or start it again."""
        named = {name.replace('__', '.'): value for name, value in parameters.items()}
        log = self.folder / f'{self.namespace.strip("/")}_{node}.log'
        self.processes[node] = NodeProcess(
            node, log=log, env=self.env, namespace=self.namespace, parameters=named
        )
        return self.processes[node]

    def _hear(self, topic, message):
        self.heard[topic].append(message)

    def close(self):
        """Stop all nodes."""
        for process in reversed(self.processes.values()):
            process.stop()

    def wait_for(self, condition, what, limit_sec=LIMIT_SEC):
        """Spin until a condition holds and give what it gave; fail when it does not in time."""
        until_sec = time.monotonic() + limit_sec
        while not (value := condition()):
            if time.monotonic() > until_sec:
                raise AssertionError(f'{what}: not within {limit_sec} s\n{self.logs()}')
            rclpy.spin_once(self.client, timeout_sec=0.05)
        return value

    def wait_for_next(self, topic, condition=lambda message: True, what=''):
        """The first message from now on for which a condition holds."""
        heard = self.heard[topic]
        heard.clear()

        def found():
            while heard:
                message = heard.popleft()
                if condition(message):
                    return message
            return None

        return self.wait_for(found, what or f'a message on {topic}')

    def wait_for_status(self, status):
        """The next statistics message with a status."""
        return self.wait_for_next(
            'solver_statistics', lambda message: message.status == status, f'status {status}'
        )

    def logs(self):
        """The end of what the nodes have written."""
        return '\n'.join(
            f'--- {name}, exit code {process.exit_code} ---\n{process.log_text()[-2000:]}'
            for name, process in self.processes.items()
        )

    def call(self, kind, service, request):
        """Call a service and give its response."""
        name = f'{self.namespace}/{service}'
        if name not in self._clients:
            self._clients[name] = self.client.create_client(kind, name)
        client = self._clients[name]
        futures = []

        def answered():
            # Where the server has just started, or started again, DDS may lose a request. All
            # requests in here may be repeated.
            if len(futures) * RETRY_SEC <= time.monotonic() - began_sec:
                futures.append(client.call_async(request))
            return next((future for future in futures if future.done()), None)

        self.wait_for(client.service_is_ready, f'service {name}')
        began_sec = time.monotonic()
        return self.wait_for(answered, f'response of {name}').result()

    def result_of(self, future, what):
        """Wait for a future."""
        self.wait_for(future.done, what)
        return future.result()

    def set_parameters(self, node='mpc_node', **parameters):
        """Set parameters, one after the other; the reasons of refusal, empty when taken."""
        request = SetParameters.Request()
        for name, value in parameters.items():
            message = Parameter(name.replace('__', '.'), value=value).to_parameter_msg()
            assert isinstance(message, ParameterMessage)
            request.parameters.append(message)
        response = self.call(SetParameters, f'{node}/set_parameters', request)
        return [result.reason for result in response.results]

    def get_parameter(self, name, node='mpc_node'):
        """Present value of a parameter."""
        request = GetParameters.Request(names=[name])
        response = self.call(GetParameters, f'{node}/get_parameters', request)
        return rclpy.parameter.parameter_value_to_python(response.values[0])

    def change_state(self, transition):
        """Ask the controller for a lifecycle transition; whether it was made."""
        request = ChangeState.Request()
        request.transition.id = transition
        return self.call(ChangeState, 'mpc_node/change_state', request).success

    def state(self):
        """Lifecycle state of the controller."""
        return self.call(GetState, 'mpc_node/get_state', GetState.Request()).current_state.label

    def enable(self, on=True):
        """Arm or disarm the gate."""
        return self.call(SetBool, 'enable', SetBool.Request(data=on)).success

    def place(self, x, y):
        """Put the robot at a place."""
        response = self.call(ResetRobot, 'reset_robot', ResetRobot.Request(x=x, y=y))
        assert response.success, response.message

    def goal_image(self, x, y):
        """Picture of the robot at a place."""
        response = self.call(RenderGoal, 'render_goal', RenderGoal.Request(x=x, y=y))
        assert response.success, response.message
        return response.image

    def send_goal(self, image, timeout_sec=0.0, feedback=None):
        """Send a goal image and give its handle, accepted or not."""
        self.wait_for(self._goals.server_is_ready, 'the action server')
        goal = DriveToGoalImage.Goal(goal_image=image, timeout_sec=timeout_sec)
        future = self._goals.send_goal_async(goal, feedback_callback=feedback)
        return self.result_of(future, 'the answer to a goal')

    def result(self, handle):
        """Status and result of a goal, when it has ended."""
        response = self.result_of(handle.get_result_async(), 'the end of a goal')
        return response.status, response.result

    def drive(self, x, y):
        """Drive to a place and give the result."""
        handle = self.send_goal(self.goal_image(x, y))
        assert handle.accepted
        status, result = self.result(handle)
        assert (status == GoalStatus.STATUS_SUCCEEDED) == (result.code == Result.SUCCESS)
        return result

    def position(self):
        """Where the robot is, by the next ground truth."""
        position = self.wait_for_next('ground_truth/pose').pose.position
        return position.x, position.y


def speed(message):
    """Linear speed of a twist, m/s."""
    linear = message.twist.linear
    return math.hypot(linear.x, linear.y, linear.z)

# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A robot on the bench: a rig that knows its normal state, is watched, and can be asked when."""

from __future__ import annotations

import contextlib
import math
import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from lifecycle_msgs.msg import Transition
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import Image

from grasp_ros.msg import GateStatus, SolverStatistics
from grasp_ros.node import parameters, tables
from grasp_ros.node.images import stamp_sec
from grasp_ros.reliability.rig import LIMIT_SEC, Result, Rig, speed
from grasp_ros.reliability.scenario import PromiseBroken, require
from grasp_ros.reliability.watcher import DRIVING, Limits, Watcher

LEFT, RIGHT = (0.25, 0.3), (0.75, 0.3)
MOVING = 0.01  # m/s, slower than any command on the way, at a tenth of the speed too
DEFAULTS = parameters.defaults([p for table in tables.TABLES.values() for p in table])
PERIOD_SEC = 0.1  # T of the shipped models
IMAGE_TIMEOUT_SEC = DEFAULTS['control.image_timeout_sec']
COMMAND_TIMEOUT_SEC = DEFAULTS['gate.command_timeout_sec']
OK, WARN, ERROR = 0, 1, 2  # of diagnostics
GATE_PERIOD_SEC = 1.0 / DEFAULTS['gate.rate']
WAITING = (SolverStatistics.NO_GOAL, SolverStatistics.GOAL_REACHED)


@dataclass(frozen=True)
class Part:
    """A node of a robot.

    :param node: its name
    :param module: that runs it, where that is not its own
    :param parameters: with which it starts
    """

    node: str
    module: str = ''
    parameters: Mapping[str, Any] = field(default_factory=dict)


class Robot(Rig):
    """A rig with a normal state: all nodes up, no fault, gate armed, no goal, the robot at rest.

    :param client: from :func:`~grasp_ros.reliability.rig.open_client`
    :param namespace: of the robot
    :param folder: for logs
    :param parts: its nodes
    :param env: variables beside those of every node
    """

    def __init__(
        self, client: Node, namespace: str, folder: Path, *, parts: tuple[Part, ...], **env: str
    ) -> None:
        super().__init__(client, namespace, folder, **env)
        self.parts = {part.node: part for part in parts}
        self.is_simulated = any(part.parameters.get('use_sim_time') for part in parts)
        self.watcher = Watcher(
            Limits(linear=DEFAULTS['gate.max_linear'], angular=DEFAULTS['gate.max_angular'])
        )
        self._changed: dict[str, set[str]] = {}
        self._log_marks: dict[str, int] = {}
        self._diagnostics = client.create_subscription(
            DiagnosticArray, '/diagnostics', self._hear_diagnostics, 50
        )
        self._goal: Any = None
        self._camera: Any = None
        self._moving_sec = -math.inf

    def close(self) -> None:
        """Stop all nodes, and listen no more."""
        super().close()
        self.client.destroy_subscription(self._diagnostics)

    # What is done to it

    def boot(self, node: str) -> None:
        """Start a node of this robot, or start it again."""
        part = self.parts[node]
        self.start(node, module=part.module, **part.parameters)

    def make_normal(self) -> None:
        """Bring the robot to its normal state from wherever it is, and forget what was heard."""
        for node in self.parts:
            if node not in self.processes or not self.processes[node].is_running:
                self.boot(node)
        for node, names in self._changed.items():
            own = {'fault': '', 'clock': 'runs'}
            normal = {n: own.get(n, self._normal(node, n)) for n in names}
            if normal:
                require(not any(self.set_parameters(node, **normal)), 'parameters as they were')
        self._changed.clear()
        if self._goal is not None:
            self.cancel()
        if 'mpc_node' in self.parts and self.parts['mpc_node'].parameters.get('autostart', True):
            self.activate()
            if 'sim_node' in self.parts:
                self.wait_for_next(
                    'solver_statistics', lambda r: r.status in WAITING, 'a goal to be wanted'
                )
                self.place(*LEFT)
        if 'gate_node' in self.parts:
            self.enable()
        if {'gate_node', 'mpc_node'} <= self.parts.keys():
            # Where they have just started, the one may not know the other yet.
            self.wait_for_next(
                'gate_status', lambda s: s.state == GateStatus.PASSING, 'commands to pass'
            )
        self.watcher.limits.deceleration = 0.0
        if self._camera is not None:
            self.client.destroy_subscription(self._camera)
            self._camera = None
        self.heard.clear()
        for node, process in self.processes.items():
            self._log_marks[node] = len(process.log_text())

    def change(self, node: str = 'mpc_node', **values: Any) -> None:
        """Set parameters until the next :meth:`make_normal`."""
        self._changed.setdefault(node, set()).update(values)
        reasons = self.set_parameters(node, **values)
        require(not any(reasons), f'{node} takes {values}: {reasons}')

    def spoil(self, fault: str) -> None:
        """Let the camera have a fault, one of :mod:`~grasp_ros.reliability.faulty_world`."""
        self.change('sim_node', fault=fault)

    def activate(self) -> None:
        """Configure and activate the controller, where it is not active already."""
        self.wait_for(lambda: self.state() in ('unconfigured', 'inactive', 'active'), 'a state')
        if self.state() == 'unconfigured':
            self.change_state(Transition.TRANSITION_CONFIGURE)
        if self.state() == 'inactive':
            self.change_state(Transition.TRANSITION_ACTIVATE)
        require(self.state() == 'active', f'the controller is active\n{self.logs()}')

    def enable(self, on: bool = True) -> bool:
        """Arm or disarm the gate."""
        if on:
            self.watcher.armed(True, self.now_sec())
        done = super().enable(on)
        if not on:
            self.watcher.armed(False, self.now_sec())
        return done

    def send_goal(self, image: Any, timeout_sec: float = 0.0, feedback: Any = None) -> Any:
        """Send a goal image and give its handle, accepted or not."""
        sent_sec = self.now_sec()
        handle = super().send_goal(image, timeout_sec, feedback)
        if handle.accepted:
            self._goal = handle
            self.watcher.goal(sent_sec, self.now_sec())
        return handle

    def result(self, handle: Any) -> tuple[int, Result]:
        """Status and result of a goal, when it has ended."""
        response = super().result(handle)
        if handle is self._goal:
            self._goal = None
            self.watcher.goal_ended(self.now_sec())
        return response

    def cancel(self) -> Result:
        """Cancel the goal and give its result."""
        handle = self._goal
        self.result_of(handle.cancel_goal_async(), 'the answer to a cancel')
        self.watcher.goal_ended(self.now_sec())
        return self.result(handle)[1]

    def forget_goal(self) -> None:
        """The goal has ended with the controller's process; another one counts anew."""
        self._goal = None
        self.watcher.controller_ended(self.now_sec())

    def set_off(self) -> Any:
        """Send a goal in the other room, wait until the robot moves; the goal's handle."""
        handle = self.send_goal(self.goal_image(*RIGHT))
        require(handle.accepted, 'a goal is accepted')
        first = self.first('cmd_vel', moves, after_sec=self.now_sec(), what='motion')
        self._moving_sec = at_sec(first)
        # The gate may have found a controller that was just started, and the client not yet.
        self.first('action', after_sec=self._moving_sec, what='a command of the controller')
        return handle

    @contextlib.contextmanager
    def publishing(self, kind: type, topic: str, qos: Any) -> Iterator[Publisher]:
        """A publisher of the client's own, matched, inside the block."""
        publisher = self.client.create_publisher(kind, f'{self.namespace}/{topic}', qos)
        try:
            self.wait_for(publisher.get_subscription_count, f'a subscription to {topic}')
            yield publisher
        finally:
            self.client.destroy_publisher(publisher)

    def listen_to_camera(self) -> None:
        """Hear ``image_raw`` as well, until the next :meth:`make_normal`."""
        self._camera = self.client.create_subscription(
            Image, f'{self.namespace}/image_raw', partial(self._hear, 'image_raw'),
            qos_profile_sensor_data,
        )  # fmt: skip
        self.first('image_raw', what='an image')

    # What is seen of it

    def now_sec(self) -> float:
        """ROS time, in which the nodes stamp their messages; where simulated, as last heard."""
        if self.is_simulated:
            heard = self.heard['cmd_vel']
            return at_sec(heard[-1]) if heard else -math.inf
        return 1e-9 * self.client.get_clock().now().nanoseconds

    def first(
        self,
        topic: str,
        condition: Callable[[Any], bool] = lambda message: True,
        *,
        after_sec: float = -math.inf,
        what: str = '',
        limit_sec: float = LIMIT_SEC,
    ) -> Any:
        """The first message heard that is stamped later and for which a condition holds.

        :param after_sec: ROS time
        """
        heard, looked_at = self.heard[topic], 0

        def found() -> Any:
            nonlocal looked_at
            news, looked_at = heard.since(looked_at), heard.total
            wanted = (m for m in news if at_sec(m) > after_sec and condition(m))
            return next(wanted, None)

        return self.wait_for(found, what or f'a message on {topic}', limit_sec)

    def report(self, status: int, *, after_sec: float = -math.inf) -> SolverStatistics:
        """The first statistics message after a time with a status."""
        return self.first(
            'solver_statistics',
            lambda r: r.status == status,
            after_sec=after_sec,
            what=f'status {status}',
        )

    def stop(self, *, after_sec: float) -> float:
        """When the gate first sent zero after a time, and after :meth:`set_off`; ROS time."""
        after_sec = max(after_sec, self._moving_sec)
        return at_sec(self.first('cmd_vel', rests, after_sec=after_sec, what='a stop'))

    def gate(self, reason: int, *, after_sec: float = -math.inf) -> GateStatus:
        """The first status of the gate after a time with a reason."""
        return self.first(
            'gate_status',
            lambda s: s.reason == reason,
            after_sec=after_sec,
            what=f'reason {reason} of the gate',
        )

    def between(self, topic: str, start_sec: float, end_sec: float) -> list[Any]:
        """What was heard on a topic, by stamps."""
        return [m for m in self.heard[topic] if start_sec <= at_sec(m) <= end_sec]

    def watch(self, seconds: float) -> float:
        """Listen for a while of ROS time; the time at which it began."""
        start_sec = self.now_sec()
        self.wait_for(lambda: self.now_sec() > start_sec + seconds, 'the time to pass')
        return start_sec

    def wait(self, seconds: float) -> None:
        """Listen for a while of real time."""
        until_sec = time.monotonic() + seconds
        self.wait_for(lambda: time.monotonic() > until_sec, 'the time to pass')

    def simulated_sec(self) -> float:
        """The newest stamp of the robot's ground truth: the time of its simulator."""
        return at_sec(self.wait_for_next('ground_truth/pose'))

    def logged(self, node: str, text: str, *, times: int = 1) -> str:
        """That a node has written something since the robot was normal, so many times.

        :raises PromiseBroken: when it has not, or more often
        """
        def count() -> int:
            return self.log(node).count(text)

        self.wait_for(lambda: count() >= times, f'"{text}" in the log of {node}')
        if count() > times:
            raise PromiseBroken(f'{node} has logged "{text}" {count()} times, not {times}')
        return f'log "{text}"'

    def logged_sec(self, node: str, text: str) -> float:
        """When a node first wrote something since the robot was normal, ROS time."""
        line = next(line for line in self.log(node).splitlines() if text in line)
        return float(re.search(r'\[(\d+\.\d+)\]', line)[1])

    def diagnosed(self, part: str, level: int, text: str) -> str:
        """That ``/diagnostics`` has shown a part on a level with a text since it was normal."""
        heard = self.heard['diagnostics']

        def found() -> bool:
            return any(
                s.name.endswith(f': {part}') and s.level == bytes([level]) and text in s.message
                for s in heard
            )

        what = f'diagnostic {part} {("OK", "WARN", "ERROR")[level]}'
        self.wait_for(found, f'{what} "{text}"')
        return what

    def log(self, node: str) -> str:
        """What a node has written since the robot was normal."""
        return self.processes[node].log_text()[self._log_marks.get(node, 0) :]

    def memory_kb(self, node: str) -> int:
        """Resident memory of a node."""
        return self.processes[node].memory_kb()

    def verdict(self) -> tuple[int, list[str]]:
        """How many commands the gate has sent since the last verdict, and what was wrong."""
        gate = self.processes.get('gate_node')
        is_up = gate is not None and gate.is_running and not self.is_simulated
        if is_up and self.heard['cmd_vel']:
            # What the gate said of the newest command may still be on its way.
            newest_sec = at_sec(self.heard['cmd_vel'][-1])
            self.first('gate_status', after_sec=newest_sec, what='a status of the gate')
        checked = self.watcher.checked
        faults = self.watcher.verdict()
        return self.watcher.checked - checked, faults

    def _hear(self, topic: str, message: Any) -> None:
        super()._hear(topic, message)
        # Simulated time may jump: what is judged by the order of stamps is then left out.
        if topic == 'cmd_vel' or not self.is_simulated:
            self.watcher.hear(topic, message)

    def _hear_diagnostics(self, message: DiagnosticArray) -> None:
        own = f'{self.namespace}/'
        for status in message.status:
            if status.name.startswith(own):
                self.heard['diagnostics'].append(status)

    def _normal(self, node: str, name: str) -> Any:
        name = name.replace('__', '.')
        return self.parts[node].parameters.get(name, DEFAULTS.get(name))


def at_sec(message: Any) -> float:
    """Stamp of a message, ROS time."""
    return stamp_sec(message.header.stamp)


def moves(command: Any) -> bool:
    """Whether a command drives the robot."""
    return speed(command) > MOVING


def rests(command: Any) -> bool:
    """Whether a command is zero."""
    return speed(command) == 0.0


def drives(report: SolverStatistics) -> bool:
    """Whether a tick sent a command of a plan."""
    return report.status in DRIVING

# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The gate: a small process of its own that alone drives the robot.

It imports no torch and does no work that can hang, so that it stops the robot whatever becomes of
the controller.
"""

from __future__ import annotations

from grasp_ros.node import spin  # first: where ROS is missing, its error names the cure

# isort: split

import math
import sys
import time
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from geometry_msgs.msg import TwistStamped
from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import JointState
from std_srvs.srv import SetBool
from trajectory_msgs.msg import MultiDOFJointTrajectory

from grasp_ros.control.gate import STILL, Gate, GateConfig, GateOutput, GateReason, GateState
from grasp_ros.errors import ConfigError, MessageError
from grasp_ros.msg import GateStatus
from grasp_ros.node import health, messages, outputs, qos, tables, transport
from grasp_ros.node.diagnostics import Diagnostics
from grasp_ros.node.images import stamp_sec
from grasp_ros.node.parameter_server import ParameterServer
from grasp_ros.node.senders import SEVERAL, Senders
from grasp_ros.node.trajectories import Trajectories

STATUS_PERIOD_SEC = 0.1
_SILENT_SEC = 10.0  # between two warnings of the same
_LAST_WORDS = Duration(seconds=0.2)
_NEWEST = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE)
_SENSOR = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)


class GateNode(Node):
    """Subscribes ``action``, and where it sends trajectories ``planned_actions`` and
    ``joint_states``; publishes ``cmd_vel``, ``gate_status`` and ``/diagnostics``; serves
    ``enable``."""

    def __init__(self) -> None:
        super().__init__('gate_node')
        self._gate: Gate | None = None
        self._settings = ParameterServer(self, tables.GATE, check=config_of, apply=self._apply)
        values = self._settings.values
        self._gate = Gate(config_of(values), armed=values['gate.start_enabled'])
        self._output = GateOutput(STILL, GateState.DISARMED, GateReason.NOT_ARMED, '', math.nan)
        self._robot_output = outputs.make(values, self._gate)
        self._plan: MultiDOFJointTrajectory | None = None
        self._senders = Senders(self, 'action')
        self._frame_id = ''
        self._command_stamp = messages.to_time(0)
        self._shown: tuple[GateState, GateReason] | None = None
        self._status_sec = -math.inf
        self._health = health.Held()
        self._command_publisher = self.create_publisher(
            self._robot_output.kind, 'cmd_vel', _NEWEST, **qos.publisher(self, 'cmd_vel')
        )
        self._status_publisher = self.create_publisher(
            GateStatus, 'gate_status', 10, **qos.publisher(self, 'gate_status')
        )
        subscriptions = [('action', TwistStamped, self._on_action, _NEWEST)]
        if isinstance(self._robot_output, Trajectories):
            # Before `action`: of two that are there at once, the one that was made first is served
            # first, and a plan is sent just before the action that it begins with.
            subscriptions = [
                ('joint_states', JointState, self._on_joints, _SENSOR),
                ('planned_actions', MultiDOFJointTrajectory, self._on_plan, _NEWEST),
                *subscriptions,
            ]
        for topic, kind, callback, profile in subscriptions:
            self.create_subscription(
                kind, topic, callback, profile, **qos.subscription(self, topic)
            )
        self.create_service(SetBool, 'enable', self._on_enable)
        # On a steady clock: the watchdog must not stop with the simulator's clock.
        period_sec = 1.0 / values['gate.rate']
        self.create_timer(period_sec, self._step, clock=spin.STEADY_CLOCK)
        self._step()
        self._diagnostics = Diagnostics(self, self._judge)

    def shut_down(self) -> None:
        """Send zero velocity and say so."""
        self._publish(self._gate.shut_down(), is_news=True)
        for publisher in (self._command_publisher, self._status_publisher):
            publisher.wait_for_all_acked(_LAST_WORDS)  # the process ends right after this

    def _apply(self, values: Mapping[str, Any]) -> None:
        self._gate.config = config_of(values)
        self._step(is_news=True)

    def _on_joints(self, message: JointState) -> None:
        self._robot_output.see(message, time.monotonic())

    def _on_plan(self, message: MultiDOFJointTrajectory) -> None:
        self._plan = message
        if self._take_up_plan():
            self._step(is_news=True)

    def _take_up_plan(self) -> bool:
        """Let the newest plan follow the newest command, if it begins with it; whether it does."""
        plan = self._plan
        if plan is None or plan.header.stamp != self._command_stamp:
            return False
        self._plan = None
        try:
            (_, *later), period_sec = messages.read_commands(plan)
            problem = self._gate.extend(later, period_sec)
        except MessageError as error:
            problem = str(error)
            self._gate.rejected += 1
        if problem:
            self.get_logger().warning(
                f'the command goes without the plan that follows it: {problem}',
                throttle_duration_sec=_SILENT_SEC,
            )
        return not problem

    def _on_action(self, message: TwistStamped, info: Mapping[str, Any]) -> None:
        now_sec = time.monotonic()
        age_sec = math.nan
        if not math.isnan(stamp_sec(message.header.stamp)):
            age_sec = 1e-9 * self.get_clock().now().nanoseconds - stamp_sec(message.header.stamp)
        source = self._senders.of(info)
        if source is SEVERAL:
            reason = self._gate.refuse('more than one node publishes `action`')
        else:
            reason = self._gate.accept(
                messages.command(message),
                now_sec=now_sec,
                age_sec=age_sec,
                source=source,
                sequence=info.get('publication_sequence_number'),
            )
        if not reason and isinstance(self._robot_output, Trajectories):
            longest_sec = self._gate.config.command_timeout_sec
            problem = self._robot_output.problem(now_sec, longest_sec)
            reason = problem and self._gate.refuse(problem)
        if not reason:
            self._frame_id = message.header.frame_id
            self._command_stamp = message.header.stamp
            self._take_up_plan()
        self._step(is_news=not reason)

    def _on_enable(self, request: SetBool.Request, response: SetBool.Response):
        self._gate.enable(request.data)
        self._step()
        response.success = True
        response.message = 'armed' if request.data else 'disarmed: the safe command is sent'
        return response

    def _step(self, *, is_news: bool = False) -> None:
        self._publish(self._gate.step(time.monotonic()), is_news=is_news)

    def _publish(self, output: GateOutput, *, is_news: bool) -> None:
        """Send the robot what it needs, and say what that is.

        :param is_news: whether a trajectory that is being carried out is out of date
        """
        state, self._output = self._output.state, output
        now = self.get_clock().now().to_msg()
        if not isinstance(self._robot_output, Trajectories):
            message = self._robot_output.message(output.command, now, self._frame_id)
            self._command_publisher.publish(message)
        # Nothing between two trajectories: with each the robot starts from where it is.
        elif output.state is not state or (is_news and output.state is GateState.PASSING):
            message = self._robot_output.message(time.monotonic())
            if message is not None:
                self._command_publisher.publish(message)
        changed = self._shown != (output.state, output.reason)
        if changed:
            self._shown = (output.state, output.reason)
            # Two calls: rclpy fixes the severity of each place in the source.
            if output.state is GateState.STOPPED:
                self.get_logger().warning(output.text)
            else:
                self.get_logger().info(output.text)
        if changed or time.monotonic() - self._status_sec >= STATUS_PERIOD_SEC:
            self._status_sec = time.monotonic()
            self._publish_status(output, now)

    def _judge(self) -> Mapping[str, health.Health]:
        judged = health.of_gate(self._gate, self._output)
        return {'gate': self._health.update(judged, time.monotonic())}

    def _publish_status(self, output: GateOutput, now) -> None:
        message = GateStatus(command_stamp=self._command_stamp)
        message.header.stamp = now
        values = {
            'state': getattr(GateStatus, output.state.name),
            'reason': getattr(GateStatus, f'REASON_{output.reason.name}'),
            'text': output.text,
            'command_age_sec': output.command_age_sec,
            'speed_scale': self._gate.config.speed_scale,
            'limited': self._gate.limited,
            'rejected': self._gate.rejected,
            'timeouts': self._gate.timeouts,
        }
        self._status_publisher.publish(messages.set_fields(message, values))


def config_of(values: Mapping[str, Any]) -> GateConfig:
    """The parameters that are fields of :class:`GateConfig`.

    :raises ConfigError: when a value is out of range, or the watchdog would look too seldom
    """
    rate_hz, timeout_sec = values['gate.rate'], values['gate.command_timeout_sec']
    if rate_hz * timeout_sec < 1.0:
        raise ConfigError(
            f'gate.rate {rate_hz:g} Hz sees less often than every gate.command_timeout_sec, '
            f'{timeout_sec:g} s, whether commands still come'
        )
    names = {field.name for field in fields(GateConfig)}
    return GateConfig(**{name: values[f'gate.{name}'] for name in names})


def main(args: list[str] | None = None) -> int:
    """Entry point of ``gate_node``."""
    transport.leave_shared_memory()
    return spin.run(GateNode, args)


if __name__ == '__main__':
    sys.exit(main())

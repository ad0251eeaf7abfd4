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
from std_srvs.srv import SetBool

from grasp_ros.control.gate import Gate, GateConfig, GateOutput, GateReason, GateState
from grasp_ros.msg import GateStatus
from grasp_ros.node import health, messages, outputs, qos, tables, transport
from grasp_ros.node.diagnostics import Diagnostics
from grasp_ros.node.images import stamp_sec
from grasp_ros.node.parameter_server import ParameterServer

STATUS_PERIOD_SEC = 0.1
_LAST_WORDS = Duration(seconds=0.2)
_NEWEST = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE)


class GateNode(Node):
    """Subscribes ``action``; publishes ``cmd_vel``, ``gate_status`` and ``/diagnostics``; serves
    ``enable``."""

    def __init__(self) -> None:
        super().__init__('gate_node')
        self._gate: Gate | None = None
        self._settings = ParameterServer(self, tables.GATE, check=_config, apply=self._apply)
        values = self._settings.values
        self._gate = Gate(_config(values), armed=values['gate.start_enabled'])
        self._robot_output = outputs.make(values)
        self._frame_id = ''
        self._command_stamp = messages.to_time(0)
        self._shown: tuple[GateState, GateReason] | None = None
        self._status_sec = -math.inf
        self._command_publisher = self.create_publisher(
            self._robot_output.kind, 'cmd_vel', _NEWEST, **qos.publisher(self, 'cmd_vel')
        )
        self._status_publisher = self.create_publisher(
            GateStatus, 'gate_status', 10, **qos.publisher(self, 'gate_status')
        )
        self.create_subscription(
            TwistStamped, 'action', self._on_action, _NEWEST, **qos.subscription(self, 'action')
        )
        self.create_service(SetBool, 'enable', self._on_enable)
        # On a steady clock: the watchdog must not stop with the simulator's clock.
        period_sec = 1.0 / values['gate.rate']
        self.create_timer(period_sec, self._step, clock=spin.STEADY_CLOCK)
        self._step()
        self._diagnostics = Diagnostics(self, self._judge)

    def shut_down(self) -> None:
        """Send zero velocity and say so."""
        self._publish(self._gate.shut_down())
        for publisher in (self._command_publisher, self._status_publisher):
            publisher.wait_for_all_acked(_LAST_WORDS)  # the process ends right after this

    def _apply(self, values: Mapping[str, Any]) -> None:
        self._gate.config = _config(values)

    def _on_action(self, message: TwistStamped, info: Mapping[str, Any]) -> None:
        now_sec = time.monotonic()
        age_sec = math.nan
        if not math.isnan(stamp_sec(message.header.stamp)):
            age_sec = 1e-9 * self.get_clock().now().nanoseconds - stamp_sec(message.header.stamp)
        reason = self._gate.accept(
            messages.command(message),
            now_sec=now_sec,
            age_sec=age_sec,
            source=messages.publisher_of(info),
            sequence=info.get('publication_sequence_number'),
        )
        if not reason:
            self._frame_id = message.header.frame_id
            self._command_stamp = message.header.stamp
        self._step()

    def _on_enable(self, request: SetBool.Request, response: SetBool.Response):
        self._gate.enable(request.data)
        self._step()
        response.success = True
        response.message = 'armed' if request.data else 'disarmed: the safe command is sent'
        return response

    def _step(self) -> None:
        self._output = self._gate.step(time.monotonic())
        self._publish(self._output)

    def _publish(self, output: GateOutput) -> None:
        now = self.get_clock().now().to_msg()
        message = self._robot_output.message(output.command, now, self._frame_id)
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
        return {'gate': health.of_gate(self._gate, self._output)}

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


def _config(values: Mapping[str, Any]) -> GateConfig:
    """The parameters that are fields of :class:`GateConfig`."""
    names = {field.name for field in fields(GateConfig)}
    return GateConfig(**{name: values[f'gate.{name}'] for name in names})


def main(args: list[str] | None = None) -> int:
    """Entry point of ``gate_node``."""
    transport.leave_shared_memory()
    return spin.run(GateNode, args)


if __name__ == '__main__':
    sys.exit(main())

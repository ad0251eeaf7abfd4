# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Drives a robot at random behind the gate, so that a recording shows what its commands do.

It sends on the controller's topic, in the controller's place: limits, watchdog and ``enable`` stay
with the gate. It sends nothing before the service ``excite`` is called, and nothing after the time
that was asked for, so that nothing moves because a process came back.
"""

from __future__ import annotations

from grasp_ros.node import spin  # first: where ROS is missing, its error names the cure

# isort: split

import math
import sys
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
from geometry_msgs.msg import TwistStamped
from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from std_srvs.srv import SetBool

from grasp_ros.control.excitation import Wander
from grasp_ros.control.gate import STILL
from grasp_ros.errors import ConfigError
from grasp_ros.msg import GateStatus
from grasp_ros.node import messages, qos, tables
from grasp_ros.node.parameter_server import ParameterServer
from grasp_ros.node.passage import SILENT_SEC
from grasp_ros.node.twists import TwistLayout

FRAME = 'base_link'
_LAST_WORDS = Duration(seconds=0.2)
_NEWEST = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE)
# After these the gate passes nothing on until it is armed anew.
_LATCHED = (
    GateStatus.REASON_REARM_NEEDED,
    GateStatus.REASON_CONTROLLER_RESTARTED,
    GateStatus.REASON_SHUTDOWN,
)


class ExciteNode(Node):
    """Subscribes ``gate_status``; publishes ``action``; serves ``excite``."""

    def __init__(self) -> None:
        super().__init__('excite_node')
        self._wander: Wander | None = None
        self._layout: TwistLayout | None = None
        self._random = np.random.default_rng()
        self._settings = ParameterServer(
            self, tables.EXCITE, apply=self._apply,
            check=lambda values: excitation(values, np.random.default_rng()),
        )
        self._heard: GateStatus | None = None
        self._heard_sec = -math.inf
        self._left = 0
        self._publisher = self.create_publisher(
            TwistStamped, 'action', _NEWEST, **qos.publisher(self, 'action')
        )
        self.create_subscription(
            GateStatus, 'gate_status', self._on_gate, 1, **qos.subscription(self, 'gate_status')
        )
        self.create_service(SetBool, 'excite', self._on_excite)
        # On a steady clock: what the gate hears must not stop with a simulator's clock.
        period_sec = 1.0 / self._settings['excite.rate']
        self.create_timer(period_sec, self._step, clock=spin.STEADY_CLOCK)

    def shut_down(self) -> None:
        """Send zero velocity, if anything else was sent."""
        if self._wander is not None:
            self._end('the node is going down')
            self._publisher.wait_for_all_acked(_LAST_WORDS)  # the process ends right after this

    def _apply(self, values: Mapping[str, Any]) -> None:
        if self._wander is not None:  # the walk goes on, within other limits
            self._wander, self._layout = excitation(values, self._random)

    def _on_gate(self, status: GateStatus) -> None:
        self._heard, self._heard_sec = status, time.monotonic()

    def _on_excite(self, request: SetBool.Request, response: SetBool.Response):
        if not request.data:
            self._end('it was asked for')
            response.success, response.message = True, 'the robot stands'
            return response
        refusal = self._refusal()
        if refusal:
            response.success, response.message = False, refusal
            return response
        values = self._settings.values
        self._random = np.random.default_rng(values['excite.seed'])
        self._wander, self._layout = excitation(values, self._random)
        self._left = max(1, round(values['excite.duration_sec'] * values['excite.rate']))
        response.success = True
        response.message = (
            f'{values["excite.duration_sec"]:g} s of random commands with seed '
            f'{values["excite.seed"]}'
        )
        self.get_logger().info(response.message)
        return response

    def _refusal(self) -> str:
        """Why the robot cannot be excited now; empty where it can."""
        if self._wander is not None:
            return 'it is under way: call `excite` with false first'
        if self.count_publishers('action') > 1:
            return 'another node sends on `action`, and the gate takes one: stop it first'
        return self._objection()

    def _objection(self) -> str:
        """Why the gate passes nothing on; empty where it does, or would."""
        status = self._heard
        if status is None or time.monotonic() - self._heard_sec > SILENT_SEC:
            return 'no gate is heard: start gate_node, it alone drives the robot'
        if status.state == GateStatus.DISARMED or status.reason in _LATCHED:
            return f'the gate says: {status.text}'
        return ''

    def _step(self) -> None:
        if self._wander is None:
            return
        objection = self._objection()
        if objection:
            self._end(objection)
        elif not self._left:
            self._end('the time is up')
        else:
            self._left -= 1
            self._send(self._layout.command(self._wander.next()))

    def _end(self, reason: str) -> None:
        """Send zero velocity and fall silent."""
        if self._wander is None:
            return
        self._wander = None
        self._send(STILL)
        self.get_logger().info(f'no more random commands: {reason}')

    def _send(self, command) -> None:
        stamp = self.get_clock().now().to_msg()
        self._publisher.publish(messages.twist(command, stamp, FRAME))


def excitation(
    values: Mapping[str, Any], random: np.random.Generator
) -> tuple[Wander, TwistLayout]:
    """What the parameters ask for: commands, and where in the twist they go.

    :param random: of the commands
    :raises ConfigError: when there are not as many entries of each as fields
    """
    fields = values['excite.fields']
    limits = values['excite.max_command']
    shares = values['excite.amplitude'] or [1.0] * len(fields)
    if not fields:
        raise ConfigError('excite.fields is empty: name what the robot can do, e.g. [linear.x]')
    for name, entries in (('max_command', limits), ('amplitude', shares)):
        if len(entries) != len(fields):
            raise ConfigError(
                f'excite.{name}: {len(entries)} entries given, write {len(fields)}, one for each '
                f'of {", ".join(fields)}'
            )
    layout = TwistLayout(fields, [1.0] * len(fields), parameter='excite.fields')
    wander = Wander(
        random,
        np.multiply(limits, shares),
        hold_steps=max(1.0, values['excite.time_constant_sec'] * values['excite.rate']),
    )
    return wander, layout


def main(args: list[str] | None = None) -> int:
    """Entry point of ``excite_node``."""
    return spin.run(ExciteNode, args)


if __name__ == '__main__':
    sys.exit(main())

# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Publishes the health of a node's parts on ``/diagnostics``: once a second, and when it changes.

``diagnostic_updater`` is the usual way; it is not among the ROS 2 wheels, and it publishes at its
own rate only.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.node import Node

from grasp_ros.node.health import Health, Level
from grasp_ros.node.spin import STEADY_CLOCK

TOPIC = '/diagnostics'
PERIOD_SEC = 1.0
LOOK_SEC = 0.1  # how late a change may be told


class Diagnostics:
    """The health of one node's parts.

    On a steady clock, so that it also speaks where no image has come and no time passes.

    :param node: that the parts belong to
    :param judge: part -> its health now; must return at once
    :param logged: parts whose changes are logged in here; the others log for themselves
    """

    def __init__(
        self, node: Node, judge: Callable[[], Mapping[str, Health]], *, logged: Sequence[str] = ()
    ) -> None:
        self._node = node
        self._judge = judge
        self._logged = logged
        self._levels: dict[str, Level] = {}
        self._published_sec = 0.0
        self._publisher = node.create_publisher(DiagnosticArray, TOPIC, 1)
        node.create_timer(LOOK_SEC, self._look, clock=STEADY_CLOCK)

    def _look(self) -> None:
        parts = self._judge()
        levels = {name: health.level for name, health in parts.items()}
        now_sec = time.monotonic()
        if levels == self._levels and now_sec - self._published_sec < PERIOD_SEC:
            return
        for name in self._logged:
            if levels[name] is not self._levels.get(name, Level.OK):
                self._log(name, parts[name])
        self._levels, self._published_sec = levels, now_sec
        self._publish(parts)

    def _log(self, name: str, health: Health) -> None:
        # A call each: rclpy fixes the severity of each place in the source.
        text = f'{name}: {health.text}'
        if health.level is Level.OK:
            self._node.get_logger().info(text)
        elif health.level is Level.WARN:
            self._node.get_logger().warning(text)
        else:
            self._node.get_logger().error(text)

    def _publish(self, parts: Mapping[str, Health]) -> None:
        node = self._node
        array = DiagnosticArray()
        array.header.stamp = node.get_clock().now().to_msg()
        for name, health in parts.items():
            status = DiagnosticStatus(
                level=bytes([health.level]),
                name=f'{node.get_fully_qualified_name()}: {name}',
                message=health.text,
                hardware_id=node.get_fully_qualified_name(),
            )
            status.values = [KeyValue(key=k, value=_text(v)) for k, v in health.values.items()]
            array.status.append(status)
        self._publisher.publish(array)


def _text(value: float | int | str) -> str:
    return f'{value:.6g}' if isinstance(value, float) else str(value)

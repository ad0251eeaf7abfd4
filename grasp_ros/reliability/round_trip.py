# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Sends numbers of every type through the one place that casts, and prints the largest error.

A process of its own: whether rclpy checks the types of fields is decided at its start.
"""

from __future__ import annotations

from grasp_ros.node import spin  # first: where ROS is missing, its error has the cure

# isort: split

import time

import numpy as np
import rclpy
import torch
from geometry_msgs.msg import TwistStamped
from rclpy.node import Node

from grasp_ros.msg import SolverStatistics
from grasp_ros.node import messages

LIMIT_SEC = 20.0
# As they come out of planners, counters and arrays; all can be written exactly.
COMMAND = (np.float32(0.5), 2, torch.tensor(-0.25), np.int64(3), np.float64(0.125), True)
VALUES = {
    'cost': np.float32(0.5),
    'goal_distance': torch.tensor(0.25),
    'solve_sec': 2,
    'iterations': np.int64(7),
    'horizon': torch.tensor(40),
    'shift_steps': -1.0,
    'deadline_met': np.bool_(True),
}


def main() -> None:
    """Send, receive, compare."""
    with spin.initialised():
        node = Node('round_trip')
        heard: list = []
        publishers = []
        for kind, name in ((TwistStamped, 'twist'), (SolverStatistics, 'statistics')):
            publishers.append(node.create_publisher(kind, f'round_trip/{name}', 1))
            node.create_subscription(
                kind, f'round_trip/{name}', lambda message: heard.append(message), 1
            )
        until_sec = time.monotonic() + LIMIT_SEC
        while not all(publisher.get_subscription_count() for publisher in publishers):
            rclpy.spin_once(node, timeout_sec=0.05)
            if time.monotonic() > until_sec:
                raise SystemExit('the topics are not connected')
        publishers[0].publish(messages.twist(COMMAND, messages.to_time(0), ''))
        publishers[1].publish(messages.set_fields(SolverStatistics(), VALUES))
        while len(heard) < 2:
            rclpy.spin_once(node, timeout_sec=0.05)
            if time.monotonic() > until_sec:
                raise SystemExit('nothing was received')
        twist, statistics = sorted(heard, key=lambda m: isinstance(m, SolverStatistics))
        pairs = list(zip(messages.command(twist), COMMAND, strict=True))
        pairs += [(getattr(statistics, name), value) for name, value in VALUES.items()]
        print(max(abs(float(got) - float(sent)) for got, sent in pairs))
        node.destroy_node()


if __name__ == '__main__':
    main()

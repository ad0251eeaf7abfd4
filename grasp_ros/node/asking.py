# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What the commands that ask running nodes for something share."""

from __future__ import annotations

from grasp_ros.node import spin  # first: where ROS is missing, its error has the cure

# isort: split

import contextlib
import time
from collections.abc import Callable, Iterator

import click
import rclpy
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions

READY_SEC, ANSWER_SEC = 15.0, 5.0


@contextlib.contextmanager
def asking(name: str, namespace: str = '') -> Iterator[Node]:
    """A node for a block, in which Ctrl-C raises KeyboardInterrupt and leaves the node at work.

    :param name: of the node
    :param namespace: of those that are asked, with or without slashes around it
    """
    with spin.initialised([], signals=SignalHandlerOptions.NO):
        node = rclpy.create_node(name, namespace=namespace.strip('/'))
        try:
            yield node
        finally:
            node.destroy_node()


def wait(node: Node, condition: Callable[[], bool], limit_sec: float, failure: str) -> None:
    """Serve callbacks until a condition holds.

    :raises click.ClickException: with the failure, when it does not in time
    """
    until_sec = time.monotonic() + limit_sec
    while not condition():
        if time.monotonic() >= until_sec:
            raise click.ClickException(failure)
        rclpy.spin_once(node, timeout_sec=spin.HEARTBEAT_SEC)

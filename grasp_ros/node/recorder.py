# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""`grasp-ros record`: topics into a bag, where `ros2 bag record` is not at hand.

The bag is a plain one that `ros2 bag` reads. Messages are written as they came over the wire.
"""

from __future__ import annotations

from grasp_ros.node import spin  # first: where ROS is missing, its error names the cure

# isort: split

import importlib
import os
import signal
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import click
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.rosbag2.errors import WriterError

from grasp_ros.node.bag_types import typestore

LOOK_SEC = 0.2
_QUEUE = 200  # messages that may wait while the disk is busy


class Recorder(Node):
    """Subscribes topics as soon as somebody publishes them, and writes what comes.

    :param topics: names; those in a namespace and remapped ones under the names that they have
    :param writer: opened; closed by :meth:`shut_down`
    :param duration_sec: time after which the process is asked to end; None for never
    """

    def __init__(self, topics: Sequence[str], writer: Writer, duration_sec: float | None) -> None:
        super().__init__(f'recorder_{os.getpid()}')  # there may be several
        self._writer = writer
        self._waiting = [self.resolve_topic_name(topic) for topic in topics]
        self._counts = dict.fromkeys(self._waiting, 0)
        self._ends_sec = None if duration_sec is None else time.monotonic() + duration_sec
        self.create_timer(LOOK_SEC, self._look, clock=spin.STEADY_CLOCK)

    def shut_down(self) -> None:
        """Close the bag."""
        self._writer.close()
        for topic, count in self._counts.items():
            what = 'nobody published it' if topic in self._waiting else f'{count} messages'
            self.get_logger().info(f'{topic}: {what}')

    def _look(self) -> None:
        for topic in list(self._waiting):
            publishers = self.get_publishers_info_by_topic(topic)
            if publishers:
                self._waiting.remove(topic)
                self._subscribe(topic, publishers)
        if self._ends_sec is not None and time.monotonic() >= self._ends_sec:
            signal.raise_signal(signal.SIGINT)  # as if somebody had pressed Ctrl-C

    def _subscribe(self, topic: str, publishers: Sequence) -> None:
        kind = publishers[0].topic_type
        if kind not in typestore().types:
            self.get_logger().error(f'{topic} is left out: {kind} is not known here')
            return
        connection = self._writer.add_connection(topic, kind, typestore=typestore())
        package, _, name = kind.split('/')
        # What one publisher sends with best effort no reliable subscription hears.
        offered = {publisher.qos_profile.reliability for publisher in publishers}
        reliable = offered == {ReliabilityPolicy.RELIABLE}
        profile = QoSProfile(
            depth=_QUEUE,
            reliability=ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT,
        )
        message = getattr(importlib.import_module(f'{package}.msg'), name)
        self.create_subscription(
            message, topic, partial(self._write, topic, connection), profile, raw=True
        )
        self.get_logger().info(f'{topic} ({kind}) is recorded')

    def _write(self, topic: str, connection, data: bytes) -> None:
        self._writer.write(connection, self.get_clock().now().nanoseconds, data)
        self._counts[topic] += 1


@click.command('record')
@click.argument('topics', nargs=-1, required=True)
@click.option('--out', required=True, type=click.Path(path_type=Path), help='Folder of the bag.')
@click.option('--storage', type=click.Choice(['mcap', 'sqlite3']), default='mcap',
              show_default=True)
@click.option('--duration', 'duration_sec', type=click.FloatRange(0.1),
              help='Seconds; until Ctrl-C unless stated.')
def command(topics: tuple[str, ...], out: Path, storage: str, duration_sec: float | None) -> None:
    """Record TOPICS until Ctrl-C, into a bag that `ros2 bag` reads as well.

    Each is recorded from when somebody publishes it on. Where ROS 2 is installed, `ros2 bag
    record` does the same and more.
    """
    try:
        writer = Writer(out, version=9, storage_plugin=StoragePlugin[storage.upper()])
        writer.open()
    except (WriterError, OSError) as error:
        raise click.ClickException(str(error)) from error
    sys.exit(spin.run(lambda: Recorder(topics, writer, duration_sec), []))

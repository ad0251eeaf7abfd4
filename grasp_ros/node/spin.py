# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Runs a node until a signal, and lets it say its last word."""

from __future__ import annotations

import contextlib
import gc
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence

try:
    import rclpy
    from rclpy.clock import Clock
    from rclpy.clock_type import ClockType
    from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
    from rclpy.node import Node
    from rclpy.signals import SignalHandlerOptions

    import grasp_ros.msg  # noqa: F401
except ImportError as error:
    raise ImportError(
        f'{error}. The nodes need ROS 2 and the messages of grasp_ros: with ROS 2 installed, '
        '`colcon build --packages-select grasp_ros` and source install/setup.bash; without, '
        "`GRASP_ROS_MESSAGES=1 pip install '.[ros]'` in the source folder"
    ) from error

from grasp_ros.errors import GraspError

HEARTBEAT_SEC = 0.1
_LAST_WORDS_SEC = 0.5
_LAST_CALLBACKS = 5
STEADY_CLOCK = Clock(clock_type=ClockType.STEADY_TIME)


@contextlib.contextmanager
def initialised(
    args: Sequence[str] | None = None, *, signals: SignalHandlerOptions | None = None
) -> Iterator[None]:
    """rclpy for a block; on Jazzy what ``rclpy.init`` returns cannot be used for that.

    :param signals: which of them end it; all unless stated
    """
    rclpy.init(args=args, signal_handler_options=signals)
    try:
        yield
    finally:
        rclpy.try_shutdown()


def run(make_node: Callable[[], Node], args: Sequence[str] | None = None) -> int:
    """Make a node, spin it until SIGINT, SIGTERM or SIGHUP, shut it down.

    The node may have ``shut_down()``, which sends its last messages, and ``is_settled()``, which
    tells when results that clients wait for have gone out.

    rclpy's own signal handlers invalidate the context at once; the safe command could not be
    sent any more. So the signals are handled here.

    :return: exit code: 0 after a signal, 1 when the node could not be made
    """
    rclpy.init(args=args, signal_handler_options=SignalHandlerOptions.NO)
    stop_requested = []

    def on_signal(number, frame) -> None:
        stop_requested.append(number)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # A terminal that closes ends what it started, but for what was told to outlive it.
        if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, on_signal)
    executor = SingleThreadedExecutor()
    node = None
    try:
        node = make_node()
        # A node without any timer may sleep through a signal: the wait is in C.
        node.create_timer(HEARTBEAT_SEC, lambda: None, clock=STEADY_CLOCK)
        executor.add_node(node)
        while rclpy.ok() and not stop_requested:
            executor.spin_once()
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    except GraspError as error:
        print(f'{type(error).__name__} {error.code}: {error}', file=sys.stderr)
        return 1
    finally:
        if node is not None:
            _end(node, executor)
        # What belongs to a node goes with it, or others see it for the 20 s of its lease. Some of
        # that lies in cycles, and in what was frozen, where the collector does not look.
        node = executor = None
        gc.unfreeze()
        gc.collect()
        rclpy.try_shutdown()
    return 0


def _end(node: Node, executor: SingleThreadedExecutor) -> None:
    if rclpy.ok() and hasattr(node, 'shut_down'):
        node.shut_down()
        if hasattr(node, 'is_settled'):
            _spin_until_settled(node, executor)
    executor.shutdown(timeout_sec=_LAST_WORDS_SEC)
    node.destroy_node()


def _spin_until_settled(node: Node, executor: SingleThreadedExecutor) -> None:
    until_sec = time.monotonic() + _LAST_WORDS_SEC
    while time.monotonic() < until_sec and not node.is_settled():
        executor.spin_once(timeout_sec=0.01)
    for _ in range(_LAST_CALLBACKS):  # a result goes out one callback after it is there
        executor.spin_once(timeout_sec=0.01)

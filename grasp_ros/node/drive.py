# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""`grasp-ros drive`: sends a goal and tells how it goes, where `ros2` is not at hand."""

from __future__ import annotations

from grasp_ros.node.asking import ANSWER_SEC, READY_SEC, asking, wait

# isort: split

import math
import sys
import time

import click
from rclpy.action import ActionClient
from rclpy.action.client import ClientGoalHandle
from rclpy.node import Node

from grasp_ros.action import DriveToGoalImage

TELL_SEC = 1.0  # between two lines


@click.command('drive')
@click.argument('name')
@click.option('--timeout', 'timeout_sec', type=click.FloatRange(0.0), default=0.0,
              help='Seconds; by the parameter goal.timeout_sec unless stated.')
@click.option('--namespace', default='', help='Of the controller, e.g. robot_1.')
def command(name: str, timeout_sec: float, namespace: str) -> None:
    """Drive to the goal that was saved as NAME.

    As `ros2 action send_goal`: exits with 1 when the goal is not reached, and Ctrl-C cancels it.
    """
    if not math.isfinite(timeout_sec):
        raise click.BadParameter('a number of seconds is needed', param_hint='--timeout')
    with asking('drive', namespace) as node:
        result = _drive(node, DriveToGoalImage.Goal(goal_name=name, timeout_sec=timeout_sec))
    click.echo(result.reason)
    sys.exit(result.code != result.SUCCESS)


def _drive(node: Node, goal: DriveToGoalImage.Goal) -> DriveToGoalImage.Result:
    """Send a goal and follow it to its end, which an interrupt brings about."""
    client = ActionClient(node, DriveToGoalImage, 'drive_to_goal_image')
    served = node.resolve_service_name('drive_to_goal_image')
    wait(node, client.server_is_ready, READY_SEC, f'nobody serves {served}')
    told_sec = [-math.inf]

    def tell(message) -> None:
        feedback, now_sec = message.feedback, time.monotonic()
        if now_sec - told_sec[0] >= TELL_SEC:
            told_sec[0] = now_sec
            click.echo(f'{feedback.elapsed_sec:5.1f} s  distance {feedback.goal_distance:.3g}, '
                       f'tolerance {feedback.goal_tolerance:.3g}')

    sent = client.send_goal_async(goal, feedback_callback=tell)

    def accepted() -> ClientGoalHandle:
        wait(node, sent.done, ANSWER_SEC, f'no answer of {served} in {ANSWER_SEC:g} s')
        if not sent.result().accepted:
            raise click.ClickException(f'{served} takes no goal: the controller is not active')
        return sent.result()

    try:
        ended = accepted().get_result_async()
        wait(node, lambda: ended.done() or not client.server_is_ready(), math.inf, '')
    except KeyboardInterrupt:  # also before it was accepted, or it would be driven to unwatched
        handle = accepted()
        ended = handle.get_result_async()
        handle.cancel_goal_async()
        wait(node, ended.done, ANSWER_SEC, 'the goal was cancelled, and no answer came')
    if not ended.done():
        raise click.ClickException(f'{served} is gone: the controller has ended')
    return ended.result().result

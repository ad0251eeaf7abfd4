# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""`grasp-ros call`: turns something on or off by its service, where `ros2` is not at hand."""

from __future__ import annotations

from grasp_ros.node import spin  # first: where ROS is missing, its error has the cure

# isort: split

import sys
import time

import click
import rclpy
from std_srvs.srv import SetBool

READY_SEC, ANSWER_SEC = 15.0, 5.0


@click.command('call')
@click.argument('service')
@click.argument('on', type=bool)
def command(service: str, on: bool) -> None:
    """Call SERVICE, a std_srvs/SetBool such as `enable` or `excite`, with ON, true or false.

    As `ros2 service call SERVICE std_srvs/srv/SetBool '{data: ON}'`. Exits with 1 when it is
    refused.
    """
    with spin.initialised():
        node = rclpy.create_node('call')
        try:
            client = node.create_client(SetBool, service)
            if not client.wait_for_service(READY_SEC):
                raise click.ClickException(f'nobody serves {service}')
            future = client.call_async(SetBool.Request(data=on))
            until_sec = time.monotonic() + ANSWER_SEC
            while not future.done() and time.monotonic() < until_sec:
                rclpy.spin_once(node, timeout_sec=0.1)
            if not future.done():
                raise click.ClickException(f'no answer of {service} in {ANSWER_SEC:g} s')
            response = future.result()
        finally:
            node.destroy_node()
    click.echo(response.message)
    sys.exit(not response.success)

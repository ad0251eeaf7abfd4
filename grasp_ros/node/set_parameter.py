# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""`grasp-ros set`: sets a parameter of a running node, where `ros2` is not at hand."""

from __future__ import annotations

from grasp_ros.node.asking import ANSWER_SEC, READY_SEC, asking, wait

# isort: split

import click
from rcl_interfaces.msg import Parameter
from rclpy.parameter import get_parameter_value
from rclpy.parameter_client import AsyncParameterClient


@click.command('set', context_settings={'ignore_unknown_options': True})  # -3 is a value
@click.argument('node_name', metavar='NODE')
@click.argument('parameter')
@click.argument('value')
def command(node_name: str, parameter: str, value: str) -> None:
    """Set PARAMETER of NODE to VALUE, in YAML, as `ros2 param set` does.

    `grasp-ros set mpc_node planner.horizon 20`. Exits with 1 when it is refused.
    """
    wanted = Parameter(name=parameter, value=get_parameter_value(value))
    with asking('set_parameter') as node:
        client = AsyncParameterClient(node, node_name)
        wait(node, client.services_are_ready, READY_SEC, f'there is no node {node_name}')
        future = client.set_parameters([wanted])
        wait(node, future.done, ANSWER_SEC, f'no answer of {node_name} in {ANSWER_SEC:g} s')
        (result,) = future.result().results
    if not result.successful:
        raise click.ClickException(result.reason or f'{node_name} refuses {parameter} = {value}')
    click.echo(f'{parameter} = {value}')

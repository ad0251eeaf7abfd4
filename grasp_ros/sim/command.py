# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The command `grasp-ros world`: an embedded world for another simulator."""

from typing import TextIO

import click

from grasp_ros.errors import GraspError
from grasp_ros.sim.mjcf import to_mjcf
from grasp_ros.sim.sdf import to_sdf
from grasp_ros.sim.worlds import WORLDS, describe

FORMATS = {'sdf': to_sdf, 'mjcf': to_mjcf}


@click.command('world')
@click.argument('name', type=click.Choice(list(WORLDS)))
@click.option('--layout', type=int, help='Of a world that comes in several.')
@click.option('--format', 'format_name', type=click.Choice(list(FORMATS)), default='sdf',
              show_default=True, help='SDF is for Gazebo, MJCF for MuJoCo.')
@click.option('--output', type=click.File('w', encoding='utf-8', lazy=True), default='-',
              help='File to write; standard output unless stated.')
def command(name: str, layout: int | None, format_name: str, output: TextIO) -> None:
    """Write the embedded world NAME for another simulator.

    Gazebo cannot hold the worlds with inertia, for what drives its robot takes velocities only,
    and push_t with its block.
    """
    try:
        text = FORMATS[format_name](describe(name, layout=layout))
    except GraspError as error:
        raise click.ClickException(str(error)) from error
    click.echo(text, file=output)

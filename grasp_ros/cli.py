# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The command `grasp-ros`: a table of commands, each imported only when it is called.

So `grasp-ros --help` answers at once, and a command needs no more than its own extra.
"""

from __future__ import annotations

from importlib import import_module

import click

# Name: (module:attribute of a click command, its line in `grasp-ros --help`).
COMMANDS = {
    'benchmark': (
        'grasp_ros.benchmark.command:command', 'Measure planners against each other, without ROS.',
    ),
    'bag-to-dataset': (
        'grasp_ros.recording.convert:command', "Make training data of a robot's bags.",
    ),
    'calibrate': (
        'grasp_ros.training.calibrate:command',
        "Write limits on what is unforeseen into a model's card.",
    ),
    'call': ('grasp_ros.node.call:command', 'Call a service, without ROS tools.'),
    'demo': ('grasp_ros.node.demo:command', 'Drive to goals in the embedded world, over ROS 2.'),
    'doctor': ('grasp_ros.node.doctor:command', 'Tell what is installed and what does not work.'),
    'drive': ('grasp_ros.node.drive:command', 'Drive to a saved goal, without ROS tools.'),
    'evaluate': ('grasp_ros.training.evaluate:command', 'Measure a planner, without ROS.'),
    'faults': ('grasp_ros.reliability.command:command', 'Do to the nodes all that can go wrong.'),
    'import-model': (
        'grasp_ros.world_models.import_model:command',
        "Convert another library's checkpoint to safetensors and a card.",
    ),
    'large-images': (
        'grasp_ros.reliability.large_images:command',
        "Measure what the size of a camera's images costs.",
    ),
    'rates': (
        'grasp_ros.benchmark.rates:command',
        'Time planners on your model, or on one as large as LeWM or DINO-WM, without ROS.',
    ),
    'record': (
        'grasp_ros.node.recorder:command', 'Record topics into a bag, without ROS tools.',
    ),
    'replay': (
        'grasp_ros.recording.replay:command', 'Drive the controller again from a recorded run.',
    ),
    'set': (
        'grasp_ros.node.set_parameter:command',
        'Set a parameter of a running node, without ROS tools.',
    ),
    'soak': (
        'grasp_ros.reliability.soak:command', 'Drive for a long time under load and faults.',
    ),
    'stops': (
        'grasp_ros.training.stops:command',
        'Measure how soon what is seen stops the robot, and how often for nothing.',
    ),
    'train': ('grasp_ros.training.train:command', 'Train a world model from random-walk data.'),
    'world': ('grasp_ros.sim.command:command', 'Write an embedded world for Gazebo (SDF).'),
}
# What helps when the import of a module fails.
_ROS_CURE = (
    "source a ROS 2 workspace with grasp_ros, or GRASP_ROS_MESSAGES=1 pip install '.[ros]' "
    'in the source folder'
)
CURES = {
    'ament_index_python': _ROS_CURE,
    'matplotlib': 'pip install matplotlib',
    'mujoco': 'pip install mujoco-core',
    'PIL': 'pip install pillow',
    'rosbags': 'pip install rosbags',
    'rclpy': _ROS_CURE,
    'scipy': 'pip install scipy',
    'std_srvs': _ROS_CURE,
}


class LazyGroup(click.Group):
    """A group that imports a command's module when the command is called."""

    def list_commands(self, ctx):
        return sorted(COMMANDS)

    def get_command(self, ctx, cmd_name):
        if cmd_name not in COMMANDS:
            return None
        module, attribute = COMMANDS[cmd_name][0].split(':')
        try:
            return getattr(import_module(module), attribute)
        except ImportError as error:
            if error.name is None:  # raised on purpose, with the cure in its text
                raise click.ClickException(f'{cmd_name}: {error}') from error
            cure = CURES.get(error.name.partition('.')[0])
            if cure is None:
                raise
            raise click.ClickException(f'{cmd_name} needs {error.name}: {cure}') from error

    def format_commands(self, ctx, formatter):
        with formatter.section('Commands'):
            formatter.write_dl([(name, COMMANDS[name][1]) for name in self.list_commands(ctx)])


@click.group(cls=LazyGroup, context_settings={'help_option_names': ['-h', '--help']})
@click.version_option(package_name='grasp_ros', prog_name='grasp_ros')
def main():
    """GRASP planning with learned world models, as a receding horizon controller for ROS 2."""

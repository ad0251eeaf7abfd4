# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Controller and gate with a world in Gazebo as the robot; wants ros_gz_sim and ros_gz_bridge.

The arguments of mpc.launch.py hold here too, but for ``sim`` and ``use_sim_time``.
"""

import shlex
import subprocess
from pathlib import Path

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription, OpaqueFunction
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.logging import launch_config
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.substitutions import ExecutableInPackage, FindPackageShare

LAUNCH = Path(__file__).resolve().parent
CONFIG = LAUNCH.parent / 'config'

ARGUMENTS = [
    DeclareLaunchArgument(
        'world',
        default_value='two_rooms',
        # Not inertial_two_rooms: its commands are accelerations, VelocityControl takes velocities.
        choices=['two_rooms', 'staggered_walls', 'random_door'],
        description='The world, the one that the model was trained in.',
    ),
    DeclareLaunchArgument(
        'layout',
        default_value='',
        description='Layout of the walls: 0 to 24 in staggered_walls, 0 to 16 in random_door, '
        'empty in two_rooms.',
    ),
    DeclareLaunchArgument(
        'headless',
        default_value='false',
        choices=['true', 'false'],
        description="Without Gazebo's window.",
    ),
]


def start_gazebo(context):
    """Gazebo with the world, which is written to the folder of this launch's logs."""
    world, layout, headless = (
        LaunchConfiguration(argument.name).perform(context) for argument in ARGUMENTS
    )
    file = launch_config.get_log_file_path(f'{world}.sdf')
    # A process of its own: launch runs on the Python of ROS, which may lack the venv's packages.
    grasp_ros = ExecutableInPackage(executable='grasp-ros', package='grasp_ros').perform(context)
    command = [grasp_ros, 'world', world, '--format', 'sdf', '--output', file]
    subprocess.run([*command, '--layout', layout] if layout else command, check=True)
    options = '-r -s --headless-rendering' if headless == 'true' else '-r'
    gz_sim = PathJoinSubstitution([FindPackageShare('ros_gz_sim'), 'launch', 'gz_sim.launch.py'])
    arguments = {'gz_args': f'{options} {shlex.quote(file)}', 'on_exit_shutdown': 'true'}
    return [
        IncludeLaunchDescription(
            PythonLaunchDescriptionSource(gz_sim), launch_arguments=arguments.items()
        )
    ]


def generate_launch_description():
    controller_and_gate = IncludeLaunchDescription(
        PythonLaunchDescriptionSource(str(LAUNCH / 'mpc.launch.py')),
        launch_arguments={'sim': 'false', 'use_sim_time': 'true'}.items(),
    )
    bridge = Node(
        package='ros_gz_bridge',
        executable='parameter_bridge',
        name='gz_bridge',
        namespace=LaunchConfiguration('namespace'),
        parameters=[{'config_file': str(CONFIG / 'gz_bridge.yaml')}],
        remappings=[
            ('image_raw', LaunchConfiguration('image_topic')),
            ('cmd_vel', LaunchConfiguration('command_topic')),
        ],
        ros_arguments=['--log-level', LaunchConfiguration('log_level')],
        output='screen',
    )
    # Gazebo first: a world that cannot be written ends the launch before anything runs. The bridge
    # last: it takes the values of arguments that mpc.launch.py declares.
    return LaunchDescription(
        [*ARGUMENTS, OpaqueFunction(function=start_gazebo), controller_and_gate, bridge]
    )

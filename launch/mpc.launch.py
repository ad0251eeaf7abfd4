# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Controller and gate, and with ``sim:=true`` the embedded world as the robot.

Tuning stays in the parameter file; the arguments are what differs from one deployment to the next.
"""

import os
from pathlib import Path

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

CONFIG = Path(__file__).resolve().parents[1] / 'config'

ARGUMENTS = [
    DeclareLaunchArgument(
        'params_file',
        default_value=str(CONFIG / 'mpc.yaml'),
        description='Parameters of all nodes; a copy of config/mpc.yaml to begin with.',
    ),
    DeclareLaunchArgument(
        'namespace', default_value='', description='Namespace of all nodes, for several robots.'
    ),
    DeclareLaunchArgument(
        'use_sim_time',
        default_value='false',
        choices=['true', 'false'],
        description='Take the time from /clock. The embedded world runs in real time, without.',
    ),
    DeclareLaunchArgument(
        'autostart',
        default_value='true',
        choices=['true', 'false'],
        description='Configure and activate the controller; false = a lifecycle manager does.',
    ),
    DeclareLaunchArgument(
        'device',
        default_value='',
        description='Where model and planner run: cpu, cuda, ...; empty = as in params_file.',
    ),
    DeclareLaunchArgument(
        'image_topic',
        default_value='image_raw',
        description='Camera topic, sensor_msgs/Image; its name without /compressed.',
    ),
    DeclareLaunchArgument(
        'image_transport',
        default_value='',
        choices=['', 'raw', 'compressed'],
        description='raw, or compressed for sensor_msgs/CompressedImage on image_topic with '
        '/compressed behind it; empty = as in params_file.',
    ),
    DeclareLaunchArgument(
        'command_topic',
        default_value='cmd_vel',
        description='Topic that drives the robot.',
    ),
    DeclareLaunchArgument(
        'output_type',
        default_value='',
        choices=['', 'TwistStamped', 'Twist', 'Float64MultiArray'],
        description='What is sent on command_topic; the embedded world takes TwistStamped; '
        'empty = as in params_file.',
    ),
    DeclareLaunchArgument(
        'sim',
        default_value='false',
        choices=['true', 'false'],
        description='Start the embedded world too, with the gate armed from the start.',
    ),
    DeclareLaunchArgument(
        'world',
        default_value='',
        description='The embedded world, the one that the model was trained in: two_rooms, '
        'inertial_two_rooms, staggered_walls or random_door; empty = as in params_file.',
    ),
    DeclareLaunchArgument(
        'log_level',
        default_value='info',
        choices=['debug', 'info', 'warn', 'error', 'fatal'],
        description='Smallest severity that is logged.',
    ),
]


def start_nodes(context):
    """The nodes, now that the arguments have values."""
    value = {
        argument.name: LaunchConfiguration(argument.name).perform(context)
        for argument in ARGUMENTS
    }
    sim = value['sim'] == 'true'
    mpc = {'autostart': value['autostart'] == 'true'}
    if value['device']:
        mpc['model.device'] = value['device']
    if value['image_transport']:
        mpc['image_transport'] = value['image_transport']
    gate = {'gate.start_enabled': True} if sim else {}
    if value['output_type']:
        gate['gate.output_type'] = value['output_type']

    def node(executable, parameters, **options):
        return Node(
            package='grasp_ros',
            executable=executable,
            name=executable,
            namespace=value['namespace'],
            parameters=[
                value['params_file'],
                {'use_sim_time': value['use_sim_time'] == 'true', **parameters},
            ],
            remappings=[
                ('image_raw', value['image_topic']),
                ('cmd_vel', value['command_topic']),
            ],
            ros_arguments=['--log-level', value['log_level']],
            output='screen',
            **options,
        )

    nodes = [node('mpc_node', mpc), node('gate_node', gate)]
    if sim:
        # Large pictures do not fit the shared memory that Fast DDS takes by default.
        dds = 'FASTRTPS' if os.environ.get('ROS_DISTRO') == 'jazzy' else 'FASTDDS'
        profile = {f'{dds}_DEFAULT_PROFILES_FILE': str(CONFIG / 'fastdds.xml')}
        world = {'sim.world': value['world']} if value['world'] else {}
        nodes.append(node('sim_node', world, additional_env=profile))
    return nodes


def generate_launch_description():
    return LaunchDescription([*ARGUMENTS, OpaqueFunction(function=start_nodes)])

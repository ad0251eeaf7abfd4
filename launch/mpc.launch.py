# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Controller and gate, and with ``sim:=true`` the embedded world as the robot.

Tuning stays in the parameter file; the arguments are what differs from one deployment to the next.
Several robots: launch it once for each, with a namespace of its own.
"""

import os
import time
from pathlib import Path

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, ExecuteProcess, OpaqueFunction
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

CONFIG = Path(__file__).resolve().parents[1] / 'config'
RANGE = 'ROS_AUTOMATIC_DISCOVERY_RANGE'
RECORDED = [
    'camera_info', 'goal_image', 'action', 'solver_statistics', 'plan', 'plan_path', 'candidates',
    'cmd_vel', 'gate_status', 'ground_truth/pose', 'ground_truth/velocity', '/diagnostics',
    '/parameter_events', '/rosout', '/tf', '/tf_static',
]  # fmt: skip

ARGUMENTS = [
    DeclareLaunchArgument(
        'params_file',
        default_value=str(CONFIG / 'mpc.yaml'),
        description='YAML file with the parameters of all nodes; begin with a copy of '
        'config/mpc.yaml, in which every one is explained. What is set by an argument below comes '
        'before what the file says.',
    ),
    DeclareLaunchArgument(
        'namespace',
        default_value='',
        description='Namespace of all nodes and of their topics, services and actions, such as '
        'robot_1; empty = none. Two robots: launch this file twice, with two names.',
    ),
    DeclareLaunchArgument(
        'use_sim_time',
        default_value='',
        choices=['', 'true', 'false'],
        description='Take the time from /clock, of Gazebo or of a bag that is played. The '
        'embedded world runs in real time, without. Empty = use_sim_time of params_file, false '
        'where it says nothing.',
    ),
    DeclareLaunchArgument(
        'autostart',
        default_value='',
        choices=['', 'true', 'false'],
        description='Whether the controller configures and activates itself; false = a lifecycle '
        'manager, or `ros2 lifecycle set /mpc_node configure` and `activate`; empty = autostart '
        'of params_file.',
    ),
    DeclareLaunchArgument(
        'model',
        default_value='',
        description='World model: the name of one that ships, a folder, or '
        'python:package.module:function; empty = model.path of params_file.',
    ),
    DeclareLaunchArgument(
        'device',
        default_value='',
        description='Where model and planner run: cpu, cuda, cuda:1, ...; empty = model.device of '
        'params_file.',
    ),
    DeclareLaunchArgument(
        'image_topic',
        default_value='image_raw',
        description='Camera topic, sensor_msgs/Image, best effort; its name without /compressed. '
        'Relative to the namespace unless it begins with a slash.',
    ),
    DeclareLaunchArgument(
        'image_transport',
        default_value='',
        choices=['', 'raw', 'compressed'],
        description='raw, or compressed for sensor_msgs/CompressedImage on image_topic with '
        '/compressed behind it; empty = image_transport of params_file.',
    ),
    DeclareLaunchArgument(
        'command_topic',
        default_value='cmd_vel',
        description='Topic that drives the robot. Nothing but the gate may send on it. With '
        'output_type:=JointTrajectory mostly joint_trajectory_controller/joint_trajectory.',
    ),
    DeclareLaunchArgument(
        'output_type',
        default_value='',
        choices=['', 'TwistStamped', 'Twist', 'Float64MultiArray', 'JointTrajectory'],
        description='What is sent on command_topic; the embedded world takes TwistStamped; '
        'empty = gate.output_type of params_file.',
    ),
    DeclareLaunchArgument(
        'sim',
        default_value='false',
        choices=['true', 'false'],
        description='Start the embedded world too, with the gate armed from the start, and all '
        'nodes for this machine alone (ROS_AUTOMATIC_DISCOVERY_RANGE=LOCALHOST, unless that is '
        'set): a robot on the network must not follow what drives a simulation. Else the gate is '
        'armed by the service enable.',
    ),
    DeclareLaunchArgument(
        'world',
        default_value='',
        choices=[
            '', 'two_rooms', 'inertial_two_rooms', 'point_maze', 'push_t', 'staggered_walls',
            'random_door',
        ],
        description='With sim:=true: the embedded world, the one that the model was trained in '
        '(see model); empty = sim.world of params_file.',
    ),
    DeclareLaunchArgument(
        'rviz',
        default_value='false',
        choices=['true', 'false'],
        description='Start RViz, package rviz2, with config/mpc.rviz: camera, plan, candidates.',
    ),
    DeclareLaunchArgument(
        'record',
        default_value='',
        description='Folder, made where it is missing, in which `ros2 bag record`, package '
        'ros2bag, puts a bag of this run: pictures, commands, plans, statistics, diagnostics; '
        'empty = no bag. It is named after namespace and time. Pictures as image_transport above '
        'says, raw and compressed ones where it is empty.',
    ),
    DeclareLaunchArgument(
        'log_level',
        default_value='info',
        choices=['debug', 'info', 'warn', 'error', 'fatal'],
        description='Smallest severity that the nodes log.',
    ),
]


def start_nodes(context):
    """The nodes, now that the arguments have values."""
    value = {
        argument.name: LaunchConfiguration(argument.name).perform(context)
        for argument in ARGUMENTS
    }
    sim = value['sim'] == 'true'
    mpc = {}
    if value['autostart']:
        mpc['autostart'] = value['autostart'] == 'true'
    if value['model']:
        mpc['model.path'] = value['model']
    if value['device']:
        mpc['model.device'] = value['device']
    if value['image_transport']:
        mpc['image_transport'] = value['image_transport']
    gate = {'gate.start_enabled': True} if sim else {}
    if value['output_type']:
        gate['gate.output_type'] = value['output_type']

    clock = {}
    if value['use_sim_time']:
        clock['use_sim_time'] = value['use_sim_time'] == 'true'
    options = {
        'namespace': value['namespace'],
        'remappings': [('image_raw', value['image_topic']), ('cmd_vel', value['command_topic'])],
        'ros_arguments': ['--log-level', value['log_level']],
        'output': 'screen',
    }
    nearby = {RANGE: os.environ.get(RANGE, 'LOCALHOST')} if sim else {}

    def node(executable, parameters, env=None):
        return Node(
            package='grasp_ros',
            executable=executable,
            name=executable,
            parameters=[value['params_file'], {**clock, **parameters}],
            additional_env={**nearby, **(env or {})},
            **options,
        )

    if not Path(value['params_file']).is_file():
        # launch itself warns and starts all nodes with their defaults, limits included.
        raise RuntimeError(f'params_file: there is no file {value["params_file"]}')
    actions = []
    if value['rviz'] == 'true':
        # First: where it is not installed, nothing else may have been started. The topics in the
        # file are relative: namespace and remappings hold for them too.
        shown = ['-d', str(CONFIG / 'mpc.rviz')]
        actions.append(
            Node(
                package='rviz2', executable='rviz2', parameters=[clock], arguments=shown,
                additional_env=nearby, **options,
            )
        )
    actions += [node('mpc_node', mpc), node('gate_node', gate)]
    if sim:
        # Large pictures do not fit the shared memory that Fast DDS takes by default.
        dds = 'FASTRTPS' if os.environ.get('ROS_DISTRO') == 'jazzy' else 'FASTDDS'
        profile = {f'{dds}_DEFAULT_PROFILES_FILE': str(CONFIG / 'fastdds.xml')}
        world = {'sim.world': value['world']} if value['world'] else {}
        actions.append(node('sim_node', world, profile))
    if value['record']:
        actions.append(recorder(value, nearby))
    return actions


def recorder(value, env):
    """`ros2 bag record` of this run; it takes up each topic as soon as that is there."""
    namespace = value['namespace'].strip('/')
    image = value['image_topic']
    pictures = {'raw': [image], 'compressed': [f'{image}/compressed']}
    topics = pictures.get(value['image_transport'], [image, f'{image}/compressed'])
    topics += [value['command_topic'] if topic == 'cmd_vel' else topic for topic in RECORDED]
    prefix = f'/{namespace}/' if namespace else '/'
    folder = Path(value['record']).expanduser()
    folder.mkdir(parents=True, exist_ok=True)
    bag = '-'.join([*filter(None, namespace.split('/')), time.strftime('%Y-%m-%d-%H-%M-%S')])
    clock = ['--use-sim-time'] if value['use_sim_time'] == 'true' else []
    return ExecuteProcess(
        cmd=['ros2', 'bag', 'record', '--output', str(folder / bag), *clock, '--topics']
        + [topic if topic.startswith('/') else prefix + topic for topic in topics],
        additional_env=env,
        output='screen',
    )


def generate_launch_description():
    return LaunchDescription([*ARGUMENTS, OpaqueFunction(function=start_nodes)])

# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The launch files on the real launch system, where it is installed; Gazebo is not started."""

import runpy
import shlex
from pathlib import Path
from subprocess import CalledProcessError

import pytest

pytest.importorskip('launch_pytest', reason='launch_pytest comes with a ROS 2 installation only')
pytest.importorskip('grasp_ros.msg', reason='no messages: build the package with colcon')
import launch
import launch_pytest
from grasp_ros.msg import SolverStatistics
from launch.actions import IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import TextSubstitution
from launch_ros.actions import Node

from grasp_ros.reliability.rig import Result, Rig, open_client
from grasp_ros.sim.sdf import to_sdf
from grasp_ros.sim.worlds import describe

pytestmark = pytest.mark.processes

LAUNCH = Path(__file__).resolve().parents[1] / 'launch'
LAUNCH_FILE = LAUNCH / 'mpc.launch.py'
GAZEBO_FILE = LAUNCH / 'gazebo.launch.py'


ROBOTS = ('launched', 'another')


@launch_pytest.fixture(scope='module')
def description():
    def robot(namespace):
        source = PythonLaunchDescriptionSource(str(LAUNCH_FILE))
        arguments = {'sim': 'true', 'namespace': namespace, 'log_level': 'warn'}
        return IncludeLaunchDescription(source, launch_arguments=arguments.items())

    return launch.LaunchDescription(
        [*map(robot, ROBOTS), launch_pytest.actions.ReadyToTest()]
    )


@pytest.mark.launch(fixture=description)
def test_one_file_brings_robots_that_reach_a_goal_each(tmp_path):
    with open_client() as node:
        for namespace in ROBOTS:
            rig = Rig(node, f'/{namespace}', tmp_path)  # it watches; launch has started the nodes
            rig.wait_for_status(SolverStatistics.NO_GOAL)
            rig.place(0.25, 0.3)
            assert rig.drive(0.75, 0.3).code == Result.SUCCESS


@pytest.mark.parametrize(
    ('file', 'some'),
    [
        (LAUNCH_FILE, {'params_file', 'namespace', 'device', 'sim', 'world', 'rviz', 'record'}),
        (GAZEBO_FILE, {'params_file', 'namespace', 'device', 'world', 'layout', 'headless'}),
    ],
    ids=lambda value: getattr(value, 'name', ''),
)
def test_every_argument_is_described(file, some):
    source = PythonLaunchDescriptionSource(str(file))
    arguments = source.get_launch_description(launch.LaunchContext()).get_launch_arguments()
    assert some <= {entry.name for entry in arguments}
    assert all(entry.description for entry in arguments)


def launched(**arguments):
    """What mpc.launch.py starts with these arguments, as text, by executable."""
    context = launch.LaunchContext()
    module = runpy.run_path(str(LAUNCH_FILE))
    for argument in module['ARGUMENTS']:
        value = arguments.pop(argument.name, None)
        context.launch_configurations[argument.name] = (
            value or launch.utilities.perform_substitutions(context, argument.default_value)
        )
    assert not arguments
    started = {}
    for action in module['start_nodes'](context):
        if isinstance(action, Node):
            action._perform_substitutions(context)
            started[action.node_executable] = action
        else:
            words = [launch.utilities.perform_substitutions(context, word) for word in action.cmd]
            started['recorder'] = words
    return started


def test_rviz_follows_the_namespace_and_the_names_of_the_topics():
    started = launched(namespace='robot', rviz='true', image_topic='camera/image')
    # First: where it is not installed, launch ends before a node runs.
    assert list(started) == ['rviz2', 'mpc_node', 'gate_node']
    assert started['rviz2'].expanded_node_namespace == '/robot'
    assert ('image_raw', 'camera/image') in started['rviz2'].expanded_remapping_rules


def test_the_model_of_a_world_is_named_beside_it():
    started = launched(sim='true', world='point_maze', model='point_maze')
    said = {name: ' '.join(parameters_of(action)) for name, action in started.items()}
    assert 'model.path: point_maze' in said['mpc_node']
    assert 'sim.world: point_maze' in said['sim_node']


def parameters_of(action):
    """The parameter files that a node is started with, the last of which counts, as text."""
    # Names and remappings are filled in by launch itself, only when it starts the node.
    parts = [part for word in action.cmd for part in word]
    words = [part.text for part in parts if isinstance(part, TextSubstitution)]
    files = [words[n + 1] for n, word in enumerate(words) if word == '--params-file']
    return [Path(file).read_text() for file in files[1:]]


def test_a_parameter_file_that_is_not_there_starts_nothing():
    with pytest.raises(RuntimeError, match='there is no file /no/such.yaml'):
        launched(params_file='/no/such.yaml')


def test_a_bag_has_the_topics_of_its_robot_and_a_name_of_its_own(tmp_path):
    folder = tmp_path / 'new' / 'bags'
    words = launched(
        namespace='robot', record=str(folder), image_topic='/camera/image', command_topic='drive',
        image_transport='compressed',
    )['recorder']  # fmt: skip
    assert words[:4] == ['ros2', 'bag', 'record', '--output']
    bag = Path(words[4])
    assert bag.parent == folder and folder.is_dir() and bag.name.startswith('robot-')
    assert '--use-sim-time' not in words
    topics = words[words.index('--topics') + 1 :]
    assert {
        '/camera/image/compressed', '/robot/drive', '/robot/solver_statistics', '/robot/plan',
        '/diagnostics',
    } <= set(topics)  # fmt: skip
    assert not {'/robot/cmd_vel', '/robot/image_raw', '/camera/image'} & set(topics)
    assert '/robot/goal_image' in topics
    assert all(topic.startswith('/') for topic in topics)
    plain = launched(record=str(folder), use_sim_time='true')['recorder']
    # Which of the two the camera sends, the parameter file may say.
    pictures = {'/image_raw', '/image_raw/compressed'}
    assert '--use-sim-time' in plain and pictures | {'/cmd_vel'} <= set(plain)


def test_what_no_argument_says_is_left_to_the_parameter_file():
    silent = launched()
    said = ' '.join(parameters_of(silent['mpc_node']))
    assert 'autostart' not in said and 'use_sim_time' not in said
    loud = launched(autostart='false', use_sim_time='true')
    said = ' '.join(parameters_of(loud['mpc_node']))
    assert 'autostart: false' in said and 'use_sim_time: true' in said


def test_a_simulation_is_not_heard_outside_this_machine(monkeypatch):
    name = 'ROS_AUTOMATIC_DISCOVERY_RANGE'

    def ranges(**arguments):
        return {dict(env_of(action)).get(name) for action in launched(**arguments).values()}

    monkeypatch.delenv(name, raising=False)
    assert ranges(sim='true') == {'LOCALHOST'} and ranges() == {None}
    monkeypatch.setenv(name, 'SUBNET')
    assert ranges(sim='true') == {'SUBNET'}


def env_of(action):
    """What is added to the environment of a node, as text."""
    for pair in action.additional_env or ():
        yield tuple(''.join(part.text for part in parts) for parts in pair)


def start_gazebo(**arguments):
    """What gazebo.launch.py would run Gazebo with."""
    context = launch.LaunchContext()
    context.launch_configurations.update(arguments)
    (include,) = runpy.run_path(str(GAZEBO_FILE))['start_gazebo'](context)
    return dict(include.launch_arguments)


@pytest.mark.parametrize(
    ('headless', 'options'), [('false', ['-r']), ('true', ['-r', '-s', '--headless-rendering'])]
)
def test_gazebo_gets_the_world_that_was_asked_for(headless, options):
    arguments = start_gazebo(world='random_door', layout='3', headless=headless)
    *given, file = shlex.split(arguments['gz_args'])
    assert given == options
    assert Path(file).read_text().strip() == to_sdf(describe('random_door', layout=3))


def test_a_world_that_cannot_be_written_ends_the_launch():
    with pytest.raises(CalledProcessError):
        start_gazebo(world='staggered_walls', layout='25', headless='true')


def test_the_bridge_stands_where_the_nodes_of_the_namespace_look():
    """Controller and gate run by Gazebo's clock, without the embedded world."""
    entities = runpy.run_path(str(GAZEBO_FILE))['generate_launch_description']().entities
    (include,) = [entity for entity in entities if isinstance(entity, IncludeLaunchDescription)]
    assert dict(include.launch_arguments) == {'sim': 'false', 'use_sim_time': 'true'}
    context = launch.LaunchContext()
    context.launch_configurations.update(
        namespace='robot', image_topic='image', command_topic='command', log_level='info'
    )
    bridge = entities[-1]
    bridge._perform_substitutions(context)
    assert bridge.expanded_node_namespace == '/robot'
    assert bridge.expanded_remapping_rules == [('image_raw', 'image'), ('cmd_vel', 'command')]

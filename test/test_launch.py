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

from grasp_ros.reliability.rig import Result, Rig, open_client
from grasp_ros.sim.sdf import to_sdf
from grasp_ros.sim.worlds import describe

LAUNCH = Path(__file__).resolve().parents[1] / 'launch'
LAUNCH_FILE = LAUNCH / 'mpc.launch.py'
GAZEBO_FILE = LAUNCH / 'gazebo.launch.py'


@launch_pytest.fixture(scope='module')
def description():
    source = PythonLaunchDescriptionSource(str(LAUNCH_FILE))
    arguments = {'sim': 'true', 'namespace': 'launched', 'log_level': 'warn'}
    return launch.LaunchDescription(
        [
            IncludeLaunchDescription(source, launch_arguments=arguments.items()),
            launch_pytest.actions.ReadyToTest(),
        ]
    )


@pytest.mark.launch(fixture=description)
def test_one_command_brings_a_robot_that_reaches_a_goal(tmp_path):
    with open_client() as node:
        rig = Rig(node, '/launched', tmp_path)  # it watches; launch has started the nodes
        rig.wait_for_status(SolverStatistics.NO_GOAL)
        rig.place(0.25, 0.3)
        assert rig.drive(0.75, 0.3).code == Result.SUCCESS


@pytest.mark.parametrize(
    ('file', 'some'),
    [
        (LAUNCH_FILE, {'params_file', 'namespace', 'device', 'sim', 'world'}),
        (GAZEBO_FILE, {'params_file', 'namespace', 'device', 'world', 'layout', 'headless'}),
    ],
    ids=lambda value: getattr(value, 'name', ''),
)
def test_every_argument_is_described(file, some):
    source = PythonLaunchDescriptionSource(str(file))
    arguments = source.get_launch_description(launch.LaunchContext()).get_launch_arguments()
    assert some <= {entry.name for entry in arguments}
    assert all(entry.description for entry in arguments)


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

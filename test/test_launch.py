# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The launch file on the real launch system, where it is installed."""

from pathlib import Path

import pytest

pytest.importorskip('launch_pytest', reason='launch_pytest comes with a ROS 2 installation only')
pytest.importorskip('grasp_ros.msg', reason='no messages: build the package with colcon')
import launch
import launch_pytest
from grasp_ros.msg import SolverStatistics
from launch.actions import IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource

from grasp_ros.reliability.rig import Result, Rig, open_client

LAUNCH_FILE = Path(__file__).resolve().parents[1] / 'launch' / 'mpc.launch.py'


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


def test_every_argument_is_described():
    source = PythonLaunchDescriptionSource(str(LAUNCH_FILE))
    arguments = source.get_launch_description(launch.LaunchContext()).get_launch_arguments()
    names = {entry.name for entry in arguments}
    assert {'params_file', 'namespace', 'device', 'sim', 'world'} <= names
    assert all(entry.description for entry in arguments)

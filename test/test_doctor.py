# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""``grasp-ros doctor``: well where all is well, and the cure where it is not."""

import importlib.metadata
import os

import pytest
from click.testing import CliRunner

pytest.importorskip('grasp_ros.msg', reason='no messages: GRASP_ROS_MESSAGES=1 pip install .[ros]')
pytest.importorskip('mujoco', reason='no embedded world: pip install .[sim]')
import rclpy

from grasp_ros.node import doctor, parameters, tables
from grasp_ros.node.processes import NodeProcess, environment

pytestmark = pytest.mark.processes

VALUES, GATE = (parameters.defaults(tables.TABLES[node]) for node in ('mpc_node', 'gate_node'))


def test_all_is_well_here():
    before = dict(os.environ)
    result = CliRunner().invoke(doctor.command)
    assert result.exit_code == 0, result.output
    for line in ('rclpy of', 'another process was heard', 'image to action', 'contradict'):
        assert line in result.output
    assert 'fail' not in result.output
    assert dict(os.environ) == before  # what it finds is what the user's own nodes would


@pytest.mark.parametrize(
    'text, reason',
    [
        ('/**: {ros__parameters: {planner.horizon: 0}}', 'planner.horizon: 0 given'),
        ('/**: {ros__parameters: {model.path: nowhere}}', 'nowhere'),
        ('/**: {ros__parameters: {control.deadline_sec: 5.0}}', 'longer than the control period'),
        ('/**: {ros__parameters: {gate.rate: 2.0}}', 'whether commands still come'),
        ('/**: {ros__parameters: [', 'params.yaml'),
    ],
)
def test_a_parameter_file_that_no_node_would_start_with(tmp_path, monkeypatch, text, reason):
    monkeypatch.setattr(doctor, 'discovery', lambda: [])
    file = tmp_path / 'params.yaml'
    file.write_text(text, encoding='utf-8')
    result = CliRunner().invoke(doctor.command, ['--params-file', str(file)])
    assert result.exit_code == 1 and reason in result.output, result.output


@pytest.mark.parametrize(
    'change, text',
    [
        ({'gate.command_timeout_sec': 0.1}, 'one late command stops the robot'),
        ({'control.image_timeout_sec': 0.15}, 'one lost image stops the robot'),
        ({'gate.dry_run': True}, 'the robot does not move'),
        ({'gate.speed_scale': 0.0}, 'the robot does not move'),
    ],
)
def test_parameters_that_do_not_go_together(change, text):
    (finding,) = doctor.together(VALUES | change, GATE | change, period_sec=0.1)
    assert finding.level == 'warn' and text in finding.text
    assert finding.cure.split()[0] in change


def test_the_defaults_go_together():
    (finding,) = doctor.together(VALUES, GATE, period_sec=0.1)
    assert finding.level == 'ok'


def test_it_reads_parameters_where_rclpy_has_no_context_manager(monkeypatch):
    init = rclpy.init
    monkeypatch.setattr(rclpy, 'init', lambda **options: init(**options) and None)  # Jazzy
    assert doctor.read_parameters(None, 'gate_node') == GATE
    assert not rclpy.ok()


def test_two_installations_of_ros_are_found():
    if not doctor.is_from_pip():
        pytest.skip('ROS 2 is not from wheels here')
    levels = [finding.level for finding in doctor.ros({'ROS_DISTRO': 'jazzy'})]
    assert levels == ['fail'] and [f.level for f in doctor.ros({})] == ['ok']


def test_what_is_missing_is_named_with_its_cure(monkeypatch):
    def version(name):
        if name in ('torch', 'mujoco-core'):
            raise importlib.metadata.PackageNotFoundError(name)
        return '1.0'

    monkeypatch.setattr(importlib.metadata, 'version', version)
    found = {finding.subject: finding for finding in doctor.software()}
    assert (found['torch'].level, found['torch'].cure) == ('fail', 'pip install torch')
    simulator = found['mujoco-core']
    assert simulator.level == 'warn' and 'pip install mujoco-core' in simulator.cure
    assert found['numpy'].level == 'ok'


def test_lost_images_are_counted_by_the_numbers_of_their_publisher():
    whole = doctor.of_camera('c', range(5, 35), 1.0, size=12_288)
    assert whole.level == 'ok' and '30.0 Hz, 100.0% of 30' in whole.text
    lossy = [doctor.of_camera('c', range(1, 32, 3), 1.0, size=size) for size in (10**4, 10**6)]
    assert all(f.level == 'warn' and '35.5% of 31' in f.text for f in lossy)
    assert 'fastdds.xml' not in lossy[0].cure and 'fastdds.xml' in lossy[1].cure
    silent = doctor.of_camera('c', [None] * 30, 1.0, size=12_288)  # as with Cyclone DDS
    assert silent.level == 'ok' and '30.0 Hz; how many were lost is not known' in silent.text


def test_a_camera_that_runs_and_one_that_nobody_publishes(tmp_path, monkeypatch):
    env = environment()
    monkeypatch.setenv('ROS_AUTOMATIC_DISCOVERY_RANGE', env['ROS_AUTOMATIC_DISCOVERY_RANGE'])
    world = NodeProcess('sim_node', log=tmp_path / 'log', env=env, namespace='/doctored')
    try:
        (finding,) = doctor.camera('doctored/image_raw', 1.0)
    finally:
        world.stop()
    assert finding.level in ('ok', 'warn') and '64x64 rgb8' in finding.text
    monkeypatch.setattr(doctor, 'HEARD_SEC', 0.3)
    (finding,) = doctor.camera('/nobody/image_raw', 1.0)
    assert finding.level == 'fail' and 'nobody' in finding.text

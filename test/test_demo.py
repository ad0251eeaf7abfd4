# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The main job as a user starts it: processes, DDS, progress, a picture, an exit code."""

import importlib.util
import json
import shutil
import subprocess
import sys

import pytest
from PIL import Image

from grasp_ros.world_models.checkpoint import resolve

if importlib.util.find_spec('rclpy') is None:
    pytest.skip('rclpy is not installed: the demo needs ROS 2', allow_module_level=True)

FIELDS = {
    'goals', 'reached', 'held', 'ticks', 'deadline_misses', 'control_rate_hz', 'tick_ms',
    'image_to_action_ms', 'false_success',
}


def run(folder, *arguments, before=''):
    code = f'from grasp_ros.node import demo\n{before}\ndemo.command()'
    command = [sys.executable, '-c', code, '--out', folder, '--json', folder / 'demo.json']
    return subprocess.run(
        [str(part) for part in [*command, *arguments]],
        capture_output=True, text=True, timeout=110, check=False,
    )


@pytest.mark.processes
def test_the_demo_drives_to_a_goal_and_leaves_numbers_and_a_picture(tmp_path):
    result = run(tmp_path, '--goals', 1, '--seed', 3)
    assert result.returncode == 0, result.stdout + result.stderr
    assert '1 of 1 goals reached' in result.stdout
    report = json.loads((tmp_path / 'demo.json').read_text())
    assert report.keys() >= FIELDS
    assert (report['goals'], report['reached'], report['false_success']) == (1, 1, 0)
    assert report['ticks'] > 10
    assert set(report['tick_ms']) == {'p50', 'p99', 'max'}
    with Image.open(tmp_path / 'demo.gif') as picture:
        assert picture.n_frames > 5


@pytest.mark.processes
def test_a_missed_goal_is_an_exit_code(tmp_path):
    # Nothing is ever within 0 m of a goal: the controller succeeds, the ground truth says no.
    never_near = 'from grasp_ros.sim import scoring; scoring.NEAR = 0.0'
    result = run(tmp_path, '--goals', 1, '--seed', 3, before=never_near)
    assert result.returncode == 1, result.stdout + result.stderr
    report = json.loads((tmp_path / 'demo.json').read_text())
    assert (report['reached'], report['held'], report['false_success']) == (0, 0, 1)


def test_a_model_that_is_not_there_ends_the_demo_with_the_reason(tmp_path):
    result = run(tmp_path, '--goals', 1, '--model', tmp_path / 'nothing')
    assert result.returncode == 1
    assert 'no checkpoint' in result.stderr


@pytest.mark.processes
def test_a_model_that_the_controller_cannot_load_ends_the_demo_with_the_reason(tmp_path):
    model = tmp_path / 'no_weights'
    model.mkdir()
    shutil.copy(resolve('two_rooms') / 'card.json', model)
    result = run(tmp_path, '--goals', 1, '--model', model)
    assert result.returncode == 1
    assert 'the controller: configure failed' in ' '.join(result.stderr.split())
    assert 'model.safetensors' in result.stderr
    assert 'model.safetensors' in (tmp_path / 'logs' / 'mpc_node.log').read_text()


def test_a_model_whose_goals_are_no_places_of_the_robot_is_refused_with_the_cure(tmp_path):
    card = json.loads((resolve('two_rooms') / 'card.json').read_text())
    card['training']['world'] = 'push_t'
    (tmp_path / 'card.json').write_text(json.dumps(card))
    result = run(tmp_path, '--goals', 1, '--model', tmp_path)
    assert result.returncode == 1
    assert 'push_t' in result.stderr and 'grasp-ros evaluate' in result.stderr

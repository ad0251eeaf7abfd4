# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""docs/your_robot.md: its commands are those that there are, and its pipeline runs."""

import os
import re
import shlex
import signal
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import click
import pytest
import yaml

from grasp_ros.cli import COMMANDS
from grasp_ros.node import parameters, tables
from grasp_ros.training import recorded
from grasp_ros.world_models import checkpoint

pytestmark = pytest.mark.processes

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / 'docs' / 'your_robot.md').read_text(encoding='utf-8')
PIPELINE = PAGE.split('<!-- pipeline -->')[1].split('```')[1].removeprefix('sh\n')


def documented():
    """The grasp-ros commands of the page, as words."""
    text = PAGE.replace('\\\n', ' ')
    lines = [line.strip() for line in text.splitlines()]
    lines += re.findall(r'`(grasp-ros [^`]*)`', ' '.join(lines))
    for line in lines:
        for command in re.findall(r'grasp-ros ([a-z].*?)(?:;|&|$)', line):
            if command.split()[0] in COMMANDS and '`' not in command:
                yield shlex.split(command)


@pytest.mark.parametrize('words', documented(), ids=' '.join)
def test_every_command_of_the_page_exists_and_takes_these_options(words):
    if words[0] in ('record', 'call'):
        pytest.importorskip('grasp_ros.msg', reason='no messages: GRASP_ROS_MESSAGES=1')
    if words[0] in ('record', 'replay', 'bag-to-dataset'):
        pytest.importorskip('rosbags', reason='no bags: pip install .[bag]')
    module, attribute = COMMANDS[words[0]][0].split(':')
    command = getattr(import_module(module), attribute)
    context = click.Context(command, info_name=words[0])
    values, rest, _ = command.make_parser(context).parse_args(
        [word for word in words[1:] if word != '$QUICK'])
    assert not rest and values


def test_its_parameters_are_those_of_the_table():
    (text,) = re.findall(r'```yaml\n(.*?)```', PAGE, flags=re.DOTALL)
    ((_, content),) = yaml.safe_load(text).items()
    values = {f'excite.{name}': value for name, value in
              content['ros__parameters']['excite'].items()}
    assert set(values) <= {parameter.name for parameter in tables.EXCITE}
    assert parameters.problem(tables.EXCITE, values) is None


def test_the_pipeline_of_the_page_ends_with_a_model_that_is_evaluated(tmp_path):
    pytest.importorskip('grasp_ros.msg', reason='no messages: GRASP_ROS_MESSAGES=1 builds them')
    pytest.importorskip('mujoco', reason='no embedded world: pip install .[sim]')
    pytest.importorskip('rosbags', reason='no bags: pip install .[bag]')
    env = os.environ | {
        'PATH': f'{Path(sys.executable).parent}{os.pathsep}{os.environ["PATH"]}',
        'OUT': str(tmp_path), 'ROBOTS': '1', 'DRIVE_SEC': '13.0', 'QUICK': '--quick',
        'EPISODES': '1', 'DOMAIN': str(int(os.environ['ROS_DOMAIN_ID']) - 1),
        'OMP_NUM_THREADS': '1',
    }  # fmt: skip
    log = tmp_path / 'log'
    with log.open('w') as output:
        process = subprocess.Popen(['bash', '-ec', PIPELINE], cwd=tmp_path, env=env, stdout=output,
                                   stderr=subprocess.STDOUT, start_new_session=True)
        try:
            assert process.wait(timeout=110) == 0, log.read_text()
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
    said = log.read_text()
    assert '13 s of random commands with seed 1' in said and 'the time is up' in said
    data = recorded.load(tmp_path / 'data')
    (report,) = data.report.values()
    assert report['steps_with_a_frame_in_time'] > 0.9 and not report['refused']
    assert sum(frames for _, frames in data.episodes) > 300
    card = checkpoint.load_card(tmp_path / 'model' / 'two_rooms')
    assert card.actions == checkpoint.load_card('two_rooms').actions
    assert 'goal claimed reached' in said

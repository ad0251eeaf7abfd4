# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Cameras with many pixels: their images reach the controller, and the measurement of that."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from grasp_ros.errors import ConfigError
from grasp_ros.reliability.wide import Window
from grasp_ros.world_models import checkpoint
from grasp_ros.world_models.base import CameraSpec, Observation

pytestmark = pytest.mark.processes

SMALL = CameraSpec(height=4, width=3)


@given(st.integers(4, 40), st.integers(3, 40))
def test_what_was_enlarged_is_seen_as_it_was(height, width):
    window = Window(CameraSpec(height, width), SMALL)
    picture = np.arange(36, dtype=np.uint8).reshape(4, 3, 3)
    large = window.enlarge(picture)
    assert large.shape == (height, width, 3)
    assert (window.shrink(torch.from_numpy(large)).numpy() == picture).all()


def test_a_picture_that_does_not_fit_is_refused():
    with pytest.raises(ConfigError, match="3x3 pixels is smaller than the model's, 3x4"):
        Window(CameraSpec(height=3, width=3), SMALL)


def test_the_model_sees_through_the_large_camera_what_it_sees_through_its_own():
    large = checkpoint.load(
        'python:grasp_ros.reliability.wide:make?model=two_rooms&height=150&width=200'
    )
    small = checkpoint.load('two_rooms')
    ((camera, spec),) = large.card.cameras.items()
    assert (spec.height, spec.width) == (150, 200)
    picture = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    seen = [
        model.encode(Observation({camera: torch.from_numpy(shown)[None, None]}))
        for model, shown in ((large, large.window.enlarge(picture)), (small, picture))
    ]
    assert torch.equal(*seen)


def test_images_of_megabytes_reach_the_controller_and_are_counted(tmp_path):
    pytest.importorskip('grasp_ros.msg', reason='no messages: GRASP_ROS_MESSAGES=1 builds them')
    pytest.importorskip('mujoco', reason='no embedded world: pip install .[sim]')
    page, file = tmp_path / 'page.md', tmp_path / 'images.json'
    page.write_text('<!-- begin images -->\n<!-- end images -->\n', encoding='utf-8')
    command = [
        sys.executable, '-c', 'from grasp_ros.cli import main; main()', 'large-images',
        '--size', '1280x720', '--transport', 'udp', '--seconds', '2',
        '--json', str(file), '--markdown', str(page), '--out', str(tmp_path),
    ]  # fmt: skip
    result = subprocess.run(command, capture_output=True, text=True, timeout=120)
    # Whether the bars were kept is for a machine that does nothing else.
    assert '1280x720 over udp' in result.stdout, result.stderr
    (run,) = json.loads(file.read_text(encoding='utf-8'))['runs']
    # A third of them, where the sockets have the buffers that Linux gives unasked.
    assert run['received'] > 0.6 * run['sent'] > 30
    assert run['goals'] == 1 and not run['failed']
    assert '| udp | 1280x720 |' in page.read_text(encoding='utf-8')


def test_a_size_that_is_none_is_refused(tmp_path):
    pytest.importorskip('grasp_ros.msg', reason='no messages: GRASP_ROS_MESSAGES=1 builds them')
    from grasp_ros.reliability.large_images import command

    for size in ('large', '32x32'):
        result = CliRunner().invoke(command, ['--size', size, '--out', str(tmp_path)])
        assert result.exit_code == 2 and size in result.output

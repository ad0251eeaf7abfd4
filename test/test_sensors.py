# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Which messages become frames, by their stamps, their publisher and the clock."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip('grasp_ros.msg', reason='no messages: GRASP_ROS_MESSAGES=1 pip install .[ros]')
from sensor_msgs.msg import CompressedImage, Image

from grasp_ros.node import compressed_images, images, messages
from grasp_ros.node import sensor as module
from grasp_ros.node.images import fill
from grasp_ros.node.sensor import FUTURE_SEC, MOST_REASONS, QUIET_SEC
from grasp_ros.node.sensors import Sensors
from grasp_ros.world_models.base import ActionSpec, CameraSpec, ModelCard, SignalSpec

CARD = ModelCard(
    name='top',
    architecture={'type': 'none'},
    cameras={'top': CameraSpec(height=2, width=2)},
    actions=(ActionSpec('linear.x', 'm/s', -1.0, 1.0),),
    latent_shape=(1,),
    model_step_sec=0.1,
)
# Two cameras and an arm.
ARM = replace(
    CARD,
    cameras={'left': CameraSpec(height=2, width=2), 'right': CameraSpec(height=2, width=2)},
    proprioception=(SignalSpec('elbow', 'rad'), SignalSpec('speed', 'rad/s')),
)
FIELDS = ('position:elbow', 'velocity:wrist')
PICTURE = np.zeros((2, 2, 3), dtype=np.uint8)
START_SEC = 1000.0


class Bench:
    """Sensors whose clocks stand until they are set."""

    def __init__(self, card=CARD, **options):
        self.ros_sec = self.steady_sec = START_SEC
        self.resets = 0
        self.lines = []
        log = SimpleNamespace(info=self.lines.append, warning=self.lines.append)
        self.sensors = Sensors(
            card,
            now_ns=lambda: round(1e9 * self.ros_sec),
            logger=log,
            on_set_back=self.reset,
            **{'to_rgb': images.to_rgb, **options},
        )

    def reset(self):
        self.resets += 1
        self.sensors.forget()

    def pass_time(self, seconds):
        self.ros_sec += seconds
        self.steady_sec += seconds

    def take(self, age_sec=0.0, source='a', **changes):
        image = Image()
        fill(image, PICTURE)
        image.header.stamp = messages.to_time(int(1e9 * (self.ros_sec - age_sec)))
        for name, value in changes.items():
            setattr(image, name, value)
        return self.sensors.take('top', image, source)


@pytest.fixture
def make(monkeypatch):
    def make(*args, **options):
        made = Bench(*args, **options)
        monkeypatch.setattr(module.time, 'monotonic', lambda: made.steady_sec)
        return made

    return make


@pytest.fixture
def bench(make):
    return make()


def test_a_system_clock_that_was_set_back_starts_everything_anew(bench):
    assert bench.take()
    bench.pass_time(0.03)
    bench.ros_sec -= 3600.0
    assert bench.take() is not None
    assert bench.resets == 1
    bench.pass_time(0.03)
    assert bench.take() is not None and bench.resets == 1


def test_a_small_correction_of_the_clock_costs_a_few_frames_at_most(bench):
    assert bench.take()
    bench.ros_sec -= 0.5 * FUTURE_SEC
    assert bench.take() is None
    bench.pass_time(0.6 * FUTURE_SEC)
    assert bench.take() is not None and bench.resets == 0


def test_a_camera_that_was_started_again_is_taken_once_the_first_is_silent(bench):
    assert bench.take(source='a')
    bench.pass_time(0.9 * QUIET_SEC)
    assert bench.take(source='b') is None
    bench.pass_time(0.2 * QUIET_SEC)
    assert bench.take(source='b') is not None


def test_good_and_bad_images_in_turn_are_two_lines_not_two_each(bench):
    for n in range(100):
        bench.pass_time(0.03)
        assert (bench.take(height=n % 2 + 1) is None) == (n % 2 == 0)
    bench.pass_time(2 * QUIET_SEC)
    assert bench.take() is not None
    rejected, good = bench.lines
    assert '2x1' in rejected and good == 'images are good again'
    assert bench.sensors.rejected == 50 and bench.sensors.reason == ''


def test_many_reasons_are_some_lines_not_many(bench):
    for n in range(100):
        bench.pass_time(0.03)
        bench.take(step=7 + n)
    assert len(bench.lines) == MOST_REASONS and bench.sensors.rejected == 100


def test_compressed_images_are_frames_or_refused_counted_and_told_as_raw_ones_are(make):
    bench = make(to_rgb=compressed_images.to_rgb)
    image = CompressedImage()
    compressed_images.fill(image, PICTURE, format='png')
    frame = bench.sensors.take('top', image).frame
    assert np.array_equal(frame.images['top'], PICTURE)
    for n in (9, 20, 40):
        bench.pass_time(0.03)
        truncated = CompressedImage()
        truncated.data.frombytes(image.data.tobytes()[:n])
        assert bench.sensors.take('top', truncated) is None
    assert bench.sensors.rejected == 3
    assert bench.sensors.reason.startswith('images are refused: broken PNG')
    assert all(line.startswith('image rejected: broken PNG') for line in bench.lines)


@given(
    st.lists(
        st.tuples(
            st.floats(0.0, 1.0),  # time until then
            st.sampled_from([0.0, 0.0, 0.0, -10.0, 10.0]),  # the clock is set
            st.floats(-1.0, 1.0),  # age of the image by its stamp
            st.sampled_from('aab'),
        ),
        max_size=30,
    )
)
def test_whatever_comes_frames_are_newer_than_the_last_and_not_from_the_future(steps):
    bench, newest_sec, resets = Bench(), -1.0, 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module.time, 'monotonic', lambda: bench.steady_sec)
        for wait_sec, jump_sec, age_sec, source in steps:
            bench.pass_time(wait_sec)
            bench.ros_sec += jump_sec
            before = bench.sensors.rejected
            arrival = bench.take(age_sec, source)
            assert (arrival is None) == (bench.sensors.rejected == before + 1)
            if bench.resets > resets:
                resets, newest_sec = bench.resets, -1.0
            if arrival is not None:
                stamp_sec = arrival.frame.stamp_sec
                assert newest_sec < stamp_sec <= bench.ros_sec + FUTURE_SEC + 1e-6
                newest_sec = stamp_sec

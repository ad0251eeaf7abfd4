# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Which messages become frames, by their stamps, their publisher and the clock."""

import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip('grasp_ros.msg', reason='no messages: GRASP_ROS_MESSAGES=1 pip install .[ros]')
from sensor_msgs.msg import CompressedImage, Image, JointState

from grasp_ros.errors import ConfigError, ObservationError
from grasp_ros.node import compressed_images, images, messages, settings
from grasp_ros.node import sensor as module
from grasp_ros.node.images import fill
from grasp_ros.node.joints import JointReader
from grasp_ros.node.senders import SEVERAL
from grasp_ros.node.sensor import FUTURE_SEC, MOST_REASONS, QUIET_SEC
from grasp_ros.node.sensors import JOINTS, KEPT_IMAGES, KEPT_SIGNALS, Sensors
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
FIELDS = ('elbow/position', 'wrist/velocity')
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


def test_a_camera_that_is_not_known_at_once_is_no_other_one(bench):
    for source in (None, 'a', None, 'a'):
        bench.pass_time(0.03)
        assert bench.take(source=source) is not None


def test_where_nobody_tells_which_of_two_cameras_it_is_none_is_taken(bench):
    assert bench.take(source=None)
    for _ in range(5):
        bench.pass_time(0.3 * QUIET_SEC)
        assert bench.take(source=SEVERAL) is None
    assert 'a second publisher' in bench.sensors.reason
    assert bench.take(source='a') is not None  # one is gone, the other is known by now


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
    bench, newest_sec, resets, taken = Bench(), -1.0, 0, 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module.time, 'monotonic', lambda: bench.steady_sec)
        for wait_sec, jump_sec, age_sec, source in steps:
            bench.pass_time(wait_sec)
            bench.ros_sec += jump_sec
            before = bench.sensors.rejected
            arrival = bench.take(age_sec, source)
            assert (arrival is None) == (bench.sensors.rejected == before + 1)
            taken += arrival is not None
            assert bench.sensors.received == taken
            if bench.resets > resets:
                resets, newest_sec = bench.resets, -1.0
            if arrival is not None:
                stamp_sec = arrival.frame.stamp_sec
                assert newest_sec < stamp_sec <= bench.ros_sec + FUTURE_SEC + 1e-6
                newest_sec = stamp_sec


def picture(sec, shade=0):
    image = Image()
    fill(image, PICTURE + np.uint8(shade))
    image.header.stamp = messages.to_time(round(1e9 * sec))
    return image


def joints(sec, **positions):
    """An arm that stands at a place; its second joint turns ten times as fast."""
    message = JointState(name=list(positions), position=list(positions.values()))
    message.velocity = [10 * value for value in positions.values()]
    message.header.stamp = messages.to_time(round(1e9 * sec))
    return message


@pytest.fixture
def arm(make):
    """Makes a bench for two cameras and an arm, and shows it messages; gives the frames."""

    def make_arm(tolerance_sec=0.05):
        bench = make(ARM, joints=JointReader(FIELDS), tolerance_sec=tolerance_sec)
        bench.ros_sec += 1.0  # all that is shown has happened

        def show(*messages):
            frames = [bench.sensors.take(name, message) for name, message in messages]
            return [arrival.frame for arrival in frames if arrival]

        bench.show = show
        return bench

    return make_arm


T = START_SEC


def test_a_frame_has_what_all_sensors_saw_at_one_time(arm):
    (frame,) = arm().show(
        ('left', picture(T, 1)),
        (JOINTS, joints(T - 0.03, wrist=9.0, elbow=9.0)),
        (JOINTS, joints(T + 0.01, wrist=0.2, elbow=0.1)),  # in another order than the card's
        (JOINTS, joints(T + 0.04, wrist=9.0, elbow=9.0)),
        ('right', picture(T + 0.02, 2)),
    )
    assert frame.stamp_sec == pytest.approx(T)
    assert {name: image.max() for name, image in frame.images.items()} == {'left': 1, 'right': 2}
    assert frame.proprioception.tolist() == [0.1, 2.0]


def test_without_one_of_the_sensors_or_too_far_apart_there_is_no_frame(arm):
    bench = arm()
    assert not bench.show(('left', picture(T)), ('right', picture(T)))
    assert bench.sensors.reason == 'no joint state as new as the others'
    assert not bench.show((JOINTS, joints(T - 0.06, elbow=0.0, wrist=0.0)))
    assert not bench.show(
        ('left', picture(T + 1)), ('right', picture(T + 1.06)),
        (JOINTS, joints(T + 1.03, elbow=0.0, wrist=0.0)),
    )  # fmt: skip
    assert 'control.sync_tolerance_sec' in bench.sensors.reason
    assert len(bench.show((JOINTS, joints(T + 1.04, elbow=0.0, wrist=0.0)))) == 0
    bench.sensors.tolerance_sec = 0.1
    assert len(bench.show(('right', picture(T + 1.07)))) == 1
    assert not bench.sensors.reason


def test_cameras_that_are_in_step_stay_so_when_one_loses_an_image(arm):
    bench = arm()
    period = 0.03
    shown = []
    for n in range(20):
        sec = T + n * period
        shown.append((JOINTS, joints(sec, elbow=0.0, wrist=0.0)))
        if n != 5:
            shown.append(('left', picture(sec, n)))
        if n != 11:
            shown.append(('right', picture(sec, n)))
    frames = bench.show(*shown)
    pairs = [tuple(int(image.max()) for image in frame.images.values()) for frame in frames]
    # An image whose partner was lost goes with the next one, if there is nothing newer.
    assert [pair for pair in pairs if pair[0] != pair[1]] == [(6, 5)]
    assert pairs[-1] == (19, 19)
    stamps = [frame.stamp_sec for frame in frames]
    assert all(a < b for a, b in zip(stamps, stamps[1:]))


def test_an_image_makes_one_frame_however_fast_the_joint_states_come(arm):
    bench = arm()
    shown = [('left', picture(T)), ('right', picture(T))]
    shown += [(JOINTS, joints(T + n / 1000, elbow=0.0, wrist=0.0)) for n in range(40)]
    assert len(bench.show(*shown)) == 1 == bench.sensors.received


def test_a_flood_of_messages_is_not_kept(arm):
    bench = arm()
    bench.show(*[(JOINTS, joints(T + n / 10_000, elbow=0.0, wrist=0.0)) for n in range(3000)])
    bench.show(*[('left', picture(T + n / 10_000)) for n in range(300)])
    assert len(bench.sensors._kept[JOINTS]) == KEPT_SIGNALS
    assert len(bench.sensors._kept['left']) == KEPT_IMAGES


def test_after_a_jump_of_the_clock_frames_of_any_age_are_taken(arm):
    bench = arm()

    def all_three(sec):
        return bench.show(
            ('left', picture(sec)), ('right', picture(sec)),
            (JOINTS, joints(sec, elbow=0.0, wrist=0.0)),
        )  # fmt: skip

    assert len(all_three(T)) == 1
    bench.sensors.forget()
    assert not bench.show(('left', picture(T)))  # what it would go with is forgotten
    bench.sensors.forget()
    assert len(all_three(T - 500.0)) == 1


def test_what_is_seen_now_is_not_what_was_seen_before(bench):
    def look():
        return bench.sensors.look(now_sec=bench.ros_sec, timeout_sec=0.5)

    with pytest.raises(ObservationError, match='nothing has been seen yet$'):
        look()
    bench.take(width=1)
    with pytest.raises(ObservationError, match='nothing has been seen yet; images are refused: '):
        look()
    frame = bench.take().frame
    bench.pass_time(0.4)
    assert look() is frame
    bench.pass_time(0.2)
    with pytest.raises(ObservationError, match='0.60 s old, control.image_timeout_sec allows'):
        look()
    bench.take()
    bench.sensors.forget()
    with pytest.raises(ObservationError, match='nothing has been seen yet'):
        look()


def test_joint_states_of_others_are_passed_over_and_bad_ones_refused():
    reader = JointReader(FIELDS)
    assert not reader.concerns(JointState(name=['left_wheel', 'right_wheel']))
    assert reader.concerns(joints(T, elbow=0.0))
    assert reader.read(joints(T, gripper=5.0, wrist=0.2, elbow=0.1)).tolist() == [0.1, 2.0]
    no_speeds = joints(T, wrist=0.2, elbow=0.1)
    no_speeds.velocity = []
    bad = {
        'velocity of wrist': joints(T, elbow=0.0),
        'velocity of wrist ': no_speeds,
        'not finite': joints(T, wrist=0.0, elbow=math.nan),
    }
    for reason, message in bad.items():
        with pytest.raises(ObservationError, match=reason.strip()):
            reader.read(message)


@pytest.mark.parametrize('field', ['elbow', 'elbow/angle', '/position', ''])
def test_a_field_that_no_joint_state_has_is_refused_with_the_cure(field):
    with pytest.raises(ConfigError, match='write e.g. joint1/position'):
        JointReader([field])


def test_a_joint_may_have_a_prefix():
    message = JointState(name=['left/elbow'], effort=[0.3])
    assert JointReader(['left/elbow/effort']).read(message).tolist() == [0.3]


def test_topics_and_fields_are_those_that_the_card_asks_for():
    values = {'proprioception.fields': []}
    assert settings.camera_topics(CARD) == {'top': 'image_raw'}
    assert settings.camera_topics(ARM) == {
        'left': 'left/image_raw', 'right': 'right/image_raw'
    }  # fmt: skip
    fields = settings.proprioception_fields(values, ARM)
    assert fields == ['elbow/position', 'speed/position']
    assert settings.proprioception_fields(values, CARD) == []
    for card, fields in ((ARM, ['a/position']), (CARD, ['a/position'])):
        with pytest.raises(ConfigError, match=f'{len(card.proprioception)} signals'):
            settings.proprioception_fields({'proprioception.fields': fields}, card)
    spec = CameraSpec(height=2, width=2)
    for cameras in ({'a': spec, '../b': spec}, {'a': spec, '/tmp/b': spec}):
        with pytest.raises(ConfigError, match='letters, digits'):
            settings.camera_topics(replace(ARM, cameras=cameras))

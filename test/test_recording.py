# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Bags into data sets: what comes out is what was recorded, and what does not fit is said."""

import io
import json

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from safetensors.numpy import save_file

pytest.importorskip('rosbags', reason='no bags: pip install .[bag]')
import bags

from grasp_ros.control.history import History
from grasp_ros.recording.alignment import LEAST_FRAMES, align, mean_in_force, misfit_ms
from grasp_ros.recording.bag import Bag, RecordingError
from grasp_ros.recording.convert import command
from grasp_ros.training import recorded
from grasp_ros.world_models import checkpoint

PERIOD_SEC, CAMERA_HZ, COMMAND_HZ = 0.1, 30.0, 50.0
NS = 1_000_000_000


def wavy(times_sec):
    """Velocities, m/s, ``[N, 2]``."""
    return 0.3 * np.stack([np.sin(2.0 * times_sec), np.cos(3.1 * times_sec)], axis=-1)


def place(times_sec, commands_sec, commands):
    """Where a robot is that follows its commands at once, by summing them up: ``[N, 2]``."""
    ends = np.append(commands_sec[1:], np.inf)
    lasted = np.clip(np.asarray(times_sec)[:, None] - commands_sec, 0, ends - commands_sec)
    return lasted @ commands


def picture(number, size=16):
    """A picture that tells its number."""
    image = np.zeros((size, size, 3), dtype=np.uint8)
    image[0, 0], image[1:] = divmod(number, 256) + (7,), number % 251
    return image


def number_of(image):
    return int(image[0, 0, 0]) * 256 + int(image[0, 0, 1])


def drive(seconds=6.0, seed=0):
    """Stamps of frames and commands, seconds, and the commands; both with the jitter of timers."""
    rng = np.random.default_rng(seed)
    frames_sec = np.arange(0.1, seconds, 1 / CAMERA_HZ)
    commands_sec = np.arange(0.0, seconds, 1 / COMMAND_HZ)
    frames_sec = frames_sec + rng.uniform(-1e-3, 1e-3, len(frames_sec))
    return frames_sec, commands_sec, wavy(commands_sec)


def stamp(seconds):
    return bags.START_NS + round(seconds * NS)


def record(path, *, frames=None, commands=None, storage='mcap', image=bags.image,
           commanded=None, latency_sec=0.02):
    """Write a drive to a bag; messages arrive a while after they were stamped."""
    frames_sec, commands_sec, values = drive()
    frames = range(len(frames_sec)) if frames is None else frames
    commands = range(len(commands_sec)) if commands is None else commands
    if commanded is None:
        def commanded(value, stamp_ns):
            return bags.twist_stamped((*value, 0, 0, 0, 0.5), stamp_ns)
    messages = []
    for n in frames:
        at_ns = stamp(frames_sec[n])
        messages.append(('/image_raw', at_ns + round(latency_sec * NS), image(picture(n), at_ns)))
    for n in commands:
        at_ns = stamp(commands_sec[n])
        messages.append(('/cmd_vel', at_ns + 300_000, commanded(values[n], at_ns)))
    return bags.write(path, sorted(messages, key=lambda m: m[1]), storage=storage)


def convert(*arguments):
    return CliRunner().invoke(command, [str(argument) for argument in arguments])


def converted(bag, out, *options):
    options = options or ('--action', 'linear.x', '--action', 'linear.y', '--period', PERIOD_SEC)
    result = convert(bag, '--out', out, *options)
    assert result.exit_code == 0, result.output
    return recorded.load(out), result.output


def test_a_command_in_force_is_the_mean_over_the_step_as_the_controller_has_it():
    rng = np.random.default_rng(0)
    changes = np.sort(rng.uniform(0.0, 20.0, 60))
    changes[0], values = 0.0, rng.uniform(-0.3, 0.3, (60, 2))
    card = checkpoint.load_card('two_rooms')
    history = History(card, np.zeros(2))
    for step, value in zip(changes, values):
        history.add_action(step, value)
    steps = np.arange(20.0)
    expected = history.blocks(0.0, 20, torch.device('cpu'))[:, 0].numpy()
    found = mean_in_force(changes, values, steps, steps + 1)
    assert np.allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize(
    ('camera_hz', 'off_ms'), [(15.0, 33.3), (10.5, 47.6), (30.0, None), (10.0, None), (5.0, None)]
)
def test_a_camera_whose_rate_does_not_fit_is_told_from_one_that_loses_frames(camera_hz, off_ms):
    frames_sec = np.arange(0.0, 60.0, 1 / camera_hz)
    kept = frames_sec if off_ms else frames_sec[np.arange(len(frames_sec)) % 8 != 0]
    commands_sec = np.arange(0.0, 60.0, 0.02)

    def aligned(tolerance_sec):
        return align(kept, commands_sec, wavy(commands_sec), period_sec=PERIOD_SEC,
                     tolerance_sec=tolerance_sec, longest_hold_sec=0.5)

    found = misfit_ms(aligned(0.025).report)
    assert found is None if off_ms is None else found == pytest.approx(off_ms, abs=0.1)
    if off_ms:  # with what is advised, all frames count
        assert aligned(1e-3 * np.ceil(off_ms)).report['frames_used'] == len(kept)


@pytest.mark.parametrize('camera_hz', [30.0, 29.97, 25.0, 10.02])
def test_episodes_are_one_period_apart_whatever_the_camera_does(camera_hz):
    frames_sec = np.arange(0.0, 60.0, 1 / camera_hz)
    commands_sec = np.arange(0.0, 60.0, 0.02)
    found = align(frames_sec, commands_sec, wavy(commands_sec), period_sec=PERIOD_SEC,
                  tolerance_sec=0.025, longest_hold_sec=0.5)
    apart = np.concatenate([np.diff(frames_sec[e.frames]) for e in found.episodes])
    assert abs(apart.mean() - PERIOD_SEC) < 2e-3 and np.abs(apart - PERIOD_SEC).max() < 0.026
    assert found.report['steps_with_a_frame_in_time'] == 1.0
    assert found.report['frames_used'] == len(frames_sec)
    # With 30 Hz each of three frames begins an episode of its own, and none of them breaks.
    assert len(found.episodes) == (1 if camera_hz < 12 else 3)
    for episode in found.episodes:
        stamps_sec = frames_sec[episode.frames]
        way = np.diff(place(stamps_sec, commands_sec, wavy(commands_sec)), axis=0)
        assert np.allclose(episode.actions * np.diff(stamps_sec)[:, None], way, atol=1e-6)


def test_an_episode_ends_where_frames_are_missing_or_commands_cease():
    frames_sec = np.arange(0.05, 20.0, PERIOD_SEC)
    commands_sec = np.arange(2.0, 20.0, 0.02)
    frames_sec = frames_sec[(frames_sec < 8.0) | (frames_sec > 9.05)]
    commands_sec = commands_sec[(commands_sec < 13.0) | (commands_sec >= 15.0)]
    found = align(frames_sec, commands_sec, wavy(commands_sec), period_sec=PERIOD_SEC,
                  tolerance_sec=0.025, longest_hold_sec=0.5)
    ends = [(frames_sec[e.frames[0]], frames_sec[e.frames[-1]]) for e in found.episodes]
    # The last command before the gap holds for half a second and no longer.
    assert np.allclose(ends, [(2.05, 7.95), (9.05, 13.45), (15.05, 19.95)], atol=0.01)
    report = found.report
    assert report['camera_gaps'] == 1 and 1.0 < report['camera_longest_gap_sec'] < 1.3
    assert 1.9 < report['command_longest_gap_sec'] < 2.1
    assert report['steps_without_command'] > 30 and report['steps_with_a_frame_in_time'] < 1.0


def test_what_is_too_short_to_learn_from_is_left_out_and_counted():
    frames_sec = np.concatenate([k + PERIOD_SEC * np.arange(LEAST_FRAMES - 1)
                                 for k in range(0, 30, 2)])
    found = align(frames_sec, np.arange(0.0, 30.0, 0.02), np.ones((1500, 1)),
                  period_sec=PERIOD_SEC, tolerance_sec=0.025, longest_hold_sec=0.5)
    assert not found.episodes and found.report['episodes_too_short'] == 15


@pytest.mark.parametrize('storage', ['mcap', 'sqlite3'])
def test_a_bag_becomes_episodes_with_the_commands_between_their_frames(tmp_path, storage):
    bag = record(tmp_path / 'bag', storage=storage)
    data, output = converted(bag, tmp_path / 'data')
    frames_sec, commands_sec, values = drive()
    assert len(data.episodes) == 3 and 'of the steps have a frame' in output
    numbers = []
    for name, length in data.episodes:
        episode = data.read(name)
        own = [number_of(image) for image in episode.images]
        assert len(own) == length and np.array_equal(episode.images[1], picture(own[1]))
        assert set(np.diff(own)) == {3}  # of a camera three times as fast as the control
        times_sec = episode.stamps_sec - 1e-9 * bags.START_NS
        assert np.allclose(times_sec, frames_sec[own], atol=1e-6)
        way = np.diff(place(times_sec, commands_sec, values), axis=0)
        assert np.allclose(episode.actions * np.diff(times_sec)[:, None], way, atol=1e-5)
        numbers += own
    assert sorted(numbers) == list(range(len(frames_sec)))
    (report,) = data.report.values()
    assert report['steps_with_a_frame_in_time'] == 1.0
    assert 19 < report['frame_late_ms']['p50'] < 21
    assert report['command_age_ms']['max'] < 1e3 / COMMAND_HZ + 1
    assert report['command_late_ms']['p50'] < 1 and 'clocks' not in output
    assert [spec.name for spec in data.actions] == ['linear.x', 'linear.y']
    assert data.actions[0].low < -0.25 and data.actions[0].high > 0.25
    assert data.actions[0].unit == 'm/s'


def test_what_a_card_says_need_not_be_said_again(tmp_path):
    def small(number, stamp_ns):
        return bags.image(np.zeros((64, 64, 3), np.uint8), stamp_ns)

    bag = record(tmp_path / 'bag', image=small)
    data, _ = converted(bag, tmp_path / 'data', '--card', 'two_rooms')
    card = checkpoint.load_card('two_rooms')
    assert data.actions == card.actions and data.period_sec == card.control_period_sec
    assert {data.camera_name: data.camera} == card.cameras


def test_compressed_pictures_and_arrays_do_as_well(tmp_path):
    def png(image, stamp_ns):
        file = io.BytesIO()
        Image.fromarray(image).save(file, 'png')
        return bags.make('sensor_msgs/msg/CompressedImage', header=bags.header(stamp_ns),
                         format='png', data=np.frombuffer(file.getvalue(), np.uint8))

    def array(value, stamp_ns):
        return bags.make('std_msgs/msg/Float64MultiArray', data=np.array([*value, 9.0]))

    bag = record(tmp_path / 'bag', image=png, commanded=array)
    data, _ = converted(bag, tmp_path / 'data', '--period', PERIOD_SEC, '--action', 'left',
                        '--action', 'right', '--action', 'lift')
    episode = data.read(data.episodes[0][0])
    assert np.array_equal(episode.images[2], picture(number_of(episode.images[2])))
    assert np.allclose(episode.actions[:, 2], 9.0)


def test_a_twist_without_a_stamp_counts_from_its_arrival(tmp_path):
    def bare(value, stamp_ns):
        return bags.twist((*value, 0, 0, 0, 0))

    stamped, _ = converted(record(tmp_path / 'a'), tmp_path / 'data_a')
    unstamped, _ = converted(record(tmp_path / 'b', commanded=bare), tmp_path / 'data_b')
    one, other = (data.read(data.episodes[0][0]) for data in (stamped, unstamped))
    assert not np.array_equal(one.actions, other.actions)
    assert np.allclose(one.actions, other.actions, atol=0.01)


@pytest.mark.parametrize(('ahead_sec', 'reason'), [(0.3, 'commands were heard 300 ms before'),
                                                   (-0.3, 'differ by 280 ms in how late')])
def test_clocks_that_disagree_are_noticed(tmp_path, ahead_sec, reason):
    def shifted(value, stamp_ns):
        return bags.twist_stamped((*value, 0, 0, 0, 0), stamp_ns + round(ahead_sec * NS))

    _, output = converted(record(tmp_path / 'bag', commanded=shifted), tmp_path / 'data')
    assert reason in ' '.join(output.split())


@pytest.mark.parametrize('commanded', [
    lambda value, stamp_ns: bags.twist((*value, 0, 0, 0, 0)),
    lambda value, stamp_ns: bags.twist_stamped((*value, 0, 0, 0, 0), stamp_ns),
])
def test_times_of_two_clocks_hours_apart_are_refused(tmp_path, commanded):
    def simulated(image, stamp_ns):
        return bags.image(image, stamp_ns - bags.START_NS + NS)

    bag = record(tmp_path / 'bag', image=simulated, commanded=commanded)
    result = convert(bag, '--out', tmp_path / 'data', '--action', 'linear.x', '--period', 0.1)
    assert result.exit_code == 1 and '--use-sim-time' in result.output


def test_simulated_time_in_all_stamps_needs_no_clock_of_the_recorder(tmp_path):
    def twist(value, stamp_ns):
        return bags.twist_stamped((*value, 0, 0, 0, 0), stamp_ns - bags.START_NS + NS)

    def simulated(image, stamp_ns):
        return bags.image(image, stamp_ns - bags.START_NS + NS)

    data, output = converted(record(tmp_path / 'bag', image=simulated, commanded=twist),
                             tmp_path / 'data')
    assert len(data.episodes) == 3 and 'pictures came – after' in output


def test_a_clock_that_jumps_back_within_a_bag_is_refused(tmp_path):
    def reset(image, stamp_ns):
        return bags.image(image, stamp_ns - (3 * NS if number_of(image) > 100 else 0))

    bag = record(tmp_path / 'bag', image=reset)
    result = convert(bag, '--out', tmp_path / 'data', '--action', 'linear.x', '--period', 0.1)
    assert result.exit_code == 1 and 'jump back by' in ' '.join(result.output.split())
    assert 'a bag of its own' in ' '.join(result.output.split())


def test_pictures_with_one_stamp_are_counted(tmp_path):
    def coarse(image, stamp_ns):
        return bags.image(image, stamp_ns // (NS // 10) * (NS // 10))

    _, output = converted(record(tmp_path / 'bag', image=coarse), tmp_path / 'data')
    assert '118 more had the stamp of another' in output


def test_pictures_that_cannot_be_put_down_are_an_error_with_the_folder(tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(28, 'No space left on device')

    bag = record(tmp_path / 'bag')
    monkeypatch.setattr('grasp_ros.recording.convert._read', full)
    result = convert(bag, '--out', tmp_path / 'data', '--action', 'linear.x', '--period', 0.1)
    assert result.exit_code == 1 and 'data: the pictures of' in result.output
    assert not list((tmp_path / 'data').iterdir())


def test_a_drive_that_follows_late_is_told_by_its_delay(tmp_path):
    data, _ = converted(record(tmp_path / 'bag'), tmp_path / 'data', '--action', 'linear.x',
                        '--period', PERIOD_SEC, '--actuator-delay', 0.2)
    _, commands_sec, values = drive()
    episode = data.read(data.episodes[0][0])
    times_sec = episode.stamps_sec - 1e-9 * bags.START_NS
    way = np.diff(place(times_sec - 0.2, commands_sec, values), axis=0)[:, :1]
    assert np.allclose(episode.actions * np.diff(times_sec)[:, None], way, atol=1e-5)


def test_pictures_that_do_not_fit_are_refused_by_name(tmp_path):
    def sometimes_wrong(image, stamp_ns):
        message = bags.image(image, stamp_ns)
        if number_of(image) % 40 == 5:
            message.encoding = 'bayer_rggb8'
        return message

    data, output = converted(record(tmp_path / 'bag', image=sometimes_wrong), tmp_path / 'data')
    assert '5 times: image encoding "bayer_rggb8"' in ' '.join(output.split())
    for name, _ in data.episodes:
        assert all(number_of(image) % 40 != 5 for image in data.read(name).images)


@pytest.mark.parametrize(
    ('options', 'reason'),
    [
        ((), 'either --card, or --action and --period'),
        (('--period', 0.1, '--action', 'speed'), '"speed" is no field of a twist'),
        (('--period', 0.1, '--action', 'linear.z'), 'linear.z is zero in all commands'),
        (('--card', 'two_rooms'), 'image of 16x16 pixels, the model needs 64x64'),
        (('--card', 'no_such'), 'no checkpoint at "no_such"'),
        (('--period', 0.1, '--action', 'linear.x', '--image-topic', 'camera'),
         'holds no topic /camera, but /cmd_vel (geometry_msgs/msg/TwistStamped), /image_raw'),
        (('--period', 0.1, '--action', 'linear.x', '--image-topic', 'cmd_vel'),
         '/cmd_vel is a geometry_msgs/msg/TwistStamped, and one of sensor_msgs/msg/Image'),
        (('--period', 9.0, '--action', 'linear.x'), 'no episode'),
        (('--period', 0.1, '--action', 'linear.x', '--action', 'linear.x'), 'each entry'),
    ],
)  # fmt: skip
def test_what_cannot_be_converted_is_refused_with_the_reason(tmp_path, options, reason):
    result = convert(record(tmp_path / 'bag'), '--out', tmp_path / 'data', *options)
    assert result.exit_code != 0 and reason in result.output
    assert isinstance(result.exception, SystemExit)
    assert not (tmp_path / 'data' / recorded.DATASET_FILE).exists()


def test_a_bag_that_is_named_twice_is_refused(tmp_path):
    bag = record(tmp_path / 'bag')
    again = bag / '..' / bag.name
    result = convert(bag, again, '--out', tmp_path / 'data', '--action', 'linear.x', '--period', 1)
    assert result.exit_code == 2 and 'each bag once' in result.output


def test_damaged_bags_say_so(tmp_path):
    whole = record(tmp_path / 'whole')
    (file,) = whole.glob('*.mcap')
    data = file.read_bytes()
    cases = {
        'cut': (data[: len(data) // 2], whole / 'metadata.yaml'),
        'garbled': (data[:3000] + bytes(4000) + data[7000:], whole / 'metadata.yaml'),
        'empty': (b'', whole / 'metadata.yaml'),
    }
    for name, (content, metadata) in cases.items():
        folder = tmp_path / name
        folder.mkdir()
        (folder / file.name).write_bytes(content)
        (folder / 'metadata.yaml').write_text(metadata.read_text())
        with pytest.raises(RecordingError, match='damaged|no bag that can be read'):
            with Bag(folder) as bag:
                list(bag.messages(['/image_raw', '/cmd_vel']))
    (tmp_path / 'cut' / 'metadata.yaml').unlink()
    with pytest.raises(RecordingError, match='ros2 bag reindex'):
        Bag(tmp_path / 'cut')


def test_definitions_in_a_bag_are_not_used(tmp_path):
    """rosbags makes code of a definition and runs it; and a field that moved must not be read."""
    bag = record(tmp_path / 'bag')
    for path in bag.iterdir():
        path.write_bytes(path.read_bytes().replace(
            bags.typestore().hash_rihs01('geometry_msgs/msg/TwistStamped').encode(),
            b'RIHS01_' + 64 * b'0'))
    result = convert(bag, '--out', tmp_path / 'data', '--period', 0.1, '--action', 'linear.x')
    assert 'holds another version of geometry_msgs/msg/TwistStamped' in result.output


def test_a_file_without_metadata_is_held_against_its_own_definitions(tmp_path):
    bag = record(tmp_path / 'bag')
    file, to = bag / 'bag.mcap', ('--period', 0.1, '--action', 'linear.x')
    assert convert(file, '--out', tmp_path / 'data', *to).exit_code == 0
    # Two fields in another order, as in another version of a message.
    file.write_bytes(file.read_bytes().replace(b'Vector3 linear\ngeometry_msgs/Vector3 angular',
                                               b'Vector3 angular\ngeometry_msgs/Vector3 linear'))
    result = convert(file, '--out', tmp_path / 'other', *to)
    assert 'holds another version of geometry_msgs/msg/TwistStamped' in result.output


def test_a_data_set_is_not_written_over_and_a_damaged_one_is_refused(tmp_path):
    bag = record(tmp_path / 'bag')
    data, _ = converted(bag, tmp_path / 'data')
    again = convert(bag, '--out', tmp_path / 'data', '--period', 0.1, '--action', 'linear.x')
    assert again.exit_code == 1 and 'holds a data set already' in again.output
    name = data.episodes[0][0]
    episode = vars(data.read(name))
    for change in ({'actions': episode['actions'][1:]}, {'images': episode['images'][:, 1:]},
                   {'actions': np.full_like(episode['actions'], np.nan)}):
        save_file({k: np.ascontiguousarray(v) for k, v in (episode | change).items()},
                  tmp_path / 'data' / name)
        with pytest.raises(recorded.DataError, match='make the data set again'):
            data.read(name)
    (tmp_path / 'data' / name).write_bytes(b'no')
    with pytest.raises(recorded.DataError, match='damaged'):
        data.stamps_sec(name)
    file = tmp_path / 'data' / recorded.DATASET_FILE
    document = json.loads(file.read_text())
    for broken in ('{', json.dumps({**document, 'format': 2}),
                   json.dumps({k: v for k, v in document.items() if k != 'actions'})):
        file.write_text(broken)
        with pytest.raises(recorded.DataError):
            recorded.load(tmp_path / 'data')
    with pytest.raises(recorded.DataError, match='bag-to-dataset'):
        recorded.load(tmp_path / 'nowhere')

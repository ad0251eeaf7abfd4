# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""`grasp-ros bag-to-dataset`: bags of a robot's camera and commands into data to train on."""

from __future__ import annotations

import math
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

import click
import numpy as np

from grasp_ros.errors import ConfigError, GraspError, ObservationError
from grasp_ros.node import compressed_images, images
from grasp_ros.node.twists import TWIST_FIELDS
from grasp_ros.recording.alignment import align, misfit_ms, percentiles
from grasp_ros.recording.bag import IMAGES, Bag, RecordingError, absolute
from grasp_ros.training.recorded import DataError, DataSet, Recording, Writer
from grasp_ros.world_models import checkpoint
from grasp_ros.world_models.base import ActionSpec, CameraSpec

COMMANDS = (
    'geometry_msgs/msg/TwistStamped',
    'geometry_msgs/msg/Twist',
    'std_msgs/msg/Float64MultiArray',
)
_UNITS = {'linear': 'm/s', 'angular': 'rad/s'}
_JUMP_SEC = 1.0  # back in time, between two messages, which no disorder on the way explains
_EARLY_MS = 5.0  # before its stamp nothing is heard where clocks agree
_OTHER_CLOCK_MS = 3.6e6  # nothing is under way for an hour: the recorder has another clock


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What is to be made of the bags.

    :param image_topic: of the camera, raw or compressed
    :param command_topic: of what the robot was sent
    :param actions: name of each entry of an action: fields of the twist, or of an array any names
    :param units: of each entry; empty where only the name tells
    :param bounds: of each entry, or None for those of the data
    :param camera_name: as the model's card will have it
    :param camera: the size that pictures must have; None for that of the first
    :param period_sec: control period
    :param tolerance_sec: how far a frame may be from where it should be
    :param longest_hold_sec: after which a command that no other follows is not in force any more
    :param actuator_delay_sec: from a command being sent to the robot following it
    """

    image_topic: str
    command_topic: str
    actions: tuple[str, ...]
    units: tuple[str, ...]
    bounds: tuple[tuple[float, float], ...] | None
    camera_name: str
    camera: CameraSpec | None
    period_sec: float
    tolerance_sec: float
    longest_hold_sec: float
    actuator_delay_sec: float = 0.0


@dataclass(frozen=True, kw_only=True)
class _Contents:
    """Frames and commands of one bag, by their stamps.

    :param frames_sec: when the frames were taken, increasing, float64 ``[M]``
    :param rows: which of the pictures each of them is, ``[M]``
    :param pictures: uint8 ``[*, height, width, 3]``, on disk
    :param commands_sec: when the commands took effect, increasing, float64 ``[K]``
    :param commands: float64 ``[K, A]``
    :param report: what was refused, and how late the pictures came, as JSON types
    """

    frames_sec: np.ndarray
    rows: np.ndarray
    pictures: np.ndarray
    commands_sec: np.ndarray
    commands: np.ndarray
    report: Mapping[str, Any]


def convert(bags: Sequence[Path], folder: Path, wanted: Wanted) -> DataSet:
    """Make one data set of some bags.

    Stamps count: those in the headers of pictures and of TwistStamped, and where a message has
    none the time at which it was recorded.

    :param folder: of the data set, which must not hold one yet
    :raises RecordingError: when a bag lacks what is needed or holds no episode
    :raises DataError: when the data set cannot be written, or pictures cannot be put down there
    """
    writer, reports = Writer(folder), {}
    camera, most = wanted.camera, np.zeros((2, len(wanted.actions)))
    for number, path in enumerate(bags):
        # All pictures of a bag, as they are: more than a temporary folder may hold.
        with Bag(path) as bag, tempfile.TemporaryFile(dir=folder) as file:
            try:
                contents = _read(bag, replace(wanted, camera=camera), file)
            except OSError as error:
                raise DataError(f'{folder}: the pictures of {path}: {error}') from error
            camera = CameraSpec(*contents.pictures.shape[1:3])
            found = align(
                contents.frames_sec,
                contents.commands_sec,
                contents.commands,
                period_sec=wanted.period_sec,
                tolerance_sec=wanted.tolerance_sec,
                longest_hold_sec=wanted.longest_hold_sec,
            )
            reports[str(path)] = {**contents.report, **found.report}
            for episode in found.episodes:
                low, high = episode.actions.min(axis=0), episode.actions.max(axis=0)
                most = np.minimum(most[0], low), np.maximum(most[1], high)
                recording = Recording(
                    images=contents.pictures[contents.rows[episode.frames]],
                    actions=episode.actions,
                    stamps_sec=contents.frames_sec[episode.frames],
                )
                writer.add(recording, bag=number)
    if not any(report['episodes'] for report in reports.values()):
        raise RecordingError('no episode\n' + '\n'.join(
            f'{name}  {line}' for name, report in reports.items() for line in lines(report)))
    return writer.close(
        camera_name=wanted.camera_name,
        camera=camera,
        actions=_specs(wanted, *most),
        period_sec=wanted.period_sec,
        report=reports,
    )


def _read(bag: Bag, wanted: Wanted, file: BinaryIO) -> _Contents:
    """Frames and commands in the order of their stamps; the pictures go to a file meanwhile."""
    kind = bag.require(wanted.image_topic, IMAGES)
    if bag.require(wanted.command_topic, COMMANDS) != COMMANDS[-1]:
        unknown = [name for name in wanted.actions if name not in TWIST_FIELDS]
        if unknown:
            raise ConfigError(f'action "{unknown[0]}" is no field of a twist: name some of '
                              f'{", ".join(TWIST_FIELDS)}')
    to_rgb = images.to_rgb if kind == IMAGES[0] else compressed_images.to_rgb
    camera, frames, late, commands, refused = wanted.camera, [], [], [], Counter()
    commands_late = []
    topics = (wanted.image_topic, wanted.command_topic)
    newest_sec = dict.fromkeys(topics, -math.inf)
    for topic, heard_ns, message in bag.messages(topics):
        heard_sec = 1e-9 * heard_ns
        name = next(one for one in topics if absolute(one) == topic)
        back_sec = newest_sec[name] - _stamp_sec(message, heard_sec)
        newest_sec[name] = max(newest_sec[name], _stamp_sec(message, heard_sec))
        if back_sec > _JUMP_SEC:
            raise RecordingError(
                f'{bag.path}: the stamps on {name} jump back by {back_sec:.1f} s, as when a '
                'simulation is reset: record each run into a bag of its own'
            )
        if topic == absolute(wanted.command_topic):
            command = _command(message, wanted.actions)
            if np.isfinite(command).all():
                stamp_sec = _stamp_sec(message, heard_sec)
                commands.append((stamp_sec, command))
                if hasattr(message, 'header'):
                    commands_late.append(heard_sec - stamp_sec)
            else:
                refused['command that is not finite'] += 1
            continue
        try:
            size = {} if camera is None else {'height': camera.height, 'width': camera.width}
            picture = to_rgb(message, **size)
        except ObservationError as error:
            refused[str(error)] += 1
            continue
        camera = CameraSpec(*picture.shape[:2])
        stamp_sec = _stamp_sec(message, heard_sec)
        frames.append(stamp_sec)
        late.append(heard_sec - stamp_sec)
        file.write(np.ascontiguousarray(picture).data)
    if not frames or not commands:
        reasons = ', '.join(f'{reason} ({count} times)' for reason, count in refused.items())
        raise RecordingError(
            f'{bag.path}: {len(frames)} pictures on {wanted.image_topic} and {len(commands)} '
            f'commands on {wanted.command_topic}{f"; refused: {reasons}" if reasons else ""}'
        )
    frame_late_ms, command_late_ms = _late_ms(late), _late_ms(commands_late)
    if (frame_late_ms is None) != (bool(commands_late) and command_late_ms is None):
        times = 'the stamps' if commands_late else 'the times of arrival'
        raise RecordingError(
            f'{bag.path}: the stamps on {wanted.image_topic} and {times} on '
            f'{wanted.command_topic} are of two clocks, hours apart; in simulated time '
            '`ros2 bag record --use-sim-time`'
        )
    file.flush()
    order, frames_sec = _sorted(frames)
    rows, commands_sec = _sorted([stamp_sec for stamp_sec, _ in commands])
    shape = (len(frames), camera.height, camera.width, 3)
    return _Contents(
        frames_sec=frames_sec,
        rows=order,
        pictures=np.memmap(file, dtype=np.uint8, mode='r', shape=shape),
        commands_sec=commands_sec + wanted.actuator_delay_sec,
        commands=np.array([commands[row][1] for row in rows]),
        report={
            'refused': dict(refused),
            'frames_stamped_alike': len(frames) - len(frames_sec),
            'frame_late_ms': frame_late_ms,
            'command_late_ms': command_late_ms,
        },
    )


def _late_ms(late_sec: Sequence[float]) -> dict[str, float] | None:
    """From the stamp to the recorder; None without stamps, or where it has another clock."""
    spread = percentiles(1e3 * np.array(late_sec))
    return None if spread is None or abs(spread['p50']) > _OTHER_CLOCK_MS else spread


def _sorted(stamps_sec: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    """Rows in the order of their stamps, and these; of equal ones the row that came last."""
    values, first = np.unique(np.array(stamps_sec)[::-1], return_index=True)
    return len(stamps_sec) - 1 - first, values


def _stamp_sec(message: Any, heard_sec: float) -> float:
    """When a message was sent, by its header; when it was heard, where it has none."""
    if not hasattr(message, 'header'):
        return heard_sec
    stamp_sec = images.stamp_sec(message.header.stamp)
    return heard_sec if math.isnan(stamp_sec) else stamp_sec


def _command(message: Any, names: Sequence[str]) -> np.ndarray:
    """The entries of an action, ``[A]``."""
    if hasattr(message, 'data'):
        if len(message.data) != len(names):
            raise RecordingError(
                f'the commands have {len(message.data)} numbers, and --action names '
                f'{len(names)}: {", ".join(names)}'
            )
        return np.asarray(message.data, dtype=np.float64)
    twist = getattr(message, 'twist', message)
    parts = (name.split('.') for name in names)
    return np.array([getattr(getattr(twist, part), axis) for part, axis in parts])


def _specs(wanted: Wanted, low: np.ndarray, high: np.ndarray) -> list[ActionSpec]:
    """The actions with their bounds; those of the data hold zero, on which the robot stands.

    :raises RecordingError: when one of them never changed
    """
    specs = []
    for entry, (name, unit) in enumerate(zip(wanted.actions, wanted.units)):
        bounds = float(low[entry]), float(high[entry])
        if bounds[0] == bounds[1]:
            raise RecordingError(f'{name} is zero in all commands: nothing can be learned of it')
        if wanted.bounds is not None:
            bounds = wanted.bounds[entry]
        specs.append(ActionSpec(name, unit, *bounds))
    return specs


def lines(report: Mapping[str, Any]) -> Iterator[str]:
    """What the report of one bag says, for people."""

    def spread(name: str) -> str:
        values = report[name]
        if values is None:
            return '–'
        return (f'{values["p50"]:.1f} ms median, {values["p99"]:.1f} ms p99, '
                f'{values["max"]:.1f} ms at most')

    def rate(name: str) -> str:
        hertz, gap_sec = report[f'{name}_rate_hz'], report[f'{name}_longest_gap_sec']
        if hertz is None:
            return '–'
        return f'{hertz:.1f} Hz, {report[f"{name}_gaps"]} gaps, the longest of {gap_sec:.2f} s'

    yield f'frames    {report["frames"]}, {rate("camera")}; {report["frames_used"]} used'
    if report['frames_stamped_alike']:
        yield f'          {report["frames_stamped_alike"]} more had the stamp of another'
    yield f'commands  {report["commands"]}, {rate("command")}'
    yield (f'steps     {report["steps"]} in {report["episodes"]} episodes; '
           f'{report["episodes_too_short"]} stretches were too short, of '
           f'{report["steps_without_command"]} steps nobody knows the command')
    yield (f'in time   {report["steps_with_a_frame_in_time"]:.1%} of the steps have a frame '
           f'within {report["tolerance_ms"]:.0f} ms: off by {spread("frame_off_ms")}')
    yield f'ages      pictures came {spread("frame_late_ms")} after they were taken'
    yield f'          commands came {spread("command_late_ms")} after they were sent'
    yield f'          commands were {spread("command_age_ms")} old when one was taken'
    yield from _clocks(report)
    off_ms = misfit_ms(report)
    if off_ms is not None:
        apart_ms = 2 * off_ms
        yield (f'rate      a camera of {report["camera_rate_hz"]:.1f} Hz has no frame every '
               f'{report["period_ms"]:.0f} ms: give it a rate that does, or take a --period that '
               f'is a multiple of {apart_ms:.1f} ms; --tolerance-ms {math.ceil(off_ms)} takes the '
               f'frames as they are, up to {off_ms:.0f} ms off')
    for reason, count in report['refused'].items():
        yield f'refused   {count} times: {reason}'


def _clocks(report: Mapping[str, Any]) -> Iterator[str]:
    """What speaks against one clock for pictures and commands."""
    spreads = {'pictures': report['frame_late_ms'], 'commands': report['command_late_ms']}
    medians = {name: s['p50'] for name, s in spreads.items() if s is not None}
    for name, median_ms in medians.items():
        if median_ms < -_EARLY_MS:
            yield (f'clocks    {name} were heard {-median_ms:.0f} ms before their stamps: their '
                   'clock is not that of the recorder')
    apart_ms = max(medians.values(), default=0.0) - min(medians.values(), default=0.0)
    if apart_ms > report['period_ms']:
        yield (f'clocks    pictures and commands differ by {apart_ms:.0f} ms in how late they '
               'came: two clocks that disagree, unless one of them is that slow')


@click.command('bag-to-dataset')
@click.argument('bags', nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option('--out', required=True, type=click.Path(file_okay=False, path_type=Path),
              help='Folder of the data set.')
@click.option('--image-topic', default='image_raw', show_default=True,
              help='sensor_msgs/Image or CompressedImage.')
@click.option('--command-topic', default='cmd_vel', show_default=True,
              help='What the robot was sent: TwistStamped, Twist or Float64MultiArray.')
@click.option('--card', help='A shipped model or the folder of a checkpoint: its card says what '
              'the next three options say.')
@click.option('--action', 'actions', multiple=True, metavar='NAME',
              help='Entry of an action, in order: linear.x to angular.z of a twist, or a name for '
                   'each number of an array.')
@click.option('--period', 'period_sec', type=click.FloatRange(0.001, 10.0),
              help='Control period, seconds.')
@click.option('--camera', 'camera_name', default='camera', show_default=True,
              help="Name of the camera on the model's card.")
@click.option('--tolerance-ms', type=click.FloatRange(0.1), help='How far a frame may be from '
              'where a step begins.  [default: a quarter of the control period]')
@click.option('--longest-hold', 'longest_hold_sec', type=click.FloatRange(0.001), default=0.5,
              show_default=True, help='Seconds after which a command that no other follows is not '
              'in force any more: the timeout of the robot.')
@click.option('--actuator-delay', 'actuator_delay_sec', type=click.FloatRange(0.0, 5.0),
              default=0.0, show_default=True, help='Seconds from a command being sent to the '
              'robot following it; control.actuator_delay_sec is then the same.')
def command(bags, out, image_topic, command_topic, card, actions, period_sec, camera_name,
            tolerance_ms, longest_hold_sec, actuator_delay_sec) -> None:
    """Make a data set for `grasp-ros train --data` of BAGS, without ROS.

    Pictures must have the size that the model sees, and command stamps and picture stamps the same
    clock. Tells how well they fit.
    """
    if len({bag.resolve() for bag in bags}) < len(bags):
        raise click.UsageError('BAGS: each bag once; what is in it twice would judge itself')
    if len(set(actions)) < len(actions):
        raise click.UsageError('--action: each entry of an action once')
    try:
        units, bounds, camera = tuple(_UNITS.get(a.split('.')[0], '') for a in actions), None, None
        if card is not None:
            if actions or period_sec:
                raise click.UsageError('--card says what --action and --period say')
            known = checkpoint.load_card(card)
            if len(known.cameras) != 1 or known.proprioception:
                raise ConfigError(f'{known.name} senses more than the one camera of a data set')
            actions = tuple(spec.name for spec in known.actions)
            units = tuple(spec.unit for spec in known.actions)
            bounds = tuple((spec.low, spec.high) for spec in known.actions)
            camera_name, camera = next(iter(known.cameras.items()))
            period_sec = known.control_period_sec
        elif not actions or not period_sec:
            raise click.UsageError('either --card, or --action and --period')
        wanted = Wanted(
            image_topic=image_topic, command_topic=command_topic, actions=actions, units=units,
            bounds=bounds, camera_name=camera_name, camera=camera, period_sec=period_sec,
            tolerance_sec=1e-3 * tolerance_ms if tolerance_ms else period_sec / 4,
            longest_hold_sec=longest_hold_sec, actuator_delay_sec=actuator_delay_sec,
        )  # fmt: skip
        data = convert(bags, out, wanted)
    except GraspError as error:
        raise click.ClickException(str(error)) from error
    for name, report in data.report.items():
        click.echo(name)
        for line in lines(report):
            click.echo(f'  {line}')
    steps = sum(frames - 1 for _, frames in data.episodes)
    click.echo(f'{out}: {len(data.episodes)} episodes, {steps * data.period_sec / 60:.1f} minutes '
               f'of steps of {data.period_sec:g} s')

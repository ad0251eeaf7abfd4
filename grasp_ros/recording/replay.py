# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""`grasp-ros replay`: the controller again, on what was recorded of a run, without ROS.

The same frames, goals and timings give the same actions bit for bit, on any machine of the same
kind: what the clock decided then (iterations, latency, whether a plan was prepared) is read from
the statistics and not measured again.
"""

from __future__ import annotations

import hashlib
import re
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
import yaml

from grasp_ros.control.controller import Controller
from grasp_ros.control.history import Frame
from grasp_ros.control.tick import Tick, TickStatus
from grasp_ros.control.timeline import Timing
from grasp_ros.errors import ConfigError, GraspError
from grasp_ros.node import compressed_images, images, parameters, settings, tables
from grasp_ros.node.passage import Passage
from grasp_ros.planners import registry
from grasp_ros.recording.bag import IMAGES, Bag, Recorded, RecordingError
from grasp_ros.recording.run import Command, RecordedTick, Run, read_run
from grasp_ros.world_models.base import ModelCard

NODE = 'mpc_node'
# A tick is heard of after its frame, unless the recorder's threads or the network reorder them.
_EARLIER_NS, _LATER_NS = 2_000_000_000, 500_000_000
_SAME_STATUS = {'GOAL_REACHED': 'NO_GOAL'}  # the node's own name for it


@dataclass(frozen=True)
class ReplayedTick:
    """A tick and what came of it.

    :param recorded: as it was
    :param tick: as it is now
    :param command: the six numbers of the twist that would be sent
    :param has_frame: whether its frame was in the bag
    """

    recorded: RecordedTick
    tick: Tick
    command: Command
    has_frame: bool


class _Frames:
    """The frames of a bag one after the other, those that were heard about the time of a tick.

    Found by their stamps, whatever the order of these: a clock that was set, or one picture with
    the stamp of another year, costs what it cost then.

    :param bag: that holds them
    :param topic: of the camera
    :param card: of the model, for one camera
    """

    def __init__(self, bag: Bag, topic: str, card: ModelCard) -> None:
        kind = bag.require(topic, IMAGES)
        self._to_rgb = images.to_rgb if kind == IMAGES[0] else compressed_images.to_rgb
        self._messages = bag.messages([topic])
        self._name, self._spec = next(iter(card.cameras.items()))
        self._next = next(self._messages, None)
        self._near: deque[Recorded] = deque()
        self._frame: Frame | None = None
        self._frame_ns: int | None = None

    def of(self, tick: RecordedTick) -> tuple[Frame | None, bool]:
        """The frame of a tick, which comes no earlier than the last that was asked for.

        :return: the frame, or where it is missing the last one; and whether it is there
        """
        if tick.image_ns is None:
            return None, True
        if tick.image_ns == self._frame_ns:
            return self._frame, True
        while self._next is not None and self._next.stamp_ns <= tick.heard_ns + _LATER_NS:
            self._near.append(self._next)
            self._next = next(self._messages, None)
        duration_sec = 0.0 if tick.timing is None else tick.timing.duration_sec
        oldest_ns = tick.heard_ns - _EARLIER_NS - int(1e9 * duration_sec)
        while self._near and self._near[0].stamp_ns < oldest_ns:
            self._near.popleft()
        for recorded in self._near:
            if _stamp_ns(recorded.message) == tick.image_ns:
                size = {'height': self._spec.height, 'width': self._spec.width}
                picture = self._to_rgb(recorded.message, **size)
                stamp_sec = images.stamp_sec(recorded.message.header.stamp)
                self._frame = Frame({self._name: picture}, stamp_sec)
                self._frame_ns = tick.image_ns
                return self._frame, True
        return self._frame, False


def replay(
    bag: Bag, values: Mapping[str, Any], *, goals: Sequence[np.ndarray] = (), namespace: str = '',
    image_topic: str = '',
) -> tuple[Run, list[ReplayedTick]]:
    """Drive the controller from a recording.

    :param bag: with ``solver_statistics`` and the pictures of the camera; ``action``,
        ``gate_status`` and ``goal_image`` where they are there
    :param values: of the parameters of ``mpc_node``
    :param goals: pictures of the goals that the robot drove to, in order, uint8 ``[height, width,
        3]``; those that came by the topic ``goal_image`` are in the bag
    :param namespace: of the controller, with or without slashes around it
    :param image_topic: of the camera; by the parameters unless stated
    :return: the run, and its ticks
    :raises RecordingError: when the bag lacks what is needed
    :raises GraspError: when model, parameters or pictures are no good
    """
    namespace = _absolute(namespace)
    compressed = values['image_transport'] == 'compressed'
    topic = image_topic or f'{namespace}/image_raw{"/compressed" if compressed else ""}'
    bag.require(topic, IMAGES)
    # A clock that stands: what the clock decided is in the record.
    controller = settings.build_controller(values, clock=lambda: 0.0)
    card = controller.model.card
    if not card.senses_one_picture:
        raise ConfigError(f'{card.name} senses more than one camera: such runs are not replayed')
    run = read_run(bag, namespace=namespace, image_topic=topic)
    layout = settings.twist_layout(values, card)
    frames = _Frames(bag, topic, card)
    wanted_goals = _Goals(run, goals, card)
    gate, now_sec = deque(run.gate), [0.0]
    passage = Passage(clock=lambda: now_sec[0])
    goal_id, result = 0, []
    for recorded in run.ticks:
        frame, has_frame = frames.of(recorded)
        while gate and 1e-9 * gate[0][0] <= recorded.now_sec:
            now_sec[0] = 1e-9 * gate[0][0]
            passage.hear(gate.popleft()[1])
        now_sec[0] = recorded.now_sec
        if recorded.goal_id != goal_id and recorded.drives:
            goal_id = recorded.goal_id
            controller.set_goal(controller.encode_goal(wanted_goals.take(recorded)))
        elif not recorded.drives and recorded.status in ('NO_GOAL', 'GOAL_REACHED'):
            controller.set_goal(None)
        if recorded.status == TickStatus.CLOCK_STANDS.name:  # the controller was not asked
            tick = controller.withdraw(
                Tick(controller.safe_action, TickStatus.CLOCK_STANDS), TickStatus.CLOCK_STANDS, ''
            )
        else:
            timing = _timing(recorded, controller)
            tick = controller.step(
                frame, now_sec=recorded.now_sec, timing=timing, passed=passage.share(),
                number=recorded.number,
            )
        if tick.status.drives and recorded.status == TickStatus.STALE_IMAGE.name:
            # It took so long that the node did not send it any more.
            tick = controller.withdraw(tick, TickStatus.STALE_IMAGE, '')
        if tick.status.drives and (recorded.prepared or not run.is_timed):
            controller.prepare(effort=recorded.prepared)
        command = layout.command(tick.action)
        result.append(ReplayedTick(recorded, tick, command, has_frame))
    return run, result


class _Goals:
    """The goals of a run: pictures that are handed in, in order, or those that were recorded.

    :param run: of which they are
    :param pictures: uint8 ``[height, width, 3]``, handed in
    :param card: of the model
    """

    def __init__(self, run: Run, pictures: Sequence[np.ndarray], card: ModelCard) -> None:
        self._heard = deque(run.goals)
        self._pictures = list(pictures)
        self._name, self._spec = next(iter(card.cameras.items()))

    def take(self, tick: RecordedTick) -> Frame:
        """What the sensors see at the goal that a tick is the first of.

        :raises RecordingError: when nobody knows
        """
        size = {'height': self._spec.height, 'width': self._spec.width}
        if self._pictures:
            picture = self._pictures.pop(0)
            if picture.shape != (*size.values(), 3):
                raise ConfigError(f'goal of {picture.shape[1]}x{picture.shape[0]} pixels, the '
                                  f'model needs {size["width"]}x{size["height"]}')
            return Frame({self._name: picture}, 0.0)
        known = None  # the newest that had come; those before it were replaced, or are driven to
        while self._heard and self._heard[0][0] <= tick.heard_ns:
            _, message = self._heard.popleft()
            known = message if len(message.data) else known
        if known is None:
            raise RecordingError(
                f'no picture of goal {tick.goal_id}, which tick {tick.number} drives to: name it '
                'with --goal, one for each goal in order; goals of the topic goal_image can be '
                'recorded'
            )
        return Frame({self._name: images.to_rgb(known, **size)}, 0.0)


def _timing(recorded: RecordedTick, controller: Controller) -> Timing:
    """What is known of a tick; of one without a record, the age of its frame."""
    if recorded.timing is not None:
        return recorded.timing
    image_sec = recorded.sent_ns if recorded.image_ns is None else recorded.image_ns
    age_sec = 1e-9 * (recorded.sent_ns - image_sec)
    return Timing(latency_sec=age_sec + controller.config.actuator_delay_sec)


def _stamp_ns(message: Any) -> int:
    return message.header.stamp.sec * 1_000_000_000 + message.header.stamp.nanosec


def digest(ticks: Sequence[ReplayedTick]) -> str:
    """Tells whether two replays gave the same commands to the last bit."""
    numbers = np.array([tick.command for tick in ticks], dtype='<f8')
    return hashlib.sha256(numbers.tobytes()).hexdigest()


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Replayed against recorded commands, each by the largest difference among its six numbers.

    :param ticks: all that were replayed
    :param compared: those whose command was recorded
    :param same: those with the same command to the last bit
    :param largest: difference, m/s or rad/s; None with nothing to compare
    :param median: likewise
    :param first_other: first tick with another command, None without one
    :param other_status: ticks with another status, where it was recorded
    :param missing_frames: ticks whose frame is not in the bag
    """

    ticks: int
    compared: int
    same: int
    largest: float | None
    median: float | None
    first_other: ReplayedTick | None
    other_status: int
    missing_frames: int


def compare(ticks: Sequence[ReplayedTick]) -> Comparison:
    """How far a replay is from what was recorded."""
    with_action = [tick for tick in ticks if tick.recorded.action is not None]
    off = np.array([np.abs(np.subtract(t.command, t.recorded.action)).max() for t in with_action])
    others = [tick for tick, other in zip(with_action, off) if other > 0]
    told = [t for t in ticks if t.recorded.status]
    return Comparison(
        ticks=len(ticks),
        compared=len(with_action),
        same=len(with_action) - len(others),
        largest=float(off.max()) if len(off) else None,
        median=float(np.median(off)) if len(off) else None,
        first_other=others[0] if others else None,
        other_status=sum(
            t.tick.status.name != _SAME_STATUS.get(t.recorded.status, t.recorded.status)
            for t in told
        ),
        missing_frames=sum(not tick.has_frame for tick in ticks),
    )


def _absolute(namespace: str) -> str:
    name = namespace.strip('/')
    return f'/{name}' if name else ''


def read_parameters(file: Path | None, *, namespace: str = '') -> dict[str, Any]:
    """The values that the controller would start with.

    :param file: of parameters, as ``ros2 run --params-file`` takes it; None for the defaults
    :param namespace: of the controller, with or without slashes around it
    :raises ConfigError: when it is no such file, has nothing for the controller, or a value in it
        cannot be taken
    """
    values = parameters.defaults(tables.MPC)
    if file is None:
        return values
    try:
        document = yaml.safe_load(file.read_text(encoding='utf-8'))
        nodes = {name: dict(_flat(tree or {})) for name, tree in _nodes(document)}
    except (OSError, UnicodeDecodeError, yaml.YAMLError, AttributeError, KeyError, TypeError
            ) as error:
        raise ConfigError(f'{file} is no file of parameters: {error}') from error
    node = f'{_absolute(namespace)}/{NODE}'
    meant = [name for name in nodes if _is_meant(name, node)]
    if not meant:
        there = ', '.join(nodes) or 'none'
        raise ConfigError(f'{file} has no parameters of {node}, but of: {there}')
    for name in meant:
        values |= {key: value for key, value in nodes[name].items() if key in values}
    reason = parameters.problem(tables.MPC, values)
    if reason is not None:
        raise ConfigError(f'{file}: {reason}')
    return values


def _nodes(tree: Mapping[str, Any], above: str = '') -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Full name of each node of a file, and its parameters; namespaces may be levels of it."""
    for name, content in tree.items():
        full = f'{above}/{name.strip("/")}'
        if 'ros__parameters' in content:
            yield full, content['ros__parameters']
        else:
            yield from _nodes(content, full)


def _is_meant(pattern: str, node: str) -> bool:
    """Whether a name of a file is that of a node; ``*`` is one part of it, ``**`` any number."""
    parts = {'/**': '(/[^/]+)*', '/*': '/[^/]+'}
    split = (f'/{part}' for part in pattern.strip('/').split('/'))
    return bool(re.fullmatch(''.join(parts.get(p, re.escape(p)) for p in split), node))


def _flat(tree: Mapping[str, Any], prefix: str = '') -> Iterator[tuple[str, Any]]:
    for name, value in tree.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f'{prefix}{name}.')
        else:
            yield prefix + name, value


def _picture(file: Path) -> np.ndarray:
    from PIL import Image

    try:
        with Image.open(file) as picture:
            return np.asarray(picture.convert('RGB'))
    except OSError as error:
        raise ConfigError(f'{file} is no picture: {error}') from error


def _lines(run: Run, ticks: Sequence[ReplayedTick], compared: Comparison) -> Iterator[str]:
    """The outcome, for people."""
    first, last = ticks[0].recorded, ticks[-1].recorded
    how = 'by their statistics' if run.is_timed else 'by the actions alone, without their timings'
    yield f'ticks     {compared.ticks}, from {first.number} to {last.number}, {how}'
    if first.goal_id and first.drives and run.is_timed:
        yield (f'          the record begins on the way to goal {first.goal_id}: what the '
               'controller knew then is not in it')
    if compared.missing_frames:
        yield f'frames    {compared.missing_frames} of them are not in the bag'
    if run.is_timed:
        yield f'status    another one in {compared.other_status} ticks'
    if compared.compared:
        yield (f'actions   {compared.same} of {compared.compared} are the same to the last bit; '
               f'largest difference {compared.largest:.3g}, median {compared.median:.3g}')
    else:
        yield 'actions   none were recorded'
    other = compared.first_other
    if other is not None:
        after_sec = 1e-9 * (other.recorded.sent_ns - first.sent_ns)
        yield (f'          first in tick {other.recorded.number}, {after_sec:.2f} s after the '
               f'first: recorded {_numbers(other.recorded.action)}, now {_numbers(other.command)}')
    yield f'digest    {digest(ticks)}'


def _numbers(command: Command) -> str:
    return '[' + ', '.join(f'{value:.4g}' for value in command) + ']'


@click.command('replay')
@click.argument('bag', type=click.Path(exists=True, path_type=Path))
@click.option('--params', type=click.Path(exists=True, dir_okay=False, path_type=Path),
              help='Parameters of the run, as its nodes were given them; the defaults unless '
                   'stated. Changes during the run are not in a bag.')
@click.option('--goal', 'goals', multiple=True, type=click.Path(exists=True, path_type=Path),
              help='Picture of a goal, one for each that the robot drove to, in order; without '
                   'them those of the topic goal_image count.')
@click.option('--namespace', default='', help='Of the controller, e.g. robot_1.')
@click.option('--image-topic', default='', help='Of the camera, where it was remapped.')
def command(bag: Path, params: Path | None, goals: tuple[Path, ...], namespace: str,
            image_topic: str) -> None:
    """Drive the controller again from the run in BAG, and compare with what was recorded.

    For models that see one camera and nothing else. Record `image_raw`, `solver_statistics`,
    `action` and `gate_status`, from before the first goal on. The digest is that of all commands:
    two replays with the same one are equal to the last bit.
    """
    try:
        pictures = [_picture(file) for file in goals]
        with Bag(bag) as opened:
            values = read_parameters(params, namespace=namespace)
            run, ticks = replay(opened, values, goals=pictures, namespace=namespace,
                                image_topic=image_topic)
    except GraspError as error:
        raise click.ClickException(str(error)) from error
    name, planner = settings.planner_settings(values)
    told = (name, registry.configure(name, **planner).horizon)
    if run.planner is not None and run.planner != told:
        click.echo(f'The run had planner {run.planner[0]} with horizon {run.planner[1]}, the '
                   f'parameters say {told[0]} with {told[1]}: other parameters?')
    for line in _lines(run, ticks, compare(ticks)):
        click.echo(line)

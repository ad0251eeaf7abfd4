# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""``grasp-ros doctor``: what is installed here, whether it works, and the cure where it does not.

Each check imports what it is about itself, so that what is missing is a finding and not the end.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import click

from grasp_ros.errors import GraspError
from grasp_ros.node import tables
from grasp_ros.node.processes import NodeProcess, environment, is_from_pip

NAMESPACE = '/grasp_ros_doctor'
RANGE = 'ROS_AUTOMATIC_DISCOVERY_RANGE'
HEARD_SEC = 15.0  # discovery mostly takes milliseconds, now and then seconds
TICKS = 20
BUILD = "GRASP_ROS_MESSAGES=1 pip install '.[ros]' in the source folder, or colcon build"
# Distribution -> what it is for and what to do where it is missing; None where it must be there.
SOFTWARE: dict[str, str | None] = {
    'torch': None,
    'numpy': None,
    'safetensors': None,
    'mujoco-core': 'the embedded world: pip install mujoco-core',
    'pillow': 'goal pictures from files, compressed images: pip install pillow',
    'rosbags': 'data sets and replays of bags: pip install rosbags',
    'matplotlib': 'pictures of training and benchmark: pip install matplotlib',
}


@dataclass(frozen=True)
class Finding:
    """One line of the report.

    :param level: ``fail``: the controller will not run; ``warn``: look at it
    :param subject: what was looked at
    :param text: what was found
    :param cure: what to do; empty where nothing needs doing
    """

    level: Literal['ok', 'warn', 'fail']
    subject: str
    text: str
    cure: str = ''


def software() -> Iterator[Finding]:
    """What is installed."""
    yield Finding('ok', 'system', f'Python {platform.python_version()}, {platform.platform()}')
    for name in ('grasp_ros', *SOFTWARE):
        try:
            yield Finding('ok', name, importlib.metadata.version(name))
        except importlib.metadata.PackageNotFoundError:
            cure = SOFTWARE.get(name)
            level = 'warn' if cure else 'fail'
            yield Finding(level, name, 'not installed', cure or f'pip install {name}')


def accelerator() -> Iterator[Finding]:
    """Which GPU torch can use."""
    import torch

    if torch.cuda.is_available():
        names = [torch.cuda.get_device_name(n) for n in range(torch.cuda.device_count())]
        yield Finding('ok', 'GPU', f'{", ".join(names)}: model.device cuda')
    elif Path('/proc/driver/nvidia/version').exists():
        yield Finding(
            'warn', 'GPU', f'there is one, and torch {torch.__version__} cannot use it',
            'a build of torch for its CUDA: pytorch.org/get-started',
        )  # fmt: skip
    else:
        yield Finding('ok', 'GPU', 'none; the shipped models need none')


def ros(environ: Mapping[str, str] = os.environ) -> Iterator[Finding]:
    """Whether ROS 2 is there, once, and our messages with it."""
    try:
        from rclpy.utilities import get_rmw_implementation_identifier
    except ImportError as error:
        yield Finding('fail', 'ROS 2', str(error), f'source a ROS 2 installation, or {BUILD}')
        return
    pip = is_from_pip()
    distribution = environ.get('ROS_DISTRO', '')
    source = 'wheels' if pip else distribution or 'an installation'
    text = (
        f'rclpy of {source}, {get_rmw_implementation_identifier()}, '
        f'domain {environ.get("ROS_DOMAIN_ID", "0")}, '
        f'range {environ.get(RANGE, "SUBNET")}'
    )
    if pip and distribution:
        yield Finding(
            'fail', 'ROS 2', f'{text}; {distribution} is sourced as well, and two of them crash',
            'a shell without the installation, or an environment without the wheels',
        )  # fmt: skip
    else:
        yield Finding('ok', 'ROS 2', text)
    try:
        importlib.import_module('grasp_ros.msg')
    except ImportError as error:
        yield Finding('fail', 'messages', str(error), BUILD)


def discovery() -> Iterator[Finding]:
    """Whether a node in another process is found, and its messages arrive."""
    import rclpy

    from grasp_ros.msg import GateStatus
    from grasp_ros.node.spin import initialised

    # What is tried is the range that the user's own nodes have, not that of a demo.
    env = environment() | {RANGE: os.environ.get(RANGE, 'SUBNET')}
    heard: list[GateStatus] = []
    with tempfile.TemporaryDirectory() as folder, initialised():
        node = rclpy.create_node('doctor', namespace=NAMESPACE)
        node.create_subscription(GateStatus, 'gate_status', lambda s: heard.append(s), 1)
        started_sec = time.monotonic()
        gate = NodeProcess('gate_node', log=Path(folder) / 'log', env=env, namespace=NAMESPACE)
        try:
            while not heard and time.monotonic() < started_sec + HEARD_SEC and gate.is_running:
                rclpy.spin_once(node, timeout_sec=0.1)
            if heard:
                seconds = time.monotonic() - started_sec
                yield Finding('ok', 'DDS', f'another process was heard after {seconds:.1f} s')
            else:
                yield Finding(
                    'fail', 'DDS', f'no gate heard in {HEARD_SEC:g} s: {gate.log_text()[-300:]}',
                    'a firewall on the loopback device? stale files in /dev/shm/fastdds*?',
                )  # fmt: skip
        finally:
            gate.stop()
            node.destroy_node()


def read_parameters(file: Path | None, node: str) -> dict[str, Any]:
    """The values that a node would start with; names that it does not know are warned of.

    :param file: of parameters, as ``ros2 run --params-file`` takes it; None for the defaults
    :param node: ``mpc_node`` or ``gate_node``
    :raises GraspError: when a value cannot be taken
    :raises RuntimeError: when ROS cannot read the file
    """
    import rclpy

    from grasp_ros.node.gate_node import config_of
    from grasp_ros.node.parameter_server import ParameterServer
    from grasp_ros.node.spin import initialised

    arguments = [] if file is None else ['--ros-args', '--params-file', str(file)]
    with initialised():
        stand_in = rclpy.create_node(node, cli_args=arguments, start_parameter_services=False)
        try:
            checks = {'check': config_of} if node == 'gate_node' else {}
            return dict(ParameterServer(stand_in, tables.TABLES[node], **checks).values)
        finally:
            stand_in.destroy_node()


def model(values: Mapping[str, Any], gate: Mapping[str, Any]) -> Iterator[Finding]:
    """Whether the model loads and solves, how fast, and what looks wrong beside it.

    :param values: of ``mpc_node``
    :param gate: values of ``gate_node``
    """
    from grasp_ros.node import settings

    path = values['model.path']
    try:
        controller = settings.build_controller(values)
    except GraspError as error:
        yield Finding('fail', 'model', f'{path}: {error}')
        return
    card = controller.model.card
    action_sec, prepare_sec = _times(controller)
    period_sec, deadline_sec = card.control_period_sec, controller.config.deadline_sec
    text = (
        f'{card.name} on {controller.model.device}: image to action {1e3 * action_sec:.0f} ms, '
        f'preparation {1e3 * prepare_sec:.0f} ms, control period {1e3 * period_sec:.0f} ms'
    )
    if action_sec > deadline_sec:
        yield Finding(
            'warn', 'model', f'{text}: late for the deadline of {1e3 * deadline_sec:.0f} ms',
            'a GPU; a smaller model; with control.schedule after_frame also a shorter '
            'planner.horizon or fewer planner.iterations',
        )  # fmt: skip
    else:
        yield Finding('ok', 'model', text)
    yield from together(values, gate, period_sec=period_sec)


def _times(controller) -> tuple[float, float]:
    """Median of image to action and of the preparation, s, on black pictures."""
    from grasp_ros.control.tick import TickStatus
    from grasp_ros.node.settings import black_frame

    card = controller.model.card
    controller.set_goal(controller.encode_goal(black_frame(card, 0.0)))
    actions, prepares = [], []
    for n in range(TICKS * card.action_block):
        stamp_sec = n * card.control_period_sec
        started_sec = time.monotonic()
        tick = controller.step(black_frame(card, stamp_sec), now_sec=stamp_sec)
        acted_sec = time.monotonic()
        controller.prepare(budget_sec=controller.config.deadline_sec)
        if tick.status is not TickStatus.IN_BLOCK:  # what is between two plans costs nothing
            actions.append(acted_sec - started_sec)
            prepares.append(time.monotonic() - acted_sec)
    return statistics.median(actions), statistics.median(prepares)


def together(
    values: Mapping[str, Any], gate: Mapping[str, Any], *, period_sec: float
) -> Iterator[Finding]:
    """Parameters that are allowed, and do not go together.

    :param values: of ``mpc_node``
    :param gate: of ``gate_node``
    :param period_sec: control period
    """
    wrong = []
    for name, value, what in (
        ('gate.command_timeout_sec', gate['gate.command_timeout_sec'], 'late command'),
        ('control.image_timeout_sec', values['control.image_timeout_sec'], 'lost image'),
    ):
        if value < 2 * period_sec:
            wrong.append((
                f'{name} {value:g} s is less than two control periods: one {what} stops the robot',
                f'{name} {3 * period_sec:g}',
            ))  # fmt: skip
    if gate['gate.dry_run']:
        wrong.append(('gate.dry_run is true: the robot does not move', 'gate.dry_run false'))
    if gate['gate.speed_scale'] == 0.0:
        wrong.append(('gate.speed_scale is 0: the robot does not move', 'gate.speed_scale 1.0'))
    for text, cure in wrong:
        yield Finding('warn', 'parameters', text, cure)
    if not wrong:
        yield Finding('ok', 'parameters', 'no two of them contradict each other')


def camera(topic: str, seconds: float) -> Iterator[Finding]:
    """How many images of a driver arrive.

    :param topic: of ``sensor_msgs/Image``
    :param seconds: how long to listen
    """
    import rclpy
    from rclpy.qos import qos_profile_sensor_data
    from sensor_msgs.msg import Image

    from grasp_ros.node.spin import initialised

    topic = f'/{topic.lstrip("/")}'  # the node here has a namespace of its own
    numbers: list[int | None] = []
    newest: list[Image] = []

    def hear(image: Image, info: Mapping[str, Any]) -> None:
        numbers.append(info.get('publication_sequence_number'))
        newest[:] = [image]

    with initialised():
        node = rclpy.create_node('doctor', namespace=NAMESPACE)
        node.create_subscription(Image, topic, hear, qos_profile_sensor_data)
        until_sec = time.monotonic() + HEARD_SEC
        while not numbers and time.monotonic() < until_sec:
            rclpy.spin_once(node, timeout_sec=0.1)
        until_sec = time.monotonic() + seconds
        while numbers and time.monotonic() < until_sec:
            rclpy.spin_once(node, timeout_sec=0.1)
        publishers = node.count_publishers(topic)
        node.destroy_node()
    if newest:
        (image,) = newest
        name = f'{topic}: {image.width}x{image.height} {image.encoding}'
        yield of_camera(name, numbers, seconds, size=len(image.data))
    elif publishers:
        yield Finding(
            'fail', 'camera', f'{topic}: {publishers} publishers, and no image in {HEARD_SEC:g} s',
            'compare the QoS with `ros2 topic info -v`; for large images the driver needs the '
            'profile config/fastdds.xml',
        )  # fmt: skip
    else:
        yield Finding('fail', 'camera', f'{topic}: nobody publishes it', 'ros2 topic list')


def of_camera(
    name: str, numbers: Sequence[int | None], seconds: float, *, size: int
) -> Finding:
    """What the numbers of the images that arrived tell.

    :param name: of the camera, for the text
    :param numbers: that its publisher gave them, in the order of arrival; None where the
        middleware does not tell, as Cyclone DDS
    :param seconds: in which they arrived
    :param size: of one, bytes
    """
    text = f'{name}, {len(numbers) / seconds:.1f} Hz'
    if None in numbers:
        return Finding('ok', 'camera', f'{text}; how many were lost is not known here')
    sent = numbers[-1] - numbers[0] + 1
    share = len(numbers) / sent
    text = f'{text}, {share:.1%} of {sent} arrived'
    if share >= 0.99:
        return Finding('ok', 'camera', text)
    cure = 'a machine or a network with less to do; a smaller picture or rate'
    if size > 400_000:
        cure = (
            'start the driver, not this package, with the profile config/fastdds.xml '
            '(FASTDDS_DEFAULT_PROFILES_FILE; Jazzy: FASTRTPS_DEFAULT_PROFILES_FILE)'
        )
    return Finding('warn', 'camera', text, cure)


def examine(params_file: Path | None, image_topic: str, seconds: float) -> Iterator[Finding]:
    """All checks, the cheap ones first; what builds on a failed one is left out."""
    yield from software()
    yield from accelerator()
    found = list(ros())
    yield from found
    if any(finding.level == 'fail' for finding in found):
        return
    yield from discovery()
    try:
        values, gate = (read_parameters(params_file, n) for n in ('mpc_node', 'gate_node'))
    except (GraspError, RuntimeError, OSError) as error:
        yield Finding('fail', 'parameters', f'{params_file}: {error}')
    else:
        yield from model(values, gate)
    if image_topic:
        yield from camera(image_topic, seconds)


@click.command()
@click.option('--params-file', type=click.Path(exists=True, dir_okay=False, path_type=Path),
              help='Of the nodes; their defaults unless stated.')
@click.option('--image-topic', default='', help='Of a camera that runs: counts what arrives.')
@click.option('--seconds', type=click.FloatRange(min=1.0), default=5.0, show_default=True,
              help='How long to listen to the camera.')
def command(params_file: Path | None, image_topic: str, seconds: float) -> None:
    """Look at what is installed, at DDS, model, parameters and camera; name the cures.

    The first thing that a report of a bug needs. Exits with 1 when something will not work.
    """
    colours = {'ok': 'green', 'warn': 'yellow', 'fail': 'red'}
    failed = False
    for finding in examine(params_file, image_topic, seconds):
        failed |= finding.level == 'fail'
        click.echo(
            f'{click.style(f"{finding.level:4}", fg=colours[finding.level])}  '
            f'{finding.subject:11}  {finding.text}'
        )
        if finding.cure:
            click.echo(f'{"":19}-> {finding.cure}')
    sys.exit(failed)

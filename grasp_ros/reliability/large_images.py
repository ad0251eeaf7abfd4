# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The command ``grasp-ros large-images``: what a camera's size costs, from publisher to action.

World, gate and controller run as processes of their own over DDS and drive from goal to goal, with
a camera of the size that is asked for in front of a shipped model.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path

import click
import numpy as np
from ament_index_python.packages import get_package_share_directory
from rclpy.node import Node
from rich.console import Console
from rich.live import Live
from rich.text import Text
from sensor_msgs.msg import Image

from grasp_ros import page
from grasp_ros.errors import GraspError
from grasp_ros.msg import SolverStatistics
from grasp_ros.node import images
from grasp_ros.node.processes import environment
from grasp_ros.reliability.rig import Result, open_client
from grasp_ros.reliability.robot import LEFT, RIGHT, Part, Robot
from grasp_ros.reliability.wide import Window
from grasp_ros.world_models import checkpoint
from grasp_ros.world_models.base import CameraSpec

PART = 'images'  # of the page
MODEL = 'two_rooms'
NAMESPACE = '/wide'
SIZES = ('640x480', '1280x720')
ARRIVED_PERCENT, BEYOND_MS = 99.0, 20.0  # the bars
UDP, SHARED = 'udp', 'shared-memory'
COLUMNS = (
    'transport', 'size', 'sent', 'arrived, %', 'plans', 'late ticks', 'encode and solve, ms',
    'beyond, ms: p50', 'p99', 'max', 'goals reached', 'kept',
)  # fmt: skip


@dataclass(frozen=True)
class Measured:
    """One size over one transport.

    :param transport: :data:`UDP` or :data:`SHARED`
    :param size: ``WIDTHxHEIGHT``
    :param sent: images that the camera published
    :param received: frames that the controller took
    :param late: ticks that missed the deadline, or were left out
    :param busy_ms: of each new plan, encode and solve
    :param beyond_ms: of the same, stamp of the image → stamp of the action, less that
    :param goals: reached
    :param failed: goals that ended otherwise
    """

    transport: str
    size: str
    sent: int
    received: int
    late: int
    busy_ms: Sequence[float]
    beyond_ms: Sequence[float]
    goals: int
    failed: int

    @property
    def arrived_percent(self) -> float:
        """Share of the images that reached the controller; their counts may differ by one."""
        return min(100.0, 100.0 * self.received / self.sent)

    @property
    def beyond(self) -> tuple[float, float, float]:
        """Median, 99th percentile and maximum, ms; infinite where there was no plan at all."""
        return tuple(np.percentile(self.beyond_ms or [np.inf], (50, 99, 100)))

    @property
    def kept(self) -> bool:
        """Whether both bars were, the second one in 99 of 100 ticks."""
        return self.arrived_percent >= ARRIVED_PERCENT and self.beyond[1] <= BEYOND_MS

    @property
    def busy(self) -> float:
        """Median of encode and solve, ms."""
        return float(np.median(self.busy_ms or [np.nan]))

    def cells(self) -> tuple[str, ...]:
        """A line of the table, as :data:`COLUMNS`."""
        return (
            self.transport, self.size, str(self.sent), f'{self.arrived_percent:.2f}',
            str(len(self.beyond_ms)), str(self.late), f'{self.busy:.1f}',
            *(f'{value:.1f}' for value in self.beyond),
            f'{self.goals} of {self.goals + self.failed}', 'yes' if self.kept else '**no**',
        )  # fmt: skip

    def __str__(self) -> str:
        median, most, largest = self.beyond
        return (
            f'{self.size} over {self.transport}: {self.arrived_percent:.2f} % of {self.sent} '
            f'images reached the controller; image to action took {median:.1f} ms beyond encode '
            f'and solve (p99 {most:.1f}, max {largest:.1f}), these {self.busy:.1f} ms, in '
            f'{len(self.beyond_ms)} plans; {self.late} ticks late; {self.goals} of '
            f'{self.goals + self.failed} goals reached'
        )


class WideRobot(Robot):
    """A robot with a camera of another size.

    :param client: from :func:`~grasp_ros.reliability.rig.open_client`
    :param folder: for logs
    :param size: of the camera
    :param rate: images a second
    :param transport: :data:`UDP` alone, as all that ``grasp-ros`` starts, or :data:`SHARED`
        memory beside it, as nodes speak that a user starts; then the camera has the profile that
        large images need
    """

    def __init__(
        self, client: Node, folder: Path, *, size: CameraSpec, rate: float, transport: str
    ) -> None:
        (small,) = checkpoint.load_card(MODEL).cameras.values()
        self._window = Window(size, small)
        model = f'model={MODEL}&height={size.height}&width={size.width}'
        parts = (
            Part('sim_node', 'grasp_ros.reliability.wide_world', {'sim.rate': rate}),
            Part('gate_node'),
            Part('mpc_node', parameters={
                'model.path': f'python:grasp_ros.reliability.wide:make?{model}',
            }),
        )  # fmt: skip
        super().__init__(client, NAMESPACE, folder, parts=parts)
        self._profile = {}
        if transport == SHARED:
            self.env, self._profile = _shared_memory(self.env)

    def boot(self, node: str) -> None:
        """Start a node, the camera with its profile."""
        env = self.env
        if node == 'sim_node':
            self.env = env | self._profile
        super().boot(node)
        self.env = env

    def make_normal(self) -> None:
        """Bring the robot to its normal state, with the camera's size set."""
        self.boot('sim_node')
        size = self._window.large
        self.set_parameters('sim_node', height=size.height, width=size.width)
        super().make_normal()

    @property
    def sent(self) -> int:
        """Images so far: with each the world sends, reliably, the robot's pose."""
        return self.heard['ground_truth/pose'].total

    def goal_image(self, x: float, y: float) -> Image:
        """Picture of the robot at a place, m, as the camera sees it."""
        image = super().goal_image(x, y)
        images.fill(image, self._window.enlarge(images.to_rgb(image)))
        return image


def _shared_memory(env: Mapping[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """The environment of a user's nodes, and what the launch files add to it for the camera."""
    profiles = ('FASTDDS_DEFAULT_PROFILES_FILE', 'FASTRTPS_DEFAULT_PROFILES_FILE')
    env = {n: v for n, v in env.items() if n not in (*profiles, 'FASTDDS_BUILTIN_TRANSPORTS')}
    name = profiles[env.get('ROS_DISTRO') == 'jazzy']
    share = Path(get_package_share_directory('grasp_ros'))
    camera = {name: str(share / 'config' / 'fastdds.xml')}
    return env | {'ROS_AUTOMATIC_DISCOVERY_RANGE': 'SUBNET'}, camera


def measure(
    size: str, *, transport: str, seconds: float, rate: float, folder: Path,
    show: Callable[[str], None],
) -> Measured:  # fmt: skip
    """Drive to and fro for some time and count.

    :param size: ``WIDTHxHEIGHT``
    :param transport: as of :class:`WideRobot`
    :param rate: images a second
    :param folder: for logs
    :param show: is given the progress in words
    :raises GraspError: when the nodes cannot be brought up or a goal is refused
    """
    width, height = _pixels(size)
    name, codes = f'{size} over {transport}', []
    with open_client('large_images') as client:
        robot = WideRobot(
            client, folder, size=CameraSpec(height, width), rate=rate, transport=transport
        )
        try:
            show(f'{name}: starting world, gate and controller')
            robot.make_normal()
            begin_sec = robot.now_sec()
            first = robot.first('solver_statistics', after_sec=begin_sec)
            sent = robot.sent
            until_sec = time.monotonic() + seconds
            while time.monotonic() < until_sec:
                left_sec = until_sec - time.monotonic()
                show(f'{name}: {left_sec:.0f} s to go, {len(codes)} goals')
                codes.append(robot.drive(*(LEFT if len(codes) % 2 else RIGHT)).code)
            last = robot.first('solver_statistics', after_sec=robot.now_sec())
            sent = robot.sent - sent
            reports = robot.between('solver_statistics', begin_sec, np.inf)
        finally:
            robot.close()
    solved = [r for r in reports if r.status == SolverStatistics.SOLVED]
    busy_ms = [1e3 * (r.encode_sec + r.solve_sec) for r in solved]
    counters = ('deadline_misses', 'ticks_skipped')
    return Measured(
        transport=transport,
        size=size,
        sent=sent,
        received=last.frames_received - first.frames_received,
        late=sum(getattr(last, name) - getattr(first, name) for name in counters),
        busy_ms=busy_ms,
        beyond_ms=[
            1e3 * r.image_to_action_sec - busy for r, busy in zip(solved, busy_ms, strict=True)
        ],
        goals=codes.count(Result.SUCCESS),
        failed=len(codes) - codes.count(Result.SUCCESS),
    )


def markdown(measured: Sequence[Measured], *, heading: str) -> str:
    """The table as a part of a page.

    :param heading: command, machine and versions
    """
    lines = [heading, '', '| ' + ' | '.join(COLUMNS) + ' |', '|' + '---|' * len(COLUMNS)]
    return '\n'.join(lines + ['| ' + ' | '.join(entry.cells()) + ' |' for entry in measured])


def _pixels(size: str) -> tuple[int, int]:
    width, _, height = size.partition('x')
    return int(width), int(height)


def _check(context: click.Context, parameter: click.Parameter, sizes: tuple[str, ...]):
    (small,) = checkpoint.load_card(MODEL).cameras.values()
    for size in sizes:
        try:
            width, height = _pixels(size)
            Window(CameraSpec(height, width), small)
        except (ValueError, GraspError) as error:
            raise click.BadParameter(f'{size}: {error}') from error
    return sizes


@click.command()
@click.option('--size', 'sizes', multiple=True, default=SIZES, show_default=True, callback=_check,
              metavar='WIDTHxHEIGHT', help='Of the camera; may be given more than once.')
@click.option('--transport', 'transports', multiple=True, type=click.Choice([UDP, SHARED]),
              default=[UDP, SHARED], show_default=True,
              help='UDP alone, as all that grasp-ros starts, or shared memory beside it, as the '
              'nodes that ROS starts; may be given more than once.')
@click.option('--rate', type=click.FloatRange(min=1.0), default=30.0, show_default=True,
              help='Images a second.')
@click.option('--seconds', type=click.FloatRange(min=1.0), default=60.0, show_default=True,
              help='How long each size is measured.')
@click.option('--json', 'json_file', type=click.Path(dir_okay=False, path_type=Path),
              help='Write the numbers to this file.')
@click.option('--markdown', 'page_file', type=click.Path(dir_okay=False, path_type=Path),
              help='Write the table into this page, between the marks "images".')
@click.option('--out', type=click.Path(file_okay=False, path_type=Path),
              default=Path('out/large_images'), show_default=True, help='Folder for the logs.')
def command(
    sizes: tuple[str, ...], transports: tuple[str, ...], rate: float, seconds: float,
    json_file: Path | None, page_file: Path | None, out: Path,
) -> None:
    """Measure what the size of a camera's images costs, from publisher to action.

    Exits with 1 when less than 99 % of the images reach the controller, or when their way to the
    action takes more than 20 ms beyond encode and solve.
    """
    console = Console()
    os.environ.update(environment())  # this process is a client in the same graph
    out.mkdir(parents=True, exist_ok=True)
    measured = []
    try:
        if page_file is not None:
            page.around_part(page_file, PART)
        with Live(Text(), console=console, refresh_per_second=2, transient=True) as live:
            for transport, size in product(transports, sizes):
                entry = measure(
                    size, transport=transport, seconds=seconds, rate=rate, folder=out,
                    show=lambda text: live.update(Text(text)),
                )  # fmt: skip
                measured.append(entry)
                mark = '[green]kept[/]' if entry.kept else '[red]missed[/]'
                live.console.print(f'{mark}: {entry}', highlight=False)
    except GraspError as error:
        raise click.ClickException(f'{error}; the logs are in {out}') from error
    options = [f'--transport {transport}' for transport in transports]
    options += [f'--size {size}' for size in sizes]
    heading = page.heading(
        f'grasp-ros large-images {" ".join(options)} --rate {rate:g} --seconds {seconds:g}'
    )
    if json_file is not None:
        json_file.parent.mkdir(parents=True, exist_ok=True)
        report = {'heading': heading, 'runs': [asdict(entry) for entry in measured]}
        json_file.write_text(json.dumps(report, indent=2) + '\n', encoding='utf-8')
    if page_file is not None:
        page.write_part(page_file, PART, markdown(measured, heading=heading))
    if not all(entry.kept for entry in measured):
        raise SystemExit(1)

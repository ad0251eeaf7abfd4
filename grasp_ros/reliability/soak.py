# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The controller over time: ``grasp-ros soak`` drives to goals under load and random faults.

World, gate and controller run as processes of their own over DDS, as on a robot, beside processes
that only load the machine and a bare timer that only sleeps. What is measured in the minutes that
were asked for is one controller from begin to end; it is killed, again and again, after them.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import numpy as np
from rich.console import Console
from rich.live import Live
from rich.text import Text

from grasp_ros import page
from grasp_ros.errors import GraspError
from grasp_ros.node.processes import environment
from grasp_ros.node.settings import DEADLINE_RATIO
from grasp_ros.reliability import bare_timer, soak_report
from grasp_ros.reliability.rig import open_client
from grasp_ros.reliability.robot import PERIOD_SEC, Part, Robot
from grasp_ros.reliability.soak_faults import SoakFaults
from grasp_ros.reliability.soak_record import Record
from grasp_ros.reliability.soak_report import Bar
from grasp_ros.sim.worlds import make

NAMESPACE = '/soak'
# The gate's depth of one would lose what this process is too slow for.
PARTS = (
    Part('sim_node'),
    Part('gate_node', parameters={f'qos_overrides.{NAMESPACE}/cmd_vel.publisher.depth': 100}),
    Part('mpc_node'),
)
FAULT_EVERY_SEC = (4.0, 10.0)
JUDGE_EVERY_SEC = 20.0
MINUTES_TO_A_KILL = 5.0
SETTLE_SEC = 0.5  # in which no state changes, so that all that belongs together has come


class SoakRobot(Robot):
    """A robot that is recorded.

    :param client: from :func:`~grasp_ros.reliability.rig.open_client`
    :param folder: for logs
    :param record: where
    """

    def __init__(self, client: Any, folder: Path, record: Record) -> None:
        self._record = record
        self._is_measured = False
        super().__init__(client, NAMESPACE, folder, parts=PARTS)

    def begin(self) -> None:
        """Record from now on."""
        self._record.started_sec = self.now_sec()
        self._is_measured = True
        self.look()
        self._looks = self.client.create_timer(1.0, self.look)

    def end(self) -> None:
        """Memory is not measured any more; the controller will be another one."""
        self._record.ended_sec = self.now_sec()
        self._looks.cancel()

    def look(self) -> None:
        """Note the memory of the nodes."""
        for node, process in self.processes.items():
            self._record.memory_kb[node].append((self.now_sec(), process.memory_kb()))

    def _hear(self, topic: str, message: Any) -> None:
        super()._hear(topic, message)
        if self._is_measured:
            self._record.hear(topic, message)


class Soak:
    """One run.

    :param minutes: that are measured
    :param load: processes that keep a core busy each
    :param with_faults: whether there are any
    :param seed: of goals and faults
    :param folder: for logs
    """

    def __init__(
        self, *, minutes: float, load: int, with_faults: bool, seed: int, folder: Path
    ) -> None:
        self._minutes = minutes
        self._load = load
        self.with_faults = with_faults
        self._random = np.random.default_rng(seed)
        self._folder = folder
        self._timer_file = folder / 'bare_timer.txt'
        self.record = Record()
        self.options = (
            f'--minutes {minutes:g} --load {load} --{"" if with_faults else "no-"}faults '
            f'--seed {seed}'
        )
        self.part = 'soak' if with_faults else 'load'  # of the page

    def run(self, show: Callable[[str], None]) -> dict[str, Any]:
        """Start everything, drive, end everything; the numbers.

        :param show: is given the progress in words
        :raises GraspError: when the nodes cannot be brought up
        """
        for old in (self._timer_file, *self._folder.glob('*.log')):
            old.unlink(missing_ok=True)
        with open_client('soak') as client:
            robot = SoakRobot(client, self._folder, self.record)
            try:
                show('starting world, gate and controller')
                robot.make_normal()
                with bare_timer.load(self._load), bare_timer.running(PERIOD_SEC, self._timer_file):
                    self._drive(robot, show)
            finally:
                robot.close()
        return soak_report.summary(
            self.record,
            bare_timer.read(self._timer_file),
            period_sec=PERIOD_SEC,
            deadline_sec=DEADLINE_RATIO * PERIOD_SEC,
        )

    def _drive(self, robot: SoakRobot, show: Callable[[str], None]) -> None:
        faults = SoakFaults(robot, make('two_rooms'), self._random, self.record)
        began_sec = judged_sec = time.monotonic()
        until_sec = began_sec + 60.0 * self._minutes
        fault_sec = began_sec + self._pause_sec()
        robot.begin()
        while (now_sec := time.monotonic()) < until_sec:
            show(self._progress(now_sec - began_sec))
            faults.drive_on()
            if now_sec >= fault_sec:
                faults.happen()
                fault_sec = time.monotonic() + self._pause_sec()
            elif now_sec >= judged_sec + JUDGE_EVERY_SEC:
                faults.judge()
                judged_sec = now_sec
            robot.watch(SETTLE_SEC)
        robot.end()
        kills = 1 + int(self._minutes / MINUTES_TO_A_KILL) if self.with_faults else 0
        for n in range(kills):
            show(f'{self._progress(60.0 * self._minutes)}; kill {n + 1} of {kills}')
            faults.kill()
        robot.watch(SETTLE_SEC)
        faults.judge()

    def _pause_sec(self) -> float:
        return self._random.uniform(*FAULT_EVERY_SEC) if self.with_faults else float('inf')

    def _progress(self, elapsed_sec: float) -> str:
        record = self.record
        missed = sum(missed for _, missed in record.deadlines)
        memory = ', '.join(
            f'{node} {samples[-1][1] / 1024:.0f} MB' for node, samples in record.memory_kb.items()
        )
        last = f', last {record.events[-1].kind}' if record.events else ''
        return (
            f'{elapsed_sec / 60:.1f} of {self._minutes:g} min · {len(record.deadlines)} ticks, '
            f'{missed} late · {sum(record.goals.values())} goals · {len(record.events)} '
            f'faults{last} · {memory} · {len(record.problems)} problems'
        )


@click.command()
@click.option('--minutes', type=click.FloatRange(min=0.05), default=30.0, show_default=True,
              help='How long is measured.')
@click.option('--load', type=click.IntRange(min=0), default=os.cpu_count(), show_default=True,
              help='Processes that keep a core busy each.')
@click.option('--faults/--no-faults', 'with_faults', default=True, show_default=True,
              help='Random faults on the way, and a controller that is killed at the end.')
@click.option('--seed', type=click.IntRange(min=0), default=0, show_default=True,
              help='Of goals and faults.')
@click.option('--json', 'json_file', type=click.Path(dir_okay=False, path_type=Path),
              help='Write the numbers to this file.')
@click.option('--markdown', 'page_file', type=click.Path(dir_okay=False, path_type=Path),
              help='Write the results into this page: between the marks "soak", or "load" where '
              'there are no faults.')
@click.option('--out', type=click.Path(file_okay=False, path_type=Path), default=Path('out/soak'),
              show_default=True, help='Folder for the logs.')
def command(
    minutes: float, load: int, with_faults: bool, seed: int, json_file: Path | None,
    page_file: Path | None, out: Path,
) -> None:
    """Drive to goals for a long time, under load and random faults, and judge what came of it.

    Exits with 1 when a promise is broken.
    """
    console = Console()
    os.environ.update(environment())  # this process is a client in the same graph
    out.mkdir(parents=True, exist_ok=True)
    soak = Soak(minutes=minutes, load=load, with_faults=with_faults, seed=seed, folder=out)
    try:
        if page_file is not None:
            page.around_part(page_file, soak.part)
        with Live(Text(), console=console, refresh_per_second=2) as live:
            numbers = soak.run(lambda text: live.update(Text(text)))
    except GraspError as error:
        raise click.ClickException(f'{error}; the logs are in {out}') from error
    verdicts = soak_report.bars(numbers, period_sec=PERIOD_SEC)
    for bar in verdicts:
        mark = {True: '[green]kept[/]', False: '[red]broken[/]', None: 'not shown'}[bar.kept]
        console.print(f'{mark}: {bar.promise}\n    {bar.measured}', highlight=False)
    for problem in numbers['problems']:
        console.print(f'[red]problem[/]: {problem}', highlight=False)
    _write(numbers, verdicts, json_file=json_file, page_file=page_file, soak=soak)
    if any(bar.kept is False for bar in verdicts):
        raise SystemExit(1)


def _write(
    numbers: dict[str, Any],
    verdicts: list[Bar],
    *,
    json_file: Path | None,
    page_file: Path | None,
    soak: Soak,
) -> None:
    if json_file is not None:
        report = numbers | {'options': soak.options, 'bars': [vars(bar) for bar in verdicts]}
        json_file.parent.mkdir(parents=True, exist_ok=True)
        json_file.write_text(json.dumps(report, indent=2) + '\n', encoding='utf-8')
    if page_file is not None:
        heading = page.heading(f'grasp-ros soak {soak.options}')
        text = soak_report.markdown(numbers, verdicts, heading=heading)
        page.write_part(page_file, soak.part, text)

# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The command ``grasp-ros faults``: every fault scenario, again and again, and what came of it."""

from __future__ import annotations

import json
import math
import multiprocessing
import os
import queue
import signal
import statistics
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from grasp_ros import page
from grasp_ros.errors import GraspError
from grasp_ros.node.processes import environment, own_domain
from grasp_ros.reliability.bench import ROBOTS, Bench
from grasp_ros.reliability.faults import SCENARIOS
from grasp_ros.reliability.rig import open_client
from grasp_ros.reliability.scenario import Outcome, Scenario, run_once

PART = 'faults'  # of the page
COLUMNS = ('row', 'fault', 'promise', 'measured', 'bound, s', 'p50, s', 'max, s', 'held')


@dataclass
class Tried:
    """A scenario and what came of its runs."""

    scenario: Scenario
    outcomes: list[Outcome] = field(default_factory=list)

    @property
    def held(self) -> int:
        """In how many runs the promise was kept."""
        return sum(outcome.held for outcome in self.outcomes)

    @property
    def reactions_sec(self) -> list[float]:
        """Of the runs in which there was one."""
        seconds = (outcome.reaction_sec for outcome in self.outcomes)
        return [value for value in seconds if not math.isnan(value)]

    def cells(self) -> tuple[str, ...]:
        """A line of the table, as :data:`COLUMNS`."""
        chosen, seconds = self.scenario, self.reactions_sec
        median, largest = '–', '–'
        if seconds:
            median, largest = f'{statistics.median(seconds):.3f}', f'{max(seconds):.3f}'
        return (
            str(chosen.row), chosen.fault, chosen.promise, chosen.measured,
            f'{chosen.bound_sec:.3g}', median, largest,
            f'{self.held} of {len(self.outcomes)}',
        )  # fmt: skip

    def to_dict(self) -> dict[str, Any]:
        """In plain JSON types; a reaction that was not seen is null."""
        chosen = self.scenario
        runs = [asdict(outcome) for outcome in self.outcomes]
        for run in runs:
            run['reaction_sec'] = None if math.isnan(run['reaction_sec']) else run['reaction_sec']
        return {
            'row': chosen.row,
            'name': chosen.name,
            'fault': chosen.fault,
            'promise': chosen.promise,
            'measured': chosen.measured,
            'bound_sec': chosen.bound_sec,
            'held': self.held,
            'runs': runs,
        }


def in_order(scenarios: Sequence[Scenario]) -> list[Scenario]:
    """Those that need the same robot one after the other, so that each starts but once."""
    robots = list(ROBOTS)
    return sorted(scenarios, key=lambda chosen: (robots.index(chosen.robot), chosen.row))


def markdown(tried: Sequence[Tried], *, heading: str) -> str:
    """The fault table as a part of a page, by row.

    :param heading: command, machine and versions
    """
    commands = sum(o.commands for entry in tried for o in entry.outcomes)
    runs = sum(len(entry.outcomes) for entry in tried)
    held = sum(entry.held for entry in tried)
    lines = [
        heading, '',
        f'{held} of {runs} runs held. {commands} commands left the gate in those runs and were '
        'checked.', '',
        '| ' + ' | '.join(COLUMNS) + ' |', '|' + '---|' * len(COLUMNS),
    ]  # fmt: skip
    for entry in sorted(tried, key=lambda entry: entry.scenario.row):
        lines.append('| ' + ' | '.join(cell.replace('|', '\\|') for cell in entry.cells()) + ' |')
    lines += ['', 'Where each reaction is visible:', '']
    for entry in sorted(tried, key=lambda entry: entry.scenario.row):
        seen = next((outcome.seen for outcome in entry.outcomes if outcome.seen), ())
        lines.append(f'- {entry.scenario.row}, {entry.scenario.fault}: {"; ".join(seen)}')
    return '\n'.join(lines)


def _print(console: Console, tried: Sequence[Tried]) -> None:
    table = Table()
    for name in COLUMNS:
        table.add_column(name, justify='right' if name.endswith(', s') else 'left')
    for entry in sorted(tried, key=lambda entry: entry.scenario.row):
        style = '' if entry.held == len(entry.outcomes) else 'red'
        table.add_row(*entry.cells(), style=style)
    console.print(table)
    for entry in tried:
        for n, outcome in enumerate(entry.outcomes, 1):
            if not outcome.held:
                text = f'{entry.scenario.name}, run {n}: {outcome.problem}'
                console.print(text, style='red', markup=False, highlight=False)


Told = tuple[str, Outcome]


def _drive(
    share: Sequence[tuple[str, int]], folder: Path, domain_id: int, tell: Callable[[Told], None]
) -> None:
    """Run scenarios, each so many times.

    :param share: names and numbers of runs
    :param tell: is handed each name with what came of the run
    """
    os.environ.update(environment(domain_id=domain_id))
    folder.mkdir(parents=True, exist_ok=True)
    with open_client('faults') as client:
        bench = Bench(client, folder)
        try:
            for name, runs in share:
                for _ in range(runs):
                    tell((name, run_once(SCENARIOS[name], bench)))
        finally:
            bench.discard()


def _drive_beside(arguments: Sequence[tuple[Any, ...]], tell: Callable[[Told], None]) -> None:
    """:func:`_drive` in processes side by side.

    :raises GraspError: when one of them cannot go on
    """
    context = multiprocessing.get_context('spawn')
    told: multiprocessing.Queue[Told] = context.Queue()
    workers = [context.Process(target=_drive, args=(*a, told.put), daemon=True) for a in arguments]
    for worker in workers:
        worker.start()
    while any(worker.is_alive() for worker in workers) or not told.empty():
        with suppress(queue.Empty):
            tell(told.get(timeout=0.5))
        if any(worker.exitcode for worker in workers):
            for worker in workers:
                if worker.is_alive():
                    os.kill(worker.pid, signal.SIGINT)  # so that it stops its nodes
            raise GraspError('a process that drives faults has ended')


def _run(
    chosen: Sequence[Scenario], runs: int, folder: Path, console: Console, jobs: int
) -> list[Tried]:
    tried = {entry.name: Tried(entry) for entry in chosen}
    arguments = []
    # Domains of their own: not even the clock of others on this machine may be disturbed.
    for n in range(jobs):
        share = [
            (entry.name, int(n == 0) if entry.once else (runs + n) // jobs) for entry in chosen
        ]
        arguments.append((share, folder / str(n) if jobs > 1 else folder, own_domain(n)))
    total = sum(count for share, _, _ in arguments for _, count in share)
    columns = (
        TextColumn('{task.description}'), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
    )  # fmt: skip
    with Progress(*columns, console=console) as progress:
        bar = progress.add_task('', total=total)

        def tell(told: Told) -> None:
            name, outcome = told
            tried[name].outcomes.append(outcome)
            failed = sum(not o.held for one in tried.values() for o in one.outcomes)
            progress.update(bar, description=f'{name}, {failed} failed', advance=1)

        if jobs == 1:
            _drive(*arguments[0], tell)
        else:
            _drive_beside(arguments, tell)
    return list(tried.values())


@click.command()
@click.option('--runs', type=click.IntRange(min=1), default=1, show_default=True,
              help='How often each is done; some only once.')
@click.option('--jobs', type=click.IntRange(min=1), default=1, show_default=True,
              help='Robots side by side, each with a part of the runs.')
@click.option('--only', multiple=True, type=click.Choice(sorted(SCENARIOS)), metavar='NAME',
              help='This scenario alone; may be given more than once.')
@click.option('--json', 'json_file', type=click.Path(dir_okay=False, path_type=Path),
              help='Write all runs to this file.')
@click.option('--markdown', 'page_file', type=click.Path(dir_okay=False, path_type=Path),
              help='Write the table into this page, between the marks "faults".')
@click.option('--out', type=click.Path(file_okay=False, path_type=Path),
              default=Path('out/faults'), show_default=True, help='Folder for the logs.')
def command(
    runs: int, jobs: int, only: tuple[str, ...], json_file: Path | None, page_file: Path | None,
    out: Path,
) -> None:
    """Do to real nodes, over DDS, all that can go wrong, and time what they do about it.

    Exits with 1 when a promise is broken.
    """
    console = Console()
    chosen = in_order([SCENARIOS[name] for name in only or SCENARIOS])
    try:
        if page_file is not None:
            page.around_part(page_file, PART)
        tried = _run(chosen, runs, out, console, jobs)
    except GraspError as error:
        raise click.ClickException(f'{error}; the logs are in {out}') from error
    _print(console, tried)
    options = [f'--only {name}' for name in only] + [f'--runs {runs}', f'--jobs {jobs}']
    heading = page.heading(f'grasp-ros faults {" ".join(options)}')
    if json_file is not None:
        json_file.parent.mkdir(parents=True, exist_ok=True)
        report = {'heading': heading, 'faults': [entry.to_dict() for entry in tried]}
        json_file.write_text(json.dumps(report, indent=2) + '\n', encoding='utf-8')
    if page_file is not None:
        page.write_part(page_file, PART, markdown(tried, heading=heading))
    if any(entry.held < len(entry.outcomes) for entry in tried):
        raise SystemExit(1)

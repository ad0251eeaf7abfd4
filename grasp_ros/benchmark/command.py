# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The command ``grasp-ros benchmark``."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial, wraps
from pathlib import Path

import click
import torch

from grasp_ros.benchmark import latency as latency_study
from grasp_ros.benchmark import report as reports
from grasp_ros.benchmark import run as runs
from grasp_ros.benchmark import tune as tuning
from grasp_ros.benchmark.pool import Job, run_jobs
from grasp_ros.benchmark.suite import Suite, is_meant, load, require_meant
from grasp_ros.errors import GraspError

_FOLDER = click.Path(file_okay=False, path_type=Path)
_FILES = (
    click.option('--out', default='out/benchmark', show_default=True, type=_FOLDER,
                 help='Where results go, and where a run that was stopped goes on.'),
    click.option('--models', default='out/models', show_default=True, type=_FOLDER,
                 help='Folder of the models that are not shipped.'),
    click.option('--suite', 'file', default='config/benchmark.yaml', show_default=True,
                 type=click.Path(exists=True, dir_okay=False, path_type=Path),
                 help='What is run.'),
)
# Of what can be done in parts.
_PARTS = (
    click.option('--only', default='', metavar='TASK/PLANNER',
                 help='One task, one planner or both; either may be empty.'),
    click.option('--jobs', type=click.IntRange(min=1), default=1, show_default=True,
                 help='Worker processes, one thread of torch each.'),
)


def _with(options: Iterable[Callable], function: Callable) -> Callable:
    for option in options:
        function = option(function)
    return function


def _subcommand(*options: Callable) -> Callable[[Callable], click.Command]:
    """A subcommand that is handed the suite instead of its file."""

    def decorate(function: Callable) -> click.Command:
        @wraps(function)
        def wrapped(file: Path, models: Path, out: Path, **parts) -> None:
            torch.set_num_threads(1)
            try:
                suite = load(file, models=models)
                require_meant(suite, parts.get('only', ''))
                out.mkdir(parents=True, exist_ok=True)
                function(suite=suite, out=out, **parts)
            except GraspError as error:
                raise click.ClickException(str(error)) from error

        return command.command(name=function.__name__)(_with((*_FILES, *options), wrapped))

    return decorate


@click.group()
def command() -> None:
    """Tune planners, drive paired episodes under charged time, and compare.

    `all` does everything in order. Every subcommand goes on where it was stopped.
    """


@_subcommand(*_PARTS)
def tune(suite: Suite, out: Path, jobs: int, only: str) -> None:
    """Search the settings of every planner, on episodes that are not reported."""
    searches = tuning.searches(suite, only=only)
    _search(searches, out, jobs, 'tune')
    _search(tuning.exchanges(searches, out), out, jobs, 'tune, winners of other deadlines')
    chosen = tuning.write_tuned(suite, out)
    click.echo(f'{len(chosen)} settings chosen: {out / tuning.TUNED_FILE}')


def _search(searches: list[tuning.Search], out: Path, jobs: int, title: str) -> None:
    run_jobs(
        [
            Job(f'{s.task.name}/{s.entry.name}', tuning.run_search, (s, out), s.deadline_ms)
            for s in searches
        ],
        title=title, processes=jobs,
    )


@_subcommand(*_PARTS)
def run(suite: Suite, out: Path, jobs: int, only: str) -> None:
    """Drive the reported episodes: every task, seed, planner and deadline, and GRASP's parts."""
    tuned = tuning.write_tuned(suite, out)
    cells = runs.run_cells(suite, tuned, only=only)
    cells += runs.ablation_cells(suite, tuned, only=only)
    untuned = sorted(
        {f'{s.task.name}/{s.entry.name}' for s in tuning.searches(suite, only=only)
         if (s.task.name, s.entry.name, s.deadline_ms) not in tuned}
    )
    if untuned:
        click.echo(f'Left out, because not tuned: {", ".join(untuned)}', err=True)
    run_jobs(runs.jobs(suite, cells, out), title='run', processes=jobs)


@_subcommand(*_PARTS)
def feedback(suite: Suite, out: Path, jobs: int, only: str) -> None:
    """Preparation and feedback against full solves, under disturbances."""
    cells = [
        cell for cell in runs.feedback_cells(suite, tuning.write_tuned(suite, out))
        if is_meant(only, cell.task, cell.entry)
    ]
    run_jobs(runs.jobs(suite, cells, out), title='feedback', processes=jobs)


@_subcommand()
def latency(suite: Suite, out: Path) -> None:
    """Image to action against the horizon; wants a quiet machine, so it uses one process."""
    if suite.latency:
        latency_study.measure(suite, out)


@_subcommand()
def report(suite: Suite, out: Path) -> None:
    """Write results.json, table.md and the plots from what has been driven so far."""
    reports.write(suite, tuning.write_tuned(suite, out), out)
    click.echo((out / reports.TABLE_FILE).read_text(encoding='utf-8'))


@command.command(name='all')
@partial(_with, (*_FILES, *_PARTS))
@click.pass_context
def everything(context: click.Context, **values) -> None:
    """Tune, run, feedback, latency, report."""
    for part in (tune, run, feedback, latency, report):
        taken = {option.name for option in part.params}
        context.invoke(part, **{name: given for name, given in values.items() if name in taken})

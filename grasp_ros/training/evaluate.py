# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Scores of a planner in closed loop: the command ``grasp-ros evaluate`` and what it prints."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from grasp_ros.control.config import ControllerConfig, Schedule
from grasp_ros.control.controller import Controller
from grasp_ros.control.warm_start import WarmStartMode
from grasp_ros.errors import ConfigError, GraspError, SolveError
from grasp_ros.planners import registry
from grasp_ros.planners.base import ActionLimits
from grasp_ros.training.camera import SHIFTS
from grasp_ros.training.episodes import (
    WARM_UP_TICKS,
    Conditions,
    Disturbance,
    Episode,
    TickTime,
    run_episode,
)
from grasp_ros.training.statistics import bootstrap, mcnemar, percentiles, rate
from grasp_ros.training.tasks import (
    EpisodeTask,
    episode_tasks,
    is_of_recording,
    world_name,
    world_of,
)
from grasp_ros.world_models import checkpoint
from grasp_ros.world_models.base import WorldModel


def card_limits(model: WorldModel) -> ActionLimits:
    """The card's action bounds, without a rate limit."""
    specs = model.card.actions
    return ActionLimits(
        low=torch.tensor([spec.low for spec in specs], device=model.device),
        high=torch.tensor([spec.high for spec in specs], device=model.device),
    )


def evaluate(
    model: WorldModel,
    *,
    planner: str,
    settings: dict[str, Any],
    episodes: int,
    seed: int,
    warm_start: WarmStartMode = 'full',
    schedule: Schedule = 'after_frame',
    delay_sec: float = 0.0,
    latency_compensation: bool = True,
    picture_shift: str = '',
    progress: Callable[[int, Episode], None] = lambda index, episode: None,
) -> dict[str, Any]:
    """Run episodes and sum them up.

    :param planner: a name of :data:`grasp_ros.planners.registry.PLANNERS`
    :param settings: fields of its configuration
    :param episodes: how many
    :param seed: of the episodes; the planner's own seed is in ``settings``
    :param schedule: of the controller; a tick's time is the whole solve in ``after_frame`` alone
    :param delay_sec: by which the robot follows every command later
    :param latency_compensation: whether the controller takes that into account
    :param picture_shift: how the camera sees otherwise than in training, one of
        :data:`grasp_ros.training.camera.SHIFTS`; empty if it does not
    :param progress: called after every episode
    :return: plain JSON types; rates with Wilson 95 % intervals, times in milliseconds
    :raises ConfigError: on a setting that the planner does not take
    """
    controller = Controller(
        model=model,
        planner=registry.make(planner, model, **settings),
        limits=card_limits(model),
        config=ControllerConfig(
            warm_start=warm_start, schedule=schedule, actuator_delay_sec=delay_sec,
            latency_compensation=latency_compensation, unforeseen_frames=0, frozen_frames=0,
        ),
    )  # fmt: skip
    conditions = Conditions(
        disturbance=Disturbance(delay_sec=delay_sec), picture_shift=picture_shift
    )
    world = world_name(model.card)
    horizon = controller.planner.horizon
    results: list[Episode] = []
    timing: list[tuple[float, float, float]] = []

    def watch(tick: TickTime) -> None:
        timing.append((tick.wall_sec, tick.cpu_sec, _forward_pass_sec(controller)))

    tasks = episode_tasks(world, episodes=episodes, seed=seed)
    if is_of_recording(model.card):  # nobody knows which places it shows
        tasks = [replace(task, held_out=False) for task in tasks]
    first = tasks[0]
    run_episode(world_of(model.card, first.layout), controller, first, most_ticks=WARM_UP_TICKS)
    for index, task in enumerate(tasks):
        place = world_of(model.card, task.layout)
        results.append(run_episode(place, controller, task, conditions=conditions, watch=watch))
        progress(index, results[-1])
    if not timing:
        raise SolveError(f'no solve of {model.card.name} gave a plan: {results[0].failure}')
    wall_ms, cpu_ms, forward_ms = 1e3 * np.array(timing).T
    known = [episode for episode in results if episode.held_out]
    claims = bool(model.card.goal_tolerance)
    ratios = [episode.path_ratio for episode in results if episode.reached]
    return {
        'episodes': episodes,
        'reached': rate([episode.reached for episode in results]),
        'held': rate([episode.held for episode in results]),
        'held_out_places': {
            'episodes': len(known),
            'reached': rate([episode.reached for episode in known]),
            'held': rate([episode.held for episode in known]),
        },
        'path_ratio': float(np.mean(ratios)) if ratios else None,
        **_block_goals(tasks),
        'tick_ms': percentiles(wall_ms),
        'tick_cpu_ms': percentiles(cpu_ms),
        'forward_ms': percentiles(forward_ms),
        'tick_in_forward_passes': float(np.median(wall_ms) / np.median(forward_ms)),
        'failures': sum(bool(episode.failure) for episode in results),
        'warm_start_used': sum(episode.warm_ticks for episode in results) / len(timing),
        # Without a tolerance nobody can claim anything.
        'claimed_reached': sum(episode.claimed for episode in results) if claims else None,
        'false_success': sum(episode.false_success for episode in results) if claims else None,
        'planner': planner,
        'horizon': horizon,
        'settings': settings,
        'warm_start': warm_start,
        'schedule': schedule,
        'delay_sec': delay_sec,
        'latency_compensation': latency_compensation,
        'picture_shift': picture_shift,
        'model': model.card.name,
        'world': world,
        'seed': seed,
        'device': str(model.device),
        'torch_threads': torch.get_num_threads(),
        'results': [_plain(asdict(episode)) for episode in results],
    }


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    """JSON knows no NaN."""
    return {
        name: None if isinstance(value, float) and math.isnan(value) else value
        for name, value in values.items()
    }


def _block_goals(tasks: list[EpisodeTask]) -> dict[str, Any]:
    """How far the block of each episode lies from its goal at the start, where there is one."""
    states = np.array([(task.task.start, task.task.goal) for task in tasks])
    if states.shape[-1] == 2:
        return {}
    first, last = states[:, 0], states[:, 1]
    turns = np.abs((last[:, 4] - first[:, 4] + np.pi) % (2 * np.pi) - np.pi)
    values = {'move_m': np.linalg.norm(last[:, 2:4] - first[:, 2:4], axis=1),
              'turn_deg': np.degrees(turns)}
    return {'block_goals': {
        name: dict(zip(('p25', 'p50', 'p75'), np.quantile(part, (0.25, 0.5, 0.75)).tolist()))
        for name, part in values.items()
    }}


def _forward_pass_sec(controller: Controller) -> float:
    """Time of one batched forward pass of the predictor over the horizon, seconds."""
    model, horizon = controller.model, controller.planner.horizon
    card = model.card
    context = torch.zeros((horizon, card.history, *card.latent_shape), device=model.device)
    shape = (horizon, card.history, card.action_block, card.action_size)
    actions = torch.zeros(shape, device=model.device)
    with torch.no_grad():
        if model.device.type == 'cuda':
            torch.cuda.synchronize(model.device)
        started_sec = time.perf_counter()
        model.predict(context, actions)
        if model.device.type == 'cuda':
            torch.cuda.synchronize(model.device)
        return time.perf_counter() - started_sec


def compare(first: dict[str, Any], second: dict[str, Any], *, outcome: str) -> dict[str, Any]:
    """Paired difference ``first - second`` of two evaluations on the same episodes.

    :param outcome: ``held`` or ``reached``
    :return: difference of the rates, bootstrap 95 % interval over episodes, exact McNemar p-value
    """
    pairs = np.array(
        [
            (a[outcome], b[outcome])
            for a, b in zip(first['results'], second['results'], strict=True)
        ],
        dtype=float,
    )
    difference = pairs[:, 0] - pairs[:, 1]
    return {
        'difference': float(difference.mean()),
        'ci95': list(bootstrap([difference])),
        'only_first': int((difference > 0).sum()),
        'only_second': int((difference < 0).sum()),
        'mcnemar_p': mcnemar(pairs[:, 0], pairs[:, 1]),
    }


def read_earlier(file: Path, *, world: str, seed: int, episodes: int) -> dict[str, Any]:
    """The JSON file of an evaluation on the same episodes as this one.

    :raises ConfigError: when it is none, or of other episodes
    """
    try:
        earlier = json.loads(file.read_text(encoding='utf-8'))
        found = {name: earlier[name] for name in ('world', 'seed', 'episodes')}
        outcomes = [(bool(e['reached']), bool(e['held'])) for e in earlier['results']]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(f'{file}: no evaluation: {type(error).__name__}: {error}') from error
    mine = {'world': world, 'seed': seed, 'episodes': episodes}
    if found != mine or len(outcomes) != episodes:
        raise ConfigError(f'{file}: other episodes, {found}, and not {mine}')
    return earlier


def _setting(context: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> dict:
    """Parse ``name=number`` pairs."""
    settings = {}
    for value in values:
        name, separator, number = value.partition('=')
        try:
            parsed = json.loads(number)
        except json.JSONDecodeError:
            parsed = None
        if not separator or isinstance(parsed, bool) or not isinstance(parsed, int | float):
            raise click.BadParameter(f'"{value}" is not of the form name=number')
        settings[name.replace('-', '_')] = parsed
    return settings


def writable(
    context: click.Context, parameter: click.Parameter, file: Path | None
) -> Path | None:
    """Find out before hours of driving whether their outcome can be written."""
    if file is not None:
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            is_new = not file.exists()
            file.open('a', encoding='utf-8').close()
            if is_new:
                file.unlink()
        except OSError as error:
            raise click.BadParameter(str(error)) from error
    return file


def write_json(file: Path, report: dict[str, Any]) -> None:
    """Write a report of plain JSON types."""
    text = json.dumps(report, indent=2, allow_nan=False)
    file.write_text(f'{text}\n', encoding='utf-8')


json_option = click.option(
    '--json', 'json_file', type=click.Path(dir_okay=False, path_type=Path), callback=writable,
    help='Write everything to this file.',
)
settings_option = click.option(
    '--set', 'settings', multiple=True, callback=_setting, metavar='NAME=NUMBER',
    help='Any setting of the planner, e.g. --set noise_scale=0.02; repeatable.',
)  # fmt: skip


@click.command()
@click.option('--planner', type=click.Choice(list(registry.PLANNERS)), default='grasp',
              show_default=True, help='Which planner.')
@click.option('--horizon', type=click.IntRange(min=1), help='T, model steps.')
@click.option('--iterations', type=click.IntRange(min=1), help='Iterations in every tick.')
@settings_option
@click.option('--model', default='two_rooms', show_default=True,
              help=checkpoint.MODEL_HELP)
@click.option('--episodes', type=click.IntRange(min=1), default=50, show_default=True)
@click.option('--seed', type=click.IntRange(min=0), default=1000, show_default=True,
              help='Of the episodes.')
@click.option('--warm-start', type=click.Choice(['none', 'actions', 'full']), default='full',
              show_default=True, help='What is kept of the previous plan.')
@click.option('--schedule', type=click.Choice(['after_frame', 'ahead']), default='after_frame',
              show_default=True,
              help="When is solved. The node's default is `ahead`; `after_frame` times whole "
                   'solves.')
@click.option('--delay', 'delay_sec', type=click.FloatRange(0.0, 5.0), default=0.0,
              show_default=True, help='Seconds by which the robot follows every command later.')
@click.option('--latency-compensation/--no-latency-compensation', default=True, show_default=True,
              help='Whether plans begin where their first action takes effect.')
@click.option('--shift', 'picture_shift', type=click.Choice(list(SHIFTS)),
              help='How the camera sees otherwise than in training: brightness by 20 %, hue by 10 '
                   'degrees, a blur of one pixel, a move by two.')
@click.option('--device', default='cpu', show_default=True, help='cpu, cuda, cuda:1, …')
@click.option('--threads', type=click.IntRange(min=1), default=1, show_default=True,
              help='CPU threads of torch; one is the fastest for small models.')
@json_option
@click.option('--against', type=click.Path(exists=True, dir_okay=False, path_type=Path),
              help='JSON file of an earlier run on the same episodes: print paired differences.')
def command(planner, horizon, iterations, settings, model, episodes, seed, warm_start, schedule,
            delay_sec, latency_compensation, picture_shift, device, threads, json_file,
            against) -> None:
    """Drive episodes in the world of the model, without ROS, and print the scores.

    Start and goal lie in different rooms with a wall on the straight line. An episode lasts twice
    the shortest path's steps, and 20 more. Reached: within 5 % of the world's width; held: still
    there, and stopped where the commands are accelerations, in each of the last ten ticks. Every
    fourth episode starts and ends where no training frame was taken; in the worlds with layouts
    all have one that no training frame shows. For a model of a recording neither holds.

    In push_t start and goal are 25 steps of random pushes apart that moved the block by 10 cm or
    turned it by 40 degrees at least; the way known is the robot's in these. Reached: the block is
    within 5 cm and 20 degrees of its goal, wherever the robot is.
    """
    torch.set_num_threads(threads)
    given = {'horizon': horizon, 'iterations': iterations}
    given = {name: value for name, value in given.items() if value is not None}
    for name in given.keys() & settings.keys():
        raise click.UsageError(f'--{name} and --set {name} are the same setting')
    settings |= given
    console = Console(stderr=True)
    columns = (TextColumn('{task.description}'), BarColumn(), MofNCompleteColumn(),
               TimeRemainingColumn())
    try:
        world_model = checkpoint.load(model, device=device)
        earlier = against and read_earlier(
            against, world=world_name(world_model.card), seed=seed, episodes=episodes
        )
        with Progress(*columns, console=console) as bar:
            job = bar.add_task(f'{planner} on {model}', total=episodes)
            reached = held = 0

            def progress(index: int, episode: Episode) -> None:
                nonlocal reached, held
                reached, held = reached + episode.reached, held + episode.held
                bar.update(job, advance=1,
                           description=f'{planner} on {model}: reached {reached}, held {held}')

            report = evaluate(world_model, planner=planner, settings=settings, episodes=episodes,
                              seed=seed, warm_start=warm_start, schedule=schedule,
                              delay_sec=delay_sec, latency_compensation=latency_compensation,
                              picture_shift=picture_shift or '', progress=progress)
    except GraspError as error:
        raise click.ClickException(str(error)) from error
    Console().print(summary(report))
    if earlier:
        for outcome in ('reached', 'held'):
            click.echo(f'{outcome}, paired: {compare(report, earlier, outcome=outcome)}')
    if json_file is not None:
        write_json(json_file, report)


def summary(report: dict[str, Any]) -> Table:
    """The scores as a table for people."""
    table = Table(title=f'{report["planner"]}, T = {report["horizon"]}, {report["model"]}, '
                        f'{report["episodes"]} episodes in {report["world"]}', show_header=False)
    if report['delay_sec']:
        how = 'with' if report['latency_compensation'] else 'without'
        table.add_row('delay', f'{report["delay_sec"]:g} s, {how} compensation')
    if report['picture_shift']:
        table.add_row('pictures', report['picture_shift'])
    for name in ('reached', 'held'):
        score = report[name]
        low, high = score['ci95']
        table.add_row(name, f'{score["rate"]:.1%}  (95 % interval {low:.1%} … {high:.1%})')
    places = report['held_out_places']
    if places['episodes']:
        table.add_row('held-out places', f'reached {places["reached"]["rate"]:.1%}, '
                                         f'held {places["held"]["rate"]:.1%} '
                                         f'of {places["episodes"]}')
    if 'block_goals' in report:
        move, turn = report['block_goals']['move_m'], report['block_goals']['turn_deg']
        table.add_row('block to its goal', f'{move["p50"]:.2f} m ({move["p25"]:.2f} … '
                                           f'{move["p75"]:.2f}), {turn["p50"]:.0f}° '
                                           f'({turn["p25"]:.0f} … {turn["p75"]:.0f}): median '
                                           'and quartiles')
    if report['path_ratio'] is not None:
        table.add_row('path / shortest path', f'{report["path_ratio"]:.2f}')
    for name, title in (('tick_ms', 'tick'), ('tick_cpu_ms', 'tick, thread CPU')):
        table.add_row(title, f'{report[name]["p50"]:.2f} ms, p99 {report[name]["p99"]:.2f} ms')
    table.add_row('one forward pass', f'{report["forward_ms"]["p50"]:.3f} ms: a tick costs '
                                      f'{report["tick_in_forward_passes"]:.1f} of them')
    table.add_row('warm start used', f'{report["warm_start_used"]:.1%} of the solves')
    if report['failures']:
        first = next(e['failure'] for e in report['results'] if e['failure'])
        table.add_row('stopped for want of a plan', f'in {report["failures"]} episodes: {first}')
    claimed = f'{report["claimed_reached"]}, falsely {report["false_success"]}'
    if report['claimed_reached'] is None:
        claimed = '– (the card has no goal tolerance)'
    table.add_row('goal claimed reached', claimed)
    return table

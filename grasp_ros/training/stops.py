# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""`grasp-ros stops`: false alarms and times to detect of the stops by what is seen.

Episodes without and with kicks say how often :mod:`grasp_ros.control.sight` stops a robot whose
camera is well; episodes whose camera goes wrong on the way say how soon it does then.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import click
import numpy as np
import torch
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from grasp_ros.control.config import ControllerConfig
from grasp_ros.control.controller import Controller
from grasp_ros.errors import GraspError
from grasp_ros.planners import registry
from grasp_ros.training.camera import KINDS, CameraFault
from grasp_ros.training.episodes import IDEAL, Disturbance, run_episode
from grasp_ros.training.evaluate import card_limits, json_option, settings_option, write_json
from grasp_ros.training.statistics import events_per_hour
from grasp_ros.training.tasks import episode_tasks, shortest_ticks, world_name, world_of
from grasp_ros.world_models import checkpoint
from grasp_ros.world_models.base import WorldModel

# A push of five centimetres, and of a walking pace where there is inertia, every 20 ticks or so.
KICKS = Disturbance(kick_rate=0.05, kick_distance=0.05, kick_speed=0.1)
WELL = {'undisturbed': IDEAL, 'kicks': replace(IDEAL, disturbance=KICKS)}


def measure(
    model: WorldModel,
    *,
    settings: dict[str, Any],
    episodes: int,
    faulty: int,
    seed: int,
    progress: Callable[[], None] = lambda: None,
) -> dict[str, Any]:
    """Drive, with a camera that is well and with each fault of :data:`KINDS`.

    A fault begins where a quarter to a half of the shortest way's time has passed.

    :param settings: of GRASP, which drives
    :param episodes: without and with kicks, each
    :param faulty: of each fault
    :param seed: of the episodes
    :param progress: called after every episode
    :return: plain JSON types
    """
    controller = Controller(
        model=model, planner=registry.make('grasp', model, **settings),
        limits=card_limits(model), config=ControllerConfig(),
    )  # fmt: skip
    world, period_sec = world_name(model.card), model.card.control_period_sec
    tasks = episode_tasks(world, episodes=max(episodes, faulty), seed=seed)
    well, faults = {}, {}
    for name, conditions in WELL.items():
        ticks, stops = 0, Counter()
        for task in tasks[:episodes]:
            episode = run_episode(
                world_of(model.card, task.layout), controller, task, conditions=conditions
            )
            ticks += episode.ticks
            stops.update([episode.stopped] if episode.stopped else [])
            progress()
        hours = ticks * period_sec / 3600
        well[name] = {
            'hours': hours, 'stops': dict(stops), **events_per_hour(stops.total(), hours)
        }
    for kind in KINDS:
        late, early, stops = [], 0, Counter()
        for task in tasks[:faulty]:
            place = world_of(model.card, task.layout)
            begins = shortest_ticks(place, task.task.path_length, period_sec)
            part = np.random.default_rng((*task.seed, 2)).uniform(0.25, 0.5)
            fault = CameraFault(kind, tick=math.ceil(part * begins))
            episode = run_episode(
                place, controller, task, conditions=replace(IDEAL, camera_fault=fault)
            )
            if episode.stopped and episode.ticks > fault.tick:
                stops[episode.stopped] += 1
                late.append((episode.ticks - fault.tick) * period_sec)
            # What stops it before there is a fault has not seen that, nor has it failed to.
            early += bool(episode.stopped) and episode.ticks <= fault.tick
            progress()
        faults[kind] = {
            'episodes': faulty - early, 'stopped_before': early, 'stops': dict(stops),
            'late_sec': sorted(late),
        }  # fmt: skip
    card, config = model.card, controller.config
    return {
        'model': card.name, 'seed': seed, 'settings': settings, 'well': well, 'faults': faults,
        'innovation_limit': card.innovation_limit, 'motion_limit': card.motion_limit,
        'unforeseen_frames': config.unforeseen_frames, 'frozen_frames': config.frozen_frames,
    }


def summary(report: dict[str, Any]) -> list[Table]:
    """The figures as tables for people."""
    well = Table('the camera is well', 'driven h', 'stops', 'per hour (95 % interval)',
                 title=f'{report["model"]}, seed {report["seed"]}')
    for name, row in report['well'].items():
        low, high = row['ci95']
        well.add_row(name, f'{row["hours"]:.2f}', _causes(row['stops']),
                     f'{row["per_hour"]:.1f} ({low:.1f} … {high:.1f})')
    faults = Table('fault', 'stopped', 'after s: p50, longest', 'by')
    for kind, row in report['faults'].items():
        late = row['late_sec']
        times = f'{np.median(late):.1f}, {late[-1]:.1f}' if late else '–'
        stopped = f'{len(late)} of {row["episodes"]}'
        if row['stopped_before']:
            stopped += f', {row["stopped_before"]} before it'
        faults.add_row(kind, stopped, times, _causes(row['stops']))
    if not report['motion_limit']:
        faults.caption = 'the card has no motion_limit: a picture that is frozen stops nothing'
    return [well, faults]


def _causes(stops: dict[str, int]) -> str:
    return ', '.join(f'{name} {count}' for name, count in stops.items()) or '0'


@click.command('stops')
@settings_option
@click.option('--model', default='two_rooms', show_default=True,
              help=checkpoint.MODEL_HELP)
@click.option('--episodes', type=click.IntRange(min=1), default=200, show_default=True,
              help='With a camera that is well, without and with kicks each.')
@click.option('--faulty', type=click.IntRange(min=1), default=20, show_default=True,
              help='Episodes of each fault.')
@click.option('--seed', type=click.IntRange(min=0), default=1000, show_default=True,
              help='Of the episodes.')
@json_option
def command(settings, model, episodes, faulty, seed, json_file) -> None:
    """Drive with a camera that is well, and with one that goes wrong, and count the stops."""
    torch.set_num_threads(1)
    console = Console()
    try:
        world_model = checkpoint.load(model)
        total = episodes * len(WELL) + faulty * len(KINDS)
        with Progress(console=Console(stderr=True)) as bar:
            job = bar.add_task(model, total=total)
            report = measure(
                world_model, settings=settings, episodes=episodes, faulty=faulty, seed=seed,
                progress=lambda: bar.update(job, advance=1),
            )  # fmt: skip
    except GraspError as error:
        raise click.ClickException(str(error)) from error
    for table in summary(report):
        console.print(table)
    if json_file is not None:
        write_json(json_file, report)

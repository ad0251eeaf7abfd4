# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""`grasp-ros train`: world models of a task, from random walks."""

from __future__ import annotations

import dataclasses
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import click
import numpy as np
import torch
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as Bars

from grasp_ros.errors import GraspError
from grasp_ros.sim.world import DiscWorld
from grasp_ros.sim.worlds import LAYOUTS
from grasp_ros.training import recorded
from grasp_ros.training.config import TASKS, TrainingConfig
from grasp_ros.training.dataset import Walks, collect, interleave
from grasp_ros.training.metrics import (
    Encoded,
    Pairs,
    draw_pairs,
    foresight_limits,
    goal_costs,
    goal_tolerance,
    observer_gain,
    summary,
)
from grasp_ros.training.models import Robot, make_model, spread, training_record
from grasp_ros.training.recipes import RECIPES
from grasp_ros.training.report import write_report
from grasp_ros.training.runner import Interrupted, Progress, run_stages
from grasp_ros.training.stages import Networks, TrainingData, encode_walks
from grasp_ros.training.state import load_state
from grasp_ros.training.tasks import layouts, make_world
from grasp_ros.training.train_recorded import train_recorded
from grasp_ros.world_models import checkpoint
from grasp_ros.world_models.base import ActionSpec, CameraSpec, ModelCard
from grasp_ros.world_models.jepa import Jepa

_EVALUATION_SEED = 2_000_000


def train(config: TrainingConfig, *, folder: Path, command: str, progress: Progress,
          should_stop: Callable[[], bool] = lambda: False) -> Path:
    """Collect data, train, measure, and write checkpoints and a report.

    A folder in which a run was interrupted is taken up where it stopped. Nothing is trained on
    evaluation walks, nor in the held-out places and layouts, where every fourth episode of an
    evaluation starts and ends, and each in the worlds with layouts. What the card says of
    tolerance, limits and observer is measured on these walks, which go through them as well.

    :param config: task, sizes and lengths
    :param folder: gets the state, one folder per model, and ``report.md`` with its pictures
    :param command: what the cards say the run was started with
    :param progress: hears of every stage
    :param should_stop: asked between steps, walks and measurements
    :return: path of the report
    :raises Interrupted: when asked to stop, after saving
    :raises ConfigError: when the folder holds another run, or a damaged one
    """
    folder.mkdir(parents=True, exist_ok=True)
    recipe = RECIPES[config.task]
    world = make_world(config.task, layouts(config.task, held_out=False)[0])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        networks = Networks(config, image_size=world.image_size, action_scale=world.max_action)
    state, memory = load_state(folder, config=config, networks=networks)
    begin, cpu_begin = time.monotonic(), time.process_time()
    watched = _Watched(progress, should_stop)
    walks = _collect('walks', config, watched, for_training=True)
    data = TrainingData(images=torch.from_numpy(walks.images),
                        actions=torch.from_numpy(walks.actions),
                        positions=torch.from_numpy(walks.points),
                        layouts=torch.from_numpy(walks.layouts))
    # Collected anew after an interrupt, so this is the time of the last collection.
    state.stage_sec['walks'] = time.monotonic() - begin
    state.stage_cpu_sec['walks'] = time.process_time() - cpu_begin
    run_stages(recipe.stages(networks, data, config), state=state, memory=memory,
               networks=networks, config=config, folder=folder, progress=progress,
               should_stop=should_stop)
    evaluation = evaluation_walks(config, watched)
    worlds = {int(layout): make_world(config.task, int(layout) if config.static_size else None)
              for layout in np.unique(evaluation.layouts)}
    pairs = draw_pairs(evaluation, {layout: world.geometry for layout, world in worlds.items()},
                       seed=config.seed)
    frames = len(walks.images) * config.walk_length
    training = training_record(config, state, command, frames=frames)
    measured = {}
    for name, space in recipe.models.items():
        watched.check()
        latents = encode_walks(networks, torch.from_numpy(evaluation.images), space)
        scale = spread(networks, data.images, space)
        seen = Encoded(latents=latents, goals=networks.at_rest(latents), walks=evaluation)
        model = make_model(name, space, networks, config, _robot(world), latents.shape[-1], scale,
                           training)
        model.card = _measured(model, seen, pairs, recipe.held_out)
        checkpoint.save(model, folder / name)
        measured[name] = model, seen
    return write_report(folder, measured=measured, losses=state.losses, training=training,
                        pairs=pairs, worlds=_shown(config.task), held_out=recipe.held_out)


class _Watched:
    """Progress that ends a piece of work which nothing is lost by ending.

    :param progress: hears of it
    :param should_stop: asked each time
    """

    def __init__(self, progress: Progress, should_stop: Callable[[], bool]) -> None:
        self._progress = progress
        self._should_stop = should_stop

    def update(self, name: str, done: int, total: int, loss: float | None) -> None:
        self._progress.update(name, done, total, loss)
        self.check()

    def check(self) -> None:
        """
        :raises Interrupted: when asked to stop
        """
        if self._should_stop():
            raise Interrupted('stopped between two stages')


def evaluation_walks(config: TrainingConfig, progress: Progress) -> Walks:
    """The walks for metrics and calibration, of all layouts and through what is held out.

    :param progress: hears of every walk
    """
    return _collect('evaluation walks', config, progress, for_training=False)


def _collect(name: str, config: TrainingConfig, progress: Progress, *, for_training: bool
             ) -> Walks:
    """Walks of all layouts; those for evaluation go through what is held out, too."""
    count = config.walks if for_training else config.evaluation_walks
    seed = config.seed if for_training else _EVALUATION_SEED + config.seed
    chosen = layouts(config.task, held_out=False)
    if not for_training:
        chosen = chosen + [one for one in layouts(config.task, held_out=True)
                           if one not in chosen]
    each, parts = max(1, count // len(chosen)), []
    for done, layout in enumerate(chosen):
        parts.append(collect(
            make_world(config.task, layout), walks=each, length=config.walk_length, seed=seed,
            enter_bands=not for_training,
            on_progress=lambda walk, done=done: progress.update(
                name, done * each + walk, each * len(chosen), None)))
    walks = interleave(parts)
    if not for_training:
        unseen = LAYOUTS[config.task].held_out if config.task in LAYOUTS else ()
        walks.held_out[np.isin(walks.layouts, unseen)] = True
    return walks


def _robot(world: DiscWorld) -> Robot:
    limit, unit = world.max_action, 'm/s^2' if world.scene.robot.has_inertia else 'm/s'
    return Robot(
        cameras={'overhead': CameraSpec(height=world.image_size, width=world.image_size)},
        actions=tuple(ActionSpec(name=f'linear.{axis}', unit=unit, low=-limit, high=limit)
                      for axis in 'xy'),
        step_sec=world.scene.step_sec)


def _measured(model: Jepa, seen: Encoded, pairs: Pairs, held_out: str) -> ModelCard:
    """Its card with tolerance and observer of half of the evaluation walks, limits and metrics."""
    half = slice(len(seen.latents) // 2)
    tolerance = goal_tolerance(*goal_costs(model, seen, half))
    model.card = dataclasses.replace(model.card, goal_tolerance=tolerance,
                                     observer_gain=observer_gain(model, seen, half))
    innovation, motion = foresight_limits(model, seen)
    model.card = dataclasses.replace(model.card, innovation_limit=innovation, motion_limit=motion)
    return dataclasses.replace(model.card, metrics=summary(model, seen, pairs, held_out))


def _shown(task: str) -> dict[str, DiscWorld]:
    """Worlds for the map of distances."""
    if task not in LAYOUTS:
        return {task: make_world(task)}
    seen, new = layouts(task, held_out=False), layouts(task, held_out=True)
    chosen = [seen[len(seen) // 2], new[0], new[-1]]
    return {f'layout {layout}' + (', held out' if layout in new else ''): make_world(task, layout)
            for layout in chosen}


class LiveProgress:
    """Progress on a terminal: a bar per stage with its loss and time left; lines elsewhere.

    :param console: where to
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bars = Bars(
            TextColumn('{task.description:18}'), BarColumn(), MofNCompleteColumn(),
            TextColumn('{task.fields[loss]}'), TimeElapsedColumn(), TimeRemainingColumn(),
            console=console, disable=not console.is_terminal)
        self._tasks: dict[str, Any] = {}

    def __enter__(self) -> LiveProgress:
        self._bars.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._bars.stop()

    def update(self, name: str, done: int, total: int, loss: float | None) -> None:
        text = '' if loss is None else f'loss {loss:.5f}'
        if name not in self._tasks:
            self._tasks[name] = self._bars.add_task(name, total=total, loss='')
        self._bars.update(self._tasks[name], completed=done, loss=text)
        if not self._console.is_terminal and (done == total or done % max(1, total // 5) == 0):
            self._console.print(f'{name}: {done} of {total} {text}')


@contextmanager
def _stop_signals() -> Iterator[Callable[[], bool]]:
    """SIGINT and SIGTERM ask for a stop between steps instead of breaking one off."""
    received: list[int] = []

    def remember(number: int, frame: FrameType | None) -> None:
        received.append(number)

    old = {number: signal.signal(number, remember) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: bool(received)
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)


@click.command('train')
@click.option('--out', required=True, type=click.Path(file_okay=False, path_type=Path),
              help='Folder for checkpoints, report and state; a run in it is taken up again.')
@click.option('--task', type=click.Choice(list(TASKS)), default='two_rooms', show_default=True,
              help='World to train in; each has its models.')
@click.option('--seed', default=0, show_default=True, type=click.IntRange(min=0),
              help='Of data, weights and batches.')
@click.option('--quick', is_flag=True, help='Seconds instead of minutes; the models are useless.')
@click.option('--data', 'recording', type=click.Path(exists=True, file_okay=False, path_type=Path),
              help='Data set of `grasp-ros bag-to-dataset` to train on, in the stages of the '
                   'task, in place of walks in its world.')
def command(out: Path, task: str, seed: int, quick: bool, recording: Path | None) -> None:
    """Train the world models of one task, from random walks in its world or from a recording."""
    console = Console()
    # The networks are so small that a second thread gains little, and on a busy machine two
    # threads wait for each other most of the time: 0.47 s of processor time a step against 0.1.
    torch.set_num_threads(1)
    line = f'grasp-ros train --task {task} --out {out.name} --seed {seed}'
    line += ' --quick' if quick else ''
    try:
        with _stop_signals() as should_stop, LiveProgress(console) as progress:
            options = {'folder': out, 'progress': progress, 'should_stop': should_stop}
            if recording is None:
                config = TrainingConfig.of(task, seed=seed, quick=quick)
                report = train(config, command=line, **options)
            else:
                data = recorded.load(recording)
                config = TrainingConfig.of(task, seed=seed, quick=quick, data=data.digest)
                report = train_recorded(data, config, command=f'{line} --data {recording.name}',
                                        **options)
    except Interrupted as error:
        console.print(f'{error}; the same command goes on from there')
        raise SystemExit(130) from error
    except (GraspError, OSError) as error:  # as a disk that is full, or may not be written to
        raise click.ClickException(str(error)) from error
    console.print(f'report: {report}')

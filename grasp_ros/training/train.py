# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""`grasp-ros train`: world models of the two rooms, from random walks."""

from __future__ import annotations

import dataclasses
import os
import platform
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import FrameType
from typing import Any

import click
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
from grasp_ros.sim.worlds import make
from grasp_ros.training.config import TrainingConfig
from grasp_ros.training.dataset import Walks, collect
from grasp_ros.training.metrics import (
    Encoded,
    Pairs,
    draw_pairs,
    goal_costs,
    goal_tolerance,
    summary,
)
from grasp_ros.training.report import write_report
from grasp_ros.training.runner import Interrupted, Progress, run_stages
from grasp_ros.training.stages import Networks, TrainingData, encode_walks, stages
from grasp_ros.training.state import RunState, load_state
from grasp_ros.world_models import checkpoint
from grasp_ros.world_models.base import ActionSpec, CameraSpec, ModelCard
from grasp_ros.world_models.jepa import Jepa

MODELS = {'two_rooms': 'metric', 'two_rooms_no_metric': 'plain'}
_EVALUATION_SEED = 2_000_000
_PACKAGES = ('torch', 'numpy', 'mujoco-core', 'safetensors')


def train(config: TrainingConfig, *, folder: Path, command: str, progress: Progress,
          should_stop: Callable[[], bool] = lambda: False) -> Path:
    """Collect data, train, measure, and write checkpoints and a report.

    A folder in which a run was interrupted is taken up where it stopped. No evaluation walk and
    no place of the goals and starts used in evaluation has a part in choosing anything.

    :param config: sizes and lengths
    :param folder: gets the state, one folder per model, and ``report.md`` with its pictures
    :param command: what the cards say the run was started with
    :param progress: hears of every stage
    :param should_stop: asked between steps
    :return: path of the report
    :raises Interrupted: when asked to stop, after saving
    :raises ConfigError: when the folder holds another run, or a damaged one
    """
    folder.mkdir(parents=True, exist_ok=True)
    world = make('two_rooms')
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        networks = Networks(config, image_size=world.image_size, action_scale=world.max_action)
    state, memory = load_state(folder, config=config, networks=networks)
    begin, cpu_begin = time.monotonic(), time.process_time()
    walks = _collect(world, 'walks', config.walks, config.seed, False, config, progress)
    data = TrainingData(images=torch.from_numpy(walks.images),
                        actions=torch.from_numpy(walks.actions),
                        positions=torch.from_numpy(walks.positions))
    # Collected anew after an interrupt, so this is the time of the last collection.
    state.stage_sec['walks'] = time.monotonic() - begin
    state.stage_cpu_sec['walks'] = time.process_time() - cpu_begin
    run_stages(stages(networks, data, config), state=state, memory=memory, networks=networks,
               config=config, folder=folder, progress=progress, should_stop=should_stop)
    evaluation = _collect(world, 'evaluation walks', config.evaluation_walks,
                          _EVALUATION_SEED + config.seed, True, config, progress)
    pairs = draw_pairs(evaluation, world.geometry, seed=config.seed)
    training = _training_record(config, state, command)
    encoded = {}
    for name, space in MODELS.items():
        latents = encode_walks(networks, torch.from_numpy(evaluation.images), space)
        scale = _spread(encode_walks(networks, data.images[::10], space))
        seen = Encoded(latents=latents, walks=evaluation)
        model = _measured(name, space, networks, config, world, seen, pairs, scale,
                          training)
        checkpoint.save(model, folder / name)
        encoded[name] = model, seen
    return write_report(folder, encoded=encoded, losses=state.losses, training=training,
                        pairs=pairs, world=world)


def _collect(world: DiscWorld, name: str, count: int, seed: int, enter_bands: bool,
             config: TrainingConfig, progress: Progress) -> Walks:
    return collect(world, walks=count, length=config.walk_length, seed=seed,
                   enter_bands=enter_bands,
                   on_progress=lambda done: progress.update(name, done, count, None))


def _spread(latents: torch.Tensor) -> float:
    return float(latents.flatten(0, 1).var(dim=0).mean().sqrt())


def _measured(name: str, space: str, networks: Networks, config: TrainingConfig, world: DiscWorld,
              seen: Encoded, pairs: Pairs, scale: float, training: dict[str, Any]) -> Jepa:
    """The model of one latent, its card with tolerance and metrics."""
    limit = world.max_action
    card = ModelCard(
        name=name,
        architecture={
            'type': 'jepa', 'channels': list(config.channels),
            'encoder_width': config.encoder_width,
            'metric_width': config.metric_width if space == 'metric' else 0,
            'predictor_width': config.predictor_width, 'probe_width': config.probe_width,
        },
        cameras={'overhead': CameraSpec(height=world.image_size, width=world.image_size)},
        actions=tuple(ActionSpec(name=f'linear.{axis}', unit='m/s', low=-limit, high=limit)
                      for axis in 'xy'),
        latent_shape=(seen.latents.shape[-1],), model_step_sec=world.scene.step_sec,
        latent_scale=scale, training=training)
    model = Jepa(card)
    for own, trained in (('encoder', 'encoder'), ('head', f'{space}_head'),
                         ('predictor', f'{space}_predictor'), ('probe', f'{space}_probe')):
        getattr(model, own).load_state_dict(networks[trained].state_dict())
    model.eval().requires_grad_(False)
    half = len(seen.latents) // 2
    tolerance = goal_tolerance(*goal_costs(model, seen, slice(half)))
    model.card = dataclasses.replace(card, goal_tolerance=tolerance)
    metrics = summary(model, seen, pairs)
    model.card = dataclasses.replace(model.card, metrics=metrics)
    return model


def _training_record(config: TrainingConfig, state: RunState, command: str) -> dict[str, Any]:
    return {
        'command': command, 'seed': config.seed,
        'frames': config.walks * config.walk_length,
        'wall_sec': sum(state.stage_sec.values()),
        'cpu_sec': sum(state.stage_cpu_sec.values()),
        'stage_sec': state.stage_sec, 'stage_cpu_sec': state.stage_cpu_sec,
        'interruptions': state.interruptions,
        'machine': {'cores': os.cpu_count(), 'threads': torch.get_num_threads(),
                    'processor': platform.machine(), 'python': platform.python_version()},
        'versions': {name: _version(name) for name in _PACKAGES},
        'config': dataclasses.asdict(config),
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


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
@click.option('--seed', default=0, show_default=True, type=click.IntRange(min=0),
              help='Of data, weights and batches.')
@click.option('--quick', is_flag=True, help='Seconds instead of minutes; the models are useless.')
def command(out: Path, seed: int, quick: bool) -> None:
    """Train world models of the two rooms, with and without a metric head."""
    console = Console()
    # The networks are so small that a second thread gains little, and on a busy machine two
    # threads wait for each other most of the time: 0.47 s of processor time a step against 0.1.
    torch.set_num_threads(1)
    config = TrainingConfig.quick(seed) if quick else TrainingConfig(seed=seed)
    line = f'grasp-ros train --out {out.name} --seed {seed}' + (' --quick' if quick else '')
    try:
        with _stop_signals() as should_stop, LiveProgress(console) as progress:
            report = train(config, folder=out, command=line, progress=progress,
                           should_stop=should_stop)
    except Interrupted as error:
        console.print(f'{error}; the same command goes on from there')
        raise SystemExit(130) from error
    except GraspError as error:
        raise click.ClickException(str(error)) from error
    console.print(f'report: {report}')

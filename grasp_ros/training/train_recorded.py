# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Training on what a robot recorded, whose place nobody knows.

The stages are those of the embedded worlds, without the probe, which alone needs places. What the
cards say beside the weights, and the report, rests on latents.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from grasp_ros.errors import ConfigError
from grasp_ros.training import recorded
from grasp_ros.training.config import TrainingConfig
from grasp_ros.training.metrics import (
    OPEN_LOOP_STEPS,
    Encoded,
    foresight_limits,
    observer_gain,
)
from grasp_ros.training.models import Robot, make_model, spread, training_record
from grasp_ros.training.recipes import RECIPES
from grasp_ros.training.recorded import DataSet
from grasp_ros.training.report import plot_losses
from grasp_ros.training.runner import Progress, run_stages
from grasp_ros.training.stages import Networks, ProbeStage, TrainingData, encode_walks
from grasp_ros.training.state import load_state
from grasp_ros.world_models import checkpoint
from grasp_ros.world_models.jepa import Jepa

USUAL_STEP = 0.9
"""Quantile of what one step moves the latent by, within which a goal counts as reached."""
_WINDOW_STRIDE = 16


def train_recorded(data: DataSet, config: TrainingConfig, *, folder: Path, command: str,
                   progress: Progress, should_stop: Callable[[], bool] = lambda: False) -> Path:
    """Train on a data set, measure, and write checkpoints and a report.

    A folder in which a run was interrupted is taken up where it stopped. The last part of the
    time is not trained on.

    :param data: to train on
    :param config: task, sizes and lengths
    :param folder: gets the state, one folder per model, and ``report.md``
    :param command: what the cards say the run was started with
    :param progress: hears of every stage
    :param should_stop: asked between steps
    :return: path of the report
    :raises Interrupted: when asked to stop, after saving
    :raises ConfigError: when the folder holds another run, or task and data do not fit
    :raises DataError: when the data set is damaged or too small
    """
    camera = data.camera
    if camera.height != camera.width or camera.width % 16:
        raise ConfigError(f'pictures of {camera.width}x{camera.height} pixels: the model needs '
                          'square ones of a size divisible by 16; resize before recording')
    if config.static_size or config.probe_points > 1:
        raise ConfigError(f'task {config.task} needs to know which walls a picture shows or where '
                          'its block lies, and a recording does not tell: two_rooms, '
                          'inertial_two_rooms or point_maze')
    folder.mkdir(parents=True, exist_ok=True)
    largest = torch.tensor([max(abs(spec.low), abs(spec.high)) for spec in data.actions])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        networks = Networks(config, image_size=camera.width, action_scale=largest,
                            action_size=len(data.actions))
    state, memory = load_state(folder, config=config, networks=networks)
    walks, evaluation = recorded.walks(data, length=config.walk_length)
    images = torch.from_numpy(walks.images)
    recipe, count = RECIPES[config.task], len(images)
    progress.update('walks', count, count, None)
    parts = TrainingData(images=images, actions=torch.from_numpy(walks.actions), positions=None,
                         layouts=torch.zeros(count, dtype=torch.long))
    stages = [stage for stage in recipe.stages(networks, parts, config)
              if not isinstance(stage, ProbeStage)]
    run_stages(stages, state=state, memory=memory, networks=networks, config=config,
               folder=folder, progress=progress, should_stop=should_stop)
    robot = Robot(cameras={data.camera_name: camera}, actions=data.actions,
                  step_sec=data.period_sec)
    training = training_record(config, state, command, frames=walks.frames)
    metrics, limits = {}, {}
    for name, space in recipe.models.items():
        latents = encode_walks(networks, torch.from_numpy(evaluation.images), space)
        seen = Encoded(latents=latents, goals=networks.at_rest(latents), walks=evaluation)
        model = make_model(name, space, networks, config, robot, latents.shape[-1],
                           spread(networks, images, space), training)
        model.card = dataclasses.replace(
            model.card, goal_tolerance=usual_step(model, seen),
            observer_gain=observer_gain(model, seen, slice(None)))
        innovation, motion = foresight_limits(model, seen)
        metrics[name], limits[name] = foresight(model, seen), motion
        model.card = dataclasses.replace(model.card, innovation_limit=innovation,
                                         motion_limit=motion, metrics=metrics[name])
        checkpoint.save(model, folder / name)
    plot_losses(state.losses).savefig(folder / 'losses.png', dpi=110)
    page = folder / 'report.md'
    text = _page(data, metrics, limits, training, len(evaluation.images))
    page.write_text(text, encoding='utf-8')
    return page


def usual_step(model: Jepa, encoded: Encoded) -> float:
    """The cost that nine steps in ten do not exceed, from where the robot is to where it will be.

    As a goal tolerance it says "no farther than a step". Nobody knows the place, so this stands
    for what is chosen by it in the embedded worlds.
    """
    goals = encoded.goals
    moved = model.cost(goals[:, :-1].flatten(0, 1), goals[:, 1:].flatten(0, 1))
    return float(np.quantile(moved.numpy(), USUAL_STEP))


def foresight(model: Jepa, encoded: Encoded) -> dict[str, Any]:
    """How well the model foresees the last part of the data, as JSON types.

    :return: ``open_loop``: number of steps -> ``cost`` between what was foreseen from one frame
        and the commands alone and what was seen, ``standing`` the same if nothing were foreseen to
        move, and ``share``, the one over the other: 0 is perfect, at 1 nothing was learned
    """
    latents, actions = encoded.latents, torch.from_numpy(encoded.walks.actions)
    horizon = min(OPEN_LOOP_STEPS[-1], latents.shape[1] - model.card.frames)
    foreseen, seen, first_latents = [], [], []
    # Before the first frame of a walk a model of two frames takes the robot to stand still.
    for first in range(model.card.frames - 1, latents.shape[1] - horizon, _WINDOW_STRIDE):
        steps = slice(first, first + horizon)
        with torch.no_grad():
            foreseen.append(model.rollout(latents[:, first, None], actions[:, steps, None]))
        seen.append(latents[:, first + 1 : first + horizon + 1])
        first_latents.append(latents[:, first])
    predicted, there, before = (torch.cat(parts) for parts in (foreseen, seen, first_latents))
    result = {}
    for steps in OPEN_LOOP_STEPS:
        if steps <= horizon:
            cost, standing = (_mean_cost(model, latent, there[:, steps - 1])
                              for latent in (predicted[:, steps - 1], before))
            result[str(steps)] = {'cost': cost, 'standing': standing,
                                  'share': cost / standing if standing else None}
    return {'open_loop': result}


def _mean_cost(model: Jepa, latents: Tensor, others: Tensor) -> float:
    return float(model.cost(latents, others).mean())


def _page(
    data: DataSet, metrics: dict[str, Any], limits: dict[str, float], training: dict[str, Any],
    walks: int,
) -> str:  # fmt: skip
    names = list(metrics)
    lines = [
        '# Training report', '',
        f'`{training["command"]}`, seed {training["seed"]}: {training["wall_sec"] / 60:.1f} min, '
        f'{training["cpu_sec"] / 60:.1f} min of processor time on '
        f'{training["machine"]["cores"]} cores, {training["interruptions"]} interruptions. '
        f'{training["frames"]} frames in steps of {data.period_sec:g} s.', '',
        f'How far the robot is from where the model foresaw it, on {walks} walks from the end of '
        'the recording, as a share of how far it went: 0 is perfect, 1 is nothing learned. In '
        'latent distance, squared.', '',
        '| steps ahead | ' + ' | '.join(names) + ' |', '|---|' + '---|' * len(names),
    ]  # fmt: skip
    for steps in metrics[names[0]]['open_loop']:
        shares = [metrics[name]['open_loop'][steps]['share'] for name in names]
        cells = ['–' if share is None else f'{share:.3f}' for share in shares]
        lines.append(f'| {steps} | ' + ' | '.join(cells) + ' |')
    unwatched = [name for name in names if not limits[name]]
    if unwatched:
        lines += ['', f'No two pictures of the recording are alike, so {", ".join(unwatched)} '
                  'cannot tell how little a robot that stands seems to move: a picture that is '
                  'frozen does not stop the robot until `motion_limit` stands in the card, the '
                  'latent cost that a move must exceed by twice to be one.']
    lines += ['', f'A goal counts as reached within what {100 * USUAL_STEP:.0f} % of the steps '
              'move the latent at most.', '', '![Losses](losses.png)', '']
    return '\n'.join(lines)

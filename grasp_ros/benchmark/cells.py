# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The cells of a benchmark: one planner, one setting, one model, one deadline, some episodes.

A cell's episodes are the lines of a file of its own; its name holds a digest of everything that
the outcome depends on, the model's weights included. So a run that was killed goes on where it
was, and a changed setting or model never meets old episodes.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from grasp_ros.benchmark import escape
from grasp_ros.benchmark.gain import GainController
from grasp_ros.benchmark.lines import Lines
from grasp_ros.benchmark.outside import configure, make_planner
from grasp_ros.benchmark.suite import split
from grasp_ros.control.controller import Controller, ControllerConfig
from grasp_ros.training.episodes import (
    WARM_UP_TICKS,
    Conditions,
    Disturbance,
    TickTime,
    run_episode,
)
from grasp_ros.training.evaluate import card_limits
from grasp_ros.training.tasks import EpisodeTask, episode_tasks, world_name, world_of
from grasp_ros.world_models import checkpoint
from grasp_ros.world_models.base import WorldModel

_LAWS = {'plan': Controller, 'gain': GainController}


@dataclass(frozen=True, kw_only=True)
class Cell:
    """What decides the outcome of its episodes.

    :param study: ``tune``, ``run``, ``ablation`` or ``feedback``
    :param task: name of the task
    :param training_seed: of the model
    :param model: shipped name or folder
    :param entry: name of the planner in tables
    :param planner: its name in the registry
    :param settings: of planner and controller
    :param law: key of the controller's class
    :param deadline_ms: image to action, in thread CPU time; 0 = none
    :param seed: of the episodes
    :param held_out: whether held-out places and layouts may be used
    :param strata: of escape horizons, in turn
    :param charge: whether the time from image to action is charged
    :param prepare_ms: for preparation
    :param disturbance: name of the disturbance and its fields
    :param end_early: see :class:`~grasp_ros.training.episodes.Conditions`
    """

    study: str
    task: str
    training_seed: str
    model: str
    entry: str
    planner: str
    settings: Mapping[str, Any]
    law: str = 'plan'
    deadline_ms: float = 0.0
    seed: int
    held_out: bool
    strata: tuple[int, ...] = ()
    charge: bool
    prepare_ms: float
    disturbance: tuple[str, Mapping[str, Any]] = field(default_factory=lambda: ('none', {}))
    end_early: bool = False

    @property
    def file(self) -> str:
        """Its file in the output folder."""
        settings, control = split(self.settings)
        values = asdict(self) | {
            'model': model_digest(self.model),
            # With what is not said: a default that changes is another cell.
            'settings': asdict(configure(self.planner, settings)),
            'control': asdict(ControllerConfig(**control)),
        }
        text = json.dumps(values, sort_keys=True)
        digest = hashlib.sha256(text.encode()).hexdigest()[:12]
        name = f'{self.task}-{self.training_seed}-{self.entry}-{self.deadline_ms:g}'
        return f'cells/{self.study}/{name}-{digest}.jsonl'


@lru_cache(maxsize=16)
def model_digest(model: str) -> str:
    """Digest of all files of a checkpoint: the card's scales and limits count as weights do."""
    digest = hashlib.sha256()
    for path in sorted(checkpoint.resolve(model).iterdir()):
        if path.is_file():
            digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()[:16]


@lru_cache(maxsize=4)
def load_model(model: str) -> WorldModel:
    """The model of a folder, one per process."""
    return checkpoint.load(model)


def make_controller(cell: Cell) -> Controller:
    """The controller of a cell; deadline and charge run on thread CPU time.

    So it does not matter what else the machine has to do.

    :raises ConfigError: on a setting that does not exist or is out of range
    """
    model = load_model(cell.model)
    settings, control = split(cell.settings)
    return _LAWS[cell.law](
        model=model,
        planner=make_planner(cell.planner, model, settings),
        limits=card_limits(model),
        config=ControllerConfig(**{
            'deadline_sec': 1e-3 * cell.deadline_ms,
            # A planner is measured here, also under model errors that would stop a robot.
            'unforeseen_frames': 0, 'frozen_frames': 0, **control,
        }),
        clock=time.thread_time,
    )


def tasks_of(cell: Cell, indices: Iterable[int], folder: Path) -> list[EpisodeTask]:
    """The episodes of a cell by their numbers."""
    wanted = list(indices)
    world = world_name(load_model(cell.model).card)
    if cell.strata:
        graded = escape.graded_tasks(
            load_model(cell.model), world, episodes=max(wanted) + 1, seed=cell.seed,
            held_out=cell.held_out, strata=cell.strata,
            cache=folder / 'episodes' / f'{model_digest(cell.model)}.jsonl',
        )
        return [graded[index] for index in wanted]
    tasks = episode_tasks(
        world, episodes=max(wanted) + 1, seed=cell.seed, held_out=cell.held_out
    )
    return [tasks[index] for index in wanted]


def drive(cell: Cell, indices: Iterable[int], lines: Lines, folder: Path, **marks: Any) -> None:
    """Drive episodes of a cell, one line each.

    :param indices: numbers of the episodes
    :param marks: added to every line
    """
    indices = list(indices)
    if not indices:
        return
    tasks = tasks_of(cell, indices, folder)
    card = load_model(cell.model).card
    controller = make_controller(cell)
    conditions = Conditions(
        charge=cell.charge,
        prepare_sec=1e-3 * cell.prepare_ms,
        disturbance=Disturbance(**cell.disturbance[1]),
        end_early=cell.end_early,
    )
    free = replace(conditions, disturbance=Disturbance())
    run_episode(world_of(card, tasks[0].layout), controller, tasks[0], conditions=free,
                most_ticks=WARM_UP_TICKS)
    for index, task in zip(indices, tasks):
        ticks: list[TickTime] = []
        episode = run_episode(world_of(card, task.layout), controller, task,
                              conditions=conditions, watch=ticks.append)
        lines.append({
            **marks,
            'index': index,
            **{k: None if v != v else v for k, v in asdict(episode).items()},  # JSON has no NaN
            'ms': {
                name: [round(1e3 * getattr(tick, f'{name}_sec'), 3) for tick in ticks]
                for name in ('cpu', 'wall', 'encode', 'prepare_cpu')
            },
        })


def run_cell(cell: Cell, episodes: int, folder: Path) -> None:
    """Drive what is missing of a cell."""
    torch.set_num_threads(1)
    lines = Lines(folder / cell.file)
    done = {line['index'] for line in lines.read()}
    drive(cell, [index for index in range(episodes) if index not in done], lines, folder)


def results_of(cell: Cell, folder: Path) -> list[dict[str, Any]]:
    """The episodes of a cell that were driven, by number."""
    return sorted(Lines(folder / cell.file).read(), key=lambda line: line['index'])

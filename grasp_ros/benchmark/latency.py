# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Image to action against the horizon, every planner beside one forward pass of the same run."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from grasp_ros.benchmark.cells import Cell, make_controller, tasks_of
from grasp_ros.benchmark.suite import Suite
from grasp_ros.training.episodes import TickTime, run_episode
from grasp_ros.training.tasks import make_world, world_name
from grasp_ros.world_models.base import WorldModel

LATENCY_FILE = 'latency.json'
_SETTLED = 5  # first ticks that do not count: cold starts
_PASSES = 20  # forward passes beside each tick's time


def measure(suite: Suite, folder: Path) -> None:
    """Time full solves and feedback without a deadline; writes :data:`LATENCY_FILE`."""
    torch.set_num_threads(1)
    study = suite.latency
    task = suite.task(study['task'])
    seed = next(iter(task.models))
    rows = []
    for name, settings in study['planners'].items():
        settings = dict(settings)
        planner = settings.pop('planner')
        for horizon in study['horizons']:
            cell = Cell(
                study='latency', task=task.name, training_seed=seed, model=task.models[seed],
                entry=name, planner=planner, settings={**settings, 'horizon': horizon},
                seed=suite.seeds['feedback'], held_out=True, charge=False, prepare_ms=0.0,
            )
            rows.append({'entry': name, 'horizon': horizon,
                         **_measure(cell, study['ticks'], folder)})
    text = json.dumps(rows, indent=1) + '\n'
    (folder / LATENCY_FILE).write_text(text, encoding='utf-8')


def _measure(cell: Cell, ticks: int, folder: Path) -> dict[str, Any]:
    """Median times of its ticks and of the passes between them, milliseconds of thread CPU."""
    controller = make_controller(cell)
    task = tasks_of(cell, [0], folder)[0]
    world = make_world(world_name(controller.model.card), task.layout)
    solves: list[float] = []
    encodes: list[float] = []
    prepares: list[float] = []
    passes: list[float] = []

    def watch(tick: TickTime) -> None:
        solves.append(tick.cpu_sec - tick.encode_sec)
        encodes.append(tick.encode_sec)
        prepares.append(tick.prepare_cpu_sec)
        passes.append(_forward_pass_sec(controller.model))

    run_episode(world, controller, task, watch=watch, most_ticks=ticks + _SETTLED)
    return {
        name: float(1e3 * np.median(values[_SETTLED:]))
        for name, values in (
            ('solve_ms', solves), ('encode_ms', encodes), ('prepare_ms', prepares),
            ('forward_ms', passes),
        )
    }


def _forward_pass_sec(model: WorldModel) -> float:
    """Median thread CPU time of one batched forward pass at T = 1."""
    card, times = model.card, []
    context = torch.zeros((1, card.history, *card.latent_shape), device=model.device)
    actions = torch.zeros((1, card.history, card.action_block, card.action_size),
                          device=model.device)
    with torch.no_grad():
        for _ in range(_PASSES):
            started_sec = time.thread_time()
            model.predict(context, actions)
            times.append(time.thread_time() - started_sec)
    return float(np.median(times))

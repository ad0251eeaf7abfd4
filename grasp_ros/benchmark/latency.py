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
from grasp_ros.control.controller import Controller
from grasp_ros.control.history import Frame
from grasp_ros.sim.world import DiscWorld
from grasp_ros.training.episodes import TickTime, run_episode
from grasp_ros.training.tasks import world_of

LATENCY_FILE = 'latency.json'
_SETTLED = 5  # first ticks that do not count: cold starts
_PASSES = 20  # forward passes in a row beside each tick's time


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
    world = world_of(controller.model.card, task.layout)
    solves: list[float] = []
    encodes: list[float] = []
    prepares: list[float] = []
    firsts: list[float] = []
    repeats: list[float] = []

    def watch(tick: TickTime) -> None:
        solves.append(tick.cpu_sec - tick.encode_sec)
        encodes.append(tick.encode_sec)
        prepares.append(tick.prepare_cpu_sec)
        first, repeated = _forward_pass_sec(controller, world)
        firsts.append(first)
        repeats.append(repeated)

    run_episode(world, controller, task, watch=watch, most_ticks=ticks + _SETTLED)
    return {
        name: float(1e3 * np.median(values[_SETTLED:]))
        for name, values in (
            ('solve_ms', solves), ('encode_ms', encodes), ('prepare_ms', prepares),
            ('forward_ms', firsts), ('repeated_forward_ms', repeats),
        )
    }


def _forward_pass_sec(controller: Controller, world: DiscWorld) -> tuple[float, float]:
    """Thread CPU time of one batched forward pass at T = 1, as a tick meets it and in a row.

    A tick runs its few calls once, after a picture was taken and encoded, and finds caches that
    are full of other things. So does the first pass here; the median of those that follow it is
    what a loop over nothing else would take.
    """
    model, card = controller.model, controller.model.card
    context = torch.zeros((1, card.history, *card.latent_shape), device=model.device)
    actions = torch.zeros((1, card.history, card.action_block, card.action_size),
                          device=model.device)
    controller.encode_goal(Frame({next(iter(card.cameras)): world.render()}, 0.0))
    times = []
    with torch.no_grad():
        for _ in range(1 + _PASSES):
            started_sec = time.thread_time()
            model.predict(context, actions)
            times.append(time.thread_time() - started_sec)
    return times[0], float(np.median(times[1:]))

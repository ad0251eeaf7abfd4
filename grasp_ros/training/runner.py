# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Runs the stages of training, one after the other, and can stop and go on at any step."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import nn

from grasp_ros.errors import GraspError
from grasp_ros.training.config import TrainingConfig
from grasp_ros.training.stages import Networks, Stage
from grasp_ros.training.state import RunState, save_state

_SAVE_EVERY_SEC = 20.0
_LOSS_ENTRIES = 100
_LARGEST_GRADIENT = 1.0


class TrainingError(GraspError):
    """Training cannot go on, for example because a loss is not finite."""

    code = 700


class Interrupted(GraspError):
    """Training was asked to stop; its state is on disk."""

    code = 701


class Progress(Protocol):
    """Who wants to know how far training is."""

    def update(self, name: str, done: int, total: int, loss: float | None) -> None:
        """Work ``name`` has done so many of its steps, with this mean loss of late."""


def run_stages(stages: list[Stage], *, state: RunState, memory: dict, networks: Networks,
               config: TrainingConfig, folder: Path, progress: Progress,
               should_stop: Callable[[], bool]) -> None:
    """Train all stages that are not done yet.

    :param stages: in the order in which they run
    :param state: how far the run has come; follows it
    :param memory: what the optimizer of its stage remembered
    :param folder: where the state is saved
    :param should_stop: asked between steps
    :raises Interrupted: when asked to stop, after saving
    :raises TrainingError: when a loss is not finite
    """
    if state.step or 0 < state.stage < len(stages):
        state.interruptions += 1
    for index, stage in enumerate(stages):
        if index < state.stage:
            progress.update(stage.name, stage.steps, stage.steps, _last_loss(state, stage))
            continue
        _run_stage(stage, state, memory, networks=networks, config=config, folder=folder,
                   progress=progress, should_stop=should_stop)
        memory = {}


def _run_stage(stage: Stage, state: RunState, memory: dict, *, networks: Networks,
               config: TrainingConfig, folder: Path, progress: Progress,
               should_stop: Callable[[], bool]) -> None:
    clock, cpu_clock = time.monotonic(), time.process_time()
    saved = clock
    if not state.step:
        stage.begin()
    stage.prepare()
    trained = nn.ModuleList(networks[name] for name in stage.trained())
    parameters = [value for value in trained.parameters() if value.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=stage.rate, weight_decay=1e-4)
    if memory:
        optimizer.load_state_dict({**optimizer.state_dict(), 'state': memory})
    losses = state.losses.setdefault(stage.name, [])
    every = max(1, stage.steps // _LOSS_ENTRIES)
    recent: list[float] = []

    def save() -> None:
        nonlocal clock, cpu_clock, saved
        now, cpu_now = time.monotonic(), time.process_time()
        for times, passed in ((state.stage_sec, now - clock),
                              (state.stage_cpu_sec, cpu_now - cpu_clock)):
            times[stage.name] = times.get(stage.name, 0.0) + passed
        clock, cpu_clock, saved = now, cpu_now, now
        save_state(folder, config=config, state=state, networks=networks,
                   optimizer=optimizer if state.step else None)

    networks.eval()
    trained.train()
    for step in range(state.step, stage.steps):
        if should_stop():
            save()
            raise Interrupted(f'stopped in stage {stage.name} after {step} of {stage.steps} steps')
        for group in optimizer.param_groups:
            group['lr'] = _rate(stage, step)
        random = np.random.default_rng([config.seed, state.stage, step])
        loss = stage.loss(step, random)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        recent.append(loss.item())
        if not math.isfinite(recent[-1]):
            raise TrainingError(f'loss {recent[-1]} in step {step} of stage {stage.name}')
        nn.utils.clip_grad_norm_(parameters, _LARGEST_GRADIENT)
        optimizer.step()
        stage.after_step()
        state.step = step + 1
        if state.step % every == 0 or state.step == stage.steps:
            losses.append([state.step, sum(recent) / len(recent)])
            progress.update(stage.name, state.step, stage.steps, losses[-1][1])
            recent.clear()
        if time.monotonic() - saved > _SAVE_EVERY_SEC:
            save()
    networks.eval()
    state.stage, state.step = state.stage + 1, 0
    save()


def _rate(stage: Stage, step: int) -> float:
    """Linear start over the first steps, then half a cosine down to zero."""
    start = min(100, stage.steps // 10 + 1)
    return stage.rate * min(1.0, (step + 1) / start) * (
        0.5 + 0.5 * math.cos(math.pi * step / stage.steps))


def _last_loss(state: RunState, stage: Stage) -> float | None:
    entries = state.losses.get(stage.name)
    return entries[-1][1] if entries else None

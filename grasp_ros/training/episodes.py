# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Closed-loop episodes in the embedded world, without ROS.

Camera frame in, velocity out, every model step; the same controller as in the node, the same
episodes for every planner, horizon and warm start. Ground truth is used for scoring alone.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

import numpy as np
import torch

from grasp_ros.control.controller import COLD, Controller, TickStatus
from grasp_ros.control.goal import GoalConfig, GoalMonitor, GoalState
from grasp_ros.control.history import Frame
from grasp_ros.sim.scene import Rectangle
from grasp_ros.sim.scoring import HELD_TICKS, is_held, is_near
from grasp_ros.sim.world import DiscWorld, Task

HELD_OUT_EVERY = 4  # every fourth episode starts and ends where no training frame was taken


@dataclass(frozen=True)
class Episode:
    """What happened in one episode.

    :param reached: the robot came near the goal, :mod:`grasp_ros.sim.scoring`
    :param held: it was near, and stopped if it has inertia, in each of the last ticks
    :param held_out: start and goal lie where no training frame was taken
    :param path_ratio: way to the first near place over the shortest way; NaN if never near
    :param ticks: length of the episode
    :param final_distance: distance to the goal at the end, metres
    :param claimed: the goal monitor called the goal reached
    :param false_success: it did so while the robot was not near
    :param warm_ticks: solves that had a warm start
    """

    reached: bool
    held: bool
    held_out: bool
    path_ratio: float
    ticks: int
    final_distance: float
    claimed: bool
    false_success: bool
    warm_ticks: int


def episode_tasks(world: DiscWorld, *, episodes: int, seed: int) -> list[tuple[Task, bool]]:
    """Starts and goals in opposite rooms, a wall on the straight line; equal seeds, equal tasks.

    :return: tasks, and whether start and goal are held out of the training data
    """
    tasks = []
    for index in range(episodes):
        random = np.random.default_rng((seed, index))
        held_out = index % HELD_OUT_EVERY == HELD_OUT_EVERY - 1
        tasks.append((_held_out_task(world, random) if held_out else world.sample_task(random),
                      held_out))
    return tasks


def _held_out_task(world: DiscWorld, random: np.random.Generator) -> Task:
    first, second = random.permutation(len(world.scene.held_out))[:2]
    while True:
        start = _place_in(world.scene.held_out[first], random)
        goal = _place_in(world.scene.held_out[second], random)
        if world.is_blocked(start, goal):
            return Task(start=start, goal=goal, path_length=world.path_length(start, goal))


def _place_in(area: Rectangle, random: np.random.Generator) -> tuple[float, float]:
    return tuple(random.uniform(area.low, area.high).tolist())


def run_episode(
    world: DiscWorld,
    controller: Controller,
    task: Task,
    *,
    held_out: bool,
    timing: list[tuple[float, float, float]],
) -> Episode:
    """Drive one task to its limit: twice the shortest path's steps, and 20 more.

    :param timing: receives, for every tick with a solve, its wall and its thread CPU time and the
        wall time of one forward pass over the horizon right after it, seconds
    """
    card = controller.model.card
    period_sec = card.control_period_sec
    step_length = world.max_action * period_sec
    limit = 2 * math.ceil(task.path_length / step_length) + 20
    controller.reset()
    camera = next(iter(card.cameras))
    goal = Frame(images={camera: world.render_at(*task.goal)}, stamp_sec=0.0)
    controller.set_goal(controller.encode_goal(goal))
    monitor = GoalMonitor(GoalConfig(tolerance=card.goal_tolerance or math.inf), now_sec=0.0)
    world.reset(options={'start': task.start})
    travelled, ratio, warm_ticks, claimed, false_success = 0.0, math.nan, 0, False, False
    at_rest: list[bool] = []
    for index in range(limit):
        stamp_sec = index * period_sec
        frame = Frame(images={camera: world.render()}, stamp_sec=stamp_sec)
        wall_sec, cpu_sec = time.perf_counter(), time.thread_time()
        tick = controller.step(frame, now_sec=stamp_sec)
        if tick.status is TickStatus.SOLVED:
            wall_sec, cpu_sec = time.perf_counter() - wall_sec, time.thread_time() - cpu_sec
            timing.append((wall_sec, cpu_sec, _forward_pass_sec(controller)))
            warm_ticks += tick.shift_steps != COLD
        if not claimed and monitor.update(stamp_sec, tick.goal_distance) is GoalState.REACHED:
            claimed = True
            false_success = not is_near(world.scene, world.position, task.goal)
        before = world.position
        world.drive(tick.action)
        world.advance(period_sec)
        travelled += float(np.linalg.norm(world.position - before))
        at_rest.append(is_held(world.scene, place=world.position, velocity=world.velocity,
                               goal=task.goal))
        if math.isnan(ratio) and is_near(world.scene, world.position, task.goal):
            ratio = travelled / task.path_length
    return Episode(
        reached=not math.isnan(ratio),
        held=all(at_rest[-HELD_TICKS:]),
        held_out=held_out,
        path_ratio=ratio,
        ticks=limit,
        final_distance=math.dist(world.position, task.goal),
        claimed=claimed,
        false_success=false_success,
        warm_ticks=warm_ticks,
    )


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

# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Escape horizons: how far a planner must look ahead to leave what traps a greedy one.

The latent cost to the goal is laid over a grid of free places, one largest step apart. From the
start, each step goes to the neighbour of least cost. Where none is lower, a local minimum, the
fewest steps to a place of lower cost are counted round the walls; the descent goes on from there.
An episode's escape horizon is the largest of these counts on its way: 0 where descent leads to the
goal, :data:`DEEP` where there is nothing lower to go to. It depends on the model, whose latent it
measures, and bin b holds the horizons above the bin before it, up to b.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from grasp_ros.benchmark.lines import Lines
from grasp_ros.control.history import Frame, History
from grasp_ros.sim.scoring import is_near
from grasp_ros.sim.world import DiscWorld, Task
from grasp_ros.training.tasks import EpisodeTask, layouts, make_world
from grasp_ros.world_models.base import Observation, WorldModel

BINS = (3, 6, 12, 20)
DEEP = 1_000  # the escape horizon of a trap that no way leads out of
ATTEMPTS = 300  # at drawing a task of the wanted bin, before the nearest one is taken
TUNING_LAYOUTS = 5  # of the training layouts; a map of each takes seconds
_NEIGHBOURS = [(x, y) for x in (-1, 0, 1) for y in (-1, 0, 1) if x or y]


def bin_of(horizon: int) -> int:
    """The bin of an escape horizon: 0, one of :data:`BINS`, or :data:`DEEP`."""
    if horizon == 0:
        return 0
    return next((upper for upper in BINS if horizon <= upper), DEEP)


def escape_horizon(
    costs: np.ndarray, neighbours: np.ndarray, start: int, at_goal: np.ndarray
) -> int:
    """Grade one start on a graph of places.

    :param costs: to the goal, ``[P]``
    :param neighbours: places one step away, ``[P, K]``, -1 where there is none
    :param start: index of a place
    :param at_goal: whether a place counts as the goal, ``[P]``
    """
    place, hardest = start, 0
    while not at_goal[place]:
        around = neighbours[place][neighbours[place] >= 0]
        if len(around) and costs[around].min() < costs[place]:
            place = int(around[costs[around].argmin()])
            continue
        steps, place = _way_out(costs, neighbours, place, at_goal)
        hardest = max(hardest, steps)
        if steps == DEEP:
            break
    return hardest


def _way_out(
    costs: np.ndarray, neighbours: np.ndarray, trap: int, at_goal: np.ndarray
) -> tuple[int, int]:
    """Fewest steps to a place that is lower, or the goal, and the lowest of those as near."""
    seen = np.zeros(len(costs), dtype=bool)
    seen[trap] = True
    front, steps = np.array([trap]), 0
    while len(front):
        lower = front[(costs[front] < costs[trap]) | at_goal[front]]
        if len(lower):
            return steps, int(lower[costs[lower].argmin()])
        reached = neighbours[front].ravel()
        front = np.unique(reached[reached >= 0])
        front = front[~seen[front]]
        seen[front] = True
        steps += 1
    return DEEP, trap


class Grid:
    """Free places of a world, the steps between them, and how a model sees them.

    :param model: whose latent is mapped
    :param world: of one layout
    """

    def __init__(self, model: WorldModel, world: DiscWorld) -> None:
        self.model, self.world = model, world
        step = world.max_action * world.scene.step_sec
        side = np.arange(step / 2, world.scene.size, step)
        places = np.stack(np.meshgrid(side, side, indexing='ij'), -1).reshape(-1, 2)
        free = world.geometry.is_free(places)
        number = np.full(len(places), -1)
        number[free] = np.arange(free.sum())
        self.places = places[free]
        self.neighbours = self._steps(number.reshape(len(side), len(side)))
        self.latents = self._encode(self.places)

    def _steps(self, number: np.ndarray) -> np.ndarray:
        """Places that one largest step leads to without meeting a wall, ``[P, 8]``."""
        padded = np.pad(number, 1, constant_values=-1)
        columns, rows = np.nonzero(number >= 0)
        order = number[columns, rows]
        found = np.full((len(self.places), len(_NEIGHBOURS)), -1)
        for slot, (dx, dy) in enumerate(_NEIGHBOURS):
            found[order, slot] = padded[columns + 1 + dx, rows + 1 + dy]
            known = np.nonzero(found[:, slot] >= 0)[0]
            blocked = self.world.geometry.is_blocked(
                self.places[known], self.places[found[known, slot]]
            )
            found[known[blocked], slot] = -1
        return found

    def _encode(self, places: np.ndarray) -> Tensor:
        model, card = self.model, self.model.card
        camera, latents = next(iter(card.cameras)), []
        for place in places:
            image = self.world.render_at(*place)
            # A robot that has been standing there: a history of its own for every place.
            observation = History(card, np.zeros(card.action_size)).observe(
                0, Frame(images={camera: image}, stamp_sec=0.0), model.device
            )
            latents.append(observation)
        merged = Observation(
            images={camera: torch.cat([o.images[camera] for o in latents])},
            actions=None if card.frames == 1 else torch.cat([o.actions for o in latents]),
        )
        with torch.no_grad():
            return model.encode(merged)

    def grade(self, task: Task) -> int:
        """Escape horizon of a task."""
        goal = self._encode(np.array([task.goal]))[0]
        costs = self.model.cost(self.latents, goal).double().cpu().numpy()
        at_goal = np.array([is_near(self.world.scene, place, task.goal) for place in self.places])
        start = int(np.linalg.norm(self.places - np.array(task.start), axis=1).argmin())
        return escape_horizon(costs, self.neighbours, start, at_goal)


@lru_cache(maxsize=16)
def _grid(model: WorldModel, world: str, layout: int | None) -> Grid:
    return Grid(model, make_world(world, layout))


def graded_tasks(
    model: WorldModel, world: str, *, episodes: int, seed: int, held_out: bool,
    strata: Sequence[int], cache: Path,
) -> list[EpisodeTask]:
    """Tasks whose escape horizons go through the bins in turn.

    :param strata: bins, in the order of the episodes
    :param cache: JSON lines of tasks of this model that were graded before
    """
    lines = Lines(cache)
    known = {
        line['index']: line['task'] for line in lines.read()
        if (line['seed'], line['held_out'], line['strata']) == (seed, held_out, list(strata))
    }
    choices = layouts(world, held_out=held_out)
    if not held_out:
        choices = choices[:: math.ceil(len(choices) / TUNING_LAYOUTS)]
    tasks = []
    for index in range(episodes):
        if index not in known:
            layout, task, horizon = _draw(
                model, world, choices, strata[index % len(strata)], index // len(strata),
                np.random.default_rng((seed, index)),
            )
            known[index] = {'start': task.start, 'goal': task.goal, 'layout': layout,
                            'path_length': task.path_length, 'escape_horizon': horizon}
            lines.append({'index': index, 'seed': seed, 'held_out': held_out,
                          'strata': list(strata), 'task': known[index]})
        values = known[index]
        tasks.append(EpisodeTask(
            task=Task(start=tuple(values['start']), goal=tuple(values['goal']),
                      path_length=values['path_length']),
            held_out=held_out and values['layout'] is not None,
            seed=(seed, index),
            layout=values['layout'],
            escape_horizon=values['escape_horizon'],
        ))
    return tasks


def _draw(
    model: WorldModel, world: str, choices: Sequence[int | None], wanted: int, first: int,
    random: np.random.Generator,
) -> tuple[int | None, Task, int]:
    """A task of the wanted bin, from any layout; where none comes, the nearest that did."""
    nearest = None
    for attempt in range(ATTEMPTS):
        layout = choices[(first + attempt) % len(choices)]
        task = make_world(world, layout).sample_task(random)
        horizon = _grid(model, world, layout).grade(task)
        gap = abs(math.log((1 + bin_of(horizon)) / (1 + wanted)))
        if nearest is None or gap < nearest[0]:
            nearest = (gap, layout, task, horizon)
        if gap == 0:
            break
    return nearest[1:]

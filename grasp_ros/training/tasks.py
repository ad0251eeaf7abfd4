# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Which episodes are driven: the same starts and goals for every planner, in every world.

The world is the one that the model was trained in, by its card. Equal seeds give equal tasks; the
tasks of a seed do not depend on how many of them are asked for.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from grasp_ros.errors import ConfigError
from grasp_ros.sim.scene import Rectangle
from grasp_ros.sim.scoring import NEAR, distance
from grasp_ros.sim.world import DiscWorld, Task
from grasp_ros.sim.worlds import LAYOUTS, WORLDS, make
from grasp_ros.training.pushes import Pushes
from grasp_ros.world_models.base import ModelCard

PUSH_STEPS = 25
"""Model steps of random pushes from a start to its goal, where there is a block."""
_LEAD_STEPS = 50  # at most, before the start: it need not be a fresh one
_MOVED = 2 * NEAR  # of the width that the block is from its goal, so that standing still misses it
HELD_OUT_EVERY = 4  # every fourth episode starts and ends where no training frame was taken


ROBOT_ACTIONS = ('linear.x', 'linear.y')


@dataclass(frozen=True, kw_only=True)
class EpisodeTask:
    """One episode to drive.

    :param task: start, goal and the shortest way
    :param held_out: whether start and goal, or the whole layout, are held out of training data
    :param seed: of everything random in the episode
    :param layout: of a world that has several, else None
    :param escape_horizon: :mod:`grasp_ros.benchmark.escape`, steps; None where it is not known
    """

    task: Task
    held_out: bool
    seed: tuple[int, int]
    layout: int | None = None
    escape_horizon: int | None = None


def world_name(card: ModelCard) -> str:
    """The world that a model was trained in.

    :raises ConfigError: when this package has no such world, or its robot takes other actions
    """
    name = str(card.training.get('world', 'two_rooms'))
    if name not in WORLDS:
        raise ConfigError(f'{card.name} was trained in "{name}"; worlds: {", ".join(WORLDS)}')
    actions = tuple(spec.name for spec in card.actions)
    if actions != ROBOT_ACTIONS:
        raise ConfigError(
            f'{card.name} acts by {", ".join(actions)}, and the robot of the embedded worlds by '
            f'{", ".join(ROBOT_ACTIONS)}: no world here is that of this model'
        )
    return name


def is_of_recording(card: ModelCard) -> bool:
    """Whether a model was trained on recordings; its world is then that of its task."""
    return bool(card.training.get('config', {}).get('data'))


@lru_cache(maxsize=32)
def make_world(
    name: str, layout: int | None = None, image_size: int | None = None
) -> DiscWorld:
    """The world of a name, one per process: building one compiles its physics."""
    return make(name, layout=layout, image_size=image_size)


def world_of(card: ModelCard, layout: int | None) -> DiscWorld:
    """The world of a model, in pictures as large as it takes them.

    :raises ConfigError: when these are not square, or there is no such world
    """
    camera = next(iter(card.cameras.values()))
    if camera.height != camera.width:
        raise ConfigError(f'{card.name} takes pictures of {camera.width}x{camera.height} pixels, '
                          'and those of the embedded worlds are square')
    return make_world(world_name(card), layout, camera.width)


def layouts(name: str, *, held_out: bool) -> list[int | None]:
    """The layouts of a world that training data show, or those that they do not."""
    if name not in LAYOUTS:
        return [None]
    return list(LAYOUTS[name].held_out if held_out else LAYOUTS[name].training)


def episode_tasks(
    name: str, *, episodes: int, seed: int, held_out: bool = True
) -> list[EpisodeTask]:
    """Starts and goals with a wall on the straight line.

    Where there is a block the goal is what random pushes made of the start in
    :data:`PUSH_STEPS` steps, so that it can be reached, and the block is at first at least twice
    as far from it as counts as reached.

    In a world with layouts they go through the held-out ones (or, for tuning, through the others);
    elsewhere every fourth episode starts and ends where no training frame was taken.

    :param name: of the world
    :param held_out: False leaves everything held out to those who report
    """
    choices = layouts(name, held_out=held_out)
    tasks = []
    for index in range(episodes):
        random = np.random.default_rng((seed, index))
        layout = choices[index % len(choices)]
        world = make_world(name, layout)
        is_held_out = held_out and layout is not None
        if layout is None and held_out and len(world.scene.held_out) > 1:
            is_held_out = index % HELD_OUT_EVERY == HELD_OUT_EVERY - 1
        banded = is_held_out and layout is None
        if world.scene.block is not None:
            task = _push_task(world, random)
        else:
            task = _held_out_task(world, random) if banded else world.sample_task(random)
        tasks.append(EpisodeTask(task=task, held_out=is_held_out, seed=(seed, index),
                                 layout=layout))
    return tasks


def shortest_ticks(world: DiscWorld, path_length: float, period_sec: float) -> int:
    """Control ticks that a path takes at the largest command, start and stop included."""
    if world.scene.robot.has_inertia:  # half the way at full thrust, half at full brake
        return math.ceil(2 * math.sqrt(path_length / world.max_action) / period_sec)
    return math.ceil(path_length / (world.max_action * period_sec))


def _push_task(world: DiscWorld, random: np.random.Generator) -> Task:
    while True:
        world.reset(seed=int(random.integers(2**31)))
        pushes, lead = Pushes(world, random), int(random.integers(_LEAD_STEPS + 1))
        states = [world.state]
        for _ in range(lead + PUSH_STEPS):
            world.drive(pushes.command())
            world.advance(world.scene.step_sec)
            states.append(world.state)
        start, goal = states[lead], states[-1]
        if distance(start, goal) >= _MOVED * world.scene.size:
            way = np.diff(np.array(states)[lead:, :2], axis=0)
            return Task(start=tuple(start.tolist()), goal=tuple(goal.tolist()),
                        path_length=float(np.linalg.norm(way, axis=1).sum()))


def _held_out_task(world: DiscWorld, random: np.random.Generator) -> Task:
    first, second = random.permutation(len(world.scene.held_out))[:2]
    while True:
        start = _place_in(world.scene.held_out[first], random)
        goal = _place_in(world.scene.held_out[second], random)
        if world.is_blocked(start, goal):
            return Task(start=start, goal=goal, path_length=world.path_length(start, goal))


def _place_in(area: Rectangle, random: np.random.Generator) -> tuple[float, float]:
    return tuple(random.uniform(area.low, area.high).tolist())

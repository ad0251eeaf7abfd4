# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Random-walk data from the embedded world."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from grasp_ros.sim.world import DiscWorld

_HOLD_STEPS = 6.0
"""Mean number of steps that the walk keeps one velocity."""
_JITTER = 0.1
"""Standard deviation of each step's own velocity, as a part of the speed limit."""
_BAND_MARGIN = 0.002
"""Distance in m kept from the bands: more than the drive lags behind its command in a step."""


@dataclass(frozen=True, kw_only=True)
class Walks:
    """
    E random walks of L frames each.

    :param images: uint8 [E, L, size, size, 3].
    :param actions: float32 [E, L - 1, 2] in m/s; `actions[:, t]` was held from frame t to t + 1.
    :param positions: float32 [E, L, 2] in m; ground truth, for the probe and for metrics only.
    :param held_out: bool [E, L], whether the robot stood in a held-out band.
    """

    images: np.ndarray
    actions: np.ndarray
    positions: np.ndarray
    held_out: np.ndarray


def collect(world: DiscWorld, *, walks: int, length: int, seed: int, enter_bands: bool = False,
            on_progress: Callable[[int], None] | None = None) -> Walks:
    """
    Let the robot wander.

    Starts are spread evenly over the free places. A velocity is held for a random time (mean six
    steps) and jittered at each step; a third of them are drawn from the whole square of
    velocities, a third from its corners and edges, which planners like best, a third are slow.

    :param world: to collect in; left where the last walk ends.
    :param walks: E, number of walks.
    :param length: L, frames in a walk, at least 2.
    :param seed: equal seeds give equal data.
    :param enter_bands: whether the robot may enter the held-out bands. Training data may not: a
        velocity that would carry the robot there is drawn anew.
    :param on_progress: called with the number of walks done.
    """
    size, limit, step_sec = world.image_size, world.max_action, world.scene.step_sec
    images = np.empty((walks, length, size, size, 3), dtype=np.uint8)
    actions = np.empty((walks, length - 1, 2), dtype=np.float32)
    positions = np.empty((walks, length, 2), dtype=np.float32)
    for walk in range(walks):
        # Each walk has its own generator, so that more walks only add to the data.
        rng = np.random.default_rng([seed, walk])
        place = _start(world, rng, enter_bands)
        world.reset(options={'start': place})
        velocity = _velocity(rng, limit)
        images[walk, 0], positions[walk, 0] = world.render(), world.position
        for step in range(length - 1):
            if rng.random() < 1 / _HOLD_STEPS:
                velocity = _velocity(rng, limit)
            action = _jittered(rng, velocity, limit)
            while not enter_bands and world.scene.is_held_out(
                    *(world.position + step_sec * action), margin=_BAND_MARGIN):
                velocity = _velocity(rng, limit)
                action = _jittered(rng, velocity, limit)
            world.drive(action)
            world.advance(step_sec)
            actions[walk, step] = action
            images[walk, step + 1], positions[walk, step + 1] = world.render(), world.position
        if on_progress is not None:
            on_progress(walk + 1)
    flat = positions.reshape(-1, 2)
    held_out = np.array([world.scene.is_held_out(x, y) for x, y in flat.tolist()])
    return Walks(images=images, actions=actions, positions=positions,
                 held_out=held_out.reshape(walks, length))


def _start(world: DiscWorld, rng: np.random.Generator, enter_bands: bool) -> np.ndarray:
    while True:
        place = world.sample_place(rng)
        if enter_bands or not world.scene.is_held_out(*place, margin=_BAND_MARGIN):
            return place


def _velocity(rng: np.random.Generator, limit: float) -> np.ndarray:
    kind, velocity = rng.integers(3), rng.uniform(-1, 1, 2)
    if kind == 1:
        velocity = np.clip(2.5 * velocity, -1, 1)
    elif kind == 2:
        velocity = 0.4 * velocity
    return limit * velocity


def _jittered(rng: np.random.Generator, velocity: np.ndarray, limit: float) -> np.ndarray:
    jitter = _JITTER * limit * rng.standard_normal(2)
    return np.clip(velocity + jitter, -limit, limit).astype(np.float32)

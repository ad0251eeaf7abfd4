# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Data from the embedded worlds: random walks, and random pushes where there is a block."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields

import numpy as np

from grasp_ros.control.excitation import HOLD_STEPS, Wander, draw, jittered
from grasp_ros.sim.world import DiscWorld
from grasp_ros.training.pushes import Pushes

_BAND_MARGIN = 0.002
"""Distance in m kept from the bands: more than the drive lags behind its command in a step."""
_BRAKE_MARGIN = 0.01
"""The same in m for a robot that has to brake in time."""
_BRAKE_PARTS = 4
"""Parts of a model step in which braking is foreseen."""
_STANDS = 0.005
"""Speed in m/s under which it has stopped."""
_TOUCH = 0.002
"""Clearance in m under which the robot counts as touching a wall."""
_ARM = 0.1
"""Distance in m between the two points of a block that a probe reads."""


@dataclass(frozen=True, kw_only=True)
class Walks:
    """
    E random walks of L frames each.

    :param images: uint8 [E, L, size, size, 3].
    :param actions: float32 [E, L - 1, 2] in m/s or m/s^2; `actions[:, t]` was held from frame t to
        t + 1.
    :param positions: float32 [E, L, 2] in m; ground truth, for the probe and for metrics only.
    :param blocks: float32 [E, L, 3] in m and rad, pose of the block; [E, L, 0] where there is
        none. Ground truth as `positions`.
    :param velocities: float32 [E, L, 2] in m/s; ground truth, for metrics only.
    :param held_out: bool [E, L], whether the robot stood in a held-out band or layout.
    :param touches: bool [E, L], whether it touched a wall.
    :param layouts: int64 [E], layout of the world of each walk; 0 where there is one alone.
    """

    images: np.ndarray
    actions: np.ndarray
    positions: np.ndarray
    blocks: np.ndarray
    velocities: np.ndarray
    held_out: np.ndarray
    touches: np.ndarray
    layouts: np.ndarray

    @property
    def states(self) -> np.ndarray:
        """As `DiscWorld.state`: float32 [E, L, 2] or [E, L, 5]."""
        return np.concatenate([self.positions, self.blocks], axis=-1)

    @property
    def points(self) -> np.ndarray:
        """
        What a probe reads: the robot's place, and two points of the block, which tell its pose.

        :returns: float32 [E, L, 2] or [E, L, 6] in m.
        """
        if not self.blocks.shape[-1]:
            return self.positions
        origin, yaw = self.blocks[..., :2], self.blocks[..., 2:]
        arm = _ARM * np.concatenate([np.cos(yaw), np.sin(yaw)], axis=-1)
        return np.concatenate([self.positions, origin, origin + arm], axis=-1)


def collect(world: DiscWorld, *, walks: int, length: int, seed: int, enter_bands: bool = False,
            on_progress: Callable[[int], None] | None = None) -> Walks:
    """
    Let the robot wander.

    Starts are spread evenly over the free places, at rest. Commands are those of
    :mod:`grasp_ros.control.excitation`; for accelerations see `_Thrust`, with a block
    :mod:`grasp_ros.training.pushes`.

    :param world: to collect in; left where the last walk ends.
    :param walks: E, number of walks.
    :param length: L, frames in a walk, at least 2.
    :param seed: equal seeds give equal data.
    :param enter_bands: whether the robot may enter the held-out bands. Training data may not: a
        command that would carry the robot there is drawn anew, or braked.
    :param on_progress: called with the number of walks done.
    """
    size, step_sec = world.image_size, world.scene.step_sec
    layout = world.scene.layout
    images = np.empty((walks, length, size, size, 3), dtype=np.uint8)
    actions = np.empty((walks, length - 1, 2), dtype=np.float32)
    positions = np.empty((walks, length, 2), dtype=np.float32)
    blocks = np.empty((walks, length, len(world.state) - 2), dtype=np.float32)
    velocities = np.empty((walks, length, 2), dtype=np.float32)
    held_out = np.empty((walks, length), dtype=bool)
    for walk in range(walks):
        # Each walk has its own generator, so that more walks only add to the data.
        rng = np.random.default_rng([seed, walk] if layout is None else [seed, layout, walk])
        is_done = False
        while not is_done:
            world.reset(seed=int(rng.integers(2 ** 31)) if blocks.shape[-1] else None,
                        options={'start': _start(world, rng, enter_bands)})
            driver = _driver(world, rng, enter_bands)
            for step in range(length):
                images[walk, step] = world.render()
                positions[walk, step], velocities[walk, step] = world.position, world.velocity
                blocks[walk, step] = world.state[2:]
                if step < length - 1:
                    actions[walk, step] = driver.command()
                    world.drive(actions[walk, step])
                    world.advance(step_sec)
            held_out[walk] = [world.scene.is_held_out(x, y) for x, y in positions[walk].tolist()]
            # With inertia about one walk in a hundred cannot brake in time: it is walked again.
            is_done = enter_bands or not held_out[walk].any()
        if on_progress is not None:
            on_progress(walk + 1)
    return Walks(
        images=images, actions=actions, positions=positions, blocks=blocks, velocities=velocities,
        held_out=held_out, touches=world.geometry.clearance(positions.astype(float)) < _TOUCH,
        layouts=np.full(walks, layout or 0))


def interleave(parts: Sequence[Walks]) -> Walks:
    """Walks of several worlds as one set: the first of each, the second of each, and so on."""
    count, each = len(parts), len(parts[0].layouts)
    order = np.arange(count * each).reshape(count, each).T.reshape(-1)
    return Walks(**{field.name: np.concatenate([getattr(p, field.name) for p in parts])[order]
                    for field in fields(Walks)})


def _start(world: DiscWorld, rng: np.random.Generator, enter_bands: bool) -> np.ndarray:
    while True:
        place = world.sample_place(rng)
        if enter_bands or not world.scene.is_held_out(*place, margin=_BAND_MARGIN):
            return place


def _driver(world: DiscWorld, rng: np.random.Generator, enter_bands: bool
            ) -> '_Stroll | _Thrust | Pushes':
    if world.scene.block is not None:
        return Pushes(world, rng)
    return (_Thrust if world.scene.robot.has_inertia else _Stroll)(world, rng, enter_bands)


class _Stroll:
    """Random velocities."""

    def __init__(self, world: DiscWorld, rng: np.random.Generator, enter_bands: bool) -> None:
        self._world, self._enter_bands = world, enter_bands
        self._wander = Wander(rng, np.full(2, world.max_action))

    def command(self) -> np.ndarray:
        world, action = self._world, self._wander.next()
        while not self._enter_bands and world.scene.is_held_out(
                *(world.position + world.scene.step_sec * action), margin=_BAND_MARGIN):
            action = self._wander.another()
        return action


class _Thrust:
    """
    Random accelerations; one phase in six coasts, one brakes to rest and stands.

    A thrust after which full braking could not keep the robot out of a band gives way to braking.
    """

    def __init__(self, world: DiscWorld, rng: np.random.Generator, enter_bands: bool) -> None:
        self._world, self._rng, self._enter_bands = world, rng, enter_bands
        self._limit = np.full(2, world.max_action)
        self._draw()

    def _draw(self) -> None:
        kind = self._rng.integers(6)
        self._brakes = kind == 5
        self._thrust = draw(self._rng, self._limit) if kind < 4 else np.zeros(2)

    def command(self) -> np.ndarray:
        if self._rng.random() < 1 / HOLD_STEPS:
            self._draw()
        if self._brakes:
            action = self._braking()
        else:
            action = jittered(self._rng, self._thrust, self._limit)
        return action if self._enter_bands or self._clear_after(action) else self._braking()

    def _braking(self) -> np.ndarray:
        return self._brake(self._world.velocity).astype(np.float32)

    def _brake(self, velocity: np.ndarray) -> np.ndarray:
        limit = self._world.max_action
        return np.clip(-velocity / self._world.scene.step_sec, -limit, limit)

    def _clear_after(self, action: np.ndarray) -> bool:
        """Whether braking from the next step on still keeps the robot out of the bands."""
        world, places = self._world, []
        place, velocity = world.position, world.velocity
        drag, part_sec = world.scene.robot.drive_rate, world.scene.step_sec / _BRAKE_PARTS
        while True:
            for _ in range(_BRAKE_PARTS):
                velocity = velocity + part_sec * (action - drag * velocity)
                place = place + part_sec * velocity
                places.append(place)
            if np.abs(velocity).max() < _STANDS:
                break
            action = self._brake(velocity)
        bands = world.scene.held_out
        low = np.array([band.low for band in bands]) - _BRAKE_MARGIN
        high = np.array([band.high for band in bands]) + _BRAKE_MARGIN
        way = np.array(places)[:, None]
        return not ((way >= low) & (way <= high)).all(-1).any()

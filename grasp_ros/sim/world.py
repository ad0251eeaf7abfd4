# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A scene as a gymnasium-style world (gymnasium itself is not needed)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import mujoco
import numpy as np

from grasp_ros.errors import GraspError
from grasp_ros.sim.geometry import BlockGeometry, DiscGeometry
from grasp_ros.sim.mjcf import to_mjcf
from grasp_ros.sim.raycast import RayCamera
from grasp_ros.sim.scene import Scene

_TIME_TOLERANCE = 1e-9


class WorldInputError(GraspError, ValueError):
    """An action, place or time that the world cannot take; its state is unchanged."""

    code = 600


@dataclass(frozen=True, kw_only=True)
class Task:
    """
    One episode to drive.

    :param start: place of the robot's centre, (x, y) in m; where there is a block the whole
        `DiscWorld.state`.
    :param goal: what to reach, alike.
    :param path_length: length of the robot's shortest way round the walls, in m; where there is a
        block that of a way that is known to lead to the goal.
    :param layout: of the world, where it has several.
    """

    start: tuple[float, ...]
    goal: tuple[float, ...]
    path_length: float
    layout: int | None = None


class DiscWorld:
    """
    A disc that is driven through rooms, by velocity or by acceleration as the scene says; where
    the scene has a block it can push that.

    The world has no goal of its own: `reward` is always 0 and no episode ends by itself. The
    caller, which knows the task, scores with `position` and `path_length`.

    :param scene: the world, one of those in `worlds.py` or your own.
    :param image_size: width and height of the observed picture in pixels; the scene's unless
        stated.
    """

    def __init__(self, *, scene: Scene, image_size: int | None = None) -> None:
        self.scene = scene
        self.image_size = self.scene.camera.size if image_size is None else image_size
        self.geometry = DiscGeometry(self.scene)
        self.block_geometry = BlockGeometry(scene) if scene.block is not None else None
        self._model = mujoco.MjModel.from_xml_string(to_mjcf(self.scene))
        self._data = mujoco.MjData(self._model)
        self._still = mujoco.MjData(self._model)
        self._cameras: dict[int, RayCamera] = {}
        self._camera(self.image_size)
        self._debt_sec = 0.0
        self._rng = np.random.default_rng()
        self.reset(seed=0)

    @property
    def position(self) -> np.ndarray:
        """Place of the robot's centre: float64 [2] in m, a copy. Ground truth, for scoring."""
        return self._data.qpos[:2].copy()

    @property
    def state(self) -> np.ndarray:
        """
        Where everything is: the robot's place and then, where there is a block, that one's pose.

        :returns: float64 [2], x, y in m, or [5], also x, y in m and yaw in rad, -pi to pi.
        """
        state = self._data.qpos.copy()
        state[4:] = (state[4:] + np.pi) % (2 * np.pi) - np.pi
        return state

    @property
    def velocity(self) -> np.ndarray:
        """Velocity of the robot's centre: float64 [2] in m/s, a copy."""
        return self._data.qvel[:2].copy()

    @property
    def time_sec(self) -> float:
        """Simulated time since the last reset in s."""
        return float(self._data.time)

    @property
    def max_action(self) -> float:
        """Largest command of each axis, in m/s or m/s^2."""
        return self.scene.robot.max_action

    def reset(self, *, seed: int | None = None, options: Mapping[str, Any] | None = None
              ) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """
        Place the robot, and the block, at rest.

        :param seed: of what is random; without it the last seed's sequence goes on.
        :param options: `start`, as in `state`, for a given start. Of the robot alone: the block
            lies anywhere.
        :returns: observation and info as in `step`.
        :raises WorldInputError: when the start is not free, or an option is unknown.
        """
        options = dict(options or {})
        start = options.pop('start', None)
        if options:
            raise WorldInputError(f'unknown options {sorted(options)}; known: start')
        if start is not None:
            start = self._free_state(start, 'start')
        if seed is not None:
            self._rng = np.random.default_rng(seed)
        if start is None:
            start = self.sample_place(self._rng)
        if self.block_geometry is not None and len(start) == 2:
            start = np.append(start, self._sample_block(self._rng, start))
        mujoco.mj_resetData(self._model, self._data)
        self._data.qpos[:] = start
        mujoco.mj_forward(self._model, self._data)
        self._debt_sec = 0.0
        return self._observe()

    def step(self, action: Any) -> tuple[dict[str, np.ndarray], float, bool, bool, dict]:
        """
        Hold a command for one model step.

        :param action: as in `drive`.
        :returns: observation `{'image': uint8 [size, size, 3]}`, reward 0, terminated and
            truncated False, info `{'position': [2] in m, 'time_sec': float}`.
        :raises WorldInputError: for a wrong shape or a value that is not finite.
        """
        self.drive(action)
        self.advance(self.scene.step_sec)
        observation, info = self._observe()
        return observation, 0.0, False, False, info

    def drive(self, action: Any) -> None:
        """
        Set the command that `advance` holds.

        :param action: velocity in m/s or acceleration in m/s^2, as the scene's robot has it, along
            x and y: [2]; beyond the limit it saturates.
        :raises WorldInputError: for a wrong shape or a value that is not finite.
        """
        limit = self.max_action
        self._data.ctrl[:] = np.clip(_pair(action, 'action'), -limit, limit)

    def kick(self, displacement: Any, velocity_change: Any) -> None:
        """
        Disturb the robot: shift it at once, as far as nothing is in the way, and push it.

        A robot that is driven by velocity forgets the push within milliseconds.

        :param displacement: along x and y in m, [2].
        :param velocity_change: along x and y in m/s, [2]; the robot gets no faster than its top
            speed in either axis.
        :raises WorldInputError: for a wrong shape or a value that is not finite.
        """
        displacement = _pair(displacement, 'displacement')
        velocity = self.velocity + _pair(velocity_change, 'velocity change')
        limit, start = self.scene.robot.top_speed, self.position
        end = self.geometry.reach(start, displacement)
        if self.block_geometry is not None:
            end = self.block_geometry.reach(start, end - start, self.state[2:])
        self._data.qpos[:2] = end
        self._data.qvel[:2] = np.clip(velocity, -limit, limit)
        mujoco.mj_forward(self._model, self._data)

    def advance(self, duration_sec: float) -> None:
        """
        Let time pass, the command of `drive` held.

        What does not fill a physics step is kept for the next call, so that many short calls
        take as long as one long one.

        :param duration_sec: in s, not negative.
        :raises WorldInputError: for a duration that is negative or not finite.
        """
        if not np.isfinite(duration_sec) or duration_sec < 0:
            raise WorldInputError(f'time cannot pass by {duration_sec!r} s')
        self._debt_sec += float(duration_sec)
        steps = int((self._debt_sec + _TIME_TOLERANCE) / self.scene.physics_step_sec)
        self._debt_sec -= steps * self.scene.physics_step_sec
        if steps:
            mujoco.mj_step(self._model, self._data, steps)
            # mj_step leaves the geoms where they were before its last integration.
            mujoco.mj_kinematics(self._model, self._data)

    def render(self, *, size: int | None = None) -> np.ndarray:
        """
        The overhead camera's picture.

        :param size: width and height in pixels; `image_size` unless stated.
        :returns: uint8 [size, size, 3], red, green, blue; its x is the world's x, its y is -y.
        """
        return self._camera(size).render(self._data)

    def render_at(
        self, x: float, y: float, *block: float, size: int | None = None
    ) -> np.ndarray:
        """
        The picture with the robot elsewhere, for example at a goal; nothing is moved.

        :param x: in m.
        :param y: in m.
        :param block: x and y in m, yaw in rad, of the block; where it lies unless stated.
        :param size: as in `render`.
        :raises WorldInputError: when the places are not free.
        """
        self._still.qpos[:] = self._free_state((x, y, *(block or self.state[2:])), 'place')
        mujoco.mj_kinematics(self._model, self._still)
        return self._camera(size).render(self._still)

    def to_pixel(self, x: float, y: float, *, size: int | None = None) -> tuple[float, float]:
        """
        Where a point of the floor appears: column and row in pixels, from the upper left corner.

        :param x: in m.
        :param y: in m.
        :param size: as in `render`.
        """
        camera = self.scene.camera
        scale = (size or self.image_size) / 2
        reach = camera.position[2] * np.tan(np.radians(camera.fov_deg) / 2)
        return (scale * (1 + (x - camera.position[0]) / reach),
                scale * (1 - (y - camera.position[1]) / reach))

    def is_free(self, x: float, y: float) -> bool:
        """Whether the robot fits at a place in m, the block where it lies."""
        place = np.array([x, y], dtype=np.float64)
        return bool(np.isfinite(place).all() and self.geometry.is_free(place)
                    and self._is_clear(place, self.state[2:]))

    def is_blocked(self, start: Any, goal: Any) -> bool:
        """Whether a wall is in the way of the robot on the straight line between two places."""
        return bool(self.geometry.is_blocked(self._free_place(start, 'start'),
                                             self._free_place(goal, 'goal')))

    def path_length(self, start: Any, goal: Any) -> float:
        """Length in m of the robot's shortest way between two free places, round the walls."""
        return float(self.geometry.path_length(self._free_place(start, 'start'),
                                               self._free_place(goal, 'goal')))

    def sample_place(self, rng: np.random.Generator, *, room: str | None = None) -> np.ndarray:
        """
        A place free of walls, evenly distributed.

        :param rng: source of randomness.
        :param room: name of a room of the scene; anywhere unless stated.
        :returns: float64 [2] in m.
        """
        if room is None:
            low, high = np.zeros(2), np.full(2, self.scene.size)
        else:
            area = self.scene.room(room)
            low, high = np.array(area.low), np.array(area.high)
        while True:
            place = rng.uniform(low, high)
            if self.geometry.is_free(place):
                return place

    def sample_task(self, rng: np.random.Generator) -> Task:
        """
        A start and a goal in different rooms, with a wall in the way of the straight line.

        :param rng: source of randomness; equal generators give equal tasks.
        :raises WorldInputError: in a world of one room.
        """
        names = self._rooms()
        while True:
            first, second = rng.permutation(len(names))[:2]
            start = self.sample_place(rng, room=names[first])
            goal = self.sample_place(rng, room=names[second])
            if self.geometry.is_blocked(start, goal):
                length = float(self.geometry.path_length(start, goal))
                return Task(start=tuple(start.tolist()), goal=tuple(goal.tolist()),
                            path_length=length, layout=self.scene.layout)

    def sample_goal(
        self, rng: np.random.Generator, *, start: tuple[float, float]
    ) -> tuple[float, float]:
        """
        A place in another room; a wall on the straight line where twenty draws find one.

        :param rng: source of randomness; equal generators give equal goals.
        :param start: where the robot is, (x, y) in m; need not be free.
        :raises WorldInputError: in a world of one room.
        """
        here = self.scene.room_of(*start)
        others = [name for name in self._rooms() if name != here]
        for _ in range(20):
            other = others[rng.integers(len(others))]
            place = tuple(self.sample_place(rng, room=other).tolist())
            if self.geometry.is_blocked(np.array(start), np.array(place)):
                break
        return place

    def _rooms(self) -> list[str]:
        names = [room.name for room in self.scene.rooms]
        if len(names) < 2:
            raise WorldInputError(f'{self.scene.name} has one room alone: there is no other one '
                                  'for a goal to lie in')
        return names

    def _sample_block(self, rng: np.random.Generator, place: np.ndarray) -> np.ndarray:
        """A pose of the block, clear of the walls and of the robot at a place."""
        low, high = (0.0, 0.0, -np.pi), (self.scene.size, self.scene.size, np.pi)
        while True:
            pose = rng.uniform(low, high)
            if self.block_geometry.fits(pose) and self._is_clear(place, pose):
                return pose

    def _is_clear(self, place: np.ndarray, pose: np.ndarray) -> bool:
        """Whether the robot touches no block, where there is one."""
        return self.block_geometry is None or bool(
            self.block_geometry.clearance(place, pose) >= 0)

    def _observe(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        info = {'position': self.position, 'time_sec': self.time_sec}
        return {'image': self.render()}, info

    def _camera(self, size: int | None) -> RayCamera:
        size = self.image_size if size is None else size
        if size not in self._cameras:
            self._cameras[size] = RayCamera(model=self._model, scene=self.scene, size=size)
        return self._cameras[size]

    def _free_place(self, place: Any, what: str) -> np.ndarray:
        place = _pair(place, what)
        if not self.geometry.is_free(place):
            raise WorldInputError(
                f'{what} ({place[0]:.3f}, {place[1]:.3f}) m is not free: the robot, of radius '
                f'{self.scene.robot.radius} m, would stand in a wall or outside the world')
        return place

    def _free_state(self, state: Any, what: str) -> np.ndarray:
        """Of the robot alone, or of robot and block where there is one."""
        if self.block_geometry is None:
            return self._free_place(state, what)
        state = _numbers(state, what, (2, 5))
        place, pose = self._free_place(state[:2], what), state[2:]
        if len(pose) and not self.block_geometry.fits(pose):
            raise WorldInputError(f'{what}: the block at ({pose[0]:.3f}, {pose[1]:.3f}) m, '
                                  f'{pose[2]:.3f} rad would lie in a wall or outside the world')
        if len(pose) and not self._is_clear(place, pose):
            raise WorldInputError(f'{what} ({place[0]:.3f}, {place[1]:.3f}) m is not free: the '
                                  'robot would stand in the block')
        return state


def _pair(value: Any, what: str) -> np.ndarray:
    return _numbers(value, what, (2,))


def _numbers(value: Any, what: str, counts: tuple[int, ...]) -> np.ndarray:
    wanted = ' or '.join(str(count) for count in counts)
    try:
        numbers = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise WorldInputError(f'{what} must be {wanted} numbers, got {value!r}') from error
    if numbers.shape not in {(count,) for count in counts}:
        raise WorldInputError(f'{what} must be {wanted} numbers, got shape {numbers.shape}')
    if not np.isfinite(numbers).all():
        raise WorldInputError(f'{what} must be finite, got {numbers.tolist()}')
    return numbers

# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Where a disc and a block can be, and how far it is from place to place.

Exact for straight lines; a shortest path round a wall's corner follows a polygon circumscribed
about the arc that the disc's centre would draw, at most 0.5 % of the arc longer. Used to place
starts and goals, to limit and to score episodes; no planner sees any of it.
"""

from collections.abc import Callable

import numpy as np

from grasp_ros.sim.scene import Rectangle, Scene, Wall

_ARC_POINTS = 9
_TOUCH = 1e-9
_HALVINGS = 20


class Boxes:
    """
    Axis-aligned boxes on the floor.

    :param boxes: their names do not matter.
    """

    def __init__(self, boxes: tuple[Wall, ...] | tuple[Rectangle, ...]) -> None:
        self._low = np.array([box.low for box in boxes], dtype=np.float64)
        self._high = np.array([box.high for box in boxes], dtype=np.float64)
        self.corners = np.stack([
            np.stack([self._low[:, 0], self._low[:, 1]], -1),
            np.stack([self._high[:, 0], self._low[:, 1]], -1),
            np.stack([self._high[:, 0], self._high[:, 1]], -1),
            np.stack([self._low[:, 0], self._high[:, 1]], -1),
        ], 1)
        """Corners of each, counterclockwise: [B, 4, 2]."""

    def distance(self, points: np.ndarray) -> np.ndarray:
        """Distance from points [..., 2] to the nearest box, 0 inside: [...]."""
        return _to_box(points[..., None, :], self._low, self._high).min(-1)

    def segment_distance(self, start: np.ndarray, goal: np.ndarray) -> np.ndarray:
        """Distance from segments [..., 2] to the nearest box, 0 where they cross one: [...]."""
        direction = goal - start
        distance = np.full(start.shape[:-1], np.inf)
        for low, high, corners in zip(self._low, self._high, self.corners):
            with np.errstate(divide='ignore', invalid='ignore'):
                first, second = (low - start) / direction, (high - start) / direction
            parallel = direction == 0
            between = (start >= low) & (start <= high)
            enter = np.where(parallel, np.where(between, -np.inf, np.inf),
                             np.minimum(first, second)).max(-1)
            leave = np.where(parallel, np.where(between, np.inf, -np.inf),
                             np.maximum(first, second)).min(-1)
            crosses = (enter <= leave) & (enter <= 1) & (leave >= 0)
            near = np.minimum(_to_box(start, low, high), _to_box(goal, low, high))
            length = np.maximum((direction ** 2).sum(-1), 1e-18)
            for corner in corners:
                along = np.clip(((corner - start) * direction).sum(-1) / length, 0, 1)
                foot = start + along[..., None] * direction
                near = np.minimum(near, np.linalg.norm(corner - foot, axis=-1))
            distance = np.minimum(distance, np.where(crosses, 0.0, near))
        return distance


class DiscGeometry:
    """
    The scene as the robot's centre sees it: walls grown by the radius.

    :param scene: whose walls and whose robot.
    """

    def __init__(self, scene: Scene) -> None:
        self._radius = scene.robot.radius
        self._walls = Boxes(scene.walls)
        self._size = scene.size
        self._waypoints = self._make_waypoints()
        self._between = self._all_pairs()

    def clearance(self, places: np.ndarray) -> np.ndarray:
        """
        Distance from the disc's rim to the nearest wall; negative where it would overlap.

        :param places: [..., 2] in m.
        :returns: [...] in m.
        """
        return self._walls.distance(places) - self._radius

    def is_free(self, places: np.ndarray) -> np.ndarray:
        """
        Whether the disc fits there, inside the world and touching no wall.

        :param places: [..., 2] in m.
        :returns: bool [...].
        """
        inside = ((places > 0) & (places < self._size)).all(-1)
        return inside & (self.clearance(places) >= 0)

    def is_blocked(self, start: np.ndarray, goal: np.ndarray) -> np.ndarray:
        """
        Whether the disc meets a wall on the straight line.

        :param start: [..., 2] in m, free.
        :param goal: [..., 2] in m, free.
        :returns: bool [...].
        """
        start, goal = np.broadcast_arrays(start, goal)
        return self._walls.segment_distance(start, goal) < self._radius - _TOUCH

    def reach(self, start: np.ndarray, displacement: np.ndarray) -> np.ndarray:
        """
        Where the disc gets on a straight line before a wall stops it.

        :param start: [2] in m, free.
        :param displacement: [2] in m.
        :returns: [2] in m, a free place unless `start` was none.
        """
        return _farthest(start, displacement, lambda end: bool(
            self.is_free(end) and not self.is_blocked(start, end)))

    def path_length(self, start: np.ndarray, goal: np.ndarray) -> np.ndarray:
        """
        Length of the shortest path of the disc's centre, round the walls.

        :param start: [..., 2] in m, free.
        :param goal: [..., 2] in m, free.
        :returns: [...] in m; infinite where there is no way.
        """
        start, goal = np.broadcast_arrays(np.asarray(start, float), np.asarray(goal, float))
        length = np.atleast_1d(np.linalg.norm(goal - start, axis=-1))
        blocked = np.atleast_1d(self.is_blocked(start, goal))
        there = self._to_waypoints(np.atleast_2d(start)[blocked])
        back = self._to_waypoints(np.atleast_2d(goal)[blocked])
        length[blocked] = (there[:, :, None] + self._between + back[:, None, :]).min(
            (1, 2), initial=np.inf)
        return length.reshape(start.shape[:-1])

    def _to_waypoints(self, places: np.ndarray) -> np.ndarray:
        lengths = np.linalg.norm(places[..., None, :] - self._waypoints, axis=-1)
        return np.where(self.is_blocked(places[..., None, :], self._waypoints), np.inf, lengths)

    def _make_waypoints(self) -> np.ndarray:
        """Points about each wall corner where a taut path may bend: [W, 2]."""
        half_step = np.pi / 4 / (_ARC_POINTS - 1)
        reach = self._radius / np.cos(half_step) + 1e-6
        quarter = np.linspace(0, np.pi / 2, _ARC_POINTS)
        points = []
        for corners in self._walls.corners:
            for corner, begin in zip(corners, (np.pi, 1.5 * np.pi, 0.0, 0.5 * np.pi)):
                angle = begin + quarter
                points.append(corner + reach * np.stack([np.cos(angle), np.sin(angle)], -1))
        points = np.concatenate(points)
        return points[self.is_free(points)]

    def _all_pairs(self) -> np.ndarray:
        """Shortest path between all waypoints (Floyd and Warshall): [W, W] in m."""
        between = self._to_waypoints(self._waypoints)
        np.fill_diagonal(between, 0.0)
        for via in range(len(between)):
            between = np.minimum(between, between[:, via, None] + between[None, via])
        return between


class BlockGeometry:
    """
    The block of a scene: where it fits, and how far the robot is from it.

    Its pose is x, y of its origin in m and its yaw in rad: [3].

    :param scene: with a block.
    """

    def __init__(self, scene: Scene) -> None:
        self._radius, self._size = scene.robot.radius, scene.size
        self._walls, self._parts = Boxes(scene.walls), Boxes(scene.block.parts)

    def fits(self, pose: np.ndarray) -> bool:
        """Whether the block lies inside the world there and overlaps no wall."""
        corners = pose[:2] + self._parts.corners @ _turn(pose[2]).T
        edges = corners, np.roll(corners, -1, axis=1)
        return bool((corners > 0).all() and (corners < self._size).all()
                    and (self._walls.segment_distance(*edges) > 0).all())

    def clearance(self, places: np.ndarray, pose: np.ndarray) -> np.ndarray:
        """
        Distance from the robot's rim to the block; negative where it would overlap.

        :param places: of the robot's centre, [..., 2] in m.
        :param pose: of the block.
        :returns: [...] in m.
        """
        return self._parts.distance(_seen_from(pose, places)) - self._radius

    def is_blocked(self, start: np.ndarray, goal: np.ndarray, pose: np.ndarray) -> np.ndarray:
        """
        Whether the robot meets the block on the straight line.

        :param start: [..., 2] in m.
        :param goal: [..., 2] in m.
        :param pose: of the block.
        :returns: bool [...].
        """
        ends = np.broadcast_arrays(_seen_from(pose, start), _seen_from(pose, goal))
        return self._parts.segment_distance(*ends) < self._radius - _TOUCH

    def reach(self, start: np.ndarray, displacement: np.ndarray, pose: np.ndarray) -> np.ndarray:
        """Where the robot gets on a straight line before the block stops it; as in
        :meth:`DiscGeometry.reach`."""
        return _farthest(start, displacement, lambda end: not self.is_blocked(start, end, pose))


def _farthest(start: np.ndarray, displacement: np.ndarray,
              fits: Callable[[np.ndarray], bool]) -> np.ndarray:
    """The end of the longest part of a displacement that fits, by halving."""
    if fits(start + displacement):
        return start + displacement
    free, blocked = 0.0, 1.0
    for _ in range(_HALVINGS):
        middle = (free + blocked) / 2
        free, blocked = ((middle, blocked) if fits(start + middle * displacement)
                         else (free, middle))
    return start + free * displacement


def _turn(yaw: float) -> np.ndarray:
    return np.array([[np.cos(yaw), -np.sin(yaw)], [np.sin(yaw), np.cos(yaw)]])


def _seen_from(pose: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Places [..., 2] in the frame of a pose."""
    return (places - pose[:2]) @ _turn(pose[2])


def _to_box(points: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    return np.linalg.norm(np.maximum(np.maximum(low - points, points - high), 0.0), axis=-1)

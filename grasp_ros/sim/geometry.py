# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Where a disc can be, and how far it is from place to place.

Exact for straight lines; a shortest path round a wall's corner follows a polygon circumscribed
about the arc that the disc's centre would draw, at most 0.5 % of the arc longer. Used to place
starts and goals, to limit and to score episodes; no planner sees any of it.
"""

import numpy as np

from grasp_ros.sim.scene import Scene

_ARC_POINTS = 9
_TOUCH = 1e-9
_HALVINGS = 20


class DiscGeometry:
    """
    The scene as the robot's centre sees it: walls grown by the radius.

    :param scene: whose walls and whose robot.
    """

    def __init__(self, scene: Scene) -> None:
        self._radius = scene.robot.radius
        self._low = np.array([wall.low for wall in scene.walls], dtype=np.float64)
        self._high = np.array([wall.high for wall in scene.walls], dtype=np.float64)
        self._corners = np.stack([
            np.stack([self._low[:, 0], self._low[:, 1]], -1),
            np.stack([self._high[:, 0], self._low[:, 1]], -1),
            np.stack([self._high[:, 0], self._high[:, 1]], -1),
            np.stack([self._low[:, 0], self._high[:, 1]], -1),
        ], 1)
        self._size = scene.size
        self._waypoints = self._make_waypoints()
        self._between = self._all_pairs()

    def clearance(self, places: np.ndarray) -> np.ndarray:
        """
        Distance from the disc's rim to the nearest wall; negative where it would overlap.

        :param places: [..., 2] in m.
        :returns: [...] in m.
        """
        outside = np.maximum(np.maximum(self._low - places[..., None, :],
                                        places[..., None, :] - self._high), 0.0)
        return np.linalg.norm(outside, axis=-1).min(-1) - self._radius

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
        return self._segment_distance(start, goal) < self._radius - _TOUCH

    def reach(self, start: np.ndarray, displacement: np.ndarray) -> np.ndarray:
        """
        Where the disc gets on a straight line before a wall stops it.

        :param start: [2] in m, free.
        :param displacement: [2] in m.
        :returns: [2] in m, a free place unless `start` was none.
        """
        def fits(part: float) -> bool:
            end = start + part * displacement
            return bool(self.is_free(end) and not self.is_blocked(start, end))

        if fits(1.0):
            return start + displacement
        free, blocked = 0.0, 1.0
        for _ in range(_HALVINGS):
            middle = (free + blocked) / 2
            free, blocked = (middle, blocked) if fits(middle) else (free, middle)
        return start + free * displacement

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
        length[blocked] = (there[:, :, None] + self._between + back[:, None, :]).min((1, 2))
        return length.reshape(start.shape[:-1])

    def _to_waypoints(self, places: np.ndarray) -> np.ndarray:
        lengths = np.linalg.norm(places[..., None, :] - self._waypoints, axis=-1)
        return np.where(self.is_blocked(places[..., None, :], self._waypoints), np.inf, lengths)

    def _segment_distance(self, start: np.ndarray, goal: np.ndarray) -> np.ndarray:
        """Distance from segments [..., 2] to the nearest wall, 0 where they cross one."""
        direction = goal - start
        distance = np.full(start.shape[:-1], np.inf)
        for low, high, corners in zip(self._low, self._high, self._corners):
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

    def _make_waypoints(self) -> np.ndarray:
        """Points about each wall corner where a taut path may bend: [W, 2]."""
        half_step = np.pi / 4 / (_ARC_POINTS - 1)
        reach = self._radius / np.cos(half_step) + 1e-6
        quarter = np.linspace(0, np.pi / 2, _ARC_POINTS)
        points = []
        for corners in self._corners:
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


def _to_box(points: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    return np.linalg.norm(np.maximum(np.maximum(low - points, points - high), 0.0), axis=-1)

# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A plan to look at: its numbers, its path, and the plans that it was chosen from.

Each is made only where somebody listens.
"""

from __future__ import annotations

import numpy as np
from builtin_interfaces.msg import Time
from nav_msgs.msg import Path
from rclpy.lifecycle import LifecycleNode
from rclpy.qos import QoSProfile
from sensor_msgs.msg import PointCloud2, PointField
from std_msgs.msg import Header
from torch import Tensor

from grasp_ros.msg import Plan
from grasp_ros.node import messages, qos
from grasp_ros.node.worker import TickReport
from grasp_ros.world_models.base import WorldModel

try:
    from sensor_msgs_py import point_cloud2
except ImportError:  # it comes with a ROS 2 installation only
    point_cloud2 = None


class Views:
    """The topics ``plan``, ``plan_path`` and ``candidates`` of one configured node.

    The latter two, and the path in the first, need a model with a position probe; ``candidates``
    needs ``sensor_msgs_py``, and is not there without.

    :param node: that they belong to
    :param model: that the plans are of
    :param frame_id: of the places
    :param profile: of all three
    """

    def __init__(
        self, node: LifecycleNode, *, model: WorldModel, frame_id: str, profile: QoSProfile
    ) -> None:
        self._node = node
        self._model = model
        self._frame_id = frame_id
        kinds = {'plan': (Plan, self._numbers), 'plan_path': (Path, self._path)}
        if point_cloud2 is None:
            node.get_logger().info('no topic candidates: the package sensor_msgs_py is missing')
        else:
            kinds['candidates'] = (PointCloud2, self._candidates)
        self._views = [
            (
                node.create_lifecycle_publisher(
                    kind, topic, profile, **qos.publisher(node, topic)
                ),
                message_of,
            )
            for topic, (kind, message_of) in kinds.items()
        ]

    def destroy(self) -> None:
        """Take the topics off the graph."""
        for publisher, _ in self._views:
            self._node.destroy_lifecycle_publisher(publisher)

    def send(self, report: TickReport, stamp: Time) -> None:
        """Publish the plan of a tick that has a new one.

        :param stamp: when its first action was sent
        """
        header = Header(stamp=stamp, frame_id=self._frame_id)
        for publisher, message_of in self._views:
            if publisher.get_subscription_count():
                message = message_of(report, header)
                if message is not None:
                    publisher.publish(message)

    def _numbers(self, report: TickReport, header: Header) -> Plan:
        plan, card = report.tick.plan, self._model.card
        message = Plan(header=header, image_stamp=report.arrival.stamp)
        message.action_names = [action.name for action in card.actions]
        message.actions = plan.actions.flatten().double().cpu().tolist()
        places = self._places(plan.rollout)
        if places is not None:
            message.path = messages.points(places)
        values = {
            'model_step_sec': card.model_step_sec,
            'control_period_sec': card.control_period_sec,
            'horizon': len(plan.actions),
            'action_block': card.action_block,
            'cost': plan.cost,
        }
        return messages.set_fields(message, values)

    def _path(self, report: TickReport, header: Header) -> Path | None:
        places = self._places(report.tick.plan.rollout)
        if places is None:
            return None
        return path(places, header, self._model.card.model_step_sec)

    def _candidates(self, report: TickReport, header: Header) -> PointCloud2 | None:
        branches = report.tick.plan.branches
        places = self._places(branches.rollouts.flatten(0, 1))
        if places is None:
            return None
        places = places.reshape(*branches.rollouts.shape[:2], 2)
        return cloud(places, branches.costs.detach().cpu().numpy(), header)

    def _places(self, latents: Tensor) -> np.ndarray | None:
        places = self._model.position(latents)
        return None if places is None else places.detach().cpu().numpy()


def path(places: np.ndarray, header: Header, step_sec: float) -> Path:
    """Places in the plane as a path, each with the time at which the robot is to be there.

    :param places: ``[T, 2]``, m
    :param header: its stamp is one step before the first place
    :param step_sec: from one place to the next
    """
    begins_ns = messages.to_nanoseconds(header.stamp)
    return Path(
        header=header,
        poses=[
            messages.pose(
                x, y, messages.to_time(begins_ns + round(1e9 * n * step_sec)), header.frame_id
            )
            for n, (x, y) in enumerate(places, start=1)
        ],
    )


def cloud(places: np.ndarray, costs: np.ndarray, header: Header) -> PointCloud2:
    """Paths in the plane as points ``x``, ``y``, ``z`` in m and the ``cost`` of their path.

    :param places: ``[M, T, 2]``, m
    :param costs: ``[M]``; a path without a finite one is left out
    """
    points = np.zeros((*places.shape[:2], 4), dtype=np.float32)
    points[..., :2], points[..., 3] = places, costs[:, None]
    points = points[np.isfinite(points).all(axis=(1, 2))].reshape(-1, 4)
    fields = [
        PointField(name=name, offset=4 * n, datatype=PointField.FLOAT32, count=1)
        for n, name in enumerate(('x', 'y', 'z', 'cost'))
    ]
    return point_cloud2.create_cloud(header, fields, points)

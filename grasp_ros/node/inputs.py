# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The topics on which the sensors of a model are heard."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from rclpy.node import Node
from rclpy.qos import HistoryPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CompressedImage, Image, JointState

from grasp_ros.control.history import Frame
from grasp_ros.errors import GoalError
from grasp_ros.node import compressed_images, images, qos, settings
from grasp_ros.node.joints import JointReader
from grasp_ros.node.senders import Senders
from grasp_ros.node.sensors import JOINTS, Sensors
from grasp_ros.node.worker import Arrival
from grasp_ros.world_models.base import ModelCard


class Inputs:
    """Subscribes what the card of a model asks for, of one configured node; closed at first.

    ``image_raw``; of several cameras ``<camera>/image_raw``; where images are compressed,
    ``/compressed`` behind it; for proprioception ``joint_states``.

    :param node: that they belong to
    :param card: of the model
    :param values: of the parameters
    :param on_frame: called with every frame; must return at once
    :param on_set_back: called when the clock has been set back, before the message is taken
    :raises ConfigError: when names in the card or the parameters are no good
    """

    def __init__(
        self,
        node: Node,
        card: ModelCard,
        values: Mapping[str, Any],
        *,
        on_frame: Callable[[Arrival], None],
        on_set_back: Callable[[], None],
    ) -> None:
        self._node = node
        self._card = card
        self._on_frame = on_frame
        self._is_open = False
        is_compressed = values['image_transport'] == 'compressed'
        topics = settings.camera_topics(card)
        joints = None
        if card.proprioception:
            joints = JointReader(settings.proprioception_fields(values, card))
        self.sensors = Sensors(
            card,
            to_rgb=compressed_images.to_rgb if is_compressed else images.to_rgb,
            joints=joints,
            tolerance_sec=values['control.sync_tolerance_sec'],
            now_ns=lambda: node.get_clock().now().nanoseconds,
            logger=node.get_logger(),
            on_set_back=on_set_back,
        )
        self._subscriptions = []
        for camera, topic in topics.items():
            if is_compressed:
                self._listen(CompressedImage, compressed_images.topic(node, topic), camera)
            else:
                self._listen(Image, topic, camera)
        if joints is not None:
            self._listen(JointState, 'joint_states', JOINTS, joints.concerns, depth=10)

    def goal(self, image: Image) -> Frame:
        """What the sensors see at a goal that a picture shows; the stamp is 0.

        :raises ObservationError: when it is not a picture of the camera
        :raises GoalError: when the model senses more than one picture
        """
        card = self._card
        if not card.senses_one_picture:
            raise GoalError(
                f'a picture is no goal for model {card.name}, which has {len(card.cameras)} '
                f'cameras and {len(card.proprioception)} signals: save goals with save_goal and '
                'send their names, goal_name'
            )
        ((camera, spec),) = card.cameras.items()
        return Frame({camera: images.to_rgb(image, height=spec.height, width=spec.width)}, 0.0)

    def open(self) -> None:
        """Make frames from now on."""
        self._is_open = True

    def close(self) -> None:
        """Pass over what comes."""
        self._is_open = False

    def destroy(self) -> None:
        """Take the subscriptions off the graph."""
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)

    def _listen(
        self, kind: type, topic: str, sensor: str,
        concerns: Callable[[Any], bool] | None = None, *, depth: int = 5,
    ) -> None:  # fmt: skip
        # Of several publishers, one's message must not take the place of another's.
        profile = QoSProfile(
            depth=depth,
            history=HistoryPolicy.KEEP_LAST,
            reliability=ReliabilityPolicy.BEST_EFFORT,
        )
        callback = partial(self._take, sensor, concerns, Senders(self._node, topic))
        options = qos.subscription(self._node, topic)
        self._subscriptions.append(
            self._node.create_subscription(kind, topic, callback, profile, **options)
        )

    def _take(
        self, sensor: str, concerns: Callable[[Any], bool] | None, senders: Senders,
        message: Any, info: Mapping[str, Any],
    ) -> None:  # fmt: skip
        if not self._is_open or (concerns and not concerns(message)):
            return
        arrival = self.sensors.take(sensor, message, senders.of(info))
        if arrival is not None:
            self._on_frame(arrival)

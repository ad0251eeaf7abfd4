# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Quality of service of our topics: policies that a parameter may change, and what does not fit.

Two ends of a topic whose policies do not fit are not connected, and neither hears why. rclpy warns
of it with the name of the policy alone; here the warning says what either side has.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rclpy.event_handler import PublisherEventCallbacks, SubscriptionEventCallbacks
from rclpy.node import Node
from rclpy.qos import QoSCompatibility, qos_check_compatible
from rclpy.qos_overriding_options import QoSOverridingOptions
from rclpy.timer import Timer

from grasp_ros.node.spin import STEADY_CLOCK

_SETTLE_SEC = 0.3


def publisher(node: Node, topic: str) -> dict[str, Any]:
    """Keyword arguments of a publisher."""
    return {
        'qos_overriding_options': QoSOverridingOptions.with_default_policies(),
        'event_callbacks': PublisherEventCallbacks(incompatible_qos=_warning(node, topic)),
    }


def subscription(node: Node, topic: str) -> dict[str, Any]:
    """Keyword arguments of a subscription."""
    return {
        'qos_overriding_options': QoSOverridingOptions.with_default_policies(),
        'event_callbacks': SubscriptionEventCallbacks(incompatible_qos=_warning(node, topic)),
    }


def _warning(node: Node, topic: str) -> Callable[[Any], None]:
    """A callback that warns of all other ends that do not fit."""

    timer: Timer | None = None

    def on_event(event: Any) -> None:
        # It comes more than once for an end, and before the graph knows all of it.
        nonlocal timer
        if timer is None:
            timer = node.create_timer(_SETTLE_SEC, warn, clock=STEADY_CLOCK)

    def warn() -> None:
        nonlocal timer
        node.destroy_timer(timer)
        timer = None
        name = node.resolve_topic_name(topic)
        for sender in node.get_publishers_info_by_topic(name):
            for receiver in node.get_subscriptions_info_by_topic(name):
                fits, reason = qos_check_compatible(sender.qos_profile, receiver.qos_profile)
                is_ours = node.get_name() in (sender.node_name, receiver.node_name)
                if fits == QoSCompatibility.ERROR and is_ours:
                    node.get_logger().warning(
                        f'{name}: nothing goes from {sender.node_name} to {receiver.node_name}: '
                        f'{reason.replace("ERROR: ", "").rstrip(";")}. The parameters '
                        f'qos_overrides.{name}.… change our side.'
                    )

    return on_event

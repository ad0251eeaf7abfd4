# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Who sends on a topic: what came from another publisher than before must not drive a robot."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

from rclpy.node import Node

SEVERAL = 'one of several publishers'


class Senders:
    """The publishers of one topic.

    rclpy of Kilted and later hands a callback the publisher of a message. That of Jazzy does not;
    there the graph is asked who publishes at all. A publisher that was killed stays in the graph
    for the seconds of its lease.

    :param node: that listens
    :param topic: as it is subscribed to, before any remapping
    """

    def __init__(self, node: Node, topic: str) -> None:
        self._node, self._topic = node, topic

    def of(self, info: Mapping[str, Any]) -> Hashable | None:
        """Which publisher a message came from.

        :param info: what rclpy hands a callback beside the message
        :return: equal for messages of one publisher; :data:`SEVERAL` where the graph has more than
            one; None where nobody knows
        """
        gid = info.get('publisher_gid')
        if gid is not None:
            return bytes(gid['data'])
        found = self._node.get_publishers_info_by_topic(self._topic)
        if len(found) > 1:
            return SEVERAL
        return bytes(found[0].endpoint_gid) if found else None

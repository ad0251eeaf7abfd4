# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Who sends on a topic, by the message and, where it does not tell, by the graph."""

import time

import pytest

pytest.importorskip('grasp_ros.msg', reason='no messages: GRASP_ROS_MESSAGES=1 pip install .[ros]')
from geometry_msgs.msg import TwistStamped
from grasp_ros.msg import GateStatus
from rclpy.executors import SingleThreadedExecutor

from grasp_ros.node.gate_node import GateNode
from grasp_ros.node.senders import SEVERAL, Senders
from grasp_ros.reliability.rig import Rig, open_client

pytestmark = pytest.mark.processes


def test_a_message_that_names_its_publisher_is_believed():
    senders = Senders(None, 'action')
    first, second = ({'publisher_gid': {'data': [n, 2, 3]}} for n in (1, 2))
    assert senders.of(first) == senders.of(first) != senders.of(second)


def test_a_gate_that_is_not_told_who_sends_lets_one_through_and_stops_at_two(monkeypatch):
    """As on Jazzy, with a middleware that numbers nothing."""
    sender = Senders.of
    monkeypatch.setattr(Senders, 'of', lambda self, info: sender(self, {}))
    heard = []
    with open_client() as node:
        gate = GateNode()
        executor = SingleThreadedExecutor()
        executor.add_node(gate)
        node.create_subscription(GateStatus, 'gate_status', lambda m: heard.append(m), 10)
        executor.add_node(node)
        publishers = [node.create_publisher(TwistStamped, 'action', 1)]

        def until(is_so):
            until_sec = time.monotonic() + 20.0
            while not (heard and is_so(heard[-1])):
                assert time.monotonic() < until_sec, heard[-1:]
                for publisher in publishers:
                    message = TwistStamped()
                    message.header.stamp = node.get_clock().now().to_msg()
                    publisher.publish(message)
                executor.spin_once(timeout_sec=0.02)

        try:
            gate._gate.enable(True)
            until(lambda status: status.state == GateStatus.PASSING)
            publishers.append(node.create_publisher(TwistStamped, 'action', 1))
            until(lambda status: 'more than one node' in status.text)
            assert heard[-1].state == GateStatus.STOPPED
        finally:
            executor.shutdown()
            gate.destroy_node()


def test_where_messages_name_none_the_graph_knows_how_many_there_are(tmp_path):
    with open_client() as node:
        rig = Rig(node, '', tmp_path)
        senders = Senders(node, 'senders/action')

        def publisher():
            return node.create_publisher(TwistStamped, 'senders/action', 1)

        assert senders.of({}) is None
        first = publisher()
        rig.wait_for(lambda: senders.of({}) is not None, 'the first publisher')
        alone = senders.of({})
        second = publisher()
        rig.wait_for(lambda: senders.of({}) is SEVERAL, 'the second')
        node.destroy_publisher(first)
        rig.wait_for(lambda: senders.of({}) is not SEVERAL, 'one to be gone')
        assert senders.of({}) not in (None, alone)
        node.destroy_publisher(second)
        rig.close()

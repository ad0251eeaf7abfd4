# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Bags that tests write, without any node."""

import numpy as np
from rosbags.rosbag2 import StoragePlugin, Writer

from grasp_ros.node.bag_types import typestore

START_NS = 1_700_000_000_000_000_000


def make(kind, **fields):
    """A message of a type, e.g. ``geometry_msgs/msg/Twist``; what is not named is zero."""
    store = typestore()
    values = {}
    for name, (code, detail) in store.fielddefs[kind][1]:
        if name in fields:
            values[name] = fields[name]
        elif code == 2:  # a message
            values[name] = make(detail)
        elif code == 1:
            base = detail[0]
            empty = {'string': '', 'bool': False}
            values[name] = empty.get(base, 0.0 if 'float' in base else 0)
        else:
            values[name] = []
    return store.types[kind](**values)


def header(stamp_ns, frame_id=''):
    """With a stamp."""
    sec, nanosec = divmod(stamp_ns, 1_000_000_000)
    stamp = make('builtin_interfaces/msg/Time', sec=sec, nanosec=nanosec)
    return make('std_msgs/msg/Header', stamp=stamp, frame_id=frame_id)


def image(picture, stamp_ns):
    """A ``sensor_msgs/Image`` of a picture, uint8 ``[h, w, 3]``."""
    height, width = picture.shape[:2]
    return make('sensor_msgs/msg/Image', header=header(stamp_ns), height=height, width=width,
                encoding='rgb8', step=3 * width, data=np.ascontiguousarray(picture).reshape(-1))


def twist(command):
    """A Twist of six numbers, linear then angular."""
    linear, angular = (make('geometry_msgs/msg/Vector3', x=float(a), y=float(b), z=float(c))
                       for a, b, c in (command[:3], command[3:]))
    return make('geometry_msgs/msg/Twist', linear=linear, angular=angular)


def twist_stamped(command, stamp_ns):
    """The same with a stamp."""
    return make('geometry_msgs/msg/TwistStamped', header=header(stamp_ns), twist=twist(command))


def write(path, messages, *, storage='mcap'):
    """Write ``(topic, time of arrival in ns, message)`` to a bag, as they come."""
    store, connections = typestore(), {}
    with Writer(path, version=9, storage_plugin=StoragePlugin[storage.upper()]) as writer:
        for topic, heard_ns, message in messages:
            kind = message.__msgtype__
            if topic not in connections:
                connections[topic] = writer.add_connection(topic, kind, typestore=store)
            writer.write(connections[topic], heard_ns, store.serialize_cdr(message, kind))
    return path

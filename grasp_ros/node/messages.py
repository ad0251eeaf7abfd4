# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Numbers into ROS messages and back: the one place that casts.

By default rclpy does not check the type of a field: a ``numpy.float32`` or an ``int`` in a float64
field arrives as garbage without an error. So every number that leaves a node goes through here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from builtin_interfaces.msg import Time
from geometry_msgs.msg import Point, PoseStamped, TwistStamped

_CASTS = {
    'boolean': bool,
    'double': float,
    'float': float,
    'string': str,
}


def set_fields(message: Any, values: Mapping[str, Any]) -> Any:
    """Write plain numbers, booleans and strings into a message, cast to each field's type.

    :return: the message
    :raises AttributeError: when the message has no such field
    """
    types = message.get_fields_and_field_types()
    for name, value in values.items():
        if name not in types:
            raise AttributeError(f'{type(message).__name__} has no field {name}')
        cast = _CASTS.get(types[name], int if 'int' in types[name] else None)
        setattr(message, name, value if cast is None else cast(value))
    return message


def twist(command: Sequence[float], stamp: Time, frame_id: str) -> TwistStamped:
    """A command of six numbers, linear then angular, as a message."""
    message = TwistStamped()
    message.header.stamp = stamp
    message.header.frame_id = frame_id
    for part, values in (('linear', command[:3]), ('angular', command[3:])):
        vector = getattr(message.twist, part)
        vector.x, vector.y, vector.z = (float(value) for value in values)
    return message


def command(message: TwistStamped) -> tuple[float, ...]:
    """The six numbers of a twist, linear then angular."""
    linear, angular = message.twist.linear, message.twist.angular
    return (linear.x, linear.y, linear.z, angular.x, angular.y, angular.z)


def pose(x: float, y: float, stamp: Time, frame_id: str) -> PoseStamped:
    """A place in the plane, m, as a pose without rotation."""
    message = PoseStamped()
    message.header.stamp = stamp
    message.header.frame_id = frame_id
    message.pose.position.x, message.pose.position.y = float(x), float(y)
    message.pose.orientation.w = 1.0
    return message


def points(places: np.ndarray) -> list[Point]:
    """Places ``[N, 2]`` in the plane, m."""
    return [Point(x=float(x), y=float(y), z=0.0) for x, y in places]


def to_time(nanoseconds: int) -> Time:
    """Nanoseconds since the epoch of the ROS clock as a stamp."""
    sec, nanosec = divmod(int(nanoseconds), 1_000_000_000)
    return Time(sec=sec, nanosec=nanosec)


def publisher_of(info: Mapping[str, Any]) -> bytes | None:
    """Who sent a message, by what rclpy hands a callback beside it; None where it does not say."""
    gid = info.get('publisher_gid')
    return None if gid is None else bytes(gid['data'])

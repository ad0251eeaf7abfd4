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
from builtin_interfaces.msg import Duration, Time
from geometry_msgs.msg import Point, PoseStamped, Twist, TwistStamped
from trajectory_msgs.msg import MultiDOFJointTrajectory, MultiDOFJointTrajectoryPoint

from grasp_ros.errors import MessageError

_SAME_TIME_SEC = 1e-6
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
    _fill(message.twist, command)
    return message


def command(message: TwistStamped) -> tuple[float, ...]:
    """The six numbers of a twist, linear then angular."""
    return _numbers(message.twist)


def commands(
    sequence: Sequence[Sequence[float]], period_sec: float, stamp: Time, frame_id: str
) -> MultiDOFJointTrajectory:
    """Commands as of :func:`twist`, one every period from the stamp on, as a message.

    As its one joint stands the frame that they are meant in.
    """
    message = MultiDOFJointTrajectory(joint_names=[frame_id])
    message.header.stamp = stamp
    message.header.frame_id = frame_id
    for n, command in enumerate(sequence):
        point = MultiDOFJointTrajectoryPoint(time_from_start=to_duration(n * period_sec))
        point.velocities = [_fill(Twist(), command)]
        message.points.append(point)
    return message


def read_commands(message: MultiDOFJointTrajectory) -> tuple[list[tuple[float, ...]], float]:
    """What :func:`commands` was made of: the commands, and their period in s.

    :raises MessageError: when it is no such message
    """
    points = message.points
    if len(points) < 2 or any(len(point.velocities) != 1 for point in points):
        raise MessageError('a plan of less than two commands, or not one twist for each')
    times_sec = [1e-9 * to_nanoseconds(point.time_from_start) for point in points]
    period_sec = times_sec[1] - times_sec[0]
    expected_sec = period_sec * np.arange(len(points))
    if period_sec <= 0 or np.abs(expected_sec - times_sec).max() > _SAME_TIME_SEC:
        raise MessageError(
            'the commands of a plan do not begin at once and follow each other at one rate'
        )
    return [_numbers(point.velocities[0]) for point in points], period_sec


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


def to_duration(seconds: float) -> Duration:
    """A time span, to the nanosecond."""
    sec, nanosec = divmod(round(1e9 * seconds), 1_000_000_000)
    return Duration(sec=sec, nanosec=nanosec)


def to_nanoseconds(time: Time | Duration) -> int:
    """A stamp or a time span in nanoseconds."""
    return time.sec * 1_000_000_000 + time.nanosec


def _fill(twist: Twist, command: Sequence[float]) -> Twist:
    for part, values in (('linear', command[:3]), ('angular', command[3:])):
        vector = getattr(twist, part)
        vector.x, vector.y, vector.z = (float(value) for value in values)
    return twist


def _numbers(twist: Twist) -> tuple[float, ...]:
    linear, angular = twist.linear, twist.angular
    return (linear.x, linear.y, linear.z, angular.x, angular.y, angular.z)

# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The gate's commands for a robot whose joints carry out trajectories by themselves.

A trajectory says where the joints are to be, so it begins where they are. That is where they were
told to be by now, for every drive is a little behind, and going back by that much with each
trajectory would be a jerk; unless ``joint_states`` says that they are somewhere else altogether.

The points hold positions beside the velocities: joint_trajectory_controller can integrate
velocities alone, but where a late cycle of its own leaves out a point it then reads positions that
are not there.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from sensor_msgs.msg import JointState
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from grasp_ros.control.outlook import STEP_SEC, Outlook
from grasp_ros.node import messages
from grasp_ros.node.layouts import ArrayLayout

LAG_SEC = 0.1  # by which a joint may be behind what it was told before it counts as held


class Trajectories:
    """What the joints are told, and where they are by that.

    All times are on the gate's clock.

    :param joints: their names
    :param layout: which number of a command is the velocity of which of them, rad/s or m/s
    :param outlook: of the gate
    """

    kind = JointTrajectory

    def __init__(self, joints: Sequence[str], layout: ArrayLayout, outlook: Outlook) -> None:
        self._joints = list(joints)
        self._layout = layout
        self._outlook = outlook
        self._places: list[float] | None = None
        self._places_sec = self._seen_sec = -math.inf

    def see(self, message: JointState, now_sec: float) -> None:
        """Take up where the joints are. One message has to have all of them; others are not ours.

        :param now_sec: when it arrived
        """
        found = dict(zip(message.name, message.position))
        seen = [found.get(joint, math.nan) for joint in self._joints]
        if not all(map(math.isfinite, seen)):
            return
        self._seen_sec = now_sec
        told = None if self._places is None else self._told(now_sec)
        fastest = self._layout.numbers(self._outlook.fastest(now_sec - LAG_SEC, now_sec))
        if told is None or any(
            abs(place - other) > LAG_SEC * abs(speed)
            for place, other, speed in zip(seen, told, fastest, strict=True)
        ):
            self._places, self._places_sec = seen, now_sec

    def problem(self, now_sec: float, longest_sec: float) -> str:
        """Why nothing may move them now, empty when something may.

        :param longest_sec: for which they may not have been seen
        """
        if now_sec - self._seen_sec <= longest_sec:
            return ''
        names = ', '.join(self._joints)
        if self._places is None:
            return f'no message on joint_states has had a place for each of {names}'
        return f'no message on joint_states for {now_sec - self._seen_sec:.1f} s'

    def message(self, now_sec: float) -> JointTrajectory | None:
        """All that the joints are to do from now on, unless they have never been seen.

        A trajectory without points, which in ROS 1 meant to hold, joint_trajectory_controller
        refuses, and goes on moving; where the last point of one is at rest, it holds.
        """
        if self._places is None:
            return None
        places = self._told(now_sec)
        self._places, self._places_sec = places, now_sec
        # No stamp, which means "when it arrives": the clock of another machine may be another one.
        message = JointTrajectory(joint_names=self._joints)
        velocities = None
        for n, command in enumerate(self._outlook.renew(now_sec)):
            before, velocities = velocities, self._layout.numbers(command)
            if n == 0:  # the present
                continue
            means = [(one + other) / 2 for one, other in zip(before, velocities, strict=True)]
            places = [p + STEP_SEC * mean for p, mean in zip(places, means, strict=True)]
            message.points.append(
                JointTrajectoryPoint(
                    positions=places,
                    velocities=velocities,
                    time_from_start=messages.to_duration(n * STEP_SEC),
                )
            )
        return message

    def _told(self, now_sec: float) -> list[float]:
        """Where the joints are by what they were told."""
        moved = self._layout.numbers(self._outlook.travelled(self._places_sec, now_sec))
        return [place + more for place, more in zip(self._places, moved, strict=True)]

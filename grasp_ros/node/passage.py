# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What the gate does with the commands, by its status messages.

Whether the robot should have moved depends on whether the gate let it: one that is disarmed, or on
a dry run, makes the picture stand still, and no camera is to blame. No ROS in here: recordings are
judged alike.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

SILENT_SEC = 1.0  # a gate that says nothing for longer passes nothing on


class Passage:
    """The share of each command that the gate passes on; all of it while no gate was ever heard.

    One thread may listen while another one asks.

    :param is_heard: whether anybody listens to the commands; nothing passes to nobody
    :param clock: a steady clock, seconds
    """

    def __init__(
        self,
        is_heard: Callable[[], bool] = lambda: True,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._is_heard = is_heard
        self._clock = clock
        self._heard: tuple[float, float] | None = None

    def hear(self, status: Any) -> None:
        """Take a ``grasp_ros/GateStatus`` into account."""
        share = status.speed_scale if status.state == status.PASSING else 0.0
        self._heard = (float(share), self._clock())

    def share(self) -> float:
        """From 0 to 1, now."""
        if not self._is_heard():
            return 0.0
        heard = self._heard
        if heard is None:
            return 1.0
        share, heard_sec = heard
        return share if self._clock() - heard_sec <= SILENT_SEC else 0.0

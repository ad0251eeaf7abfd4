# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""When a control tick starts: at the control rate, and just after a frame.

A loop that ignores the camera's phase uses frames that are on average half a camera period old.
This one opens a tick on a steady grid, lets it wait a little for the frame that is about to come,
and moves the grid slowly towards the frames, so that soon it no longer waits.
"""

from __future__ import annotations

import math

MARGIN = 0.05  # of a period: how far a frame may come before or after its place on the grid
SLEW = 0.02  # of a period: the most that the grid moves in one tick
LONGEST_WAIT = 0.4  # of a period: then the tick starts with what there is
SHORTEST_GAP = 0.4  # of a period: between two ticks, whatever stalled before the first


class Pacer:
    """Grid of tick times on a steady clock; never bursts after a stall.

    :param period_sec: control period
    :param now_sec: present time; the first tick opens at once
    """

    def __init__(self, *, period_sec: float, now_sec: float) -> None:
        self.period_sec = period_sec
        self._opens_sec = now_sec

    @property
    def opens_sec(self) -> float:
        """When the next tick may start, if a frame has come since :attr:`fresh_after_sec`."""
        return self._opens_sec

    @property
    def fresh_after_sec(self) -> float:
        """A frame that arrived after this is worth starting the next tick for."""
        return self._opens_sec - MARGIN * self.period_sec

    @property
    def latest_sec(self) -> float:
        """When the next tick starts, frame or not."""
        return self._opens_sec + LONGEST_WAIT * self.period_sec

    def started(self, now_sec: float, frame_arrived_sec: float | None) -> int:
        """Note the start of a tick and set the time of the next one.

        :param now_sec: when the tick started
        :param frame_arrived_sec: when its frame arrived; None if it has none
        :return: ticks that were skipped because something stalled
        """
        period = self.period_sec
        # A tick that stalled into the next one's time takes that one's place.
        skipped = max(0, math.floor((now_sec - self._opens_sec) / period + SHORTEST_GAP))
        opens = self._opens_sec + (skipped + 1) * period
        if frame_arrived_sec is not None:
            # Phase of this tick's frame against the grid, in (-1/2, 1/2] periods.
            ahead = frame_arrived_sec - MARGIN * period - self._opens_sec
            phase = ahead - period * round(ahead / period)
            opens += min(max(phase, -SLEW * period), SLEW * period)
        self._opens_sec = opens
        return skipped

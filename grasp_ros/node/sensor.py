# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Decides which messages of a sensor are good: readable, of one publisher, newer than the last."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any

import numpy as np
from builtin_interfaces.msg import Time

from grasp_ros.errors import ObservationError
from grasp_ros.node import messages
from grasp_ros.node.images import stamp_sec
from grasp_ros.node.senders import SEVERAL

FUTURE_SEC = 0.1  # how far the sensor's clock may be ahead of ours
QUIET_SEC = 0.5  # without a rejection: it is good again; without a message: a publisher is gone
MOST_REASONS = 8  # that are logged until all is good again


@dataclass(frozen=True)
class Reading:
    """What a good message holds.

    :param value: a picture, uint8 ``[height, width, 3]``, or signals, float64 ``[P]``
    :param stamp: when it was so, on the ROS clock, exact
    :param stamp_sec: the same in seconds
    :param arrived_sec: on the steady clock
    """

    value: np.ndarray
    stamp: Time
    stamp_sec: float
    arrived_sec: float


class Sensor:
    """One topic of one sensor; costs microseconds a message, and what `read` does.

    :param read: makes a picture or signals of a message, or raises :class:`ObservationError`
    :param noun: what a message is called in the log
    :param now_ns: the ROS clock
    :param logger: of the node
    :param on_set_back: called when the clock has been set back, before the message is taken
    """

    def __init__(
        self,
        read: Callable[[Any], np.ndarray],
        *,
        noun: str,
        now_ns: Callable[[], int],
        logger,
        on_set_back: Callable[[], None],
    ) -> None:
        self.noun = noun
        self._read = read
        self._now_ns = now_ns
        self._logger = logger
        self._on_set_back = on_set_back
        self._newest_sec = -math.inf
        self._source: Hashable | None = None
        self._heard_sec = -math.inf
        self._rejected_sec = -math.inf
        self._reasons: set[str] = set()
        self._reason = ''
        self.rejected = 0

    @property
    def reason(self) -> str:
        """Why the newest message was refused; empty when it was taken."""
        return self._reason

    @property
    def newest_sec(self) -> float:
        """Stamp of the newest message that was taken, -inf before the first."""
        return self._newest_sec

    def take(self, message: Any, source: Hashable | None = None) -> Reading | None:
        """What a message holds; None, counted and logged, when it is no good.

        :param source: which publisher it came from, as of
            :class:`~grasp_ros.node.senders.Senders`
        """
        arrived_sec, now_ns = time.monotonic(), self._now_ns()
        try:
            self._check_source(source, arrived_sec)
            value = self._read(message)
            stamp = message.header.stamp
            if math.isnan(stamp_sec(stamp)):
                stamp = messages.to_time(now_ns)  # no stamp: the time of arrival has to do
            taken_sec = stamp_sec(stamp)
            self._check_stamp(taken_sec, 1e-9 * now_ns)
        except ObservationError as error:
            self._reject(str(error), arrived_sec)
            return None
        if self._reasons and arrived_sec > self._rejected_sec + QUIET_SEC:
            self._reasons.clear()
            self._logger.info(f'{self.noun}s are good again')
        self._reason = ''
        self._newest_sec = taken_sec
        return Reading(value, stamp, taken_sec, arrived_sec)

    def forget(self) -> None:
        """Take stamps of any age again (the clock has jumped back)."""
        self._newest_sec = -math.inf

    def _check_source(self, source: Hashable | None, arrived_sec: float) -> None:
        """One publisher at a time: another is taken only once the one before is silent."""
        is_other = None not in (source, self._source) and source != self._source
        if source is SEVERAL or (is_other and arrived_sec < self._heard_sec + QUIET_SEC):
            raise ObservationError(
                f'a second publisher sends {self.noun}s: remap or stop one of them'
            )
        self._source, self._heard_sec = source, arrived_sec

    def _check_stamp(self, taken_sec: float, now_sec: float) -> None:
        if self._newest_sec > now_sec + FUTURE_SEC:
            # Simulated time tells of a jump by itself; the system's clock does not.
            self._on_set_back()
        if taken_sec > now_sec + FUTURE_SEC:
            raise ObservationError(f'{self.noun} stamped in the future: synchronise the clocks')
        if taken_sec <= self._newest_sec:
            raise ObservationError(f'{self.noun} stamped no later than the one before')

    def _reject(self, reason: str, arrived_sec: float) -> None:
        self.rejected += 1
        self._reason, self._rejected_sec = reason, arrived_sec
        # A fault may take turns with good messages, or with another one: a line for each reason,
        # not for each message.
        if reason not in self._reasons and len(self._reasons) < MOST_REASONS:
            self._reasons.add(reason)
            self._logger.warning(f'{self.noun} rejected: {reason}')

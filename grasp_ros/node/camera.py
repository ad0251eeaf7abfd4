# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Decides which images are frames: readable, of the right size, newer than the last."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Hashable

import numpy as np

from grasp_ros.control.history import Frame
from grasp_ros.errors import ObservationError
from grasp_ros.node import images, messages
from grasp_ros.node.images import stamp_sec
from grasp_ros.node.worker import Arrival
from grasp_ros.world_models.base import ModelCard

FUTURE_SEC = 0.1  # how far the camera's clock may be ahead of ours
QUIET_SEC = 0.5  # without a rejection: images are good again; without a message: a camera is gone
MOST_REASONS = 8  # that are logged until images are good again


class Camera:
    """The one camera of a model; costs microseconds a frame, and what `to_rgb` does.

    :param card: of the model
    :param now_ns: the ROS clock
    :param logger: of the node
    :param to_rgb: makes pictures of messages, as :func:`grasp_ros.node.images.to_rgb` does
    :param on_set_back: called when the clock has been set back, before the frame is taken
    """

    def __init__(
        self,
        card: ModelCard,
        *,
        now_ns: Callable[[], int],
        logger,
        to_rgb: Callable[..., np.ndarray] = images.to_rgb,
        on_set_back: Callable[[], None] = lambda: None,
    ) -> None:
        self._name, self._spec = next(iter(card.cameras.items()))
        self._now_ns = now_ns
        self._logger = logger
        self._to_rgb = to_rgb
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
        """Why the newest image was refused; empty when it was taken."""
        return self._reason

    def take(self, message, source: Hashable | None = None) -> Arrival | None:
        """An image message as a frame; None, counted and logged, when it is none.

        :param source: which publisher it came from, where known
        """
        arrived_sec, now_ns = time.monotonic(), self._now_ns()
        try:
            self._check_source(source, arrived_sec)
            image = self._to_rgb(message, height=self._spec.height, width=self._spec.width)
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
            self._logger.info('images are good again')
        self._reason = ''
        self._newest_sec = taken_sec
        return Arrival(Frame({self._name: image}, taken_sec), stamp, arrived_sec)

    def forget(self) -> None:
        """Take stamps of any age again (the clock has jumped back)."""
        self._newest_sec = -math.inf

    def _check_source(self, source: Hashable | None, arrived_sec: float) -> None:
        """One camera at a time: another is taken only once the one before has fallen silent."""
        if source != self._source and arrived_sec < self._heard_sec + QUIET_SEC:
            raise ObservationError('a second publisher sends images: remap or stop one of them')
        self._source, self._heard_sec = source, arrived_sec

    def _check_stamp(self, taken_sec: float, now_sec: float) -> None:
        if self._newest_sec > now_sec + FUTURE_SEC:
            # Simulated time tells of a jump by itself; the system's clock does not.
            self._on_set_back()
        if taken_sec > now_sec + FUTURE_SEC:
            raise ObservationError('image stamped in the future: synchronise the clocks')
        if taken_sec <= self._newest_sec:
            raise ObservationError('image stamped no later than the one before')

    def _reject(self, reason: str, arrived_sec: float) -> None:
        self.rejected += 1
        self._reason, self._rejected_sec = reason, arrived_sec
        # A fault may take turns with good images, or with another one: a line for each reason,
        # not for each image.
        if reason not in self._reasons and len(self._reasons) < MOST_REASONS:
            self._reasons.add(reason)
            self._logger.warning(f'image rejected: {reason}')

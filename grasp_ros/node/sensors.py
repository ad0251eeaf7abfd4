# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""All sensors of a model: one camera, or several and joint states, matched by their stamps."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Hashable
from functools import partial
from typing import Any

import numpy as np

from grasp_ros.control.history import Frame
from grasp_ros.errors import ObservationError
from grasp_ros.node.joints import JointReader
from grasp_ros.node.sensor import QUIET_SEC, Reading, Sensor
from grasp_ros.node.worker import Arrival
from grasp_ros.world_models.base import ModelCard

JOINTS = 'joint states'  # stands among the names of the cameras, none of which has a blank
KEPT_IMAGES, KEPT_SIGNALS = 8, 256  # until those that go with them have come


class Sensors:
    """Makes frames of messages. For one thread.

    A frame has a reading of each sensor, no two of them further apart than the tolerance; its time
    is that of its oldest image, and no frame is older than the one before.

    :param card: of the model
    :param to_rgb: makes pictures of messages, as :func:`grasp_ros.node.images.to_rgb` does
    :param joints: where the card has proprioception
    :param tolerance_sec: may change at any time
    :param now_ns: the ROS clock
    :param logger: of the node
    :param on_set_back: called when the clock has been set back, before the message is taken
    """

    def __init__(
        self,
        card: ModelCard,
        *,
        to_rgb: Callable[..., np.ndarray],
        joints: JointReader | None = None,
        tolerance_sec: float = 0.0,
        now_ns: Callable[[], int],
        logger,
        on_set_back: Callable[[], None] = lambda: None,
    ) -> None:
        self.tolerance_sec = tolerance_sec
        self._newest: Frame | None = None
        common = {'now_ns': now_ns, 'logger': logger, 'on_set_back': on_set_back}
        self._sensors = {
            name: Sensor(
                partial(to_rgb, height=spec.height, width=spec.width),
                noun='image' if len(card.cameras) == 1 else f'{name} image',
                **common,
            )
            for name, spec in card.cameras.items()
        }
        most = 1 if card.senses_one_picture else KEPT_IMAGES
        self._kept = {name: deque(maxlen=most) for name in card.cameras}
        if joints is not None:
            self._sensors[JOINTS] = Sensor(joints.read, noun='joint state', **common)
            self._kept[JOINTS] = deque(maxlen=KEPT_SIGNALS)
        self._frame_sec = -math.inf
        self.received = 0  # frames

    @property
    def rejected(self) -> int:
        """How many messages were no good."""
        return sum(sensor.rejected for sensor in self._sensors.values())

    @property
    def reason(self) -> str:
        """Why there is no newer frame, as far as it is known; empty when all is well."""
        sensors = self._sensors.values()
        recent_sec = max(sensor.newest_sec for sensor in sensors) - QUIET_SEC
        reasons = [f'{s.noun}s are refused: {s.reason}' for s in sensors if s.reason]
        late = [sensor.noun for sensor in sensors if sensor.newest_sec < recent_sec]
        if late:
            reasons.append(f'no {" and no ".join(late)} as new as the others')
        elif self._frame_sec < recent_sec:
            reasons.append(
                f'stamps are further apart than control.sync_tolerance_sec, {self.tolerance_sec} s'
            )
        return '; '.join(reasons)

    def take(
        self, name: str, message: Any, source: Hashable | None = None
    ) -> Arrival | None:
        """A message, and a frame where that makes a new one.

        :param name: of a camera of the card, or :data:`JOINTS`
        :param source: which publisher it came from, where known
        """
        reading = self._sensors[name].take(message, source)
        if reading is None:
            return None
        self._kept[name].append(reading)
        chosen = self._matching(name, reading)
        if chosen is None:
            return None
        images = {n: r for n, r in chosen.items() if n != JOINTS}
        oldest = min(images.values(), key=lambda image: image.stamp_sec)
        if oldest.stamp_sec <= self._frame_sec:
            return None
        self._frame_sec = oldest.stamp_sec
        frame = Frame(
            {n: image.value for n, image in images.items()},
            oldest.stamp_sec,
            chosen[JOINTS].value if JOINTS in chosen else None,
        )
        self._newest = frame
        self.received += 1
        return Arrival(frame, oldest.stamp, reading.arrived_sec)

    def look(self, *, now_sec: float, timeout_sec: float) -> Frame:
        """What is seen now.

        :param now_sec: ROS clock
        :param timeout_sec: age above which the newest frame is none of now
        :raises ObservationError: when nothing is
        """
        if self._newest is None:
            raise ObservationError(f'nothing has been seen yet; {self.reason}'.rstrip('; '))
        age_sec = now_sec - self._newest.stamp_sec
        if age_sec > timeout_sec:
            raise ObservationError(
                f'the newest image is {age_sec:.2f} s old, control.image_timeout_sec allows '
                f'{timeout_sec} s'
            )
        return self._newest

    def forget(self) -> None:
        """Take stamps of any age again (the clock has jumped back)."""
        for sensor in self._sensors.values():
            sensor.forget()
        for kept in self._kept.values():
            kept.clear()
        self._frame_sec, self._newest = -math.inf, None

    def _matching(self, name: str, reading: Reading) -> dict[str, Reading] | None:
        """What goes with a reading, of each sensor the nearest; None where one is too far off."""
        chosen = {name: reading}
        for other in self._kept.keys() - {name}:
            nearest = min(
                self._kept[other], key=lambda r: abs(r.stamp_sec - reading.stamp_sec), default=None
            )
            if nearest is None:
                return None
            chosen[other] = nearest
        stamps = [r.stamp_sec for r in chosen.values()]
        return chosen if max(stamps) - min(stamps) <= self.tolerance_sec else None

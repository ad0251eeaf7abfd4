# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The embedded world with a camera and a clock that fail when they are told to.

``python -m grasp_ros.reliability.faulty_world`` is ``sim_node`` with two more parameters, `fault`
and `clock`, which may change at any time. With ``use_sim_time`` it publishes ``/clock`` itself, as
a simulator does.
"""

from __future__ import annotations

from grasp_ros.node import spin  # first: where ROS is missing, its error names the cure

# isort: split

import sys
import time
from collections.abc import Callable, Iterable

import numpy as np
from rclpy.parameter import Parameter
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CompressedImage, Image

from grasp_ros.node import images, messages
from grasp_ros.node.sim_node import SimNode
from grasp_ros.reliability import faulty_compression

CLOCK_PERIOD_SEC = 0.01
FLOOD_PERIOD_SEC = 0.001
LOW_RATE = 6  # of so many frames one is left
FAST = 2.0
FORWARD_SEC = 60.0
DARK = 12  # grey levels under a lens cap
START_SEC = 1000.0


class FaultyCamera:
    """Turns each picture into what a camera with a fault sends instead; the names are faults."""

    def __init__(self) -> None:
        self._count = 0
        self._held: Image | None = None

    def spoil(self, fault: str, image: Image) -> Iterable[Image]:
        """What is sent for a picture.

        :param fault: a name out of :data:`FAULTS`, empty for none
        :raises KeyError: for another one
        """
        self._count += 1
        if not fault:
            self._held = None
            return [image]
        return FAULTS[fault](self, image)

    def silence(self, image: Image) -> Iterable[Image]:
        return []

    def freeze(self, image: Image) -> Iterable[Image]:
        """The same picture again and again, freshly stamped."""
        if self._held is None:
            self._held = image
        self._held.header.stamp = image.header.stamp
        return [self._held]

    def covered(self, image: Image) -> Iterable[Image]:
        """What is seen under a lens cap: a little noise."""
        random = np.random.default_rng(self._count)
        pixels = random.integers(0, DARK, image.height * image.step, dtype=np.uint8)
        return [_with_data(image, pixels.tobytes())]

    def drop_frames(self, image: Image) -> Iterable[Image]:
        return [] if self._count % LOW_RATE else [image]

    def swap_frames(self, image: Image) -> Iterable[Image]:
        """Every other frame is sent after the one that follows it."""
        if self._count % 2 == 0:
            return [image]
        older, self._held = self._held, image
        return [] if older is None else [older]

    def stamp_zero(self, image: Image) -> Iterable[Image]:
        image.header.stamp = messages.to_time(0)
        return [image]

    def stamp_ahead(self, image: Image) -> Iterable[Image]:
        image.header.stamp.sec += 10
        return [image]

    def stamp_behind(self, image: Image) -> Iterable[Image]:
        image.header.stamp.sec -= 10
        return [image]

    def stamp_stands(self, image: Image) -> Iterable[Image]:
        """Every picture with the stamp of the first."""
        if self._held is None:
            self._held = image
        image.header.stamp = self._held.header.stamp
        return [image]

    def unknown_encoding(self, image: Image) -> Iterable[Image]:
        image.encoding = 'yuv422_yuy2'
        return [image]

    def big_endian_16_bit(self, image: Image) -> Iterable[Image]:
        pixels = _pixels(image).astype('>u2') << 8
        image.encoding, image.is_bigendian, image.step = 'rgb16', 1, 2 * image.step
        return [_with_data(image, pixels.tobytes())]

    def big_endian_8_bit(self, image: Image) -> Iterable[Image]:
        """Bytes have no order, so this is no fault."""
        image.is_bigendian = 1
        return [image]

    def no_size(self, image: Image) -> Iterable[Image]:
        image.height = image.width = image.step = 0
        return [_with_data(image, b'')]

    def cut_short(self, image: Image) -> Iterable[Image]:
        return [_with_data(image, image.data.tobytes()[:-100])]

    def too_long(self, image: Image) -> Iterable[Image]:
        return [_with_data(image, image.data.tobytes() + bytes(100))]

    def short_rows(self, image: Image) -> Iterable[Image]:
        image.step -= 1
        return [image]

    def padded_rows(self, image: Image) -> Iterable[Image]:
        rows = np.pad(_pixels(image).reshape(image.height, -1), ((0, 0), (0, 5)), 'edge')
        image.step = rows.shape[1]
        return [_with_data(image, rows.tobytes())]

    def bgr(self, image: Image) -> Iterable[Image]:
        image.encoding = 'bgr8'
        return [_with_data(image, _pixels(image)[:, :, ::-1].tobytes())]

    def half_size(self, image: Image) -> Iterable[Image]:
        half = Image(header=image.header)
        images.fill(half, _pixels(image)[::2, ::2])
        return [half]


FAULTS: dict[str, Callable[[FaultyCamera, Image], Iterable[Image]]] = {
    name: method
    for name, method in vars(FaultyCamera).items()
    if not name.startswith('_') and name != 'spoil'
}
FLOOD = 'flood'  # the one fault that has a rate of its own
CLOCKS = ('runs', 'fast', 'stands', 'forward', 'reset')


class FaultyWorld(SimNode):
    """``sim_node`` with the parameters `fault` and `clock`.

    `fault` is empty, ``flood``, a name out of :data:`FAULTS`, or one out of
    :data:`faulty_compression.FAULTS`, which leaves the raw images as they are. `clock` is
    one of :data:`CLOCKS` and works with ``use_sim_time`` alone: ``forward`` jumps by a minute,
    ``reset`` starts anew.
    """

    def __init__(self) -> None:
        self._clock_mode = 'runs'
        self._simulated_sec, self._passed_sec = START_SEC, 0.0
        self._advanced_at_sec = time.monotonic()
        super().__init__()
        self._camera = FaultyCamera()
        self._newest: Image | None = None
        self._fault = self.declare_parameter('fault', '').value
        self._clock_mode = self.declare_parameter('clock', 'runs').value
        self.add_post_set_parameters_callback(self._on_change)
        self._flood = self.create_timer(
            FLOOD_PERIOD_SEC, self._send_again, clock=spin.STEADY_CLOCK, autostart=False
        )
        if self.get_parameter('use_sim_time').value:
            self._clock_publisher = self.create_publisher(Clock, '/clock', 10)
            self.create_timer(CLOCK_PERIOD_SEC, self._tick, clock=spin.STEADY_CLOCK)

    def world_sec(self) -> float:
        """The world goes as fast as its clock; a jump of the clock moves nothing."""
        self._pass()
        return self._passed_sec

    def send_image(self, image: Image) -> None:
        """Publish what the fault makes of a picture."""
        if self._clock_mode == 'stands':
            return  # a simulator that pauses draws nothing
        self._newest = image
        fault = '' if self._fault in faulty_compression.FAULTS else self._fault
        if fault != FLOOD:
            for spoilt in self._camera.spoil(fault, image):
                super().send_image(spoilt)

    def send_compressed(self, image: CompressedImage) -> None:
        """Publish what the fault makes of a compressed picture."""
        spoil = faulty_compression.FAULTS.get(self._fault)
        if spoil is not None:
            _with_data(image, spoil(image.data.tobytes()))
        super().send_compressed(image)

    def _send_again(self) -> None:
        if self._newest is not None:
            self._newest.header.stamp = self.get_clock().now().to_msg()
            super().send_image(self._newest)

    def _tick(self) -> None:
        """Publish the simulated time."""
        self._pass()
        stamp = messages.to_time(int(1e9 * self._simulated_sec))
        self._clock_publisher.publish(Clock(clock=stamp))

    def _pass(self) -> None:
        """Let time pass, at the clock's rate, as much as has since the last call."""
        now_sec = time.monotonic()
        elapsed_sec, self._advanced_at_sec = now_sec - self._advanced_at_sec, now_sec
        elapsed_sec *= {'fast': FAST, 'stands': 0.0}.get(self._clock_mode, 1.0)
        self._passed_sec += elapsed_sec
        self._simulated_sec += elapsed_sec

    def _on_change(self, changed: list[Parameter]) -> None:
        for parameter in changed:
            if parameter.name == 'fault':
                self._fault = parameter.value
                if self._fault == FLOOD:
                    self._flood.reset()
                else:
                    self._flood.cancel()
            elif parameter.name == 'clock':
                self._clock_mode = parameter.value
                if parameter.value == 'forward':
                    self._simulated_sec += FORWARD_SEC
                elif parameter.value == 'reset':
                    self._simulated_sec = START_SEC


def _pixels(image: Image) -> np.ndarray:
    return np.frombuffer(image.data, np.uint8).reshape(image.height, image.width, 3)


def _with_data(image: Image | CompressedImage, data: bytes) -> Image | CompressedImage:
    del image.data[:]
    image.data.frombytes(data)
    return image


def main(args: list[str] | None = None) -> int:
    """Run the node until a signal."""
    return spin.run(FaultyWorld, args)


if __name__ == '__main__':
    sys.exit(main())

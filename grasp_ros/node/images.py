# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Raw ROS images to numpy, strictly: what does not fit is refused with the reason."""

from __future__ import annotations

import math
import sys

import numpy as np

from grasp_ros.errors import ObservationError

# encoding -> channels in memory, and the slice of them that is red, green, blue
_RGB, _BGR = slice(0, 3), slice(2, None, -1)
_ENCODINGS = {
    'rgb8': (3, _RGB),
    'bgr8': (3, _BGR),
    'rgba8': (4, _RGB),
    'bgra8': (4, _BGR),
    'mono8': (1, _RGB),
    # The OpenCV names say nothing about colours; cv_bridge means bgr by them.
    '8UC1': (1, _RGB),
    '8UC3': (3, _BGR),
    '8UC4': (4, _BGR),
}
LARGEST_SIDE = 16384


def to_rgb(message, *, height: int | None = None, width: int | None = None) -> np.ndarray:
    """The picture of a ``sensor_msgs/Image``: uint8 ``[height, width, 3]``, rgb.

    Costs microseconds: the result is a view of the message where the encoding allows it.

    :param message: rows may be padded; 8 bit encodings with rgb, bgr, an alpha or grey alone
    :param height: pixels that the picture must have, None for any
    :param width: likewise
    :raises ObservationError: naming what is wrong with the message
    """
    if message.encoding not in _ENCODINGS:
        raise ObservationError(
            f'image encoding "{message.encoding}" is not among {", ".join(_ENCODINGS)}'
        )
    channels, order = _ENCODINGS[message.encoding]
    rows, columns, step = message.height, message.width, message.step
    if not (0 < rows <= LARGEST_SIDE and 0 < columns <= LARGEST_SIDE):
        raise ObservationError(f'image of {columns}x{rows} pixels')
    if height is not None and width is not None and (rows, columns) != (height, width):
        raise ObservationError(
            f'image of {columns}x{rows} pixels, the model needs {width}x{height}: '
            'resize it before, e.g. with image_proc'
        )
    if step < columns * channels:
        raise ObservationError(
            f'image step {step} is less than width {columns} times {channels} channels'
        )
    if len(message.data) != step * rows:
        raise ObservationError(
            f'image data of {len(message.data)} bytes, step {step} times height {rows} '
            f'makes {step * rows}'
        )
    pixels = np.frombuffer(message.data, dtype=np.uint8).reshape(rows, step)
    pixels = pixels[:, : columns * channels].reshape(rows, columns, channels)
    if channels == 1:
        return np.broadcast_to(pixels, (rows, columns, 3))
    return pixels[:, :, order]


def fill(message, picture: np.ndarray) -> None:
    """Write a picture into a ``sensor_msgs/Image``; header and stamp are left to the caller.

    :param picture: uint8 ``[height, width, 3]``, rgb
    """
    picture = np.ascontiguousarray(picture, dtype=np.uint8)
    message.height, message.width = picture.shape[:2]
    message.encoding = 'rgb8'
    message.is_bigendian = int(sys.byteorder == 'big')
    message.step = 3 * message.width
    # Assigning an array to `data` is slow: every byte is checked. This copies the memory.
    del message.data[:]
    message.data.frombytes(memoryview(picture).cast('B'))


def stamp_sec(stamp) -> float:
    """Seconds of a ``builtin_interfaces/Time``; NaN for the zero stamp, which means "not set"."""
    if stamp.sec == 0 and stamp.nanosec == 0:
        return math.nan
    return stamp.sec + 1e-9 * stamp.nanosec

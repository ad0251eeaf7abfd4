# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Row 7 of the fault table: compressed images that are none."""

from __future__ import annotations

from grasp_ros.reliability.camera_faults import COUNTED_SEC, counted
from grasp_ros.reliability.faulty_compression import FAULTS, HUGE_SIDE
from grasp_ros.reliability.robot import Robot
from grasp_ros.reliability.scenario import Reaction, scenario

PROMISE = (
    'rejected with the reason and counted; never a crash, nothing huge is decoded; good ones are '
    'taken again'
)
MEASURED = 'fault → first statistics that count it, the slowest of them'
HUGE = f'of {HUGE_SIDE}x{HUGE_SIDE} pixels, the model needs 64x64'
NEITHER = 'compressed image of format "rgb8; {} compressed bgr8" is neither a JPEG nor a PNG'
BAD_JPEG = {
    'truncated': 'broken JPEG: image file is truncated',
    'damaged': 'broken JPEG: broken data stream when reading image file',
    'not_a_picture': NEITHER.format('jpeg'),
    'huge': f'JPEG {HUGE}',
}
BAD_PNG = {
    'truncated': 'broken PNG: Truncated File Read',
    'damaged': 'broken PNG: broken PNG file',
    'not_a_picture': NEITHER.format('png'),
    'huge': f'PNG {HUGE}',
}


@scenario(
    7, fault=f'broken JPEGs, {len(FAULTS)} kinds: truncated, damaged, another content, huge',
    robot='compressed', bound_sec=COUNTED_SEC, promise=PROMISE, measured=MEASURED,
)  # fmt: skip
def broken_jpeg(robot: Robot) -> Reaction:
    robot.change('sim_node', sim__compressed_format='jpeg')
    # This is about what is refused; the robot shall drive on whatever the model makes of the rest.
    robot.change(control__unforeseen_frames=0)
    return counted(robot, BAD_JPEG)


@scenario(
    7, fault=f'broken PNGs, the same {len(FAULTS)} kinds',
    robot='compressed', bound_sec=COUNTED_SEC, promise=PROMISE, measured=MEASURED,
)  # fmt: skip
def broken_png(robot: Robot) -> Reaction:
    return counted(robot, BAD_PNG)

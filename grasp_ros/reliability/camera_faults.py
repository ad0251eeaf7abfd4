# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Rows 1 to 6, 22 and 28 of the fault table: what a camera can do wrong."""

from __future__ import annotations

import math
import signal

import numpy as np
from lifecycle_msgs.msg import Transition
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import Image

from grasp_ros.msg import SolverStatistics
from grasp_ros.node.images import fill
from grasp_ros.reliability.rig import Result, speed
from grasp_ros.reliability.robot import (
    DEFAULTS,
    ERROR,
    IMAGE_TIMEOUT_SEC,
    PERIOD_SEC,
    WARN,
    Robot,
    at_sec,
    drives,
    moves,
)
from grasp_ros.reliability.scenario import Reaction, require, scenario

STALE_SEC = IMAGE_TIMEOUT_SEC + PERIOD_SEC
RESUME_SEC = 2 * PERIOD_SEC
# The first wrong frame may come right after a tick, and a stop has to be sent.
FROZEN_SEC, COVERED_SEC = (
    (DEFAULTS[f'control.{name}_frames'] + 2) * PERIOD_SEC for name in ('frozen', 'unforeseen')
)
COUNTED_SEC = IMAGE_TIMEOUT_SEC  # before it could matter
LAST_IMAGE = 'stamp of the last image → safe command at the robot'


def image_sec(report: SolverStatistics) -> float:
    """Stamp of the frame that a tick was computed from."""
    stamp = report.image_stamp
    return stamp.sec + 1e-9 * stamp.nanosec


@scenario(
    1, fault='no image ever arrives', robot='robot', bound_sec=2 * PERIOD_SEC,
    promise='safe command at the control rate, no solve, diagnostics ERROR "not received"',
    measured='activation → first safe command of the controller',
)  # fmt: skip
def no_image(robot: Robot) -> Reaction:
    robot.spoil('silence')
    require(robot.change_state(Transition.TRANSITION_DEACTIVATE), 'the controller deactivates')
    started_sec = robot.now_sec()
    require(robot.change_state(Transition.TRANSITION_ACTIVATE), 'the controller activates')
    first = robot.report(SolverStatistics.NO_IMAGE, after_sec=started_sec)
    start_sec = robot.watch(1.0)
    reports = robot.between('solver_statistics', start_sec, start_sec + 1.0)
    actions = robot.between('action', start_sec, start_sec + 1.0)
    require(len(reports) >= 9 and len(actions) >= 9, f'{len(reports)} safe commands in 1 s')
    require(not any(map(speed, actions)), 'only safe commands')
    require(not any(r.iterations for r in reports), 'nothing is solved')
    require(all(math.isnan(r.image_age_sec) for r in reports), 'the age of no image is unknown')
    seen = robot.logged('mpc_node', 'no image has arrived')
    shown = robot.diagnosed('camera', ERROR, 'NotReceived')
    return Reaction(at_sec(first) - started_sec, ('status NO_IMAGE', seen, shown))


@scenario(
    2, fault='the camera stops', robot='robot', bound_sec=STALE_SEC,
    promise='safe command within image_timeout + T', measured=LAST_IMAGE,
)  # fmt: skip
def camera_stops(robot: Robot) -> Reaction:
    robot.set_off()
    robot.spoil('silence')
    return _stale(robot)


@scenario(
    2, fault='the camera process hangs (SIGSTOP)', robot='robot', bound_sec=STALE_SEC,
    promise='safe command within image_timeout + T', measured=LAST_IMAGE,
)  # fmt: skip
def camera_hangs(robot: Robot) -> Reaction:
    robot.set_off()
    camera = robot.processes['sim_node']
    camera.send_signal(signal.SIGSTOP)
    try:
        return _stale(robot)
    finally:
        camera.send_signal(signal.SIGCONT)


def _stale(robot: Robot) -> Reaction:
    report = robot.report(SolverStatistics.STALE_IMAGE)
    stop_sec = robot.stop(after_sec=image_sec(report))
    seen = robot.logged('mpc_node', 'the newest image is too old')
    shown = robot.diagnosed('camera', ERROR, 'Timeout')
    return Reaction(stop_sec - image_sec(report), ('status STALE_IMAGE', seen, shown))


@scenario(
    2, fault='the camera is back after a short outage', robot='robot', bound_sec=RESUME_SEC,
    promise='resumes by itself, within 2 T of the first good frame',
    measured='stamp of the first image → motion',
)  # fmt: skip
def short_outage(robot: Robot) -> Reaction:
    robot.set_off()
    robot.listen_to_camera()
    robot.spoil('silence')
    stale_sec = at_sec(robot.report(SolverStatistics.STALE_IMAGE))
    robot.spoil('')
    back_sec = at_sec(robot.first('image_raw', after_sec=stale_sec))
    moving = robot.first('cmd_vel', moves, after_sec=back_sec, what='motion')
    seen = robot.logged('mpc_node', 'new plan', times=2)
    return Reaction(at_sec(moving) - back_sec, (seen,))


@scenario(
    2, fault='the camera is back after an outage longer than goal.fault_timeout', robot='robot',
    promise='the goal has ended with NO_IMAGE; nothing moves before a new goal comes',
    measured='stamp of the last image → result, less goal.fault_timeout (1 s here)',
    bound_sec=STALE_SEC + PERIOD_SEC,
)  # fmt: skip
def long_outage(robot: Robot) -> Reaction:
    robot.change(goal__fault_timeout_sec=1.0)
    handle = robot.set_off()
    robot.spoil('silence')
    lost_sec = image_sec(robot.report(SolverStatistics.STALE_IMAGE))
    _, result = robot.result(handle)
    ended_sec = robot.now_sec()
    require(result.code == Result.NO_IMAGE, f'the result is {result.code}: {result.reason}')
    robot.spoil('')
    robot.report(SolverStatistics.NO_GOAL, after_sec=ended_sec)
    back_sec = robot.watch(0.5)
    moved = [c for c in robot.between('cmd_vel', ended_sec, math.inf) if speed(c)]
    require(not moved, f'{len(moved)} commands move the robot, {back_sec - lost_sec:.1f} s later')
    robot.set_off()
    return Reaction(ended_sec - lost_sec - 1.0, ('result NO_IMAGE', 'status NO_GOAL'))


@scenario(
    3, fault='five of six frames are dropped (5 Hz)', robot='robot', bound_sec=2 * PERIOD_SEC,
    promise='newest frame only; the warm start is shifted by the steps that elapsed; WARN with '
    'the rate',
    measured='largest age of a frame that a plan was made from, at the start of its tick',
)  # fmt: skip
def dropped_frames(robot: Robot) -> Reaction:
    robot.place(0.25, 0.1)
    robot.set_off()
    robot.spoil('drop_frames')
    start_sec = robot.watch(2.0)
    # The first frame has its predecessor from before the fault.
    solved = [
        r for r in robot.between('solver_statistics', start_sec + 0.3, math.inf)
        if r.status == SolverStatistics.SOLVED
    ]  # fmt: skip
    require(len(solved) >= 5, f'{len(solved)} plans in 1.7 s')
    for before, after in zip(solved, solved[1:], strict=False):
        elapsed = round((image_sec(after) - image_sec(before)) / PERIOD_SEC)
        require(elapsed > 1, 'frames are missing')
        # Plans begin where their first command takes effect.
        elapsed += (after.latency_sec - before.latency_sec) / PERIOD_SEC
        require(
            abs(after.shift_steps - elapsed) < 0.51,
            f'a warm start shifted by {after.shift_steps}, {elapsed:.2f} steps have elapsed',
        )
    shown = robot.diagnosed('camera', WARN, 'the controller needs 10.0 Hz')
    return Reaction(max(r.image_age_sec for r in solved), ('statistics shift_steps', shown))


@scenario(
    4, fault='the camera floods at up to 1 kHz', robot='robot', bound_sec=2 * PERIOD_SEC,
    promise='newest wins, memory bounded, control rate kept, the node stays answerable',
    measured='largest age of an image when its command was sent',
)  # fmt: skip
def flood(robot: Robot) -> Reaction:
    robot.place(0.25, 0.1)
    robot.set_off()
    before_kb = robot.memory_kb('mpc_node')
    robot.spoil('flood')
    start_sec = robot.watch(1.5)
    asked_sec = robot.now_sec()
    robot.get_parameter('planner.horizon')
    answered_sec = robot.now_sec() - asked_sec
    require(answered_sec < 1.0, f'a parameter is read after {answered_sec:.2f} s')
    reports = robot.between('solver_statistics', start_sec, start_sec + 1.5)
    require(len(reports) >= 13, f'{len(reports)} ticks in 1.5 s')
    require(all(map(drives, reports)), 'the robot drives on')
    grown_kb = robot.memory_kb('mpc_node') - before_kb
    require(grown_kb < 20_000, f'memory has grown by {grown_kb} kB')
    return Reaction(max(r.image_to_action_sec for r in reports), ('statistics image_age_sec',))


@scenario(
    5, fault='images are stamped 10 s ahead', robot='robot', bound_sec=STALE_SEC,
    promise='rejected with the reason and counted; safe command within image_timeout + T; '
    'resumes by itself',
    measured=LAST_IMAGE,
)  # fmt: skip
def stamps_ahead(robot: Robot) -> Reaction:
    robot.set_off()
    before = robot.first('solver_statistics', after_sec=robot.now_sec()).frames_rejected
    robot.spoil('stamp_ahead')
    reaction = _stale(robot)
    report = robot.first('solver_statistics', after_sec=robot.now_sec())
    counted = report.frames_rejected - before
    require(counted >= 8, f'{counted} frames of half a second are counted as rejected')
    seen = robot.logged('mpc_node', 'image rejected: image stamped in the future')
    robot.spoil('')
    robot.first('cmd_vel', moves, after_sec=at_sec(report), what='motion')
    back = robot.logged('mpc_node', 'images are good again')
    return Reaction(reaction.seconds, (*reaction.seen, 'statistics frames_rejected', seen, back))


@scenario(
    5, fault='images out of order, with the stamp of the last, or 10 s old', robot='robot',
    promise='rejected with the reason and counted; the robot drives on with what is good',
    measured='fault → first statistics that count it, the slowest of three',
    bound_sec=COUNTED_SEC,
)  # fmt: skip
def stamps_not_newer(robot: Robot) -> Reaction:
    reason = 'image stamped no later than the one before'
    return counted(robot, dict.fromkeys(('swap_frames', 'stamp_stands', 'stamp_behind'), reason))


@scenario(
    5, fault='images without a stamp', robot='robot', bound_sec=2 * PERIOD_SEC,
    promise='the time of arrival counts; the robot drives on',
    measured='largest age of an image when its command was sent',
)  # fmt: skip
def stamps_of_zero(robot: Robot) -> Reaction:
    robot.place(0.25, 0.1)
    robot.set_off()
    robot.spoil('stamp_zero')
    start_sec = robot.watch(0.5)
    reports = robot.between('solver_statistics', start_sec, math.inf)
    require(reports and all(map(drives, reports)), 'the robot drives on')
    require(min(map(image_sec, reports)) > start_sec - 1.0, 'images are stamped by arrival')
    return Reaction(max(r.image_to_action_sec for r in reports), ('statistics image_stamp',))


BAD = {
    'unknown_encoding': 'image encoding "yuv422_yuy2" is not among',
    'big_endian_16_bit': 'image encoding "rgb16" is not among',
    'no_size': 'image of 0x0 pixels',
    'cut_short': 'image data of 12188 bytes, step 192 times height 64 makes 12288',
    'too_long': 'image data of 12388 bytes, step 192 times height 64 makes 12288',
    'short_rows': 'image step 191 is less than width 64 times 3 channels',
    'half_size': 'image of 32x32 pixels, the model needs 64x64',
}


@scenario(
    6, fault=f'malformed images, {len(BAD)} kinds, among them a change of resolution',
    robot='robot', bound_sec=COUNTED_SEC,
    promise='rejected with the reason and counted; never a crash; good ones are taken again',
    measured='fault → first statistics that count it, the slowest of them',
)  # fmt: skip
def malformed_images(robot: Robot) -> Reaction:
    return counted(robot, BAD)


def counted(robot: Robot, faults: dict[str, str]) -> Reaction:
    """Faults one after the other, with good images between them; name -> the reason logged."""
    robot.place(0.25, 0.1)
    # Under way for as long as all of them take, on a busy machine too.
    robot.change(goal__no_progress_sec=0.0)
    robot.change('gate_node', gate__speed_scale=0.1)
    robot.set_off()
    slowest_sec = 0.0
    for fault in faults:
        before = robot.first('solver_statistics', after_sec=robot.now_sec()).frames_rejected
        start_sec = robot.now_sec()
        robot.spoil(fault)
        report = robot.first(
            'solver_statistics',
            lambda r, n=before: r.frames_rejected > n,
            after_sec=start_sec,
            what=f'frames rejected by {fault}',
        )
        slowest_sec = max(slowest_sec, at_sec(report) - start_sec)
        robot.spoil('')
        good_sec = robot.now_sec()
        robot.first(
            'solver_statistics',
            lambda r, t=good_sec: image_sec(r) > t and drives(r),
            what=f'good images after {fault}',
        )
    for reason in set(faults.values()):
        robot.logged('mpc_node', f'image rejected: {reason}')
    back = 'images are good again'
    lines = robot.wait_for(lambda: robot.log('mpc_node').count(back), f'"{back}" in the log')
    # Once, unless the machine is so slow that good images lasted for long between two faults.
    require(lines <= len(faults), f'"{back}" is logged {lines} times for {len(faults)} faults')
    robot.first('cmd_vel', moves, after_sec=robot.now_sec(), what='motion')
    return Reaction(
        slowest_sec,
        ('statistics frames_rejected', 'log "image rejected: …" once', f'log "{back}"'),
    )


@scenario(
    6, fault='padded rows, another order of colours, big-endian bytes', robot='robot',
    promise='converted: the same picture gives the same latent, to the last bit',
    measured='fault → first statistics of such a frame, the slowest of three',
    bound_sec=RESUME_SEC,
)  # fmt: skip
def unusual_images(robot: Robot) -> Reaction:
    robot.enable(False)  # the robot stays where it is, so all pictures are the same
    robot.send_goal(robot.goal_image(0.75, 0.3))
    known = robot.first('solver_statistics', drives, what='a plan').goal_distance
    slowest_sec = 0.0
    for fault in ('padded_rows', 'bgr', 'big_endian_8_bit'):
        start_sec = robot.now_sec()
        robot.spoil(fault)
        spoilt_sec = robot.now_sec()
        report = robot.first(
            'solver_statistics',
            lambda r, t=spoilt_sec: image_sec(r) > t,
            after_sec=start_sec,
            what=f'frames with {fault}',
        )
        require(
            drives(report) and report.goal_distance == known,
            f'{fault}: distance {report.goal_distance}, not {known}: {report.status_text}',
        )
        slowest_sec = max(slowest_sec, at_sec(report) - spoilt_sec)
    return Reaction(slowest_sec, ('statistics goal_distance',))


@scenario(
    22, fault='a second camera publishes on the same topic', robot='robot',
    promise='its frames are rejected with the reason and counted; the robot drives on',
    measured='largest age of an image when its command was sent', bound_sec=2 * PERIOD_SEC,
)  # fmt: skip
def two_cameras(robot: Robot) -> Reaction:
    robot.place(0.25, 0.1)
    robot.set_off()
    before = robot.first('solver_statistics', after_sec=robot.now_sec()).frames_rejected
    with robot.publishing(Image, 'image_raw', qos_profile_sensor_data) as publisher:
        picture = Image()
        fill(picture, np.full((64, 64, 3), 128, np.uint8))
        start_sec = robot.now_sec()

        def intrude() -> bool:
            picture.header.stamp = robot.client.get_clock().now().to_msg()
            publisher.publish(picture)
            return robot.now_sec() > start_sec + 1.0

        robot.wait_for(intrude, 'the time to pass')
    reports = robot.between('solver_statistics', start_sec, start_sec + 1.0)
    require(reports[-1].frames_rejected > before, 'foreign frames are counted as rejected')
    require(all(map(drives, reports)), 'the robot drives on')
    seen = robot.logged('mpc_node', 'image rejected: a second publisher')
    back = robot.logged('mpc_node', 'images are good again')
    return Reaction(
        max(r.image_to_action_sec for r in reports), ('statistics frames_rejected', seen, back)
    )


@scenario(
    28, fault='the camera sends the same picture again and again, freshly stamped',
    robot='robot', bound_sec=FROZEN_SEC, measured='fault → safe command at the robot',
    promise='stopped after control.frozen_frames; the goal ends with FROZEN_IMAGE; drives again '
    'with a new goal, and only then',
)  # fmt: skip
def frozen_frames(robot: Robot) -> Reaction:
    return _seen(robot, 'freeze', SolverStatistics.FROZEN_IMAGE, Result.FROZEN_IMAGE)


@scenario(
    28, fault='the lens is covered: noise in the dark', robot='robot', bound_sec=COVERED_SEC,
    promise='stopped after control.unforeseen_frames; the goal ends with UNFORESEEN; drives '
    'again with a new goal, and only then',
    measured='fault → safe command at the robot',
)  # fmt: skip
def covered_lens(robot: Robot) -> Reaction:
    return _seen(robot, 'covered', SolverStatistics.UNFORESEEN, Result.UNFORESEEN)


def _seen(robot: Robot, fault: str, status: int, code: int) -> Reaction:
    """A camera that goes wrong on the way, its stamps being fresh all the time."""
    robot.place(0.25, 0.1)
    handle = robot.set_off()
    robot.watch(5 * PERIOD_SEC)  # at full speed
    start_sec = robot.now_sec()
    robot.spoil(fault)
    report = robot.report(status, after_sec=start_sec)
    stop_sec = robot.stop(after_sec=start_sec)
    _, result = robot.result(handle)
    require(result.code == code, f'the result is {result.code}: {result.reason}')
    seen = robot.logged('mpc_node', report.status_text.split(':')[1].strip())
    robot.spoil('')
    robot.watch(5 * PERIOD_SEC)
    moved = [c for c in robot.between('cmd_vel', stop_sec, math.inf) if speed(c)]
    require(not moved, f'{len(moved)} commands move the robot')
    robot.set_off()
    return Reaction(stop_sec - start_sec, ('status and result with the reason', seen))

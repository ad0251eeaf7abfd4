# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Rows 18, 20, 21 and 22 of the fault table at the gate; the scenario plays the controller."""

from __future__ import annotations

import math
import signal
from collections.abc import Iterator
from contextlib import contextmanager

from geometry_msgs.msg import TwistStamped
from rclpy.event_handler import PublisherEventCallbacks, SubscriptionEventCallbacks
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy

from grasp_ros.msg import GateStatus
from grasp_ros.node import messages
from grasp_ros.reliability.rig import speed
from grasp_ros.reliability.robot import (
    DEFAULTS,
    PERIOD_SEC,
    Robot,
    at_sec,
    moves,
    rests,
)
from grasp_ros.reliability.scenario import Reaction, require, scenario
from grasp_ros.reliability.solver_faults import WATCHDOG_SEC
from grasp_ros.reliability.watcher import STAMPED_SEC

SEND_SEC = 0.05
FORWARD = (0.3, 0.1, 0.0, 0.0, 0.0, 0.0)
READY_SEC = 5.0
_NEWEST = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE)


class Controller:
    """Sends one command at a fixed rate, as a controller does, as long as the client spins.

    :param robot: whose gate gets it
    :param publisher: of ``action``
    """

    def __init__(self, robot: Robot, publisher) -> None:
        self.command: tuple[float, ...] | None = FORWARD
        self._robot = robot
        self._publisher = publisher

    def send(self, command: tuple[float, ...] | None = None, *, age_sec: float = 0.0) -> float:
        """Send a command once; when, ROS time.

        :param age_sec: how much older than the present its stamp is; NaN for no stamp
        """
        now_sec = self._robot.now_sec()
        stamp_ns = 0 if math.isnan(age_sec) else int(1e9 * (now_sec - age_sec))
        command = command or self.command
        if command is not None:
            self._publisher.publish(messages.twist(command, messages.to_time(stamp_ns), ''))
        return now_sec


@contextmanager
def controller(robot: Robot) -> Iterator[Controller]:
    """A controller that drives; what it sends passes the gate."""
    with robot.publishing(TwistStamped, 'action', _NEWEST) as publisher:
        sender = Controller(robot, publisher)
        # Not the bound method: an executor may hand it a TimerInfo as the command.
        timer = robot.client.create_timer(SEND_SEC, lambda: sender.send())
        try:
            robot.first('cmd_vel', moves, after_sec=robot.now_sec(), what='motion')
            robot.gate(GateStatus.REASON_NONE)
            yield sender
        finally:
            robot.client.destroy_timer(timer)


@scenario(
    18, fault='a command out of bounds', robot='gate', bound_sec=PERIOD_SEC,
    promise='limited, its direction kept, counted', measured='command → limited at the robot',
)  # fmt: skip
def out_of_bounds(robot: Robot) -> Reaction:
    with controller(robot) as sender:
        before = robot.first('gate_status').limited
        sender.command = (30.0, 40.0, 0.0, 0.0, 0.0, 9.0)
        sent_sec = sender.send()
        limited = robot.first('cmd_vel', lambda c: c.twist.angular.z > 0, what='a limited command')
        status = robot.first('gate_status', after_sec=at_sec(limited))
    linear, angular = limited.twist.linear, limited.twist.angular
    require(math.isclose(speed(limited), DEFAULTS['gate.max_linear']), 'the speed is limited')
    require(math.isclose(linear.y / linear.x, 4 / 3), 'the direction is kept')
    require(angular.z == DEFAULTS['gate.max_angular'], 'the turn is limited')
    require(status.limited > before, 'it is counted')
    return Reaction(at_sec(limited) - sent_sec, ('gate limited',))


@scenario(
    18, fault='commands jump from full speed forward to backward', robot='gate',
    promise='never over the acceleration limit (2 m/s² here); counted', bound_sec=PERIOD_SEC,
    measured='jump → new speed, less the 0.3 s that the limit takes',
)  # fmt: skip
def jump(robot: Robot) -> Reaction:
    robot.change('gate_node', gate__max_linear_acceleration=2.0)
    with controller(robot) as sender:
        sender.command = (0.3, 0.0, 0.0, 0.0, 0.0, 0.0)
        robot.first('cmd_vel', lambda c: c.twist.linear.x == 0.3, after_sec=robot.now_sec())
        before = robot.first('gate_status', after_sec=robot.now_sec()).limited
        sender.command = (-0.3, 0.0, 0.0, 0.0, 0.0, 0.0)
        sent_sec = sender.send()
        turned = robot.first(
            'cmd_vel', lambda c: c.twist.linear.x == -0.3, after_sec=sent_sec, what='a reversal'
        )
        status = robot.first('gate_status', after_sec=at_sec(turned))
    sent = robot.between('cmd_vel', sent_sec, at_sec(turned))
    for one, other in zip(sent, sent[1:]):
        change = abs(other.twist.linear.x - one.twist.linear.x)
        most = 2.0 * (at_sec(other) - at_sec(one) + STAMPED_SEC)
        require(change <= most, f'a change of {change:.3f} m/s, {most:.3f} m/s is allowed')
    require(status.limited > before, 'it is counted')
    return Reaction(at_sec(turned) - sent_sec - 0.3, ('gate limited',))


@scenario(
    18, fault='commands stop, and stops have a deceleration limit (1 m/s² here)', robot='gate',
    promise='the robot is slowed down at that rate, not stopped dead',
    measured='last command → zero, less the ramp', bound_sec=WATCHDOG_SEC,
)  # fmt: skip
def ramped_stop(robot: Robot) -> Reaction:
    robot.change('gate_node', gate__linear_deceleration=1.0)
    robot.watcher.limits.deceleration = 1.0
    with controller(robot) as sender:
        sender.command = None
        last_sec = sender.send((0.3, 0.0, 0.0, 0.0, 0.0, 0.0))
        stop_sec = at_sec(robot.first('cmd_vel', rests, after_sec=last_sec, what='a stop'))
    ramp = robot.between('cmd_vel', last_sec, stop_sec)
    require(sum(0 < speed(c) < 0.29 for c in ramp) >= 5, 'the robot is slowed down')
    return Reaction(stop_sec - last_sec - 0.3, ('gate COMMAND_TIMEOUT',))


@scenario(
    22, fault='commands that are NaN, infinite, without stamp, old, or from the future',
    robot='gate', bound_sec=PERIOD_SEC,
    promise='refused with the reason and counted; safe command until a good one comes',
    measured='bad command → zero at the robot, the slowest of five',
)  # fmt: skip
def malformed_commands(robot: Robot) -> Reaction:
    nan = (math.nan, *FORWARD[1:])
    bad = {
        'is not finite': {'command': nan},
        'inf': {'command': (*FORWARD[:5], math.inf)},
        'its stamp is zero': {'age_sec': math.nan},
        's ago, more than': {'age_sec': 5.0},
        's in the future': {'age_sec': -5.0},
    }
    slowest_sec = 0.0
    with controller(robot) as sender:
        for reason, values in bad.items():
            before = robot.first('gate_status', after_sec=robot.now_sec()).rejected
            sent_sec = sender.send(**values)
            stop = robot.first('cmd_vel', rests, after_sec=sent_sec, what='a stop')
            slowest_sec = max(slowest_sec, at_sec(stop) - sent_sec)
            status = robot.gate(GateStatus.REASON_COMMAND_INVALID, after_sec=sent_sec)
            require(reason in status.text, f'"{reason}" is in "{status.text}"')
            require(status.rejected == before + 1, 'it is counted')
            robot.first('cmd_vel', moves, after_sec=at_sec(stop), what='motion')
    robot.logged('gate_node', 'the newest command was refused', times=len(bad))
    return Reaction(slowest_sec, ('gate COMMAND_INVALID, rejected', 'log "refused" once each'))


@scenario(
    22, fault='a second controller sends commands', robot='gate', bound_sec=PERIOD_SEC,
    promise='foreign commands refused and counted; safe command until a re-arm, and again as '
    'long as both send',
    measured='its first command → zero at the robot',
)  # fmt: skip
def two_controllers(robot: Robot) -> Reaction:
    with controller(robot) as sender:
        before = robot.first('gate_status', after_sec=robot.now_sec()).rejected
        with robot.publishing(TwistStamped, 'action', _NEWEST) as publisher:
            other = Controller(robot, publisher)
            sent_sec = other.send()
            stop = robot.first('cmd_vel', rests, after_sec=sent_sec, what='a stop')
            status = robot.gate(GateStatus.REASON_CONTROLLER_RESTARTED, after_sec=sent_sec)
            require(status.rejected > before, 'it is counted')
            robot.enable()
            robot.first('gate_status', after_sec=robot.now_sec())
            again_sec = other.send()
            robot.gate(GateStatus.REASON_CONTROLLER_RESTARTED, after_sec=again_sec)
        robot.watch(3 * SEND_SEC)
        require(speed(robot.heard['cmd_vel'][-1]) == 0.0, 'nothing passes without a re-arm')
        robot.enable()
        robot.first('cmd_vel', moves, after_sec=robot.now_sec(), what='motion')
        sender.command = (0.0,) * 6
    seen = 'log "another controller sends commands: call the service `enable`"'
    robot.logged('gate_node', seen[5:-1], times=2)
    return Reaction(at_sec(stop) - sent_sec, ('gate CONTROLLER_RESTARTED', seen))


@scenario(
    18, fault='the gate is disarmed on the way', robot='gate', bound_sec=PERIOD_SEC,
    promise='zero at once, whatever the controller sends',
    measured='request → zero at the robot',
)  # fmt: skip
def disarmed(robot: Robot) -> Reaction:
    with controller(robot):
        asked_sec = robot.now_sec()
        robot.enable(False)
        stop = robot.first('cmd_vel', rests, after_sec=asked_sec, what='a stop')
        robot.watch(0.3)  # the watcher sees whether something passes
    robot.gate(GateStatus.REASON_NOT_ARMED, after_sec=asked_sec)
    return Reaction(at_sec(stop) - asked_sec, ('gate DISARMED',))


@scenario(
    20, fault='the gate is killed and started again while commands come', robot='gate',
    promise='it starts disarmed: nothing moves before enable', bound_sec=READY_SEC,
    measured='start → first command to the robot',
)  # fmt: skip
def gate_killed(robot: Robot) -> Reaction:
    with controller(robot):
        robot.processes['gate_node'].kill()
        killed_sec = robot.now_sec()
        robot.boot('gate_node')
        back = robot.first('cmd_vel', after_sec=killed_sec, what='a command of the new gate')
        robot.gate(GateStatus.REASON_NOT_ARMED, after_sec=killed_sec)
        robot.watch(0.5)
        sent = robot.between('cmd_vel', killed_sec, math.inf)
        require(not any(map(speed, sent)), 'nothing moves')
        robot.enable()
        robot.first('cmd_vel', moves, after_sec=robot.now_sec(), what='motion')
    return Reaction(at_sec(back) - killed_sec, ('gate DISARMED',))


def _ended(robot: Robot, number: int) -> Reaction:
    with controller(robot):
        asked_sec = robot.now_sec()
        code = robot.processes['gate_node'].stop(number)
    require(code == 0, f'the exit code is {code}')
    last = robot.gate(GateStatus.REASON_SHUTDOWN, after_sec=asked_sec)
    stop = robot.first('cmd_vel', rests, after_sec=asked_sec, what='a last safe command')
    robot.wait(0.2)
    require(speed(robot.heard['cmd_vel'][-1]) == 0.0, 'the last command is the safe one')
    require(robot.heard['gate_status'][-1] is last, 'nothing is said after that')
    return Reaction(at_sec(stop) - asked_sec, ('exit code 0', 'gate SHUTDOWN'))


@scenario(
    20, fault='SIGTERM to the gate', robot='gate', bound_sec=2 * PERIOD_SEC,
    promise='exit code 0, and the safe command is its last message',
    measured='signal → zero at the robot',
)  # fmt: skip
def gate_terminated(robot: Robot) -> Reaction:
    return _ended(robot, signal.SIGTERM)


@scenario(
    20, fault='SIGINT to the gate', robot='gate', bound_sec=2 * PERIOD_SEC,
    promise='exit code 0, and the safe command is its last message',
    measured='signal → zero at the robot',
)  # fmt: skip
def gate_interrupted(robot: Robot) -> Reaction:
    return _ended(robot, signal.SIGINT)


@scenario(
    21, fault='a best-effort publisher of action, a transient-local subscriber of cmd_vel',
    robot='gate', promise='WARN that names both policies, once each', bound_sec=1.0,
    measured='their start → log line, the slower of two',
)  # fmt: skip
def qos_mismatch(robot: Robot) -> Reaction:
    action, cmd_vel = (f'{robot.namespace}/{topic}' for topic in ('action', 'cmd_vel'))
    us = robot.client.get_name()
    start_sec = robot.now_sec()
    sender = robot.client.create_publisher(
        TwistStamped, action, QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT),
        event_callbacks=PublisherEventCallbacks(use_default_callbacks=False),
    )  # fmt: skip
    receiver = robot.client.create_subscription(
        TwistStamped, cmd_vel, print,
        QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL),
        event_callbacks=SubscriptionEventCallbacks(use_default_callbacks=False),
    )  # fmt: skip
    lines = (
        f'{action}: nothing goes from {us} to gate_node: Best effort publisher and reliable '
        'subscription',
        f'{cmd_vel}: nothing goes from gate_node to {us}: Volatile publisher and transient local '
        'subscription',
    )
    try:
        seen = [robot.logged('gate_node', line) for line in lines]
        logged_sec = max(robot.logged_sec('gate_node', line) for line in lines)
    finally:
        robot.client.destroy_publisher(sender)
        robot.client.destroy_subscription(receiver)
    return Reaction(logged_sec - start_sec, tuple(seen))

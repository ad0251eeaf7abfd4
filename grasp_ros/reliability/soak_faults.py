# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The random faults of a soak: each is done to a robot on its way, and ends when it drives again.

A recovery is measured from the end of the fault itself (the first good frame, the process that may
run again, the request that was answered) to the first command of a plan that leaves the gate. It
is NaN where the robot was at its goal by then.
"""

from __future__ import annotations

import math
import signal
from collections.abc import Callable
from typing import Any

import numpy as np

from grasp_ros.errors import GraspError
from grasp_ros.msg import GateStatus, SolverStatistics
from grasp_ros.node.images import stamp_sec
from grasp_ros.reliability.robot import (
    COMMAND_TIMEOUT_SEC,
    DEFAULTS,
    PERIOD_SEC,
    WAITING,
    Robot,
    at_sec,
    drives,
    moves,
    rests,
)
from grasp_ros.reliability.scenario import require
from grasp_ros.reliability.soak_record import Event, Record
from grasp_ros.sim.world import DiscWorld

_REARM_SEC = DEFAULTS['gate.rearm_after_sec']
SHORT_SEC = (0.6, 1.5)  # how long something stops, so that it goes on by itself
LONG_SEC = (_REARM_SEC + 0.6, _REARM_SEC + 1.2)  # so that the gate wants to be armed again
CHANGES = {
    'planner__horizon': 20,
    'planner__iterations': 5,
    'planner__samples': 8,
    'control__warm_start': 'actions',
}


class SoakFaults:
    """Drives a robot from goal to goal and disturbs it.

    :param robot: in its normal state
    :param world: for places; its robot is not used
    :param random: of goals and faults
    :param record: where it is noted
    """

    def __init__(
        self, robot: Robot, world: DiscWorld, random: np.random.Generator, record: Record
    ) -> None:
        self._robot = robot
        self._world = world
        self._random = random
        self._record = record
        self._handle: Any = None
        self._result: Any = None  # future

    def drive_on(self) -> None:
        """Send the next goal, if none is under way."""
        if self._result is not None:
            if not self._result.done():
                return
            _, result = self._robot.result(self._handle)
            self._record.goals[result.code] += 1
        self._send_goal()

    def judge(self) -> None:
        """Look at all that the gate has sent since it was last looked at.

        For a moment in which its state does not change: messages of several topics are compared.
        """
        commands, problems = self._robot.verdict()
        self._record.commands_checked += commands
        self._record.problems += problems

    def happen(self) -> None:
        """Do one fault, any but :meth:`kill`."""
        faults = (
            self.camera_stall, self.controller_stall, self.long_controller_stall,
            self.goal_change, self.parameter_change, self.simulator_reset,
        )  # fmt: skip
        self._run(faults[self._random.integers(len(faults))])

    def kill(self) -> None:
        """Kill the controller and start it again."""
        self._run(self.controller_kill)

    # Each gives when the recovery began and when it was over, ROS time.

    def camera_stall(self) -> tuple[float, float]:
        """The camera stops, for less than what takes a re-arm."""
        self._halt('sim_node', SHORT_SEC)
        resumed_sec = self._resume('sim_node')
        # Pictures have the stamps of the poses.
        good_sec = at_sec(self._robot.first('ground_truth/pose', after_sec=resumed_sec))
        return good_sec, self._driving(good_sec, seen_since_sec=good_sec)

    def controller_stall(self) -> tuple[float, float]:
        """The controller hangs, for less than what takes a re-arm."""
        self._halt('mpc_node', SHORT_SEC)
        resumed_sec = self._resume('mpc_node')
        return resumed_sec, self._driving(resumed_sec)

    def long_controller_stall(self) -> tuple[float, float]:
        """The controller hangs for so long that the gate wants to be armed again."""
        robot = self._robot
        halted_sec = self._halt('mpc_node', LONG_SEC)
        robot.gate(GateStatus.REASON_REARM_NEEDED, after_sec=halted_sec)
        self._plan(self._resume('mpc_node'))
        return self._rearm(halted_sec)

    def goal_change(self) -> tuple[float, float]:
        """Another goal comes on the way."""
        before = self._robot.heard['solver_statistics'][-1].goal_id
        asked_sec = self._send_goal()
        report = self._robot.first(
            'solver_statistics',
            lambda r: r.goal_id > before and drives(r),
            after_sec=asked_sec,
            what='a plan for the new goal',
        )
        return asked_sec, at_sec(report)

    def parameter_change(self) -> tuple[float, float]:
        """A parameter is set and set back; the robot does not stop for it."""
        robot = self._robot
        name = str(self._random.choice(sorted(CHANGES)))
        asked_sec = robot.now_sec()
        for value in (CHANGES[name], DEFAULTS[name.replace('__', '.')]):
            reasons = robot.set_parameters(**{name: value})
            require(not any(reasons), f'{name} is set: {reasons}')
            changed_sec = robot.now_sec()
            end_sec = self._driving(changed_sec)
        for report in robot.between('solver_statistics', asked_sec, robot.now_sec()):
            goes_on = drives(report) or report.status in WAITING
            require(goes_on, f'no stop for {name}, but: {report.status_text}')
        return changed_sec, end_sec

    def simulator_reset(self) -> tuple[float, float]:
        """The robot is put somewhere else."""
        self._robot.place(*self._world.sample_place(self._random).tolist())
        placed_sec = self._robot.now_sec()
        return placed_sec, self._driving(placed_sec, seen_since_sec=placed_sec)

    def controller_kill(self) -> tuple[float, float]:
        """The controller is killed and started again at once; recovered = waits for a goal.

        A new goal alone must not move the robot then, for the gate wants to be armed as well.
        """
        robot = self._robot
        killed_sec = robot.now_sec()
        robot.processes['mpc_node'].kill()
        robot.boot('mpc_node')
        ready = robot.report(SolverStatistics.NO_GOAL, after_sec=killed_sec)
        self.judge()  # the next goal is number one again
        self._plan(self._send_goal())
        self._rearm(killed_sec)
        return killed_sec, at_sec(ready)

    def _run(self, fault: Callable[[], tuple[float, float]]) -> None:
        """Do a fault to a robot on its way."""
        robot, name = self._robot, fault.__name__.replace('_', ' ')
        robot.heard.clear()
        start_sec = robot.now_sec()
        try:
            self._set_off()
            self.judge()
            start_sec = robot.now_sec()
            measured_sec, end_sec = fault()
        except GraspError as error:
            self._record.problems.append(f'{name}: {error}')
            self._handle = self._result = None
            robot.make_normal()
            measured_sec, end_sec = robot.now_sec(), math.nan
        event = Event(name, start_sec, robot.now_sec(), end_sec - measured_sec)
        self._record.events.append(event)

    def _set_off(self) -> None:
        """Wait until the robot is on its way; to another goal, where the last one ends now."""
        robot = self._robot
        robot.first('solver_statistics', what='a tick')

        def is_moving() -> bool:
            self.drive_on()
            return any(moves(command) for command in robot.between('cmd_vel', *newest))

        newest = (robot.now_sec(), math.inf)
        robot.wait_for(is_moving, 'motion')

    def _send_goal(self) -> float:
        """Send a goal in another room; when, ROS time."""
        robot = self._robot
        robot.first('ground_truth/pose')
        here = robot.heard['ground_truth/pose'][-1].pose.position
        picture = robot.goal_image(*self._world.sample_goal(self._random, start=(here.x, here.y)))
        asked_sec = robot.now_sec()
        handle = robot.send_goal(picture)
        require(handle.accepted, 'a goal is accepted')
        self._handle, self._result = handle, handle.get_result_async()
        return asked_sec

    def _halt(self, node: str, lasting_sec: tuple[float, float]) -> float:
        """Stop a process for a while; since when, ROS time."""
        self._robot.processes[node].send_signal(signal.SIGSTOP)
        return self._robot.watch(self._random.uniform(*lasting_sec))

    def _resume(self, node: str) -> float:
        """Let a process run again; since when, ROS time."""
        resumed_sec = self._robot.now_sec()
        self._robot.processes[node].send_signal(signal.SIGCONT)
        return resumed_sec

    def _plan(self, after_sec: float, seen_since_sec: float = -math.inf) -> float:
        """When a command of a plan was sent to the gate; NaN where the goal was reached."""
        report = self._robot.first(
            'solver_statistics',
            lambda r: r.status in WAITING
            or (drives(r) and stamp_sec(r.image_stamp) >= seen_since_sec),
            after_sec=after_sec,
            what='a plan',
        )
        return at_sec(report) if drives(report) else math.nan

    def _driving(self, after_sec: float, seen_since_sec: float = -math.inf) -> float:
        """When a command of a plan left the gate; NaN where the goal was reached."""
        robot, sent_sec = self._robot, self._plan(after_sec, seen_since_sec)

        def left() -> float | None:
            for command in robot.between('cmd_vel', sent_sec, math.inf):
                if not rests(command):
                    return at_sec(command)
            return math.nan if robot.heard['solver_statistics'][-1].status in WAITING else None

        if math.isnan(sent_sec):
            return sent_sec
        return robot.wait_for(left, 'motion')

    def _rearm(self, stopped_sec: float) -> tuple[float, float]:
        """Arm the gate again, before which the robot must stand still; the recovery."""
        robot, asked_sec = self._robot, self._robot.now_sec()
        since_sec = stopped_sec + COMMAND_TIMEOUT_SEC + PERIOD_SEC
        for command in robot.between('cmd_vel', since_sec, asked_sec):
            require(rests(command), 'no motion before the gate was armed again')
        robot.enable()
        return asked_sec, self._driving(asked_sec)

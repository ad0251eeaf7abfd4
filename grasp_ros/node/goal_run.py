# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""One goal under way: its monitor, its feedback, its end."""

from __future__ import annotations

import math
from dataclasses import replace

from grasp_ros.control.controller import Controller
from grasp_ros.control.goal import GoalMonitor, GoalState
from grasp_ros.control.tick import Tick, TickStatus
from grasp_ros.errors import ObservationError
from grasp_ros.msg import SolverStatistics
from grasp_ros.node.goals import Goal, GoalEnd, Result
from grasp_ros.node.settings import Settings

_ENDS = {
    GoalState.REACHED: Result.SUCCESS,
    GoalState.TIMEOUT: Result.TIMEOUT,
    GoalState.NO_PROGRESS: Result.NO_PROGRESS,
}
_STOPS = {
    TickStatus.FROZEN_IMAGE: Result.FROZEN_IMAGE,
    TickStatus.UNFORESEEN: Result.UNFORESEEN,
}
_BLIND = (TickStatus.NO_IMAGE, TickStatus.STALE_IMAGE)


def begin(
    goal: Goal, controller: Controller, settings: Settings, now_sec: float
) -> GoalRun | None:
    """Encode a goal and set it; None when its latent is no good, the goal has then ended.

    :param now_sec: steady clock
    """
    try:
        latent = controller.encode_goal(goal.frame)
    except ObservationError as error:
        goal.finish(GoalEnd(Result.BAD_GOAL_IMAGE, str(error)))
        return None
    controller.set_goal(latent)
    return GoalRun(goal, settings, now_sec)


class GoalRun:
    """A goal from its first tick to its last.

    :param goal: already set in the controller
    :param settings: in force
    :param now_sec: steady clock
    """

    def __init__(self, goal: Goal, settings: Settings, now_sec: float) -> None:
        self.goal = goal
        self._monitor = GoalMonitor(settings.goal, now_sec=now_sec)
        self.apply(settings)
        self._well_sec = now_sec
        self._distance = math.nan
        self._ticks = 0

    def apply(self, settings: Settings) -> None:
        """Go on with other settings; the time limit that the goal brought stays."""
        config = settings.goal
        if self.goal.timeout_sec:
            config = replace(config, timeout_sec=self.goal.timeout_sec)
        self._monitor.config = config
        self._fault_timeout_sec = settings.goal_fault_timeout_sec

    def judge(self, tick: Tick, now_sec: float) -> GoalEnd | None:
        """Take a tick into account; the end, if this was the last one."""
        self._ticks += 1
        if tick.status.ends_goal:
            reason = f'{tick.status.value} ({tick.detail})'
            return self.end(_STOPS[tick.status], reason, now_sec)
        is_blind = tick.status in _BLIND
        distance = None if is_blind else tick.goal_distance
        if distance is not None:
            self._distance = distance
        if not is_blind and tick.status is not TickStatus.SOLVER_FAILED:
            self._well_sec = now_sec
        elif self._fault_timeout_sec and now_sec - self._well_sec >= self._fault_timeout_sec:
            code = Result.NO_IMAGE if is_blind else Result.SOLVER_FAILED
            return self.end(code, f'{tick.status.value} {tick.detail}'.strip(), now_sec)
        state = self._monitor.update(now_sec, distance, has_seen=tick.has_seen)
        if state is GoalState.RUNNING:
            return None
        return self.end(_ENDS[state], state.value, now_sec)

    def end(self, code: int, reason: str, now_sec: float) -> GoalEnd:
        """An end with the numbers that explain it."""
        elapsed_sec = self._monitor.elapsed_sec(now_sec)
        tolerance = self._monitor.config.tolerance
        return GoalEnd(
            code,
            f'{reason}: distance {self._distance:.3g}, tolerance {tolerance:.3g}, '
            f'after {elapsed_sec:.1f} s',
            self._distance,
            elapsed_sec,
            self._ticks,
        )

    def send_feedback(self, tick: Tick, now_sec: float) -> None:
        """Tell the client how it goes."""
        elapsed_sec = self._monitor.elapsed_sec(now_sec)
        self.goal.feedback(
            goal_distance=math.nan if tick.goal_distance is None else tick.goal_distance,
            goal_tolerance=self._monitor.config.tolerance,
            cost=math.nan if tick.plan is None else tick.plan.cost,
            elapsed_sec=elapsed_sec,
            control_rate_hz=self._ticks / elapsed_sec if elapsed_sec > 0 else math.nan,
            status=getattr(SolverStatistics, tick.status.name),
        )

# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The one thread that encodes, solves and sends: a control tick after the other.

In schedule ``ahead`` it solves between the ticks, in what is left until the next frame may come.
"""

from __future__ import annotations

import math
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Protocol

import torch
from builtin_interfaces.msg import Time

from grasp_ros.control.controller import Controller
from grasp_ros.control.history import Frame
from grasp_ros.control.pacing import Pacer
from grasp_ros.control.tick import Tick, TickStatus
from grasp_ros.control.warm_start import Drop
from grasp_ros.node.goal_run import GoalRun, begin
from grasp_ros.node.goals import Goal, GoalEnd, Result
from grasp_ros.node.settings import Settings

PREPARE_MARGIN = 0.1  # of a period: between a preparation's last iteration and the next tick


@dataclass(frozen=True)
class Arrival:
    """A frame and when it came.

    :param frame: with its stamp on the ROS clock
    :param stamp: the same stamp, exact
    :param arrived_sec: on the steady clock
    """

    frame: Frame
    stamp: Time
    arrived_sec: float


@dataclass(frozen=True)
class Counters:
    """What the worker counts from one activation to the next.

    :param last_drop: why the warm start was dropped last
    :param drops: how often it was, by reason
    """

    ticks: int = 0
    deadline_misses: int = 0
    ticks_skipped: int = 0
    solver_failures: int = 0
    last_drop: Drop | None = None
    drops: Mapping[Drop, int] = field(default_factory=dict)


@dataclass(frozen=True)
class TickReport:
    """A tick and what the node knows about it.

    :param tick: of the controller
    :param started_sec: start of the tick, steady clock
    :param image_age_sec: age of the frame at that time, NaN without one
    :param arrival: the frame, or None
    :param goal_number: of the newest goal, 0 before the first
    :param goal_reached: whether the newest goal ended by being reached
    :param settings: in force in this tick
    :param counters: this tick included
    """

    tick: Tick
    started_sec: float
    image_age_sec: float
    arrival: Arrival | None
    goal_number: int
    goal_reached: bool
    settings: Settings
    counters: Counters


class Sink(Protocol):
    """Where reports go; after it was closed it sends nothing."""

    def send(self, report: TickReport) -> None: ...


class Worker:
    """Runs a controller at its rate in a thread of its own, from :meth:`start` to :meth:`stop`.

    The other methods may be called from any thread and return at once; what they bring is taken
    up at the next tick.

    :param controller: ready to run
    :param settings: that are in force in it
    :param sink: gets a report in every tick
    :param now_sec: the ROS clock, on which frames are stamped
    :param logger: of the node
    :param passed: gives the share of a command that reaches the robot, from 0 to 1
    """

    def __init__(
        self,
        *,
        controller: Controller,
        settings: Settings,
        sink: Sink,
        now_sec: Callable[[], float],
        logger,
        passed: Callable[[], float] = lambda: 1.0,
    ) -> None:
        self._passed = passed
        self._controller = controller
        self._settings = settings
        self._sink = sink
        self._now_sec = now_sec
        self._logger = logger
        self._changed = threading.Condition()
        self._stopped = False
        self._arrival: Arrival | None = None
        self._new_settings: Settings | None = None
        self._reset_requested = self._clear_requested = False
        self._wanted_goal: Goal | None = None
        self._run: GoalRun | None = None
        self._goal_number = 0
        self._goal_reached = False
        self._counters = Counters()
        self._status: TickStatus | None = None
        self._failure = ''
        self._expires_sec = math.inf
        self._ros_sec = math.nan
        self._ros_moved_sec = 0.0
        self._is_still = self._stands = False
        self._paused_sec = 0.0
        self._pacer = Pacer(period_sec=controller.model.card.control_period_sec, now_sec=0.0)
        self._thread = threading.Thread(target=self._loop, name='grasp_ros_worker', daemon=True)

    def start(self) -> None:
        """Begin with ticks."""
        self._pacer = Pacer(period_sec=self._pacer.period_sec, now_sec=time.monotonic())
        self._thread.start()

    def stop(self, timeout_sec: float) -> bool:
        """End the thread; whether it did within the limit. The goal ends with DEACTIVATED."""
        with self._changed:
            self._stopped = True
            goal, self._wanted_goal = self._wanted_goal, None
            if goal is not None:  # in here: else the thread would end it as cancelled
                goal.finish(self._end(Result.DEACTIVATED, 'deactivated or shut down', goal))
            self._changed.notify()
        self._thread.join(timeout_sec)
        return not self._thread.is_alive()

    def offer_frame(self, arrival: Arrival) -> None:
        """Take a frame instead of the one before."""
        with self._changed:
            self._arrival = arrival
            self._changed.notify()

    def apply(self, settings: Settings) -> None:
        """Use other settings from the next tick on."""
        with self._changed:
            self._new_settings = settings

    def forget_frames(self) -> None:
        """Drop the frame and all that was seen (the clock has jumped back)."""
        with self._changed:
            self._arrival = None
            self._reset_requested = True

    def clear_warm_start(self) -> None:
        """Drop the plan and what the next solve would start from; the goal stays."""
        with self._changed:
            self._clear_requested = True

    def set_goal(self, goal: Goal) -> None:
        """Drive to another goal; the one before ends with PREEMPTED."""
        with self._changed:
            before, self._wanted_goal = self._wanted_goal, goal
            if before is not None:  # in here: else the thread would end it as cancelled
                before.finish(self._end(Result.PREEMPTED, f'goal {goal.number} came', before))

    def cancel(self, goal: Goal) -> None:
        """Stop driving to a goal."""
        with self._changed:
            if self._wanted_goal is not goal:
                return
            self._wanted_goal = None
            run = self._run
        if run is None or run.goal is not goal:
            # The thread has not taken it up and never will, so nobody else would end it.
            goal.finish(self._end(Result.CANCELLED, 'cancelled before it was begun', goal))

    def _loop(self) -> None:
        while self._wait_for_tick():
            work, failure = 'tick', ''
            try:
                tick = self._tick()
                work = 'preparation'
                self._prepare(tick)
            except Exception as error:  # whatever it is, the last command must not stay in force
                failure = f'{work} failed: {type(error).__name__}'
                if failure != self._failure:
                    self._logger.error(f'{work} failed: {traceback.format_exc()}')
            self._failure = failure
            if not failure:
                continue
            # Only here: as long as the exception lives, so does what the solve has allocated.
            try:
                self._recover(failure)
            except Exception:  # the next tick tries again, and the gate stops the robot meanwhile
                self._logger.error(f'no safe command was sent: {traceback.format_exc()}')

    def _wait_for_tick(self) -> bool:
        """Sleep until the next tick is due; False when there is none any more."""
        pacer = self._pacer
        with self._changed:
            while not self._stopped:
                now_sec = time.monotonic()
                arrival = self._arrival
                is_fresh = arrival is not None and arrival.arrived_sec > pacer.fresh_after_sec
                due_sec = min(pacer.latest_sec, self._expires_sec)
                if is_fresh:
                    due_sec = pacer.opens_sec
                if now_sec >= due_sec:
                    return True
                self._changed.wait(due_sec - now_sec)
        return False

    def _tick(self) -> Tick:
        started_sec, now_sec = time.monotonic(), self._now_sec()
        arrival = self._take_up_changes()
        skipped = 0
        is_extra = started_sec < self._pacer.opens_sec  # because the frame has become stale
        if not is_extra:
            skipped = self._pacer.started(started_sec, arrival and arrival.arrived_sec)
        stands = self._clock_stands(started_sec, now_sec)
        while True:
            wanted = self._follow_wanted_goal()
            frame = None if arrival is None else arrival.frame
            if stands:
                tick = Tick(self._controller.safe_action, TickStatus.CLOCK_STANDS)
                tick = self._controller.withdraw(tick, tick.status, '')  # none of its own is sent
            else:
                tick = self._controller.step(
                    frame, now_sec=now_sec, passed=self._passed(), number=self._counters.ticks + 1
                )
            with self._changed:
                if self._wanted_goal is wanted or self._stopped:
                    break
                # The goal changed while the old one was being solved for: that is not sent.
                arrival = self._arrival
        tick = self._stop_if_outdated(tick)
        self._expires_sec = math.inf
        if tick.status.drives and not is_extra:
            self._expires_sec = started_sec + self._left_sec(now_sec)
        counters = self._counters
        self._counters = replace(
            counters,
            ticks=counters.ticks + 1,
            deadline_misses=counters.deadline_misses + (not tick.deadline_met),
            ticks_skipped=counters.ticks_skipped + skipped,
            solver_failures=counters.solver_failures + _solve_failed(tick),
        )
        if tick.dropped is not None:
            self._counters = _counted(self._counters, tick.dropped)
        end = self._run.judge(tick, self._goal_sec()) if self._run and not stands else None
        if end is not None:
            self._goal_reached = end.code == Result.SUCCESS
            self._controller.set_goal(None)
            if not tick.status.ends_goal:
                tick = self._controller.withdraw(tick, TickStatus.NO_GOAL, end.reason)
        age_sec = math.nan if arrival is None else now_sec - arrival.frame.stamp_sec
        with self._changed:
            # Whoever cancels or replaces the goal from here on waits until this has been sent, and
            # nothing of the old goal is sent after that.
            if self._wanted_goal is not wanted and not self._stopped:
                tick = self._controller.withdraw(tick, TickStatus.NO_GOAL, 'the goal has changed')
            self._sink.send(
                TickReport(
                    tick=tick,
                    started_sec=started_sec,
                    image_age_sec=age_sec,
                    arrival=arrival,
                    goal_number=self._goal_number,
                    goal_reached=self._goal_reached,
                    settings=self._settings,
                    counters=self._counters,
                )
            )
        self._log_status(tick)
        if end is not None:
            self._finish_run(end)
        elif self._run is not None:
            self._run.send_feedback(tick, self._goal_sec())
        return tick

    def _prepare(self, tick: Tick) -> None:
        """Let the controller plan for the next frame, where there is time until it may come."""
        if not tick.status.drives:
            return  # what the controller would go on from was not sent
        pacer = self._pacer
        left_sec = pacer.opens_sec - time.monotonic()
        budget_sec = left_sec - PREPARE_MARGIN * pacer.period_sec
        if budget_sec > 0:
            self._controller.prepare(budget_sec=budget_sec, is_wanted=self._is_up_to_date)

    def _is_up_to_date(self) -> bool:
        """Whether nothing has come since the last tick that makes what it left behind useless."""
        present = self._run.goal if self._run else None
        with self._changed:
            return (
                self._wanted_goal is present
                and self._new_settings is None
                and not self._reset_requested
                and not self._clear_requested
                and not self._stopped
            )

    def _stop_if_outdated(self, tick: Tick) -> Tick:
        """The safe command where the tick took so long that its frame has become stale."""
        if not tick.status.drives or self._left_sec(self._now_sec()) >= 0:
            return tick
        detail = 'it was new when this tick began'
        return self._controller.withdraw(tick, TickStatus.STALE_IMAGE, detail)

    def _left_sec(self, now_sec: float) -> float:
        """Time on the ROS clock until the newest frame that was any good is stale."""
        age_sec = self._controller.frame_age_sec(now_sec)
        return self._settings.controller.image_timeout_sec - age_sec

    def _clock_stands(self, started_sec: float, now_sec: float) -> bool:
        """Whether no simulated time has passed for too long to go on blindly.

        That is a pause of the simulator, and then nothing has gone wrong, or the end of its
        clock, and then no frame will ever look old. A goal's time does not run meanwhile.
        """
        still_sec = started_sec - self._ros_moved_sec
        self._is_still = now_sec == self._ros_sec
        if self._is_still:
            self._stands = still_sec > self._settings.controller.image_timeout_sec
            return self._stands
        if self._stands:
            self._paused_sec += still_sec
        self._ros_sec, self._ros_moved_sec, self._stands = now_sec, started_sec, False
        return False

    def _goal_sec(self) -> float:
        """The steady clock without the pauses of the simulator, for the time that a goal takes.

        Whether a clock that has not moved since the last tick will go on or stands is not known
        before the image timeout. Until then the time of its last move counts, so that no goal
        ends in a pause that has not been noticed yet.
        """
        now_sec = self._ros_moved_sec if self._is_still else time.monotonic()
        return now_sec - self._paused_sec

    def _take_up_changes(self) -> Arrival | None:
        with self._changed:
            settings, self._new_settings = self._new_settings, None
            reset, self._reset_requested = self._reset_requested, False
            clear, self._clear_requested = self._clear_requested, False
            arrival = self._arrival
        if settings is not None:
            settings.install(self._controller)
            self._settings = settings
            if self._run is not None:
                self._run.apply(settings)
        if reset:
            self._controller.reset()
        if clear:
            self._controller.clear_warm_start()
        return arrival

    def _follow_wanted_goal(self) -> Goal | None:
        """Make the controller's goal the wanted one; gives the latter."""
        with self._changed:
            wanted = self._wanted_goal
        present = self._run.goal if self._run else None
        if wanted is present:
            return wanted
        if present is not None:
            text = 'cancelled, by its client or by an empty goal_image'
            present.finish(self._end(Result.CANCELLED, text, present))
        self._run = None
        self._controller.set_goal(None)
        if wanted is not None:
            self._goal_number, self._goal_reached = wanted.number, False
            try:
                self._run = begin(wanted, self._controller, self._settings, self._goal_sec())
            except Exception as error:
                text = f'the goal cannot be encoded: {type(error).__name__}: {error}'
                self._forget(wanted)
                wanted.finish(GoalEnd(Result.SOLVER_FAILED, text))
                raise
            if self._run is None:
                self._forget(wanted)
                return self._follow_wanted_goal()
        return wanted

    def _forget(self, goal: Goal) -> None:
        with self._changed:
            if self._wanted_goal is goal:
                self._wanted_goal = None

    def _finish_run(self, end: GoalEnd) -> None:
        goal, self._run = self._run.goal, None
        self._forget(goal)
        goal.finish(end)

    def _end(self, code: int, reason: str, goal: Goal) -> GoalEnd:
        run = self._run
        if run is None or run.goal is not goal:
            return GoalEnd(code, reason)
        return run.end(code, reason, self._goal_sec())

    def _recover(self, failure: str) -> None:
        """Send the safe command and forget all that may be bad; the next tick tries again."""
        self._controller.reset()
        tick = Tick(
            action=self._controller.safe_action,
            status=TickStatus.SOLVER_FAILED,
            detail=f'{failure}, see the log',
        )
        self._log_status(tick)
        counters = self._counters
        self._counters = replace(
            counters, ticks=counters.ticks + 1, solver_failures=counters.solver_failures + 1
        )
        self._sink.send(
            TickReport(
                tick=tick,
                started_sec=time.monotonic(),
                image_age_sec=math.nan,
                arrival=None,
                goal_number=self._goal_number,
                goal_reached=False,
                settings=self._settings,
                counters=self._counters,
            )
        )
        end = self._run.judge(tick, self._goal_sec()) if self._run else None
        if end is not None:
            self._finish_run(end)
            self._controller.set_goal(None)
        if torch.cuda.is_initialized():
            with suppress(RuntimeError):  # the device itself may be what has failed
                torch.cuda.empty_cache()  # what the solve has left may be what the next needs

    def _log_status(self, tick: Tick) -> None:
        """One line when the robot is stopped for a new reason, one when it drives again."""
        status = TickStatus.SOLVED if tick.status.drives else tick.status
        if status is self._status:
            return
        self._status = status
        detail = f' ({tick.detail})' if tick.detail else ''
        if status in (TickStatus.SOLVED, TickStatus.NO_GOAL):
            self._logger.info(f'{status.value}{detail}')
        else:
            self._logger.warning(f'{status.value}{detail}')


def _counted(counters: Counters, reason: Drop) -> Counters:
    drops = {**counters.drops, reason: counters.drops.get(reason, 0) + 1}
    return replace(counters, last_drop=reason, drops=drops)


def _solve_failed(tick: Tick) -> bool:
    went_on = tick.status in (TickStatus.PREVIOUS_PLAN, TickStatus.SOLVER_FAILED)
    return went_on and tick.solve_sec > 0

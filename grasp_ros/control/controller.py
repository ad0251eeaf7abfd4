# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The receding-horizon controller: frames in, one finite command out, every control tick.

A plan is made once a model step, warm-started from the previous plan moved by the control steps
that really elapsed. Its first block, k commands, is sent in order. There are two schedules:

- ``after_frame``: encode the frame, solve, send. Image to action takes as long as a solve.
- ``ahead``, the default: solve between two frames, from the latent that the model predicts for
  the next one (preparation); when the frame is there, correct the first action alone (feedback).
  Where no frame came the next step is prepared for all the same. Where no preparation fits the
  frame that came, as when it comes out of step, the last plan goes on without a solve, once and
  where there is a deadline, so that there is time to prepare the next one; else the solve follows
  the frame.

A plan begins where its first action takes effect: the latent is rolled forward over the latency
with the commands that were sent before (:mod:`grasp_ros.control.latency`).

Where a tick has no new frame the plan goes on; where a solve fails, too; where nothing is left to
go on with, the safe command is sent. Nothing here blocks, and nothing here knows ROS.
"""

from __future__ import annotations

import math
import statistics
import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from grasp_ros.control.config import ControllerConfig
from grasp_ros.control.course import Course
from grasp_ros.control.history import Frame, History
from grasp_ros.control.latency import Ahead, look_ahead
from grasp_ros.control.preparation import Preparation, problem_ahead
from grasp_ros.control.sight import Sight, Stop
from grasp_ros.control.tick import COLD, Tick, TickStatus
from grasp_ros.control.timeline import Timeline, Timing
from grasp_ros.control.warm_start import Drop
from grasp_ros.errors import ObservationError, SolveError
from grasp_ros.planners.base import (
    ActionLimits,
    Deadline,
    Effort,
    Plan,
    Planner,
    Problem,
    WarmStart,
)
from grasp_ros.planners.feedback import Feedback
from grasp_ros.planners.rollout import kept_plan
from grasp_ros.world_models.base import WorldModel

# Of the deadline, for a solve that follows its frame in schedule `ahead`: the first of a goal, and
# where nothing that fits was prepared twice in a row. Were it to take all of it, it would be late
# on a busy machine, and no time would be left to prepare the next one, which would follow its
# frame for that, and so on.
CATCH_UP = 1 / 3


class Controller:
    """Receding-horizon control of one robot with one world model and one planner.

    :param model: the world model
    :param planner: made for the same model; may be replaced between ticks
    :param limits: bounds and rate limit of the commands
    :param config: settings; may be replaced between ticks
    :param safe_action: ``[A]``, the command that stops the robot; zeros by default
    :param clock: steady clock in seconds for durations and deadlines
    """

    def __init__(
        self,
        *,
        model: WorldModel,
        planner: Planner,
        limits: ActionLimits,
        config: ControllerConfig | None = None,
        safe_action: np.ndarray | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.model = model
        self.planner = planner
        self.limits = limits
        self.config = config or ControllerConfig()
        card = model.card
        self.safe_action = np.zeros(card.action_size) if safe_action is None else safe_action
        self._safe_action_there = self._on_device(self.safe_action)
        self._observer_gain = None
        if min(card.observer_gain) < 1:
            self._observer_gain = torch.tensor(card.observer_gain, device=model.device)
        self._clock = clock
        self._linearise_sec = deque([0.0], maxlen=5)  # what it took, the last times
        self._goal: Tensor | None = None
        self._ticks = 0
        self._course = Course(card.action_block)
        self.reset()

    @property
    def goal(self) -> Tensor | None:
        """The goal's latent, ``[*latent]``, or None."""
        return self._goal

    def reset(self) -> None:
        """Forget frames, commands and the plan (new episode, simulator reset), not the goal."""
        self._history = History(self.model.card, self.safe_action)
        self._timeline = Timeline(self.model.card.control_period_sec)
        self._sent_step = 0.0
        self._has_kept = self._drives = False
        self._sent_tick, self._passed = 0, 1.0
        self._sent_by: Planner | None = None
        self._last_command = self.safe_action
        self._goal_distance: float | None = None
        self._sight = Sight(self.model)
        self._course.dropped = None
        self._drop(Drop.RESET)

    def encode_goal(self, frame: Frame) -> Tensor:
        """Latent of a goal, ``[*latent]``, for :meth:`set_goal`.

        :param frame: what the sensors see when the robot stands still at the goal; the stamp is
            not used
        :raises ObservationError: when it does not fit the card or its latent is not finite
        """
        model = self.model
        observation = History(model.card, self.safe_action).observe(0, frame, model.device)
        with torch.no_grad():
            goal = model.encode(observation)[0]
        if not torch.isfinite(goal).all():
            raise ObservationError('the latent of the goal is not finite')
        return goal

    def set_goal(self, goal: Tensor | None) -> None:
        """Set or clear the goal. The plan is dropped: it led somewhere else.

        A stop because of what was seen (:mod:`grasp_ros.control.sight`) ends with another goal.
        """
        self._goal = goal
        if goal is not None:
            self._sight.start_over()
        self._goal_distance = None
        self._drop(Drop.GOAL)

    def frame_age_sec(self, now_sec: float) -> float:
        """Time since the newest frame that was any good; 0 before the first.

        :param now_sec: present time on the clock of the frames' stamps
        """
        return self._timeline.frame_age_sec(now_sec)

    def clear_warm_start(self) -> None:
        """Drop the plan and all that would start from it; frames and goal stay."""
        self._drop(Drop.CLEARED)

    def step(
        self,
        frame: Frame | None,
        *,
        now_sec: float,
        timing: Timing | None = None,
        passed: float = 1.0,
        number: int | None = None,
    ) -> Tick:
        """Give the command of one control tick.

        :param frame: the newest frame there is, the same as in the last tick if no new one came
        :param now_sec: present time on the clock of the frames' stamps
        :param timing: what is known of this tick and need not be measured
        :param passed: share of the command that is passed on to the robot, 0 = none of it; where
            it is not the whole nothing can be foreseen, and nothing is judged by it
        :param number: of this tick, from 1 on, which picks the random numbers; that after the
            last one's unless stated
        """
        self._ticks = self._ticks + 1 if number is None else number
        tick = self._step_unlimited(frame, now_sec, timing)
        if not np.isfinite(tick.action).all():
            self._drop(Drop.NOT_FINITE)
            detail = 'the plan holds numbers that are not finite'
            tick = replace(self._safe(TickStatus.SOLVER_FAILED), detail=detail)
        action = tick.action
        if tick.status.drives:
            action = self.limits.keep(action, self._last_command)
        limited = bool((np.abs(action - tick.action) > 1e-6).any())
        # What the record of a run says, so that a replay of it counts the same.
        duration_sec = tick.encode_sec + tick.solve_sec if timing is None else timing.duration_sec
        if tick.status is TickStatus.SOLVED:
            self._timeline.add_duration(duration_sec)
            self._sent_tick, self._passed = self._ticks, passed
        self._last_command = followed = action
        if passed != 1.0:
            self._course.foresight = None
            self._sight.doubt()
            self._last_command = action if passed else self.safe_action
            followed = _share(passed, action, self.safe_action)
        self._remember(followed, now_sec + duration_sec)
        self._drives = tick.status.drives
        dropped, self._course.dropped = self._course.dropped, None
        return replace(tick, action=action, limited=limited, dropped=dropped)

    def withdraw(self, tick: Tick, status: TickStatus, detail: str) -> Tick:
        """The safe command in place of the last tick's, which must not be sent.

        :param tick: that :meth:`step` gave
        :param status: why
        :param detail: the same in words
        """
        self._course.foresight, self._drives = None, False
        self._last_command = self.safe_action
        self._history.add_action(self._sent_step, self.safe_action)
        return replace(tick, action=self.safe_action, status=status, detail=detail)

    def prepare(
        self,
        *,
        budget_sec: float | None = None,
        is_wanted: Callable[[], bool] = lambda: True,
        effort: Effort | None = None,
    ) -> None:
        """Solve for the next model step before its frame comes; call it after :meth:`step`.

        Does nothing in schedule ``after_frame``, where the last tick's command was not one of a
        plan, and where the next model step has been solved for already. Where no frame came at
        the end of a block, the control step after the present one is the next, if another block
        ends there: nothing is foreseen within one.

        :param budget_sec: time for it; None = no limit (fixed iterations)
        :param is_wanted: asked meanwhile; once it is False the solve is cut short
        :param effort: of the solve, where it is replayed
        """
        course, block = self._course, self.model.card.action_block
        if self.config.schedule != 'ahead' or not self._drives or course.plan is None:
            return
        offset = self._timeline.step - course.step
        gone, rest = divmod(block if offset < block else offset + 1, block)  # of the plan's blocks
        if rest or gone >= max(2, len(course.plan.actions)):
            return
        step = course.begins + gone * block
        if self._prepared is not None and self._is_for(step, self._prepared):
            return
        started_sec = self._clock()
        corrects = self.config.feedback_updates > 0
        problem = self._problem_after(gone, awaits_frame=corrects)
        warm_start, shift_steps = self._warm_start(step)
        expires_sec = None
        if budget_sec is not None:  # what the feedback prepares has to fit in as well
            linearise_sec = corrects * statistics.median_low(self._linearise_sec)
            expires_sec = started_sec + budget_sec - linearise_sec
        deadline = Deadline(
            expires_sec, clock=self._clock, is_wanted=is_wanted, replayed=effort
        )
        try:
            plan = self.planner.solve(problem, warm_start, deadline)
        except SolveError:
            return  # the solve after the frame reports it, if it fails as well
        feedback = None
        if corrects:
            solved_sec = self._clock()
            feedback = Feedback.prepare(self.model, plan, problem)
            self._linearise_sec.append(self._clock() - solved_sec)
        self._prepared = Preparation(
            step=step,
            problem=problem,
            planner=self.planner,
            plan=plan,
            feedback=feedback,
            shift_steps=shift_steps,
            duration_sec=self._clock() - started_sec,
        )

    def _step_unlimited(
        self, frame: Frame | None, now_sec: float, timing: Timing | None
    ) -> Tick:
        if frame is None:
            self._sight.doubt()
            return self._safe(TickStatus.NO_IMAGE)
        if now_sec - frame.stamp_sec > self.config.image_timeout_sec:
            self._sight.doubt()  # whose pictures come next may be another one
            return self._safe(TickStatus.STALE_IMAGE)
        started_sec = self._clock()
        latent, innovation, rejected = None, None, ''
        if self._timeline.is_new(frame.stamp_sec):
            try:
                latent, innovation = self._perceive(frame, now_sec)
            except ObservationError as error:
                rejected = str(error)
        has_seen = latent is not None
        if not has_seen:
            self._timeline.count_on(now_sec)
        self._expect_latency(now_sec, timing)
        encode_sec = self._clock() - started_sec
        stop = self._sight.stop
        if stop is None and self._goal is None:
            stop = Stop(TickStatus.NO_GOAL, rejected)
        if stop is not None:
            return replace(
                self._safe(stop.status), detail=stop.detail, encode_sec=encode_sec,
                innovation=innovation,
            )  # fmt: skip
        if rejected:
            if self._timeline.frame_age_sec(now_sec) > self.config.image_timeout_sec:
                return replace(self._safe(TickStatus.STALE_IMAGE), detail=rejected)
            return self._go_on(rejected, at_end=TickStatus.STALE_IMAGE)
        if not has_seen:
            if self._course.plan is not None:
                return self._go_on('no new frame', at_end=TickStatus.STALE_IMAGE)
            # A goal that came after the frame: what was seen then is enough to plan from.
            latent = self._history.context(self._timeline.step)[-1]
        self._goal_distance = float(self.model.cost(latent.unsqueeze(0), self._goal))
        offset = self._timeline.step - self._course.step
        if self._course.plan is not None and 0 < offset < self.model.card.action_block:
            tick = self._go_on('')
            if tick.status.drives:  # and not beyond the plan's end
                tick = replace(tick, status=TickStatus.IN_BLOCK)
        else:
            tick = self._feedback()
            kept = None if tick else self._keep()
            self._has_kept = kept is not None
            tick = tick or kept or self._solve(started_sec, timing and timing.effort)
        total_sec = self._clock() - started_sec
        deadline_sec = self.config.deadline_sec
        return replace(
            tick,
            encode_sec=encode_sec,
            solve_sec=total_sec - encode_sec,
            has_seen=has_seen,
            innovation=innovation,
            deadline_met=not deadline_sec or total_sec <= deadline_sec,
        )

    def _expect_latency(self, now_sec: float, timing: Timing | None) -> None:
        """Assume how long from the present step on the command of this tick will take effect."""
        if not self.config.latency_compensation:
            self._timeline.assume(0.0)
        elif timing is not None:
            self._timeline.assume(timing.latency_sec)
        else:
            timeline, prepared = self._timeline, False
            if self._prepared is not None:
                due = self._prepared.step - timeline.lead  # in this tick or at its block's end
                in_blocks = (due - self._course.step) % self.model.card.action_block == 0
                prepared = in_blocks and due >= timeline.step
            timeline.expect(
                now_sec, delay_sec=self.config.actuator_delay_sec, prepared=prepared
            )

    def _remember(self, action: np.ndarray, sent_sec: float) -> None:
        """Note a command, and from when on it is in force."""
        self._sent_step = float(self._timeline.step)
        if self.config.latency_compensation:
            self._sent_step = self._timeline.step_at(sent_sec + self.config.actuator_delay_sec)
        self._history.add_action(self._sent_step, action)

    def _perceive(self, frame: Frame, now_sec: float) -> tuple[Tensor, float | None]:
        """Encode a new frame and make its moment the present one.

        :return: the latent that is believed, and the innovation
        """
        step = self._timeline.step_of(frame.stamp_sec)
        observation = self._history.observe(step, frame, self.model.device)
        try:
            with torch.no_grad():
                latent = self.model.encode(observation)[0]
            if not math.isfinite(latent.sum()):  # one number, on the way from frame to command
                raise ObservationError('the latent of the frame is not finite')
        except Exception:
            self._history.forget_newest()  # or those of its next frames would be made of it too
            raise
        self._timeline.take_up(frame.stamp_sec, now_sec=now_sec)
        foreseen = self._course.foresight and self._course.foresight.at(step)
        innovation = self._sight.look(
            frame, self.config, seen=latent, foreseen=foreseen, before=self._history.newest_latent
        )
        if self._sight.is_elsewhere(innovation, self.config):
            self._drop(Drop.INNOVATION)
        elif foreseen is not None and self._observer_gain is not None:
            latent = torch.lerp(foreseen, latent, self._observer_gain)
        self._history.add_latent(step, latent)
        return latent, innovation

    def _drop(self, reason: Drop) -> None:
        """Forget the plan, what would start from it, and what was prepared from it."""
        self._course.drop(reason)
        self._prepared: Preparation | None = None

    def _feedback(self) -> Tick | None:
        """Correct what was prepared for this step; None where nothing that fits was."""
        prepared, self._prepared = self._prepared, None
        if prepared is None or not self._is_for(self._timeline.begins, prepared):
            return None
        ahead, plan = self._look_ahead(), prepared.plan
        if prepared.feedback is not None:
            try:
                plan = prepared.feedback.correct(
                    self.model, self._problem(ahead), updates=self.config.feedback_updates
                )
            except SolveError:
                return None
        return self._send(plan, ahead, prepared.shift_steps, prepare_sec=prepared.duration_sec)

    def _is_for(self, step: float, prepared: Preparation) -> bool:
        """Whether it was made for a plan that begins at a step, as things are now."""
        return prepared.fits(
            step=step, planner=self.planner, goal=self._goal, limits=self.limits
        )

    def _keep(self) -> Tick | None:
        """The last plan from what is seen now, without a solve, where one would be late.

        None where there is none, where there is no deadline, the second time in a row, and where
        the planner is another one: who has changed it waits for what it does.
        """
        config = self.config
        if config.schedule != 'ahead' or not config.deadline_sec or self._has_kept:
            return None
        if self.planner is not self._sent_by:
            return None
        warm_start, shift_steps = self._warm_start(self._timeline.begins)
        if warm_start is None:
            return None
        ahead = self._look_ahead()
        try:
            plan = kept_plan(
                self.model, self._problem(ahead), warm_start,
                running_weight=self._course.plan.branches.running_weight,
            )  # fmt: skip
        except SolveError:
            return None  # the solve reports it, if it fails as well
        return self._send(plan, ahead, shift_steps, is_solved=False)

    def _solve(self, started_sec: float, effort: Effort | None) -> Tick:
        warm_start, shift_steps = self._warm_start(self._timeline.begins)
        expires_sec = None
        if self.config.deadline_sec:
            share = CATCH_UP if self.config.schedule == 'ahead' else 1.0
            expires_sec = started_sec + share * self.config.deadline_sec
        deadline = Deadline(expires_sec, clock=self._clock, replayed=effort)
        ahead = self._look_ahead()
        try:
            plan = self.planner.solve(self._problem(ahead), warm_start, deadline)
        except SolveError as error:
            self._course.fail(error, most=self.config.drop_failures)
            return self._go_on(str(error))
        return self._send(plan, ahead, shift_steps)

    def _send(
        self,
        plan: Plan,
        ahead: Ahead,
        shift_steps: int,
        *,
        prepare_sec: float = 0.0,
        is_solved: bool = True,
    ) -> Tick:
        """Put a plan in force from the moment on at which its first action takes effect."""
        self._course.take(plan, ahead, self._timeline, is_solved=is_solved)
        self._sent_by = self.planner
        return Tick(
            action=plan.actions[0, 0].double().cpu().numpy(),
            status=TickStatus.SOLVED,
            plan=plan,
            iterations=plan.iterations,
            syncs=plan.syncs,
            shift_steps=shift_steps,
            prepare_sec=prepare_sec,
            latency_sec=self._timeline.latency_sec,
            goal_distance=self._goal_distance,
        )

    def _look_ahead(self) -> Ahead:
        """What is foreseen for the moment at which the command of this tick takes effect."""
        timeline = self._timeline
        # Without compensation what was seen counts as the present, however old it is.
        step = timeline.frame_step if self.config.latency_compensation else timeline.step
        return look_ahead(self.model, self._history, step=step, lead=timeline.begins - step)

    def _problem(self, ahead: Ahead) -> Problem:
        return Problem(
            context=ahead.context,
            past_actions=ahead.past_actions,
            goal=self._goal,
            limits=self.limits,
            previous_action=self._on_device(self._last_command),
            safe_action=self._safe_action_there,
            tick=self._ticks,
        )

    def _problem_after(self, blocks: int, *, awaits_frame: bool) -> Problem:
        """What is to be solved when so many blocks of the plan are over.

        The same in whichever tick it is asked for, so that a replay need not know in which.
        """
        course, still = self._course, self._safe_action_there
        planned = sent = course.plan.actions[:blocks]
        if self._passed != 1.0:
            sent = _share(self._passed, planned, still)
        return replace(
            problem_ahead(self.model, self._problem(course.ahead), sent),
            previous_action=planned[-1, -1] if self._passed else still,
            tick=self._sent_tick + blocks * self.model.card.action_block,
            awaits_frame=awaits_frame,
        )

    def _on_device(self, action: np.ndarray) -> Tensor:
        return torch.as_tensor(action, dtype=torch.float32, device=self.model.device)

    def _warm_start(self, step: float) -> tuple[WarmStart | None, int]:
        """What a plan that begins at a control step starts from, and by how far it was moved."""
        found = self._course.warm_start(
            step, horizon=self.planner.horizon, goal=self._goal, mode=self.config.warm_start
        )
        return found or (None, COLD)

    def _go_on(self, detail: str, at_end: TickStatus = TickStatus.SOLVER_FAILED) -> Tick:
        """Send the plan's command for the present step, or the safe one when it has none.

        :param detail: why there is no other plan
        :param at_end: the status where there is none left
        """
        command = self._course.command_at(self._timeline.begins)
        if command is None:
            return replace(self._safe(at_end), detail=detail)
        action, offset = command
        return Tick(
            action=action,
            status=TickStatus.PREVIOUS_PLAN,
            plan=self._course.plan,
            plan_offset=offset,
            detail=detail,
            latency_sec=self._timeline.latency_sec,
            goal_distance=self._goal_distance,
        )

    def _safe(self, status: TickStatus) -> Tick:
        self._course.foresight = None  # it was about other commands
        return Tick(action=self.safe_action, status=status, goal_distance=self._goal_distance)


def _share(passed: float, action: Any, safe_action: Any) -> Any:
    """What a robot does of a command of which a gate passes on a share."""
    return safe_action + passed * (action - safe_action)

# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The receding-horizon controller: frames in, one finite command out, every control tick.

A plan is made once a model step, warm-started from the previous plan moved by the control steps
that really elapsed. Its first block, k commands, is sent in order. There are two schedules:

- ``after_frame``: encode the frame, solve, send. Image to action takes as long as a solve.
- ``ahead``, the default: solve between two frames, from the latent that the model predicts for
  the next one (preparation); when the frame is there, correct the first action alone (feedback).
  Where no preparation fits the frame that came, as after a lost one, the solve follows the frame.

Where a tick has no new frame the plan goes on; where a solve fails, too; where nothing is left to
go on with, the safe command is sent. Nothing here blocks, and nothing here knows ROS.
"""

from __future__ import annotations

import enum
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from grasp_ros.control.history import Frame, History
from grasp_ros.control.preparation import Preparation, problem_ahead
from grasp_ros.control.warm_start import WarmStartMode, shift
from grasp_ros.errors import ConfigError, ObservationError, SolveError
from grasp_ros.planners.base import ActionLimits, Deadline, Plan, Planner, Problem, WarmStart
from grasp_ros.planners.feedback import Feedback
from grasp_ros.world_models.base import WorldModel

COLD = -1  # shift_steps of a solve that had no warm start

Schedule = Literal['after_frame', 'ahead']


class TickStatus(enum.Enum):
    """Where the command of a tick came from; the value is the text for people."""

    SOLVED = 'new plan'
    IN_BLOCK = 'next command of the present block'
    PREVIOUS_PLAN = 'previous plan goes on: no new frame, or the solve failed'
    NO_IMAGE = 'safe command: no image has arrived'
    STALE_IMAGE = 'safe command: the newest image is too old'
    NO_GOAL = 'safe command: no goal is set'
    SOLVER_FAILED = 'safe command: the solve failed and no plan is left'


@dataclass(frozen=True)
class ControllerConfig:
    """Settings of :class:`Controller`.

    :param deadline_sec: time for encode and solve in one tick; 0 = none (fixed iterations)
    :param image_timeout_sec: age above which a frame is stale
    :param warm_start: ``full``, ``actions`` or ``none``
    :param schedule: ``after_frame`` or ``ahead``
    :param feedback_updates: Gauss-Newton updates of the first action after the frame, in schedule
        ``ahead``; 0 = the prepared plan is applied as it is
    :raises ConfigError: when a value is out of range
    """

    deadline_sec: float = 0.0
    image_timeout_sec: float = 0.5
    warm_start: WarmStartMode = 'full'
    schedule: Schedule = 'ahead'
    feedback_updates: int = 1

    def __post_init__(self) -> None:
        if not (math.isfinite(self.deadline_sec) and self.deadline_sec >= 0):
            raise ConfigError(f'deadline_sec must be finite and >= 0, is {self.deadline_sec}')
        if not (math.isfinite(self.image_timeout_sec) and self.image_timeout_sec > 0):
            raise ConfigError(f'image_timeout_sec must be positive, is {self.image_timeout_sec}')
        if self.warm_start not in ('none', 'actions', 'full'):
            raise ConfigError(f'warm_start must be none, actions or full, is {self.warm_start}')
        if self.schedule not in ('after_frame', 'ahead'):
            raise ConfigError(f'schedule must be after_frame or ahead, is {self.schedule}')
        if self.feedback_updates < 0:
            raise ConfigError(f'feedback_updates must be >= 0, is {self.feedback_updates}')


@dataclass(frozen=True)
class Tick:
    """The command of one tick and how it came about.

    :param action: float64 ``[A]`` in the card's units, finite and within the limits
    :param status: where it came from
    :param plan: the plan in force, or None
    :param plan_offset: control step of the plan that ``action`` is
    :param detail: what went wrong, empty when nothing did
    :param iterations: of this tick's solve, 0 without one
    :param shift_steps: control steps that the warm start was moved by; :data:`COLD` without one
    :param deadline_met: False when encode and solve took longer than the deadline
    :param encode_sec: time to encode the frame
    :param solve_sec: time to solve after the frame; the feedback's alone where it was prepared
    :param prepare_sec: time that this plan was prepared for before the frame, 0 without
    :param goal_distance: :meth:`WorldModel.cost` of the present latent, or None
    :param innovation: :meth:`WorldModel.cost` between the predicted and the observed latent, or
        None when there was no prediction for this instant
    :param limited: whether the last check against the limits changed the command
    """

    action: np.ndarray
    status: TickStatus
    plan: Plan | None = None
    plan_offset: int = 0
    detail: str = ''
    iterations: int = 0
    shift_steps: int = COLD
    deadline_met: bool = True
    encode_sec: float = 0.0
    solve_sec: float = 0.0
    prepare_sec: float = 0.0
    goal_distance: float | None = None
    innovation: float | None = None
    limited: bool = False


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
        self._goal: Tensor | None = None
        self._ticks = 0
        self.reset()

    @property
    def goal(self) -> Tensor | None:
        """The goal's latent, ``[*latent]``, or None."""
        return self._goal

    def reset(self) -> None:
        """Forget frames, commands and the plan (new episode, simulator reset), not the goal."""
        self._history = History(self.model.card, self.safe_action)
        self._step = 0
        self._frame_step = 0
        self._frame_stamp_sec: float | None = None
        self._goal_distance: float | None = None
        self._plan: Plan | None = None
        self._plan_step = 0
        self._prepared: Preparation | None = None

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
        """Set or clear the goal. The plan is dropped: it led somewhere else."""
        self._goal = goal
        self._goal_distance = None
        self._plan = None
        self._prepared = None

    def step(self, frame: Frame | None, *, now_sec: float) -> Tick:
        """Give the command of one control tick.

        :param frame: the newest frame there is, the same as in the last tick if no new one came
        :param now_sec: present time on the clock of the frames' stamps
        """
        self._ticks += 1
        tick = self._step_unlimited(frame, now_sec)
        low, high = self.limits.low.cpu().numpy(), self.limits.high.cpu().numpy()
        action = np.clip(np.asarray(tick.action, dtype=np.float64), low, high)
        limited = bool(np.any(np.abs(action - tick.action) > 1e-6))
        self._history.add_action(self._step, action)
        return replace(tick, action=action, limited=limited)

    def prepare(
        self, *, budget_sec: float | None = None, is_wanted: Callable[[], bool] = lambda: True
    ) -> None:
        """Solve for the next model step before its frame comes; call it after :meth:`step`.

        Does nothing in schedule ``after_frame``, and where no new plan has just been sent.

        :param budget_sec: time for it; None = no limit (fixed iterations)
        :param is_wanted: asked meanwhile; once it is False the solve is cut short
        """
        block = self.model.card.action_block
        step = self._plan_step + block
        if self.config.schedule != 'ahead' or self._plan is None or self._step != self._plan_step:
            return
        if self._prepared is not None and self._prepared.step == step:
            return
        started_sec = self._clock()
        problem = problem_ahead(self.model, self._problem(self._step), self._plan.actions[0])
        warm_start, shift_steps = self._warm_start(step)
        expires_sec = None if budget_sec is None else started_sec + budget_sec
        deadline = Deadline(expires_sec, clock=self._clock, is_wanted=is_wanted)
        try:
            plan = self.planner.solve(problem, warm_start, deadline)
        except SolveError:
            return  # the solve after the frame reports it, if it fails as well
        self._prepared = Preparation(
            step=step,
            problem=problem,
            planner=self.planner,
            feedback=Feedback.prepare(self.model, plan, problem),
            shift_steps=shift_steps,
            duration_sec=self._clock() - started_sec,
        )

    def _step_unlimited(self, frame: Frame | None, now_sec: float) -> Tick:
        if frame is None:
            return self._safe(TickStatus.NO_IMAGE)
        if now_sec - frame.stamp_sec > self.config.image_timeout_sec:
            return self._safe(TickStatus.STALE_IMAGE)
        started_sec = self._clock()
        is_new = self._frame_stamp_sec is None or frame.stamp_sec > self._frame_stamp_sec
        innovation = None
        if is_new:
            try:
                latent, innovation = self._perceive(frame)
            except ObservationError as error:
                self._step += 1
                return self._go_on(str(error))
        else:
            self._step += 1
            if self._goal is None:
                return self._safe(TickStatus.NO_GOAL)
            if self._plan is not None:
                return self._go_on('no new frame')
            # A goal that came after the frame: what was seen then is enough to plan from.
            latent = self._history.context(self._step)[-1]
        encode_sec = self._clock() - started_sec
        if self._goal is None:
            return replace(
                self._safe(TickStatus.NO_GOAL), encode_sec=encode_sec, innovation=innovation
            )
        self._goal_distance = float(self.model.cost(latent.unsqueeze(0), self._goal))
        offset = self._step - self._plan_step
        if self._plan is not None and 0 < offset < self.model.card.action_block:
            tick = self._go_on('')
            tick = replace(tick, status=TickStatus.IN_BLOCK)
        else:
            tick = self._feedback() or self._solve(started_sec)
        total_sec = self._clock() - started_sec
        deadline_sec = self.config.deadline_sec
        return replace(
            tick,
            encode_sec=encode_sec,
            solve_sec=total_sec - encode_sec,
            innovation=innovation,
            deadline_met=not deadline_sec or total_sec <= deadline_sec,
        )

    def _perceive(self, frame: Frame) -> tuple[Tensor, float | None]:
        """Encode a new frame; move the step counter by what its stamp says has elapsed.

        :return: the latent that is believed, and the innovation
        """
        step = 0
        if self._frame_stamp_sec is not None:
            elapsed_sec = frame.stamp_sec - self._frame_stamp_sec
            period_sec = self.model.card.control_period_sec
            step = self._frame_step + max(1, round(elapsed_sec / period_sec))
        observation = self._history.observe(step, frame, self.model.device)
        with torch.no_grad():
            latent = self.model.encode(observation)[0]
        if not torch.isfinite(latent).all():
            raise ObservationError('the latent of the frame is not finite')
        self._step = self._frame_step = step
        self._frame_stamp_sec = frame.stamp_sec
        foreseen = self._foreseen()
        innovation = None
        if foreseen is not None:
            innovation = float(self.model.cost(latent.unsqueeze(0), foreseen))
            if self._observer_gain is not None:
                latent = torch.lerp(foreseen, latent, self._observer_gain)
        self._history.add_latent(step, latent)
        return latent, innovation

    def _foreseen(self) -> Tensor | None:
        """The latent that the plan foresaw for this step, or None."""
        if self._plan is None:
            return None
        elapsed, rest = divmod(self._step - self._plan_step, self.model.card.action_block)
        if rest or not 1 <= elapsed <= len(self._plan.rollout):
            return None
        return self._plan.rollout[elapsed - 1]

    def _feedback(self) -> Tick | None:
        """Correct what was prepared for this step; None where nothing that fits was."""
        prepared, self._prepared = self._prepared, None
        if prepared is None or not prepared.fits(
            step=self._step, planner=self.planner, goal=self._goal, limits=self.limits
        ):
            return None
        try:
            plan = prepared.feedback.correct(
                self.model, self._problem(self._step), updates=self.config.feedback_updates
            )
        except SolveError:
            return None
        return self._send(plan, prepared.shift_steps, prepare_sec=prepared.duration_sec)

    def _solve(self, started_sec: float) -> Tick:
        warm_start, shift_steps = self._warm_start(self._step)
        expires_sec = None
        if self.config.deadline_sec:
            expires_sec = started_sec + self.config.deadline_sec
        try:
            plan = self.planner.solve(
                self._problem(self._step), warm_start, Deadline(expires_sec, clock=self._clock)
            )
        except SolveError as error:
            tick = self._go_on(str(error))
            self._plan = None  # what failed must not start the next solve
            return tick
        return self._send(plan, shift_steps)

    def _send(self, plan: Plan, shift_steps: int, *, prepare_sec: float = 0.0) -> Tick:
        """Put a plan for the present step in force."""
        self._plan, self._plan_step = plan, self._step
        return Tick(
            action=plan.actions[0, 0].double().cpu().numpy(),
            status=TickStatus.SOLVED,
            plan=plan,
            iterations=plan.iterations,
            shift_steps=shift_steps,
            prepare_sec=prepare_sec,
            goal_distance=self._goal_distance,
        )

    def _problem(self, step: int) -> Problem:
        card, device = self.model.card, self.model.device
        return Problem(
            context=self._history.context(step),
            past_actions=self._history.past_actions(step, card.history - 1, device),
            goal=self._goal,
            limits=self.limits,
            previous_action=self._on_device(self._history.last_action),
            safe_action=self._safe_action_there,
            tick=self._ticks,
        )

    def _on_device(self, action: np.ndarray) -> Tensor:
        return torch.as_tensor(action, dtype=torch.float32, device=self.model.device)

    def _warm_start(self, step: int) -> tuple[WarmStart | None, int]:
        if self._plan is None:
            return None, COLD
        elapsed = step - self._plan_step
        warm_start = shift(
            self._plan,
            elapsed_steps=elapsed,
            horizon=self.planner.horizon,
            goal=self._goal,
            mode=self.config.warm_start,
        )
        return warm_start, COLD if warm_start is None else elapsed

    def _go_on(self, detail: str) -> Tick:
        """Send the plan's command for the present step, or the safe one when it has none."""
        offset = self._step - self._plan_step
        if self._plan is not None:
            flat = self._plan.actions.flatten(0, 1)
            if offset < len(flat):
                return Tick(
                    action=flat[offset].double().cpu().numpy(),
                    status=TickStatus.PREVIOUS_PLAN,
                    plan=self._plan,
                    plan_offset=offset,
                    detail=detail,
                    goal_distance=self._goal_distance,
                )
        return replace(self._safe(TickStatus.SOLVER_FAILED), detail=detail)

    def _safe(self, status: TickStatus) -> Tick:
        return Tick(action=self.safe_action, status=status, goal_distance=self._goal_distance)

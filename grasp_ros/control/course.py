# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The plan in force: its commands, what it foresees, and what the next solve starts from."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from grasp_ros.control.latency import Ahead, Foresight
from grasp_ros.control.timeline import Timeline
from grasp_ros.control.warm_start import Drop, WarmStartMode, shift
from grasp_ros.errors import NotFiniteError, SolveError
from grasp_ros.planners.base import Plan, WarmStart


class Course:
    """One plan, from its solve until another takes its place or it is dropped.

    ``plan`` is None when there is none; ``step`` is the control step of the frame that it was made
    from, ``begins`` the one at which its first action takes effect, ``ahead`` what it begins with.
    ``foresight`` is None where other commands were in force than the plan's. ``dropped`` says why
    the warm start was lost, until somebody takes note of it and sets it to None.

    :param block: k, control steps in one model step
    """

    def __init__(self, block: int) -> None:
        self.plan: Plan | None = None
        self.step = 0
        self.begins = 0.0
        self.ahead: Ahead | None = None
        self.foresight: Foresight | None = None
        self.dropped: Drop | None = None
        self._block = block
        self._starts_next: Plan | None = None
        self._failures = 0

    def take(
        self, plan: Plan, ahead: Ahead, timeline: Timeline, *, is_solved: bool = True
    ) -> None:
        """Put a plan in force from the moment on at which this tick's command takes effect.

        :param is_solved: whether a solve has given it; one that is kept says nothing of solves
        """
        self.plan = self._starts_next = plan
        self.step, self.begins = timeline.step, timeline.begins
        self.ahead, self.foresight = ahead, Foresight(ahead, plan.rollout, self._block)
        if is_solved:
            self._failures = 0

    def command_at(self, step: float) -> tuple[np.ndarray, int] | None:
        """The command for a control step, ``[A]``, and which of the plan's it is; None beyond."""
        offset = max(0, round(step - self.begins))
        if self.plan is None or offset >= self.plan.actions.shape[0] * self._block:
            return None
        action = self.plan.actions[offset // self._block, offset % self._block]
        return action.double().cpu().numpy(), offset

    def warm_start(
        self, step: float, *, horizon: int, goal: Tensor, mode: WarmStartMode
    ) -> tuple[WarmStart, int] | None:
        """What a plan that begins at a control step starts from, and by how far it was moved.

        See :func:`~grasp_ros.control.warm_start.shift`; None for a cold start.
        """
        if self._starts_next is None or mode == 'none':
            return None
        elapsed = max(0, round(step - self.begins))
        moved = shift(
            self._starts_next, elapsed_steps=elapsed, horizon=horizon, goal=goal, mode=mode
        )
        if moved is None:
            if elapsed > self._block:  # a plan of one model step never leaves anything
                self._drop_warm_start(Drop.EXPIRED)
            return None
        return moved, elapsed

    def fail(self, error: SolveError, *, most: int) -> None:
        """Note that a solve failed. The plan goes on, until so many in a row have failed.

        :param most: failures in a row after which it is dropped
        """
        self._failures += 1
        if self._failures >= most:
            self.drop(Drop.FAILURES)
        elif isinstance(error, NotFiniteError):
            self._drop_warm_start(Drop.NOT_FINITE)

    def drop(self, reason: Drop) -> None:
        """Forget the plan and all that would start from it."""
        self._drop_warm_start(reason)
        self.plan = self.foresight = None

    def _drop_warm_start(self, reason: Drop) -> None:
        if self._starts_next is not None:
            self.dropped = reason
        self._starts_next = None

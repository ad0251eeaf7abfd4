# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What a controller says of one control tick."""

from __future__ import annotations

import enum
from dataclasses import dataclass

import numpy as np

from grasp_ros.control.warm_start import Drop
from grasp_ros.planners.base import Plan

COLD = -1  # shift_steps of a solve that had no warm start


class TickStatus(enum.Enum):
    """Where the command of a tick came from; the value is the text for people."""

    SOLVED = 'new plan'
    IN_BLOCK = 'next command of the present block'
    PREVIOUS_PLAN = 'previous plan goes on: no new frame, or the solve failed'
    NO_IMAGE = 'safe command: no image has arrived'
    STALE_IMAGE = 'safe command: the newest image is too old'
    NO_GOAL = 'safe command: no goal is set'
    FROZEN_IMAGE = 'safe command: the picture stays the same though the robot should move'
    UNFORESEEN = 'safe command: what is seen is not what the model foresees'
    SOLVER_FAILED = 'safe command: the solve failed and no plan is left'
    CLOCK_STANDS = 'safe command: the simulated clock stands still'

    @property
    def drives(self) -> bool:
        """Whether the command is one of a plan, and not the safe one."""
        return self in (TickStatus.SOLVED, TickStatus.IN_BLOCK, TickStatus.PREVIOUS_PLAN)

    @property
    def ends_goal(self) -> bool:
        """Whether the robot stands until there is another goal: what is seen is not trusted."""
        return self in (TickStatus.FROZEN_IMAGE, TickStatus.UNFORESEEN)


@dataclass(frozen=True)
class Tick:
    """The command of one tick and how it came about.

    :param action: float64 ``[A]`` in the card's units, finite and within the limits
    :param status: where it came from
    :param plan: the plan in force, or None
    :param plan_offset: control step of the plan that ``action`` is
    :param detail: what went wrong, empty when nothing did
    :param iterations: of this tick's plan, 0 without a new one
    :param syncs: of this tick's plan, :attr:`Plan.syncs`
    :param shift_steps: control steps that the warm start was moved by; :data:`COLD` without one
    :param deadline_met: False when encode and solve took longer than the deadline
    :param encode_sec: time to encode the frame
    :param solve_sec: time to solve after the frame; the feedback's alone where it was prepared
    :param prepare_sec: time that this plan was prepared for before the frame, 0 without
    :param latency_sec: assumed, from the frame to the moment at which the command takes effect
    :param goal_distance: :meth:`WorldModel.cost` of the newest latent, or None
    :param has_seen: whether that latent is of a new frame, taken up in this tick
    :param innovation: :meth:`WorldModel.cost` between the predicted and the observed latent, or
        None when there was no prediction for this instant
    :param limited: whether the last check against the limits changed the command
    :param dropped: why the warm start was dropped in this tick or since the last one, or None
    """

    action: np.ndarray
    status: TickStatus
    plan: Plan | None = None
    plan_offset: int = 0
    detail: str = ''
    iterations: int = 0
    syncs: int = 0
    shift_steps: int = COLD
    deadline_met: bool = True
    encode_sec: float = 0.0
    solve_sec: float = 0.0
    prepare_sec: float = 0.0
    latency_sec: float = 0.0
    goal_distance: float | None = None
    has_seen: bool = False
    innovation: float | None = None
    limited: bool = False
    dropped: Drop | None = None

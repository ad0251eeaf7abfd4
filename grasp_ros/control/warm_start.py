# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The warm start: the previous plan, moved to the present."""

from __future__ import annotations

import enum
from typing import Literal

import torch
from torch import Tensor

from grasp_ros.planners.base import Plan, WarmStart

WarmStartMode = Literal['none', 'actions', 'full']


class Drop(enum.Enum):
    """Why the next solve begins cold; the value is the text for people."""

    GOAL = 'the goal is another one'
    INNOVATION = 'what was seen was not what had been foreseen'
    NOT_FINITE = 'a value in the solve was not finite'
    FAILURES = 'too many solves in a row have failed'
    EXPIRED = 'no frame came for as long as the plan was'
    RESET = 'frames were forgotten'
    CLEARED = 'it was asked for'


def shift(
    plan: Plan, *, elapsed_steps: int, horizon: int, goal: Tensor, mode: WarmStartMode = 'full'
) -> WarmStart | None:
    """Drop what has elapsed from a plan and fill up its end.

    The rule, for any number j of elapsed *control* steps, whole blocks or not:

    - actions are a sequence of control steps; the first j go, the last one is repeated;
    - lifted states are a function of model time; the new s_t is the old one at t + j/k, linear
      between neighbours, and the goal beyond the old horizon (where s_T = g stood).

    Another ``horizon`` than the plan's cuts or fills by the same rule, so a change of the horizon
    reshapes the warm start and does not drop it.

    :param plan: the previous plan
    :param elapsed_steps: j >= 0, control steps since the plan's s_0
    :param horizon: T of the next solve, model steps
    :param goal: ``[*latent]``
    :param mode: ``full``, ``none``, or ``actions``: start from the plan that was sent, as planners
        without lifted states do, and redraw the lifted states
    :return: None when nothing of the plan is left, or in mode ``none``
    """
    old_horizon, block, size = plan.actions.shape
    if mode == 'none' or elapsed_steps >= old_horizon * block:
        return None

    def moved(actions: Tensor) -> Tensor:
        flat = _window(actions.reshape(-1, size), elapsed_steps, horizon * block)
        return flat.reshape(horizon, block, size)

    incumbent = moved(plan.actions)
    if mode == 'actions':
        return WarmStart(actions=incumbent, states=None, incumbent=incumbent)
    whole, part = divmod(elapsed_steps, block)
    known = torch.cat((plan.iterate_states, goal.unsqueeze(0)))
    states = _window(known, whole, horizon)
    if part:
        states = torch.lerp(states, _window(known, whole + 1, horizon), part / block)
    return WarmStart(actions=moved(plan.iterate_actions), states=states, incumbent=incumbent)


def _window(sequence: Tensor, start: int, length: int) -> Tensor:
    """``length`` entries from ``start`` on; the last entry stands in for those beyond the end."""
    kept = sequence[start : start + length]
    missing = length - len(kept)
    if not missing:
        return kept
    last = sequence[-1:]
    return torch.cat((kept, last.expand(missing, *last.shape[1:])))

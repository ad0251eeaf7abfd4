# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The warm start: the previous plan, moved to the present."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from grasp_ros.planners.base import Plan, WarmStart

WarmStartMode = Literal['none', 'actions', 'full']


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
    :param mode: ``full``, ``actions`` (lifted states are redrawn) or ``none``
    :return: None when nothing of the plan is left, or in mode ``none``
    """
    old_horizon, block, size = plan.actions.shape
    if mode == 'none' or elapsed_steps >= old_horizon * block:
        return None
    flat = plan.actions.reshape(-1, size)
    index = torch.arange(horizon * block, device=flat.device) + elapsed_steps
    actions = flat[index.clamp(max=len(flat) - 1)].reshape(horizon, block, size)
    if mode == 'actions':
        return WarmStart(actions=actions)
    whole, part = divmod(elapsed_steps, block)
    steps = torch.arange(horizon, device=flat.device) + whole
    known = torch.cat((plan.states, goal.unsqueeze(0)))
    early = known[steps.clamp(max=old_horizon)]
    if part == 0:
        return WarmStart(actions=actions, states=early)
    late = known[(steps + 1).clamp(max=old_horizon)]
    return WarmStart(actions=actions, states=torch.lerp(early, late, part / block))

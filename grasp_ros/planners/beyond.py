# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What plans would add to their first action were there no limit.

A plan at full thrust says no more than that: how much further it would go is told by its cost, at
the limit and at two steps of :data:`INWARD` from there, through which a parabola is laid for each
axis of a_0 that is at a limit; the entries of a block that are, move together. Its Newton step is
m of :mod:`grasp_ros.planners.feedback`. The two steps are two more rows of the rollout that ranks
the plans, so that they cost no rollout of their own.
"""

from __future__ import annotations

import torch
from torch import Tensor

from grasp_ros.planners.base import Problem

FEWEST_ROWS = 8  # axes at limits that a GPU rolls out at once
INWARD = 0.1  # step from an active limit inwards, in units of half the action range


def active_limits(problem: Problem, first: Tensor, *, is_filled_up: bool) -> tuple[Tensor, Tensor]:
    """Where first blocks are at a limit: bounds, and the rate limit from the last command.

    :param first: ``[M, k, A]``
    :param is_filled_up: repeat rows up to one of few numbers, each of which is captured once
    :return: a step outwards for each entry, short enough for two of them inwards, 0 where it is
        free, ``[M, k, A]``; branch and axis where one is not, ``[n, 2]``
    """
    limits = problem.limits
    low, high = limits.reach(problem.previous_action, first.shape[1])
    slack = 1e-3 * limits.half_range
    upwards, downwards = first >= high - slack, first <= low + slack
    longest = INWARD * limits.half_range
    up = torch.minimum(longest, (first - limits.low) / 2) * upwards
    down = torch.minimum(longest, (limits.high - first) / 2) * downwards
    steps = torch.where(upwards & downwards, 0.0, up - down)
    active = steps.any(dim=1).nonzero()
    if is_filled_up and len(active):
        active = _filled_up(active, steps[:, 0].numel())
    return steps, active


def _filled_up(active: Tensor, most: int) -> Tensor:
    count = FEWEST_ROWS
    while count < len(active):
        count *= 4
    return torch.cat((active, active[-1:].expand(min(count, most) - len(active), -1)))


def inward(actions: Tensor, steps: Tensor, active: Tensor) -> Tensor:
    """The plans with a_0 one step and two steps further in along one axis.

    :param actions: ``[M, T, k, A]``
    :return: ``[2 n, T, k, A]``
    """
    branch, axis = active.unbind(1)
    rows = torch.arange(len(branch), device=steps.device)
    near, far = actions[branch], actions[branch]  # copies
    near[rows, 0, :, axis] -= steps[branch, :, axis]
    far[rows, 0, :, axis] -= 2 * steps[branch, :, axis]
    return torch.cat((near, far))


def newton(steps: Tensor, active: Tensor, costs: Tensor, found: Tensor) -> Tensor:
    """m, ``[M, k, A]``: at most the whole range, so that so large a correction passes.

    :param costs: of the plans, ``[M]``
    :param found: of those of :func:`inward`, ``[2 n]``
    """
    branch, axis = active.unbind(1)
    near, far = found.view(2, -1) - costs[branch]
    # The parabola through the three costs, a step being 1: its slope inwards, its curvature.
    slope, curvature = 2 * near - far / 2, far - 2 * near
    furthest = torch.full_like(slope, 2 / INWARD)
    count = torch.where(curvature * furthest > slope, slope / curvature, furthest)
    count = torch.where(slope > 0, count, 0.0).unsqueeze(1)
    beyond = torch.zeros_like(steps)
    beyond[branch, :, axis] = count * steps[branch, :, axis]
    return beyond
